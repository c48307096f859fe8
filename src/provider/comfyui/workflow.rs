//! A user's workflow and its placeholders. Pure.
//!
//! Invariant: what an order may set is what the workflow has a place for, so nothing that a card promises can be dropped.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::domain::{
    artifact::Kind,
    card::{InputSpec, ModelCard, PromptSpec},
    order::{InputRole, OptionName, OptionValue},
};

/// What a placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// `{{prompt}}`.
    Prompt,
    /// `{{steps}}`: an option of the request.
    Option(OptionName),
    /// `{{frames}}`: duration times frames a second; with `_4n1` and `_8n1` the nearest number of frames that many video models want.
    Frames(u32),
    /// `{{input.reference.2}}`: the second input of this role, counted from 0 here.
    Input(InputRole, usize),
    /// `{{option.NAME}}`: one of `provider_options`.
    Own(String),
}

/// One `{{name}}` or `{{name|default}}`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placeholder {
    pub(super) slot: Slot,
    /// What stands there when the order says nothing.
    pub(super) default: Option<Value>,
}

/// A workflow in the API format.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Workflow {
    graph: Map<String, Value>,
    placeholders: Vec<Placeholder>,
}

impl Workflow {
    /// Reads a workflow.
    ///
    /// # Errors
    /// In words: no JSON, not the API format, or a placeholder that nothing fills in.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let graph: Value = serde_json::from_slice(text).map_err(|error| format!("is no JSON: {error}"))?;
        let Value::Object(graph) = graph else { return Err("is no JSON object".to_owned()) };
        if graph.contains_key("nodes") && graph.contains_key("links") {
            return Err("is in the editor's format; export it with \"Export (API)\"".to_owned());
        }
        let is_node = |node: &Value| node["class_type"].is_string() && node["inputs"].is_object();
        if let Some((id, _)) = graph.iter().find(|(_, node)| !is_node(node)) {
            return Err(format!("is not in the API format: node {id} has no class_type or no inputs"));
        }
        if graph.is_empty() {
            return Err("has no nodes".to_owned());
        }
        let mut placeholders = Vec::new();
        for (id, node) in &graph {
            collect(&node["inputs"], &mut placeholders).map_err(|why| format!("node {id} {why}"))?;
        }
        Ok(Self { graph, placeholders })
    }

    /// The card with what the workflow has places for, and only that.
    ///
    /// # Errors
    /// In words: what the card promises without a place, or a place that may stay empty.
    pub(super) fn complete(&self, mut card: ModelCard) -> Result<ModelCard, String> {
        if !card.fixed.is_empty() {
            return Err("has `fixed` on its card; write fixed values into the workflow".to_owned());
        }
        if !self.has(&Slot::Prompt) {
            card.prompt = PromptSpec { min: 0, max: 0, ..PromptSpec::default() };
        }
        self.check_promises(&card)?;
        for placeholder in &self.placeholders {
            self.complete_with(&mut card, placeholder)?;
        }
        Ok(card)
    }

    /// The kind of what the saving nodes make.
    pub(super) fn kind(&self) -> Kind {
        let saves = |words: &[&str]| {
            let classes = self.graph.values().filter_map(|node| node["class_type"].as_str());
            classes
                .filter(|class| class.contains("Save") || class.contains("Combine"))
                .any(|class| words.iter().any(|word| class.contains(word)))
        };
        match (saves(&["Video", "WEBM", "Animated"]), saves(&["Audio"])) {
            (true, _) => Kind::Video,
            (false, true) => Kind::Music,
            (false, false) => Kind::Image,
        }
    }

    /// The graph with `values` in the places; a slot without a value keeps its default.
    ///
    /// # Errors
    /// In words, if a place stays empty.
    pub(super) fn filled(&self, values: &BTreeMap<Slot, Value>) -> Result<Value, String> {
        let mut graph = self.graph.clone();
        for node in graph.values_mut() {
            fill(&mut node["inputs"], values)?;
        }
        Ok(Value::Object(graph))
    }

    /// What fills the input `name` of a node, if a placeholder does.
    pub(super) fn slot_at(&self, node: &str, name: &str) -> Option<Slot> {
        let mut found = Vec::new();
        collect(&self.graph.get(node)?["inputs"][name], &mut found).ok()?;
        found.into_iter().next().map(|placeholder| placeholder.slot)
    }

    /// Whether it has a place for this.
    pub(super) fn has(&self, slot: &Slot) -> bool {
        self.placeholders.iter().any(|placeholder| placeholder.slot == *slot)
    }

    fn has_option(&self, name: OptionName) -> bool {
        let of_frames = matches!(name, OptionName::Duration | OptionName::Fps);
        self.has(&Slot::Option(name))
            || of_frames && self.placeholders.iter().any(|it| matches!(it.slot, Slot::Frames(_)))
    }

    fn check_promises(&self, card: &ModelCard) -> Result<(), String> {
        let of_size = card.size.iter().flat_map(|_| [OptionName::Width, OptionName::Height]);
        let promised: BTreeSet<OptionName> = card.options.keys().copied().chain(of_size).collect();
        if let Some(name) = promised.into_iter().find(|name| !self.has_option(*name)) {
            return Err(format!("has no {{{{{name}}}}}, which its card promises"));
        }
        for (role, spec) in &card.inputs {
            let missing = (0..spec.max).find(|index| !self.has(&Slot::Input(*role, *index)));
            if let Some(index) = missing {
                return Err(format!(
                    "has no {{{{input.{}.{}}}}}, which its card promises",
                    role_name(*role),
                    index + 1
                ));
            }
        }
        let own = card.provider_options.iter().find(|name| !self.has(&Slot::Own((*name).clone())));
        own.map_or(Ok(()), |name| Err(format!("has no {{{{option.{name}}}}}, which its card promises")))
    }

    fn complete_with(&self, card: &mut ModelCard, placeholder: &Placeholder) -> Result<(), String> {
        let Placeholder { slot, default } = placeholder;
        match slot {
            Slot::Prompt => Ok(()),
            Slot::Option(name) => complete_option(card, *name, default.as_ref()),
            Slot::Frames(_) => [OptionName::Duration, OptionName::Fps]
                .into_iter()
                .try_for_each(|name| complete_option(card, name, None)),
            Slot::Input(role, index) => {
                let spec = card.inputs.entry(*role).or_insert_with(|| InputSpec {
                    field: String::new(),
                    required: default.is_none() && *index == 0,
                    max: 0,
                    list: false,
                    media: Vec::new(),
                    max_bytes: None,
                });
                spec.max = spec.max.max(index + 1);
                if default.is_none() && (!spec.required || *index > 0) {
                    let name = format!("input.{}.{}", role_name(*role), index + 1);
                    return Err(format!(
                        "may leave {{{{{name}}}}} empty; write {{{{{name}|FILE}}}} with a file of the server, or make the input required"
                    ));
                }
                Ok(())
            }
            Slot::Own(name) => {
                if !card.provider_options.contains(name) {
                    card.provider_options.push(name.clone());
                }
                match default {
                    Some(_) => Ok(()),
                    None => Err(format!("may leave {{{{option.{name}}}}} empty; write {{{{option.{name}|VALUE}}}}")),
                }
            }
        }
    }
}

fn complete_option(card: &mut ModelCard, name: OptionName, default: Option<&Value>) -> Result<(), String> {
    let in_size = matches!(name, OptionName::Width | OptionName::Height);
    if in_size && let Some(size) = &card.size {
        return match (size.default.is_some(), default.is_some()) {
            (false, false) => Err(format!("may leave {{{{{name}}}}} empty; give the card's size a default")),
            _ => Ok(()),
        };
    }
    let spec = card.options.entry(name).or_default();
    if spec.default.is_none() {
        spec.default = default.and_then(option_value);
    }
    // A fresh seed is drawn for every order that sets none; otherwise the server would answer from its cache.
    match spec.default.is_some() || default.is_some() || name == OptionName::Seed {
        true => Ok(()),
        false => {
            Err(format!("may leave {{{{{name}}}}} empty; give it a default on the card, or write {{{{{name}|VALUE}}}}"))
        }
    }
}

fn option_value(value: &Value) -> Option<OptionValue> {
    match value {
        Value::Bool(flag) => Some(OptionValue::Bool(*flag)),
        Value::Number(number) => number.as_f64().map(OptionValue::number),
        Value::String(text) if !text.is_empty() => Some(OptionValue::Text(text.clone())),
        Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A role's name in placeholders: the contract's, short and in small letters.
pub(super) fn role_name(role: InputRole) -> String {
    role.as_str().trim_start_matches("INPUT_ROLE_").to_ascii_lowercase()
}

fn collect(value: &Value, found: &mut Vec<Placeholder>) -> Result<(), String> {
    match value {
        Value::String(text) => {
            for inner in inner_texts(text) {
                found.push(placeholder(inner)?);
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.values().try_for_each(|value| collect(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn inner_texts(text: &str) -> impl Iterator<Item = &str> {
    text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(inner, _)| inner)
}

fn placeholder(inner: &str) -> Result<Placeholder, String> {
    let (name, default) = match inner.split_once('|') {
        Some((name, default)) => (name.trim(), Some(typed(default.trim()))),
        None => (inner.trim(), None),
    };
    let unknown = || {
        let options = OptionName::ALL.map(OptionName::as_str).join(", ");
        let roles = InputRole::ALL.map(role_name).join(", ");
        format!(
            "has {{{{{name}}}}}, which nothing fills in; known: prompt, frames, frames_4n1, frames_8n1, option.NAME, {options}, and input.ROLE with a role of {roles}"
        )
    };
    let slot = match name.split_once('.') {
        None => match name {
            "prompt" => Slot::Prompt,
            "frames" => Slot::Frames(1),
            "frames_4n1" => Slot::Frames(4),
            "frames_8n1" => Slot::Frames(8),
            _ => OptionName::ALL.into_iter().find(|it| it.as_str() == name).map(Slot::Option).ok_or_else(unknown)?,
        },
        Some(("option", own)) if !own.is_empty() => Slot::Own(own.to_owned()),
        Some(("input", rest)) => {
            let (role, number) = rest.split_once('.').unwrap_or((rest, "1"));
            let role = InputRole::ALL.into_iter().find(|it| role_name(*it) == role).ok_or_else(unknown)?;
            let index = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1)).ok_or_else(unknown)?;
            Slot::Input(role, index)
        }
        Some(_) => return Err(unknown()),
    };
    Ok(Placeholder { slot, default })
}

/// A default as JSON where it is some, else as a text.
fn typed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

fn fill(value: &mut Value, values: &BTreeMap<Slot, Value>) -> Result<(), String> {
    match value {
        Value::String(text) => {
            if let Some(filled) = filled(text, values)? {
                *value = filled;
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| fill(item, values)),
        Value::Object(fields) => fields.values_mut().try_for_each(|value| fill(value, values)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// The text with its places filled; a text that is one placeholder and nothing else becomes the value itself, with its type.
fn filled(text: &str, values: &BTreeMap<Slot, Value>) -> Result<Option<Value>, String> {
    let value_of = |inner: &str| {
        let Placeholder { slot, default } = placeholder(inner)?;
        values.get(&slot).cloned().or(default).ok_or_else(|| format!("nothing to put in the place of {{{{{inner}}}}}"))
    };
    let whole =
        text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).filter(|inner| !inner.contains("}}"));
    if let Some(inner) = whole {
        return value_of(inner).map(Some);
    }
    let mut written = String::new();
    let mut rest = text;
    let mut has_any = false;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inner, behind)) = after.split_once("}}") else { break };
        written.push_str(before);
        match value_of(inner)? {
            Value::String(text) => written.push_str(&text),
            other => written.push_str(&other.to_string()),
        }
        (rest, has_any) = (behind, true);
    }
    written.push_str(rest);
    Ok(has_any.then_some(Value::String(written)))
}
