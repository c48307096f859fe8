//! What midjourney-proxy sends, read leniently: its two lineages and their relays write the same things in several ways.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::provider::http::lenient::{lenient, name};

/// The answer to a submit.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Envelope {
    /// What became of it.
    #[serde(default, deserialize_with = "code")]
    pub(super) code: Option<i64>,
    /// For people, mostly in Chinese.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) description: Option<String>,
    /// The same in the other form of the answer.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) message: Option<String>,
    /// The task's id.
    #[serde(default, deserialize_with = "name")]
    pub(super) result: Option<String>,
    /// More, by code.
    #[serde(default)]
    pub(super) properties: Value,
}

/// A task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Task {
    /// Its id.
    #[serde(default, deserialize_with = "name")]
    pub(super) id: Option<String>,
    /// The status word.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) status: Option<String>,
    /// `46%`, or words.
    #[serde(default)]
    pub(super) progress: Value,
    /// What was ordered.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) prompt: Option<String>,
    /// The same in English.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) prompt_en: Option<String>,
    /// What the order named itself by.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) state: Option<String>,
    /// Unix milliseconds.
    #[serde(default, deserialize_with = "code")]
    pub(super) submit_time: Option<i64>,
    /// Unix milliseconds; absent until it starts.
    #[serde(default, deserialize_with = "code")]
    pub(super) start_time: Option<i64>,
    /// The picture, or a preview.
    #[serde(default, deserialize_with = "name")]
    pub(super) image_url: Option<String>,
    /// The pictures one by one.
    #[serde(default, deserialize_with = "links")]
    pub(super) image_urls: Vec<String>,
    /// The film.
    #[serde(default, deserialize_with = "name")]
    pub(super) video_url: Option<String>,
    /// The films.
    #[serde(default, deserialize_with = "links")]
    pub(super) video_urls: Vec<String>,
    /// Why it failed.
    #[serde(default, deserialize_with = "name")]
    pub(super) fail_reason: Option<String>,
    /// What can be done with it.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) buttons: Option<Vec<Button>>,
}

/// One thing that can be done with a task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Button {
    /// What to call it by, for example `MJ::JOB::upsample::2::…`.
    #[serde(default, deserialize_with = "name")]
    pub(super) custom_id: Option<String>,
}

impl Task {
    /// The status word, however a relay writes it.
    pub(super) fn word(&self) -> String {
        self.status.as_deref().unwrap_or_default().to_ascii_uppercase()
    }

    /// How much is done, 0 to 100.
    pub(super) fn percent(&self) -> Option<u8> {
        let number = match &self.progress {
            Value::String(text) => text.trim().strip_suffix('%')?.trim().parse().ok()?,
            Value::Number(number) => number.as_f64()?,
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped; NaN becomes 0")]
        Some(number.clamp(0.0, 100.0) as u8)
    }
}

/// A list of links, as texts or as objects with a `url`.
fn links<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let link = |item: &Value| item.as_str().or_else(|| item["url"].as_str()).map(str::to_owned);
    Ok(match Value::deserialize(deserializer)? {
        Value::Array(items) => items.iter().filter_map(link).filter(|link| !link.is_empty()).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Vec::new(),
    })
}

/// A whole number, perhaps written as text or as a float.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let text = || value.as_str()?.trim().parse().ok();
    Ok(value.as_i64().or_else(|| value.as_f64().map(|number| number as i64)).or_else(text))
}
