//! The life of a generation as a pure state machine: an event and a time in, the next record out.
//!
//! Invariants, property-tested in `life/tests.rs`: an end is final whatever comes later; `sequence` grows by one with every change; history numbers
//! have no gaps; an intent that was stored leads to `Unresolved` or to the provider's word, never back to a second submit, unless the
//! submit certainly had no effect or a person says so; money is held exactly while an attempt is open.

mod event;
mod money;
mod sharing;
#[cfg(test)]
pub(crate) mod tests;
mod unknown;

use jiff::Timestamp;

pub use event::{Advance, Applied, AttemptEvent, Event, Refused, Resolution};
pub use sharing::{HandOver, shared_outputs};

use super::{
    artifact::Artifact,
    attempt::{Attempt, AttemptOutcome, AttemptStage, SubmitAnswer, Ticket},
    failure::{Charged, Failure, FailurePhase, FailureReason, UnresolvedReason},
    generation::{Generation, HistoryEvent, State, Unresolved},
    money::{MicroUsd, Usage},
    names::SubmitKey,
    order::Candidate,
};

/// The phase from the provider's last word to ours.
const STORING: &str = "storing";
/// The history's word for it.
const OUTPUTS_READY: &str = "outputs_ready";

impl Generation {
    /// Applies `event` at `now`. On an error nothing has changed.
    pub fn apply(&mut self, event: &Event, now: Timestamp) -> Result<Applied, Refused> {
        self.apply_barred(event, now, None)
    }

    /// As [`Self::apply`]; `barred` says why no further model that costs anything may be tried.
    pub fn apply_barred(&mut self, event: &Event, now: Timestamp, barred: Option<&str>) -> Result<Applied, Refused> {
        if let Event::Learned(attempt, charged, usage) = event {
            return Ok(match self.learn(*attempt, *charged, usage, now)? {
                Told::Event(what, message) => Applied::Changed(vec![self.record(what, message, now)]),
                Told::Nothing | Told::Progress => Applied::Unchanged,
            });
        }
        if self.state.is_terminal() {
            // Asking again for a cancel that was done is no mistake.
            let repeated = self.state == State::Cancelled && *event == Event::CancelRequested;
            return if repeated { Ok(Applied::Unchanged) } else { Err(Refused::Ended(self.state)) };
        }
        let before = self.told_so_far();
        let mut entries = Vec::new();
        let told = match event {
            Event::Attempt(id, event) => {
                if self.open_attempt().is_none_or(|attempt| attempt.id != *id) {
                    return Err(Refused::StaleAttempt);
                }
                if matches!(event, AttemptEvent::Stored(..)) && !self.is_storing() {
                    entries.push(self.catch_up(now));
                }
                self.apply_to_attempt(event, now, barred)?
            }
            Event::CancelRequested => self.request_cancel(now),
            Event::DeadlinePassed => self.pass_deadline(now)?,
            Event::GaveUp => self.give_up(now)?,
            Event::Resolved(resolution) => self.resolve(*resolution, now)?,
            // Done above, for what has ended as well.
            Event::Learned(..) => Told::Nothing,
            Event::LeaderEnded(leader) => {
                if self.leader != Some(leader.id) || !leader.state.is_terminal() {
                    return Err(Refused::WrongState(self.state));
                }
                self.follow_to_the_end(leader, now)
            }
        };
        match told {
            Told::Nothing => Ok(Applied::Unchanged),
            Told::Progress => {
                if before == self.told_so_far() {
                    return Ok(Applied::Unchanged);
                }
                self.touch(now);
                Ok(Applied::Changed(entries))
            }
            Told::Event(what, message) => {
                self.touch(now);
                entries.push(self.record(what, message, now));
                Ok(Applied::Changed(entries))
            }
        }
    }

    /// True once it is known that the outputs are there, at the provider or in our hands.
    pub fn is_storing(&self) -> bool {
        match self.state {
            State::Storing => true,
            State::Cancelling => self.phase == STORING,
            State::Queued
            | State::Running
            | State::Unresolved
            | State::Succeeded
            | State::Failed
            | State::Cancelled => false,
        }
    }

    /// Outputs were stored so quickly that nobody was told before that they were there: the snapshot and the history entry of that.
    fn catch_up(&mut self, now: Timestamp) -> HistoryEvent {
        // They came with the answer, and that is told with the end as well.
        if self.open_attempt().is_some_and(|attempt| attempt.stage == AttemptStage::Submitting) {
            self.with_attempt(|attempt| attempt.stage = AttemptStage::Answered);
            self.started_at = Some(now);
        }
        self.begin_storing();
        self.touch(now);
        self.record(OUTPUTS_READY, String::new(), now)
    }

    /// What progress is judged by: told again, it is none.
    fn told_so_far(&self) -> (State, String, Option<u8>, Option<u32>, usize) {
        let place = self.attempts.last().and_then(|attempt| attempt.queue_position);
        (self.state, self.phase.clone(), self.progress_percent, place, self.provider_logs.len())
    }

    /// Adds an entry to the history of the current snapshot.
    pub fn record(&mut self, what: &str, message: String, now: Timestamp) -> HistoryEvent {
        self.n_events += 1;
        HistoryEvent {
            number: self.n_events,
            at: self.not_before_the_last(now),
            what: what.to_owned(),
            state: self.state,
            message,
            sequence: self.sequence,
        }
    }

    /// It has been kept for long enough since it ended: what is left is a tombstone, its last snapshot. False, and nothing happens, if it is
    /// unfinished or expired already.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        if !self.state.is_terminal() || self.expired_at.is_some() {
            return false;
        }
        self.scrub();
        self.expired_at = Some(now);
        self.touch(now);
        true
    }

    /// A new snapshot. A clock that was set back does not make it older than the last one.
    fn touch(&mut self, now: Timestamp) {
        self.sequence += 1;
        self.updated_at = self.not_before_the_last(now);
    }

    fn not_before_the_last(&self, now: Timestamp) -> Timestamp {
        now.max(self.updated_at)
    }

    fn apply_to_attempt(
        &mut self,
        event: &AttemptEvent,
        now: Timestamp,
        barred: Option<&str>,
    ) -> Result<Told, Refused> {
        match event {
            AttemptEvent::Submitting(key) => self.intend(*key, now),
            AttemptEvent::Postponed(reason, why) => self.postpone(*reason, why, now),
            AttemptEvent::Accepted(ticket) => Ok(self.accepted(ticket, now)),
            AttemptEvent::Answered(answer) => self.answered(answer, now),
            AttemptEvent::AnswerLost(why) => self.lose(UnresolvedReason::SubmitAnswerLost, why, now),
            AttemptEvent::Unnamed(why) => self.lose(UnresolvedReason::NoProviderJobId, why, now),
            AttemptEvent::Progressed(advance) => Ok(self.advance(advance)),
            AttemptEvent::Silent(why) => Ok(self.become_unresolved(UnresolvedReason::ProviderSilent, why, now)),
            AttemptEvent::TicketForgotten(why) => Ok(self.become_unresolved(UnresolvedReason::TicketUnknown, why, now)),
            AttemptEvent::OutputsReady => Ok(if self.is_storing() { Told::Nothing } else { self.begin_storing() }),
            AttemptEvent::Stored(artifacts, usage) => Ok(self.succeed(artifacts, usage, now)),
            AttemptEvent::Failed(failure, usage) => {
                // A refused order of which a job is known all the same was not refused: the next model would be paid as well.
                if failure.phase == FailurePhase::Submit && self.has_ticket() {
                    return Err(Refused::WrongState(self.state));
                }
                Ok(self.attempt_failed(failure, usage, now, barred))
            }
            AttemptEvent::Stopped(charged, usage) => {
                if self.cancel_requested_at.is_some() {
                    return Ok(self.close_cancelled(*charged, usage, now));
                }
                let failure = Failure::new(
                    FailureReason::ProviderJobCancelled,
                    FailurePhase::Provider,
                    *charged,
                    "the job was cancelled at the provider",
                );
                Ok(self.attempt_failed(&failure, usage, now, barred))
            }
        }
    }

    fn intend(&mut self, key: SubmitKey, now: Timestamp) -> Result<Told, Refused> {
        let waiting = self.open_attempt().is_some_and(|attempt| attempt.stage == AttemptStage::Waiting);
        if self.state != State::Queued || !waiting {
            return Err(Refused::WrongState(self.state));
        }
        self.with_attempt(|attempt| {
            attempt.stage = AttemptStage::Submitting;
            attempt.submit_key = Some(key);
            attempt.submit_at = Some(now);
        });
        self.set(State::Running, "submitting");
        let model = self.attempts.last().map(|attempt| attempt.model.to_string()).unwrap_or_default();
        Ok(Told::Event("submitting", model))
    }

    fn postpone(&mut self, reason: FailureReason, why: &str, now: Timestamp) -> Result<Told, Refused> {
        let submitting = self.open_attempt().is_some_and(|attempt| attempt.stage == AttemptStage::Submitting);
        // With a ticket or with outputs, the submit certainly had an effect.
        if !submitting || self.state == State::Storing {
            return Err(Refused::WrongState(self.state));
        }
        self.with_attempt(|attempt| {
            attempt.stage = AttemptStage::Waiting;
            attempt.turned_away = Some(reason);
        });
        if self.state == State::Cancelling {
            return Ok(self.close_cancelled(Charged::No, &Usage::default(), now));
        }
        self.unresolved = None;
        self.set(State::Queued, "waiting to try again");
        Ok(Told::Event("postponed", why.to_owned()))
    }

    fn accepted(&mut self, ticket: &Ticket, now: Timestamp) -> Told {
        if self.has_ticket() {
            return Told::Nothing;
        }
        self.with_attempt(|attempt| {
            attempt.stage = AttemptStage::Accepted;
            attempt.ticket = Some(ticket.clone());
        });
        self.started_at = Some(now);
        // Past the deadline it stays unknown when it will end; a cancel still waits for the provider's word.
        if self.state != State::Cancelling {
            // What was lost is found; only its end is unknown, still for as long.
            let since = self.unresolved.take().map_or(now, |unresolved| unresolved.since);
            if now < self.deadline {
                self.set(State::Running, "accepted");
            } else {
                let why = "max_duration is over; the provider is asked further";
                self.become_unresolved(UnresolvedReason::DeadlinePassed, why, since);
            }
        }
        Told::Event("submitted", ticket.job.clone())
    }

    fn answered(&mut self, answer: &SubmitAnswer, now: Timestamp) -> Result<Told, Refused> {
        if self.open_attempt().is_none_or(|attempt| attempt.stage != AttemptStage::Submitting) {
            return Err(Refused::WrongState(self.state));
        }
        self.with_attempt(|attempt| {
            attempt.stage = AttemptStage::Answered;
            attempt.answer = Some(answer.clone());
        });
        self.started_at = Some(now);
        Ok(self.begin_storing())
    }

    fn begin_storing(&mut self) -> Told {
        // A cancel that came too late stays visible until the outputs are in.
        if self.state == State::Cancelling {
            STORING.clone_into(&mut self.phase);
        } else {
            self.set(State::Storing, STORING);
            self.unresolved = None;
        }
        self.progress_percent = Some(100);
        Told::Event(OUTPUTS_READY, String::new())
    }

    /// The provider certainly took the order.
    fn has_ticket(&self) -> bool {
        self.open_attempt()
            .is_some_and(|attempt| matches!(attempt.stage, AttemptStage::Accepted | AttemptStage::Answered))
    }

    fn advance(&mut self, advance: &Advance) -> Told {
        if self.state == State::Storing {
            return Told::Nothing;
        }
        let silent = |unresolved: &Unresolved| match unresolved.reason {
            UnresolvedReason::ProviderSilent | UnresolvedReason::TicketUnknown => true,
            UnresolvedReason::SubmitAnswerLost
            | UnresolvedReason::NoProviderJobId
            | UnresolvedReason::DeadlinePassed => false,
        };
        let answered_again = self.state == State::Unresolved && self.unresolved.as_ref().is_some_and(silent);
        if answered_again {
            self.state = State::Running;
            self.unresolved = None;
        }
        // A provider that says less than before has not gone back.
        if let Some(phase) = &advance.phase {
            self.phase.clone_from(phase);
        }
        self.progress_percent = self.progress_percent.max(advance.percent.map(|percent| percent.min(100)));
        if let Some(attempt) = self.attempts.last_mut().filter(|attempt| attempt.is_open()) {
            attempt.queue_position = advance.queue_position;
        }
        if let Some(tail) = &advance.log_tail {
            self.provider_logs.clone_from(tail);
        }
        if answered_again { Told::Event("answered_again", String::new()) } else { Told::Progress }
    }

    fn succeed(&mut self, artifacts: &[Artifact], usage: &Usage, now: Timestamp) -> Told {
        let price = self.candidate_index().and_then(|index| self.charge(index, Charged::Yes, usage));
        // What has no price, such as a sample, takes no money.
        let charged = if price == Some(MicroUsd::ZERO) { Charged::No } else { Charged::Yes };
        self.close_attempt(AttemptOutcome::Succeeded, charged, usage, now);
        // The job may have been handed over while its outputs were being stored under the name of the one that began it.
        let ours = |(index, artifact): (usize, &Artifact)| match artifact.generation {
            Some(id) if id == self.id => artifact.clone(),
            Some(_) | None => artifact.shared_with(self.id, index, now),
        };
        self.artifacts = artifacts.iter().enumerate().map(ours).collect();
        self.progress_percent = Some(100);
        let what = self.end(State::Succeeded, "succeeded", now);
        Told::Event(what, format!("{} artifact(s)", artifacts.len()))
    }

    fn attempt_failed(&mut self, failure: &Failure, usage: &Usage, now: Timestamp, barred: Option<&str>) -> Told {
        if self.cancel_requested_at.is_some() {
            return self.close_cancelled(failure.charged, usage, now);
        }
        self.close_failed(AttemptOutcome::Failed, failure, usage, now);
        self.unresolved = None;
        if let Some(next) = self.next_candidate(failure, barred.is_some()) {
            let candidate = &self.candidates[next];
            if candidate.stand_in {
                self.provider_error = Some(failure.message.clone());
            }
            let model = candidate.model.clone();
            self.try_candidate(next, now);
            self.progress_percent = None;
            self.started_at = None;
            self.set(State::Queued, "trying the next model");
            return Told::Event("attempt_failed", format!("{}; next: {model}", failure.message));
        }
        let told = self.fail(failure.clone(), now);
        match (told, barred) {
            (Told::Event(what, message), Some(why)) => Told::Event(what, format!("{message}; {why}")),
            (told, _) => told,
        }
    }

    /// The next model, if the failure allows it: the last attempt certainly ended (the event says so), took no money, and was no content
    /// refusal unless the caller allows that. The stand-in costs nothing and dodges no refusal, so it may always follow.
    /// Of those barred for money, what costs nothing remains.
    fn next_candidate(&self, failure: &Failure, barred: bool) -> Option<usize> {
        let next = self.attempts.last().map_or(0, |attempt| attempt.candidate + 1);
        let refused = failure.reason == FailureReason::ProviderRefusedContent;
        let buys_again = failure.charged == Charged::No && (!refused || self.fallback_on_refusal);
        (next..self.candidates.len()).find(|&index| {
            let Candidate { stand_in, estimate, .. } = &self.candidates[index];
            (*stand_in || buys_again) && (!barred || *estimate == Some(MicroUsd::ZERO))
        })
    }

    fn request_cancel(&mut self, now: Timestamp) -> Told {
        if self.cancel_requested_at.is_some() {
            return Told::Nothing;
        }
        self.cancel_requested_at = Some(now);
        let nothing_sent =
            self.leader.is_some() || self.open_attempt().is_none_or(|attempt| attempt.stage == AttemptStage::Waiting);
        if nothing_sent {
            return self.close_cancelled(Charged::No, &Usage::default(), now);
        }
        // Too late, and shown as such.
        let phase = if self.is_storing() { STORING } else { "cancelling" };
        self.set(State::Cancelling, phase);
        Told::Event("cancel_requested", String::new())
    }

    fn close_cancelled(&mut self, charged: Charged, usage: &Usage, now: Timestamp) -> Told {
        self.close_attempt(AttemptOutcome::Cancelled, charged, usage, now);
        Told::Event(self.end(State::Cancelled, "cancelled", now), String::new())
    }

    fn fail(&mut self, failure: Failure, now: Timestamp) -> Told {
        let message = failure.message.clone();
        self.failure = Some(failure);
        Told::Event(self.end(State::Failed, "failed", now), message)
    }

    fn end(&mut self, state: State, what: &'static str, now: Timestamp) -> &'static str {
        self.set(state, what);
        self.unresolved = None;
        self.leader = None;
        self.tally();
        if self.cost.settled.is_none() || self.attempts.is_empty() {
            self.sum_up();
        }
        self.ended_at = Some(self.not_before_the_last(now));
        what
    }

    fn candidate_index(&self) -> Option<usize> {
        self.attempts.last().map(|attempt| attempt.candidate)
    }

    fn close_failed(&mut self, outcome: AttemptOutcome, failure: &Failure, usage: &Usage, now: Timestamp) {
        self.with_attempt(|attempt| {
            attempt.reason = Some(failure.reason);
            attempt.message.clone_from(&failure.message);
        });
        self.close_attempt(outcome, failure.charged, usage, now);
    }

    fn with_attempt(&mut self, change: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = self.attempts.last_mut().filter(|attempt| attempt.is_open()) {
            change(attempt);
        }
    }

    fn set(&mut self, state: State, phase: &str) {
        self.state = state;
        phase.clone_into(&mut self.phase);
    }
}

enum Told {
    Nothing,
    Progress,
    Event(&'static str, String),
}

fn deadline_exceeded() -> Failure {
    let message = "max_duration was over before anything was sent to a provider";
    Failure::new(FailureReason::DeadlineExceeded, FailurePhase::Deadline, Charged::No, message)
}
