//! What runs beside the generations: the pulse that readiness follows, what expires, and the hourly sweep.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::Engine;
use crate::{
    artifact::{GRACE, sweep},
    domain::artifact::BlobKey,
    lifecycle::{OnFailure, OnShutdown, Policy},
    store::port::{Expired, StoreError},
};

/// How long what has ended is kept; for ever when absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// An ended generation with all that belongs to it. Its tombstone stays.
    pub generations: Option<Duration>,
    /// An output or upload.
    pub artifacts: Option<Duration>,
}

/// How often the store must prove that it can be written, or more often if a lease must be renewed; readiness is lost when it could not for
/// twice as long.
const PULSE: Duration = Duration::from_secs(5);
/// After a pulse that was missed the next one comes sooner.
const MISSED: Duration = Duration::from_secs(1);
const SWEEP: Duration = Duration::from_secs(3600);
/// Longer than a driver waits before it tells the store again what that could not take.
const TOLD_BY_THEN: Duration = Duration::from_secs(15);
/// How often is looked for what has expired.
const EXPIRY: Duration = Duration::from_secs(60);
/// How much expires in one transaction, so that it keeps no other write waiting for long.
const EXPIRED_AT_ONCE: usize = 100;
/// Request ids are kept this long.
const REQUEST_IDS_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long it is still said of a quote that it is over.
const QUOTES_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// What expires apart.
#[derive(Debug, Clone, Copy)]
enum Sort {
    Generations,
    Artifacts,
}

impl Engine {
    /// Starts the pulse, the expiry and the sweep. Returns once the first pulse has been felt or missed.
    pub async fn start_housekeeping(&self) {
        self.pulse().await;
        let policy = Policy { on_shutdown: OnShutdown::Wait, on_failure: OnFailure::ShutDown };
        let engine = self.clone();
        self.0.parts.tasks.spawn("pulse", policy, async move { engine.pulses().await });
        let policy = Policy { on_shutdown: OnShutdown::Abort, ..policy };
        let engine = self.clone();
        self.0.parts.tasks.spawn("sweep", policy, async move { engine.sweeps().await });
        let engine = self.clone();
        self.0.parts.tasks.spawn("expiry", policy, async move { engine.expires().await });
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

    async fn expires(&self) {
        let Retention { generations, artifacts } = self.settings().retention;
        if generations.is_none() && artifacts.is_none() {
            return;
        }
        let mut ticks = interval(EXPIRY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for (sort, kept_for) in [(Sort::Generations, generations), (Sort::Artifacts, artifacts)] {
                let Some(before) = kept_for.and_then(|kept_for| self.now().checked_sub(kept_for).ok()) else {
                    continue;
                };
                match self.expire(sort, before).await {
                    Ok(0) => {}
                    Ok(n_expired) => info!(?sort, n_expired, "what was kept for long enough has expired"),
                    Err(error) => warn!(?sort, error = ?error, "what was kept for long enough cannot expire now"),
                }
            }
        }
    }

    /// Lets all of a sort expire that is older, a small transaction at a time; how many.
    async fn expire(&self, sort: Sort, before: Timestamp) -> Result<usize, StoreError> {
        let store = self.store();
        let mut n_expired = 0;
        loop {
            let Expired { n, blobs } = match sort {
                Sort::Generations => store.expire_generations(before, EXPIRED_AT_ONCE, self.now()).await?,
                Sort::Artifacts => store.expire_artifacts(before, EXPIRED_AT_ONCE).await?,
            };
            n_expired += n;
            for blob in &blobs {
                if let Err(error) = self.blobs().delete(blob).await {
                    // The row is gone, so nobody sees the bytes; the sweep takes them later.
                    warn!(%error, "a blob could not be deleted now");
                }
            }
            if n < EXPIRED_AT_ONCE {
                return Ok(n_expired);
            }
        }
    }

    async fn sweeps(&self) {
        let mut ticks = interval(SWEEP);
        let mut last = (self.now(), Instant::now());
        loop {
            ticks.tick().await;
            let earlier = std::mem::replace(&mut last, (self.now(), Instant::now()));
            let before = self.now().checked_sub(REQUEST_IDS_FOR).unwrap_or_default();
            match self.store().expire_request_ids(before).await {
                Ok(n_expired) => debug!(n_expired, "forgot old request ids"),
                Err(error) => warn!(error = ?error, "old request ids could not be forgotten"),
            }
            let before = self.now().checked_sub(QUOTES_FOR).unwrap_or_default();
            if let Err(error) = self.store().forget_money(before, self.now()).await {
                warn!(error = ?error, "old quotes could not be forgotten");
            }
            // While the store cannot be written, rows for what is stored are missing.
            if *self.0.ready.borrow() && !set_ahead(earlier, last) {
                self.sweep_blobs().await;
            }
        }
    }

    async fn sweep_blobs(&self) {
        if let Err(error) = sweep(self.blobs(), GRACE, |keys| self.orphans(keys)).await {
            warn!(error = ?error, "the sweep of blobs did not finish");
        }
    }

    /// Those that no artifact refers to, nor is about to: the store may be back from a long outage just now, and drivers here and elsewhere have
    /// yet to tell it what they stored before.
    async fn orphans(&self, keys: Vec<BlobKey>) -> Result<Vec<BlobKey>, StoreError> {
        let ready = self.readiness();
        let orphans = self.store().unreferenced(keys).await?;
        if orphans.is_empty() {
            return Ok(orphans);
        }
        sleep(TOLD_BY_THEN).await;
        // An error means that the engine is gone.
        let was_writable = *ready.borrow() && matches!(ready.has_changed(), Ok(false));
        if was_writable { self.store().unreferenced(orphans).await } else { Ok(Vec::new()) }
    }
}

/// True if the wall clock was set so far ahead between two looks that blobs which were stored just now look old.
fn set_ahead(earlier: (Timestamp, Instant), later: (Timestamp, Instant)) -> bool {
    let by_wall = Duration::try_from(later.0.duration_since(earlier.0)).unwrap_or_default();
    by_wall.saturating_sub(later.1.duration_since(earlier.1)) > GRACE / 2
}
