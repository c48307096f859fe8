//! Starting drivers: for what was just accepted, after a restart for everything that has not ended, and for what others leave.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::{Instrument, info, info_span};

use super::{Engine, drive::drive, trouble::Trouble};
use crate::{
    domain::{
        attempt::{Attempt, AttemptStage},
        generation::Generation,
    },
    lifecycle::{OnFailure, OnShutdown, Policy},
    store::port::{Claim, Owned, StoreError},
    telemetry::{link_from_traceparent, set_parent},
};

/// Generations are read back this many at a time.
const PAGE: usize = 500;
/// Before another try to read them.
const PAUSE: Duration = Duration::from_secs(1);

/// Where a driver's generation comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was just accepted: its work belongs to the caller's trace.
    Accepted,
    /// Another process left it: its work is a new trace that points to the old one.
    Recovered,
}

impl Engine {
    /// Takes up every unfinished generation that is this process's own. From then on it also looks after what comes to be its own in
    /// other ways. Called once, before the doors open. If a shared store is away just now, that happens as soon as it is back.
    pub async fn recover(&self) -> Result<(), StoreError> {
        let mut trouble = Trouble::about("reading what is unfinished");
        match self.take_up_own().await {
            Err(error @ StoreError::Unavailable(_)) if self.store().is_shared() => {
                trouble.judge::<()>(Err(error));
                let engine = self.clone();
                let policy = Policy { on_shutdown: OnShutdown::Abort, on_failure: OnFailure::ShutDown };
                self.0.parts.tasks.spawn("recover", policy, async move {
                    while trouble.judge(engine.take_up_own().await).is_none() {
                        sleep(PAUSE).await;
                    }
                    engine.look_after_own();
                });
            }
            taken => {
                taken?;
                self.look_after_own();
            }
        }
        Ok(())
    }

    /// Starts the driver of a generation that has not ended.
    pub(super) fn start(&self, generation: &Arc<Generation>, claim: Claim) {
        if !generation.state.is_terminal() {
            spawn(self, Arc::clone(generation), claim, Origin::Accepted);
        }
    }

    fn look_after_own(&self) {
        self.start_reconciling();
        self.start_measuring();
        self.start_sharing();
    }

    /// Starts the drivers that are missing. May be done again after a failure.
    async fn take_up_own(&self) -> Result<(), StoreError> {
        let mut n_recovered = 0;
        let mut after = None;
        let mut waiting = Vec::new();
        loop {
            let page = self.store().owned(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.generation.id);
            n_recovered += page.len();
            let (at_provider, others): (Vec<_>, _) =
                page.into_iter().partition(|owned| is_at_provider(&owned.generation));
            take_up(self, at_provider, Origin::Recovered);
            waiting.extend(others);
        }
        // Those at a provider have their places now; only what is left may be taken.
        take_up(self, waiting, Origin::Recovered);
        if n_recovered > 0 {
            info!(n_recovered, "took up unfinished generations");
        }
        Ok(())
    }
}

/// Starts the drivers of what this process owns; first of those at a provider, which have their places there already.
pub(super) fn take_up(engine: &Engine, owned: Vec<Owned>, origin: Origin) {
    let (at_provider, waiting): (Vec<_>, Vec<_>) =
        owned.into_iter().partition(|owned| is_at_provider(&owned.generation));
    for Owned { generation, claim } in at_provider.into_iter().chain(waiting) {
        spawn(engine, Arc::new(generation), claim, origin);
    }
}

/// True if its job has a place at a provider: it was sent, and what became of it is not unknown.
fn is_at_provider(generation: &Generation) -> bool {
    let sent = |attempt: &Attempt| attempt.stage != AttemptStage::Waiting;
    !generation.is_unknown() && generation.open_attempt().is_some_and(sent)
}

/// Starts the driver of a generation, unless one with this claim is at work.
pub(super) fn spawn(engine: &Engine, generation: Arc<Generation>, claim: Claim, origin: Origin) {
    let Some(at_work) = engine.drivers().enter(generation.id, claim) else { return };
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
    let slot = attempt.and_then(|attempt| engine.gate(&attempt.model.provider).adopt(&attempt.model));
    // The vendor's work is never awaited at shutdown: the driver stops at a stored step, and the next process goes on.
    let policy = Policy { on_shutdown: OnShutdown::Wait, on_failure: OnFailure::Log };
    engine.0.parts.tasks.spawn("drive", policy, drive(engine.clone(), generation, at_work, slot).instrument(span));
}
