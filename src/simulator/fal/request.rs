//! Questions about jobs: status, result, cancel, and the list of past ones.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Fal, FalJob,
    models::{self, Makes, problem},
};
use crate::simulator::{
    desk::{End, Instead, Origin, Outcome, Stage},
    fault::{Operation, Subject},
};

/// Status of a job that somebody stopped, as proxies have it.
const CLIENT_CLOSED: u16 = 499;

#[derive(Debug, Deserialize)]
pub(super) struct Wishes {
    logs: Option<String>,
}

/// `…/requests/{id}` is the result, `…/requests/{id}/status` the status.
pub(super) async fn get(
    State(fal): State<Arc<Fal>>,
    Path(path): Path<String>,
    Query(wishes): Query<Wishes>,
    Origin(origin): Origin,
) -> Result<Response, Instead> {
    let (app, id, rest) = parts(&path)?;
    let (call, job) = fal.desk.call_about(Operation::Get, id).await?;
    if job.data.app != app {
        return Err(call.unknown());
    }
    match (rest, job.stage()) {
        ("status", stage) => {
            let with_logs = wishes.logs.is_some_and(|word| matches!(word.as_str(), "1" | "true"));
            let (code, body) = status(&fal, &job, &stage, with_logs, &origin);
            Ok(call.answer(code, body).await)
        }
        ("" | "response", Stage::Ended(_)) if job.is_removed() => Err(call.unknown()),
        ("" | "response", Stage::Ended(End { outcome, .. })) => {
            let (status, body) = result(&fal, &job, &outcome, &origin);
            Ok(billed(&job, status, call.answer(status, body).await))
        }
        ("" | "response", Stage::Starting | Stage::Processing { .. }) => {
            Err(call.refuse(StatusCode::BAD_REQUEST, "Request is still in progress"))
        }
        _ => Err(call.unknown()),
    }
}

/// `…/requests/{id}/cancel`.
pub(super) async fn put(State(fal): State<Arc<Fal>>, Path(path): Path<String>) -> Result<Response, Instead> {
    let (app, id, rest) = parts(&path)?;
    let (call, job) = fal.desk.call_about(Operation::Cancel, id).await?;
    if job.data.app != app || rest != "cancel" {
        return Err(call.unknown());
    }
    let (code, word) = match job.stage() {
        Stage::Starting => (StatusCode::OK, "OK"),
        Stage::Processing { .. } => (StatusCode::ACCEPTED, "CANCELLATION_REQUESTED"),
        Stage::Ended(_) => (StatusCode::BAD_REQUEST, "ALREADY_COMPLETED"),
    };
    job.cancel();
    Ok(call.answer(code, json!({ "status": word })).await)
}

#[derive(Debug, Deserialize)]
pub(super) struct Search {
    endpoint_id: Option<String>,
    start: Option<Timestamp>,
    limit: Option<usize>,
    cursor: Option<usize>,
    expand: Option<String>,
}

/// The platform's list of an endpoint's jobs, newest first; the cursor counts what came before.
pub(super) async fn list(State(fal): State<Arc<Fal>>, Query(search): Query<Search>) -> Result<Response, Instead> {
    let call = fal.desk.call(Operation::List, Subject::default()).await?;
    let Some(endpoint) = search.endpoint_id else {
        let error = json!({ "error": { "type": "validation_error", "message": "endpoint_id is required" } });
        return Ok((StatusCode::BAD_REQUEST, Json(error)).into_response());
    };
    let is_wanted =
        |job: &Arc<FalJob>| job.model == endpoint && search.start.is_none_or(|start| job.created_at >= start);
    let jobs: Vec<Arc<FalJob>> = fal.desk.book.all().into_iter().rev().filter(is_wanted).collect();
    let (from, limit) = (search.cursor.unwrap_or(0), search.limit.unwrap_or(50).clamp(1, 100));
    let limit = limit.min(fal.desk.world.settings().page_size);
    let with_payloads = search.expand.is_some_and(|expand| expand.contains("payloads"));
    let items: Vec<Value> = jobs.iter().skip(from).take(limit).map(|job| past(job, with_payloads)).collect();
    let next = from + items.len();
    let has_more = next < jobs.len();
    let body = json!({ "items": items, "next_cursor": has_more.then(|| next.to_string()), "has_more": has_more });
    Ok(call.answer(StatusCode::OK, body).await)
}

fn past(job: &FalJob, with_payloads: bool) -> Value {
    let mut item =
        json!({ "request_id": job.id, "endpoint_id": job.model, "sent_at": format!("{:.3}", job.created_at) });
    if let Stage::Ended(end) = job.stage() {
        item["ended_at"] = json!(format!("{:.3}", job.at(end.at)));
        item["status_code"] = json!(if end.outcome == Outcome::Succeeded { 200 } else { 500 });
    }
    if with_payloads {
        item["json_input"] = job.received.body.clone();
    }
    item
}

/// Where a job is asked after.
pub(super) fn url(job: &FalJob, origin: &str) -> String {
    format!("{origin}/fal/{}/requests/{}", job.data.app, job.id)
}

/// Jobs of the same app before it in the queue.
pub(super) fn place(fal: &Fal, job: &FalJob) -> usize {
    let is_before = |other: &Arc<FalJob>| {
        other.sequence < job.sequence && other.data.app == job.data.app && other.stage() == Stage::Starting
    };
    fal.desk.book.all().iter().filter(|other| is_before(other)).count()
}

/// A UUID, as fal's ids are; it follows from the seed.
pub(super) fn new_id(fal: &Fal) -> String {
    use sha2::{Digest as _, Sha256};
    let digest = hex::encode(Sha256::digest(fal.desk.world.new_id()));
    format!("{}-{}-4{}-8{}-{}", &digest[..8], &digest[8..12], &digest[13..16], &digest[17..20], &digest[20..32])
}

fn status(fal: &Fal, job: &FalJob, stage: &Stage, with_logs: bool, origin: &str) -> (StatusCode, Value) {
    let url = url(job, origin);
    let mut body = json!({
        "request_id": job.id, "response_url": url, "status_url": format!("{url}/status"), "cancel_url": format!("{url}/cancel"),
    });
    let log = if with_logs { logs(job, stage) } else { Value::Null };
    match stage {
        Stage::Starting => {
            body["status"] = json!("IN_QUEUE");
            body["queue_position"] = json!(place(fal, job));
            (StatusCode::ACCEPTED, body)
        }
        Stage::Processing { .. } => {
            body["status"] = json!("IN_PROGRESS");
            body["logs"] = log;
            (StatusCode::ACCEPTED, body)
        }
        Stage::Ended(end) => {
            body["status"] = json!("COMPLETED");
            body["logs"] = log;
            body["metrics"] = match end.outcome {
                Outcome::Aborted => json!({}),
                Outcome::Canceled if end.at < job.plan.boot => json!({}),
                Outcome::Succeeded | Outcome::Failed(_) | Outcome::Canceled => {
                    json!({ "inference_time": end.at.saturating_sub(job.plan.boot).as_secs_f64() })
                }
            };
            let (code, result) = result(fal, job, &end.outcome, origin);
            if !code.is_success() {
                let words = result["detail"].as_str().map(str::to_owned);
                body["error"] = json!(words.unwrap_or_else(|| format!("Invalid status code: {}", code.as_u16())));
                if result["error_type"].is_string() {
                    body["error_type"] = result["error_type"].clone();
                }
            }
            (StatusCode::OK, body)
        }
    }
}

fn logs(job: &FalJob, stage: &Stage) -> Value {
    let text = job.plan.logs(stage);
    let entry = |line: &str| json!({ "message": line, "level": "INFO", "source": "USER", "timestamp": format!("{:.3}", job.created_at) });
    Value::Array(text.lines().filter(|line| !line.is_empty()).map(entry).collect())
}

/// What the model answered: its output, or its error with the status that it had.
pub(super) fn result(fal: &Fal, job: &FalJob, outcome: &Outcome, origin: &str) -> (StatusCode, Value) {
    let prompt = &job.data.endpoint.prompt;
    let of_prompt = |text: &str, kind: &str| json!({ "detail": [problem(&[json!(prompt)], text, kind, &json!({}))] });
    let lower = |text: &str| text.to_ascii_lowercase();
    match outcome {
        Outcome::Succeeded if !job.data.problems.is_empty() => {
            (StatusCode::UNPROCESSABLE_ENTITY, json!({ "detail": job.data.problems }))
        }
        Outcome::Succeeded => (StatusCode::OK, output(fal, job, origin, false)),
        Outcome::Failed(text) if lower(text).contains("nsfw") && job.data.endpoint.makes == Makes::Image => {
            (StatusCode::OK, output(fal, job, origin, true))
        }
        Outcome::Failed(text) if ["policy", "flagged", "nsfw"].iter().any(|word| lower(text).contains(word)) => {
            (StatusCode::UNPROCESSABLE_ENTITY, of_prompt(text, "content_policy_violation"))
        }
        Outcome::Failed(text) => (StatusCode::INTERNAL_SERVER_ERROR, of_prompt(text, "internal_server_error")),
        Outcome::Canceled => {
            let code = StatusCode::from_u16(CLIENT_CLOSED).unwrap_or(StatusCode::BAD_REQUEST);
            (code, json!({ "detail": "Request was cancelled by the client", "error_type": "client_cancelled" }))
        }
        Outcome::Aborted => {
            let text = "Request timed out before starting";
            (StatusCode::GATEWAY_TIMEOUT, json!({ "detail": text, "error_type": "request_timeout" }))
        }
    }
}

fn output(fal: &Fal, job: &FalJob, origin: &str, is_black: bool) -> Value {
    let asked = &job.received.body;
    let media = job.outputs.media;
    let (width, height) = models::size(&asked["image_size"]).unwrap_or((1024, 768));
    let file = |link: &Value| {
        let Some(link) = link.as_str() else { return link.clone() };
        let inline = format!("data:{};base64,{}", media.media_type(), fal.desk.inline_base64(job));
        let url = if asked["sync_mode"] == json!(true) { inline } else { link.to_owned() };
        match job.data.endpoint.makes {
            Makes::Image => json!({ "url": url, "width": width, "height": height, "content_type": media.media_type() }),
            Makes::Video | Makes::Audio => {
                let name = format!("output.{}", media.extension());
                json!({ "url": url, "content_type": media.media_type(), "file_name": name, "file_size": media.bytes().len() })
            }
        }
    };
    let files = match job.output(origin) {
        Value::Array(links) => Value::Array(links.iter().map(file).collect()),
        other => file(&other),
    };
    let mut body = Map::new();
    match job.data.endpoint.makes {
        Makes::Video => drop(body.insert("video".to_owned(), files)),
        Makes::Audio => drop(body.insert("audio".to_owned(), files)),
        Makes::Image => {
            body.insert("images".to_owned(), files);
            body.insert("timings".to_owned(), json!({ "inference": 0.1 }));
            body.insert(
                "has_nsfw_concepts".to_owned(),
                json!(vec![is_black; usize::try_from(job.outputs.n_files).unwrap_or(1)]),
            );
            body.insert("prompt".to_owned(), json!(job.prompt));
        }
    }
    if job.data.endpoint.seeded || job.data.endpoint.makes == Makes::Image {
        body.insert("seed".to_owned(), asked.get("seed").cloned().unwrap_or_else(|| json!(42)));
    }
    Value::Object(body)
}

/// With the header of billed units: megapixels of pictures, else one; nothing of what the model never ran for.
pub(super) fn billed(job: &FalJob, status: StatusCode, mut response: Response) -> Response {
    let (width, height) = models::size(&job.received.body["image_size"]).unwrap_or((1024, 768));
    #[expect(clippy::cast_precision_loss, reason = "pictures are small")]
    let units = match job.data.endpoint.makes {
        _ if status.is_server_error() || !job.data.problems.is_empty() => 0.0,
        Makes::Image => (width * height * job.outputs.n_files) as f64 / 1e6,
        Makes::Video | Makes::Audio => 1.0,
    };
    if let Ok(units) = HeaderValue::from_str(&format!("{units:.8}")) {
        response.headers_mut().insert("x-fal-billable-units", units);
    }
    if let Ok(id) = HeaderValue::from_str(&job.id) {
        response.headers_mut().insert("x-fal-request-id", id);
    }
    response
}

/// App, id and the rest of `{app}/requests/{id}[/{rest}]`.
fn parts(path: &str) -> Result<(&str, &str, &str), Instead> {
    let unknown = || Instead::from((StatusCode::NOT_FOUND, Json(json!({ "detail": "Not Found" }))).into_response());
    let (app, rest) = path.split_once("/requests/").ok_or_else(unknown)?;
    let (id, rest) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((app, id, rest))
}
