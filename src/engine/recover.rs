//! Starting drivers: for what was just accepted, and after a restart for everything that has not ended.

use std::sync::Arc;

use tracing::{Instrument, info, info_span};

use super::{Engine, drive::drive};
use crate::{
    domain::{
        attempt::{Attempt, AttemptStage},
        generation::Generation,
    },
    lifecycle::{OnFailure, OnShutdown, Policy},
    store::port::StoreError,
    telemetry::{link_from_traceparent, set_parent},
};

/// Generations are read back this many at a time.
const PAGE: usize = 500;

/// Where a driver's generation comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was just accepted: its work belongs to the caller's trace.
    Accepted,
    /// An earlier process left it: its work is a new trace that points to the old one.
    Recovered,
}

impl Engine {
    /// Takes up every unfinished generation; how many. Called once, before the doors open.
    pub async fn recover(&self) -> Result<usize, StoreError> {
        let mut n_recovered = 0;
        let mut after = None;
        let mut waiting = Vec::new();
        loop {
            let page = self.store().unfinished(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            n_recovered += page.len();
            for generation in page.into_iter().map(Arc::new) {
                if is_at_provider(&generation) {
                    spawn(self, generation, Origin::Recovered);
                } else {
                    waiting.push(generation);
                }
            }
        }
        // Those at a provider have their places now; only what is left may be taken.
        for generation in waiting {
            spawn(self, generation, Origin::Recovered);
        }
        if n_recovered > 0 {
            info!(n_recovered, "took up unfinished generations");
        }
        Ok(n_recovered)
    }
}

/// True if its job has a place at a provider: it was sent, and what became of it is not unknown.
fn is_at_provider(generation: &Generation) -> bool {
    let sent = |attempt: &Attempt| attempt.stage != AttemptStage::Waiting;
    !generation.is_unknown() && generation.open_attempt().is_some_and(sent)
}

/// Starts the driver of a generation.
pub(super) fn spawn(engine: &Engine, generation: Arc<Generation>, origin: Origin) {
    // No child of the span of the call: that would stay open, and be lost in a crash, for as long as this one lives.
    let span =
        info_span!(parent: None, "generation", generation.name = %generation.id, kind = generation.kind.as_str());
    match (origin, generation.trace.as_deref()) {
        (Origin::Accepted, trace) => set_parent(&span, trace),
        (Origin::Recovered, Some(trace)) => link_from_traceparent(&span, trace),
        (Origin::Recovered, None) => {}
    }
    engine.hub().publish(Arc::clone(&generation));
    let attempt = generation.open_attempt().filter(|_| is_at_provider(&generation));
    let slot = attempt.and_then(|attempt| engine.gate(&attempt.model.provider).adopt());
    // The vendor's work is never awaited at shutdown: the driver stops at a stored step, and the next process goes on.
    let policy = Policy { on_shutdown: OnShutdown::Wait, on_failure: OnFailure::Log };
    engine.0.parts.tasks.spawn("drive", policy, drive(engine.clone(), generation, slot).instrument(span));
}
