//! Telling the store what happened, and showing what that changed.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::{Engine, error::Error};
use crate::{
    domain::{generation::Generation, life::Event, names::GenerationId},
    failpoint::{self, Point},
    lifecycle::{OnFailure, OnShutdown, Policy},
    store::port::{ApplyError, Changes, Claim, Intended, Limits},
};

impl Engine {
    /// Does `work` to its end even if the caller goes away in the middle: what is stored must also be shown and driven.
    pub(super) async fn to_the_end<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let policy = Policy { on_shutdown: OnShutdown::Wait, on_failure: OnFailure::Log };
        let work = async move {
            // Nobody may be waiting any more.
            let _ = answer.send(work.await);
        };
        self.0.parts.tasks.spawn(name, policy, work.in_current_span());
        // The task was dropped, which only the last moments of the process do.
        answered.await.map_err(|_| Error::Draining)
    }

    /// Applies an event that a caller asked for, even if the caller goes away.
    pub(super) async fn apply_for_caller(
        &self,
        id: GenerationId,
        event: Event,
    ) -> Result<Result<Arc<Generation>, ApplyError>, Error> {
        let engine = self.clone();
        self.to_the_end("apply", async move {
            let applied = engine.apply(id, event, None).await;
            if let Err(ApplyError::Store(_)) = applied {
                // It may have been applied all the same.
                engine.doubt();
            }
            applied
        })
        .await
    }

    /// Applies an event and shows what it changed to all who watch.
    pub(super) async fn apply(
        &self,
        id: GenerationId,
        event: Event,
        claim: Option<Claim>,
    ) -> Result<Arc<Generation>, ApplyError> {
        let now = self.now();
        let changes = self.store().apply(id, event, claim, now).await?;
        Ok(self.show(changes, now))
    }

    /// As `apply`, for an intent to submit: none if the store holds it back, and then the gate knows for how long.
    pub(super) async fn intend(
        &self,
        id: GenerationId,
        event: Event,
        claim: Option<Claim>,
        limits: &Limits,
    ) -> Result<Option<Arc<Generation>>, ApplyError> {
        let now = self.now();
        match self.store().intend(id, event, claim, limits, now).await? {
            Intended::Stored(changes) => Ok(Some(self.show(*changes, now))),
            Intended::Wait(bound, wait) => {
                self.gate(&limits.model.provider).hold_back(bound, &limits.model, wait);
                Ok(None)
            }
        }
    }

    /// Shows what an event changed to all who watch.
    pub(super) fn show(&self, changes: Changes, now: Timestamp) -> Arc<Generation> {
        let generation = Arc::new(changes.generation);
        let ended = generation.state.is_terminal();
        if ended {
            failpoint::reach(Point::SettleAfter);
            failpoint::reach(Point::NotifyBefore);
        }
        for changed in changes.others.into_iter().map(Arc::new).chain([Arc::clone(&generation)]) {
            // Now, and not before: each end is counted once, by the process that brought it about.
            if changed.ended_at == Some(now) {
                self.metrics().finished(changed.state.as_str());
                self.0.seen.note(&changed);
            }
            self.announce_callback(&changed);
            self.note_heir(&changed);
            self.hub().publish(changed);
        }
        if ended {
            failpoint::reach(Point::NotifyAfter);
        }
        generation
    }

    /// If the generation handed its job over, the driver of that job is expected to go on with the one that took it.
    pub(super) fn note_heir(&self, generation: &Generation) {
        if let Some(successor) = generation.successor {
            self.drivers().expect(generation.id, successor);
        }
    }
}
