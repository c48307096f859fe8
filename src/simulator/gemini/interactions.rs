//! Interactions of Omni: made in the background, asked after, stopped.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Asked, Gemini, file_uri, google};
use crate::simulator::{
    desk::{End, Instead, Job, Origin, Outcome, Received, Stage},
    fault::{Operation, Subject},
};

/// Tokens of a video.
const TOKENS: u64 = 34_752;

/// `POST /interactions`
pub(super) async fn create(
    State(gemini): State<Arc<Gemini>>,
    Path(version): Path<String>,
    Origin(origin): Origin,
    received: Received,
) -> Result<Response, Instead> {
    let (model, prompt) = (received.text("/model").to_owned(), prompt(&received.body["input"]));
    let subject = Subject { prompt: &prompt, model: &model, ..Subject::default() };
    let call = gemini.desk.call(Operation::Create, subject).await?;
    let bad = |text: &str| Err(call.refuse(StatusCode::BAD_REQUEST, text));
    if let Some(why) = &received.unreadable {
        return bad(why);
    }
    if !model.contains("omni") {
        return Err(call.refuse(StatusCode::NOT_FOUND, format!("Model {model} is not found.")));
    }
    if prompt.is_empty() {
        return bad("input is required");
    }
    let duration = &received.body["response_format"]["duration"];
    let seconds = duration.as_str().and_then(|text| text.strip_suffix('s')?.parse::<f64>().ok());
    if !duration.is_null() && !seconds.is_some_and(|seconds| (3.0..=10.0).contains(&seconds)) {
        return bad("response_format.duration must be a string of 3s to 10s");
    }
    let background = received.body["background"].as_bool() == Some(true);
    let inline = received.body["response_format"]["delivery"].as_str() != Some("uri");
    // The folder only says where a video is: within, or at an address.
    let folder = if inline { String::new() } else { "files".to_owned() };
    let job = gemini.make(&call, &model, &prompt, google::CLIP, received, Asked { folder, samples: 1 });
    if !background {
        gemini.desk.outcome(&job).await?;
    }
    let mut page = page(&gemini, &job, &origin, &version);
    if background {
        page["status"] = json!("in_progress");
        page["steps"] = json!([]);
    }
    Ok(call.answer(StatusCode::OK, page).await)
}

/// `GET /interactions/{id}`
pub(super) async fn get(
    State(gemini): State<Arc<Gemini>>,
    Path((version, id)): Path<(String, String)>,
    Origin(origin): Origin,
) -> Result<Response, Instead> {
    known(&gemini, &id)?;
    let (call, job) = gemini.desk.call_about(Operation::Get, &id).await?;
    Ok(call.answer(StatusCode::OK, page(&gemini, &job, &origin, &version)).await)
}

/// `POST /interactions/{id}/cancel`: a cancel that stops something is told as an error, as the API does.
pub(super) async fn cancel(
    State(gemini): State<Arc<Gemini>>,
    Path((version, id)): Path<(String, String)>,
    Origin(origin): Origin,
) -> Result<Response, Instead> {
    known(&gemini, &id)?;
    let (call, job) = gemini.desk.call_about(Operation::Cancel, &id).await?;
    let had_ended = job.is_ended();
    job.cancel();
    if !had_ended && job.is_ended() {
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::CONFLICT);
        return Err(call.refuse(status, "The operation was cancelled."));
    }
    Ok(call.answer(StatusCode::OK, page(&gemini, &job, &origin, &version)).await)
}

/// `DELETE /interactions/{id}`: it is forgotten only as far as the answer says.
pub(super) async fn delete(
    State(gemini): State<Arc<Gemini>>,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, Instead> {
    known(&gemini, &id)?;
    Ok(Json(json!({})).into_response())
}

/// An unknown id is told by 400 and a word in the code's place.
fn known(gemini: &Gemini, id: &str) -> Result<(), Instead> {
    if gemini.desk.book.get(id).is_some() {
        return Ok(());
    }
    let error = json!({ "error": { "code": "invalid_request", "message": "Invalid interaction name." } });
    Err((StatusCode::BAD_REQUEST, Json(error)).into_response().into())
}

fn prompt(input: &Value) -> String {
    match input {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join(" "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

fn page(gemini: &Gemini, job: &Job<Asked>, origin: &str, version: &str) -> Value {
    let output = |content: Value| json!([{ "type": "model_output", "content": [content] }]);
    let (status, steps, errors, tokens) = match job.stage() {
        Stage::Starting => ("queued", json!([]), json!([]), 0),
        Stage::Processing { .. } => ("in_progress", json!([]), json!([]), 0),
        Stage::Ended(End { outcome, .. }) => match outcome {
            Outcome::Succeeded => {
                let video = match job.data.folder.as_str() {
                    "" => json!({ "type": "video", "mime_type": "video/mp4", "data": gemini.desk.inline_base64(job) }),
                    _ => json!({ "type": "video", "mime_type": "video/mp4", "uri": file_uri(origin, version, job, 0) }),
                };
                ("completed", output(video), json!([]), TOKENS)
            }
            // A refusal is a completed interaction with words in the place of the video.
            Outcome::Failed(text) if text.starts_with("I can") => {
                ("completed", output(json!({ "type": "text", "text": text })), json!([]), 0)
            }
            Outcome::Failed(text) => ("failed", json!([]), json!([{ "code": "internal", "message": text }]), 0),
            Outcome::Canceled | Outcome::Aborted => ("cancelled", json!([]), json!([]), 0),
        },
    };
    let mut page = json!({
        "id": job.id, "object": "interaction", "model": job.model, "status": status,
        "created": job.created_at.to_string(), "updated": job.created_at.to_string(), "steps": steps,
        "usage": { "total_tokens": tokens + 9, "total_input_tokens": 9, "total_output_tokens": tokens },
    });
    if errors.as_array().is_some_and(|errors| !errors.is_empty()) {
        page["errors"] = errors;
    }
    page
}
