use serde_json::json;

use super::*;
use crate::provider::{
    port::Status,
    tests::{
        failures::mean_what_they_say,
        server::{Reply, Server},
    },
};

#[tokio::test]
async fn every_failure_on_file_means_what_it_says() {
    let n_failures = mean_what_they_say("http-json", |base| provider("courier", base), |_| None).await;
    assert!(n_failures >= 10, "{n_failures}");
}

#[tokio::test]
async fn odd_but_legal_answers_are_read() {
    let ticket = Ticket { account: "a".to_owned(), job: "7".to_owned(), data: json!({ "model": "clips" }) };
    let check = async |answer: serde_json::Value, expected: &str| {
        let server = Server::always(Reply::json(200, &answer)).await;
        let progress = provider("courier", &server.base).poll(&ticket).await.unwrap();
        let stand = match progress.status {
            Status::Waiting => "waiting".to_owned(),
            Status::Running => "running".to_owned(),
            Status::Done(outputs) => format!("{} outputs", outputs.len()),
            Status::Failed(failure) => failure.message,
            Status::Cancelled(_) => "cancelled".to_owned(),
        };
        assert_eq!(stand, expected, "{answer}");
    };
    let url = "https://h.example/a.mp4?sig=x";
    check(json!({ "job": { "state": "QUEUED", "files": null, "done": "odd", "ahead": -4, "log": {} } }), "waiting")
        .await;
    check(json!({ "extra": [1], "job": { "state": "warming_up" } }), "running").await;
    check(json!({ "job": { "files": [{ "url": url, "size": null }, { "url": url }], "state": "Done" } }), "2 outputs")
        .await;
    check(json!({ "job": { "files": { "video": { "url": url } }, "state": "done" } }), "1 outputs").await;
    check(json!({ "job": { "state": "error", "problem": null } }), "failed without saying why").await;
    check(json!({ "job": { "state": "error", "problem": { "text": "no", "code": 7.0 } } }), "no (7)").await;
    check(json!({ "job": { "state": "stopped" } }), "cancelled").await;
}
