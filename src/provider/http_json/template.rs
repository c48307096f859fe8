//! Texts of the settings with places to fill in: `{model}`, `{mark}` and `{job}`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

/// What stays as it is in a part of a path.
const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The slashes and colons of a model's name stay as well.
const KEPT_IN_MODEL: AsciiSet = KEPT.remove(b'/').remove(b':');

/// What can be filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// The model's name at the vendor.
    Model,
    /// The mark of one submit: a UUID that nobody else has.
    Mark,
    /// The vendor's id of the job.
    Job,
}

impl Slot {
    const ALL: [(Self, &str); 3] = [(Self::Model, "{model}"), (Self::Mark, "{mark}"), (Self::Job, "{job}")];
}

/// What is filled in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Filling<'a> {
    pub(super) model: &'a str,
    pub(super) mark: &'a str,
    pub(super) job: &'a str,
}

impl<'a> Filling<'a> {
    fn of(self, slot: Slot) -> &'a str {
        match slot {
            Slot::Model => self.model,
            Slot::Mark => self.mark,
            Slot::Job => self.job,
        }
    }
}

/// A path below the base address, perhaps with a query.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PathTemplate(String);

impl TryFrom<String> for PathTemplate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if !text.starts_with('/') || text.contains(['#', ' ']) {
            return Err("must be a path below base_url that begins with `/`, such as /jobs/{job}".to_owned());
        }
        check_slots(&text)?;
        Ok(Self(text))
    }
}

impl PathTemplate {
    /// The path with everything filled in, each part encoded.
    pub(super) fn filled(&self, filling: Filling<'_>) -> String {
        Slot::ALL.iter().fold(self.0.clone(), |path, (slot, name)| {
            let kept = if *slot == Slot::Model { &KEPT_IN_MODEL } else { &KEPT };
            path.replace(name, &utf8_percent_encode(filling.of(*slot), kept).to_string())
        })
    }

    pub(super) fn has(&self, slot: Slot) -> bool {
        has(&self.0, slot)
    }
}

/// The value with everything filled in, in all its texts.
pub(super) fn filled(value: &Value, filling: Filling<'_>) -> Value {
    match value {
        Value::String(text) => {
            let text = Slot::ALL.iter().fold(text.clone(), |text, (slot, name)| text.replace(name, filling.of(*slot)));
            Value::String(text)
        }
        Value::Array(items) => items.iter().map(|item| filled(item, filling)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), filled(value, filling))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Whether one of the value's texts has this place.
pub(super) fn mentions(value: &Value, slot: Slot) -> bool {
    match value {
        Value::String(text) => has(text, slot),
        Value::Array(items) => items.iter().any(|item| mentions(item, slot)),
        Value::Object(fields) => fields.values().any(|value| mentions(value, slot)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// An error for a `{name}` in the value's texts that nothing fills in.
pub(super) fn check(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => check_slots(text),
        Value::Array(items) => items.iter().try_for_each(check),
        Value::Object(fields) => fields.values().try_for_each(check),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn has(text: &str, slot: Slot) -> bool {
    Slot::ALL.iter().any(|(it, name)| *it == slot && text.contains(name))
}

fn check_slots(text: &str) -> Result<(), String> {
    let names = text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    // A text such as `{"a": 1}` is only a text.
    let is_name =
        |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match names.filter(is_name).find(|name| !Slot::ALL.iter().any(|(_, known)| known[1..known.len() - 1] == **name)) {
        Some(name) => Err(format!("has {{{name}}}, which nothing fills in; known: {{model}}, {{mark}}, {{job}}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_filled_into_a_path_stays_one_part_of_it() {
        let path = PathTemplate::try_from("/m/{model}/jobs/{job}?ref={mark}".to_owned()).unwrap();
        let filling = Filling { model: "acme/clips:2", job: "a/b?c", mark: "k" };
        assert_eq!(path.filled(filling), "/m/acme/clips:2/jobs/a%2Fb%3Fc?ref=k");
        for bad in ["jobs", "https://h.example/x", "/a b", "/jobs/{id}"] {
            assert!(PathTemplate::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_body_is_filled_at_every_depth_and_odd_names_are_told() {
        let body = json!({ "a": ["{mark}", 5], "b": { "c": "x-{model}" } });
        let filling = Filling { model: "m", mark: "k", job: "" };
        assert_eq!(filled(&body, filling), json!({ "a": ["k", 5], "b": { "c": "x-m" } }));
        assert!(mentions(&body, Slot::Mark) && !mentions(&body, Slot::Job));
        assert!(check(&json!({ "a": ["{seed}"] })).unwrap_err().contains("{seed}"));
        assert_eq!(check(&json!("{\"a\": 1} {}")), Ok(()));
    }
}
