//! One prediction: what was asked, what was decided, and how it looks now.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    life::{End, Marks, Outcome, Plan, Stage},
    models::Model,
    webhook::Event,
};
use crate::simulator::output::{Media, Shape};

/// A stored prediction.
#[derive(Debug)]
pub(super) struct Prediction {
    pub(super) id: String,
    /// Position in the order of creation.
    pub(super) sequence: u64,
    pub(super) model: Arc<Model>,
    pub(super) input: Map<String, Value>,
    pub(super) callback: Option<Callback>,
    /// Request headers worth showing to a test, with no credential among them.
    pub(super) headers: Vec<(String, String)>,
    pub(super) created_at: Timestamp,
    created: Instant,
    pub(super) plan: Plan,
    pub(super) outputs: Outputs,
    state: Mutex<State>,
    /// Woken by a cancel or a release.
    changed: Notify,
    pub(super) tally: Tally,
}

/// Where and when to call back.
#[derive(Debug, Clone)]
pub(super) struct Callback {
    pub(super) url: String,
    /// Absent: outputs and completion.
    pub(super) filter: Option<Vec<Event>>,
}

/// The files a success hands out.
#[derive(Debug, Clone)]
pub(super) struct Outputs {
    pub(super) shape: Shape,
    pub(super) media: Media,
    pub(super) n_files: u64,
    /// Files are padded to at least this many bytes.
    pub(super) size: u64,
    pub(super) expiry: Option<Expiry>,
}

/// How the first link stops working.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expiry {
    /// Downloads it serves before.
    pub(super) fetches: u64,
    /// What it answers then.
    pub(super) status: u16,
}

#[derive(Debug, Default)]
struct State {
    marks: Marks,
    /// Downloads through the first link.
    fetches: u64,
    /// The first link has refused; polls hand out the second.
    expired: bool,
}

/// How often the vendor was asked about this prediction.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) gets: AtomicU64,
    pub(super) cancels: AtomicU64,
    pub(super) downloads: AtomicU64,
    pub(super) webhooks: AtomicU64,
}

impl Tally {
    pub(super) fn page(&self) -> Value {
        json!({
            "gets": self.gets.load(Ordering::Relaxed),
            "cancels": self.cancels.load(Ordering::Relaxed),
            "downloads": self.downloads.load(Ordering::Relaxed),
            "webhooks_sent": self.webhooks.load(Ordering::Relaxed),
        })
    }
}

/// What a new prediction is made of.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) id: String,
    pub(super) sequence: u64,
    pub(super) model: Arc<Model>,
    pub(super) input: Map<String, Value>,
    pub(super) callback: Option<Callback>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) plan: Plan,
    pub(super) outputs: Outputs,
}

impl Prediction {
    /// A prediction created now.
    pub(super) fn new(draft: Draft) -> Self {
        let Draft { id, sequence, model, input, callback, headers, plan, outputs } = draft;
        Self {
            id,
            sequence,
            model,
            input,
            callback,
            headers,
            created_at: Timestamp::now(),
            created: Instant::now(),
            plan,
            outputs,
            state: Mutex::default(),
            changed: Notify::new(),
            tally: Tally::default(),
        }
    }

    pub(super) fn prompt(&self) -> &str {
        prompt_of(&self.input)
    }

    pub(super) fn model_name(&self) -> &str {
        &self.model.name
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.created.elapsed()
    }

    pub(super) fn stage(&self) -> Stage {
        self.plan.stage(self.marks(), self.elapsed())
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.stage(), Stage::Ended(_))
    }

    /// Input, output, files and logs are gone.
    pub(super) fn is_removed(&self) -> bool {
        let end = self.plan.end(self.marks());
        end.is_some_and(|end| self.elapsed() >= end.at.saturating_add(self.plan.retention))
    }

    /// Asks the job to stop. Repeating it changes nothing.
    pub(super) fn cancel(&self) {
        let elapsed = self.elapsed();
        self.with_state(|state| state.marks.canceled.get_or_insert(elapsed).to_owned());
        self.changed.notify_waiters();
    }

    /// Lets a held job end.
    pub(super) fn release(&self) {
        let elapsed = self.elapsed();
        self.with_state(|state| state.marks.released.get_or_insert(elapsed).to_owned());
        self.changed.notify_waiters();
    }

    /// Waits until the job has been going for `until`, or something changed its course, whichever is first.
    pub(super) async fn wait(&self, until: Option<Duration>, seen: Marks) {
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
    pub(super) async fn ended_within(&self, limit: Duration) -> Option<End> {
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
    pub(super) fn fetch(&self, epoch: u64) -> Result<(), u16> {
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

    pub(super) fn marks(&self) -> Marks {
        self.with_state(|state| state.marks)
    }

    /// The object as the API shows it now; `origin` is scheme and authority for its links.
    pub(super) fn page(&self, origin: &str) -> Value {
        let marks = self.marks();
        let elapsed = self.elapsed();
        let stage = self.plan.stage(marks, elapsed);
        let removed = self.is_removed();
        let id = &self.id;
        let mut page = json!({
            "id": id,
            "model": self.model.name,
            "version": self.model.shown_version(),
            "input": if removed { json!({}) } else { json!(self.input) },
            "output": null,
            "logs": if removed { String::new() } else { self.plan.logs(&stage) },
            "error": null,
            "data_removed": removed,
            "source": "api",
            "status": status(&stage),
            "created_at": shown(self.created_at),
            "urls": {
                "get": format!("{origin}/replicate/v1/predictions/{id}"),
                "cancel": format!("{origin}/replicate/v1/predictions/{id}/cancel"),
                "web": format!("https://replicate.com/p/{id}"),
            },
        });
        if let Some(callback) = &self.callback {
            page["webhook"] = json!(callback.url);
            if let Some(filter) = &callback.filter {
                page["webhook_events_filter"] = json!(filter.iter().map(|event| event.as_str()).collect::<Vec<_>>());
            }
        }
        if let Some(deadline) = self.plan.deadline {
            page["deadline"] = json!(shown(self.at(deadline)));
        }
        if let Some(started) = self.plan.started(marks, elapsed) {
            page["started_at"] = json!(shown(self.at(started)));
        }
        if let Stage::Ended(end) = &stage {
            page["completed_at"] = json!(shown(self.at(end.at)));
            page["metrics"] = self.metrics(end, self.plan.started(marks, elapsed));
            match &end.outcome {
                Outcome::Succeeded if !removed => page["output"] = self.output(origin),
                Outcome::Failed(text) => page["error"] = json!(text),
                Outcome::Succeeded | Outcome::Canceled | Outcome::Aborted => {}
            }
        }
        page
    }

    /// The output value of a success.
    pub(super) fn output(&self, origin: &str) -> Value {
        let epoch = u64::from(self.with_state(|state| state.expired));
        let extension = self.outputs.media.extension();
        let links: Vec<String> = (0..self.outputs.n_files)
            .map(|index| format!("{origin}/replicate/delivery/{}/{epoch}/output-{index}.{extension}", self.id))
            .collect();
        self.outputs.shape.render(self.model.native(), &links, self.outputs.media)
    }

    fn metrics(&self, end: &End, started: Option<Duration>) -> Value {
        let mut metrics = match end.outcome {
            Outcome::Succeeded => self.model.metrics(&self.input),
            Outcome::Failed(_) | Outcome::Canceled | Outcome::Aborted => Map::new(),
        };
        if let Some(started) = started {
            metrics.insert("predict_time".to_owned(), json!(end.at.saturating_sub(started).as_secs_f64()));
        }
        metrics.insert("total_time".to_owned(), json!(end.at.as_secs_f64()));
        Value::Object(metrics)
    }

    fn at(&self, since_creation: Duration) -> Timestamp {
        self.created_at.checked_add(since_creation).unwrap_or(self.created_at)
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // No code panics while it holds the lock, so a poisoned one still guards whole data.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The prompt of an input, or nothing.
pub(super) fn prompt_of(input: &Map<String, Value>) -> &str {
    input.get("prompt").and_then(Value::as_str).unwrap_or_default()
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn shown(time: Timestamp) -> String {
    format!("{time:.3}")
}

fn status(stage: &Stage) -> &'static str {
    match stage {
        Stage::Starting => "starting",
        Stage::Processing { .. } => "processing",
        Stage::Ended(End { outcome, .. }) => match outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed(_) => "failed",
            Outcome::Canceled => "canceled",
            Outcome::Aborted => "aborted",
        },
    }
}
