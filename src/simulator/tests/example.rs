//! A small vendor with a queue and a synchronous call: what every other one needs at least.

use std::{io, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::simulator::{
    World,
    desk::{Desk, Dialect, Draft, Instead, Job, Letter, Origin, Outcome, Received, Refusal, Stage},
    fault::{Operation, Subject},
    output::{Media, Native},
    settings::Scenario,
    vendor::{Ledger, Vendor},
};

static DIALECT: Dialect =
    Dialect { name: "example", id: "/request", status: "/state", items: "", optional: &[], refuse };

#[derive(Debug)]
struct Example {
    desk: Arc<Desk<()>>,
}

pub(crate) fn open(world: &Arc<World>, _: &Scenario) -> io::Result<Arc<dyn Vendor>> {
    Ok(Arc::new(Example { desk: Desk::new(world, &DIALECT) }))
}

impl Vendor for Example {
    fn router(self: Arc<Self>) -> Router {
        let delivery = self.desk.delivery();
        Router::new()
            .route("/example/jobs/{model}", post(submit))
            .route("/example/jobs/{model}/{id}", get(poll))
            .route("/example/jobs/{model}/{id}", delete(cancel))
            .route("/example/jobs/{model}/{id}/content", get(content))
            .route("/example/speech", post(speech))
            .route("/example/image", post(image))
            .with_state(self)
            .merge(delivery)
    }

    fn desk(&self) -> &dyn Ledger {
        &*self.desk
    }
}

fn refuse(refusal: &Refusal) -> Response {
    let error = json!({ "error": { "message": refusal.text, "wait": refusal.wait } });
    (refusal.status, Json(error)).into_response()
}

impl Example {
    fn draft(&self, model: &str, media: Media, received: Received) -> Draft<()> {
        Draft {
            id: self.desk.world.new_id(),
            model: model.to_owned(),
            prompt: received.text("/prompt").to_owned(),
            received,
            media,
            n_files: 1,
            native: Native::One,
            deadline: None,
            data: (),
        }
    }
}

fn page(job: &Job<()>, origin: &str) -> Value {
    let (state, url, error) = match job.stage() {
        Stage::Starting => ("QUEUED", None, None),
        Stage::Processing { .. } => ("RUNNING", None, None),
        Stage::Ended(end) => match end.outcome {
            Outcome::Succeeded => ("DONE", job.links(origin).pop(), None),
            Outcome::Failed(text) => ("ERROR", None, Some(text)),
            Outcome::Canceled | Outcome::Aborted => ("STOPPED", None, None),
        },
    };
    json!({ "request": job.id, "state": state, "url": url, "error": error })
}

async fn submit(
    State(example): State<Arc<Example>>,
    Path(model): Path<String>,
    Origin(origin): Origin,
    received: Received,
) -> Result<Response, Instead> {
    let subject = Subject { prompt: received.text("/prompt"), model: &model, ..Subject::default() };
    let call = example.desk.call(Operation::Create, subject).await?;
    if received.text("/prompt").is_empty() {
        let reason = received.unreadable.as_deref().unwrap_or("prompt is required");
        return Err(call.refuse(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
    let url = received.text("/callback").to_owned();
    let job = example.desk.make(&call, example.draft(&model, Media::Mp4, received));
    if !url.is_empty() {
        let origin = origin.clone();
        example.desk.tell_at_end(&job, move |job| Letter {
            url,
            body: page(job, &origin).to_string().into(),
            retries: 3,
            sign: Arc::new(|stamp, body| {
                let key = if stamp.forged { "wrong" } else { "right" };
                vec![("x-signature", format!("{key}-{}-{}", stamp.sent_at, body.len())), ("x-id", stamp.id.clone())]
            }),
        });
    }
    Ok(call.answer(StatusCode::OK, page(&job, &origin)).await)
}

async fn poll(
    State(example): State<Arc<Example>>,
    Path((_, id)): Path<(String, String)>,
    Origin(origin): Origin,
) -> Result<Response, Instead> {
    let (call, job) = example.desk.call_about(Operation::Get, &id).await?;
    Ok(call.answer(StatusCode::OK, page(&job, &origin)).await)
}

async fn cancel(
    State(example): State<Arc<Example>>,
    Path((_, id)): Path<(String, String)>,
    Origin(origin): Origin,
) -> Result<Response, Instead> {
    let (call, job) = example.desk.call_about(Operation::Cancel, &id).await?;
    job.cancel();
    Ok(call.answer(StatusCode::OK, page(&job, &origin)).await)
}

async fn content(
    State(example): State<Arc<Example>>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Instead> {
    example.desk.deliver(&id, 0, &headers).await
}

/// Answers with the bytes themselves.
async fn speech(State(example): State<Arc<Example>>, received: Received) -> Result<Response, Instead> {
    let subject = Subject { prompt: received.text("/prompt"), model: "voice", ..Subject::default() };
    let call = example.desk.call(Operation::Create, subject).await?;
    let job = example.desk.make(&call, example.draft("voice", Media::Mp3, received));
    match example.desk.outcome(&job).await? {
        Outcome::Succeeded => Ok(call.answer_bytes("audio/mpeg", example.desk.inline(&job)).await),
        Outcome::Failed(text) => Err(call.refuse(StatusCode::BAD_REQUEST, text)),
        Outcome::Canceled | Outcome::Aborted => Err(call.refuse(StatusCode::INTERNAL_SERVER_ERROR, "stopped")),
    }
}

/// Answers with base64 within JSON.
async fn image(State(example): State<Arc<Example>>, received: Received) -> Result<Response, Instead> {
    let subject = Subject { prompt: received.text("/prompt"), model: "painter", ..Subject::default() };
    let call = example.desk.call(Operation::Create, subject).await?;
    let job = example.desk.make(&call, example.draft("painter", Media::Png, received));
    match example.desk.outcome(&job).await? {
        Outcome::Succeeded => {
            let picture = json!({ "b64": example.desk.inline_base64(&job) });
            Ok(call.answer(StatusCode::OK, picture).await)
        }
        Outcome::Failed(text) => Err(call.refuse(StatusCode::BAD_REQUEST, text)),
        Outcome::Canceled | Outcome::Aborted => Err(call.refuse(StatusCode::INTERNAL_SERVER_ERROR, "stopped")),
    }
}
