//! A back end that answers with the video's address once it is made, below `/backend`: `POST /api/videos/generate` and `/api/videos/health`.

use std::{io, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    World,
    desk::{Desk, Dialect, Draft, Instead, Origin, Outcome, Received, Refusal},
    fault::{Operation, Subject},
    output::{Media, Native},
    settings::Scenario,
    vendor::{Ledger, Vendor},
};

static DIALECT: Dialect =
    Dialect { name: "backend", id: "/video_id", status: "/success", items: "", optional: &["metadata"], refuse };

#[derive(Debug)]
struct Backend {
    desk: Arc<Desk<()>>,
}

pub(super) fn open(world: &Arc<World>, _: &Scenario) -> io::Result<Arc<dyn Vendor>> {
    Ok(Arc::new(Backend { desk: Desk::new(world, &DIALECT) }))
}

impl Vendor for Backend {
    fn router(self: Arc<Self>) -> Router {
        let delivery = self.desk.delivery();
        let health = json!({ "status": "healthy", "service": "video-generation-api" });
        Router::new()
            .route("/backend/api/videos/generate", post(generate))
            .route("/backend/api/videos/health", get(async move || Json(health.clone())))
            .with_state(self)
            .merge(delivery)
    }

    fn desk(&self) -> &dyn Ledger {
        &*self.desk
    }
}

fn refuse(refusal: &Refusal) -> Response {
    (refusal.status, Json(json!({ "success": false, "error": refusal.text }))).into_response()
}

async fn generate(
    State(backend): State<Arc<Backend>>,
    Origin(origin): Origin,
    received: Received,
) -> Result<Response, Instead> {
    let prompt = received.text("/prompt").to_owned();
    let quality = received.body["quality"].as_str().unwrap_or("fast").to_owned();
    let duration = received.body.get("duration_seconds").cloned().unwrap_or_else(|| json!(5));
    let call = backend
        .desk
        .call(Operation::Create, Subject { prompt: &prompt, model: &quality, ..Subject::default() })
        .await?;
    let wrong = match duration.as_i64() {
        _ if !(10..=2000).contains(&prompt.chars().count()) => Some("prompt must have 10 to 2000 characters"),
        _ if !matches!(quality.as_str(), "fast" | "quality") => Some("quality must be fast or quality"),
        Some(1..=30) => None,
        Some(_) | None => Some("duration_seconds must be 1 to 30"),
    };
    if let Some(why) = wrong {
        return Err((StatusCode::BAD_REQUEST, Json(json!({ "success": false, "detail": why }))).into_response().into());
    }
    let draft = Draft {
        id: backend.desk.world.new_id(),
        model: quality.clone(),
        prompt: prompt.clone(),
        received,
        media: Media::Mp4,
        n_files: 1,
        native: Native::One,
        deadline: None,
        data: (),
    };
    let job = backend.desk.make(&call, draft);
    match backend.desk.outcome(&job).await? {
        Outcome::Succeeded => {
            let page: Value = json!({
                "success": true,
                "video_url": job.links(&origin).pop(),
                "video_id": job.id,
                "prompt": prompt,
                "duration_seconds": duration,
                "quality": quality,
                "generation_time": job.elapsed().as_secs_f64(),
                "gcs_path": null,
            });
            Ok(call.answer(StatusCode::OK, page).await)
        }
        Outcome::Failed(text) => Err(call.refuse(StatusCode::INTERNAL_SERVER_ERROR, text)),
        Outcome::Canceled | Outcome::Aborted => Err(call.refuse(StatusCode::INTERNAL_SERVER_ERROR, "stopped")),
    }
}
