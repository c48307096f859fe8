//! `/ws`: what is told to the client that a prompt named, as it happens and never again.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    extract::{
        Query, State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{ComfyUi, Prompt};
use crate::simulator::desk::{Job, Outcome, Stage};

/// How often the jobs of a client are looked at.
const TICK: Duration = Duration::from_millis(10);
/// Steps of the node that takes the time.
const STEPS: f64 = 20.0;
/// Beginning of a preview: event 1, format 2 (PNG).
const PREVIEW: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 2];

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(rename = "clientId")]
    client_id: Option<String>,
}

pub(super) async fn open(
    State(comfyui): State<Arc<ComfyUi>>,
    Query(asked): Query<Asked>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let client = asked.client_id.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
    upgrade.on_upgrade(async move |socket| {
        let stop = comfyui.desk.world.stop.clone();
        // A client that is gone is its own business.
        let _ = stop.run_until_cancelled(tell(comfyui, client, socket)).await;
    })
}

/// What was told of a job.
#[derive(Debug, Default)]
struct Told {
    step: Option<u64>,
    ended: bool,
}

async fn tell(comfyui: Arc<ComfyUi>, client: String, mut socket: WebSocket) -> Result<(), axum::Error> {
    let mut told: HashMap<String, Told> = HashMap::new();
    let status = json!({ "status": { "exec_info": { "queue_remaining": 0 } }, "sid": client });
    send(&mut socket, "status", status).await?;
    for job in ours(&comfyui, &client) {
        match job.stage() {
            // There is no replay but this, and it names no job.
            Stage::Processing { .. } => {
                send(&mut socket, "executing", json!({ "node": job.data.graph.worker() })).await?;
            }
            Stage::Ended(_) => told.entry(job.id.clone()).or_default().ended = true,
            Stage::Starting => {}
        }
    }
    loop {
        for job in ours(&comfyui, &client) {
            tell_of(&job, told.entry(job.id.clone()).or_default(), &mut socket).await?;
        }
        tokio::select! {
            message = socket.recv() => if message.transpose()?.is_none() { return Ok(()) },
            () = sleep(TICK) => {}
        }
    }
}

fn ours(comfyui: &ComfyUi, client: &str) -> Vec<Arc<Job<Prompt>>> {
    comfyui.desk.book.all().into_iter().filter(|job| job.data.client.as_deref() == Some(client)).collect()
}

async fn tell_of(job: &Job<Prompt>, told: &mut Told, socket: &mut WebSocket) -> Result<(), axum::Error> {
    let worker = job.data.graph.worker();
    let about = |mut data: Value| {
        data["prompt_id"] = json!(job.id);
        data
    };
    match job.stage() {
        Stage::Starting => {}
        Stage::Processing { done } => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "done is between 0 and 1")]
            let step = (done * STEPS) as u64;
            if told.step.is_none() {
                send(socket, "execution_start", about(json!({ "timestamp": job.created_at.as_millisecond() }))).await?;
                send(socket, "execution_cached", about(json!({ "nodes": [] }))).await?;
                send(socket, "executing", about(json!({ "node": worker, "display_node": worker }))).await?;
            }
            if told.step != Some(step) {
                let running =
                    json!({ "value": step, "max": STEPS, "state": "running", "node_id": worker, "prompt_id": job.id });
                send(socket, "progress_state", about(json!({ "nodes": { worker: running } }))).await?;
                send(socket, "progress", about(json!({ "value": step, "max": STEPS, "node": worker }))).await?;
                socket.send(Message::Binary(PREVIEW.to_vec().into())).await?;
                told.step = Some(step);
            }
        }
        Stage::Ended(end) if !told.ended => {
            told.ended = true;
            let (kind, data) = match end.outcome {
                Outcome::Succeeded => ("execution_success", json!({})),
                Outcome::Failed(text) => ("execution_error", job.data.graph.error(&text)),
                Outcome::Canceled | Outcome::Aborted => ("execution_interrupted", job.data.graph.interrupted()),
            };
            send(socket, kind, about(data)).await?;
            send(socket, "executing", about(json!({ "node": null }))).await?;
        }
        Stage::Ended(_) => {}
    }
    Ok(())
}

async fn send(socket: &mut WebSocket, kind: &str, data: Value) -> Result<(), axum::Error> {
    let frame = json!({ "type": kind, "data": data }).to_string();
    socket.send(Message::Text(frame.into())).await
}
