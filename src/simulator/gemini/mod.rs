//! The Gemini API below `/gemini`: pictures by `generateContent`, chat, interactions of Omni, and Veo's operations with files.

mod chat;
mod content;
mod interactions;

use std::{io, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, State},
    middleware,
    response::Response,
    routing::{get, post},
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{
    World,
    desk::{Call, Desk, Dialect, Draft, Instead, Job, Origin, Received},
    fault::{Operation, Subject},
    google::{self, Asked},
    output::{Media, Native},
    settings::Scenario,
    vendor::{Ledger, Vendor},
};

/// Orders carry files in base64.
const MAX_BYTES: usize = 96 << 20;

static DIALECT: Dialect = Dialect {
    name: "gemini",
    id: "/id",
    status: "/status",
    items: "",
    optional: &["metadata", "service_tier"],
    refuse: google::refuse,
};

/// One account.
#[derive(Debug)]
pub(super) struct Gemini {
    desk: Arc<Desk<Asked>>,
}

pub(super) fn open(world: &Arc<World>, _: &Scenario) -> io::Result<Arc<dyn Vendor>> {
    Ok(Arc::new(Gemini { desk: Desk::new(world, &DIALECT) }))
}

impl Vendor for Gemini {
    fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/gemini/{version}/models/{action}", post(act))
            .route("/gemini/{version}/models/{model}/operations/{id}", get(operation))
            .route("/gemini/{version}/interactions", post(interactions::create))
            .route("/gemini/{version}/interactions/{id}", get(interactions::get).delete(interactions::delete))
            .route("/gemini/{version}/interactions/{id}/cancel", post(interactions::cancel))
            .route("/gemini/{version}/files/{file}", get(file))
            .layer(DefaultBodyLimit::max(MAX_BYTES))
            .layer(middleware::from_fn(google::authenticate))
            .with_state(self)
    }

    fn desk(&self) -> &dyn Ledger {
        &*self.desk
    }
}

impl Gemini {
    /// A job of this order.
    fn make(
        &self,
        call: &Call,
        model: &str,
        prompt: &str,
        media: Media,
        received: Received,
        data: Asked,
    ) -> Arc<Job<Asked>> {
        let draft = Draft {
            id: self.desk.world.new_id(),
            model: model.to_owned(),
            prompt: prompt.to_owned(),
            received,
            media,
            n_files: data.samples,
            native: Native::One,
            deadline: None,
            data,
        };
        self.desk.make(call, draft)
    }
}

/// `POST /models/{model}:{method}`
async fn act(
    State(gemini): State<Arc<Gemini>>,
    Path((version, action)): Path<(String, String)>,
    received: Received,
) -> Result<Response, Instead> {
    let (model, method) = action.split_once(':').unwrap_or((&action, ""));
    let makes_pictures = model.contains("image") || model.contains("banana");
    if matches!(method, "generateContent" | "streamGenerateContent") && !makes_pictures {
        return chat::say(&gemini, model, method == "streamGenerateContent", received).await;
    }
    if method == "countTokens" {
        return Ok(chat::count(&received));
    }
    let prompt = match method {
        "predictLongRunning" => google::veo_prompt(&received).to_owned(),
        _ => content::prompt(&received),
    };
    let subject = Subject { prompt: &prompt, model, ..Subject::default() };
    let call = gemini.desk.call(Operation::Create, subject).await?;
    match method {
        "generateContent" if makes_pictures => content::make(&gemini, call, model, &prompt, received).await,
        "predictLongRunning" if model.starts_with("veo-") => {
            let asked = google::veo_order(&call, &received)?;
            let job = gemini.make(&call, model, &prompt, google::CLIP, received, asked);
            Ok(call.answer(StatusCode::OK, json!({ "name": format!("models/{model}/operations/{}", job.id) })).await)
        }
        _ => {
            let text =
                format!("models/{model} is not found for API version {version}, or is not supported for {method}.");
            Err(call.refuse(StatusCode::NOT_FOUND, text))
        }
    }
}

/// `GET /models/{model}/operations/{id}`
async fn operation(
    State(gemini): State<Arc<Gemini>>,
    Path((version, model, id)): Path<(String, String, String)>,
    Origin(origin): Origin,
) -> Result<Response, Instead> {
    let (call, job) = gemini.desk.call_about(Operation::Get, &id).await?;
    let name = format!("models/{model}/operations/{id}");
    let page = google::operation(&job, &name, wrapped, || {
        let video = |index| json!({ "video": { "uri": file_uri(&origin, &version, &job, index) } });
        json!({ "generatedSamples": (0..job.data.samples).map(video).collect::<Vec<_>>() })
    });
    Ok(call.answer(StatusCode::OK, page).await)
}

fn wrapped(response: &Value) -> Value {
    let kind = "type.googleapis.com/google.ai.generativelanguage.v1beta.PredictLongRunningResponse";
    json!({ "@type": kind, "generateVideoResponse": response })
}

/// The address of one of a job's files.
fn file_uri(origin: &str, version: &str, job: &Job<Asked>, index: u64) -> String {
    format!("{origin}/gemini/{version}/files/{}-{index}:download?alt=media", job.id)
}

/// `GET /files/{id}-{index}:download?alt=media`
async fn file(
    State(gemini): State<Arc<Gemini>>,
    Path((_version, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Instead> {
    let name = file.strip_suffix(":download").unwrap_or(&file);
    let (id, index) = name.rsplit_once('-').unwrap_or((name, "0"));
    gemini.desk.deliver(id, index.parse().unwrap_or(u64::MAX), &headers).await
}
