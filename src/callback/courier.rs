//! The one task that sends what is due.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::{
    desk::Desk,
    schedule::{self, Answer},
    send::{Sender, TIMEOUT},
};
use crate::{
    domain::callback::{CallbackState, Tried, host},
    lifecycle::{Drain, OnFailure, OnShutdown, Policy, Tasks},
    store::port::{CallbackClaim, DueCallback, Store, StoreError},
    telemetry::Metrics,
};

/// How often it looks for what has fallen due: retries, what another process left, and what another replica ended.
const LOOK: Duration = Duration::from_secs(1);
/// How long what is claimed is kept from others, and from the next process if this one dies: a call and a little more.
const CLAIM: Duration = Duration::from_secs(20);
/// Time beyond a call to store how it went.
const MARGIN: Duration = Duration::from_secs(1);

/// Sends callbacks until the process ends.
#[derive(Debug)]
pub struct Courier {
    /// Where they are.
    pub store: Arc<dyn Store>,
    /// How they are sent.
    pub sender: Sender,
    /// Told when one has fallen due here.
    pub due: Arc<Notify>,
    /// Wait before the first repetition.
    pub retry_base: Duration,
    /// Tells of the shutdown.
    pub drain: Drain,
    /// Instruments.
    pub metrics: Metrics,
}

/// What it waits for.
enum News {
    /// What was claimed, of at most so many.
    Claimed(Result<Vec<DueCallback>, StoreError>, usize),
    /// A call of this host has ended, and how it went is stored.
    Sent(String),
}

impl Courier {
    /// Starts the task.
    pub fn start(self, tasks: &Tasks) {
        let policy = Policy { on_shutdown: OnShutdown::Wait, on_failure: OnFailure::ShutDown };
        tasks.spawn("callbacks", policy, async move { self.run().await });
    }

    async fn run(&self) {
        let mut desk = Desk::default();
        let mut under_way: FuturesUnordered<BoxFuture<'_, News>> = FuturesUnordered::new();
        let (mut look_at, mut looking) = (Instant::now(), false);
        while !self.drain.is_closing() {
            let may_look = !looking && desk.n_free() > 0;
            let look = tokio::select! {
                () = self.drain.closing() => break,
                () = self.due.notified(), if may_look => true,
                () = sleep_until(look_at), if may_look => true,
                Some(news) = under_way.next() => {
                    match news {
                        News::Sent(host) => desk.done(&host),
                        News::Claimed(claimed, limit) => {
                            looking = false;
                            look_at = self.take_in(claimed, limit, &mut desk);
                        }
                    }
                    false
                }
            };
            if look {
                looking = true;
                under_way.push(Box::pin(self.claim(desk.busy(), desk.n_free())));
            }
            while let Some(due) = desk.next(Timestamp::now() + TIMEOUT + MARGIN) {
                under_way.push(Box::pin(self.deliver(due)));
            }
        }
        // Nothing new is sent. What is on its way may arrive; what was claimed and not sent falls due again by itself.
        while under_way.next().await.is_some() {}
    }

    /// Puts down what was claimed; when to look again.
    fn take_in(&self, claimed: Result<Vec<DueCallback>, StoreError>, limit: usize, desk: &mut Desk) -> Instant {
        match claimed {
            Ok(due) => {
                let there_may_be_more = due.len() >= limit;
                desk.add(due);
                Instant::now() + if there_may_be_more { Duration::ZERO } else { LOOK }
            }
            Err(error) => {
                warn!(error = ?error, "callbacks that are due could not be read");
                Instant::now() + LOOK
            }
        }
    }

    async fn claim(&self, besides: Vec<String>, limit: usize) -> News {
        let now = Timestamp::now();
        let claim = CallbackClaim { now, until: now + CLAIM, besides, limit };
        News::Claimed(self.store.due_callbacks(claim).await, limit)
    }

    /// Calls the receiver and stores how it went.
    async fn deliver(&self, due: DueCallback) -> News {
        let answer = self.sender.send(&due).await;
        let now = Timestamp::now();
        let tried = schedule::judge(answer, &due.callback, now, self.retry_base, fastrand::f64());
        self.tell(&due, answer, tried);
        let after = due.callback.tried(tried, now);
        let claimed_until = due.callback.next_at.unwrap_or(now);
        if let Err(error) = self.store.callback_tried(due.generation.id, claimed_until, &after).await {
            // Its claim ends, and it is sent again: a receiver knows it by its id.
            warn!(error = ?error, generation.name = %due.generation.id, "how a callback went could not be stored");
        }
        News::Sent(host(&due.url).to_owned())
    }

    fn tell(&self, due: &DueCallback, answer: Answer, tried: Tried) {
        let outcome = match tried {
            Tried::Delivered { .. } => CallbackState::Delivered.as_str(),
            Tried::Failed { error, .. } => error.as_str(),
        };
        self.metrics.callback_sent(outcome);
        let (name, host) = (due.generation.id, due.url.host_str().unwrap_or_default());
        let status = match answer {
            Answer::Status { status, .. } => Some(status),
            Answer::None(_) => None,
        };
        match tried {
            Tried::Delivered { .. } => info!(generation.name = %name, host, status, "callback delivered"),
            Tried::Failed { next_at: Some(_), .. } => {
                info!(generation.name = %name, host, outcome, status, "callback failed, it is tried again");
            }
            Tried::Failed { next_at: None, .. } => {
                warn!(generation.name = %name, host, outcome, status, "callback given up");
            }
        }
    }
}
