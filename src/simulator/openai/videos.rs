//! Videos: create, retrieve, list, delete and content.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{OpenAi, is_own, problem::Problem};
use crate::simulator::{
    desk::{Call, Instead, Job, Origin, Outcome, Received, Stage},
    fault::{Operation, Subject},
    output::{Media, Shape},
};

/// What is remembered of a video beside what every job has.
#[derive(Debug, Default)]
pub(super) struct Asked {
    seconds: String,
    size: String,
    is_deleted: AtomicBool,
}

type Video = Job<Asked>;

/// `POST /videos`, as JSON or as a form.
pub(super) async fn create(State(openai): State<Arc<OpenAi>>, received: Received) -> Result<Response, Instead> {
    let (prompt, model) = (received.text("/prompt").to_owned(), received.text("/model").to_owned());
    let subject = Subject { prompt: &prompt, model: &model, ..Subject::default() };
    let call = openai.desk.call(Operation::Create, subject).await?;
    let asked = check(&received).map_err(|problem| problem.into_response())?;
    let id = format!("video_{}", openai.desk.world.new_id());
    let job = openai.desk.make(&call, openai.draft(id, received, Media::Mp4, 1, asked));
    let pause = pause_of(&openai);
    Ok(answer(call, &job, pause).await)
}

/// `GET /videos/{id}`
pub(super) async fn retrieve(State(openai): State<Arc<OpenAi>>, Path(id): Path<String>) -> Result<Response, Instead> {
    let (call, job) = openai.video(Operation::Get, &id).await?;
    let pause = pause_of(&openai);
    Ok(answer(call, &job, pause).await)
}

/// `DELETE /videos/{id}`: OpenAI deletes what has ended; a server of one's own stops what has not.
pub(super) async fn delete(State(openai): State<Arc<OpenAi>>, Path(id): Path<String>) -> Result<Response, Instead> {
    let (call, job) = openai.video(Operation::Cancel, &id).await?;
    if job.is_ended() {
        job.data.is_deleted.store(true, Ordering::Relaxed);
    } else if is_own(&job.model) {
        return Err(call.refuse(StatusCode::BAD_REQUEST, "Only completed or failed videos can be deleted."));
    } else {
        job.cancel();
    }
    Ok(call.answer(StatusCode::OK, json!({ "id": id, "object": "video.deleted", "deleted": true })).await)
}

/// Which file of a video is wanted.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    variant: Option<String>,
}

/// `GET /videos/{id}/content`
pub(super) async fn content(
    State(openai): State<Arc<OpenAi>>,
    Path(id): Path<String>,
    Query(Wanted { variant }): Query<Wanted>,
    Origin(origin): Origin,
    headers: HeaderMap,
) -> Result<Response, Instead> {
    let Some(job) = openai.desk.book.get(&id).filter(|job| !job.data.is_deleted.load(Ordering::Relaxed)) else {
        return openai.desk.deliver("", 0, &headers).await;
    };
    let still = match variant.as_deref() {
        None | Some("video") => None,
        Some("thumbnail") => Some(Media::Webp),
        Some("spritesheet") => Some(Media::Jpg),
        Some(other) => {
            let message =
                format!("Invalid value: '{other}'. Supported values are: 'video', 'thumbnail', and 'spritesheet'.");
            return Err(Problem::new(message).at("variant").coded("invalid_value").into_response().into());
        }
    };
    let is_done = matches!(job.stage(), Stage::Ended(end) if end.outcome == Outcome::Succeeded);
    match (&job.outputs.shape, still) {
        (_, Some(media)) if is_done => {
            Ok(([(header::CONTENT_TYPE, media.media_type())], media.bytes()).into_response())
        }
        (Shape::Url, None) if is_done => Ok(job
            .links(&origin)
            .first()
            .map_or_else(|| StatusCode::NOT_FOUND.into_response(), |link| Redirect::temporary(link).into_response())),
        (Shape::Object(_), None) if is_done => Ok(Json(job.output(&origin)).into_response()),
        _ => openai.desk.deliver(&id, 0, &headers).await,
    }
}

/// The query of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    after: Option<String>,
    limit: Option<usize>,
    order: Option<String>,
}

/// `GET /videos`
pub(super) async fn list(
    State(openai): State<Arc<OpenAi>>,
    Query(Listing { after, limit, order }): Query<Listing>,
) -> Result<Response, Instead> {
    let call = openai.desk.call(Operation::List, Subject::default()).await?;
    let is_video = |job: &Arc<Video>| job.id.starts_with("video_") && !job.data.is_deleted.load(Ordering::Relaxed);
    let mut jobs: Vec<Arc<Video>> = openai.desk.book.all().into_iter().filter(is_video).collect();
    if order.as_deref() != Some("asc") {
        jobs.reverse();
    }
    if let Some(at) = after.and_then(|after| jobs.iter().position(|job| job.id == after)) {
        jobs.drain(..=at);
    }
    let limit = limit.unwrap_or(20).clamp(1, 100);
    let has_more = jobs.len() > limit;
    jobs.truncate(limit);
    let ids = [jobs.first(), jobs.last()].map(|job| job.map(|job| job.id.clone()));
    let [first, last] = ids;
    let data: Vec<Value> = jobs.iter().map(|job| page(job)).collect();
    let body = json!({ "object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more });
    Ok(call.answer(StatusCode::OK, body).await)
}

impl OpenAi {
    async fn video(&self, operation: Operation, id: &str) -> Result<(Call, Arc<Video>), Instead> {
        let (call, job) = self.desk.call_about(operation, id).await?;
        if job.data.is_deleted.load(Ordering::Relaxed) {
            return Err(call.unknown());
        }
        Ok((call, job))
    }
}

/// The object, and when to ask again while it is not done.
async fn answer(call: Call, job: &Video, pause: Duration) -> Response {
    let mut response = call.answer(StatusCode::OK, page(job)).await;
    if !job.is_ended() && response.status().is_success() {
        let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        response.headers_mut().insert("openai-poll-after-ms", HeaderValue::from(millis));
    }
    response
}

/// A small part of the time that a job takes.
fn pause_of(openai: &OpenAi) -> Duration {
    (openai.desk.world.settings().latency / 8).clamp(Duration::from_millis(20), Duration::from_secs(2))
}

/// The object as the API shows it now: all 13 fields, absent ones as null.
fn page(job: &Video) -> Value {
    let stage = job.stage();
    let ended = match &stage {
        Stage::Ended(end) => Some(job.at(end.at).as_second()),
        Stage::Starting | Stage::Processing { .. } => None,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 100")]
    let (status, progress, error) = match &stage {
        Stage::Starting => ("queued", 0, Value::Null),
        Stage::Processing { done } => ("in_progress", (done * 100.0) as u64, Value::Null),
        Stage::Ended(end) => match &end.outcome {
            Outcome::Succeeded => ("completed", 100, Value::Null),
            Outcome::Failed(text) => ("failed", 100, Problem::of_failure(text).of_job()),
            Outcome::Canceled | Outcome::Aborted if is_own(&job.model) => {
                ("failed", 100, json!({ "code": "cancelled", "message": "The job was cancelled." }))
            }
            Outcome::Canceled | Outcome::Aborted => ("cancelled", 100, Value::Null),
        },
    };
    json!({
        "id": job.id,
        "object": "video",
        "model": if job.model.is_empty() { "sora-2" } else { &job.model },
        "status": status,
        "progress": progress,
        "created_at": job.created_at.as_second(),
        "completed_at": ended.filter(|_| status == "completed"),
        "expires_at": ended.filter(|_| status == "completed").map(|at| at + 3600),
        "prompt": job.prompt,
        "seconds": job.data.seconds,
        "size": job.data.size,
        "remixed_from_video_id": null,
        "error": error,
    })
}

/// What was asked, checked by OpenAI's rules if it is a model of OpenAI's.
fn check(received: &Received) -> Result<Asked, Problem> {
    if let Some(why) = &received.unreadable {
        return Err(Problem::new(why.clone()));
    }
    if received.text("/prompt").is_empty() {
        return Err(Problem::new("Missing required parameter: 'prompt'.")
            .at("prompt")
            .coded("missing_required_parameter"));
    }
    let model = received.text("/model");
    let sizes: &[&str] = match model {
        _ if !is_own(model) => &[],
        _ if model.starts_with("sora-2-pro") => {
            &["720x1280", "1280x720", "1024x1792", "1792x1024", "1080x1920", "1920x1080"]
        }
        _ => &["720x1280", "1280x720", "1024x1792", "1792x1024"],
    };
    let asked = Asked {
        seconds: seconds_of(&received.body, is_own(model))?,
        size: Some(received.text("/size")).filter(|size| !size.is_empty()).unwrap_or("720x1280").to_owned(),
        is_deleted: AtomicBool::new(false),
    };
    if !sizes.is_empty() && !sizes.contains(&asked.size.as_str()) {
        let message = format!("Invalid value: '{}'. Supported values are: {}.", asked.size, sizes.join(", "));
        return Err(Problem::new(message).at("size").coded("invalid_value"));
    }
    // A form's text and JSON's text are both no file; a form's file has become an object, as JSON's reference is one.
    if received.body.get("input_reference").is_some_and(Value::is_string) {
        let message = "Invalid type for 'input_reference': expected an object/file, but got a string instead.";
        return Err(Problem::new(message).at("input_reference").coded("invalid_type"));
    }
    Ok(asked)
}

fn seconds_of(body: &Value, is_own: bool) -> Result<String, Problem> {
    let invalid = |text: String, code: &str| Problem::new(text).at("seconds").coded(code);
    match body.get("seconds") {
        None | Some(Value::Null) => Ok("4".to_owned()),
        Some(Value::String(text)) if !is_own || ["4", "8", "12"].contains(&text.as_str()) => Ok(text.clone()),
        Some(Value::String(text)) => {
            Err(invalid(format!("Invalid value: '{text}'. Supported values are: '4', '8', and '12'."), "invalid_value"))
        }
        Some(other) if !is_own => Ok(other.to_string()),
        Some(_) => Err(invalid(
            "Invalid type for 'seconds': expected one of '4', '8', or '12', but got another type instead.".to_owned(),
            "invalid_type",
        )),
    }
}
