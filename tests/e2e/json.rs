//! The contract over HTTP and JSON: every call by its path, its refusals in one form, streams as events, bytes as they are.

mod chat;
mod openapi;
mod refusals;

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Client, Method, Response, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    simulator::Simulator,
    support::server::{SOON, Server, Setup, is_terminal},
};

const PICTURE: &[u8] = include_bytes!("../fixtures/media/still.jpg");

pub(crate) fn url(server: &Server, path: &str) -> String {
    format!("http://{}{path}", server.addr())
}

pub(crate) async fn get(server: &Server, path: &str) -> Response {
    reqwest::get(url(server, path)).await.unwrap()
}

pub(crate) async fn post(server: &Server, path: &str, body: &Value) -> Response {
    Client::new().post(url(server, path)).json(body).send().await.unwrap()
}

/// The status, and what of the error every one has.
pub(crate) async fn refused(response: Response) -> (u16, String, Value) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    let mut body: Value = response.json().await.unwrap();
    assert!(body["error"]["message"].is_string(), "{body}");
    let code = body["error"]["code"].as_str().unwrap().to_owned();
    (status, code, body["error"]["details"].take())
}

/// One server-sent event: its id, its name, its data.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    id: Option<i64>,
    name: String,
    data: Value,
}

fn event(text: &str) -> Option<Event> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    let data = serde_json::from_str(field("data")?).unwrap();
    let id = field("id").map(|id| id.parse().unwrap());
    Some(Event { id, name: field("event").unwrap_or("message").to_owned(), data })
}

/// All events of an answer, to its end.
async fn events(response: Response) -> Vec<Event> {
    assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
    let text = timeout(SOON, response.text()).await.expect("the stream ends").unwrap();
    text.split("\n\n").filter_map(event).collect()
}

#[tokio::test]
async fn a_video_is_ordered_watched_read_and_deleted_with_nothing_but_http() {
    let server = Setup::sample().start().await;
    let events = events(post(&server, "/api/v1/videos:generate", &json!({ "prompt": "a fox" })).await).await;
    let (end, snapshots) = events.split_last().unwrap();
    assert_eq!((end.name.as_str(), &end.data["x-video-sample"]), ("end", &json!("true")));
    let ids: Vec<i64> = snapshots.iter().map(|event| event.id.unwrap()).collect();
    assert!(ids.is_sorted() && ids[0] == 1, "{ids:?}");
    let last = &snapshots.last().unwrap().data["generation"];
    assert_eq!((&last["state"], &last["sample"]), (&json!("STATE_SUCCEEDED"), &json!(true)));
    let name = last["name"].as_str().unwrap();

    let read: Value = get(&server, &format!("/api/v1/{name}")).await.json().await.unwrap();
    assert_eq!(read["generation"]["state"], "STATE_SUCCEEDED");
    let list = "/api/v1/generations?pageSize=1&states=STATE_SUCCEEDED&states=STATE_FAILED&kind=KIND_VIDEO";
    let list: Value = get(&server, list).await.json().await.unwrap();
    assert_eq!(list["generations"][0]["name"], name);
    let history: Value = get(&server, &format!("/api/v1/{name}/events?page_size=2")).await.json().await.unwrap();
    assert_eq!(history["events"].as_array().unwrap().len(), 2);
    let model: Value = get(&server, "/api/v1/models/sample%2Fvideo").await.json().await.unwrap();
    assert_eq!(model["model"]["name"], "sample/video");

    let gone = Client::new().delete(url(&server, &format!("/api/v1/{name}"))).send().await.unwrap();
    assert_eq!((gone.status(), gone.text().await.unwrap().as_str()), (StatusCode::OK, "{}"));
    let (status, code, details) = refused(get(&server, &format!("/api/v1/{name}")).await).await;
    assert_eq!((status, code.as_str(), &details["reason"]), (404, "TASK_NOT_FOUND", &json!("GENERATION_NOT_FOUND")));
    assert_eq!(
        (&details["charged"], &details["nextStep"]),
        (&json!("NO"), &json!("Check the name, or list generations."))
    );
}

#[tokio::test]
async fn a_watcher_that_comes_back_gets_what_it_has_not_seen_and_is_told_when_there_is_no_more() {
    let simulator = Simulator::start(&["create:latency=700ms"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let order = json!({ "prompt": "a fox" });
    let mut stream = post(&server, "/api/v1/videos:generate", &order).await.bytes_stream();
    let first = timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap();
    let first = event(std::str::from_utf8(&first).unwrap().split("\n\n").next().unwrap()).unwrap();
    drop(stream);
    let name = first.data["generation"]["name"].as_str().unwrap().to_owned();

    let watch = |seen: i64| {
        let request = Client::new().get(url(&server, &format!("/api/v1/{name}:watch")));
        request.header("Last-Event-ID", seen).send()
    };
    let rest = events(watch(first.id.unwrap()).await.unwrap()).await;
    let (end, rest) = rest.split_last().unwrap();
    assert_eq!(end.name, "end");
    assert!(rest.iter().all(|event| event.id > first.id), "{rest:?}");
    let last = rest.last().unwrap();
    assert_eq!(last.data["generation"]["state"], "STATE_SUCCEEDED");
    assert!(is_terminal(&server.get(&name).await));

    // What an EventSource takes for the end.
    let seen_all = watch(last.id.unwrap()).await.unwrap();
    assert_eq!((seen_all.status(), seen_all.text().await.unwrap().as_str()), (StatusCode::NO_CONTENT, ""));
    let one_less = events(watch(last.id.unwrap() - 1).await.unwrap()).await;
    assert_eq!(one_less.len(), 2, "{one_less:?}");
}

#[tokio::test]
async fn a_stream_comes_as_lines_or_as_one_list_to_whoever_asks_for_these() {
    let server = Setup::sample().start().await;
    let order = |accept: &'static str| {
        let request = Client::new().post(url(&server, "/api/v1/images:generate")).header("accept", accept);
        request.json(&json!({ "prompt": "a fox" })).send()
    };
    let lines = order("application/x-ndjson").await.unwrap();
    assert_eq!(lines.headers()[CONTENT_TYPE], "application/x-ndjson");
    let lines = lines.text().await.unwrap();
    let states: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(states.last().unwrap()["generation"]["state"], "STATE_SUCCEEDED");

    let list = order("application/json").await.unwrap();
    assert_eq!(list.headers()[CONTENT_TYPE], "application/json");
    let list: Vec<Value> = list.json().await.unwrap();
    assert_eq!(list.last().unwrap()["generation"]["state"], "STATE_SUCCEEDED");
    let events = order("text/event-stream, application/json").await.unwrap();
    assert_eq!(events.headers()[CONTENT_TYPE], "text/event-stream");
}

#[tokio::test]
async fn bytes_go_in_and_out_as_they_are() {
    let server = Setup::sample().start().await;
    let http = Client::new();
    let upload = |media_type: &'static str, query: &str| {
        let path = format!("/api/v1/artifacts:upload{query}");
        http.post(url(&server, &path)).header(CONTENT_TYPE, media_type).body(PICTURE).send()
    };
    let stored: Value = upload("image/jpeg", "").await.unwrap().json().await.unwrap();
    assert_eq!(stored["artifact"]["sizeBytes"], PICTURE.len().to_string());
    let name = stored["artifact"]["name"].as_str().unwrap();
    let down = get(&server, &format!("/api/v1/{name}:download")).await;
    assert_eq!(
        (&down.headers()[CONTENT_TYPE], &down.headers()["x-content-type-options"]),
        (&"image/jpeg".parse().unwrap(), &"nosniff".parse().unwrap())
    );
    assert_eq!(down.bytes().await.unwrap(), PICTURE);
    let part = get(&server, &format!("/api/v1/{name}:download?readOffset=10&readLimit=5")).await;
    assert_eq!(part.bytes().await.unwrap(), PICTURE[10..15]);

    let (status, code, details) = refused(upload("video/mp4", "").await.unwrap()).await;
    assert_eq!(
        (status, code.as_str(), details["fieldViolations"].as_array().unwrap().len()),
        (400, "VALIDATION_ERROR", 1)
    );
    let wrong_hash = format!("?header.sha256={}", "0".repeat(64));
    assert_eq!(upload("image/jpeg", &wrong_hash).await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        upload("application/octet-stream", "?header.mediaType=image/jpeg").await.unwrap().status(),
        StatusCode::OK
    );

    // Half of a file is not a file.
    let before: Value = get(&server, "/api/v1/artifacts").await.json().await.unwrap();
    let mut socket = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    let head = format!(
        "POST /api/v1/artifacts:upload HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
        PICTURE.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&PICTURE[..700]).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut rest = Vec::new();
    timeout(SOON, socket.read_to_end(&mut rest)).await.expect("the server lets go").unwrap();
    let after: Value = get(&server, "/api/v1/artifacts").await.json().await.unwrap();
    assert_eq!(before, after);
}

#[tokio::test]
async fn headers_go_to_the_call_and_heads_and_options_are_answered() {
    let server = Setup::sample().start().await;
    let http = Client::new();
    let tenant =
        |tenant: &'static str, path: &str| http.get(url(&server, path)).header("x-filmgate-tenant", tenant).send();
    let mine = http.post(url(&server, "/api/v1/sessions")).header("x-filmgate-tenant", "a").send().await.unwrap();
    let mine: Value = mine.json().await.unwrap();
    let path = format!("/api/v1/{}", mine["session"]["name"].as_str().unwrap());
    assert_eq!(tenant("a", &path).await.unwrap().status(), StatusCode::OK);
    assert_eq!(tenant("b", &path).await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(tenant("../b", &path).await.unwrap().status(), StatusCode::BAD_REQUEST);

    let head = http.head(url(&server, &path)).header("x-filmgate-tenant", "a").send().await.unwrap();
    let whole = tenant("a", &path).await.unwrap();
    assert_eq!(head.headers()["content-length"], whole.headers()["content-length"]);
    assert_eq!((head.status(), head.text().await.unwrap().as_str()), (StatusCode::OK, ""));
    let options = http.request(Method::OPTIONS, url(&server, &path)).send().await.unwrap();
    assert_eq!(
        (options.status(), &options.headers()["allow"]),
        (StatusCode::NO_CONTENT, &"DELETE, GET, HEAD, OPTIONS".parse().unwrap())
    );
}

#[tokio::test]
async fn whoever_waits_only_so_long_gets_the_end_of_the_answer_then_and_the_order_goes_on() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let http = Client::new();
    let order = json!({ "prompt": "a fox" });
    let ask = http.post(url(&server, "/api/v1/videos:generate")).header("accept", "application/json");
    let answer = ask.header("prefer", "respond-async, wait=0").json(&order).send().await.unwrap();
    assert_eq!(answer.headers()["preference-applied"], "wait");
    let list: Value = answer.json().await.expect("a whole list");
    let name = list[0]["generation"]["name"].as_str().unwrap();

    let watch =
        http.get(url(&server, &format!("/api/v1/{name}:watch"))).header("prefer", "wait=0").send().await.unwrap();
    let seen = events(watch).await;
    assert_eq!(seen.last().unwrap().name, "end");
    let now: Value = get(&server, &format!("/api/v1/{name}")).await.json().await.unwrap();
    assert!(["STATE_QUEUED", "STATE_RUNNING"].contains(&now["generation"]["state"].as_str().unwrap()), "{now}");
}

#[tokio::test]
async fn calls_are_counted_by_the_path_that_the_contract_has() {
    let server = Setup::sample().start().await;
    get(&server, "/api/v1/sessions/nobody").await.text().await.unwrap();
    get(&server, "/api/v1/sessions/somebody").await.text().await.unwrap();
    let told = get(&server, "/metrics").await.text().await.unwrap();
    let line = r#"filmgate_requests_total{door="json",route="GET /api/v1/{name=sessions/*}",status="404"} 2"#;
    assert!(told.lines().any(|told| told == line), "{told}");
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_why_in_an_event() {
    let simulator = Simulator::start(&["create:hold"]);
    let mut server = Setup::replicate(&simulator.replicate()).with("FILMGATE_DRAIN_DELAY", "0s").start().await;
    let order = json!({ "prompt": "a fox" });
    let mut stream = post(&server, "/api/v1/videos:generate", &order).await;
    assert!(timeout(SOON, stream.chunk()).await.unwrap().unwrap().is_some());
    server.terminate();
    let all = timeout(SOON, stream.text()).await.expect("the server lets go").unwrap();
    let last = all.split("\n\n").filter_map(event).last().unwrap();
    assert_eq!((last.name.as_str(), &last.data["error"]["code"]), ("error", &json!("SERVICE_ERROR")));
    let details = &last.data["error"]["details"];
    assert_eq!((&details["reason"], &details["retryable"]), (&json!("SERVER_DRAINING"), &json!(true)));
    // Nothing is said of money: the work goes on.
    assert!(details.get("charged").is_none() && all.contains("retry: "), "{all}");
    timeout(Duration::from_secs(20), server.ended()).await.expect("the server ends");
}
