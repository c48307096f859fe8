//! What Google's two APIs share here: the error form, the ways to show a credential, and Veo's orders and operations.

use axum::{
    Json,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::{
    desk::{Call, End, Instead, Job, Outcome, Received, Refusal, Stage},
    output::Media,
};

/// What is remembered of a job.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    /// The folder of a bucket where its videos go, `gs://bucket/prefix/`; empty if they come in the answer.
    pub(super) folder: String,
    /// How many videos were ordered.
    pub(super) samples: u64,
}

/// `google.rpc.Status` as an answer carries it.
pub(super) fn refuse(refusal: &Refusal) -> Response {
    let word = word(refusal.status);
    let mut error = json!({ "code": refusal.status.as_u16(), "message": refusal.text, "status": word });
    if let Some(wait) = refusal.wait {
        error["details"] = json!([
            { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{wait}s") }
        ]);
    }
    (refusal.status, Json(json!({ "error": error }))).into_response()
}

fn word(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        402 | 412 => "FAILED_PRECONDITION",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}

/// Any credential will do, but there must be one: a bearer's token, or a key in its own header.
pub(super) async fn authenticate(request: Request, next: Next) -> Response {
    if !has_credential(request.headers()) {
        let text = "Request is missing required authentication credential.".to_owned();
        return refuse(&Refusal { status: StatusCode::UNAUTHORIZED, text, wait: None });
    }
    next.run(request).await
}

fn has_credential(headers: &HeaderMap) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = header(header::AUTHORIZATION.as_str()).strip_prefix("Bearer ").unwrap_or_default();
    !token.trim().is_empty() || !header("x-goog-api-key").is_empty()
}

/// Checks an order of Veo as far as the API does before it begins, and reads what is to be remembered.
pub(super) fn veo_order(call: &Call, received: &Received) -> Result<Asked, Instead> {
    let bad = |text: &str| call.refuse(StatusCode::BAD_REQUEST, text);
    if let Some(why) = &received.unreadable {
        return Err(bad(why));
    }
    let instances = received.body["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
    let [instance] = instances else { return Err(bad("Exactly one instance is required.")) };
    for file in ["image", "lastFrame", "video"].iter().filter_map(|key| instance.get(*key)) {
        let n_sources =
            ["gcsUri", "bytesBase64Encoded", "uri", "encodedVideo"].iter().filter(|key| file[**key].is_string());
        if n_sources.count() != 1 {
            return Err(bad("A file needs either gcsUri or bytesBase64Encoded."));
        }
    }
    if instance["prompt"].as_str().is_none_or(str::is_empty) && !instance["image"].is_object() {
        return Err(bad("Text prompt or image is required: instances[0].prompt"));
    }
    let parameters = &received.body["parameters"];
    let samples = parameters["sampleCount"].as_u64().unwrap_or(1);
    if !(1..=4).contains(&samples) {
        return Err(bad("sampleCount must be between 1 and 4."));
    }
    if let Some(seconds) = parameters.get("durationSeconds").filter(|seconds| !seconds.is_null())
        && !seconds.as_u64().is_some_and(|seconds| (4..=8).contains(&seconds))
    {
        return Err(bad("Unsupported output video duration: durationSeconds must be 4, 6 or 8."));
    }
    let folder = parameters["storageUri"].as_str().unwrap_or_default();
    if !folder.is_empty() && !folder.starts_with("gs://") {
        return Err(bad("storageUri must start with gs://."));
    }
    let slash = if folder.is_empty() || folder.ends_with('/') { "" } else { "/" };
    Ok(Asked { folder: format!("{folder}{slash}"), samples })
}

/// An operation as it stands. A failure whose text has support codes is one of the filter; `videos` are those of a success.
pub(super) fn operation(
    job: &Job<Asked>,
    name: &str,
    wrap: fn(&Value) -> Value,
    videos: impl FnOnce() -> Value,
) -> Value {
    let end = match job.stage() {
        Stage::Starting | Stage::Processing { .. } => return json!({ "name": name }),
        Stage::Ended(End { outcome, .. }) => outcome,
    };
    let error = |code: i64, message: String| json!({ "name": name, "done": true, "error": { "code": code, "message": message } });
    let response = match end {
        Outcome::Succeeded => videos(),
        Outcome::Failed(text) if text.contains("Support codes") => {
            json!({ "raiMediaFilteredCount": job.data.samples, "raiMediaFilteredReasons": [text] })
        }
        Outcome::Failed(text) => return error(13, text),
        Outcome::Canceled | Outcome::Aborted => return error(1, "The operation was cancelled.".to_owned()),
    };
    json!({ "name": name, "done": true, "response": wrap(&response) })
}

/// What of an order's body rules look at.
pub(super) fn veo_prompt(received: &Received) -> &str {
    received.text("/instances/0/prompt")
}

/// The files of Veo.
pub(super) const CLIP: Media = Media::Mp4;
