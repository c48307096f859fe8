//! Model cards: what a model accepts, as data, and how an asked option becomes one that the model honours.

mod option;
mod rule;
mod size;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::{
    option::OptionSpec,
    rule::Rule,
    size::{Size, SizeSpec},
};
use super::{
    artifact::Kind,
    money::{MicroUsd, Usage},
    order::{Adjustment, InputRole, Mode, OptionName, OptionValue, Options, Violation},
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
        let by_class = self.height_as_class(asked);
        let asked = by_class.as_ref().unwrap_or(asked);
        let mut fitting = Fitting { card: self, mode, resolved: Resolved::default(), violations: Vec::new() };
        fitting.check_prompt(prompt, inputs);
        fitting.check_inputs(inputs);
        fitting.check_provider_options(asked, provider_options);
        fitting.fit_options(asked);
        fitting.fit_size(asked);
        fitting.add_defaults(provider_options);
        fitting.obey_rules(asked, inputs);
        if fitting.violations.is_empty() { Ok(fitting.resolved) } else { Err(fitting.violations) }
    }

    /// The options with a height as the class of the picture's size that it means, for a model that takes classes alone.
    fn height_as_class(&self, asked: &Options) -> Option<Options> {
        let takes = |name| self.options.contains_key(&name);
        let by_class = takes(OptionName::Resolution) && !takes(OptionName::Height) && self.size.is_none();
        if !by_class || asked.contains_key(&OptionName::Resolution) {
            return None;
        }
        let mut options = asked.clone();
        let height = options.remove(&OptionName::Height)?;
        options.insert(OptionName::Resolution, OptionValue::Text(format!("{height}p")));
        Some(options)
    }

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

/// An order on its way to fit a card.
struct Fitting<'a> {
    card: &'a ModelCard,
    mode: Mode,
    resolved: Resolved,
    violations: Vec<Violation>,
}

impl Fitting<'_> {
    fn refuse(&mut self, field: impl Into<String>, why: impl Into<String>) {
        self.violations.push(Violation::new(field, why));
    }

    /// Uses another value of an option, or none, and reports it, if the mode allows that.
    fn adjust(&mut self, name: OptionName, asked: &OptionValue, used: Option<OptionValue>, why: String) {
        let field = format!("options.{name}");
        match self.mode {
            Mode::Strict => self.refuse(field, why),
            Mode::Adapt => {
                let words = used.as_ref().map(ToString::to_string).unwrap_or_default();
                match used {
                    Some(used) => drop(self.resolved.options.insert(name, used)),
                    None => drop(self.resolved.options.remove(&name)),
                }
                match self.resolved.adjustments.iter_mut().find(|earlier| earlier.field == field) {
                    Some(earlier) => (earlier.used, earlier.why) = (words, why),
                    None => {
                        let asked = asked.to_string();
                        self.resolved.adjustments.push(Adjustment { field, asked, used: words, why });
                    }
                }
            }
        }
    }

    fn check_prompt(&mut self, prompt: &str, inputs: &[InputRole]) {
        let n_chars = prompt.chars().count();
        let (PromptSpec { min, max, optional_with, .. }, name) = (&self.card.prompt, &self.card.name);
        if n_chars == 0 && optional_with.iter().any(|role| inputs.contains(role)) {
            return;
        }
        if *max == 0 && n_chars > 0 {
            self.refuse("prompt", format!("{name} takes no prompt"));
        } else if n_chars == 0 && *min > 0 {
            self.refuse("prompt", "must not be blank");
        } else if n_chars < *min || n_chars > *max {
            self.refuse("prompt", format!("has {n_chars} characters; {name} takes {min} to {max}"));
        }
    }

    fn check_inputs(&mut self, inputs: &[InputRole]) {
        let name = &self.card.name;
        for (&role, spec) in &self.card.inputs {
            if spec.required && !inputs.contains(&role) {
                self.refuse("inputs", format!("{name} needs an input with role {role}"));
            }
        }
        let mut n_seen: BTreeMap<InputRole, usize> = BTreeMap::new();
        for (index, role) in inputs.iter().enumerate() {
            let n_in_role = n_seen.entry(*role).or_default();
            *n_in_role += 1;
            let field = format!("inputs[{index}].role");
            match self.card.inputs.get(role) {
                None => {
                    let roles: Vec<String> = self.card.inputs.keys().map(ToString::to_string).collect();
                    self.refuse(field, format!("{name} takes no {role} input; it takes {}", none_or(&roles)));
                }
                Some(spec) if *n_in_role > spec.max => {
                    self.refuse(field, format!("{name} takes at most {} {role} input(s)", spec.max));
                }
                Some(_) => {}
            }
        }
    }

    fn check_provider_options(&mut self, asked: &Options, provider_options: &Map<String, Value>) {
        let card = self.card;
        let of_option = |key: &str| {
            card.options.iter().find(|(name, spec)| first(spec.field(**name)) == key).map(|(name, _)| *name)
        };
        let of_size = card.size.as_ref().and_then(|size| size.field.as_deref()).map(first);
        for key in provider_options.keys() {
            let field = format!("options.provider_options.{key}");
            if *key == first(&card.prompt.field) || card.inputs.values().any(|input| first(&input.field) == key) {
                self.refuse(field, "is filled from the request's prompt or inputs");
            } else if let Some(name) = of_option(key) {
                if asked.contains_key(&name) {
                    self.refuse(field, format!("is filled from options.{name} as well; set only one"));
                }
            } else if of_size == Some(key.as_str()) {
                if asked.contains_key(&OptionName::Width) || asked.contains_key(&OptionName::Height) {
                    self.refuse(field, "is filled from options.width and options.height as well; set only one");
                }
            } else if self.mode == Mode::Strict && !card.provider_options.contains(key) && !card.fixed.contains_key(key)
            {
                let known = none_or(&card.provider_options);
                let why =
                    format!("{} is not known to take it; known: {known}. Mode ADAPT passes it on unchecked", card.name);
                self.refuse(field, why);
            }
        }
    }

    fn fit_options(&mut self, asked: &Options) {
        let card = self.card;
        for (&name, value) in asked {
            if card.size.is_some() && matches!(name, OptionName::Width | OptionName::Height) {
                continue;
            }
            match card.options.get(&name) {
                Some(spec) if spec.allows(value) => drop(self.resolved.options.insert(name, value.clone())),
                Some(spec) => {
                    let why = format!("{} takes {}", card.name, spec.allowed());
                    self.adjust(name, value, spec.nearest(value), why);
                }
                None => {
                    let mut known: Vec<String> = card.options.keys().map(ToString::to_string).collect();
                    if card.size.is_some() {
                        known.extend([OptionName::Width, OptionName::Height].map(|name| name.to_string()));
                    }
                    self.adjust(
                        name,
                        value,
                        None,
                        format!("{} takes no {name}; it takes {}", card.name, none_or(&known)),
                    );
                }
            }
        }
    }

    /// Width and height of a card that takes them as one.
    fn fit_size(&mut self, asked: &Options) {
        let Some(spec) = &self.card.size else { return };
        let sides: Vec<_> = [OptionName::Width, OptionName::Height]
            .into_iter()
            .filter_map(|name| Some((name, asked.get(&name)?)))
            .collect();
        if sides.is_empty() {
            return;
        }
        let used = match Size::of(asked) {
            Some(size) if spec.allows(size) => return self.resolved.options.extend(size.options()),
            Some(size) => spec.nearest(size),
            None => None,
        };
        let why = match sides.as_slice() {
            [(name, _)] => {
                format!("is not enough: {} takes width and height together, not {name} alone", self.card.name)
            }
            _ => format!("{} takes {}", self.card.name, spec.allowed()),
        };
        let used: BTreeMap<_, _> = used.or(spec.default).map(Size::options).into_iter().flatten().collect();
        for (name, value) in sides {
            self.adjust(name, value, used.get(&name).cloned(), why.clone());
        }
        if self.mode == Mode::Adapt {
            self.resolved.options.extend(used);
        }
    }

    /// The provider's own name for an option, when set by hand, takes the place of the default.
    fn add_defaults(&mut self, provider_options: &Map<String, Value>) {
        for (&name, spec) in &self.card.options {
            if !provider_options.contains_key(first(spec.field(name)))
                && let Some(default) = &spec.default
            {
                self.resolved.options.entry(name).or_insert_with(|| default.clone());
            }
        }
        if let Some(SizeSpec { default: Some(default), field, .. }) = &self.card.size
            && !field.as_deref().is_some_and(|field| provider_options.contains_key(first(field)))
            && !self.resolved.options.contains_key(&OptionName::Width)
        {
            self.resolved.options.extend(default.options());
        }
    }

    fn obey_rules(&mut self, asked: &Options, inputs: &[InputRole]) {
        for rule in &self.card.rules {
            if !rule.concerns(&self.resolved.options, inputs) {
                continue;
            }
            let condition = rule.condition();
            let options = self.resolved.options.clone();
            for (name, allowed, nearest) in rule.broken(&options) {
                if let Some(wish) = asked.get(&name) {
                    let why = format!("with {condition}, {} takes {allowed}", self.card.name);
                    self.adjust(name, wish, nearest, why);
                } else {
                    // Nobody asked for the default.
                    match nearest {
                        Some(nearest) => drop(self.resolved.options.insert(name, nearest)),
                        None => drop(self.resolved.options.remove(&name)),
                    }
                }
            }
            for (index, role) in inputs.iter().enumerate().filter(|(_, role)| rule.forbid.contains(role)) {
                let why = format!("with {condition}, {} takes no {role} input", self.card.name);
                self.refuse(format!("inputs[{index}].role"), why);
            }
            for role in rule.need.iter().filter(|role| !inputs.contains(role)) {
                self.refuse("inputs", format!("with {condition}, {} needs an input with role {role}", self.card.name));
            }
        }
    }
}

/// The outermost name of a nested field.
fn first(field: &str) -> &str {
    field.split_once('.').map_or(field, |(first, _)| first)
}

fn none_or(words: &[impl fmt::Display]) -> String {
    if words.is_empty() {
        return "none".to_owned();
    }
    words.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
