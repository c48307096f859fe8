//! A made-up vendor with a queue, as the settings of `http-json` describe one, below `/courier/v1`: nested answers, a queue position from 0,
//! progress as a fraction, a mark that its list can be asked for, and prices in its answers.

use std::{io, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    World,
    desk::{Desk, Dialect, Draft, Instead, Job, Origin, Outcome, Received, Refusal, Stage},
    fault::{Operation, Subject},
    output::{Media, Native},
    settings::Scenario,
    vendor::{Ledger, Vendor},
};

/// What a second of a clip costs, in dollars.
const DOLLARS_A_SECOND: f64 = 0.01;

static DIALECT: Dialect =
    Dialect { name: "courier", id: "/job/id", status: "/job/state", items: "", optional: &["trace"], refuse };

#[derive(Debug)]
struct Courier {
    desk: Arc<Desk<()>>,
}

pub(super) fn open(world: &Arc<World>, _: &Scenario) -> io::Result<Arc<dyn Vendor>> {
    Ok(Arc::new(Courier { desk: Desk::new(world, &DIALECT) }))
}

impl Vendor for Courier {
    fn router(self: Arc<Self>) -> Router {
        let delivery = self.desk.delivery();
        Router::new()
            .route("/courier/v1/models/{model}/jobs", post(submit))
            .route("/courier/v1/jobs", get(list))
            .route("/courier/v1/jobs/{id}", get(poll).delete(cancel))
            .with_state(self)
            .merge(delivery)
    }

    fn desk(&self) -> &dyn Ledger {
        &*self.desk
    }
}

fn refuse(refusal: &Refusal) -> Response {
    let problem = json!({ "text": refusal.text, "code": refusal.status.as_u16(), "wait": refusal.wait });
    (refusal.status, Json(json!({ "problem": problem }))).into_response()
}

fn page(job: &Job<()>, origin: &str) -> Value {
    let mut page = json!({ "id": job.id, "state": "queued", "done": 0, "ahead": 0, "files": [], "log": [] });
    match job.stage() {
        Stage::Starting => {}
        Stage::Processing { done } => {
            page["state"] = json!("working");
            page["done"] = json!(done);
            page["log"] = json!(["loaded", "rendering"]);
        }
        Stage::Ended(end) => match end.outcome {
            Outcome::Succeeded => {
                let seconds = job.received.body["input"]["duration"].as_f64().unwrap_or(5.0);
                page["state"] = json!("done");
                page["done"] = json!(1);
                page["files"] = job.links(origin).into_iter().map(|url| json!({ "url": url })).collect();
                page["usage"] = json!({ "seconds": seconds, "dollars": (seconds * DOLLARS_A_SECOND).to_string() });
            }
            Outcome::Failed(text) => {
                page["state"] = json!("error");
                page["problem"] = json!({ "text": text });
            }
            Outcome::Canceled | Outcome::Aborted => page["state"] = json!("stopped"),
        },
    }
    json!({ "job": page })
}

async fn submit(
    State(courier): State<Arc<Courier>>,
    Path(model): Path<String>,
    Origin(origin): Origin,
    received: Received,
) -> Result<Response, Instead> {
    let prompt = received.text("/input/prompt").to_owned();
    let subject = Subject { prompt: &prompt, model: &model, ..Subject::default() };
    let call = courier.desk.call(Operation::Create, subject).await?;
    let duration = received.body["input"]["duration"].as_f64();
    let wrong = match (prompt.is_empty(), duration) {
        (true, _) => Some(("input.prompt", "is required")),
        (false, Some(seconds)) if !(1.0..=10.0).contains(&seconds) => Some(("input.duration", "must be 1 to 10")),
        (false, Some(_) | None) => None,
    };
    if let Some((field, text)) = wrong {
        let problem = json!({ "problem": { "text": text, "field": field, "code": "value" } });
        return Err((StatusCode::UNPROCESSABLE_ENTITY, Json(problem)).into_response().into());
    }
    let draft = Draft {
        id: courier.desk.world.new_id(),
        model,
        prompt,
        received,
        media: Media::Mp4,
        n_files: 1,
        native: Native::List,
        deadline: None,
        data: (),
    };
    let job = courier.desk.make(&call, draft);
    Ok(call.answer(StatusCode::CREATED, page(&job, &origin)).await)
}

async fn list(State(courier): State<Arc<Courier>>, uri: http::Uri) -> Result<Response, Instead> {
    let call = courier.desk.call(Operation::List, Subject::default()).await?;
    let wanted = uri.query().and_then(|query| query.strip_prefix("reference=")).unwrap_or_default().to_owned();
    let jobs = courier.desk.book.all().into_iter().filter(|job| job.received.text("/reference") == wanted);
    let item = |job: Arc<Job<()>>| json!({ "id": job.id, "reference": wanted, "created": job.created_at.to_string() });
    let items: Vec<Value> = jobs.map(item).collect();
    Ok(call.answer(StatusCode::OK, json!({ "jobs": items })).await)
}

async fn poll(
    State(courier): State<Arc<Courier>>,
    Path(id): Path<String>,
    Origin(origin): Origin,
) -> Result<Response, Instead> {
    let (call, job) = courier.desk.call_about(Operation::Get, &id).await?;
    Ok(call.answer(StatusCode::OK, page(&job, &origin)).await)
}

async fn cancel(
    State(courier): State<Arc<Courier>>,
    Path(id): Path<String>,
    Origin(origin): Origin,
) -> Result<Response, Instead> {
    let (call, job) = courier.desk.call_about(Operation::Cancel, &id).await?;
    if job.is_ended() {
        return Err(call.refuse(StatusCode::CONFLICT, "it has ended"));
    }
    job.cancel();
    Ok(call.answer(StatusCode::OK, page(&job, &origin)).await)
}
