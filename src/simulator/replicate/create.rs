//! `POST /predictions` and `POST /models/{owner}/{name}/predictions`.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    extract::{Path, State},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    Origin,
    life::{Cancelling, Ending, Outcome, Pace, Plan},
    models::{Kind, Model},
    prediction::{Callback, Draft, Expiry, Outputs, Prediction, prompt_of},
    problem::{self, Violation},
    reply, webhook,
};
use crate::simulator::{
    World,
    fault::{Faults, JobFault, Operation, Subject},
    settings::Settings,
};

/// Request headers kept with a prediction.
const HEADERS_OF_NOTE: [&str; 7] =
    ["prefer", "cancel-after", "content-type", "idempotency-key", "traceparent", "user-agent", "x-request-id"];

const MIN_CANCEL_AFTER: Duration = Duration::from_secs(5);
const MAX_CANCEL_AFTER: Duration = Duration::from_secs(24 * 3600);

/// `POST /predictions`: the body names the version.
pub(super) async fn by_version(
    State(world): State<Arc<World>>,
    origin: Origin,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    create(&world, &origin.0, &headers, &body, None).await
}

/// `POST /models/{owner}/{name}/predictions`: the path names an official model.
pub(super) async fn by_model(
    State(world): State<Arc<World>>,
    Path((owner, name)): Path<(String, String)>,
    origin: Origin,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    create(&world, &origin.0, &headers, &body, Some(format!("{owner}/{name}"))).await
}

async fn create(
    world: &Arc<World>,
    origin: &str,
    headers: &HeaderMap,
    bytes: &Bytes,
    named: Option<String>,
) -> Response {
    let replicate = &world.replicate;
    replicate.counts.creates_received.fetch_add(1, Ordering::Relaxed);
    let body: Map<String, Value> = match serde_json::from_slice(bytes) {
        Ok(body) => body,
        Err(error) => return problem::unreadable(&format!("the body is not a JSON object: {error}")),
    };
    let model = match &named {
        Some(name) => replicate.catalogue.named(name).filter(|model| model.kind == Kind::Official),
        None => body.get("version").and_then(Value::as_str).and_then(|version| replicate.catalogue.meant_by(version)),
    };
    let subject = Subject {
        prompt: body.get("input").and_then(Value::as_object).map(prompt_of).unwrap_or_default(),
        model: model.map(|model| model.name.as_str()).unwrap_or_default(),
        nth_of_job: 0,
    };
    let faults = world.judge(Operation::Create, subject);
    if let Some(instead) = reply::before(world, &faults).await {
        return instead;
    }
    let order = match Order::read(body, headers, named.as_deref(), model) {
        Ok(order) => order,
        Err(refusal) => return *refusal,
    };
    let wait = order.wait;
    let prediction = Arc::new(order.into_prediction(world, headers, &faults));
    replicate.book.insert(&prediction, bytes.len(), world.settings().max_predictions);
    replicate.counts.creates_effective.fetch_add(1, Ordering::Relaxed);
    webhook::start(world, &prediction, origin);

    let (status, page) = match wait {
        None => (StatusCode::CREATED, prediction.page(origin)),
        Some(wait) => synchronous(world, &prediction, origin, wait).await,
    };
    let mut response = reply::after(world, &faults, status, page).await;
    decorate(response.headers_mut(), wait);
    response
}

/// The vendor's synchronous answer: in time, it says `processing` and already carries the output; too late, it says
/// `starting` whatever the job does.
async fn synchronous(world: &World, prediction: &Prediction, origin: &str, wait: Duration) -> (StatusCode, Value) {
    let end = prediction.ended_within(wait).await;
    let mut page = prediction.page(origin);
    let Some(object) = page.as_object_mut() else { return (StatusCode::CREATED, page) };
    match end.map(|end| end.outcome) {
        Some(Outcome::Failed(_) | Outcome::Canceled | Outcome::Aborted) => return (StatusCode::CREATED, page),
        Some(Outcome::Succeeded) => {
            object.insert("status".to_owned(), json!("processing"));
            if world.settings().sync_inline {
                let inline = crate::simulator::output::Shape::DataUri;
                let outputs = &prediction.outputs;
                let value = inline.render(prediction.model.native(), &[], outputs.media);
                object.insert("output".to_owned(), value);
            }
        }
        None => {
            object.insert("status".to_owned(), json!("starting"));
            object.remove("started_at");
        }
    }
    object.insert("logs".to_owned(), json!(""));
    object.remove("completed_at");
    object.remove("metrics");
    let in_time = object.get("status") == Some(&json!("processing"));
    (if in_time { StatusCode::CREATED } else { StatusCode::ACCEPTED }, page)
}

fn decorate(headers: &mut HeaderMap, wait: Option<Duration>) {
    headers.insert("ratelimit-remaining", HeaderValue::from_static("599"));
    headers.insert("ratelimit-reset", HeaderValue::from_static("1"));
    if let Some(applied) = wait.and_then(|wait| HeaderValue::try_from(format!("wait={}", wait.as_secs())).ok()) {
        headers.insert("preference-applied", applied);
    }
}

/// A valid request.
struct Order {
    model: Arc<Model>,
    input: Map<String, Value>,
    callback: Option<Callback>,
    wait: Option<Duration>,
    deadline: Option<Duration>,
}

impl Order {
    /// Reads a request, or gives its refusal. The schema is closed: an unknown key is a violation.
    fn read(
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

        let mut violations = envelope_violations(&body, named.is_some());
        let input = match body.remove("input") {
            Some(Value::Object(input)) => input,
            Some(_) | None => Map::new(),
        };
        let callback = body.get("webhook").and_then(Value::as_str).map(|url| Callback {
            url: url.to_owned(),
            filter: body.get("webhook_events_filter").and_then(webhook::filter),
        });
        let has_version = named.is_some() || body.get("version").is_some_and(Value::is_string);
        match model {
            Some(model) => {
                // Without an input object its missing fields would only repeat what is said already.
                if !violations.iter().any(|violation| violation.description.starts_with("input is")) {
                    violations.extend(model.violations(&input));
                }
                if violations.is_empty() {
                    return Ok(Self { model: Arc::clone(model), input, callback, wait, deadline });
                }
            }
            None if has_version && violations.is_empty() => return Err(Box::new(problem::unknown_version())),
            None => {}
        }
        Err(Box::new(problem::invalid(&violations)))
    }

    fn into_prediction(self, world: &World, headers: &HeaderMap, faults: &Faults) -> Prediction {
        let settings = world.settings();
        let (plan, mut outputs) = decide(&settings, &faults.job, self.deadline);
        outputs.media = self.model.media(&self.input, &outputs.shape);
        outputs.n_files = self.model.n_outputs(&self.input);
        let of_note = HEADERS_OF_NOTE.into_iter();
        Prediction::new(Draft {
            id: world.new_id(),
            sequence: world.replicate.sequence.fetch_add(1, Ordering::Relaxed),
            headers: of_note.filter_map(|name| Some((name.to_owned(), header(headers, name)?.to_owned()))).collect(),
            model: self.model,
            input: self.input,
            callback: self.callback,
            plan,
            outputs,
        })
    }
}

/// What is wrong with the body apart from the model's own input.
fn envelope_violations(body: &Map<String, Value>, is_named: bool) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (key, value) in body {
        match (key.as_str(), value) {
            ("version", Value::String(_)) if !is_named => {}
            ("version", _) if !is_named => violations.push(Violation::invalid(key, "version must be a string")),
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
    if !is_named && !body.contains_key("version") {
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

/// How the new job will live. The files' kind and number are filled in by the caller.
fn decide(settings: &Settings, faults: &[JobFault], deadline: Option<Duration>) -> (Plan, Outputs) {
    let mut latency = settings.latency;
    let mut plan = Plan {
        boot: Duration::ZERO,
        run: Duration::ZERO,
        ending: Ending::Succeeded,
        pace: if settings.hold { Pace::Held } else { Pace::Clock },
        cancelling: Cancelling::Honoured,
        deadline,
        retention: settings.retention,
    };
    let mut outputs = Outputs {
        shape: settings.output.clone(),
        media: crate::simulator::output::Media::Mp4,
        n_files: 1,
        size: 0,
        expiry: None,
    };
    for fault in faults {
        match fault {
            JobFault::Failed(text) => plan.ending = Ending::Failed(text.clone()),
            JobFault::Canceled => plan.ending = Ending::Canceled,
            JobFault::Aborted => plan.ending = Ending::Aborted,
            JobFault::StuckStarting => plan.ending = Ending::StuckStarting,
            JobFault::StuckProcessing => plan.ending = Ending::StuckProcessing,
            JobFault::Uncancellable => plan.cancelling = Cancelling::Ignored,
            JobFault::Hold => plan.pace = Pace::Held,
            JobFault::Latency(chosen) => latency = *chosen,
            JobFault::Retention(chosen) => plan.retention = *chosen,
            JobFault::Output(shape) => outputs.shape = shape.clone(),
            JobFault::Size(bytes) => outputs.size = *bytes,
            JobFault::Expires { fetches, status } => {
                outputs.expiry = Some(Expiry { fetches: *fetches, status: *status });
            }
        }
    }
    let usual = (latency / 4).min(Duration::from_millis(500));
    plan.boot = match plan.pace {
        // A test that holds jobs wants to see them in `processing` without waiting.
        Pace::Held => Duration::ZERO,
        Pace::Clock => settings.boot.unwrap_or(usual).min(latency),
    };
    plan.run = latency - plan.boot;
    (plan, outputs)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
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
        let check = |body: Value, is_named: bool, expected: &[&str]| {
            let Value::Object(body) = body else { panic!("not an object") };
            let texts: Vec<_> = envelope_violations(&body, is_named).into_iter().map(|v| v.description).collect();
            assert_eq!(texts, expected, "{body:?}");
        };
        check(json!({"version": "a", "input": {}, "stream": true}), false, &[]);
        check(json!({"version": "a", "input": {}}), true, &["Additional property version is not allowed"]);
        check(
            json!({"input": {}, "model": "x"}),
            false,
            &["Additional property model is not allowed", "version is required"],
        );
        check(
            json!({"input": {}, "webhook": "ftp://x", "webhook_events_filter": ["end"]}),
            true,
            &["webhook must be an HTTPS URL", "webhook_events_filter lists some of: start, output, logs, completed"],
        );
        check(json!({}), true, &["input is required"]);
    }
}
