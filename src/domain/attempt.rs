//! One try of a generation at one model of one provider.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    failure::{Charged, FailureReason},
    money::MicroUsd,
    names::{AttemptId, ModelName, SubmitKey},
};

/// What a provider gave us to find its job again. Serialisable, complete, and without secrets or signed addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The account at the provider that it belongs to: a fingerprint of the key, never the key.
    pub account: String,
    /// The provider's own id of the job, to quote in a support case.
    pub job: String,
    /// What the adapter needs to poll and cancel; opaque to everybody else.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

/// How far an attempt has come on its way to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStage {
    /// Nothing is on its way.
    Waiting,
    /// The intent is stored: a submit call may be on its way, or may have had its effect.
    Submitting,
    /// The provider's ticket is stored.
    Accepted,
}

/// How an attempt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// Not ended.
    Open,
    /// It gave the outputs.
    Succeeded,
    /// It failed.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// What became of it was never learned.
    Unknown,
}

/// One try of a generation at one model of one provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its name.
    pub id: AttemptId,
    /// Which of the generation's candidates it tries.
    pub candidate: usize,
    /// The candidate's model.
    pub model: ModelName,
    /// How far it has come.
    pub stage: AttemptStage,
    /// The mark of the last submit call; stored before it is sent.
    pub submit_key: Option<SubmitKey>,
    /// When the last intent was stored.
    pub submit_at: Option<Timestamp>,
    /// Why the last submit certainly had no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turned_away: Option<FailureReason>,
    /// What the provider gave.
    pub ticket: Option<Ticket>,
    /// How it went.
    pub outcome: AttemptOutcome,
    /// Whether the provider took money.
    pub charged: Option<Charged>,
    /// What it cost, once it ended and if it can be told.
    pub settled: Option<MicroUsd>,
    /// Why it failed, or was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,
    /// The same in words.
    pub message: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Attempt {
    /// A try that has not been sent.
    pub fn new(candidate: usize, model: ModelName, now: Timestamp) -> Self {
        Self {
            id: AttemptId::fresh(),
            candidate,
            model,
            stage: AttemptStage::Waiting,
            submit_key: None,
            submit_at: None,
            turned_away: None,
            ticket: None,
            outcome: AttemptOutcome::Open,
            charged: None,
            settled: None,
            reason: None,
            message: String::new(),
            created_at: now,
            ended_at: None,
        }
    }

    /// Not ended.
    pub fn is_open(&self) -> bool {
        self.outcome == AttemptOutcome::Open
    }
}
