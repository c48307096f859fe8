//! A submit was sent and its answer is missing: look for the job, adopt it only if it is certainly ours, and never send again blindly.

use std::{sync::Arc, time::Duration};

use tracing::debug;

use super::{Driver, Next, Tries, Work};
use crate::{
    domain::{attempt::Ticket, generation::Generation, life::AttemptEvent},
    provider::port::{Found, Job, Order},
};

/// A vendor's clock may be this much behind ours.
const CLOCK_SKEW: Duration = Duration::from_secs(5);

impl Driver {
    /// Looks for a job whose answer was lost by an earlier process, or longer ago than this one remembers.
    pub(super) async fn find(&mut self, generation: Arc<Generation>, work: &Work) -> Next {
        let lost = AttemptEvent::AnswerLost("the answer of the submit call was lost".to_owned());
        match self.engine.order(&generation).await {
            Ok(order) => self.look_for(&generation, work, &order, lost).await,
            // Without its inputs the order cannot be compared; it stays unknown.
            Err(_) => self.not_found(work, lost).await,
        }
    }

    /// Adopts the job if it is there; else `otherwise` is told.
    pub(super) async fn look_for(
        &mut self,
        generation: &Generation,
        work: &Work,
        order: &Order,
        otherwise: AttemptEvent,
    ) -> Next {
        let (Some(key), Some(sent_at)) = (work.attempt.submit_key, work.attempt.submit_at) else {
            return self.not_found(work, otherwise).await;
        };
        let ticket = match work.provider.find(order, &key, sent_at).await {
            Ok(Found::Candidates(jobs)) => {
                let earliest = sent_at.checked_sub(CLOCK_SKEW).unwrap_or(sent_at);
                let jobs = jobs.into_iter().filter(|job| job.exact || job.created_at >= earliest).collect();
                self.adoptable(generation, work, jobs).await
            }
            Ok(Found::Unsupported) => None,
            Err(error) => {
                debug!(generation.name = %self.id, kind = ?error.kind, "looking for a lost job failed");
                None
            }
        };
        match ticket {
            Some(ticket) => {
                self.tries = Tries::default();
                self.tell_of(work, AttemptEvent::Accepted(ticket)).await
            }
            None => self.not_found(work, otherwise).await,
        }
    }

    /// The job with our mark, or the only unclaimed one if no other lost order could have made it. A store that cannot answer decides nothing.
    async fn adoptable(&self, generation: &Generation, work: &Work, jobs: Vec<Job>) -> Option<Ticket> {
        let model = &work.attempt.model;
        let store = self.engine.store();
        let mut unclaimed = Vec::new();
        for job in jobs {
            let Ticket { account, job: id, .. } = &job.ticket;
            if !store.job_is_claimed(model.provider.id(), account, id, self.id).await.ok()? {
                unclaimed.push(job);
            }
        }
        if let Some(marked) = unclaimed.iter().position(|job| job.exact) {
            return Some(unclaimed.swap_remove(marked).ticket);
        }
        let alone = store.lost_submits(&model.to_string(), &generation.brief, self.id).await.ok()? == 0;
        if alone && unclaimed.len() == 1 { unclaimed.pop().map(|job| job.ticket) } else { None }
    }

    pub(super) async fn not_found(&mut self, work: &Work, told: AttemptEvent) -> Next {
        self.tries.n_failed += 1;
        self.rest(self.engine.settings().backoff.unknown(self.tries.n_failed));
        self.tell_of(work, told).await
    }
}
