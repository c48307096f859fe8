use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::FutureExt;
use tokio::{sync::watch, task::AbortHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::error;

/// What becomes of a task in two situations that every task meets some day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// When the process ends.
    pub on_shutdown: OnShutdown,
    /// When it returns an error or panics.
    pub on_failure: OnFailure,
}

/// What the end of the process means to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnShutdown {
    /// It is waited for until the deadline, and listens to a [`Drain`](super::Drain) itself.
    Wait,
    /// It is dropped at its next await as soon as doors close: it may stop anywhere without harm.
    Abort,
}

/// What the failure of a task means to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It is logged and life goes on.
    Log,
    /// The process cannot do without it and ends in order.
    ShutDown,
}

/// What a task may return.
pub trait Outcome {
    /// The error in words with its causes, if it is one.
    fn failure(self) -> Option<String>;
}

/// The owner of every task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    unneeded: CancellationToken,
    all: CancellationToken,
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    failed: watch::Sender<Option<&'static str>>,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self {
            tracker: TaskTracker::new(),
            unneeded: CancellationToken::new(),
            all: CancellationToken::new(),
            running: Arc::default(),
            failed: watch::Sender::new(None),
        }
    }

    /// Starts a task. Its `name` is what logs say; many tasks may share one. A panic counts as a failure and is logged like one.
    ///
    /// A task started after the doors closed still runs if it is one to wait for.
    pub fn spawn<F>(&self, name: &'static str, policy: Policy, task: F) -> AbortHandle
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        let stop = match policy.on_shutdown {
            OnShutdown::Wait => self.all.clone(),
            OnShutdown::Abort => self.unneeded.clone(),
        };
        let failed = self.failed.clone();
        let present = Present::new(name, Arc::clone(&self.running));
        let task = self.tracker.track_future(async move {
            let _present = present;
            let run = AssertUnwindSafe(task).catch_unwind();
            let failure = match stop.run_until_cancelled(run).await {
                None => None,
                Some(Ok(outcome)) => outcome.failure(),
                Some(Err(panic)) => Some(format!("panicked: {}", panic_text(panic.as_ref()))),
            };
            if let Some(failure) = failure {
                error!(task = name, error = failure, "task failed");
                match policy.on_failure {
                    OnFailure::Log => (),
                    OnFailure::ShutDown => drop(failed.send_replace(Some(name))),
                }
            }
        });
        #[expect(clippy::disallowed_methods, reason = "this is the one place where tasks are started")]
        tokio::spawn(task).abort_handle()
    }

    /// Returns with the name of the first task whose failure ends the process.
    pub(super) async fn failure(&self) -> &'static str {
        let mut failed = self.failed.subscribe();
        // `self` holds a sender, so waiting cannot fail.
        match failed.wait_for(Option::is_some).await.map(|name| *name) {
            Ok(Some(name)) => name,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    pub(super) fn abort_unneeded(&self) {
        self.unneeded.cancel();
    }

    pub(super) fn abort_all(&self) {
        self.unneeded.cancel();
        self.all.cancel();
    }

    /// Returns once no task is left.
    pub(super) async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Names of the tasks there are, each once.
    pub(super) fn running(&self) -> Vec<&'static str> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }
}

/// A task that exists, from its start to its end or drop.
struct Present {
    name: &'static str,
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Present {
    fn new(name: &'static str, running: Arc<Mutex<BTreeMap<&'static str, usize>>>) -> Self {
        *running.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
        Self { name, running }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n_tasks) = running.get_mut(self.name) {
            *n_tasks -= 1;
            if *n_tasks == 0 {
                running.remove(self.name);
            }
        }
    }
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display> Outcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        // The alternate form is how error types that know their causes show them.
        self.err().map(|error| format!("{error:#}"))
    }
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a value that is no text")
}
