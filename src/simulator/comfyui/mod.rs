//! ComfyUI: prompts, queue, history, uploads, views and the websocket, below `/comfyui` and `/comfyui/api`.
//!
//! Differences from the server, all of them wanted by tests: jobs run side by side, models and node classes are not looked up, uploads
//! are hashed and forgotten, and nothing is answered from a cache.

mod graph;
mod socket;

use std::{
    collections::HashSet,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::graph::Graph;
use super::{
    World,
    desk::{Call, Desk, Dialect, Draft, Instead, Job, Outcome, Received, Refusal, Stage},
    fault::{Operation, Subject},
    output::Native,
    settings::Scenario,
    vendor::{Ledger, Vendor},
};

/// The server's own default.
const MAX_UPLOAD_BYTES: usize = 100 << 20;

static DIALECT: Dialect =
    Dialect { name: "comfyui", id: "/prompt_id", status: "/status/status_str", items: "", optional: &[], refuse };

/// What is remembered of a prompt.
#[derive(Debug)]
pub(crate) struct Prompt {
    number: u64,
    graph: Graph,
    client: Option<String>,
}

#[derive(Debug)]
struct ComfyUi {
    desk: Arc<Desk<Prompt>>,
    numbers: AtomicU64,
    uploads: Mutex<HashSet<String>>,
}

pub(super) fn open(world: &Arc<World>, _: &Scenario) -> io::Result<Arc<dyn Vendor>> {
    let desk = Desk::new(world, &DIALECT);
    Ok(Arc::new(ComfyUi { desk, numbers: AtomicU64::new(0), uploads: Mutex::default() }))
}

impl Vendor for ComfyUi {
    fn router(self: Arc<Self>) -> Router {
        let api = Router::new()
            .route("/prompt", post(submit).get(remaining))
            .route("/queue", get(queue).post(change_queue))
            .route("/history", get(history))
            .route("/history/{id}", get(history_of))
            .route("/interrupt", post(interrupt))
            .route("/upload/image", post(upload))
            .route("/view", get(view))
            .route("/system_stats", get(async || Json(json!({ "system": { "os": "posix" }, "devices": [] }))))
            .route("/ws", get(socket::open))
            .layer(DefaultBodyLimit::max(MAX_UPLOAD_BYTES))
            .with_state(self);
        Router::new().nest("/comfyui", api.clone()).nest("/comfyui/api", api)
    }

    fn desk(&self) -> &dyn Ledger {
        &*self.desk
    }

    fn reset(&self) {
        self.desk.clear();
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn refuse(refusal: &Refusal) -> Response {
    let error = json!({ "type": "simulated", "message": refusal.text, "details": "", "extra_info": {} });
    (refusal.status, Json(json!({ "error": error, "node_errors": {} }))).into_response()
}

impl ComfyUi {
    /// `[number, prompt_id, prompt, extra_data, outputs_to_execute]`
    fn item(job: &Job<Prompt>) -> Value {
        let Prompt { number, graph, client } = &job.data;
        let mut extra = json!({ "create_time": job.created_at.as_millisecond() });
        if let Some(client) = client {
            extra["client_id"] = json!(client);
        }
        json!([number, job.id, graph.nodes(), extra, graph.savers()])
    }

    fn entry(job: &Job<Prompt>) -> Option<Value> {
        let Stage::Ended(end) = job.stage() else { return None };
        // What was deleted while it waited leaves no history.
        job.plan.started(job.marks(), job.elapsed())?;
        let (began, ended) = (job.at(job.plan.boot), job.at(end.at));
        let start = json!(["execution_start", { "prompt_id": job.id, "timestamp": began.as_millisecond() }]);
        let cached =
            json!(["execution_cached", { "nodes": [], "prompt_id": job.id, "timestamp": began.as_millisecond() }]);
        let (word, message, outputs) = match end.outcome {
            Outcome::Succeeded => {
                ("execution_success", json!({}), job.data.graph.outputs(&job.id, job.outputs.n_files))
            }
            Outcome::Failed(text) => ("execution_error", job.data.graph.error(&text), Map::new()),
            Outcome::Canceled | Outcome::Aborted => ("execution_interrupted", job.data.graph.interrupted(), Map::new()),
        };
        let mut message = message;
        message["prompt_id"] = json!(job.id);
        message["timestamp"] = json!(ended.as_millisecond());
        let is_success = word == "execution_success";
        Some(json!({
            "prompt": Self::item(job),
            "outputs": outputs,
            "status": {
                "status_str": if is_success { "success" } else { "error" },
                "completed": is_success,
                "messages": [start, cached, [word, message]],
            },
            "meta": {},
        }))
    }

    fn of_stage(&self, wanted: fn(&Stage) -> bool) -> Vec<Arc<Job<Prompt>>> {
        self.desk.book.all().into_iter().filter(|job| wanted(&job.stage())).collect()
    }

    fn is_uploaded(&self, name: &str) -> bool {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }
}

fn is_waiting(stage: &Stage) -> bool {
    matches!(stage, Stage::Starting)
}

fn is_running(stage: &Stage) -> bool {
    matches!(stage, Stage::Processing { .. })
}

async fn submit(State(comfyui): State<Arc<ComfyUi>>, received: Received) -> Result<Response, Instead> {
    let graph = Graph::of(&received.body["prompt"]);
    let text = graph.texts();
    let subject = Subject { prompt: &text, model: graph.saver_class(), ..Subject::default() };
    let call = comfyui.desk.call(Operation::Create, subject).await?;
    let refused = |body: Value| Err((StatusCode::BAD_REQUEST, Json(body)).into_response().into());
    if received.unreadable.is_some() {
        return Err((StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error").into_response().into());
    }
    let own = received.body.get("prompt_id").and_then(Value::as_str).map(str::to_owned);
    if own.as_deref().is_some_and(|id| uuid::Uuid::try_parse(id).map(|uuid| uuid.to_string()).as_deref() != Ok(id)) {
        return refused(graph::refusal("invalid_prompt_id", "prompt_id must be a UUID in canonical form", &json!({})));
    }
    if let Err(body) = graph.check(|name| comfyui.is_uploaded(name)) {
        return refused(body);
    }
    let id = own.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let number = comfyui.numbers.fetch_add(1, Ordering::Relaxed);
    let client = received.body["client_id"].as_str().map(str::to_owned);
    let draft = Draft {
        id: id.clone(),
        model: graph.saver_class().to_owned(),
        prompt: text.clone(),
        received,
        media: graph.media(),
        n_files: graph.n_files(),
        native: Native::List,
        deadline: None,
        data: Prompt { number, graph, client },
    };
    comfyui.desk.make(&call, draft);
    Ok(call.answer(StatusCode::OK, json!({ "prompt_id": id, "number": number, "node_errors": {} })).await)
}

async fn remaining(State(comfyui): State<Arc<ComfyUi>>) -> Json<Value> {
    let n_jobs = comfyui.of_stage(|stage| is_waiting(stage) || is_running(stage)).len();
    Json(json!({ "exec_info": { "queue_remaining": n_jobs } }))
}

async fn queue(State(comfyui): State<Arc<ComfyUi>>) -> Result<Response, Instead> {
    let call = comfyui.desk.call(Operation::List, Subject::default()).await?;
    let items = |wanted| comfyui.of_stage(wanted).iter().map(|job| ComfyUi::item(job)).collect::<Vec<_>>();
    let body = json!({ "queue_running": items(is_running), "queue_pending": items(is_waiting) });
    Ok(call.answer(StatusCode::OK, body).await)
}

async fn history(State(comfyui): State<Arc<ComfyUi>>) -> Result<Response, Instead> {
    let call = comfyui.desk.call(Operation::List, Subject::default()).await?;
    let jobs = comfyui.desk.book.all();
    let entries: Map<String, Value> =
        jobs.iter().filter_map(|job| Some((job.id.clone(), ComfyUi::entry(job)?))).collect();
    Ok(call.answer(StatusCode::OK, Value::Object(entries)).await)
}

async fn history_of(State(comfyui): State<Arc<ComfyUi>>, Path(id): Path<String>) -> Result<Response, Instead> {
    // An unknown job is no error here.
    let (call, entry) = match comfyui.desk.book.get(&id) {
        Some(_) => {
            let (call, job) = comfyui.desk.call_about(Operation::Get, &id).await?;
            (call, ComfyUi::entry(&job))
        }
        None => (comfyui.desk.call(Operation::Get, Subject::default()).await?, None),
    };
    let entries: Map<String, Value> = entry.into_iter().map(|entry| (id.clone(), entry)).collect();
    Ok(call.answer(StatusCode::OK, Value::Object(entries)).await)
}

async fn change_queue(State(comfyui): State<Arc<ComfyUi>>, received: Received) -> Result<Response, Instead> {
    let call = comfyui.desk.call(Operation::Cancel, Subject::default()).await?;
    let named = received.body["delete"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let named: HashSet<&str> = named.collect();
    let is_all = received.body["clear"] == true;
    let waiting = comfyui.of_stage(is_waiting).into_iter();
    waiting.filter(|job| is_all || named.contains(job.id.as_str())).for_each(|job| job.cancel());
    Ok(empty(call).await)
}

async fn interrupt(State(comfyui): State<Arc<ComfyUi>>, received: Received) -> Result<Response, Instead> {
    let call = match received.body["prompt_id"].as_str() {
        Some(id) if comfyui.desk.book.get(id).is_some() => comfyui.desk.call_about(Operation::Cancel, id).await?.0,
        Some(_) | None => comfyui.desk.call(Operation::Cancel, Subject::default()).await?,
    };
    let named = received.body["prompt_id"].as_str();
    let running = comfyui.of_stage(is_running).into_iter();
    running.filter(|job| named.is_none_or(|id| job.id == id)).for_each(|job| job.cancel());
    Ok(empty(call).await)
}

async fn upload(State(comfyui): State<Arc<ComfyUi>>, received: Received) -> Result<Response, Instead> {
    let call = comfyui.desk.call(Operation::File, Subject::default()).await?;
    let Some(name) = received.body["image"]["filename"].as_str() else {
        return Err(StatusCode::BAD_REQUEST.into_response().into());
    };
    let subfolder = received.text("/subfolder");
    let path = if subfolder.is_empty() { name.to_owned() } else { format!("{subfolder}/{name}") };
    comfyui.uploads.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
    let kind = match received.text("/type") {
        "" => "input",
        kind => kind,
    };
    Ok(call.answer(StatusCode::OK, json!({ "name": name, "subfolder": subfolder, "type": kind })).await)
}

#[derive(Debug, Deserialize)]
struct Viewed {
    filename: Option<String>,
}

async fn view(
    State(comfyui): State<Arc<ComfyUi>>,
    Query(viewed): Query<Viewed>,
    headers: HeaderMap,
) -> Result<Response, Instead> {
    let name = viewed.filename.unwrap_or_default();
    match graph::job_of_file(&name) {
        Some((id, index)) => comfyui.desk.deliver(id, index, &headers).await,
        None => Err(StatusCode::NOT_FOUND.into_response().into()),
    }
}

/// Many calls answer with nothing.
async fn empty(call: Call) -> Response {
    call.answer_whole(StatusCode::OK.into_response()).await
}
