//! Conversations with language models: chooses the model, watches over budgets, keeps turns in sessions, and records what each chat used.
//!
//! Invariants: an answer is read from the provider only as fast as its reader takes it, and dropping it ends the exchange; whatever was sent
//! leaves exactly one record; nothing is sent twice.

mod error;
mod request;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Stream, stream::BoxStream};
use jiff::Timestamp;

/// What a chat is made of, as the port has it.
pub use crate::provider::chat::{ChatDelta, ResponseFormat, Speaker, Tool, ToolCall, ToolCallDelta, ToolChoice};

pub use self::{
    error::Error,
    request::{AskedMessage, AskedPart, ChatRequest},
};
use crate::domain::{
    catalog::Catalog,
    chat::TokenUsage,
    money::MicroUsd,
    names::{ChatId, ModelName, SessionId},
};

/// The chat; a cheap handle.
#[derive(Debug, Clone)]
pub struct Chat(std::sync::Arc<Catalog>);

/// A conversation that a model has begun to answer.
#[derive(Debug)]
pub struct Conversation {
    /// What usage and ledger call it.
    pub id: ChatId,
    /// The model that answers, by its own name.
    pub model: ModelName,
    /// Where its turns are kept, if anywhere.
    pub session: Option<SessionId>,
    /// True if the stand-in answers, and nobody has read the messages.
    pub sample: bool,
    /// When it began.
    pub began_at: Timestamp,
    /// The answer.
    pub events: Answer,
}

/// What a model says, as it says it; the last item is [`Said::End`] or an error. Dropped before, it ends the exchange with the provider.
#[must_use = "an answer is said only as fast as it is read"]
pub struct Answer(BoxStream<'static, Result<Said, Error>>);

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// More of it.
    More(ChatDelta),
    /// It has ended.
    End(Ended),
}

/// How an answer ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// What was used, if the provider tells.
    pub usage: Option<TokenUsage>,
    /// What it cost; absent if that cannot be told.
    pub cost: Option<MicroUsd>,
    /// The provider's own id of the answer.
    pub provider_chat_id: Option<String>,
}

impl Chat {
    /// Hands a conversation to the model that it names; returns when the provider has begun to answer.
    ///
    /// # Errors
    /// All that [`Error`] lists; nothing was sent unless it says so.
    pub async fn begin(&self, request: ChatRequest) -> Result<Conversation, Error> {
        drop(request);
        Err(Error::Draining)
    }

    /// The models that can be talked with.
    pub fn catalog(&self) -> &Catalog {
        &self.0
    }
}

impl Stream for Answer {
    type Item = Result<Said, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}
