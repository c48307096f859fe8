//! The messages of a request.

use serde_json::value::RawValue;

use super::raw::{At, Object, list, read};
use crate::{
    door::openai::problem::Problem,
    pb::v1::{ChatImage, ChatMessage, ChatPart, ChatRole, ToolCall, chat_image::Source, chat_part::Part},
};

/// What an answer has and a request has no use for. Clients send answers back as they came.
const OF_ANSWERS: [&str; 3] = ["annotations", "reasoning_content", "reasoning"];

/// The conversation.
pub(super) fn messages(raw: &RawValue, at: &At<'_>) -> Result<Vec<ChatMessage>, Problem> {
    let mut old_calls = OldCalls::default();
    let messages = list(raw, at)?.into_iter().enumerate();
    messages.map(|(index, raw)| message(raw, &at.item(index), &mut old_calls)).collect()
}

fn message(raw: &RawValue, at: &At<'_>, old_calls: &mut OldCalls) -> Result<ChatMessage, Problem> {
    let mut fields = Object::of(raw, at)?;
    let word: String = fields.required("role", at)?;
    let role = match word.as_str() {
        "developer" | "system" => ChatRole::System,
        "user" => ChatRole::User,
        "assistant" => ChatRole::Assistant,
        "tool" | "function" => ChatRole::Tool,
        _ => {
            let why = "must be one of developer, system, user, assistant, tool, function";
            return Err(at.field("role").wrong_value(why));
        }
    };
    let mut message = ChatMessage {
        role: role.into(),
        content: content(fields.take("content"), &at.field("content"))?,
        name: fields.read("name", at)?.unwrap_or_default(),
        ..ChatMessage::default()
    };
    match role {
        ChatRole::Assistant => assistant(&mut message, &mut fields, at, old_calls)?,
        // The old way names the function, not the call.
        ChatRole::Tool if word == "function" => message.tool_call_id = old_calls.answered(&message.name, at)?,
        ChatRole::Tool => message.tool_call_id = fields.required("tool_call_id", at)?,
        ChatRole::Unspecified | ChatRole::System | ChatRole::User => {}
    }
    fields.none_left(at)?;
    Ok(message)
}

fn assistant(
    message: &mut ChatMessage,
    fields: &mut Object<'_>,
    at: &At<'_>,
    old_calls: &mut OldCalls,
) -> Result<(), Problem> {
    // A refusal is what it said.
    if let Some(refusal) = fields.read("refusal", at)? {
        message.content.push(text(refusal));
    }
    for name in OF_ANSWERS {
        fields.take(name);
    }
    if fields.take("audio").is_some() {
        return Err(at.field("audio").unsupported("is not taken here; send the text of what was said"));
    }
    if let Some(raw) = fields.take("tool_calls") {
        let at = at.field("tool_calls");
        let calls = list(raw, &at)?.into_iter().enumerate();
        message.tool_calls = calls.map(|(index, raw)| tool_call(raw, &at.item(index))).collect::<Result<_, _>>()?;
    }
    if let Some(raw) = fields.take("function_call") {
        let call = function(Object::of(raw, &at.field("function_call"))?, &at.field("function_call"))?;
        message.tool_calls.push(old_calls.called(call));
    }
    // Beside its calls an assistant says nothing, and some clients write that as an empty text.
    if !message.tool_calls.is_empty() {
        message.content.retain(|part| !matches!(&part.part, Some(Part::Text(text)) if text.is_empty()));
    }
    Ok(())
}

fn tool_call(raw: &RawValue, at: &At<'_>) -> Result<ToolCall, Problem> {
    let mut fields = Object::of(raw, at)?;
    let id = fields.required("id", at)?;
    let kind: Option<String> = fields.read("type", at)?;
    if let Some(kind) = kind.filter(|kind| kind != "function") {
        let shown: String = kind.chars().take(64).collect();
        return Err(at.field("type").unsupported(format_args!("is '{shown}'; only calls of functions are taken here")));
    }
    // Put together from the pieces of a stream.
    fields.take("index");
    let of = at.field("function");
    let raw = fields.take("function").ok_or_else(|| of.missing())?;
    fields.none_left(at)?;
    Ok(ToolCall { id, ..function(Object::of(raw, &of)?, &of)? })
}

fn function(mut fields: Object<'_>, at: &At<'_>) -> Result<ToolCall, Problem> {
    let call = ToolCall {
        id: String::new(),
        name: fields.required("name", at)?,
        arguments_json: fields.required("arguments", at)?,
    };
    fields.none_left(at)?;
    Ok(call)
}

fn content(raw: Option<&RawValue>, at: &At<'_>) -> Result<Vec<ChatPart>, Problem> {
    match raw {
        None => Ok(Vec::new()),
        Some(raw) if raw.get().starts_with('"') => Ok(vec![text(read(raw, at)?)]),
        Some(raw) if raw.get().starts_with('[') => {
            list(raw, at)?.into_iter().enumerate().map(|(index, raw)| part(raw, &at.item(index))).collect()
        }
        Some(raw) => Err(at.wrong_type("a string or an array of objects", raw)),
    }
}

fn part(raw: &RawValue, at: &At<'_>) -> Result<ChatPart, Problem> {
    let mut fields = Object::of(raw, at)?;
    let kind: String = fields.required("type", at)?;
    let part = match kind.as_str() {
        "text" | "refusal" => text(fields.required(&kind, at)?),
        "image_url" => image(&mut fields, at)?,
        _ => {
            let shown: String = kind.chars().take(64).collect();
            let what =
                format_args!("is a part of type '{shown}'; only parts of type text and image_url are taken here");
            return Err(at.unsupported(what));
        }
    };
    fields.none_left(at)?;
    Ok(part)
}

fn image(fields: &mut Object<'_>, at: &At<'_>) -> Result<ChatPart, Problem> {
    let at = at.field("image_url");
    let raw = fields.take("image_url").ok_or_else(|| at.missing())?;
    let mut fields = Object::of(raw, &at)?;
    let image = ChatImage {
        source: Some(Source::Uri(fields.required("url", &at)?)),
        detail: fields.read("detail", &at)?.unwrap_or_default(),
    };
    fields.none_left(&at)?;
    Ok(ChatPart { part: Some(Part::Image(image)) })
}

fn text(text: String) -> ChatPart {
    ChatPart { part: Some(Part::Text(text)) }
}

/// Calls of the old way, which have no ids: an answer belongs to the last call of its function.
#[derive(Debug, Default)]
struct OldCalls {
    n_calls: usize,
    last: Option<(String, String)>,
}

impl OldCalls {
    fn called(&mut self, call: ToolCall) -> ToolCall {
        self.n_calls += 1;
        let id = format!("call_{}", self.n_calls);
        self.last = Some((call.name.clone(), id.clone()));
        ToolCall { id, ..call }
    }

    fn answered(&mut self, name: &str, at: &At<'_>) -> Result<String, Problem> {
        let called = self.last.take().filter(|(known, _)| known == name);
        let called =
            called.ok_or_else(|| at.field("name").wrong_value("the message before it does not call this function"))?;
        Ok(called.1)
    }
}
