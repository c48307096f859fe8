//! What fal sends, read leniently: an odd type reads as absent.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::provider::http::lenient::{lenient, name};
use url::Url;

/// The answer to a submit.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Accepted {
    #[serde(default, deserialize_with = "name")]
    request_id: Option<String>,
    #[serde(default, deserialize_with = "name")]
    response_url: Option<String>,
    #[serde(default, deserialize_with = "name")]
    status_url: Option<String>,
    #[serde(default, deserialize_with = "name")]
    cancel_url: Option<String>,
}

impl Accepted {
    /// The job's id.
    pub(super) fn job(&self) -> Option<String> {
        let named_by = |url: &String| {
            let (_, rest) = url.split_once("/requests/")?;
            rest.split(['/', '?', '#']).next().filter(|id| !id.is_empty()).map(str::to_owned)
        };
        self.request_id.clone().or_else(|| self.addresses().find_map(named_by))
    }

    /// What the job's addresses begin with below `base`; nothing if they lie elsewhere, where our key must not go.
    pub(super) fn app(&self, base: &Url, job: &str) -> Option<String> {
        let root = format!("{}/", base.path().trim_end_matches('/'));
        let of = |url: &String| {
            let url = Url::parse(url).ok().filter(|url| url.origin() == base.origin())?;
            let (app, rest) = url.path().strip_prefix(&root)?.split_once("/requests/")?;
            let is_of_job = rest.strip_prefix(job).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            (is_of_job && super::endpoint::is_endpoint(app)).then(|| app.to_owned())
        };
        self.addresses().find_map(of)
    }

    fn addresses(&self) -> impl Iterator<Item = &String> {
        [&self.status_url, &self.response_url, &self.cancel_url].into_iter().flatten()
    }
}

/// How far a job is.
#[derive(Debug, Default, Deserialize)]
pub(super) struct StatusPage {
    /// Its id.
    #[serde(default, deserialize_with = "name")]
    pub(super) request_id: Option<String>,
    /// `IN_QUEUE`, `IN_PROGRESS` or `COMPLETED`, which may be a failure.
    #[serde(default, deserialize_with = "name")]
    pub(super) status: Option<String>,
    /// Jobs before it.
    #[serde(default, deserialize_with = "number")]
    pub(super) queue_position: Option<f64>,
    /// All entries so far.
    #[serde(default)]
    pub(super) logs: Value,
    /// What was used.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) metrics: Option<Map<String, Value>>,
    /// Why it failed.
    #[serde(default)]
    pub(super) error: Value,
    /// The kind of failure.
    #[serde(default, deserialize_with = "name")]
    pub(super) error_type: Option<String>,
}

impl StatusPage {
    /// The status in upper case.
    pub(super) fn word(&self) -> String {
        self.status.as_deref().unwrap_or_default().to_ascii_uppercase()
    }

    /// True if nothing more will happen. Only `COMPLETED` is documented, for failures too; the others are what the word of a failure would be.
    pub(super) fn has_ended(&self) -> bool {
        self.failed_by_word() || self.word() == "COMPLETED"
    }

    /// True if the word itself says that there is no output.
    pub(super) fn failed_by_word(&self) -> bool {
        matches!(self.word().as_str(), "FAILED" | "ERROR" | "CANCELED" | "CANCELLED")
    }

    /// Seconds of compute.
    pub(super) fn inference_seconds(&self) -> Option<f64> {
        number_of(self.metrics.as_ref()?.get("inference_time")?)
    }

    /// The messages, a line each.
    pub(super) fn log(&self) -> String {
        let entries = self.logs.as_array().map(Vec::as_slice).unwrap_or_default();
        let message = |entry: &Value| entry["message"].as_str().or_else(|| entry.as_str()).map(str::to_owned);
        let lines: Vec<String> = entries.iter().filter_map(message).collect();
        if lines.is_empty() { self.logs.as_str().unwrap_or_default().to_owned() } else { lines.join("\n") }
    }
}

/// A page of past jobs.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    /// One that is odd does not hide the others.
    #[serde(default, deserialize_with = "each")]
    pub(super) items: Vec<Past>,
    #[serde(default, deserialize_with = "name")]
    pub(super) next_cursor: Option<String>,
}

/// A past job.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Past {
    #[serde(default, deserialize_with = "name")]
    pub(super) request_id: Option<String>,
    #[serde(default, deserialize_with = "name")]
    pub(super) endpoint_id: Option<String>,
    /// When it was taken.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) sent_at: Option<jiff::Timestamp>,
    /// Its body, if that is kept.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) json_input: Option<Map<String, Value>>,
    /// Its labels, should the list show them.
    #[serde(default)]
    pub(super) tags: Value,
}

/// Where an upload goes.
#[derive(Debug, Deserialize)]
pub(super) struct Upload {
    pub(super) upload_url: Url,
    pub(super) file_url: Url,
}

/// A finite number of zero or more, however it is written.
pub(super) fn number_of(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(number_of(&Value::deserialize(deserializer)?))
}

fn each<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Past>, D::Error> {
    let items = Value::deserialize(deserializer)?;
    let items = items.as_array().cloned().unwrap_or_default();
    Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
}
