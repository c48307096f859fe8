//! New jobs.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Fal, FalJob,
    models::{Endpoint, Makes},
    request, webhook,
};
use crate::simulator::{
    desk::{Call, Draft, Instead, Origin, Received},
    fault::{Operation, Subject},
    output::{Media, Native},
};

/// First segments of endpoints that stand before the owner.
const NAMESPACES: [&str; 2] = ["workflows", "comfy"];

/// What fal remembers of a job beside what every vendor does.
#[derive(Debug)]
pub(super) struct Asked {
    /// What the job's addresses begin with: `owner/app`.
    pub(super) app: String,
    pub(super) endpoint: Arc<Endpoint>,
    /// What the model finds wrong with the body, once it sees it.
    pub(super) problems: Vec<Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Wishes {
    fal_webhook: Option<String>,
}

pub(super) async fn submit(
    State(fal): State<Arc<Fal>>,
    Path(endpoint): Path<String>,
    Query(wishes): Query<Wishes>,
    Origin(origin): Origin,
    received: Received,
) -> Result<Response, Instead> {
    let (call, job) = make(&fal, &endpoint, received).await?;
    if let Some(url) = wishes.fal_webhook {
        webhook::tell_at_end(&fal, &job, url, origin.clone());
    }
    let url = request::url(&job, &origin);
    let body = json!({
        "status": "IN_QUEUE",
        "request_id": job.id,
        "response_url": url,
        "status_url": format!("{url}/status"),
        "cancel_url": format!("{url}/cancel"),
        "logs": null,
        "metrics": {},
        "queue_position": request::place(&fal, &job),
    });
    Ok(call.answer(StatusCode::OK, body).await)
}

/// A call that waits for the output.
pub(super) async fn run(
    State(fal): State<Arc<Fal>>,
    Path(endpoint): Path<String>,
    Origin(origin): Origin,
    received: Received,
) -> Result<Response, Instead> {
    let (call, job) = make(&fal, &endpoint, received).await?;
    let outcome = fal.desk.outcome(&job).await?;
    let (status, body) = request::result(&fal, &job, &outcome, &origin);
    Ok(request::billed(&job, status, call.answer(status, body).await))
}

async fn make(fal: &Arc<Fal>, id: &str, received: Received) -> Result<(Call, Arc<FalJob>), Instead> {
    let endpoint = fal.endpoints.get(id);
    let field = endpoint.map_or("prompt", |endpoint| endpoint.prompt.as_str());
    let prompt = received.body[field].as_str().unwrap_or_default().to_owned();
    let call = fal.desk.call(Operation::Create, Subject { prompt: &prompt, model: id, ..Subject::default() }).await?;
    let Some(endpoint) = endpoint.map(Arc::clone) else {
        let app = id.rsplit('/').next().unwrap_or_default();
        let unknown = json!({ "detail": format!("Application \"{app}\" not found") });
        return Err((StatusCode::NOT_FOUND, Json(unknown)).into_response().into());
    };
    if let Some(why) = &received.unreadable {
        return Err(call.refuse(StatusCode::BAD_REQUEST, why));
    }
    let problems = endpoint.judge(&received.body);
    let media = match (endpoint.makes, received.text("/output_format")) {
        (Makes::Video, _) => Media::Mp4,
        (Makes::Image, "png") => Media::Png,
        (Makes::Image, _) => Media::Jpg,
        (Makes::Audio, _) => Media::Mp3,
    };
    let draft = Draft {
        id: request::new_id(fal),
        model: id.to_owned(),
        prompt,
        media,
        n_files: received.body["num_images"].as_u64().unwrap_or(1).clamp(1, 4),
        native: if endpoint.makes == Makes::Image { Native::List } else { Native::One },
        deadline: None,
        data: Asked { app: app_of(id), endpoint, problems },
        received,
    };
    let job = fal.desk.make(&call, draft);
    Ok((call, job))
}

fn app_of(id: &str) -> String {
    let n_segments = if NAMESPACES.iter().any(|first| id.starts_with(&format!("{first}/"))) { 3 } else { 2 };
    id.split('/').take(n_segments).collect::<Vec<_>>().join("/")
}
