//! `POST /predictions` and `POST /models/{owner}/{name}/predictions`.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    Replicate,
    models::Kind,
    order::{Order, header},
    prediction::{Asked, Prediction, prompt_of},
    problem, webhook,
};
use crate::simulator::{
    desk::{Draft, Instead, Origin, Outcome, Received},
    fault::{Operation, Subject},
    output::Shape,
};

/// Request headers kept with a prediction.
const HEADERS_OF_NOTE: [&str; 7] =
    ["prefer", "cancel-after", "content-type", "idempotency-key", "traceparent", "user-agent", "x-request-id"];

/// `POST /predictions`: the body names the version.
pub(super) async fn by_version(
    State(replicate): State<Arc<Replicate>>,
    origin: Origin,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Instead> {
    create(&replicate, &origin.0, &headers, &body, None).await
}

/// `POST /models/{owner}/{name}/predictions`: the path names an official model.
pub(super) async fn by_model(
    State(replicate): State<Arc<Replicate>>,
    Path((owner, name)): Path<(String, String)>,
    origin: Origin,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Instead> {
    create(&replicate, &origin.0, &headers, &body, Some(format!("{owner}/{name}"))).await
}

async fn create(
    replicate: &Arc<Replicate>,
    origin: &str,
    headers: &HeaderMap,
    bytes: &Bytes,
    named: Option<String>,
) -> Result<Response, Instead> {
    let body = serde_json::from_slice::<Map<String, Value>>(bytes);
    let version = body.as_ref().ok().and_then(|body| body.get("version")).and_then(Value::as_str);
    let model = match &named {
        Some(name) => replicate.catalogue.named(name).filter(|model| model.kind == Kind::Official),
        None => version.and_then(|version| replicate.catalogue.meant_by(version)),
    };
    let input = body.as_ref().ok().and_then(|body| body.get("input")).and_then(Value::as_object);
    let subject = Subject {
        prompt: input.map(prompt_of).unwrap_or_default(),
        model: model.map(|model| model.name.as_str()).unwrap_or_default(),
        ..Subject::default()
    };
    let call = replicate.desk.call(Operation::Create, subject).await?;
    let body = body.map_err(|error| problem::unreadable(&format!("the body is not a JSON object: {error}")))?;
    let order = Order::read(body, headers, named.as_deref(), model).map_err(|refusal| *refusal)?;
    let wait = order.wait;
    let prediction = replicate.desk.make(&call, draft(order, replicate, headers, bytes.len()));
    webhook::start(replicate, &prediction, origin);

    let (status, page) = match wait {
        None => (StatusCode::CREATED, as_begun(prediction.page(origin), "starting", Value::Null)),
        Some(wait) => synchronous(replicate, &prediction, origin, wait).await,
    };
    let mut response = call.answer(status, page).await;
    decorate(response.headers_mut(), wait);
    Ok(response)
}

/// The vendor's synchronous answer: in time, it says `processing` and already carries the output; too late, it says
/// `starting` whatever the job does.
async fn synchronous(
    replicate: &Replicate,
    prediction: &Prediction,
    origin: &str,
    wait: Duration,
) -> (StatusCode, Value) {
    let end = prediction.ended_within(wait).await;
    let mut page = prediction.page(origin);
    match end.map(|end| end.outcome) {
        Some(Outcome::Failed(_) | Outcome::Canceled | Outcome::Aborted) => (StatusCode::CREATED, page),
        Some(Outcome::Succeeded) => {
            let output = if replicate.desk.world.settings().sync_inline {
                Shape::DataUri.render(prediction.outputs.native, &[], prediction.outputs.media)
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

/// The prediction this order makes. The input is kept once, as what was asked.
fn draft(order: Order, replicate: &Replicate, headers: &HeaderMap, n_bytes: usize) -> Draft<Asked> {
    let Order { model, input, callback, wait: _, deadline } = order;
    let of_note = HEADERS_OF_NOTE.into_iter();
    let headers = of_note.filter_map(|name| Some((name.to_owned(), header(headers, name)?.to_owned()))).collect();
    Draft {
        id: replicate.desk.world.new_id(),
        model: model.name.clone(),
        prompt: prompt_of(&input).to_owned(),
        received: Received { headers, n_bytes, ..Received::default() },
        media: model.media(&input),
        n_files: model.n_outputs(&input),
        native: model.native(),
        deadline,
        data: Asked { model, input, callback },
    }
}
