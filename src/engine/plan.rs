//! What to do next with a generation: a pure function of its record and the time.
#![deny(clippy::wildcard_enum_match_arm)]

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{
    attempt::AttemptStage,
    generation::{Generation, State},
};

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It has ended.
    Done,
    /// Another generation's job is its job too: wait for that, at most until the deadline.
    Follow,
    /// Its deadline is over.
    PassDeadline,
    /// It has been asked about for long enough.
    GiveUp,
    /// Get a place and hand the order over.
    Submit,
    /// A submit was sent and its answer is missing: look for the job.
    Find,
    /// The outputs came with the answer: make them artifacts.
    Keep,
    /// Ask the provider how far it is.
    Ask,
}

/// The next step of `generation` at `now`.
pub(super) fn plan(generation: &Generation, now: Timestamp, unresolved_for: Duration) -> Step {
    let overdue = now >= generation.deadline;
    match generation.state {
        State::Succeeded | State::Failed | State::Cancelled => return Step::Done,
        State::Queued | State::Running if overdue => return Step::PassDeadline,
        State::Queued | State::Running => {}
        State::Storing | State::Cancelling | State::Unresolved => {
            if generation.give_up_at(unresolved_for).is_some_and(|at| now >= at) {
                return Step::GiveUp;
            }
        }
    }
    if generation.leader.is_some() {
        return Step::Follow;
    }
    match generation.open_attempt().map(|attempt| attempt.stage) {
        Some(AttemptStage::Waiting) => Step::Submit,
        Some(AttemptStage::Submitting) => Step::Find,
        Some(AttemptStage::Answered) => Step::Keep,
        Some(AttemptStage::Accepted) => Step::Ask,
        // An unfinished record without an open attempt cannot be written; if one is read, time ends it.
        None => Step::Follow,
    }
}
