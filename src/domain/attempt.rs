//! One try of a generation at one model of one provider.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::{
    artifact::BlobKey,
    failure::{Charged, FailureReason},
    money::{MicroUsd, Usage},
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
    /// The outputs came with the answer, and are in our hands.
    Answered,
    /// The provider's ticket is stored.
    Accepted,
}

/// What came with the answer of a submit call, in place of a ticket: nobody can be asked for it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubmitAnswer {
    /// The outputs in order.
    pub outputs: Vec<AnsweredOutput>,
    /// What was used.
    pub usage: Usage,
}

/// An output that came with the answer of a submit call.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnsweredOutput {
    /// Its bytes, stored durably before anything else was done.
    Blob {
        /// Where they are.
        key: BlobKey,
        /// How many.
        size: u64,
    },
    /// An address, perhaps signed: it is forgotten with the end of the attempt, and never shown or logged.
    Link(Url),
}

impl fmt::Debug for AnsweredOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob { key, size } => write!(f, "Blob({key}, {size})"),
            Self::Link(url) => write!(f, "Link({})", url.host_str().unwrap_or_default()),
        }
    }
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
    /// What came in place of a ticket, until it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<SubmitAnswer>,
    /// Place in the provider's own queue, from 1, as long as it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
    /// How it went.
    pub outcome: AttemptOutcome,
    /// Whether the provider took money.
    pub charged: Option<Charged>,
    /// Set aside for it while it is open.
    #[serde(default, skip_serializing_if = "MicroUsd::is_zero")]
    pub held: MicroUsd,
    /// What it cost the caller, once it ended and if it can be told.
    pub settled: Option<MicroUsd>,
    /// Set aside for what cannot be told about it.
    #[serde(default, skip_serializing_if = "MicroUsd::is_zero")]
    pub suspense: MicroUsd,
    /// What the provider took beyond the quote.
    #[serde(default, skip_serializing_if = "MicroUsd::is_zero")]
    pub absorbed: MicroUsd,
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
    /// A try that has not been sent, with `held` set aside for it.
    pub fn new(candidate: usize, model: ModelName, held: MicroUsd, now: Timestamp) -> Self {
        Self {
            id: AttemptId::fresh(),
            candidate,
            model,
            stage: AttemptStage::Waiting,
            submit_key: None,
            submit_at: None,
            turned_away: None,
            ticket: None,
            answer: None,
            queue_position: None,
            outcome: AttemptOutcome::Open,
            charged: None,
            held,
            settled: None,
            suspense: MicroUsd::ZERO,
            absorbed: MicroUsd::ZERO,
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
