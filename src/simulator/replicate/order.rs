//! Reading a request to create: headers, envelope and input.

use std::{sync::Arc, time::Duration};

use axum::response::Response;
use http::HeaderMap;
use serde_json::{Map, Value};

use super::{
    models::Model,
    prediction::Callback,
    problem::{self, Violation},
    webhook,
};

const MIN_CANCEL_AFTER: Duration = Duration::from_secs(5);
const MAX_CANCEL_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A valid request.
pub(super) struct Order {
    pub(super) model: Arc<Model>,
    pub(super) input: Map<String, Value>,
    pub(super) callback: Option<Callback>,
    pub(super) wait: Option<Duration>,
    pub(super) deadline: Option<Duration>,
}

impl Order {
    /// Reads a request, or gives its refusal. The schema is closed: an unknown key is a violation.
    pub(super) fn read(
        mut body: Map<String, Value>,
        headers: &HeaderMap,
        named: Option<&str>,
        model: Option<&Arc<Model>>,
    ) -> Result<Self, Box<Response>> {
        let wait = header(headers, "prefer").map(|text| prefer(text).ok_or("Prefer is wait or wait=1 to wait=60"));
        let deadline = header(headers, "cancel-after")
            .map(|text| cancel_after(text).ok_or("Cancel-After is a duration from 5s to 24h, such as 1h30m45s"));
        let wait = wait.transpose().map_err(|detail| Box::new(problem::unreadable(detail)))?;
        let deadline = deadline.transpose().map_err(|detail| Box::new(problem::unreadable(detail)))?;
        if named.is_some() && model.is_none() {
            return Err(Box::new(problem::not_found()));
        }

        let mut violations = envelope_violations(&body, named);
        let input = match body.remove("input") {
            Some(Value::Object(input)) => Some(input),
            Some(_) | None => None,
        };
        let callback = body.get("webhook").and_then(Value::as_str).map(|url| Callback {
            url: url.to_owned(),
            filter: body.get("webhook_events_filter").and_then(webhook::filter),
        });
        let has_version = named.is_some() || body.get("version").is_some_and(Value::is_string);
        match (model, input) {
            (Some(model), Some(input)) => {
                violations.extend(model.violations(&input));
                if violations.is_empty() {
                    return Ok(Self { model: Arc::clone(model), input, callback, wait, deadline });
                }
            }
            (None, _) if has_version && violations.is_empty() => return Err(Box::new(problem::unknown_version())),
            (Some(_) | None, _) => {}
        }
        Err(Box::new(problem::invalid(&violations)))
    }
}

/// What is wrong with the body apart from the model's own input. Only without a name in the path is there a version.
fn envelope_violations(body: &Map<String, Value>, named: Option<&str>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (key, value) in body {
        match (key.as_str(), value) {
            ("version", Value::String(_)) if named.is_none() => {}
            ("version", _) if named.is_none() => violations.push(Violation::invalid(key, "version must be a string")),
            ("input", Value::Object(_)) | ("stream", Value::Bool(_)) => {}
            ("input", _) => violations.push(Violation::invalid(key, "input is not an object")),
            ("stream", _) => violations.push(Violation::invalid(key, "stream must be a boolean")),
            ("webhook", Value::String(text)) if is_web_address(text) => {}
            ("webhook", _) => violations.push(Violation::invalid(key, "webhook must be an HTTPS URL")),
            ("webhook_events_filter", value) if webhook::filter(value).is_some() => {}
            ("webhook_events_filter", _) => {
                let text = "webhook_events_filter lists some of: start, output, logs, completed";
                violations.push(Violation::invalid(key, text));
            }
            _ => violations.push(Violation::unknown(key)),
        }
    }
    if named.is_none() && !body.contains_key("version") {
        violations.push(Violation::required("", "version"));
    }
    if !body.contains_key("input") {
        violations.push(Violation::required("", "input"));
    }
    violations
}

fn is_web_address(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// A header that is text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `wait` or `wait=N`, 1 to 60 seconds.
fn prefer(text: &str) -> Option<Duration> {
    let seconds = match text.strip_prefix("wait")? {
        "" => 60,
        rest => rest.strip_prefix('=')?.parse().ok().filter(|seconds| (1..=60).contains(seconds))?,
    };
    Some(Duration::from_secs(seconds))
}

/// `30`, `30s`, `5m` or `1h30m45s`; a bare number is seconds.
fn cancel_after(text: &str) -> Option<Duration> {
    let bare = text.parse().map(Duration::from_secs).ok();
    let duration = bare.or_else(|| humantime::parse_duration(text).ok())?;
    (MIN_CANCEL_AFTER..=MAX_CANCEL_AFTER).contains(&duration).then_some(duration)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_preference_is_read_as_the_vendor_reads_it() {
        assert_eq!(prefer("wait"), Some(Duration::from_secs(60)));
        assert_eq!(prefer("wait=10"), Some(Duration::from_secs(10)));
        assert_eq!(prefer("wait=61"), None);
        assert_eq!(prefer("waiting"), None);
    }

    #[test]
    fn a_deadline_is_a_bare_number_or_units() {
        assert_eq!(cancel_after("30"), Some(Duration::from_secs(30)));
        assert_eq!(cancel_after("1h30m45s"), Some(Duration::from_secs(5445)));
        assert_eq!(cancel_after("4s"), None);
        assert_eq!(cancel_after("25h"), None);
    }

    #[test]
    fn the_envelope_is_closed() {
        let check = |body: Value, named: Option<&str>, expected: &[&str]| {
            let Value::Object(body) = body else { panic!("not an object") };
            let texts: Vec<_> = envelope_violations(&body, named).into_iter().map(|v| v.description).collect();
            assert_eq!(texts, expected, "{body:?}");
        };
        check(json!({"version": "a", "input": {}, "stream": true}), None, &[]);
        check(json!({"version": "a", "input": {}}), Some("a/b"), &["Additional property version is not allowed"]);
        check(
            json!({"input": {}, "model": "x"}),
            None,
            &["Additional property model is not allowed", "version is required"],
        );
        check(
            json!({"input": {}, "webhook": "ftp://x", "webhook_events_filter": ["end"]}),
            Some("a/b"),
            &["webhook must be an HTTPS URL", "webhook_events_filter lists some of: start, output, logs, completed"],
        );
        check(json!({}), Some("a/b"), &["input is required"]);
    }
}
