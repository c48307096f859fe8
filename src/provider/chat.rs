//! The port of conversations: what the chat asks of a vendor that has language models.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde_json::{Map, Value, value::RawValue};

use crate::domain::chat::{ChatCard, Finish, TokenUsage};

use super::{error::ProviderError, port::InputFile};

/// A vendor with language models.
#[async_trait]
pub trait ChatProvider: fmt::Debug + Send + Sync {
    /// The cards of its models.
    fn chat_models(&self) -> &[Arc<ChatCard>];

    /// True if it talks with models that have no card.
    fn serves_undescribed_chat(&self) -> bool {
        false
    }

    /// Hands a conversation over; returns when the vendor has begun to answer or has refused. Called once for each chat. What of the order it
    /// cannot express is an error of [`super::error::ErrorKind::InvalidOrder`] that names the field; nothing is dropped.
    ///
    /// The answer is read from the vendor only as fast as the stream is polled, and dropping it ends the exchange.
    async fn chat(&self, order: ChatOrder) -> Result<ChatStream, ProviderError>;
}

/// What the model says, as it says it. An error ends it; without one the last item is of [`ChatEvent::End`].
pub type ChatStream = BoxStream<'static, Result<ChatEvent, ProviderError>>;

/// A conversation as one model gets it.
#[derive(Debug, Clone)]
pub struct ChatOrder {
    /// The model's name at the provider.
    pub model: String,
    /// Its card; absent for a model nobody described.
    pub card: Option<Arc<ChatCard>>,
    /// The conversation, oldest first.
    pub messages: Vec<ChatMessage>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// Above 0 to 1.
    pub top_p: Option<f64>,
    /// Most tokens of the answer.
    pub max_tokens: Option<u32>,
    /// Texts that end the answer.
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
    /// Fields of the vendor's own, passed on as they are.
    pub provider_options: Map<String, Value>,
    /// Whether the answer is wanted as it is said. Otherwise the vendor may be asked for all of it at once.
    pub stream: bool,
}

impl ChatOrder {
    /// What is said in it, for keeping it out of what is shown.
    pub fn texts(&self) -> Vec<&str> {
        let parts = self.messages.iter().flat_map(|message| &message.content);
        parts
            .filter_map(|part| match part {
                Part::Text(text) => Some(text.as_str()),
                Part::Image { .. } => None,
            })
            .collect()
    }

    /// Forgets the pictures, which are large, once they are written down.
    pub fn drop_images(&mut self) {
        self.messages.iter_mut().for_each(|message| message.content.retain(|part| matches!(part, Part::Text(_))));
    }
}

#[cfg(test)]
impl ChatOrder {
    /// For tests: a conversation with nothing else said about the answer, which is wanted whole.
    pub(crate) fn plain(model: &str, messages: Vec<ChatMessage>) -> Self {
        Self {
            model: model.to_owned(),
            card: None,
            messages,
            temperature: None,
            top_p: None,
            max_tokens: None,
            stop: Vec::new(),
            seed: None,
            tools: Vec::new(),
            tool_choice: None,
            parallel_tool_calls: None,
            format: None,
            provider_options: Map::new(),
            stream: false,
        }
    }
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// Instructions.
    System,
    /// The caller.
    User,
    /// The model.
    Assistant,
    /// A tool.
    Tool,
}

impl Speaker {
    /// The word of most vendors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One message.
#[derive(Debug, Clone)]
pub struct ChatMessage {
    /// Who says it.
    pub speaker: Speaker,
    /// What is said, in order.
    pub content: Vec<Part>,
    /// The tools that the assistant wanted called.
    pub tool_calls: Vec<ToolCall>,
    /// Which call a tool answers.
    pub tool_call_id: Option<String>,
    /// Name of who says it.
    pub name: Option<String>,
}

/// A part of a message.
#[derive(Debug, Clone)]
pub enum Part {
    /// Text.
    Text(String),
    /// A picture.
    Image {
        /// The file.
        file: InputFile,
        /// How closely to look, in the vendors' word.
        detail: Option<String>,
    },
}

/// A tool.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON Schema of its arguments; properties keep their order.
    pub parameters: Option<Box<RawValue>>,
    /// Whether the arguments must keep to it.
    pub strict: Option<bool>,
}

/// Which tools the model may or must want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// None.
    None,
    /// Any.
    Auto,
    /// At least one.
    Required,
    /// This one.
    Tool(String),
}

/// What form the answer must have.
#[derive(Debug, Clone)]
pub enum ResponseFormat {
    /// Any text.
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that keeps to a schema.
    JsonSchema {
        /// The schema's name.
        name: String,
        /// The schema; properties keep their order.
        schema: Box<RawValue>,
        /// Whether the answer must keep to it.
        strict: Option<bool>,
        /// What the answer is for.
        description: Option<String>,
    },
}

/// A whole call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The vendor's id of the call.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// The arguments as JSON text, as the model wrote it.
    pub arguments: String,
}

/// What happens while a model answers.
#[derive(Debug, Clone, PartialEq)]
pub enum ChatEvent {
    /// It says more.
    Delta(ChatDelta),
    /// It has ended; always the last one.
    End(ChatEnd),
}

/// What the model says next. What it says nothing of is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatDelta {
    /// Which of several answers it belongs to, from 0.
    pub choice: u32,
    /// More text.
    pub text: String,
    /// More of what it thinks.
    pub reasoning: String,
    /// More of its refusal.
    pub refusal: String,
    /// More of the tools it wants called.
    pub tool_calls: Vec<ToolCallDelta>,
    /// Why this answer ended; in its last delta.
    pub finish: Option<Finish>,
    /// What the vendor adds that has no field here.
    pub extra: Map<String, Value>,
}

/// More of a call of a tool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolCallDelta {
    /// Which of the calls of this answer, from 0.
    pub index: u32,
    /// The vendor's id of the call; empty after its first delta.
    pub id: String,
    /// Name of the tool; empty after its first delta.
    pub name: String,
    /// The next piece of the arguments.
    pub arguments: String,
}

/// How an answer ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatEnd {
    /// What was used, if the vendor tells.
    pub usage: Option<TokenUsage>,
    /// The vendor's own id of the answer.
    pub vendor_id: Option<String>,
}
