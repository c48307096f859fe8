//! What Ark sends, read leniently: an odd type reads as absent, and only what we cannot do without is missed.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use crate::provider::http::lenient::{lenient, name};

/// A video task.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Task {
    /// Its id, `cgt-…`.
    #[serde(default, deserialize_with = "name")]
    pub(super) id: Option<String>,
    /// The model, as it was ordered.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) model: Option<String>,
    /// The status word, in lower case.
    #[serde(default, deserialize_with = "word")]
    pub(super) status: Option<String>,
    /// Why it failed; null or absent otherwise.
    #[serde(default, deserialize_with = "problem")]
    pub(super) error: Option<Problem>,
    /// What was made.
    #[serde(default, deserialize_with = "first")]
    pub(super) content: Option<Content>,
    /// What was used.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) usage: Option<Tokens>,
    /// Unix seconds.
    #[serde(default, deserialize_with = "number")]
    pub(super) created_at: Option<f64>,
    /// Seconds of output.
    #[serde(default, deserialize_with = "number")]
    pub(super) duration: Option<f64>,
    /// Frames of output, in place of `duration`.
    #[serde(default, deserialize_with = "number")]
    pub(super) frames: Option<f64>,
    /// Frames a second.
    #[serde(default, rename = "framespersecond", deserialize_with = "number")]
    pub(super) fps: Option<f64>,
    /// Whether there is sound.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) generate_audio: Option<bool>,
    /// What the order named itself by.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) safety_identifier: Option<String>,
}

/// What a task made.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Content {
    /// The film.
    #[serde(default, deserialize_with = "link")]
    pub(super) video_url: Option<String>,
    /// The film, where a model calls it a file.
    #[serde(default, deserialize_with = "link")]
    pub(super) file_url: Option<String>,
}

/// What a task used.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Tokens {
    /// What is charged.
    #[serde(default, deserialize_with = "number")]
    pub(super) completion_tokens: Option<f64>,
    /// The same where the other is missing.
    #[serde(default, deserialize_with = "number")]
    pub(super) total_tokens: Option<f64>,
}

/// A page of the list of tasks.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Page {
    /// Its tasks.
    #[serde(default, deserialize_with = "many")]
    pub(super) items: Option<Vec<Task>>,
    /// How many there are on all pages.
    #[serde(default, deserialize_with = "number")]
    pub(super) total: Option<f64>,
}

/// The answer to an order of pictures.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Pictures {
    /// One entry for each picture, made or not.
    #[serde(default, deserialize_with = "many")]
    pub(super) data: Option<Vec<Picture>>,
    /// What was used.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) usage: Option<PictureUsage>,
    /// Why nothing was made.
    #[serde(default, deserialize_with = "problem")]
    pub(super) error: Option<Problem>,
}

/// One picture of an order.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Picture {
    /// Where it is.
    #[serde(default, deserialize_with = "link")]
    pub(super) url: Option<String>,
    /// The picture itself.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) b64_json: Option<String>,
    /// `WxH`.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) size: Option<String>,
    /// Why it was not made.
    #[serde(default, deserialize_with = "problem")]
    pub(super) error: Option<Problem>,
}

/// What an order of pictures used.
#[derive(Debug, Default, Deserialize)]
pub(super) struct PictureUsage {
    /// Pictures made, which are those charged.
    #[serde(default, deserialize_with = "number")]
    pub(super) generated_images: Option<f64>,
    /// Pixels in units of 256.
    #[serde(default, deserialize_with = "number")]
    pub(super) output_tokens: Option<f64>,
}

/// What is wrong, with a request, a task or a picture.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Problem {
    /// The stable word, with further ones after dots.
    #[serde(default, deserialize_with = "name")]
    pub(super) code: Option<String>,
    /// For people.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) message: Option<String>,
    /// The request's field, perhaps empty.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) param: Option<String>,
}

/// The body of an error answer.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Refusal {
    /// What is wrong.
    #[serde(default, deserialize_with = "problem")]
    pub(super) error: Option<Problem>,
}

/// A finite number of zero or more, perhaps written as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    Ok(number.filter(|number| number.is_finite() && *number >= 0.0))
}

/// A word in lower case.
fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(name(deserializer)?.map(|word| word.to_ascii_lowercase()))
}

/// A link as text, or as an object with a `url`, as requests have them.
fn link<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.as_str().or_else(|| value["url"].as_str()).filter(|link| !link.is_empty()).map(str::to_owned))
}

/// What is wrong, perhaps in words alone; an empty place for it says that nothing is.
fn problem<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Problem>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if let Some(words) = value.as_str().filter(|words| !words.is_empty()) {
        return Ok(Some(Problem { message: Some(words.to_owned()), ..Problem::default() }));
    }
    let problem = serde_json::from_value::<Problem>(value).ok();
    Ok(problem.filter(|problem| problem.code.is_some() || problem.message.is_some()))
}

/// The items of a list without those that are none, or what stands in the list's place.
fn many<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    let items = match Value::deserialize(deserializer)? {
        Value::Array(items) => items,
        one @ Value::Object(_) => vec![one],
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Ok(None),
    };
    Ok(Some(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect()))
}

/// A value, also as the first of a list.
fn first<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(many(deserializer)?.and_then(|items| items.into_iter().next()))
}
