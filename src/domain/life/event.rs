//! What can happen to a generation, and what came of it.

use super::super::{
    artifact::Artifact,
    attempt::{SubmitAnswer, Ticket},
    failure::{Charged, Failure, FailureReason},
    generation::{Generation, HistoryEvent, State},
    money::Usage,
    names::{AttemptId, SubmitKey},
};

/// Something that happened to a generation.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Something happened to one of its attempts; refused if that one is not open any more.
    Attempt(AttemptId, AttemptEvent),
    /// A caller asked for its end.
    CancelRequested,
    /// `max_duration` is over.
    DeadlinePassed,
    /// It has been unknown, cancelling or storing for as long as we ask.
    GaveUp,
    /// A person decided about what is unknown.
    Resolved(Resolution),
    /// What became of the money of one of its attempts that had ended unknown, also if the generation has ended.
    Learned(AttemptId, Charged, Usage),
    /// The generation whose job it shares has ended so.
    LeaderEnded(Box<Generation>),
}

/// Something that happened to an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptEvent {
    /// The intent: a submit call with this mark is about to be sent.
    Submitting(SubmitKey),
    /// The submit call certainly had no effect and will be made again later.
    Postponed(FailureReason, String),
    /// The provider took the order, or its job was found again.
    Accepted(Ticket),
    /// The answer of the submit call brought the outputs, which are in our hands now.
    Answered(SubmitAnswer),
    /// The answer of the submit call was lost.
    AnswerLost(String),
    /// The provider took the order and named no job: as good as lost, until its job is found.
    Unnamed(String),
    /// The provider says how far it is.
    Progressed(Advance),
    /// The provider could not be asked several times in a row.
    Silent(String),
    /// The provider no longer knows the job.
    TicketForgotten(String),
    /// The provider is done.
    OutputsReady,
    /// The outputs are stored. If nobody was told before that they are there, this tells it as well.
    Stored(Vec<Artifact>, Usage),
    /// It certainly ended without outputs.
    Failed(Failure, Usage),
    /// The provider confirms that it stopped.
    Stopped(Charged, Usage),
}

/// How far a provider is. What it does not say is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advance {
    /// The provider's own word.
    pub phase: Option<String>,
    /// 0 to 100.
    pub percent: Option<u8>,
    /// Place in its queue, from 1.
    pub queue_position: Option<u32>,
    /// End of its log.
    pub log_tail: Option<String>,
}

/// What a person decides about an unresolved generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// End it as failed, charged unknown.
    Failed,
    /// Send it again.
    Resubmit,
}

/// What an event did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The record changed; with the history entries that belong to that, none if it is mere progress.
    Changed(Vec<HistoryEvent>),
    /// It says nothing new.
    Unchanged,
}

/// Why an event does not apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has ended.
    #[error("the generation has ended")]
    Ended(State),
    /// Another attempt is open, or none.
    #[error("the attempt is not open")]
    StaleAttempt,
    /// It does not fit the state.
    #[error("the event does not fit the state")]
    WrongState(State),
}
