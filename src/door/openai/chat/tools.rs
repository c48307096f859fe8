//! The tools of a request, and which of them the model may want called.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::raw::{At, Object, list, read as read_value};
use crate::{
    door::openai::problem::Problem,
    pb::v1::{Tool, ToolChoice, ToolMode, tool_choice::Choice},
};

/// What a request says of tools.
#[derive(Debug, Default)]
pub(super) struct Tools {
    pub(super) tools: Vec<Tool>,
    pub(super) choice: Option<ToolChoice>,
    /// Whether it says so in the old way, `functions` and `function_call`.
    pub(super) old: bool,
}

/// Takes them out.
pub(super) fn read(fields: &mut Object<'_>) -> Result<Tools, Problem> {
    let mut tools = Tools::default();
    let at = At::Body.field("tools");
    if let Some(raw) = fields.take("tools") {
        let all = list(raw, &at)?.into_iter().enumerate();
        tools.tools = all.map(|(index, raw)| tool(raw, &at.item(index))).collect::<Result<_, _>>()?;
    }
    let at = At::Body.field("functions");
    if let Some(raw) = fields.take("functions") {
        if !tools.tools.is_empty() {
            return Err(at.wrong_value("it is the old name of tools; set one of them"));
        }
        let all = list(raw, &at)?.into_iter().enumerate();
        tools.tools = all.map(|(index, raw)| function(raw, &at.item(index))).collect::<Result<_, _>>()?;
        tools.old = true;
    }
    if let Some(raw) = fields.take("tool_choice") {
        tools.choice = Some(choice(raw, &At::Body.field("tool_choice"), &mut tools.tools)?);
    }
    if let Some(raw) = fields.take("function_call") {
        let at = At::Body.field("function_call");
        tools.choice = Some(if raw.get().starts_with('{') { one(raw, &at)? } else { mode(raw, &at)? });
    }
    Ok(tools)
}

fn tool(raw: &RawValue, at: &At<'_>) -> Result<Tool, Problem> {
    let mut fields = Object::of(raw, at)?;
    is_function(&fields.required::<String>("type", at)?, at)?;
    let of = at.field("function");
    let raw = fields.take("function").ok_or_else(|| of.missing())?;
    fields.none_left(at)?;
    function(raw, &of)
}

fn is_function(kind: &str, at: &At<'_>) -> Result<(), Problem> {
    if kind == "function" {
        return Ok(());
    }
    let shown: String = kind.chars().take(64).collect();
    Err(at.field("type").unsupported(format_args!("is '{shown}'; only tools of type function are taken here")))
}

fn function(raw: &RawValue, at: &At<'_>) -> Result<Tool, Problem> {
    let mut fields = Object::of(raw, at)?;
    let schema = fields.take("parameters");
    if let Some(schema) = schema.filter(|schema| !schema.get().starts_with('{')) {
        return Err(at.field("parameters").wrong_type("an object", schema));
    }
    let tool = Tool {
        name: fields.required("name", at)?,
        description: fields.read("description", at)?.unwrap_or_default(),
        parameters_json: schema.map(|schema| schema.get().to_owned()).unwrap_or_default(),
        strict: fields.read("strict", at)?,
    };
    fields.none_left(at)?;
    Ok(tool)
}

/// A mode, one tool, or the tools that are allowed; the others are then not even shown to the model.
fn choice(raw: &RawValue, at: &At<'_>, tools: &mut Vec<Tool>) -> Result<ToolChoice, Problem> {
    if !raw.get().starts_with('{') {
        return mode(raw, at);
    }
    let mut fields = Object::of(raw, at)?;
    let kind: String = fields.required("type", at)?;
    if kind != "allowed_tools" {
        is_function(&kind, at)?;
        let of = at.field("function");
        let raw = fields.take("function").ok_or_else(|| of.missing())?;
        fields.none_left(at)?;
        return one(raw, &of);
    }
    let at = at.field("allowed_tools");
    let raw = fields.take("allowed_tools").ok_or_else(|| at.missing())?;
    let mut fields = Object::of(raw, &at)?;
    let how = at.field("mode");
    let how = mode(fields.take("mode").ok_or_else(|| how.missing())?, &how)?;
    let of = at.field("tools");
    let raw = fields.take("tools").ok_or_else(|| of.missing())?;
    fields.none_left(&at)?;
    let mut allowed = BTreeSet::new();
    for (index, raw) in list(raw, &of)?.into_iter().enumerate() {
        let at = of.item(index);
        let mut fields = Object::of(raw, &at)?;
        is_function(&fields.required::<String>("type", &at)?, &at)?;
        let of = at.field("function");
        let raw = fields.take("function").ok_or_else(|| of.missing())?;
        let name: String = Object::of(raw, &of)?.required("name", &of)?;
        if !tools.iter().any(|tool| tool.name == name) {
            return Err(of.field("name").wrong_value("it is not among the tools"));
        }
        allowed.insert(name);
    }
    tools.retain(|tool| allowed.contains(&tool.name));
    Ok(how)
}

fn mode(raw: &RawValue, at: &At<'_>) -> Result<ToolChoice, Problem> {
    if !raw.get().starts_with('"') {
        return Err(at.wrong_type("a string or an object", raw));
    }
    let mode = match read_value::<String>(raw, at)?.as_str() {
        "none" => ToolMode::None,
        "auto" => ToolMode::Auto,
        "required" => ToolMode::Required,
        _ => return Err(at.wrong_value("must be one of none, auto, required, or an object that names a function")),
    };
    Ok(ToolChoice { choice: Some(Choice::Mode(mode.into())) })
}

fn one(raw: &RawValue, at: &At<'_>) -> Result<ToolChoice, Problem> {
    let mut fields = Object::of(raw, at)?;
    let name = fields.required("name", at)?;
    fields.none_left(at)?;
    Ok(ToolChoice { choice: Some(Choice::Tool(name)) })
}
