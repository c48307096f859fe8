//! A prediction: a job as Replicate shows it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{models::Model, webhook::Event};
use crate::simulator::desk::{End, Job, Outcome, Stage};

/// A stored prediction.
pub(super) type Prediction = Job<Asked>;

/// What was asked, beside what every job has.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) model: Arc<Model>,
    pub(super) input: Map<String, Value>,
    pub(super) callback: Option<Callback>,
}

/// Where and when to call back.
#[derive(Debug, Clone)]
pub(super) struct Callback {
    pub(super) url: String,
    /// Absent: outputs and completion.
    pub(super) filter: Option<Vec<Event>>,
}

impl Prediction {
    /// The object as the API shows it now; `origin` is scheme and authority for its links.
    pub(super) fn page(&self, origin: &str) -> Value {
        let marks = self.marks();
        let elapsed = self.elapsed();
        let stage = self.plan.stage(marks, elapsed);
        let removed = self.is_removed();
        let id = &self.id;
        let mut page = json!({
            "id": id,
            "model": self.model,
            "version": self.data.model.shown_version(),
            "input": if removed { json!({}) } else { json!(self.data.input) },
            "output": null,
            "logs": if removed { String::new() } else { self.plan.logs(&stage) },
            "error": null,
            "data_removed": removed,
            "source": "api",
            "status": stage.word(),
            "created_at": shown(self.created_at),
            "urls": {
                "get": format!("{origin}/replicate/v1/predictions/{id}"),
                "cancel": format!("{origin}/replicate/v1/predictions/{id}/cancel"),
                "web": format!("https://replicate.com/p/{id}"),
            },
        });
        if let Some(callback) = &self.data.callback {
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

    fn metrics(&self, end: &End, started: Option<Duration>) -> Value {
        let mut metrics = match end.outcome {
            Outcome::Succeeded => self.data.model.metrics(&self.data.input),
            Outcome::Failed(_) | Outcome::Canceled | Outcome::Aborted => Map::new(),
        };
        if let Some(started) = started {
            metrics.insert("predict_time".to_owned(), json!(end.at.saturating_sub(started).as_secs_f64()));
        }
        metrics.insert("total_time".to_owned(), json!(end.at.as_secs_f64()));
        Value::Object(metrics)
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
