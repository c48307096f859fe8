//! Chats: a conversation, and what its answer should be.

use std::ops::RangeInclusive;

use serde_json::value::RawValue;

use super::{Violations, check_labels, inputs, optional, options, unknown};
use crate::{
    chat::{AskedMessage, AskedPart, ChatRequest, ResponseFormat, Speaker, Tool, ToolCall, ToolChoice},
    domain::{
        catalog::{Catalog, NoCandidate},
        chat::MAX_MESSAGES,
        names::SessionId,
    },
    door::{caller::Caller, refusal::Refusal},
    pb::v1,
};

const TEMPERATURE: RangeInclusive<f64> = 0.0..=2.0;
const MAX_STOPS: usize = 4;
const MAX_TOOLS: usize = 128;
const MAX_NAME: usize = 64;
/// Most characters of a model's name; longer ones are no names, and would be repeated in a refusal.
const MAX_MODEL: usize = 256;
const DETAILS: [&str; 3] = ["low", "high", "auto"];
/// What a schema is called that nobody named.
const UNNAMED: &str = "answer";

/// A chat, or all that is wrong with it, with what its model cannot do. `stream` says whether the answer is read as it is said.
pub(in crate::door) fn chat(
    request: v1::ChatRequest,
    stream: bool,
    caller: Caller,
    catalog: &Catalog,
) -> Result<ChatRequest, Refusal> {
    let mut violations = Violations::default();
    let request = read(request, stream, caller, &mut violations);
    if !violations.0.iter().any(|violation| violation.field == "model") {
        match catalog.talker(&request.model, &request.needs()) {
            Ok(_) => {}
            Err(NoCandidate::Violations(more)) => {
                let is_new = |field: &str| violations.0.iter().all(|known| known.field != field);
                let more: Vec<_> = more.into_iter().filter(|violation| is_new(&violation.field)).collect();
                violations.0.extend(more);
            }
            // What is wrong with the request is wrong at any provider.
            Err(NoCandidate::NotConfigured { .. }) if !violations.0.is_empty() => {}
            Err(refused @ NoCandidate::NotConfigured { .. }) => return Err(refused.into()),
        }
    }
    violations.none()?;
    Ok(request)
}

fn read(request: v1::ChatRequest, stream: bool, caller: Caller, violations: &mut Violations) -> ChatRequest {
    // Taken apart by name, so that a new field of the contract cannot be forgotten.
    let v1::ChatRequest {
        messages,
        model,
        session,
        temperature,
        top_p,
        max_tokens,
        stop,
        seed,
        tools,
        tool_choice,
        parallel_tool_calls,
        response_format,
        provider_options,
        labels,
    } = request;
    let messages = conversation(messages, violations);
    if model.chars().count() > MAX_MODEL {
        violations.add("model", format!("has more than {MAX_MODEL} characters"));
    }
    let session = optional::<SessionId>(&session, "session", violations);
    numbers(temperature, top_p, max_tokens, violations);
    stops(&stop, violations);
    let tools = all_tools(tools, violations);
    let tool_choice = tool_choice.and_then(|choice| choose(choice, &tools, violations));
    let format = response_format.and_then(|asked| format(asked, violations));
    let provider_options = options::passed_on(provider_options, "provider_options", violations);
    check_labels(&labels, violations);
    ChatRequest {
        tenant: caller.tenant,
        source: caller.source,
        model,
        session,
        messages,
        temperature,
        top_p,
        max_tokens,
        stop,
        seed,
        tools,
        tool_choice,
        parallel_tool_calls,
        format,
        provider_options,
        labels,
        trace: caller.trace,
        stream,
    }
}

fn conversation(messages: Vec<v1::ChatMessage>, violations: &mut Violations) -> Vec<AskedMessage> {
    let n_messages = messages.len();
    if !(1..=MAX_MESSAGES).contains(&n_messages) {
        violations.add("messages", format!("has {n_messages} messages; must have 1 to {MAX_MESSAGES}"));
        return Vec::new();
    }
    let messages = messages.into_iter().enumerate();
    messages.filter_map(|(index, asked)| message(asked, &format!("messages[{index}]"), violations)).collect()
}

fn message(message: v1::ChatMessage, path: &str, violations: &mut Violations) -> Option<AskedMessage> {
    let v1::ChatMessage { role, content, tool_calls, tool_call_id, name } = message;
    let speaker = speaker(role, path, violations)?;
    if content.is_empty() && tool_calls.is_empty() {
        violations.add(format!("{path}.content"), "must not be empty");
    }
    let content = content.into_iter().enumerate();
    let content =
        content.filter_map(|(index, part)| self::part(part, speaker, &format!("{path}.content[{index}]"), violations));
    let content = content.collect();
    if !tool_calls.is_empty() && speaker != Speaker::Assistant {
        violations.add(format!("{path}.tool_calls"), "is of an assistant message only");
    }
    let tool_calls = tool_calls.into_iter().enumerate();
    let tool_calls =
        tool_calls.map(|(index, call)| tool_call(call, &format!("{path}.tool_calls[{index}]"), violations));
    let tool_calls = tool_calls.collect();
    match (speaker, tool_call_id.is_empty()) {
        (Speaker::Tool, true) => violations.add(format!("{path}.tool_call_id"), "must be set in a tool message"),
        (Speaker::System | Speaker::User | Speaker::Assistant, false) => {
            violations.add(format!("{path}.tool_call_id"), "is of a tool message only");
        }
        (Speaker::Tool, false) | (Speaker::System | Speaker::User | Speaker::Assistant, true) => {}
    }
    if name.chars().count() > MAX_NAME {
        violations.add(format!("{path}.name"), format!("has more than {MAX_NAME} characters"));
    }
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    Some(AskedMessage { speaker, content, tool_calls, tool_call_id: some(tool_call_id), name: some(name) })
}

fn speaker(role: i32, path: &str, violations: &mut Violations) -> Option<Speaker> {
    use v1::ChatRole as Wire;
    match Wire::try_from(role) {
        Ok(Wire::System) => Some(Speaker::System),
        Ok(Wire::User) => Some(Speaker::User),
        Ok(Wire::Assistant) => Some(Speaker::Assistant),
        Ok(Wire::Tool) => Some(Speaker::Tool),
        Ok(Wire::Unspecified) | Err(_) => {
            let known = [Wire::System, Wire::User, Wire::Assistant, Wire::Tool].map(|role| role.as_str_name());
            violations.0.push(unknown(format!("{path}.role"), role, &known));
            None
        }
    }
}

fn part(part: v1::ChatPart, speaker: Speaker, path: &str, violations: &mut Violations) -> Option<AskedPart> {
    match part.part {
        None => {
            violations.add(path, "needs one of text and image");
            None
        }
        Some(v1::chat_part::Part::Text(text)) => Some(AskedPart::Text(text)),
        Some(v1::chat_part::Part::Image(image)) => {
            let path = format!("{path}.image");
            if speaker != Speaker::User {
                violations.add(path, "is of user messages only");
                return None;
            }
            picture(image, &path, violations)
        }
    }
}

fn picture(image: v1::ChatImage, path: &str, violations: &mut Violations) -> Option<AskedPart> {
    use v1::{chat_image::Source as Wire, input::Source};
    if !image.detail.is_empty() && !DETAILS.contains(&image.detail.as_str()) {
        violations.add(format!("{path}.detail"), format!("must be one of {}", DETAILS.join(", ")));
    }
    let source = image.source.map(|source| match source {
        Wire::Artifact(name) => Source::Artifact(name),
        Wire::Uri(uri) => Source::Uri(uri),
        Wire::Data(data) => Source::Data(data),
    });
    let (field, source) = inputs::source(source, path, violations)?;
    let detail = Some(image.detail).filter(|detail| !detail.is_empty());
    Some(AskedPart::Image { source, field: format!("{path}.{field}"), detail })
}

fn tool_call(call: v1::ToolCall, path: &str, violations: &mut Violations) -> ToolCall {
    let v1::ToolCall { id, name, arguments_json } = call;
    for (field, text) in [("id", &id), ("name", &name)] {
        if text.is_empty() {
            violations.add(format!("{path}.{field}"), "must be set");
        }
    }
    ToolCall { id, name, arguments: arguments_json }
}

fn numbers(temperature: Option<f64>, top_p: Option<f64>, max_tokens: Option<u32>, violations: &mut Violations) {
    // A range never contains NaN.
    if temperature.is_some_and(|temperature| !TEMPERATURE.contains(&temperature)) {
        violations.add("temperature", format!("must be from {} to {}", TEMPERATURE.start(), TEMPERATURE.end()));
    }
    if top_p.is_some_and(|top_p| !(top_p > 0.0 && top_p <= 1.0)) {
        violations.add("top_p", "must be above 0 and at most 1");
    }
    if max_tokens == Some(0) {
        violations.add("max_tokens", "must be at least 1");
    }
}

fn stops(stop: &[String], violations: &mut Violations) {
    if stop.len() > MAX_STOPS {
        violations.add("stop", format!("has {} texts; at most {MAX_STOPS}", stop.len()));
    }
    for (index, _) in stop.iter().enumerate().filter(|(_, text)| text.is_empty()) {
        violations.add(format!("stop[{index}]"), "must not be empty");
    }
}

fn all_tools(tools: Vec<v1::Tool>, violations: &mut Violations) -> Vec<Tool> {
    if tools.len() > MAX_TOOLS {
        violations.add("tools", format!("has {} tools; at most {MAX_TOOLS}", tools.len()));
        return Vec::new();
    }
    let mut read: Vec<Tool> = Vec::with_capacity(tools.len());
    for (index, v1::Tool { name, description, parameters_json, strict }) in tools.into_iter().enumerate() {
        let path = format!("tools[{index}]");
        check_name(&name, &format!("{path}.name"), violations);
        if read.iter().any(|other| other.name == name) {
            violations.add(format!("{path}.name"), format!("{name:?} is the name of an earlier tool"));
        }
        let parameters = schema(&parameters_json, &format!("{path}.parameters_json"), violations);
        let description = Some(description).filter(|text| !text.is_empty());
        read.push(Tool { name, description, parameters, strict });
    }
    read
}

fn check_name(name: &str, field: &str, violations: &mut Violations) {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(in_name) {
        violations.add(field, format!("must be 1 to {MAX_NAME} characters of A-Z a-z 0-9 _ -"));
    }
}

/// A JSON object as it was written; nothing for an empty text.
fn schema(text: &str, field: &str, violations: &mut Violations) -> Option<Box<RawValue>> {
    let parse = |text: &str| match RawValue::from_string(text.trim().to_owned()) {
        Ok(value) if value.get().starts_with('{') => Ok(value),
        Ok(_) => Err("must be a JSON object".to_owned()),
        Err(error) => Err(format!("is no JSON: {error}")),
    };
    if text.is_empty() {
        return None;
    }
    parse(text).map_err(|why| violations.add(field, why)).ok()
}

fn choose(choice: v1::ToolChoice, tools: &[Tool], violations: &mut Violations) -> Option<ToolChoice> {
    use v1::{ToolMode as Wire, tool_choice::Choice};
    let mut needs_tools = |field: &str, choice| {
        if tools.is_empty() {
            violations.add(field, "needs tools");
        }
        Some(choice)
    };
    match choice.choice? {
        Choice::Mode(mode) => match Wire::try_from(mode) {
            Ok(Wire::Unspecified) => None,
            Ok(Wire::None) => Some(ToolChoice::None),
            Ok(Wire::Auto) => Some(ToolChoice::Auto),
            Ok(Wire::Required) => needs_tools("tool_choice.mode", ToolChoice::Required),
            Err(_) => {
                let known = [Wire::None, Wire::Auto, Wire::Required].map(|mode| mode.as_str_name());
                violations.0.push(unknown("tool_choice.mode", mode, &known));
                None
            }
        },
        Choice::Tool(name) if tools.is_empty() => needs_tools("tool_choice.tool", ToolChoice::Tool(name)),
        Choice::Tool(name) => {
            if tools.iter().all(|tool| tool.name != name) {
                let known: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
                violations.add("tool_choice.tool", format!("is none of the tools: {}", known.join(", ")));
            }
            Some(ToolChoice::Tool(name))
        }
    }
}

fn format(asked: v1::ResponseFormat, violations: &mut Violations) -> Option<ResponseFormat> {
    use v1::ResponseFormatType as Wire;
    let v1::ResponseFormat { r#type, name, schema_json, strict, description } = asked;
    let asked_type = Wire::try_from(r#type);
    if asked_type != Ok(Wire::JsonSchema) {
        let set = [
            ("name", !name.is_empty()),
            ("schema_json", !schema_json.is_empty()),
            ("strict", strict.is_some()),
            ("description", !description.is_empty()),
        ];
        for (field, _) in set.into_iter().filter(|(_, set)| *set) {
            violations.add(format!("response_format.{field}"), "is of RESPONSE_FORMAT_TYPE_JSON_SCHEMA only");
        }
    }
    match asked_type {
        Ok(Wire::Unspecified) => None,
        Ok(Wire::Text) => Some(ResponseFormat::Text),
        Ok(Wire::JsonObject) => Some(ResponseFormat::JsonObject),
        Ok(Wire::JsonSchema) => {
            const FIELD: &str = "response_format.schema_json";
            let name = if name.is_empty() { UNNAMED.to_owned() } else { name };
            check_name(&name, "response_format.name", violations);
            if schema_json.is_empty() {
                violations.add(FIELD, "must be set");
            }
            let schema = schema(&schema_json, FIELD, violations)?;
            let description = Some(description).filter(|text| !text.is_empty());
            Some(ResponseFormat::JsonSchema { name, schema, strict, description })
        }
        Err(_) => {
            let known = [Wire::Text, Wire::JsonObject, Wire::JsonSchema].map(|form| form.as_str_name());
            violations.0.push(unknown("response_format.type", r#type, &known));
            None
        }
    }
}
