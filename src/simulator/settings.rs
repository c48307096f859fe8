//! What can be set: by flags, by a scenario file, and while running.

use std::{fs, io, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use super::{fault::Rule, output::Shape};

/// How jobs go when no fault says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Settings {
    /// From a job's creation to its end.
    #[serde(serialize_with = "as_text")]
    pub(crate) latency: Duration,
    /// The part of `latency` spent in `starting`; absent: a quarter, at most 500 ms.
    #[serde(serialize_with = "as_optional_text")]
    pub(crate) boot: Option<Duration>,
    /// From a job's end until its input, output, files and logs are removed.
    #[serde(serialize_with = "as_text")]
    pub(crate) retention: Duration,
    /// New jobs wait in `processing` until released.
    pub(crate) hold: bool,
    /// How answers mention outputs.
    pub(crate) output: Shape,
    /// Jobs on a page of a list.
    pub(crate) page_size: usize,
    /// Jobs kept; beyond that the oldest finished one is dropped.
    pub(crate) max_predictions: usize,
    /// A synchronous answer carries small files as `data:` URIs instead of links.
    pub(crate) sync_inline: bool,
    /// Pause before the first repetition of a failed callback; doubles each time.
    #[serde(serialize_with = "as_text")]
    pub(crate) webhook_retry: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            latency: Duration::from_secs(3),
            boot: None,
            retention: Duration::from_secs(3600),
            hold: false,
            output: Shape::Native,
            page_size: 100,
            max_predictions: 200_000,
            sync_inline: false,
            webhook_retry: Duration::from_secs(1),
        }
    }
}

/// Some of the settings, to be changed. Durations are text such as `250ms`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    latency: Option<Span>,
    boot: Option<Span>,
    retention: Option<Span>,
    hold: Option<bool>,
    output: Option<Shape>,
    page_size: Option<usize>,
    max_predictions: Option<usize>,
    sync_inline: Option<bool>,
    webhook_retry: Option<Span>,
}

impl Change {
    /// The settings with the named ones replaced. A page holds at least one job, and at least one job is kept.
    pub(crate) fn applied_to(self, old: &Settings) -> Settings {
        Settings {
            latency: self.latency.map_or(old.latency, |span| span.0),
            boot: self.boot.map(|span| span.0).or(old.boot),
            retention: self.retention.map_or(old.retention, |span| span.0),
            hold: self.hold.unwrap_or(old.hold),
            output: self.output.unwrap_or_else(|| old.output.clone()),
            page_size: self.page_size.unwrap_or(old.page_size).max(1),
            max_predictions: self.max_predictions.unwrap_or(old.max_predictions).max(1),
            sync_inline: self.sync_inline.unwrap_or(old.sync_inline),
            webhook_retry: self.webhook_retry.map_or(old.webhook_retry, |span| span.0),
        }
    }
}

/// A scenario file: settings, fault rules, and models beyond the known ones. TOML, or JSON if it is named `*.json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    #[serde(default)]
    pub(crate) settings: Change,
    #[serde(default)]
    pub(crate) faults: Vec<Rule>,
    /// In the form of `replicate/models.toml`.
    #[serde(default, rename = "model")]
    pub(crate) models: Vec<super::replicate::Model>,
}

impl Scenario {
    /// Reads the file; an error names it.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| named(path, error.kind(), &error))?;
        if path.extension().is_some_and(|extension| extension == "json") {
            serde_json::from_str(&text).map_err(|error| named(path, io::ErrorKind::InvalidInput, &error))
        } else {
            toml::from_str(&text).map_err(|error| named(path, io::ErrorKind::InvalidInput, &error))
        }
    }
}

fn named(path: &Path, kind: io::ErrorKind, error: &dyn std::error::Error) -> io::Error {
    io::Error::new(kind, format!("scenario {}: {error}", path.display()))
}

/// A duration written as text.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Span(Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        humantime::parse_duration(&text).map(Self).map_err(|error| format!("{text:?} is no duration: {error}"))
    }
}

fn as_text<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

#[expect(clippy::ref_option, reason = "serde hands the field by reference")]
fn as_optional_text<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => as_text(duration, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_touches_only_what_it_names() {
        let change: Change = serde_json::from_str(r#"{"latency": "250ms", "output": "object.file"}"#).unwrap();
        let settings = change.applied_to(&Settings { hold: true, ..Settings::default() });
        assert_eq!(settings.latency, Duration::from_millis(250));
        assert_eq!(settings.output, Shape::Object(vec!["file".to_owned()]));
        assert!(settings.hold);
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        assert!(serde_json::from_str::<Change>(r#"{"latencey": "1s"}"#).is_err());
    }

    #[test]
    fn a_scenario_is_toml_or_json() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            let scenario = Scenario::read(&path).unwrap();
            assert_eq!((scenario.faults.len(), scenario.models.len()), (1, 1), "{name}");
            let settings = scenario.settings.applied_to(&Settings::default());
            assert_eq!(settings.latency, Duration::from_secs(9), "{name}");
        };
        check(
            "a.toml",
            r#"
            faults = ["create:drop"]
            [settings]
            latency = "9s"
            [[model]]
            name = "acme/clips"
            makes = "video"
            input.prompt = { type = "string", required = true }
            "#,
        );
        let model = json!({ "name": "acme/clips", "makes": "video" });
        let json = json!({ "faults": ["create:drop"], "settings": { "latency": "9s" }, "model": [model] });
        check("a.json", &json.to_string());
    }

    #[test]
    fn a_scenario_error_names_the_file_and_the_rule() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.toml");
        fs::write(&path, "faults = ['create:dorp']").unwrap();
        let error = Scenario::read(&path).unwrap_err().to_string();
        assert!(error.contains("bad.toml") && error.contains("dorp"), "{error}");
    }
}
