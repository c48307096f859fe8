//! How an order comes to fit a card: each asked option becomes one that the model honours, and all that cannot be is told at once.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value};

use super::{ModelCard, PromptSpec, Size, SizeSpec};
use crate::domain::order::{Adjustment, InputRole, Mode, OptionName, OptionValue, Options, Violation};

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
