//! What is owned is driven, and what is driven is owned: looked at now and then, and soon after anything that gives reason to doubt it.
//!
//! A driver that panicked, an answer of the store that was lost after its commit, a lease that was over: all end here, without hands.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use super::{
    Engine,
    recover::{Origin, spawn},
    trouble::Trouble,
};
use crate::{
    domain::names::GenerationId,
    lifecycle::{OnFailure, OnShutdown, Policy},
    store::port::{Claim, Owned, StoreError},
};

/// How often everything is looked at if nothing gives reason to.
const SELDOM: Duration = Duration::from_secs(60);
/// The same in a store that other processes and a network have a part in.
const OFTEN: Duration = Duration::from_secs(10);
/// Between two looks at the same thing at least: what was just accepted or handed over gets its driver within this time.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// Records are read this many at a time.
const PAGE: usize = 500;

/// What the last look found undriven, with the claim it had.
type Undriven = HashMap<GenerationId, Claim>;

impl Engine {
    /// Starts looking.
    pub(super) fn start_reconciling(&self) {
        let policy = Policy { on_shutdown: OnShutdown::Abort, on_failure: OnFailure::ShutDown };
        let engine = self.clone();
        self.0.parts.tasks.spawn("reconcile", policy, async move { engine.reconcile().await });
    }

    /// Says that what is driven here may not be what is owned.
    pub(super) fn doubt(&self) {
        self.0.doubts.notify_one();
    }

    async fn reconcile(&self) {
        let mut undriven = Undriven::new();
        let mut watched_after = None;
        let mut trouble = Trouble::about("looking at what this process owns");
        loop {
            let looked_at = Instant::now();
            sleep(SECOND_LOOK).await;
            if undriven.is_empty() {
                let pause = if self.store().is_shared() { OFTEN } else { SELDOM };
                tokio::select! {
                    () = sleep_until(looked_at + pause) => {}
                    () = self.0.doubts.notified() => {}
                }
            }
            match trouble.judge(self.look(&undriven).await) {
                Some(found) => undriven = found,
                // The next look begins again; two in a row must have seen it.
                None => {
                    undriven.clear();
                    self.doubt();
                }
            }
            trouble.judge(self.forget_gone(&mut watched_after).await);
        }
    }

    /// Starts drivers for those that were undriven `before` and still are, and has those look that drive what is not owned; the others that are
    /// undriven.
    async fn look(&self, before: &Undriven) -> Result<Undriven, StoreError> {
        let driven = self.drivers().all();
        let mut owned = HashMap::new();
        let mut undriven = Undriven::new();
        let mut after = None;
        loop {
            let page = self.store().owned(after, PAGE).await?;
            for Owned { generation, claim } in &page {
                owned.insert(generation.id, *claim);
            }
            after = page.last().map(|last| last.generation.id);
            let whole = page.len() < PAGE;
            for Owned { generation, claim } in page {
                let id = generation.id;
                if self.drivers().will_drive(id) {
                    // If an answer of the store was lost, so was what it changed.
                    self.hub().refresh(Arc::new(generation));
                } else if before.get(&id) == Some(&claim) {
                    warn!(generation.name = %id, "it was driven by nobody");
                    spawn(self, Arc::new(generation), claim, Origin::Recovered);
                } else {
                    undriven.insert(id, claim);
                }
            }
            if whole {
                break;
            }
        }
        for (id, claim) in driven {
            if owned.get(&id) != Some(&claim) {
                self.drivers().nudge(id);
            }
        }
        Ok(undriven)
    }

    /// Ends the watching of what was deleted elsewhere so soon after its end that it was never seen to end; some at a time.
    async fn forget_gone(&self, after: &mut Option<GenerationId>) -> Result<(), StoreError> {
        const AT_A_TIME: usize = 1000;
        if !self.store().is_shared() {
            return Ok(());
        }
        let mut watched = self.drivers().undriven(self.hub().watched());
        watched.retain(|(id, _)| after.is_none_or(|after| *id > after));
        watched.sort_unstable_by_key(|(id, _)| *id);
        watched.truncate(AT_A_TIME);
        *after = watched.get(AT_A_TIME - 1).map(|(id, _)| *id);
        let any: Vec<_> = watched.into_iter().map(|(id, _)| (id, 0)).collect();
        if any.is_empty() {
            return Ok(());
        }
        let there = self.store().newer(&any).await?;
        for (id, _) in any {
            if !there.iter().any(|generation| generation.id == id) {
                self.hub().forget(id);
            }
        }
        Ok(())
    }
}
