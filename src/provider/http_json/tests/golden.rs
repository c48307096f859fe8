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
async fn every_answer_on_file_is_read() {
    let ticket = Ticket { account: "a".to_owned(), job: "7".to_owned(), data: json!({ "model": "clips" }) };
    let check = async |name: &str, expected: &str| {
        let file = format!("{}/tests/fixtures/http-json/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let server = Server::always(Reply::new(200, std::fs::read(file).unwrap())).await;
        let progress = provider("courier", &server.base).poll(&ticket).await.unwrap();
        let stand = match progress.status {
            Status::Waiting => format!("waiting at {:?}", progress.queue_position),
            Status::Running => format!("running at {:?}", progress.percent),
            Status::Done(outputs) => format!("{} outputs for {:?}", outputs.len(), progress.usage.charged),
            Status::Failed(failure) => failure.message,
            Status::Cancelled(charged) => format!("cancelled, charged {charged:?}"),
        };
        assert_eq!(stand, expected, "{name}");
    };
    check("queued", "waiting at Some(3)").await;
    check("queued_odd", "waiting at None").await;
    check("working", "running at Some(50)").await;
    check("unknown_word", "running at None").await;
    check("done", "2 outputs for Some(MicroUsd(70000))").await;
    check("done_object", "1 outputs for None").await;
    check("failed_silent", "failed without saying why").await;
    check("failed_code", "no (7)").await;
    check("stopped", "cancelled, charged No").await;
}
