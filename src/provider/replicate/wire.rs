//! What Replicate sends, read leniently: of a prediction only what we cannot do without is required, and an odd type
//! reads as absent.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::provider::http::lenient::{lenient, name};

/// One run of a model.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Prediction {
    /// Its id.
    #[serde(default, deserialize_with = "name")]
    pub(super) id: Option<String>,
    /// The status word.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) status: Option<String>,
    /// `owner/name`.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) model: Option<String>,
    /// 64 hexadecimal digits, `hidden`, or a short id.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) version: Option<String>,
    /// What was ordered; emptied after retention.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) input: Option<Map<String, Value>>,
    /// What was made, in any shape.
    #[serde(default)]
    pub(super) output: Value,
    /// Grows while it runs.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) logs: Option<String>,
    /// Why it failed: usually text.
    #[serde(default)]
    pub(super) error: Value,
    /// True once retention has erased input, output and logs.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) data_removed: Option<bool>,
    /// Where it calls back, if it shows that.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) webhook: Option<String>,
    /// When it was made.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) created_at: Option<Timestamp>,
    /// What was used.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) metrics: Option<Map<String, Value>>,
}

impl Prediction {
    /// The status in lower case, with one spelling of a cancel.
    pub(super) fn word(&self) -> String {
        let word = self.status.as_deref().unwrap_or_default().trim().to_ascii_lowercase();
        if word == "cancelled" { "canceled".to_owned() } else { word }
    }
}

/// A page of the list of predictions, newest first.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    /// Its predictions; one that is odd does not hide the others.
    #[serde(default, deserialize_with = "each")]
    pub(super) results: Vec<Prediction>,
    /// Address of the next page.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) next: Option<String>,
}

/// An uploaded file.
#[derive(Debug, Deserialize)]
pub(super) struct Upload {
    /// Its addresses.
    pub(super) urls: UploadUrls,
}

/// The addresses of an uploaded file.
#[derive(Debug, Deserialize)]
pub(super) struct UploadUrls {
    /// What an input may name it by.
    pub(super) get: String,
}

/// The body of an error answer, as far as it names fields.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Problem {
    /// Text, for input errors one `- field: text` line per problem.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) detail: Option<String>,
    /// The fields at fault.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) invalid_fields: Option<Vec<InvalidField>>,
}

/// A field at fault.
#[derive(Debug, Deserialize)]
pub(super) struct InvalidField {
    /// The kind of fault, for example `required`.
    #[serde(default, rename = "type")]
    pub(super) fault: String,
    /// Dotted path; of a missing key the parent's.
    #[serde(default)]
    pub(super) field: String,
    /// What is wrong.
    #[serde(default)]
    pub(super) description: String,
}

fn each<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Prediction>, D::Error> {
    let items = Value::deserialize(deserializer)?;
    let items = items.as_array().cloned().unwrap_or_default();
    Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
}
