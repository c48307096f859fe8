//! One provider job for several generations: sharing it in flight, handing it over, and answering from an earlier result.

use jiff::Timestamp;

use super::{Refused, Told, deadline_exceeded};
use crate::domain::{
    artifact::Artifact,
    failure::{Charged, Failure, FailurePhase, FailureReason},
    generation::{Generation, HistoryEvent, State},
    money::MicroUsd,
    names::GenerationId,
};

/// How a generation ends that hands its job over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOver {
    /// Its caller cancelled it.
    Cancelled,
    /// Its deadline passed before anything was sent.
    DeadlinePassed,
}

impl Generation {
    /// Succeeds at once with the outputs of `source`, an earlier success of the same order: no attempt, no cost. For a generation that was
    /// just drafted. Returns the history entry.
    pub fn answer_from(&mut self, source: &Self, now: Timestamp) -> HistoryEvent {
        self.cached_from = Some(source.id);
        self.attempts.clear();
        self.artifacts = shared_outputs(source, self.id, now);
        self.cost.saved = source.worth();
        self.progress_percent = Some(100);
        let what = self.end(State::Succeeded, "succeeded", now);
        self.touch(now);
        self.record(what, format!("answered from {}", source.id), now)
    }

    /// Shares the provider job of `leader`, an unfinished generation of the same order: it makes no attempt and holds no money of its own.
    /// For a generation that was just drafted.
    pub fn share_job_of(&mut self, leader: GenerationId) {
        self.leader = Some(leader);
        self.coalesced = true;
        self.attempts.clear();
        self.tally();
    }

    /// Hands the provider job to `follower` and ends as `ending` says: attempts, ticket and held money move, so nothing is bought again.
    ///
    /// The follower must share this generation's job. Returns the history entries of both.
    pub fn hand_over(
        &mut self,
        follower: &mut Self,
        ending: HandOver,
        now: Timestamp,
    ) -> Result<(HistoryEvent, HistoryEvent), Refused> {
        if self.state.is_terminal() {
            return Err(Refused::Ended(self.state));
        }
        if follower.state.is_terminal() || follower.leader != Some(self.id) {
            return Err(Refused::WrongState(follower.state));
        }
        follower.leader = None;
        follower.attempts = std::mem::take(&mut self.attempts);
        follower.candidates.clone_from(&self.candidates);
        follower.state = self.state;
        follower.phase.clone_from(&self.phase);
        follower.progress_percent = self.progress_percent;
        follower.provider_logs = std::mem::take(&mut self.provider_logs);
        follower.provider_error.clone_from(&self.provider_error);
        follower.unresolved = self.unresolved.take();
        follower.started_at = self.started_at;
        follower.inherit_cost(self);
        follower.touch(now);
        let promoted = follower.record("promoted", format!("took over the job of {}", self.id), now);

        self.successor = Some(follower.id);
        let told = match ending {
            HandOver::Cancelled => {
                self.cancel_requested_at = Some(now);
                self.end(State::Cancelled, "cancelled", now)
            }
            HandOver::DeadlinePassed => {
                self.failure = Some(deadline_exceeded());
                self.end(State::Failed, "failed", now)
            }
        };
        self.touch(now);
        Ok((self.record(told, format!("its job goes on as {}", follower.id), now), promoted))
    }

    /// Follows another leader, which took the job over. A new snapshot, so that those who watch look there; no history entry.
    pub fn follow(&mut self, leader: GenerationId, now: Timestamp) {
        self.leader = Some(leader);
        self.touch(now);
    }

    /// Ends a follower as its leader ended.
    pub(super) fn follow_to_the_end(&mut self, leader: &Self, now: Timestamp) -> Told {
        self.provider_logs.clone_from(&leader.provider_logs);
        self.provider_error.clone_from(&leader.provider_error);
        self.cost.settled = Some(MicroUsd::ZERO);
        if leader.state == State::Succeeded {
            self.artifacts = shared_outputs(leader, self.id, now);
            self.cost.saved = leader.worth();
            self.progress_percent = Some(100);
            return Told::Event(self.end(State::Succeeded, "succeeded", now), format!("with {}", leader.id));
        }
        let failure = leader.failure.clone().unwrap_or_else(|| {
            let message = "the job that this generation shared was cancelled";
            Failure::new(FailureReason::ProviderJobCancelled, FailurePhase::Provider, Charged::No, message)
        });
        // The money, if any, was the leader's.
        self.failure = Some(Failure { charged: Charged::No, ..failure });
        Told::Event(self.end(State::Failed, "failed", now), format!("with {}", leader.id))
    }

    /// What its result cost, or would have cost if it was got for nothing.
    fn worth(&self) -> MicroUsd {
        let paid = self.cost.settled.or(self.cost.estimated).unwrap_or_default();
        MicroUsd(paid.0.saturating_add(self.cost.saved.0))
    }
}

/// The outputs of `source` as outputs of another generation: the same bytes under new names.
pub fn shared_outputs(source: &Generation, id: GenerationId, now: Timestamp) -> Vec<Artifact> {
    source.artifacts.iter().enumerate().map(|(index, artifact)| artifact.shared_with(id, index, now)).collect()
}
