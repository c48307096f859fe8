//! One job: what was asked, what was decided, and how it looks now.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    Draft,
    life::{End, Marks, Plan, Stage},
    received::Received,
};
use crate::simulator::{
    fault::{Operation, Subject},
    output::{Media, Native, Shape},
};

/// A stored job; `D` is the vendor's own part.
#[derive(Debug)]
pub(crate) struct Job<D> {
    vendor: &'static str,
    pub(crate) id: String,
    /// Position in the order of creation.
    pub(crate) sequence: u64,
    pub(crate) model: String,
    pub(crate) prompt: String,
    pub(crate) received: Received,
    pub(crate) data: D,
    pub(crate) created_at: Timestamp,
    created: Instant,
    pub(crate) plan: Plan,
    pub(crate) outputs: Outputs,
    state: Mutex<State>,
    /// Woken by a cancel or a release.
    changed: Notify,
    pub(crate) tally: Tally,
}

/// The files a success hands out.
#[derive(Debug, Clone)]
pub(crate) struct Outputs {
    pub(crate) shape: Shape,
    pub(crate) native: Native,
    pub(crate) media: Media,
    pub(crate) n_files: u64,
    /// Files are padded to at least this many bytes.
    pub(crate) size: u64,
    pub(crate) expiry: Option<Expiry>,
}

/// How the first link stops working.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expiry {
    /// Downloads it serves before.
    pub(crate) fetches: u64,
    /// What it answers then.
    pub(crate) status: u16,
}

#[derive(Debug, Default)]
struct State {
    marks: Marks,
    /// Downloads through the first link.
    fetches: u64,
    /// The first link has refused; polls hand out the second.
    expired: bool,
}

/// How often the vendor was asked about this job.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) gets: AtomicU64,
    pub(crate) cancels: AtomicU64,
    pub(crate) downloads: AtomicU64,
    pub(crate) webhooks: AtomicU64,
}

impl Tally {
    /// Counts a call about the job and gives its number among those of its kind; 0 for calls that are about no job.
    pub(super) fn add(&self, operation: Operation) -> u64 {
        let count = match operation {
            Operation::Get => &self.gets,
            Operation::Cancel => &self.cancels,
            Operation::Download => &self.downloads,
            Operation::Webhook => &self.webhooks,
            Operation::Create | Operation::Chat | Operation::List | Operation::File => return 0,
        };
        count.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn page(&self) -> Value {
        json!({
            "gets": self.gets.load(Ordering::Relaxed),
            "cancels": self.cancels.load(Ordering::Relaxed),
            "downloads": self.downloads.load(Ordering::Relaxed),
            "webhooks_sent": self.webhooks.load(Ordering::Relaxed),
        })
    }
}

impl<D> Job<D> {
    /// A job created now.
    pub(super) fn new(vendor: &'static str, sequence: u64, draft: Draft<D>, plan: Plan, outputs: Outputs) -> Self {
        let Draft { id, model, prompt, received, data, media: _, n_files: _, native: _, deadline: _ } = draft;
        Self {
            vendor,
            id,
            sequence,
            model,
            prompt,
            received,
            data,
            created_at: Timestamp::now(),
            created: Instant::now(),
            plan,
            outputs,
            state: Mutex::default(),
            changed: Notify::new(),
            tally: Tally::default(),
        }
    }

    /// What a rule may see of a call about this job.
    pub(crate) fn subject(&self, nth_of_job: u64) -> Subject<'_> {
        Subject { vendor: self.vendor, prompt: &self.prompt, model: &self.model, nth_of_job }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.created.elapsed()
    }

    pub(crate) fn stage(&self) -> Stage {
        self.plan.stage(self.marks(), self.elapsed())
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.stage(), Stage::Ended(_))
    }

    /// Input, output, files and logs are gone.
    pub(crate) fn is_removed(&self) -> bool {
        let end = self.plan.end(self.marks());
        end.is_some_and(|end| self.elapsed() >= end.at.saturating_add(self.plan.retention))
    }

    /// Asks the job to stop. Repeating it changes nothing.
    pub(crate) fn cancel(&self) {
        let elapsed = self.elapsed();
        self.with_state(|state| state.marks.canceled.get_or_insert(elapsed).to_owned());
        self.changed.notify_waiters();
    }

    /// Lets a held job end.
    pub(crate) fn release(&self) {
        let elapsed = self.elapsed();
        self.with_state(|state| state.marks.released.get_or_insert(elapsed).to_owned());
        self.changed.notify_waiters();
    }

    /// Waits until the job has been going for `until`, or something changed its course, whichever is first.
    pub(crate) async fn wait(&self, until: Option<Duration>, seen: Marks) {
        let changed = self.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if self.marks() != seen {
            return;
        }
        match until.and_then(|until| self.created.checked_add(until)) {
            Some(instant) => {
                tokio::select! {
                    () = sleep_until(instant) => {}
                    () = changed => {}
                }
            }
            None => changed.await,
        }
    }

    /// Waits for the end, at most until the job has been going for `limit`.
    pub(crate) async fn ended_within(&self, limit: Duration) -> Option<End> {
        loop {
            let marks = self.marks();
            let elapsed = self.elapsed();
            if let Stage::Ended(end) = self.plan.stage(marks, elapsed) {
                return Some(end);
            }
            if elapsed >= limit {
                return None;
            }
            let end = self.plan.end(marks).map_or(limit, |end| end.at.min(limit));
            self.wait(Some(end), marks).await;
        }
    }

    /// Counts a download through a link of this `epoch`; an expired link gives its status.
    pub(crate) fn fetch(&self, epoch: u64) -> Result<(), u16> {
        let Some(expiry) = self.outputs.expiry.filter(|_| epoch == 0) else { return Ok(()) };
        self.with_state(|state| {
            if state.fetches >= expiry.fetches {
                state.expired = true;
                return Err(expiry.status);
            }
            state.fetches += 1;
            Ok(())
        })
    }

    pub(crate) fn marks(&self) -> Marks {
        self.with_state(|state| state.marks)
    }

    /// Links to the files of a success, made anew once the first ones expired.
    pub(crate) fn links(&self, origin: &str) -> Vec<String> {
        let epoch = u64::from(self.with_state(|state| state.expired));
        let (vendor, id, extension) = (self.vendor, &self.id, self.outputs.media.extension());
        (0..self.outputs.n_files)
            .map(|index| format!("{origin}/{vendor}/delivery/{id}/{epoch}/output-{index}.{extension}"))
            .collect()
    }

    /// The output of a success in the shape that settings and faults chose.
    pub(crate) fn output(&self, origin: &str) -> Value {
        self.outputs.shape.render(self.outputs.native, &self.links(origin), self.outputs.media)
    }

    /// The moment this long after the creation.
    pub(crate) fn at(&self, since_creation: Duration) -> Timestamp {
        self.created_at.checked_add(since_creation).unwrap_or(self.created_at)
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // No code panics while it holds the lock, so a poisoned one still guards whole data.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
