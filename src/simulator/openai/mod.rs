//! OpenAI: chat, images, speech, videos and models, below `/openai/v1`.
//!
//! Differences from the vendor, all of them wanted by tests: the Videos API still answers; any key will do; rate limits exist
//! only as faults; a model that is none of OpenAI's is served as a server of one's own would (its videos may be deleted while
//! they run, and are then `cancelled`); sound is MP3 or WAV, whatever else was asked for; `output=url` has the content answered
//! by a redirect and `output=object` by JSON, as aggregators do; `failed=CODE: TEXT` gives both parts of an error.

mod chat;
mod images;
mod problem;
mod speech;
mod videos;

use std::{io, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use self::{problem::Problem, videos::Asked};
use super::{
    World,
    desk::{Desk, Dialect, Draft, Received},
    output::{Media, Native},
    settings::Scenario,
    vendor::{Ledger, Vendor},
};

static DIALECT: Dialect = Dialect {
    name: "openai",
    id: "/id",
    status: "/status",
    items: "/data",
    optional: &["completed_at", "expires_at", "remixed_from_video_id", "error"],
    refuse: problem::refuse,
};

/// Beginnings of the names of OpenAI's own models.
const FAMILIES: [&str; 6] = ["sora-", "gpt-", "chatgpt-", "dall-e-", "tts-", "whisper-"];

/// Models that the list shows.
const MODELS: [&str; 6] = ["gpt-image-2", "gpt-image-1.5", "gpt-4o-mini-tts", "tts-1", "sora-2", "sora-2-pro"];

/// One simulated account.
#[derive(Debug)]
pub(crate) struct OpenAi {
    desk: Arc<Desk<Asked>>,
}

/// An account without jobs.
pub(super) fn open(world: &Arc<World>, _: &Scenario) -> io::Result<Arc<dyn Vendor>> {
    Ok(Arc::new(OpenAi { desk: Desk::new(world, &DIALECT) }))
}

impl Vendor for OpenAi {
    fn router(self: Arc<Self>) -> Router {
        let delivery = self.desk.delivery();
        let api = Router::new()
            .route("/chat/completions", post(chat::complete))
            .route("/images/generations", post(images::generate))
            .route("/images/edits", post(images::edit))
            .route("/audio/speech", post(speech::speak))
            .route("/videos", post(videos::create).get(videos::list))
            .route("/videos/{id}", get(videos::retrieve).delete(videos::delete))
            .route("/videos/{id}/content", get(videos::content))
            .route("/models", get(models))
            .route("/models/{*id}", get(model))
            .fallback(async || Problem::new("Unknown request URL.").with_status(StatusCode::NOT_FOUND))
            .method_not_allowed_fallback(async || {
                Problem::new("Not allowed to use this method here.").with_status(StatusCode::METHOD_NOT_ALLOWED)
            })
            .layer(middleware::from_fn(authenticate))
            .layer(middleware::from_fn_with_state(Arc::clone(&self), signed));
        Router::new().nest("/openai/v1", api).with_state(self).merge(delivery)
    }

    fn desk(&self) -> &dyn Ledger {
        &*self.desk
    }
}

impl OpenAi {
    fn draft(&self, id: String, received: Received, media: Media, n_files: u64, data: Asked) -> Draft<Asked> {
        Draft {
            id,
            model: received.text("/model").to_owned(),
            prompt: prompt_of(&received).to_owned(),
            received,
            media,
            n_files,
            native: Native::One,
            deadline: None,
            data,
        }
    }
}

/// True for a model that OpenAI serves itself, whose rules are known.
fn is_own(model: &str) -> bool {
    model.is_empty() || FAMILIES.iter().any(|family| model.starts_with(family))
}

fn prompt_of(received: &Received) -> &str {
    [received.text("/prompt"), received.text("/input")].into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

/// Any key will do, but there must be one.
async fn authenticate(request: Request, next: Next) -> Response {
    let credential = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match credential.and_then(|credential| credential.strip_prefix("Bearer ")) {
        Some(key) if !key.trim().is_empty() => next.run(request).await,
        Some(_) | None => Problem::new("You didn't provide an API key.")
            .coded("invalid_api_key")
            .with_status(StatusCode::UNAUTHORIZED),
    }
}

/// Every answer has an id and says which version gave it.
async fn signed(State(openai): State<Arc<OpenAi>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(format!("req_{}", openai.desk.world.new_id())) {
        headers.insert("x-request-id", id);
    }
    headers.insert("openai-version", HeaderValue::from_static("2020-10-01"));
    headers.insert("openai-processing-ms", HeaderValue::from_static("1"));
    response
}

fn model_page(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": 1_700_000_000, "owned_by": "system" })
}

async fn models() -> Response {
    let data: Vec<Value> = MODELS.iter().map(|id| model_page(id)).collect();
    Json(json!({ "object": "list", "data": data })).into_response()
}

async fn model(Path(id): Path<String>) -> Response {
    if MODELS.contains(&id.as_str()) {
        return Json(model_page(&id)).into_response();
    }
    let text = format!("The model '{id}' does not exist");
    Problem::new(text).at("model").coded("model_not_found").with_status(StatusCode::NOT_FOUND)
}
