//! Conversations: messages in append order.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::names::{GenerationId, SessionId};

/// A conversation without its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the last message was appended.
    pub updated_at: Timestamp,
    /// How many messages it holds.
    pub n_messages: u64,
}

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The caller.
    User,
    /// filmgate, about what it did.
    Assistant,
    /// Instructions.
    System,
}

impl Role {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::System => "system",
        }
    }
}

/// One message of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub text: String,
    /// Facts about it.
    #[serde(default)]
    pub meta: Map<String, Value>,
    /// When it was appended.
    pub created_at: Timestamp,
    /// The generation it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<GenerationId>,
}
