//! Conversations: messages in append order.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    generation::{Generation, State},
    names::{ChatId, GenerationId, SessionId},
};

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
    /// The chat it is a turn of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatId>,
}

/// The message about how a generation ended, for its session; nothing while it is unfinished.
///
/// It tells the prompt, not the brief: briefs hold earlier messages, and contexts must not nest.
pub fn closing_message(generation: &Generation, now: Timestamp) -> Option<Message> {
    const MAX_PROMPT: usize = 200;
    let prompt: String = generation.prompt.chars().take(MAX_PROMPT).collect();
    let kind = generation.kind.as_str().to_uppercase();
    let (text, meta) = match (generation.state, generation.is_sample(), &generation.provider_error) {
        (State::Succeeded, true, Some(error)) => (
            format!("[SAMPLE {kind} SERVED AFTER PROVIDER ERROR] brief={prompt}"),
            json!({ "sample": true, "provider_error": error }),
        ),
        (State::Succeeded, true, None) => (format!("[SAMPLE {kind} SERVED] brief={prompt}"), json!({ "sample": true })),
        (State::Succeeded, false, _) => (
            format!("[{kind} GENERATED] brief={prompt}"),
            json!({
                generation.kind.as_str(): generation.artifacts.first().map(|artifact| artifact.id.to_string()),
                "sample": false,
                "elapsed": generation.elapsed().map(|elapsed| (elapsed.as_secs_f64() * 100.0).round() / 100.0),
            }),
        ),
        (State::Failed, ..) => (
            format!("[{kind} FAILED] brief={prompt}"),
            json!({ "failure": generation.failure.as_ref().map(|failure| failure.reason) }),
        ),
        (State::Cancelled, ..) => (format!("[{kind} CANCELLED]"), json!({})),
        (State::Queued | State::Running | State::Storing | State::Cancelling | State::Unresolved, ..) => return None,
    };
    let meta = match meta {
        Value::Object(meta) => meta,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    Some(Message { role: Role::Assistant, text, meta, created_at: now, generation: Some(generation.id), chat: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        failure::{Charged, Failure, FailurePhase, FailureReason},
        life::tests::{START, drafted, output},
    };

    #[track_caller]
    fn check(change: impl FnOnce(&mut Generation), text: &str, meta: &Value) {
        let mut generation = drafted(1);
        generation.artifacts = vec![output(generation.id)];
        generation.ended_at = Some(START + jiff::SignedDuration::from_millis(12_346));
        change(&mut generation);
        let message = closing_message(&generation, START).unwrap();
        assert_eq!((message.role, message.generation), (Role::Assistant, Some(generation.id)));
        assert_eq!(message.text, text);
        let artifact = generation.artifacts[0].id.to_string();
        assert_eq!(Value::Object(message.meta).to_string(), meta.to_string().replace("ARTIFACT", &artifact));
    }

    fn sample(generation: &mut Generation) {
        generation.state = State::Succeeded;
        generation.artifacts[0].sample = true;
    }

    #[test]
    fn the_closing_message_tells_how_it_ended_in_exactly_these_keys() {
        check(
            |generation| generation.state = State::Succeeded,
            "[VIDEO GENERATED] brief=a cat",
            &json!({ "video": "ARTIFACT", "sample": false, "elapsed": 12.35 }),
        );
        check(sample, "[SAMPLE VIDEO SERVED] brief=a cat", &json!({ "sample": true }));
        check(
            |generation| {
                sample(generation);
                generation.provider_error = Some("out of credit".into());
            },
            "[SAMPLE VIDEO SERVED AFTER PROVIDER ERROR] brief=a cat",
            &json!({ "sample": true, "provider_error": "out of credit" }),
        );
        check(
            |generation| {
                let (reason, phase) = (FailureReason::ProviderJobFailed, FailurePhase::Provider);
                generation.state = State::Failed;
                generation.failure = Some(Failure::new(reason, phase, Charged::No, "no"));
            },
            "[VIDEO FAILED] brief=a cat",
            &json!({ "failure": "provider_job_failed" }),
        );
        check(|generation| generation.state = State::Cancelled, "[VIDEO CANCELLED]", &json!({}));
        assert_eq!(closing_message(&drafted(1), START), None);
    }

    #[test]
    fn a_long_prompt_is_cut_at_200_characters() {
        let mut generation = drafted(1);
        generation.state = State::Failed;
        generation.prompt = "ä".repeat(300);
        let message = closing_message(&generation, START).unwrap();
        assert_eq!(message.text, format!("[VIDEO FAILED] brief={}", "ä".repeat(200)));
    }
}
