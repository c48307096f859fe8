//! A request as the chat takes it: valid by type, its model not chosen yet.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    domain::{
        catalog::ChatNeeds,
        names::{SessionId, TenantId},
    },
    engine::request::AskedSource,
    provider::chat::{ResponseFormat, Speaker, Tool, ToolCall, ToolChoice},
};

/// A valid request for one answer.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// Whose it is.
    pub tenant: TenantId,
    /// The caller's program, for the session's history, for example `filmgate-cli`.
    pub source: String,
    /// The model as it was named: `provider/name`, a name or alias alone, or empty for the default.
    pub model: String,
    /// Where the turns are kept; nowhere if absent.
    pub session: Option<SessionId>,
    /// The conversation, oldest first; of one with a session what is new. Never empty.
    pub messages: Vec<AskedMessage>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// Above 0 to 1.
    pub top_p: Option<f64>,
    /// Most tokens of the answer, at least 1.
    pub max_tokens: Option<u32>,
    /// Texts that end the answer, at most 4, none of them empty.
    pub stop: Vec<String>,
    /// For answers that repeat.
    pub seed: Option<i64>,
    /// Tools that the model may want called.
    pub tools: Vec<Tool>,
    /// Which of them; absent if nothing was said.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may want several at once.
    pub parallel_tool_calls: Option<bool>,
    /// What form the answer must have; absent if nothing was said.
    pub format: Option<ResponseFormat>,
    /// Fields of the provider's own, passed on as they are.
    pub provider_options: Map<String, Value>,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// W3C `traceparent` of the caller.
    pub trace: Option<String>,
    /// Whether the caller reads the answer as it is said. Otherwise the provider may be asked for all of it at once.
    pub stream: bool,
}

/// One message, as asked.
#[derive(Debug, Clone)]
pub struct AskedMessage {
    /// Who says it.
    pub speaker: Speaker,
    /// What is said, in order; empty only beside tool calls.
    pub content: Vec<AskedPart>,
    /// The tools that the assistant wanted called.
    pub tool_calls: Vec<ToolCall>,
    /// Which call a tool answers.
    pub tool_call_id: Option<String>,
    /// Name of who says it.
    pub name: Option<String>,
}

/// A part of a message, as asked.
#[derive(Debug, Clone)]
pub enum AskedPart {
    /// Text.
    Text(String),
    /// A picture.
    Image {
        /// Where it comes from.
        source: AskedSource,
        /// The request's field that holds it, for example `messages[2].content[0].image.uri`.
        field: String,
        /// `low`, `high` or `auto`, if anything was said.
        detail: Option<String>,
    },
}

impl ChatRequest {
    /// What its model must be able to do.
    pub fn needs(&self) -> ChatNeeds {
        let image = self.messages.iter().flat_map(|message| &message.content).find_map(|part| match part {
            AskedPart::Image { field, .. } => Some(field.clone()),
            AskedPart::Text(_) => None,
        });
        ChatNeeds {
            image,
            tools: !self.tools.is_empty(),
            json_schema: matches!(self.format, Some(ResponseFormat::JsonSchema { .. })),
            max_tokens: self.max_tokens,
        }
    }
}
