use std::sync::Mutex;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{IMAGE, KEY, OMNI, VEO, adapter, interaction, order, ticket};
use crate::{
    domain::{failure::Charged, names::SubmitKey},
    provider::{
        contract,
        error::ErrorKind,
        port::{CancelOutcome, Found, Provider},
        tests::server::{Asked, Reply, Server},
    },
};

const CLIP: &[u8] = b"the bytes of a clip";

/// Omni in small: done at the third question unless stopped; its file lies beside the API.
async fn little_omni() -> Server {
    let job: Mutex<(usize, &str)> = Mutex::default();
    Server::start(move |asked: &Asked| {
        let mut job = job.lock().unwrap();
        match asked.line.as_str() {
            "POST /v1/interactions" => {
                *job = (0, "in_progress");
                Reply::json(200, &interaction("queued", json!([])))
            }
            "GET /v1/files/f1:download?alt=media" => Reply::new(200, CLIP),
            "POST /v1/interactions/v1_abc/cancel" if job.0 < 3 => {
                job.1 = "cancelled";
                Reply::json(499, &json!({ "error": { "code": 499, "status": "CANCELLED", "message": "stopped" } }))
            }
            "GET /v1/interactions/v1_abc" | "POST /v1/interactions/v1_abc/cancel" => {
                job.0 += 1;
                let uri = format!("http://{}/v1/files/f1", asked.host);
                Reply::json(
                    200,
                    &match *job {
                        (_, "cancelled") => interaction("cancelled", json!([])),
                        (1 | 2, word) => interaction(word, json!([])),
                        _ => interaction("completed", json!([{ "type": "video", "uri": uri }])),
                    },
                )
            }
            _ => Reply::json(
                400,
                &json!({ "error": { "code": "invalid_request", "message": "Invalid interaction name." } }),
            ),
        }
    })
    .await
}

#[tokio::test]
async fn it_keeps_the_contract_of_every_adapter() {
    let server = little_omni().await;
    let gemini = adapter(&server.base);
    let order = order(&gemini, OMNI);
    contract::makes_the_bytes(&gemini, &order, CLIP).await;
    contract::stops(&gemini, &order).await;
    contract::knows_no_foreign_job(&gemini).await;
    contract::finds_only_its_own(&gemini, &order).await;
    contract::keeps_its_secret(&gemini, &order, KEY).await;
}

#[tokio::test]
async fn veo_is_asked_after_by_its_operations_name() {
    let server = Server::start(|asked| {
        let samples = json!([{ "video": { "uri": format!("http://{}/v1/files/f1:download?alt=media", asked.host) } }]);
        match asked.line.as_str() {
            "GET /v1/files/f1:download?alt=media" => Reply::new(200, CLIP),
            "GET /v1/models/veo/operations/op1" => Reply::json(
                200,
                &json!({
                    "name": "models/veo/operations/op1", "done": true,
                    "response": { "generateVideoResponse": { "generatedSamples": samples } },
                }),
            ),
            _ => Reply::json(200, &json!({ "name": "models/veo/operations/op1" })),
        }
    })
    .await;
    let gemini = adapter(&server.base);
    contract::makes_the_bytes(&gemini, &order(&gemini, VEO), CLIP).await;
}

#[tokio::test]
async fn the_answer_to_a_cancel_tells_what_became_of_it() {
    let check = async |status: u16, body: Value, expected: Result<CancelOutcome, ErrorKind>| {
        let reply = Reply::json(status, &body);
        let server = Server::always(reply).await;
        let outcome = adapter(&server.base).cancel(&ticket(Value::Null)).await.map_err(|error| error.kind);
        assert_eq!(outcome, expected, "{status} {body}");
        assert_eq!(server.lines(), ["POST /v1/interactions/v1_abc/cancel"]);
    };
    let error = |code: Value, status: Value| json!({ "error": { "code": code, "status": status, "message": "x" } });
    check(499, error(json!(499), json!("CANCELLED")), Ok(CancelOutcome::Stopped(Charged::Unknown))).await;
    check(400, json!([error(json!(1), json!(null))]), Ok(CancelOutcome::Stopped(Charged::Unknown))).await;
    check(499, Value::Null, Ok(CancelOutcome::Stopped(Charged::Unknown))).await;
    check(200, interaction("cancelled", json!([])), Ok(CancelOutcome::Stopped(Charged::No))).await;
    check(200, interaction("completed", json!([])), Ok(CancelOutcome::TooLate)).await;
    check(200, interaction("in_progress", json!([])), Ok(CancelOutcome::Requested)).await;
    check(200, json!({}), Ok(CancelOutcome::Requested)).await;
    let unknown = json!({ "error": { "code": "invalid_request", "message": "Invalid interaction name." } });
    check(400, unknown, Err(ErrorKind::TicketUnknown)).await;
    check(404, Value::Null, Err(ErrorKind::TicketUnknown)).await;
    check(500, Value::Null, Err(ErrorKind::Overloaded)).await;
}

#[tokio::test]
async fn nothing_can_be_looked_for() {
    let server = Server::always(Reply::new(500, "")).await;
    let gemini = adapter(&server.base);
    let found = gemini.find(&order(&gemini, IMAGE), &SubmitKey::fresh(), Timestamp::now()).await.unwrap();
    assert!(matches!(found, Found::Unsupported));
    assert_eq!(server.asked().len(), 0);
}

#[tokio::test]
async fn an_address_that_a_ticket_would_escape_to_stays_below_the_base() {
    let server = Server::always(Reply::json(404, &json!({}))).await;
    let gemini = adapter(&server.base);
    for job in ["../files/x?y=1", "models/../operations/..", "models/a/operations/b?c"] {
        let mut ticket = ticket(Value::Null);
        ticket.job = job.to_owned();
        gemini.poll(&ticket).await.unwrap_err();
    }
    let expected = [
        "GET /v1/interactions/..%2Ffiles%2Fx%3Fy=1",
        "GET /v1/interactions/models%2F..%2Foperations%2F..",
        "GET /v1/models/a/operations/b%3Fc",
    ];
    assert_eq!(server.lines(), expected);
}
