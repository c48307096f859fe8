//! What a model takes only together with something else, for example 1080p only at 8 seconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::option::nearest_of;
use crate::domain::order::{InputRole, OptionName, OptionValue, Options};

/// Narrows the options of an order that has certain options and inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// It concerns orders with one of these values for each of these options.
    #[serde(default)]
    pub when: BTreeMap<OptionName, Vec<OptionValue>>,
    /// And with an input in one of these roles, if any are given.
    #[serde(default)]
    pub with: Vec<InputRole>,
    /// And without any input in these roles.
    #[serde(default)]
    pub without: Vec<InputRole>,
    /// Such an order takes only these values of these options; none at all means that the option must not be set.
    #[serde(default)]
    pub allow: BTreeMap<OptionName, Vec<OptionValue>>,
    /// And no input in these roles.
    #[serde(default)]
    pub forbid: Vec<InputRole>,
    /// And at least one input in each of these roles.
    #[serde(default)]
    pub need: Vec<InputRole>,
}

impl Rule {
    /// True if it has a say in an order with these options and inputs.
    pub(super) fn concerns(&self, options: &Options, inputs: &[InputRole]) -> bool {
        let has = |(name, values): (&OptionName, &Vec<OptionValue>)| {
            options.get(name).is_some_and(|actual| values.iter().any(|value| value.same(actual)))
        };
        self.when.iter().all(has)
            && (self.with.is_empty() || self.with.iter().any(|role| inputs.contains(role)))
            && !self.without.iter().any(|role| inputs.contains(role))
    }

    /// The options that break it, with what is allowed in words and the nearest allowed value.
    pub(super) fn broken<'a>(
        &'a self,
        options: &'a Options,
    ) -> impl Iterator<Item = (OptionName, String, Option<OptionValue>)> {
        self.allow.iter().filter_map(|(name, allowed)| {
            let actual = options.get(name)?;
            if allowed.iter().any(|value| value.same(actual)) {
                return None;
            }
            let nearest =
                actual.magnitude().and_then(|wanted| nearest_of(allowed, wanted)).or_else(|| allowed.first().cloned());
            let words: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            let words = if words.is_empty() { format!("no {name}") } else { format!("{name} {}", words.join(", ")) };
            Some((*name, words, nearest))
        })
    }

    /// What makes it concern an order, in words.
    pub(super) fn condition(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        for (name, values) in &self.when {
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            parts.push(format!("{name} {}", values.join(" or ")));
        }
        let roles = |roles: &[InputRole]| roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        if !self.with.is_empty() {
            parts.push(format!("an input {}", roles(&self.with)));
        }
        if !self.without.is_empty() {
            parts.push(format!("no input {}", roles(&self.without)));
        }
        if parts.is_empty() { "any order".to_owned() } else { parts.join(" and ") }
    }
}
