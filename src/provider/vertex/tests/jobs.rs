use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{FAST, OPERATION, REFRESH_TOKEN, order, ticket, token, vertex, vertex_with};
use crate::{
    domain::{artifact::Kind, failure::Charged, failure::FailurePhase, names::SubmitKey},
    provider::{
        contract,
        error::{Effect, ErrorKind},
        port::{CancelOutcome, Found, Provider, Status},
        tests::server::{Asked, Reply, Server},
    },
};

const CLIP: &[u8] = b"the bytes of a clip";

/// Vertex in small: a job is done at the third question; its video lies in a bucket beside the API.
async fn little_vertex() -> Server {
    let asks: Mutex<usize> = Mutex::default();
    Server::start(move |asked: &Asked| {
        if let Some(granted) = token(asked) {
            return granted;
        }
        if asked.line.ends_with(":predictLongRunning") {
            *asks.lock().unwrap() = 0;
            return Reply::json(200, &json!({ "name": OPERATION }));
        }
        if asked.line == "GET /storage/v1/b/films/o/x%2Fsample_0.mp4?alt=media" {
            let is_known = asked.authorization.as_deref() == Some("Bearer ya29.very-secret");
            return if is_known { Reply::new(200, CLIP) } else { Reply::new(401, "") };
        }
        assert_eq!(asked.json(), json!({ "operationName": OPERATION }));
        let mut asks = asks.lock().unwrap();
        *asks += 1;
        let videos = json!({ "videos": [{ "gcsUri": "gs://films/x/sample_0.mp4" }] });
        let done = json!({ "name": OPERATION, "done": true, "response": videos });
        Reply::json(200, &if *asks < 3 { json!({ "name": OPERATION }) } else { done })
    })
    .await
}

#[tokio::test]
async fn it_keeps_the_contract_of_every_adapter() {
    let server = little_vertex().await;
    let vertex = vertex(&server.base);
    let order = contract::order(&vertex, Kind::Video);
    contract::makes_the_bytes(&vertex, &order, CLIP).await;
    contract::knows_no_foreign_job(&vertex).await;
    contract::finds_only_its_own(&vertex, &order).await;
    contract::keeps_its_secret(&vertex, &order, REFRESH_TOKEN).await;
    contract::keeps_its_secret(&vertex, &order, "ya29").await;
}

#[tokio::test]
async fn a_job_at_work_cannot_be_stopped_and_one_that_ended_is_told() {
    let check = async |operation: Value, expected: CancelOutcome| {
        let server = Server::start(move |asked| token(asked).unwrap_or_else(|| Reply::json(200, &operation))).await;
        assert_eq!(vertex(&server.base).cancel(&ticket(Value::Null)).await.unwrap(), expected);
    };
    check(json!({}), CancelOutcome::Unsupported).await;
    check(json!({ "done": true, "response": "gs://films/a.mp4" }), CancelOutcome::TooLate).await;
    check(json!({ "done": true, "error": { "code": 13 } }), CancelOutcome::TooLate).await;
    check(json!({ "done": true, "error": { "code": 1 } }), CancelOutcome::Stopped(Charged::No)).await;
}

#[tokio::test]
async fn a_job_is_asked_after_where_its_name_says() {
    let server = Server::start(|asked| token(asked).unwrap_or_else(|| Reply::json(200, &json!({})))).await;
    let vertex = vertex(&server.base);
    let mut ticket = ticket(Value::Null);
    ticket.job = "projects/p9/locations/europe-west4/publishers/google/models/veo-9/operations/7-d.0e".to_owned();
    vertex.poll(&ticket).await.unwrap();
    let line = "POST /v1/projects/p9/locations/europe-west4/publishers/google/models/veo-9:fetchPredictOperation";
    assert_eq!(server.lines()[1], line);
    for odd in ["", "x", "projects/p/locations/l/publishers/google/models/../operations/x", "gs:/x"] {
        ticket.job = odd.to_owned();
        assert_eq!(vertex.poll(&ticket).await.unwrap_err().kind, ErrorKind::TicketUnknown, "{odd}");
    }
    assert_eq!(server.asked().len(), 2);
}

/// A bucket that lists these objects below whatever prefix is asked for, as ages in seconds by name.
async fn bucket(objects: Vec<(&'static str, i64)>) -> Server {
    Server::start(move |asked| {
        if let Some(granted) = token(asked) {
            return granted;
        }
        let url = url::Url::parse(&format!("http://h{}", asked.line.trim_start_matches("GET "))).unwrap();
        let (_, prefix) = url.query_pairs().find(|(name, _)| name == "prefix").unwrap();
        let item = |(name, age): &(&str, i64)| {
            let at = Timestamp::now() - SignedDuration::from_secs(*age);
            json!({ "name": format!("{prefix}123/{name}"), "contentType": null, "size": "33", "timeCreated": at.to_string() })
        };
        Reply::json(200, &json!({ "kind": "storage#objects", "items": objects.iter().map(item).collect::<Vec<_>>() }))
    })
    .await
}

#[tokio::test]
async fn a_lost_order_is_known_by_its_own_folder() {
    let server = bucket(vec![("sample_0.mp4", 10), ("notes.txt", 5)]).await;
    let vertex = vertex_with(&server.base, &[("storage_uri", "gs://films/videos")]);
    let (order, key) = (order(&vertex, FAST), SubmitKey::fresh());
    let Found::Candidates(jobs) = vertex.find(&order, &key, Timestamp::now()).await.unwrap() else { panic!("a list") };
    let [job] = &jobs[..] else { panic!("{jobs:?}") };
    assert!(job.exact);
    assert_eq!(job.ticket.job, format!("gs://films/videos/{key}/"));
    let asked = server.lines().pop().unwrap();
    assert_eq!(asked, format!("GET /storage/v1/b/films/o?prefix=videos%2F{key}%2F"));
    let progress = vertex.poll(&job.ticket).await.unwrap();
    assert!(matches!(&progress.status, Status::Done(outputs) if outputs.len() == 1), "{progress:?}");
    assert_eq!(vertex.cancel(&job.ticket).await.unwrap(), CancelOutcome::TooLate);

    let none = bucket(Vec::new()).await;
    let vertex = vertex_with(&none.base, &[("storage_uri", "gs://films/videos")]);
    let found = vertex.find(&order, &key, Timestamp::now()).await.unwrap();
    assert!(matches!(found, Found::Candidates(jobs) if jobs.is_empty()));
}

#[tokio::test]
async fn a_folder_with_too_few_videos_is_whole_once_none_has_come_for_a_while() {
    let data = json!({ "seconds": 8, "samples": 2 });
    for (age, is_done) in [(10, false), (200, true)] {
        let server = bucket(vec![("sample_0.mp4", age)]).await;
        let mut ticket = ticket(data.clone());
        ticket.job = "gs://films/videos/k/".to_owned();
        let progress = vertex(&server.base).poll(&ticket).await.unwrap();
        assert_eq!(matches!(progress.status, Status::Done(_)), is_done, "{age}");
        assert_eq!(progress.usage.output_seconds, is_done.then_some(8.0));
    }
}

#[tokio::test]
async fn without_a_folder_nothing_can_be_looked_for() {
    let server = Server::start(|asked| token(asked).unwrap_or_else(|| Reply::new(500, ""))).await;
    let vertex = vertex(&server.base);
    let found = vertex.find(&order(&vertex, FAST), &SubmitKey::fresh(), Timestamp::now()).await.unwrap();
    assert!(matches!(found, Found::Unsupported));
    assert_eq!(server.asked().len(), 0);
}

#[tokio::test]
async fn who_is_not_known_is_told_from_who_may_not_and_no_page_is_quoted() {
    let check = async |status: u16, body: &'static str, says: &str| {
        let server = Server::start(move |asked| token(asked).unwrap_or_else(|| Reply::new(status, body))).await;
        let vertex = vertex(&server.base);
        let error = vertex.submit(&order(&vertex, FAST), &SubmitKey::fresh()).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (ErrorKind::Unauthenticated, Effect::None));
        let message = error.to_failure(FailurePhase::Submit, Charged::No).message;
        assert!(message.contains(says) && !message.contains('<') && !message.contains("Robot"), "{message}");
    };
    check(401, "{}", "401 to the order: UNAUTHENTICATED").await;
    check(403, "{}", "403 to the order: PERMISSION_DENIED").await;
    check(403, "<html><p>Robot</p></html>", "PERMISSION_DENIED: a non-JSON reply, an HTML page").await;
    check(401, "Robot says no", "UNAUTHENTICATED: a non-JSON reply").await;
    let denied =
        r#"{"error": {"code": 403, "message": "no aiplatform.endpoints.predict", "status": "PERMISSION_DENIED"}}"#;
    check(403, denied, "PERMISSION_DENIED: no aiplatform.endpoints.predict").await;
}
