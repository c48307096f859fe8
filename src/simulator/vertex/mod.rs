//! Vertex AI's Veo below `/vertex`: its operations, the endpoints of tokens, and a bucket with the videos.
//!
//! Any version and project will do. The machine's metadata server is at its own path, `/computeMetadata`, for clients can
//! be told its host alone.

mod store;

use std::{io, sync::Arc};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, State},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{
    World,
    desk::{Desk, Dialect, Draft, Instead, Job, Received},
    fault::{Operation, Subject},
    google::{self, Asked},
    output::Native,
    settings::Scenario,
    vendor::{Ledger, Vendor},
};

/// Orders carry files in base64.
const MAX_BYTES: usize = 96 << 20;
/// Life of a token in seconds.
const TOKEN_LIFE: u64 = 3599;

static DIALECT: Dialect = Dialect {
    name: "vertex",
    id: "/name",
    status: "/done",
    items: "/items",
    optional: &["metadata"],
    refuse: google::refuse,
};

/// One project.
#[derive(Debug)]
pub(super) struct Vertex {
    desk: Arc<Desk<Asked>>,
}

pub(super) fn open(world: &Arc<World>, _: &Scenario) -> io::Result<Arc<dyn Vendor>> {
    Ok(Arc::new(Vertex { desk: Desk::new(world, &DIALECT) }))
}

impl Vendor for Vertex {
    fn router(self: Arc<Self>) -> Router {
        let model = "/vertex/{version}/projects/{project}/locations/{location}/publishers/google/models/{action}";
        let api = Router::new()
            .route(model, post(act))
            .route("/vertex/storage/v1/b/{bucket}/o", get(store::list))
            .route("/vertex/storage/v1/b/{bucket}/o/{object}", get(store::object))
            .layer(DefaultBodyLimit::max(MAX_BYTES))
            .layer(middleware::from_fn(google::authenticate));
        let tokens = Router::new()
            .route("/vertex/token", post(token))
            .route("/computeMetadata/v1/instance/service-accounts/default/token", get(machine_token));
        api.merge(tokens).with_state(self)
    }

    fn desk(&self) -> &dyn Ledger {
        &*self.desk
    }
}

/// `POST …/models/{model}:{method}`
async fn act(
    State(vertex): State<Arc<Vertex>>,
    Path((_version, project, location, action)): Path<(String, String, String, String)>,
    received: Received,
) -> Result<Response, Instead> {
    match action.split_once(':') {
        Some((model, "predictLongRunning")) => vertex.submit(&project, &location, model, received).await,
        Some((_, "fetchPredictOperation")) => vertex.poll(&received).await,
        Some(_) | None => Err(unknown("The requested URL was not found on this server.")),
    }
}

impl Vertex {
    async fn submit(
        &self,
        project: &str,
        location: &str,
        model: &str,
        received: Received,
    ) -> Result<Response, Instead> {
        let subject = Subject { prompt: google::veo_prompt(&received), model, ..Subject::default() };
        let call = self.desk.call(Operation::Create, subject).await?;
        if !model.starts_with("veo-") {
            let text = format!("Publisher Model `publishers/google/models/{model}` is not found.");
            return Err(call.refuse(StatusCode::NOT_FOUND, text));
        }
        let asked = google::veo_order(&call, &received)?;
        let id = self.desk.world.new_id();
        let name = format!("projects/{project}/locations/{location}/publishers/google/models/{model}/operations/{id}");
        self.desk.make(
            &call,
            Draft {
                id,
                model: model.to_owned(),
                prompt: google::veo_prompt(&received).to_owned(),
                media: google::CLIP,
                n_files: asked.samples,
                native: Native::List,
                deadline: None,
                received,
                data: asked,
            },
        );
        Ok(call.answer(StatusCode::OK, json!({ "name": name })).await)
    }

    async fn poll(&self, received: &Received) -> Result<Response, Instead> {
        let name = received.text("/operationName");
        let id = name.rsplit_once("/operations/").map_or("", |(_, id)| id);
        let (call, job) = self.desk.call_about(Operation::Get, id).await?;
        let page = google::operation(&job, name, typed, || self.videos(&job));
        Ok(call.answer(StatusCode::OK, page).await)
    }

    fn videos(&self, job: &Job<Asked>) -> Value {
        let video = |index: u64| match job.data.folder.as_str() {
            "" => json!({ "bytesBase64Encoded": self.desk.inline_base64(job), "mimeType": "video/mp4" }),
            _ => json!({ "gcsUri": store::name_of(job, index), "mimeType": "video/mp4" }),
        };
        json!({ "raiMediaFilteredCount": 0, "videos": (0..job.data.samples).map(video).collect::<Vec<_>>() })
    }
}

fn typed(response: &Value) -> Value {
    let mut response = response.clone();
    response["@type"] = json!("type.googleapis.com/cloud.ai.large_models.vision.GenerateVideoResponse");
    response
}

fn unknown(text: &str) -> Instead {
    let error = json!({ "error": { "code": 404, "message": text, "status": "NOT_FOUND" } });
    (StatusCode::NOT_FOUND, Json(error)).into_response().into()
}

/// The token endpoint: a service account's signed word, or a person's refresh token. Nothing of either is checked.
async fn token(body: String) -> Response {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let has = |wanted: &str| pairs.iter().any(|(name, value)| name == wanted && !value.is_empty());
    if !has("assertion") && !has("refresh_token") {
        let error = json!({ "error": "invalid_grant", "error_description": "Bad Request" });
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    granted()
}

async fn machine_token(headers: HeaderMap) -> Response {
    if headers.get("metadata-flavor").is_none_or(|flavor| flavor != "Google") {
        return (StatusCode::FORBIDDEN, "Missing Metadata-Flavor:Google header.").into_response();
    }
    ([("metadata-flavor", "Google")], granted()).into_response()
}

fn granted() -> Response {
    Json(json!({ "access_token": "ya29.simulated", "expires_in": TOKEN_LIFE, "token_type": "Bearer" })).into_response()
}
