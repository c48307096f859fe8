//! Callbacks as their receiver sees them.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
    time::{Duration, timeout},
};

use super::Simulator;

/// A server that keeps what it is sent. It refuses the first `n_refused` calls.
struct Receiver {
    url: String,
    calls: mpsc::Receiver<Call>,
    _serving: JoinSet<()>,
}

#[derive(Debug)]
struct Call {
    id: String,
    sent_at: i64,
    signature: String,
    body: Bytes,
}

impl Receiver {
    async fn start(n_refused: usize) -> Self {
        let (sender, calls) = mpsc::channel(100);
        let turns = Arc::new(tokio::sync::Semaphore::new(n_refused));
        let router = Router::new().route("/hook", post(receive)).with_state((sender, turns));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, calls, _serving: serving }
    }

    async fn next(&mut self) -> Call {
        timeout(Duration::from_secs(20), self.calls.recv()).await.expect("a callback comes").unwrap()
    }
}

async fn receive(
    State((sender, turns)): State<(mpsc::Sender<Call>, Arc<tokio::sync::Semaphore>)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let sent_at = header("webhook-timestamp").parse().unwrap();
    let call = Call { id: header("webhook-id"), sent_at, signature: header("webhook-signature"), body };
    sender.send(call).await.unwrap();
    match turns.try_acquire() {
        Ok(turn) => {
            turn.forget();
            StatusCode::SERVICE_UNAVAILABLE
        }
        Err(_) => StatusCode::OK,
    }
}

impl Call {
    fn status(&self) -> String {
        let page: Value = serde_json::from_slice(&self.body).unwrap();
        page["status"].as_str().unwrap().to_owned()
    }

    fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.", self.id, self.sent_at).as_bytes());
        mac.update(&self.body);
        self.signature == format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

async fn secret(simulator: &Simulator) -> String {
    let url = format!("{}/replicate/v1/webhooks/default/secret", simulator.root);
    let page: Value = simulator.http.get(url).bearer_auth("r8_x").send().await.unwrap().json().await.unwrap();
    page["key"].as_str().unwrap().to_owned()
}

async fn order(simulator: &Simulator, receiver: &Receiver, events: Value) -> String {
    let body = json!({ "input": { "prompt": "a fox" }, "webhook": receiver.url, "webhook_events_filter": events });
    let made = simulator.post("models/minimax/video-01/predictions", &body).send().await.unwrap();
    made.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_job_is_followed_from_start_to_completion_with_valid_signatures() {
    let simulator = Simulator::start(&["create:hold"]);
    let mut receiver = Receiver::start(0).await;
    let id = order(&simulator, &receiver, json!(["start", "logs", "output", "completed"])).await;
    let mut calls = vec![receiver.next().await, receiver.next().await];
    simulator.control("release", json!({ "id": id })).await;
    calls.extend([receiver.next().await, receiver.next().await]);
    let statuses: Vec<_> = calls.iter().map(Call::status).collect();
    assert_eq!(statuses, ["processing", "processing", "succeeded", "succeeded"]);
    let secret = secret(&simulator).await;
    assert!(calls.iter().all(|call| call.is_signed_by(&secret)));
    assert_eq!(simulator.count("webhooks_sent").await, 4);
}

#[tokio::test]
async fn a_cancel_is_called_back_at_once() {
    let simulator = Simulator::start(&["create:stuck=starting"]);
    let mut receiver = Receiver::start(0).await;
    let id = order(&simulator, &receiver, json!(["completed"])).await;
    simulator.post(&format!("predictions/{id}/cancel"), &json!({})).send().await.unwrap();
    assert_eq!(receiver.next().await.status(), "canceled");
}

#[tokio::test]
async fn a_refused_completion_is_repeated_under_the_same_id() {
    let simulator = Simulator::start(&[]);
    simulator.control("settings", json!({ "webhook_retry": "1ms" })).await;
    let mut receiver = Receiver::start(2).await;
    order(&simulator, &receiver, json!(["completed"])).await;
    let ids = [receiver.next().await.id, receiver.next().await.id, receiver.next().await.id];
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn duplicates_forgeries_and_stale_ones_are_what_they_are_called() {
    let simulator = Simulator::start(&["webhook:nth=1:duplicate", "webhook:nth=2:forged", "webhook:nth=3:stale"]);
    let secret = secret(&simulator).await;
    let mut receiver = Receiver::start(0).await;
    order(&simulator, &receiver, json!(["completed"])).await;
    let (first, second) = (receiver.next().await, receiver.next().await);
    assert_eq!((&first.id, &first.body), (&second.id, &second.body));
    order(&simulator, &receiver, json!(["completed"])).await;
    assert!(!receiver.next().await.is_signed_by(&secret));
    order(&simulator, &receiver, json!(["completed"])).await;
    let stale = receiver.next().await;
    assert!(stale.is_signed_by(&secret) && first.sent_at - stale.sent_at > 3000);
}

#[tokio::test]
async fn a_late_start_arrives_after_the_completion() {
    let simulator = Simulator::start(&["webhook:nth=1:late=300ms"]);
    let mut receiver = Receiver::start(0).await;
    order(&simulator, &receiver, json!(["start", "completed"])).await;
    let (first, second) = (receiver.next().await, receiver.next().await);
    assert!(first.sent_at >= second.sent_at);
    assert_ne!(first.id, second.id);
    assert_eq!(simulator.count("webhooks_sent").await, 2);
}
