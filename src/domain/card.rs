//! Model cards: what a model accepts, as data, and how an asked option becomes one that the model honours.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    artifact::Kind,
    money::Price,
    order::{Adjustment, InputRole, Mode, OptionName, OptionValue, Options, Violation},
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
    /// The inputs it takes.
    #[serde(default)]
    pub inputs: BTreeMap<InputRole, InputSpec>,
    /// Further names of the provider's own that it is known to take through `provider_options`.
    #[serde(default)]
    pub provider_options: Vec<String>,
    /// What it costs; absent when unknown.
    #[serde(default)]
    pub price: Option<Price>,
    /// Usual time of a generation in seconds.
    #[serde(default)]
    pub expected_seconds: Option<f64>,
    /// Seconds of output when no duration is asked or the model takes none; for the estimate.
    #[serde(default)]
    pub output_seconds: Option<f64>,
    /// Last day the provider serves it.
    #[serde(default)]
    pub end_of_life: Option<jiff::civil::Date>,
    /// Where these facts come from.
    #[serde(default)]
    pub source: String,
}

/// What prompts a model takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PromptSpec {
    /// Fewest characters.
    pub min: usize,
    /// Most characters.
    pub max: usize,
    /// The provider's field.
    pub field: String,
}

impl Default for PromptSpec {
    fn default() -> Self {
        Self { min: 1, max: super::order::MAX_PROMPT, field: "prompt".to_owned() }
    }
}

/// One option of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptionSpec {
    /// The provider's field; the option's own name when absent.
    #[serde(default)]
    pub field: Option<String>,
    /// How the value is written in the provider's field, with `{}` for the value, for example `{}p`; absent for the bare value.
    #[serde(default)]
    pub format: Option<String>,
    /// The only values allowed.
    #[serde(default)]
    pub one_of: Vec<OptionValue>,
    /// Least number allowed.
    #[serde(default)]
    pub min: Option<f64>,
    /// Greatest number allowed; for text, most characters.
    #[serde(default)]
    pub max: Option<f64>,
    /// Used when the request sets none; absent leaves it to the provider.
    #[serde(default)]
    pub default: Option<OptionValue>,
}

/// One input role of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// The provider's field.
    pub field: String,
    /// Refused without it.
    #[serde(default)]
    pub required: bool,
    /// Most inputs; above 1 the provider's field is a list.
    #[serde(default = "one")]
    pub max: usize,
}

fn one() -> usize {
    1
}

/// What is to be sent, once the card has had its say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resolved {
    /// Asked, adjusted and default options.
    pub options: Options,
    /// What was changed.
    pub adjustments: Vec<Adjustment>,
}

impl ModelCard {
    /// Fits what was asked to this model, or says everything that does not fit.
    ///
    /// `inputs` are the roles of the request's inputs in order. Field paths are those of the request.
    pub fn resolve(
        &self,
        prompt: &str,
        asked: &Options,
        provider_options: &Map<String, Value>,
        inputs: &[InputRole],
        mode: Mode,
    ) -> Result<Resolved, Vec<Violation>> {
        let mut violations = Vec::new();
        let mut resolved = Resolved::default();
        self.check_prompt(prompt, &mut violations);
        self.check_inputs(inputs, &mut violations);
        self.check_provider_options(asked, provider_options, mode, &mut violations);
        for (&name, value) in asked {
            match self.fit(name, value) {
                Fit::Exact => {
                    resolved.options.insert(name, value.clone());
                }
                Fit::Refused { why, nearest } => match mode {
                    Mode::Strict => violations.push(Violation::new(format!("options.{name}"), why)),
                    Mode::Adapt => {
                        resolved.adjustments.push(Adjustment {
                            field: format!("options.{name}"),
                            asked: value.to_string(),
                            used: nearest.as_ref().map(ToString::to_string).unwrap_or_default(),
                            why,
                        });
                        resolved.options.extend(nearest.map(|nearest| (name, nearest)));
                    }
                },
            }
        }
        for (&name, spec) in &self.options {
            // The provider's own name for it, when set by hand, takes the place of the default.
            if !provider_options.contains_key(spec.field(name))
                && let Some(default) = &spec.default
            {
                resolved.options.entry(name).or_insert_with(|| default.clone());
            }
        }
        if violations.is_empty() { Ok(resolved) } else { Err(violations) }
    }

    /// The expected price of `options`.
    pub fn estimate(&self, options: &Options) -> Option<super::money::MicroUsd> {
        let number = |name| options.get(&name).and_then(OptionValue::as_f64);
        let seconds = number(OptionName::Duration).or(self.output_seconds).and_then(seconds);
        let samples = number(OptionName::Samples).map_or(1.0, |samples| samples.clamp(1.0, 16.0));
        let audio = options.get(&OptionName::Audio) == Some(&OptionValue::Bool(true));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1..=16 above")]
        let samples = samples as u32;
        self.price.as_ref()?.estimate(seconds, samples, audio, self.expected_time())
    }

    /// Usual time of a generation.
    pub fn expected_time(&self) -> Option<Duration> {
        self.expected_seconds.and_then(seconds)
    }

    fn check_prompt(&self, prompt: &str, violations: &mut Vec<Violation>) {
        let n_chars = prompt.chars().count();
        if n_chars < self.prompt.min || n_chars > self.prompt.max {
            let PromptSpec { min, max, .. } = self.prompt;
            violations.push(Violation::new(
                "prompt",
                format!("has {n_chars} characters; {} takes {min} to {max}", self.name),
            ));
        }
    }

    fn check_inputs(&self, inputs: &[InputRole], violations: &mut Vec<Violation>) {
        for (&role, spec) in &self.inputs {
            if spec.required && !inputs.contains(&role) {
                violations.push(Violation::new("inputs", format!("{} needs an input with role {role}", self.name)));
            }
        }
        let mut n_seen: BTreeMap<InputRole, usize> = BTreeMap::new();
        for (index, role) in inputs.iter().enumerate() {
            let n_in_role = n_seen.entry(*role).or_default();
            *n_in_role += 1;
            let field = format!("inputs[{index}].role");
            match self.inputs.get(role) {
                None => {
                    let roles: Vec<String> = self.inputs.keys().map(ToString::to_string).collect();
                    violations.push(Violation::new(
                        field,
                        format!("{} takes no {role} input; it takes {}", self.name, none_or(&roles)),
                    ));
                }
                Some(spec) if *n_in_role > spec.max => {
                    violations.push(Violation::new(
                        field,
                        format!("{} takes at most {} {role} input(s)", self.name, spec.max),
                    ));
                }
                Some(_) => {}
            }
        }
    }

    fn check_provider_options(
        &self,
        asked: &Options,
        provider_options: &Map<String, Value>,
        mode: Mode,
        violations: &mut Vec<Violation>,
    ) {
        let of_option =
            |key: &str| self.options.iter().find(|(name, spec)| spec.field(**name) == key).map(|(name, _)| *name);
        for key in provider_options.keys() {
            let field = format!("options.provider_options.{key}");
            if *key == self.prompt.field || self.inputs.values().any(|input| input.field == *key) {
                violations.push(Violation::new(field, "is filled from the request's prompt or inputs".to_owned()));
            } else if let Some(name) = of_option(key) {
                if asked.contains_key(&name) {
                    violations
                        .push(Violation::new(field, format!("is filled from options.{name} as well; set only one")));
                }
            } else if mode == Mode::Strict && !self.provider_options.contains(key) {
                violations.push(Violation::new(
                    field,
                    format!(
                        "{} is not known to take it; known: {}. Mode ADAPT passes it on unchecked",
                        self.name,
                        none_or(&self.provider_options)
                    ),
                ));
            }
        }
    }

    fn fit(&self, name: OptionName, value: &OptionValue) -> Fit {
        let Some(spec) = self.options.get(&name) else {
            let known: Vec<String> = self.options.keys().map(ToString::to_string).collect();
            return Fit::Refused {
                why: format!("{} takes no {name}; it takes {}", self.name, none_or(&known)),
                nearest: None,
            };
        };
        if spec.allows(value) {
            return Fit::Exact;
        }
        Fit::Refused { why: format!("{} takes {}", self.name, spec.allowed()), nearest: spec.nearest(value) }
    }
}

enum Fit {
    Exact,
    Refused { why: String, nearest: Option<OptionValue> },
}

impl OptionSpec {
    /// The provider's field for the option `name`.
    pub fn field(&self, name: OptionName) -> &str {
        self.field.as_deref().unwrap_or(name.as_str())
    }

    /// The value as the provider's field takes it.
    pub fn written(&self, value: &OptionValue) -> Value {
        match &self.format {
            Some(format) => Value::String(format.replace("{}", &value.to_string())),
            None => value.to_json(),
        }
    }

    /// The allowed values in words.
    pub fn allowed(&self) -> String {
        if !self.one_of.is_empty() {
            return self.one_of.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        }
        match (self.min, self.max) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("{min} or more"),
            (None, Some(max)) => format!("at most {max}"),
            (None, None) => "any value".to_owned(),
        }
    }

    fn allows(&self, value: &OptionValue) -> bool {
        if !self.one_of.is_empty() {
            return self.one_of.iter().any(|allowed| allowed.same(value));
        }
        let size = match value {
            #[expect(clippy::cast_precision_loss, reason = "texts are far shorter than 2^53")]
            OptionValue::Text(text) => Some(text.chars().count() as f64),
            OptionValue::Bool(_) => None,
            OptionValue::Int(_) | OptionValue::Number(_) => value.as_f64(),
        };
        size.is_none_or(|size| self.min.is_none_or(|min| size >= min) && self.max.is_none_or(|max| size <= max))
    }

    /// The allowed value closest to `value`; of two equally close the lower one. Text that is no shape has none but the default.
    fn nearest(&self, value: &OptionValue) -> Option<OptionValue> {
        let Some(wanted) = value.magnitude() else { return self.default.clone() };
        if self.one_of.is_empty() {
            let clamped = self.min.map_or(wanted, |min| wanted.max(min));
            let clamped = self.max.map_or(clamped, |max| clamped.min(max));
            return value.as_f64().map(|_| OptionValue::number(clamped)).or_else(|| self.default.clone());
        }
        let mut best: Option<(f64, f64, &OptionValue)> = None;
        for allowed in &self.one_of {
            let Some(size) = allowed.magnitude() else { continue };
            let distance = (size - wanted).abs();
            if best.is_none_or(|(least, at, _)| distance < least || (distance <= least && size < at)) {
                best = Some((distance, size, allowed));
            }
        }
        best.map(|(_, _, allowed)| allowed.clone()).or_else(|| self.default.clone())
    }
}

fn none_or(words: &[impl fmt::Display]) -> String {
    if words.is_empty() {
        return "none".to_owned();
    }
    words.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests;
