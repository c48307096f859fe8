//! Model cards: what a model accepts, as data, and what is to be expected of it.

mod fitting;
mod option;
mod rule;
mod size;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::{
    fitting::Resolved,
    option::OptionSpec,
    rule::Rule,
    size::{Size, SizeSpec},
};
use super::{
    artifact::Kind,
    money::{MicroUsd, Usage},
    order::{InputRole, OptionName, OptionValue, Options},
    price::Price,
};

/// One model of a provider. User settings may add or override cards; everything a vendor may change monthly is here and not in code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// The provider's own name for it, for example `minimax/video-01`.
    pub name: String,
    /// Other names that a request may use.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What it makes.
    pub kind: Kind,
    /// A short human description.
    #[serde(default)]
    pub title: String,
    /// What prompts it takes.
    #[serde(default)]
    pub prompt: PromptSpec,
    /// The options it honours; any other is refused or dropped with a report.
    #[serde(default)]
    pub options: BTreeMap<OptionName, OptionSpec>,
    /// The sizes it takes, where `width` and `height` go together.
    #[serde(default)]
    pub size: Option<SizeSpec>,
    /// The inputs it takes.
    #[serde(default)]
    pub inputs: BTreeMap<InputRole, InputSpec>,
    /// What it takes only together with something else.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Further names of the provider's own that it is known to take through `provider_options`.
    #[serde(default)]
    pub provider_options: Vec<String>,
    /// Fields of the provider's own that every order has, unless `provider_options` sets them.
    #[serde(default)]
    pub fixed: toml::Table,
    /// What only the provider's adapter understands, for example an endpoint.
    #[serde(default)]
    pub adapter: toml::Table,
    /// What it costs; absent when unknown.
    #[serde(default)]
    pub price: Option<Price>,
    /// Usual time of a generation in seconds.
    #[serde(default)]
    pub expected_seconds: Option<f64>,
    /// Usual times for orders with certain options; the first that agrees goes before `expected_seconds`.
    #[serde(default)]
    pub expected_when: Vec<ExpectedTime>,
    /// Seconds of output when no duration is asked or the model takes none; for the estimate.
    #[serde(default)]
    pub output_seconds: Option<f64>,
    /// Seconds of output for each picture of a sequence; for the estimate.
    #[serde(default)]
    pub seconds_per_input: Option<f64>,
    /// Bounds a job whose request says nothing, in place of the server's own bound.
    #[serde(default)]
    pub deadline_seconds: Option<f64>,
    /// Last day the provider serves it.
    #[serde(default)]
    pub end_of_life: Option<jiff::civil::Date>,
    /// Where these facts come from.
    #[serde(default)]
    pub source: String,
}

/// A usual time for orders with certain options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedTime {
    /// The options with their values; all must agree.
    pub options: BTreeMap<OptionName, OptionValue>,
    /// The usual time.
    pub seconds: f64,
}

/// What prompts a model takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PromptSpec {
    /// Fewest characters; 0 if it may be left out.
    pub min: usize,
    /// Most characters; 0 if it takes none.
    pub max: usize,
    /// The provider's field, with a dot between the names of nested ones.
    pub field: String,
    /// Sent when the prompt is left out.
    pub default: Option<String>,
    /// May be left out with an input in one of these roles, whatever `min` is.
    pub optional_with: Vec<InputRole>,
}

impl Default for PromptSpec {
    fn default() -> Self {
        Self {
            min: 1,
            max: super::order::MAX_PROMPT,
            field: "prompt".to_owned(),
            default: None,
            optional_with: Vec::new(),
        }
    }
}

/// One input role of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// The provider's field, with a dot between the names of nested ones.
    #[serde(default)]
    pub field: String,
    /// Refused without it.
    #[serde(default)]
    pub required: bool,
    /// Most inputs; above 1 the provider's field is a list.
    #[serde(default = "one")]
    pub max: usize,
    /// The provider's field is a list, also of one.
    #[serde(default)]
    pub list: bool,
    /// The only media types that it takes; all of the role's kind when empty.
    #[serde(default)]
    pub media: Vec<String>,
    /// Most bytes of one input.
    #[serde(default)]
    pub max_bytes: Option<u64>,
}

fn one() -> usize {
    1
}

impl ModelCard {
    /// The expected price of an order.
    pub fn estimate(&self, options: &Options, prompt: &str, inputs: &[InputRole]) -> Option<MicroUsd> {
        self.price.as_ref()?.of(&self.expected_usage(options, prompt, inputs), options)
    }

    /// What an order will probably use.
    pub fn expected_usage(&self, options: &Options, prompt: &str, inputs: &[InputRole]) -> Usage {
        let number = |name| options.get(&name).and_then(OptionValue::as_f64);
        let samples = number(OptionName::Samples).map_or(1.0, |samples| samples.clamp(1.0, 16.0));
        let n_pictures = inputs.iter().filter(|role| **role == InputRole::Sequence).count();
        let of_pictures = self.seconds_per_input.filter(|_| n_pictures > 0).map(|each| each * n_pictures as f64);
        let seconds = number(OptionName::Duration).or(of_pictures).or(self.output_seconds);
        let tokens = self.price.as_ref().and_then(|price| price.expected_tokens(options));
        Usage {
            output_seconds: seconds.map(|seconds| seconds * samples),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1..=16 above")]
            outputs: Some(samples as u32),
            compute_seconds: self.expected_time(options).map(|time| time.as_secs_f64() * samples),
            audio: None,
            characters: Some(prompt.chars().count() as u64),
            megapixels: Size::of(options).map(|size| size.pixels() as f64 / 1e6 * samples),
            tokens: tokens.map(|tokens| tokens * seconds.unwrap_or(1.0) * samples),
            charged: None,
        }
    }

    /// Usual time of a generation with `options`.
    pub fn expected_time(&self, options: &Options) -> Option<Duration> {
        let agrees = |expected: &&ExpectedTime| {
            expected.options.iter().all(|(name, value)| options.get(name).is_some_and(|actual| actual.same(value)))
        };
        let seconds =
            self.expected_when.iter().find(agrees).map(|expected| expected.seconds).or(self.expected_seconds)?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// Bound of a job whose request says nothing, if this model has its own.
    pub fn deadline(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.deadline_seconds?).ok()
    }

    /// The options of an order that sets none.
    pub fn defaults(&self) -> Options {
        let of_options = self.options.iter().filter_map(|(name, spec)| Some((*name, spec.default.clone()?)));
        let size = self.size.as_ref().and_then(|size| size.default);
        of_options.chain(size.map(Size::options).into_iter().flatten()).collect()
    }

    /// What it can start from, in stable words.
    pub fn modes(&self) -> Vec<&'static str> {
        let takes = |role| self.inputs.contains_key(&role);
        let needs_input = self.inputs.values().any(|input| input.required);
        let mut modes = Vec::new();
        let mut mode = |has: bool, word| modes.extend(has.then_some(word));
        mode(self.prompt.max > 0 && !needs_input, "text");
        mode(takes(InputRole::FirstFrame), "first_frame");
        mode(takes(InputRole::FirstFrame) && takes(InputRole::LastFrame), "first_and_last_frame");
        mode(takes(InputRole::Reference), "reference");
        mode(takes(InputRole::Source), "source");
        mode(takes(InputRole::Mask), "mask");
        mode(takes(InputRole::Sequence), "sequence");
        mode(takes(InputRole::Audio), "audio");
        modes
    }
}
