//! A generation: the durable record of one request. `life` has its state machine.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    artifact::{Artifact, Kind},
    attempt::{Attempt, AttemptStage},
    failure::{Failure, UnresolvedReason},
    money::MicroUsd,
    names::{ArtifactId, GenerationId, RequestId, SessionId, TenantId},
    order::{CachePolicy, Candidate, Input, InputSource, OptionName},
};

/// Where a generation is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Stored; nothing was sent to a provider, or what was sent certainly had no effect.
    Queued,
    /// Sent to a provider.
    Running,
    /// The provider is done; its outputs are being fetched, checked and stored.
    Storing,
    /// Cancel was asked for; the provider has not answered for it.
    Cancelling,
    /// What became of a paid request is unknown; it is asked further.
    Unresolved,
    /// An end: the outputs are stored.
    Succeeded,
    /// An end: `failure` says why.
    Failed,
    /// An end: cancelled before a result.
    Cancelled,
}

impl State {
    /// Every state, in the order of the contract.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Storing,
        Self::Cancelling,
        Self::Unresolved,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// True for an end.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
            Self::Queued | Self::Running | Self::Storing | Self::Cancelling | Self::Unresolved => false,
        }
    }

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Storing => "storing",
            Self::Cancelling => "cancelling",
            Self::Unresolved => "unresolved",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What is unknown, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unresolved {
    /// The stable reason.
    pub reason: UnresolvedReason,
    /// What happened, safe to show.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

/// The money of a generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Expected price; absent when unknown.
    pub estimated: Option<MicroUsd>,
    /// Set aside now.
    pub held: MicroUsd,
    /// Final price; absent until it ended, or when it cannot be told.
    pub settled: Option<MicroUsd>,
    /// What a cached or coalesced result saved.
    pub saved: MicroUsd,
    /// Set aside for what cannot be told.
    #[serde(default)]
    pub suspense: MicroUsd,
    /// What providers took beyond the quote.
    #[serde(default)]
    pub absorbed: MicroUsd,
    /// The most that it may cost, by its quote.
    #[serde(default)]
    pub quoted: Option<MicroUsd>,
}

/// What identical orders have in common, for the cache and for sharing a job in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheKey {
    /// SHA-256 of everything that decides the result but the conversation, in hexadecimal.
    pub digest: String,
    /// True if the session had no earlier turn, so that the result does not depend on the session.
    pub first_turn: bool,
}

/// One request for one output kind, with its whole life. The unit that is durable and priced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Its name.
    pub id: GenerationId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The conversation it belongs to.
    pub session: SessionId,
    /// What is made.
    pub kind: Kind,
    /// The caller's key of the request.
    pub request_id: Option<RequestId>,
    /// The request's prompt, trimmed.
    pub prompt: String,
    /// The prompt really sent.
    pub brief: String,
    /// The models it may be tried at, in order; never empty.
    pub candidates: Vec<Candidate>,
    /// Files to start from.
    pub inputs: Vec<Input>,
    /// A content refusal also moves on to the next candidate.
    pub fallback_on_refusal: bool,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// Where its end is reported to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<Url>,
    /// How earlier results are used.
    pub cache: CachePolicy,
    /// What identical orders have in common; absent when the result must not be shared.
    pub cache_key: Option<CacheKey>,
    /// Bounds the job.
    pub max_duration: Duration,
    /// When `max_duration` is over.
    pub deadline: Timestamp,

    /// Where it is in its life.
    pub state: State,
    /// What is happening, in a few words.
    pub phase: String,
    /// Number of the current snapshot, from 1.
    pub sequence: u64,
    /// How many history events there are.
    pub n_events: u64,
    /// 0 to 100, as told by the provider.
    pub progress_percent: Option<u8>,
    /// End of the provider's log, at most 4 KiB.
    pub provider_logs: String,
    /// Every try; never empty unless it was answered from the cache or shares another's job.
    pub attempts: Vec<Attempt>,
    /// The outputs, once it succeeded.
    pub artifacts: Vec<Artifact>,
    /// The money.
    pub cost: Cost,
    /// The generation whose outputs were used instead of asking a provider.
    pub cached_from: Option<GenerationId>,
    /// The generation whose provider job it shares.
    pub leader: Option<GenerationId>,
    /// It took part in another's job.
    pub coalesced: bool,
    /// The generation that took over its provider job when it was cancelled.
    pub successor: Option<GenerationId>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// What is unknown; set only in `Unresolved`, and in `Cancelling` when it came from there.
    pub unresolved: Option<Unresolved>,
    /// When cancel was first asked for.
    pub cancel_requested_at: Option<Timestamp>,
    /// The provider's failure that the sample stands in for.
    pub provider_error: Option<String>,
    /// W3C `traceparent` of the trace it belongs to.
    pub trace: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When the provider accepted the current attempt.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When it expired: it is a tombstone since then.
    #[serde(default)]
    pub expired_at: Option<Timestamp>,
    /// The sample provider had made its outputs; said by a tombstone only, which has none any more.
    #[serde(default)]
    pub was_sample: bool,
    /// When the current snapshot was made.
    pub updated_at: Timestamp,
}

impl Generation {
    /// The attempt that has not ended.
    pub fn open_attempt(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|attempt| attempt.is_open())
    }

    /// The candidate of the current or last attempt.
    pub fn candidate(&self) -> Option<&Candidate> {
        self.candidates.get(self.attempts.last().map_or(0, |attempt| attempt.candidate))
    }

    /// True if the sample provider made the outputs.
    pub fn is_sample(&self) -> bool {
        self.was_sample || self.artifacts.iter().any(|artifact| artifact.sample)
    }

    /// From acceptance to the end.
    pub fn elapsed(&self) -> Option<Duration> {
        self.ended_at.and_then(|end| end.duration_since(self.created_at).try_into().ok())
    }

    /// Removes what callers wrote and providers answered, for the tombstone of a deleted or expired generation. What it was and cost stays, and
    /// where its job went; its outputs are gone, so nobody is told of them.
    pub fn scrub(&mut self) {
        self.was_sample = self.is_sample();
        self.prompt.clear();
        self.brief.clear();
        self.inputs.clear();
        self.labels.clear();
        self.callback_url = None;
        self.provider_logs.clear();
        self.artifacts.clear();
        for candidate in &mut self.candidates {
            candidate.options.remove(&OptionName::NegativePrompt);
            candidate.provider_options.clear();
            candidate.adjustments.clear();
        }
        for attempt in &mut self.attempts {
            if let Some(ticket) = &mut attempt.ticket {
                ticket.data = serde_json::Value::Null;
            }
        }
    }

    /// The artifacts of ours that it starts from.
    pub fn input_artifacts(&self) -> impl Iterator<Item = &ArtifactId> {
        self.inputs.iter().filter_map(|input| match &input.source {
            InputSource::Artifact(id) => Some(id),
            InputSource::Url(_) => None,
        })
    }

    /// When it is given up: `unresolved_for` after it became unknown, cancel was asked for, or the deadline passed while storing.
    pub fn give_up_at(&self, unresolved_for: Duration) -> Option<Timestamp> {
        let since = match self.state {
            State::Unresolved => self.unresolved.as_ref().map(|unresolved| unresolved.since),
            State::Cancelling => {
                self.unresolved.as_ref().map(|unresolved| unresolved.since).or(self.cancel_requested_at)
            }
            State::Storing => Some(self.deadline),
            State::Queued | State::Running | State::Succeeded | State::Failed | State::Cancelled => None,
        }?;
        since.checked_add(unresolved_for).ok()
    }

    /// True while nobody knows what became of its job, so that it must not keep a place at the provider from others. A cancel that was asked for
    /// hides this from its state.
    pub fn is_unknown(&self) -> bool {
        let lost = |unresolved: &Unresolved| match unresolved.reason {
            UnresolvedReason::ProviderSilent | UnresolvedReason::TicketUnknown => true,
            // It may have been found since.
            UnresolvedReason::SubmitAnswerLost
            | UnresolvedReason::NoProviderJobId
            | UnresolvedReason::DeadlinePassed => {
                self.open_attempt().is_some_and(|attempt| attempt.stage == AttemptStage::Submitting)
            }
        };
        match self.state {
            State::Unresolved => true,
            State::Cancelling => self.unresolved.as_ref().is_some_and(lost),
            State::Queued | State::Running | State::Storing | State::Succeeded | State::Failed | State::Cancelled => {
                false
            }
        }
    }
}

/// One entry of a generation's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// Number within the generation, from 1 without gaps.
    pub number: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened, in a stable word.
    pub what: String,
    /// State after it.
    pub state: State,
    /// More about it, safe to show.
    pub message: String,
    /// The snapshot it made.
    pub sequence: u64,
}
