//! What runs beside the generations: the pulse that readiness follows, and the hourly sweep.

use std::time::Duration;

use tokio::time::{Instant, interval, sleep_until, timeout};
use tracing::{debug, warn};

use super::Engine;
use crate::{
    artifact::{GRACE, sweep},
    lifecycle::{OnFailure, OnShutdown, Policy},
};

/// How often the store must prove that it can be written, or more often if a lease must be renewed; readiness is lost when it could not for
/// twice as long.
const PULSE: Duration = Duration::from_secs(5);
/// After a pulse that was missed the next one comes sooner.
const MISSED: Duration = Duration::from_secs(1);
const SWEEP: Duration = Duration::from_secs(3600);
/// Request ids are kept this long.
const REQUEST_IDS_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

impl Engine {
    /// Starts the pulse and the sweep. Returns once the first pulse has been felt or missed.
    pub async fn start_housekeeping(&self) {
        self.pulse().await;
        let policy = Policy { on_shutdown: OnShutdown::Wait, on_failure: OnFailure::ShutDown };
        let engine = self.clone();
        self.0.parts.tasks.spawn("pulse", policy, async move { engine.pulses().await });
        let policy = Policy { on_shutdown: OnShutdown::Abort, ..policy };
        let engine = self.clone();
        self.0.parts.tasks.spawn("sweep", policy, async move { engine.sweeps().await });
    }

    async fn pulses(&self) {
        let end = async {
            self.drain().draining().await;
            self.set_ready(false);
            // Until the last driver has stored what came of its last call, others must not take what it drives.
            self.drain().finishing().await;
            self.drivers().gone().await;
        };
        let beat = async {
            loop {
                let pace = self.pace();
                let next = Instant::now() + if *self.0.ready.borrow() { pace } else { pace.min(MISSED) };
                sleep_until(next).await;
                self.pulse().await;
            }
        };
        tokio::select! {
            () = end => {}
            () = beat => {}
        }
    }

    fn pace(&self) -> Duration {
        self.lease().pace(PULSE)
    }

    async fn pulse(&self) {
        let asked_at = Instant::now();
        let written = match timeout(self.pace(), self.store().heartbeat(self.now())).await {
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
        if written && self.lease().renew(asked_at) {
            warn!("the lease was over; looking at what is still ours");
            self.doubt();
        }
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
