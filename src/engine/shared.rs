//! A store that other processes use too: what they change is heard of, and the work is shared out with them.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use super::{
    Engine,
    recover::{Origin, take_up},
    trouble::Trouble,
};
use crate::{
    domain::names::ProviderId,
    lifecycle::{OnFailure, OnShutdown, Policy},
    store::port::{Loaded, StoreError},
};

/// How often others' changes are asked for: a watcher may be anywhere, and sees what happens within a second.
const FEED: Duration = Duration::from_millis(500);
/// How often work is asked for.
const SHARE: Duration = Duration::from_secs(1);
/// Most that is taken over at a time, so that all who are left get a part.
const BATCH: usize = 100;
/// What waits for less than this probably does not wait for a place.
const WAITS_FOR: SignedDuration = SignedDuration::from_secs(1);
/// Most records that are asked after at a time.
const N_ASKED: usize = 1000;

impl Engine {
    /// Starts hearing of others and sharing with them, if there can be any.
    pub(super) fn start_sharing(&self) {
        if !self.store().is_shared() {
            return;
        }
        let policy = Policy { on_shutdown: OnShutdown::Abort, on_failure: OnFailure::ShutDown };
        let engine = self.clone();
        self.0.parts.tasks.spawn("feed", policy, async move { engine.feed().await });
        let engine = self.clone();
        self.0.parts.tasks.spawn("share", policy, async move { engine.share().await });
    }

    async fn feed(&self) {
        let mut trouble = Trouble::about("hearing of other processes");
        let mut ticks = interval(FEED);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if trouble.judge(self.take_hints().await).is_none() {
                // What was told may be lost.
                self.doubt();
            }
        }
    }

    /// Hears what others changed of what is owned here, and how far they are with what is only watched here.
    async fn take_hints(&self) -> Result<(), StoreError> {
        let told = self.store().hints().await?;
        // First all of them, for one may tell who brings another along.
        let told: Vec<_> = told.into_iter().map(|Loaded { generation, claim }| (Arc::new(generation), claim)).collect();
        for (generation, _) in &told {
            self.note_heir(generation);
        }
        for (generation, claim) in told {
            let (id, ended) = (generation.id, generation.state.is_terminal());
            self.hub().refresh(generation);
            if !self.drivers().nudge(id) && claim.is_some() && !ended {
                self.doubt();
            }
        }
        let watched = self.drivers().undriven(self.hub().watched());
        for some in watched.chunks(N_ASKED) {
            for generation in self.store().newer(some).await? {
                self.hub().refresh(Arc::new(generation));
            }
        }
        self.hub().forget_unwatched();
        Ok(())
    }

    async fn share(&self) {
        let mut trouble = Trouble::about("taking work from other processes");
        let mut ticks = interval(SHARE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.drain().draining() => return,
            }
            // Whoever may have lost what it has is in no state to take more.
            if self.lease().grant().is_some() && trouble.judge(self.take().await).is_none() {
                // Something may have been taken all the same.
                self.doubt();
            }
        }
    }

    async fn take(&self) -> Result<(), StoreError> {
        self.take_over().await?;
        self.take_waiting().await
    }

    /// Takes up what processes that are gone have left.
    async fn take_over(&self) -> Result<(), StoreError> {
        loop {
            let taken = self.store().take_over(BATCH).await?;
            let n_taken = taken.len();
            if n_taken > 0 {
                info!(n_taken, "took over from a process that is gone");
                take_up(self, taken, Origin::Recovered);
            }
            if n_taken < BATCH || self.drain().is_draining() {
                return Ok(());
            }
        }
    }

    /// Takes what waits elsewhere for a place that is free here.
    async fn take_waiting(&self) -> Result<(), StoreError> {
        let before = self.now().checked_sub(WAITS_FOR).unwrap_or_default();
        let providers: Vec<ProviderId> = self.0.gates.keys().cloned().collect();
        for provider in providers {
            let gate = self.gate(&provider);
            let n_free = gate.n_places() - gate.n_running();
            if n_free == 0 || gate.n_queued() > 0 || self.provider(&provider).is_none() {
                continue;
            }
            let taken = self.store().take_waiting(provider.id(), before, n_free.min(BATCH)).await?;
            if !taken.is_empty() {
                info!(n_taken = taken.len(), provider.id = %provider, "took what waited elsewhere");
                take_up(self, taken, Origin::Recovered);
            }
        }
        Ok(())
    }
}
