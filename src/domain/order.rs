//! What is ordered: options, inputs, and the candidates a generation may be tried at.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::{
    money::{MicroUsd, Price},
    names::{ArtifactId, ModelName},
};

/// Most characters of a prompt; cards narrow it.
pub const MAX_PROMPT: usize = 32_000;

/// The request's options, by their names in the contract.
pub type Options = BTreeMap<OptionName, OptionValue>;

/// An option of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptionName {
    /// Playing time in seconds.
    Duration,
    /// Frames a second.
    Fps,
    /// Width in pixels.
    Width,
    /// Height in pixels.
    Height,
    /// Shape as `W:H`.
    AspectRatio,
    /// Inference steps.
    Steps,
    /// How many outputs.
    Samples,
    /// Guidance scale.
    Guidance,
    /// Seed of the random numbers.
    Seed,
    /// What should not be seen.
    NegativePrompt,
    /// Whether to make sound.
    Audio,
}

impl OptionName {
    /// The field's name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Duration => "duration",
            Self::Fps => "fps",
            Self::Width => "width",
            Self::Height => "height",
            Self::AspectRatio => "aspect_ratio",
            Self::Steps => "steps",
            Self::Samples => "samples",
            Self::Guidance => "guidance",
            Self::Seed => "seed",
            Self::NegativePrompt => "negative_prompt",
            Self::Audio => "audio",
        }
    }
}

impl fmt::Display for OptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The value of an option. A whole number is always an `Int`, so that equal values are equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OptionValue {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Number(f64),
    /// A text.
    Text(String),
}

impl OptionValue {
    /// A number in its one form.
    pub fn number(value: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "only whole numbers that a float holds exactly")]
        if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
            Self::Int(value as i64)
        } else {
            Self::Number(value)
        }
    }

    /// The number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "option values stay below 2^53")]
            Self::Int(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }

    /// As JSON; whole numbers stay whole.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Bool(value) => Value::from(*value),
            Self::Int(value) => Value::from(*value),
            Self::Number(value) => Value::from(*value),
            Self::Text(value) => Value::from(value.as_str()),
        }
    }

    /// Equal, whether written as a whole number or not.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self.as_f64(), other.as_f64()) {
            (Some(left), Some(right)) => (left - right).abs() < 1e-9,
            (None | Some(_), None) | (None, Some(_)) => self == other,
        }
    }

    /// What nearness is measured by: the number, or the ratio of a shape `W:H`.
    pub(super) fn magnitude(&self) -> Option<f64> {
        match self {
            Self::Text(text) => {
                let (width, height) = text.split_once(':')?;
                let (width, height): (f64, f64) = (width.parse().ok()?, height.parse().ok()?);
                // On a logarithmic scale 2:1 is as far from square as 1:2.
                (width > 0.0 && height > 0.0).then(|| (width / height).ln())
            }
            Self::Bool(_) | Self::Int(_) | Self::Number(_) => self.as_f64(),
        }
    }
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// The part an input plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputRole {
    /// The first frame of a video.
    FirstFrame,
    /// The last frame of a video.
    LastFrame,
    /// A picture of who or what should appear.
    Reference,
}

impl InputRole {
    /// The value's name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FirstFrame => "INPUT_ROLE_FIRST_FRAME",
            Self::LastFrame => "INPUT_ROLE_LAST_FRAME",
            Self::Reference => "INPUT_ROLE_REFERENCE",
        }
    }
}

impl fmt::Display for InputRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A file to start from, as stored with the generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The part it plays.
    pub role: InputRole,
    /// Where its bytes are.
    pub source: InputSource,
}

/// Where an input's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputSource {
    /// Ours; inline bytes and data URIs became one at acceptance.
    Artifact(ArtifactId),
    /// A public `https` address that the provider fetches.
    Url(Url),
}

/// What to do with a field that the model cannot honour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Refuse it.
    #[default]
    Strict,
    /// Use the nearest value and report it.
    Adapt,
}

/// How to use earlier results for the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachePolicy {
    /// Use an earlier result, or share an identical order in flight.
    #[default]
    Default,
    /// Neither use nor share, nor remember.
    Bypass,
    /// Make it anew and remember.
    Refresh,
}

/// A value that was changed to what the model can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjustment {
    /// The request's field.
    pub field: String,
    /// What was asked.
    pub asked: String,
    /// What is used; empty if the field was left out.
    pub used: String,
    /// Why.
    pub why: String,
}

/// A field of a request that cannot be accepted, and why, with the allowed values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the request.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Violation {
    /// Of a field and what is wrong with it.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }
}

/// One model that a generation may be tried at, with the order as that model will get it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The model.
    pub model: ModelName,
    /// Asked, adjusted and default options.
    pub options: Options,
    /// Passed on as it is.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub provider_options: Map<String, Value>,
    /// What was changed from what was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adjustments: Vec<Adjustment>,
    /// Expected price; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<MicroUsd>,
    /// The price as it stood at acceptance, by which it is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Usual time of a generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_time: Option<Duration>,
    /// True for the sample that stands in when every ordered model has failed.
    #[serde(default)]
    pub stand_in: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_have_one_form() {
        assert_eq!(OptionValue::number(5.0), OptionValue::Int(5));
        assert_eq!(OptionValue::number(0.5), OptionValue::Number(0.5));
        let read: OptionValue = serde_json::from_str("5").unwrap();
        assert_eq!(read, OptionValue::Int(5));
    }
}
