//! What is not known: lost answers, passed deadlines, silence, and how such a time ends.

use jiff::Timestamp;

use super::{
    super::{
        attempt::{AttemptOutcome, AttemptStage},
        failure::{Charged, Failure, FailurePhase, FailureReason, UnresolvedReason},
        generation::{Generation, State, Unresolved},
        money::Usage,
    },
    Refused, Resolution, Told, deadline_exceeded,
};

impl Generation {
    pub(super) fn lose(&mut self, reason: UnresolvedReason, why: &str, now: Timestamp) -> Result<Told, Refused> {
        // Only a submit on its way can be lost.
        if self.open_attempt().is_none_or(|attempt| attempt.stage != AttemptStage::Submitting) {
            return Err(Refused::WrongState(self.state));
        }
        Ok(self.become_unresolved(reason, why, now))
    }

    pub(super) fn become_unresolved(&mut self, reason: UnresolvedReason, why: &str, now: Timestamp) -> Told {
        // What is unknown stays so since then; and of a job that is done only the outputs are missing.
        if self.unresolved.is_some() || self.state == State::Storing {
            return Told::Nothing;
        }
        self.unresolved = Some(Unresolved { reason, message: why.to_owned(), since: now });
        if self.state != State::Cancelling {
            self.set(State::Unresolved, "unresolved");
        }
        Told::Event("unresolved", why.to_owned())
    }

    pub(super) fn pass_deadline(&mut self, now: Timestamp) -> Result<Told, Refused> {
        if now < self.deadline {
            return Err(Refused::WrongState(self.state));
        }
        match self.state {
            State::Queued => {
                let failure = self.failure_of_waiting();
                self.close_failed(AttemptOutcome::Failed, &failure, &Usage::default(), now);
                Ok(self.fail(failure, now))
            }
            State::Running => Ok(self.become_unresolved(
                UnresolvedReason::DeadlinePassed,
                "max_duration is over; the provider is asked further",
                now,
            )),
            State::Storing | State::Cancelling | State::Unresolved => Ok(Told::Nothing),
            State::Succeeded | State::Failed | State::Cancelled => Err(Refused::Ended(self.state)),
        }
    }

    /// Why nothing came of it while it was queued: nobody had a place for it, or the provider turned it away again and again.
    fn failure_of_waiting(&self) -> Failure {
        let attempt = self.open_attempt();
        let Some((attempt, reason)) = attempt.and_then(|attempt| Some((attempt, attempt.turned_away?))) else {
            return deadline_exceeded();
        };
        let message = if reason == FailureReason::ProviderUnreachable {
            "the provider could not be reached until max_duration was over"
        } else {
            "the provider limited our rate until max_duration was over"
        };
        Failure::new(reason, FailurePhase::Submit, Charged::No, message).at(&attempt.model.provider)
    }

    /// The provider took the order and its job was never found.
    fn is_unnamed(&self) -> bool {
        self.unresolved.as_ref().is_some_and(|unresolved| unresolved.reason == UnresolvedReason::NoProviderJobId)
    }

    pub(super) fn give_up(&mut self, now: Timestamp) -> Result<Told, Refused> {
        let failure = match self.state {
            State::Storing => Failure::new(
                FailureReason::ArtifactLost,
                FailurePhase::Download,
                Charged::Yes,
                "the outputs could not be fetched and stored in time",
            ),
            State::Unresolved | State::Cancelling if self.is_unnamed() => Failure::new(
                FailureReason::NoProviderJobId,
                FailurePhase::Submit,
                Charged::Unknown,
                "the provider took the order and named no job, and its job was never found",
            ),
            State::Unresolved | State::Cancelling => Failure::new(
                FailureReason::UnresolvedExpired,
                FailurePhase::Provider,
                Charged::Unknown,
                "what became of the provider's job was never learned",
            ),
            State::Queued | State::Running | State::Succeeded | State::Failed | State::Cancelled => {
                return Err(Refused::WrongState(self.state));
            }
        };
        let failure = match self.attempts.last() {
            Some(attempt) => failure.at(&attempt.model.provider),
            None => failure,
        };
        self.close_failed(AttemptOutcome::Unknown, &failure, &Usage::default(), now);
        Ok(self.fail(failure, now))
    }

    pub(super) fn resolve(&mut self, resolution: Resolution, now: Timestamp) -> Result<Told, Refused> {
        if self.state != State::Unresolved || self.leader.is_some() {
            return Err(Refused::WrongState(self.state));
        }
        let (reason, charged) = (FailureReason::ResolvedByPerson, Charged::Unknown);
        let message = match resolution {
            Resolution::Failed => "a person resolved it as failed",
            Resolution::Resubmit => "a person had it sent again",
        };
        let failure = Failure::new(reason, FailurePhase::Provider, charged, message);
        self.close_failed(AttemptOutcome::Unknown, &failure, &Usage::default(), now);
        match resolution {
            Resolution::Failed => Ok(self.fail(failure, now)),
            Resolution::Resubmit => {
                self.try_candidate(self.candidate_index().unwrap_or_default(), now);
                self.unresolved = None;
                self.progress_percent = None;
                self.started_at = None;
                self.deadline = now.checked_add(self.max_duration).unwrap_or(Timestamp::MAX);
                self.set(State::Queued, "sent again by a person");
                Ok(Told::Event("resubmitted", String::new()))
            }
        }
    }
}
