//! Images and speech for clients of OpenAI: a served filmgate whose vendor is the simulator, asked by the official clients and in plain HTTP.

mod edits;
mod images;
mod speech;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    openai_door::{Client, each},
    simulator::Simulator,
    support::server::{SOON, Server, Setup},
};

const STILL: &[u8] = include_bytes!("../../src/simulator/still.png");
/// In another format, so that the two can be told apart.
const PHOTO: &[u8] = include_bytes!("../../src/simulator/still.jpg");

/// With the simulated OpenAI as the vendor of everything.
fn setup(simulator: &Simulator) -> Setup {
    Setup::sample().with("OPENAI_API_KEY", "sk-a-secret-key").with("OPENAI_BASE_URL", &simulator.openai())
}

fn at(server: &Server, path: &str) -> RequestBuilder {
    reqwest::Client::new().post(format!("http://{}/v1{path}", server.addr()))
}

/// Sends it and waits, but not for ever.
async fn sent(request: RequestBuilder) -> Response {
    timeout(SOON, request.send()).await.expect("an answer in time").unwrap()
}

async fn post(server: &Server, path: &str, body: &Value) -> Response {
    sent(at(server, path).json(body)).await
}

/// The answer to a call that succeeds.
async fn made(server: &Server, path: &str, body: &Value) -> Value {
    let answer = post(server, path, body).await;
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{status} {text}");
    serde_json::from_str(&text).unwrap()
}

/// Status, `x-should-retry` and the error of a call that does not.
async fn refused(answer: Response) -> (u16, Option<String>, Value) {
    let status = answer.status().as_u16();
    let retry = answer.headers().get("x-should-retry").map(|value| value.to_str().unwrap().to_owned());
    let body: Value = answer.json().await.unwrap();
    assert!(status >= 400, "{body}");
    for key in ["message", "type", "param", "code"] {
        assert!(body["error"].get(key).is_some(), "{body}");
    }
    (status, retry, body["error"].clone())
}

/// The events of a stream: type and data, without comments.
async fn events(answer: Response) -> Vec<Value> {
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    let text = timeout(SOON, answer.text()).await.expect("it ends").unwrap();
    let frames = text.split_terminator("\n\n").filter(|frame| !frame.starts_with(':'));
    let read = frames.map(|frame| {
        let (event, data) = frame.split_once('\n').unwrap_or_else(|| panic!("{frame}"));
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        if let Some(kind) = data["type"].as_str() {
            assert_eq!(event.strip_prefix("event: "), Some(kind));
        }
        data
    });
    read.collect()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn bytes_of(text: &Value) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn images_work_with_the_clients_for_python() {
    each(&Client::PYTHON, "images", |setup| setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_works_with_the_clients_for_python() {
    each(&Client::PYTHON, "speech", |setup| setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_and_speech_work_with_the_client_for_javascript() {
    each(&[Client::JavaScript], "images", |setup| setup).await;
    each(&[Client::JavaScript], "speech", |setup| setup).await;
}
