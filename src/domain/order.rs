//! What is ordered: options, inputs, and the candidates a generation may be tried at.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

pub use super::options::{OptionName, OptionValue, Options};
use super::{
    money::MicroUsd,
    names::{ArtifactId, ModelName},
    price::Price,
};

/// Most characters of a prompt; cards narrow it.
pub const MAX_PROMPT: usize = 32_000;

/// The part an input plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputRole {
    /// The first frame of a video.
    FirstFrame,
    /// The last frame of a video.
    LastFrame,
    /// Who or what should appear, or the look; for speech the voice, for music the tune.
    Reference,
    /// What is changed into the output.
    Source,
    /// Where the source may be changed.
    Mask,
    /// One of the pictures that a video shows one after the other.
    Sequence,
    /// A sound that the video follows.
    Audio,
}

impl InputRole {
    /// Every role, in the order of the contract.
    pub const ALL: [Self; 7] =
        [Self::FirstFrame, Self::LastFrame, Self::Reference, Self::Source, Self::Mask, Self::Sequence, Self::Audio];

    /// The value's name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FirstFrame => "INPUT_ROLE_FIRST_FRAME",
            Self::LastFrame => "INPUT_ROLE_LAST_FRAME",
            Self::Reference => "INPUT_ROLE_REFERENCE",
            Self::Source => "INPUT_ROLE_SOURCE",
            Self::Mask => "INPUT_ROLE_MASK",
            Self::Sequence => "INPUT_ROLE_SEQUENCE",
            Self::Audio => "INPUT_ROLE_AUDIO",
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
    /// Whether it may well be a name, and nothing here has it.
    pub names_nothing: bool,
}

impl Violation {
    /// Of a field and what is wrong with it.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into(), names_nothing: false }
    }

    /// Of a field that names nothing here.
    pub fn unknown(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { names_nothing: true, ..Self::new(field, description) }
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
    /// Its number among the request's candidates as the settings list them, from 0, whatever order a route's strategy gave them.
    #[serde(default)]
    pub listed: usize,
    /// Digest of the order as this model alone gets it, under which its results answer later orders; empty before the order is accepted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// True for the sample that stands in when every ordered model has failed.
    #[serde(default)]
    pub stand_in: bool,
}
