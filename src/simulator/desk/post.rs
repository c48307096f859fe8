//! Callbacks: posted with the vendor's signature, and with the faults of callbacks.

use std::{
    fmt,
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::sleep;

use super::{Desk, Job};
use crate::simulator::fault::{CallbackFault, Operation, Subject};

/// What a stale callback pretends its age to be.
const STALE: Duration = Duration::from_secs(3600);

/// Makes the headers that identify and sign a body.
type Sign = Arc<dyn Fn(&Stamp, &[u8]) -> Vec<(&'static str, String)> + Send + Sync>;

/// A callback to go out.
#[derive(Clone)]
pub(crate) struct Letter {
    pub(crate) url: String,
    /// JSON.
    pub(crate) body: Bytes,
    /// Further tries if it is not taken, with a pause that doubles.
    pub(crate) retries: u32,
    /// Called for each try with the same arguments.
    pub(crate) sign: Sign,
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter").field("url", &self.url).field("retries", &self.retries).finish_non_exhaustive()
    }
}

/// What a signature is about besides the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Fresh for each letter, the same for its copies: 24 letters and digits.
    pub(crate) id: String,
    /// Seconds since 1970; an hour early if the letter is to look stale.
    pub(crate) sent_at: i64,
    /// Sign with a key that is not the vendor's.
    pub(crate) forged: bool,
}

impl<D: Send + Sync + 'static> Desk<D> {
    /// Runs what calls back for a job beside the calls, until it is done or the simulator stops. Beyond the limit of
    /// such jobs at a time they are only counted as skipped.
    pub(crate) fn follow(&self, story: impl Future<Output = ()> + Send + 'static) {
        let Ok(slot) = Arc::clone(&self.callers).try_acquire_owned() else {
            self.counts.webhooks_skipped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let stop = self.world.stop.clone();
        self.world.tasks.spawn(async move {
            stop.run_until_cancelled(story).await;
            drop(slot);
        });
    }

    /// Calls back once, when the job has ended.
    pub(crate) fn tell_at_end(
        self: &Arc<Self>,
        job: &Arc<Job<D>>,
        letter: impl FnOnce(&Job<D>) -> Letter + Send + 'static,
    ) {
        let (desk, job) = (Arc::clone(self), Arc::clone(job));
        self.follow(async move {
            if job.ended_within(Duration::MAX).await.is_some() {
                desk.tell(&job, letter(&job)).await;
            }
        });
    }

    /// Sends this letter about a job, as the faults of callbacks have it.
    pub(crate) async fn tell(self: &Arc<Self>, job: &Job<D>, letter: Letter) {
        let nth_of_job = job.tally.add(Operation::Webhook);
        let subject = Subject { vendor: self.dialect.name, ..job.subject(nth_of_job) };
        let faults = self.world.judge(Operation::Webhook, subject);
        let mut stamp =
            Stamp { id: self.world.new_id()[..24].to_owned(), sent_at: Timestamp::now().as_second(), forged: false };
        let mut late = faults.delay;
        let mut n_copies = 1;
        for fault in faults.callback {
            match fault {
                CallbackFault::Duplicate => n_copies += 1,
                CallbackFault::Late(delay) => late += delay,
                CallbackFault::Lost => n_copies = 0,
                CallbackFault::Forged => stamp.forged = true,
                CallbackFault::Stale => stamp.sent_at -= i64::try_from(STALE.as_secs()).unwrap_or(i64::MAX),
            }
        }
        if n_copies == 0 {
            return;
        }
        if late.is_zero() {
            return self.send(&letter, &stamp, n_copies).await;
        }
        // A late callback does not hold up the next one: that is how they get out of order.
        let desk = Arc::clone(self);
        let stop = self.world.stop.clone();
        self.world.tasks.spawn(async move {
            stop.run_until_cancelled(async {
                sleep(late).await;
                desk.send(&letter, &stamp, n_copies).await;
            })
            .await;
        });
    }

    /// Sends every copy; a failed one is repeated with growing pauses.
    async fn send(&self, letter: &Letter, stamp: &Stamp, n_copies: u32) {
        for _ in 0..n_copies {
            let mut pause = self.world.settings().webhook_retry;
            for attempt in 0..=letter.retries {
                if self.post(letter, stamp).await || attempt == letter.retries {
                    break;
                }
                sleep(pause).await;
                pause *= 2;
            }
        }
    }

    /// One try; true if the receiver took it.
    async fn post(&self, letter: &Letter, stamp: &Stamp) -> bool {
        let Ok(_turn) = self.posting.acquire().await else { return false };
        self.counts.webhooks_sent.fetch_add(1, Ordering::Relaxed);
        let mut request = self.world.http.post(&letter.url).header("content-type", "application/json");
        for (name, value) in (letter.sign)(stamp, &letter.body) {
            request = request.header(name, value);
        }
        let answer = request.body(letter.body.clone()).send().await;
        let taken = answer.is_ok_and(|answer| answer.status().is_success());
        if !taken {
            self.counts.webhooks_failed.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }
}
