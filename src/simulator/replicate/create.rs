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
    models::Kind,
    order::{Order, header},
    prediction::{Draft, Expiry, Outputs, Prediction, prompt_of},
    problem, reply, webhook,
};
use crate::simulator::{
    World,
    fault::{Faults, JobFault, Operation, Subject},
    output::Shape,
    settings::Settings,
};

/// Request headers kept with a prediction.
const HEADERS_OF_NOTE: [&str; 7] =
    ["prefer", "cancel-after", "content-type", "idempotency-key", "traceparent", "user-agent", "x-request-id"];

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
    let prediction = Arc::new(make(order, world, headers, &faults));
    replicate.book.insert(&prediction, bytes.len(), world.settings().max_predictions);
    replicate.counts.creates_effective.fetch_add(1, Ordering::Relaxed);
    webhook::start(world, &prediction, origin);

    let (status, page) = match wait {
        None => (StatusCode::CREATED, as_begun(prediction.page(origin), "starting", Value::Null)),
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
    match end.map(|end| end.outcome) {
        Some(Outcome::Failed(_) | Outcome::Canceled | Outcome::Aborted) => (StatusCode::CREATED, page),
        Some(Outcome::Succeeded) => {
            let output = if world.settings().sync_inline {
                Shape::DataUri.render(prediction.model.native(), &[], prediction.outputs.media)
            } else {
                page["output"].take()
            };
            (StatusCode::CREATED, as_begun(page, "processing", output))
        }
        None => (StatusCode::ACCEPTED, as_begun(page, "starting", Value::Null)),
    }
}

/// The object as the answer to a create shows it: an end reached meanwhile is not told yet.
fn as_begun(mut page: Value, status: &str, output: Value) -> Value {
    page["status"] = json!(status);
    page["output"] = output;
    page["error"] = Value::Null;
    page["logs"] = json!("");
    if let Some(object) = page.as_object_mut() {
        object.retain(|key, _| !matches!(key.as_str(), "completed_at" | "metrics"));
        if status == "starting" {
            object.remove("started_at");
        }
    }
    page
}

fn decorate(headers: &mut HeaderMap, wait: Option<Duration>) {
    headers.insert("ratelimit-remaining", HeaderValue::from_static("599"));
    headers.insert("ratelimit-reset", HeaderValue::from_static("1"));
    if let Some(applied) = wait.and_then(|wait| HeaderValue::try_from(format!("wait={}", wait.as_secs())).ok()) {
        headers.insert("preference-applied", applied);
    }
}

/// The prediction this order makes, with the faults chosen for it.
fn make(order: Order, world: &World, headers: &HeaderMap, faults: &Faults) -> Prediction {
    let (plan, outputs) = decide(&order, &world.settings(), &faults.job);
    let of_note = HEADERS_OF_NOTE.into_iter();
    Prediction::new(Draft {
        id: world.new_id(),
        sequence: world.replicate.sequence.fetch_add(1, Ordering::Relaxed),
        headers: of_note.filter_map(|name| Some((name.to_owned(), header(headers, name)?.to_owned()))).collect(),
        model: order.model,
        input: order.input,
        callback: order.callback,
        plan,
        outputs,
    })
}

/// How the new job will live, and what it hands out.
fn decide(order: &Order, settings: &Settings, faults: &[JobFault]) -> (Plan, Outputs) {
    let mut latency = settings.latency;
    let mut plan = Plan {
        boot: Duration::ZERO,
        run: Duration::ZERO,
        ending: Ending::Succeeded,
        pace: if settings.hold { Pace::Held } else { Pace::Clock },
        cancelling: Cancelling::Honoured,
        deadline: order.deadline,
        retention: settings.retention,
    };
    let mut shape = settings.output.clone();
    let (mut size, mut expiry) = (0, None);
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
            JobFault::Output(chosen) => shape = chosen.clone(),
            JobFault::Size(bytes) => size = *bytes,
            JobFault::Expires { fetches, status } => {
                expiry = Some(Expiry { fetches: *fetches, status: *status });
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
    let media = order.model.media(&order.input, &shape);
    let n_files = order.model.n_outputs(&order.input);
    (plan, Outputs { shape, media, n_files, size, expiry })
}
