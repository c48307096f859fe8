//! A generation as somebody sees it: the record with what is computed when it is read.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{Engine, error::Error};
use crate::domain::{
    attempt::AttemptStage,
    generation::{Generation, State},
};

/// A generation as of now.
#[derive(Debug, Clone)]
pub struct View {
    /// The record.
    pub generation: Arc<Generation>,
    /// The record of the generation whose job it shares: its state and progress are this one's too while both are unfinished.
    pub leader: Option<Arc<Generation>>,
    /// Place in the provider's queue, from 1.
    pub queue_position: Option<u32>,
    /// When it will probably end.
    pub eta: Option<Timestamp>,
    /// How long what is unknown is asked for.
    pub unresolved_for: Duration,
}

impl Engine {
    /// What was read, with the generations whose jobs they share, wherever these are driven.
    pub(super) async fn views(&self, generations: Vec<Arc<Generation>>) -> Result<Vec<View>, Error> {
        let unknown = generations.iter().filter_map(|generation| generation.leader);
        let mut unknown: Vec<_> = unknown.filter(|id| self.hub().shown(*id).is_none()).map(|id| (id, 0)).collect();
        unknown.dedup();
        let read = if unknown.is_empty() { Vec::new() } else { self.store().newer(&unknown).await? };
        let read: BTreeMap<_, _> = read.into_iter().map(|leader| (leader.id, Arc::new(leader))).collect();
        let view = |generation: Arc<Generation>| {
            let leader =
                generation.leader.and_then(|leader| self.hub().shown(leader).or_else(|| read.get(&leader).cloned()));
            self.view_with(leader, generation)
        };
        Ok(generations.into_iter().map(view).collect())
    }

    /// With the generation whose job it shares, if that is shown here.
    pub(super) fn view(&self, generation: Arc<Generation>) -> View {
        self.view_with(generation.leader.and_then(|leader| self.hub().shown(leader)), generation)
    }

    fn view_with(&self, leader: Option<Arc<Generation>>, generation: Arc<Generation>) -> View {
        let job = leader.as_ref().unwrap_or(&generation);
        let attempt = job.open_attempt();
        let waiting = attempt.filter(|attempt| job.state == State::Queued && attempt.stage == AttemptStage::Waiting);
        let ours = waiting.and_then(|attempt| self.gate(&attempt.model.provider).position(job.id));
        let theirs = attempt.filter(|_| job.state == State::Running).and_then(|attempt| attempt.queue_position);
        let queue_position = ours.or(theirs);
        let eta = self.eta(job, ours);
        View { queue_position, eta, leader, unresolved_for: self.settings().unresolved_for, generation }
    }

    /// When a job will probably end: by the median time of its model's last successes here, else by the card's; while it waits, behind those
    /// before it in the queue, of which as many are at work at a time as there are places.
    fn eta(&self, job: &Generation, queue_position: Option<u32>) -> Option<Timestamp> {
        let candidate = job.candidate()?;
        let usual = self.catalog().outlook.usual_time(&candidate.model).or(candidate.expected_time)?;
        let now = self.now();
        match (job.state, job.started_at) {
            (State::Running, Some(started)) => started.checked_add(usual).ok().filter(|eta| *eta > now),
            (State::Queued, _) => {
                let n_places = self.gate(&candidate.model.provider).n_places_of(&candidate.model);
                let n_before = queue_position.unwrap_or_default();
                let waits = usual.mul_f64(f64::from(n_before) / f64::from(u32::try_from(n_places).unwrap_or(u32::MAX)));
                now.checked_add(waits.saturating_add(usual)).ok()
            }
            (
                State::Running
                | State::Storing
                | State::Cancelling
                | State::Unresolved
                | State::Succeeded
                | State::Failed
                | State::Cancelled,
                _,
            ) => None,
        }
    }
}
