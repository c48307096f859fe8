//! The body of the call, written from an order without a copy of what it says.

use std::iter;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{json, value::RawValue};

use crate::provider::{
    chat::{ChatMessage, ChatOrder, Part, ResponseFormat, Tool, ToolCall, ToolChoice},
    http::base64,
    port::InputFile,
};

/// Fields that an order's own ones are written as. The vendor's own are the rest.
const TYPED: [&str; 13] = [
    "model",
    "messages",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "seed",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "stream",
];

/// What differs among those who speak the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::provider) struct Dialect {
    /// What the limit of the answer's tokens is called.
    pub(in crate::provider) token_limit: TokenLimit,
}

/// What the limit of the answer's tokens is called.
///
/// OpenAI's newer models refuse `max_tokens`; Mistral refuses `max_completion_tokens`, and Ollama and older servers of llama.cpp ignore it, so
/// that their answers would have no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::provider) enum TokenLimit {
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

impl TokenLimit {
    /// As it is written in settings and in the body.
    pub(in crate::provider) fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }

    /// Of its name.
    pub(in crate::provider) fn of(text: &str) -> Option<Self> {
        [Self::MaxTokens, Self::MaxCompletionTokens].into_iter().find(|limit| limit.as_str() == text)
    }
}

/// The body of the call that hands `order` over.
///
/// # Errors
/// The order's field at fault, and what is wrong with it.
pub(in crate::provider) fn body(order: &ChatOrder, dialect: Dialect) -> Result<Vec<u8>, (String, String)> {
    if let Some(name) = order.provider_options.keys().find(|name| is_typed(name)) {
        let field = format!("provider_options.{name}");
        return Err((field, format!("has `{name}` among provider_options, which a field of the chat's own says")));
    }
    let n_said: usize = order.texts().iter().map(|text| text.len()).sum();
    // Room for what is around the texts and escaped in them; a longer body grows.
    let mut body = Vec::with_capacity(n_said + n_said / 8 + 512);
    serde_json::to_writer(&mut body, &Body { order, dialect })
        .map_err(|error| ("messages".to_owned(), format!("cannot be written as JSON: {error}")))?;
    Ok(body)
}

fn is_typed(name: &str) -> bool {
    // Without the count of tokens in streams no chat has a price.
    TYPED.contains(&name) || name == "stream_options"
}

struct Body<'a> {
    order: &'a ChatOrder,
    dialect: Dialect,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let order = self.order;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", &order.model)?;
        map.serialize_entry("messages", &List(&order.messages, Message))?;
        entry(&mut map, "temperature", order.temperature)?;
        entry(&mut map, "top_p", order.top_p)?;
        entry(&mut map, self.dialect.token_limit.as_str(), order.max_tokens)?;
        entry(&mut map, "stop", Some(&order.stop).filter(|stop| !stop.is_empty()))?;
        entry(&mut map, "seed", order.seed)?;
        if !order.tools.is_empty() {
            map.serialize_entry("tools", &List(&order.tools, Function))?;
        }
        entry(&mut map, "tool_choice", order.tool_choice.as_ref().map(tool_choice))?;
        entry(&mut map, "parallel_tool_calls", order.parallel_tool_calls)?;
        entry(&mut map, "response_format", order.format.as_ref().map(Format))?;
        if order.stream {
            map.serialize_entry("stream", &true)?;
            map.serialize_entry("stream_options", &json!({ "include_usage": true }))?;
        }
        for (name, value) in &order.provider_options {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

fn entry<M: SerializeMap>(map: &mut M, name: &str, value: Option<impl Serialize>) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(name, &value))
}

/// A list whose items are written as `F` makes them.
struct List<'a, T, F>(&'a [T], F);

impl<'a, T, F: Fn(&'a T) -> W + Copy, W: Serialize> Serialize for List<'a, T, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(self.1))
    }
}

struct Message<'a>(&'a ChatMessage);

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", message.speaker.as_str())?;
        match message.content.as_slice() {
            // Servers that know no parts take a text, and OpenAI takes null where there are calls.
            [] if !message.tool_calls.is_empty() => map.serialize_entry("content", &())?,
            [] => map.serialize_entry("content", "")?,
            [Part::Text(text)] => map.serialize_entry("content", text)?,
            parts => map.serialize_entry("content", &List(parts, Content))?,
        }
        if !message.tool_calls.is_empty() {
            map.serialize_entry("tool_calls", &List(&message.tool_calls, Call))?;
        }
        entry(&mut map, "tool_call_id", message.tool_call_id.as_ref())?;
        entry(&mut map, "name", message.name.as_ref())?;
        map.end()
    }
}

struct Content<'a>(&'a Part);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            Part::Text(text) => {
                map.serialize_entry("type", "text")?;
                map.serialize_entry("text", text)?;
            }
            Part::Image { file, detail } => {
                map.serialize_entry("type", "image_url")?;
                map.serialize_entry("image_url", &Image { file, detail: detail.as_deref() })?;
            }
        }
        map.end()
    }
}

struct Image<'a> {
    file: &'a InputFile,
    detail: Option<&'a str>,
}

impl Serialize for Image<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.file {
            InputFile::Url(url) => map.serialize_entry("url", url.as_str())?,
            InputFile::Bytes { media_type, data } => {
                map.serialize_entry("url", &base64::data_uri(media_type, data))?;
            }
        }
        entry(&mut map, "detail", self.detail)?;
        map.end()
    }
}

struct Call<'a>(&'a ToolCall);

impl Serialize for Call<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Called<'a> {
            name: &'a str,
            arguments: &'a str,
        }
        let ToolCall { id, name, arguments } = self.0;
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("id", id)?;
        map.serialize_entry("type", "function")?;
        map.serialize_entry("function", &Called { name, arguments })?;
        map.end()
    }
}

struct Function<'a>(&'a Tool);

impl Serialize for Function<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Described<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            description: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            parameters: Option<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            strict: Option<bool>,
        }
        let Tool { name, description, parameters, strict } = self.0;
        let function =
            Described { name, description: description.as_deref(), parameters: parameters.as_deref(), strict: *strict };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("type", "function")?;
        map.serialize_entry("function", &function)?;
        map.end()
    }
}

fn tool_choice(choice: &ToolChoice) -> serde_json::Value {
    match choice {
        ToolChoice::None => json!("none"),
        ToolChoice::Auto => json!("auto"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Tool(name) => json!({ "type": "function", "function": { "name": name } }),
    }
}

struct Format<'a>(&'a ResponseFormat);

impl Serialize for Format<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Described<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            description: Option<&'a str>,
            schema: &'a RawValue,
            #[serde(skip_serializing_if = "Option::is_none")]
            strict: Option<bool>,
        }
        match self.0 {
            ResponseFormat::Text => serializer.collect_map(iter::once(("type", "text"))),
            ResponseFormat::JsonObject => serializer.collect_map(iter::once(("type", "json_object"))),
            ResponseFormat::JsonSchema { name, schema, strict, description } => {
                let described = Described { name, description: description.as_deref(), schema, strict: *strict };
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("type", "json_schema")?;
                map.serialize_entry("json_schema", &described)?;
                map.end()
            }
        }
    }
}
