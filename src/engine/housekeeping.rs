//! What runs beside the generations: the pulse that readiness follows, and the hourly sweep.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

use super::Engine;
use crate::{
    artifact::{GRACE, sweep},
    lifecycle::{OnFailure, OnShutdown, Policy},
};

/// How often the store must prove that it can be written; readiness is lost when it could not for twice as long.
const PULSE: Duration = Duration::from_secs(5);
const SWEEP: Duration = Duration::from_secs(3600);
/// Request ids are kept this long.
const REQUEST_IDS_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

impl Engine {
    /// Starts the pulse and the sweep. Returns once the first pulse has been felt or missed.
    pub async fn start_housekeeping(&self) {
        self.pulse().await;
        let policy = Policy { on_shutdown: OnShutdown::Abort, on_failure: OnFailure::ShutDown };
        let engine = self.clone();
        self.0.parts.tasks.spawn("pulse", policy, async move { engine.pulses().await });
        let engine = self.clone();
        self.0.parts.tasks.spawn("sweep", policy, async move { engine.sweeps().await });
    }

    async fn pulses(&self) {
        let mut ticks = interval(PULSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.pulse().await,
                () = self.drain().draining() => {
                    self.set_ready(false);
                    return;
                }
            }
        }
    }

    async fn pulse(&self) {
        let written = match timeout(PULSE, self.store().heartbeat(self.now())).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                warn!(error = ?error, "the store cannot be written");
                false
            }
            Err(_) => {
                warn!("the store takes too long to be written");
                false
            }
        };
        self.set_ready(written && !self.drain().is_draining());
        let n_waiting: usize = self.0.gates.values().map(|gate| gate.n_queued()).sum();
        self.metrics().queue_depth(u64::try_from(n_waiting).unwrap_or(u64::MAX));
    }

    fn set_ready(&self, ready: bool) {
        self.0.ready.send_if_modified(|now| std::mem::replace(now, ready) != ready);
    }

    async fn sweeps(&self) {
        let mut ticks = interval(SWEEP);
        loop {
            ticks.tick().await;
            let before = self.now().checked_sub(REQUEST_IDS_FOR).unwrap_or_default();
            match self.store().expire_request_ids(before).await {
                Ok(n_expired) => debug!(n_expired, "forgot old request ids"),
                Err(error) => warn!(error = ?error, "old request ids could not be forgotten"),
            }
            // While the store cannot be written, rows for what is stored are missing.
            if *self.0.ready.borrow() {
                self.sweep_blobs().await;
            }
        }
    }

    async fn sweep_blobs(&self) {
        let store = self.store();
        if let Err(error) = sweep(self.blobs(), GRACE, |keys| store.unreferenced(keys)).await {
            warn!(error = ?error, "the sweep of blobs did not finish");
        }
    }
}
