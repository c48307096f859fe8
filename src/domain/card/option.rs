//! One option of a model: which values it takes, how near others are, and how the provider wants them written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::order::{OptionName, OptionValue};

/// One option of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptionSpec {
    /// The provider's field, with a dot between the names of nested ones; the option's own name when absent.
    #[serde(default)]
    pub field: Option<String>,
    /// How the value is written in the provider's field, with `{}` for the value, for example `{}p`; absent for the bare value.
    #[serde(default)]
    pub format: Option<String>,
    /// The provider's own words for some values.
    #[serde(default)]
    pub values: BTreeMap<String, toml::Value>,
    /// The only values allowed.
    #[serde(default)]
    pub one_of: Vec<OptionValue>,
    /// Least number allowed.
    #[serde(default)]
    pub min: Option<f64>,
    /// Greatest number allowed; for text, most characters.
    #[serde(default)]
    pub max: Option<f64>,
    /// Only whole numbers.
    #[serde(default)]
    pub whole: bool,
    /// Used when the request sets none; absent leaves it to the provider.
    #[serde(default)]
    pub default: Option<OptionValue>,
}

impl OptionSpec {
    /// The provider's field for the option `name`.
    pub fn field(&self, name: OptionName) -> &str {
        self.field.as_deref().unwrap_or(name.as_str())
    }

    /// The value as the provider's field takes it.
    pub fn written(&self, value: &OptionValue) -> Value {
        if let Some(word) = self.values.get(&value.to_string()) {
            return serde_json::to_value(word).unwrap_or_default();
        }
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
        let kind = if self.whole { "whole numbers, " } else { "" };
        match (self.min, self.max) {
            (Some(min), Some(max)) => format!("{kind}{min} to {max}"),
            (Some(min), None) => format!("{kind}{min} or more"),
            (None, Some(max)) => format!("{kind}at most {max}"),
            (None, None) if self.whole => "whole numbers".to_owned(),
            (None, None) => "any value".to_owned(),
        }
    }

    pub(super) fn allows(&self, value: &OptionValue) -> bool {
        if !self.one_of.is_empty() {
            return self.one_of.iter().any(|allowed| allowed.same(value));
        }
        if self.whole && matches!(value, OptionValue::Number(_)) {
            return false;
        }
        let size = match value {
            #[expect(clippy::cast_precision_loss, reason = "texts are far shorter than 2^53")]
            OptionValue::Text(text) => Some(text.chars().count() as f64),
            OptionValue::Bool(_) => None,
            OptionValue::Int(_) | OptionValue::Number(_) => value.as_f64(),
        };
        size.is_none_or(|size| self.min.is_none_or(|min| size >= min) && self.max.is_none_or(|max| size <= max))
    }

    /// The allowed value closest to `value`; of two equally close the lower one. Text without a size has none but the default.
    pub(super) fn nearest(&self, value: &OptionValue) -> Option<OptionValue> {
        let Some(wanted) = value.magnitude() else { return self.default.clone() };
        if !self.one_of.is_empty() {
            return nearest_of(&self.one_of, wanted).or_else(|| self.default.clone());
        }
        let wanted = if self.whole { wanted.round() } else { wanted };
        let clamped = self.min.map_or(wanted, |min| wanted.max(min));
        let clamped = self.max.map_or(clamped, |max| clamped.min(max));
        value.as_f64().map(|_| OptionValue::number(clamped)).or_else(|| self.default.clone())
    }
}

/// The value of `allowed` whose magnitude is closest to `wanted`; of two equally close the lower one.
pub(super) fn nearest_of(allowed: &[OptionValue], wanted: f64) -> Option<OptionValue> {
    let mut best: Option<(f64, f64, &OptionValue)> = None;
    for allowed in allowed {
        let Some(size) = allowed.magnitude() else { continue };
        let distance = (size - wanted).abs();
        if best.is_none_or(|(least, at, _)| distance < least || (distance <= least && size < at)) {
            best = Some((distance, size, allowed));
        }
    }
    best.map(|(_, _, allowed)| allowed.clone())
}
