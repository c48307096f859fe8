//! Every task's owner, and the ordered end of the process.
//!
//! Invariant: no task outlives `Shutdown::run` unnoticed, and from the first signal to its return passes at most the drain deadline.
//!
//! Phases go one way: `Running → Unready → Closing → Finishing → Flushed`. A render is never awaited: its ticket is stored, and the next
//! start takes it up again.

use std::{fmt, time::Duration};

use futures_util::{Stream, StreamExt};
use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};
use tracing::{info, warn};

pub use self::{
    signals::{Signal, os_signals, survive_file_size_limits},
    tasks::{OnFailure, OnShutdown, Outcome, Policy, Tasks},
};
use crate::config::DrainConfig;

mod signals;
mod tasks;
#[cfg(test)]
mod tests;

/// Kept from the deadline for the last phase: sending telemetry away.
const FLUSH_RESERVE: Duration = Duration::from_secs(2);

/// How long calls may go on once closing has begun. Then those that take longer end themselves, while their callers can still be told why:
/// soon after, their connections are cut.
pub const LAST_CALL: Duration = Duration::from_secs(8);

/// How far the end of the process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// Still serving, and saying "not ready", so that balancers send callers elsewhere.
    Unready,
    /// No new connections; streams end themselves; calls under way are answered.
    Closing,
    /// Nobody is served; workers reach a stored step.
    Finishing,
    /// Only telemetry is left to be sent.
    Flushed,
}

/// Why and how well [`Shutdown::run`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// Asked to, and everything ended in time.
    Clean,
    /// The deadline came first; these tasks were still running and were dropped.
    Overdue(Vec<&'static str>),
    /// A second signal came: nothing more was waited for.
    Hurried,
    /// A task the process cannot do without failed; the end was orderly.
    Failed(&'static str),
}

/// Conducts the end of the process.
#[derive(Debug)]
pub struct Shutdown {
    config: DrainConfig,
    phase: watch::Sender<Phase>,
    doors: TaskTracker,
    tasks: Tasks,
}

/// Tells how far the end has come. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Drain {
    phase: watch::Receiver<Phase>,
    doors: TaskTracker,
}

/// While one exists, the phase [`Phase::Closing`] waits for it, within bounds.
#[must_use = "dropping it says that the door is closed"]
pub struct OpenDoor {
    _token: TaskTrackerToken,
}

impl Shutdown {
    /// A process that is running.
    pub fn new(config: DrainConfig) -> Self {
        let (phase, _) = watch::channel(Phase::Running);
        Self { config, phase, doors: TaskTracker::new(), tasks: Tasks::new() }
    }

    /// Where tasks are started.
    pub fn tasks(&self) -> Tasks {
        self.tasks.clone()
    }

    /// A handle for whoever must know that the end has begun.
    pub fn drain(&self) -> Drain {
        Drain { phase: self.phase.subscribe(), doors: self.doors.clone() }
    }

    /// Waits for a signal, or the failure of a task with [`OnFailure::ShutDown`]; then goes through the phases and runs `flush` last.
    ///
    /// Closing gets at most half of the time left, so that slow readers do not take it from the workers. On a second signal it returns at
    /// once and `flush` may not have run; the runtime should then be shut down in the background.
    pub async fn run(self, mut signals: impl Stream<Item = Signal> + Unpin, flush: impl Future<Output = ()>) -> Exit {
        let failed = tokio::select! {
            signal = next(&mut signals) => {
                info!(%signal, "shutting down");
                None
            }
            task = self.tasks.failure() => {
                warn!(task, "shutting down because this task failed");
                Some(task)
            }
        };
        let exit = tokio::select! {
            biased;
            signal = next(&mut signals) => {
                warn!(%signal, "second signal, leaving at once");
                Exit::Hurried
            }
            exit = self.wind_down(flush, failed) => exit,
        };
        self.tasks.abort_all();
        exit
    }

    async fn wind_down(&self, flush: impl Future<Output = ()>, failed: Option<&'static str>) -> Exit {
        let deadline = Instant::now() + self.config.deadline;
        let flush_from = deadline - FLUSH_RESERVE.min(self.config.deadline / 5);

        self.enter(Phase::Unready);
        time::sleep(self.config.delay).await;

        self.enter(Phase::Closing);
        self.doors.close();
        self.tasks.abort_unneeded();
        let closed_by = Instant::now() + flush_from.saturating_duration_since(Instant::now()) / 2;
        if time::timeout_at(closed_by, self.doors.wait()).await.is_err() {
            warn!(doors = self.doors.len(), "callers are still being served, going on without them");
        }

        self.enter(Phase::Finishing);
        let left = match time::timeout_at(flush_from, self.tasks.finished()).await {
            Ok(()) => Vec::new(),
            Err(_) => self.tasks.running(),
        };
        if !left.is_empty() {
            warn!(tasks = ?left, "still running at the deadline");
        }

        self.enter(Phase::Flushed);
        if time::timeout_at(deadline, flush).await.is_err() {
            warn!("telemetry was not sent before the deadline");
        }
        match failed {
            Some(task) => Exit::Failed(task),
            None if left.is_empty() => Exit::Clean,
            None => Exit::Overdue(left),
        }
    }

    fn enter(&self, phase: Phase) {
        info!(?phase, "drain");
        self.phase.send_replace(phase);
    }
}

impl Drain {
    /// Whether the end has begun: the readiness probe's question.
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() > Phase::Running
    }

    /// Whether callers are turned away already.
    pub fn is_closing(&self) -> bool {
        *self.phase.borrow() >= Phase::Closing
    }

    /// Whether workers must stop at a stored step.
    pub fn is_finishing(&self) -> bool {
        *self.phase.borrow() >= Phase::Finishing
    }

    /// Returns when the process stops being ready.
    pub async fn draining(&self) {
        self.reached(Phase::Unready).await;
    }

    /// Returns when streams must end and no connection is accepted any more.
    pub async fn closing(&self) {
        self.reached(Phase::Closing).await;
    }

    /// Returns when calls that were let go on must end themselves: [`LAST_CALL`] after closing began, or when nobody is served any more.
    pub async fn last_call(&self) {
        self.closing().await;
        // An error means that the time came first.
        let _ = time::timeout(LAST_CALL, self.finishing()).await;
    }

    /// Returns when workers must come to a stored step and stop.
    pub async fn finishing(&self) {
        self.reached(Phase::Finishing).await;
    }

    /// Declares that callers are being served: closing waits until the answer is dropped.
    pub fn open_door(&self) -> OpenDoor {
        OpenDoor { _token: self.doors.token() }
    }

    async fn reached(&self, phase: Phase) {
        // An error means that the conductor is gone, which is later than every phase.
        let _ = self.phase.clone().wait_for(|now| *now >= phase).await;
    }
}

impl fmt::Debug for OpenDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenDoor")
    }
}

impl Exit {
    /// Whether the process did what it was asked to.
    pub fn is_clean(&self) -> bool {
        match self {
            Self::Clean => true,
            Self::Overdue(_) | Self::Hurried | Self::Failed(_) => false,
        }
    }
}

/// The end of the stream is not a signal.
async fn next(signals: &mut (impl Stream<Item = Signal> + Unpin)) -> Signal {
    match signals.next().await {
        Some(signal) => signal,
        None => std::future::pending().await,
    }
}
