use serde_json::json;

use super::*;
use crate::{
    domain::{artifact::Kind, names::SubmitKey},
    provider::{
        contract,
        error::{Effect, ErrorKind},
        port::Status,
        tests::{
            failures::mean_what_they_say,
            server::{Reply, Server},
        },
    },
};

#[tokio::test]
async fn every_failure_on_file_means_what_it_says() {
    let n_failures = mean_what_they_say("http-json", |base| provider("courier", base), |_| None).await;
    assert!(n_failures >= 10, "{n_failures}");
}

#[tokio::test]
async fn every_answer_on_file_is_read() {
    let check = async |name: &str, expected: &str| {
        let file = format!("{}/tests/fixtures/http-json/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let server = Server::always(Reply::new(200, std::fs::read(file).unwrap())).await;
        let progress = provider("courier", &server.base).poll(&ticket()).await.unwrap();
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

/// A job's ticket, as the courier's are.
fn ticket() -> Ticket {
    Ticket { account: "a".to_owned(), job: "7".to_owned(), data: json!({ "model": "clips" }) }
}

#[tokio::test]
async fn an_error_under_the_status_of_a_success_is_one_only_where_its_words_say_so() {
    let refused = async |body: serde_json::Value| {
        let server = Server::always(Reply::json(200, &body)).await;
        let courier = provider("courier", &server.base);
        let order = contract::order(&courier, Kind::Video);
        let error = courier.submit(&order, &SubmitKey::fresh()).await.unwrap_err();
        (error.kind, error.effect, error.summary)
    };
    let said = json!({ "job": null, "problem": { "code": "no_funds", "text": "top up" }, "data": [] });
    let expected = "refused the order: top up (no_funds)".to_owned();
    assert_eq!(refused(said).await, (ErrorKind::OutOfCredit, Effect::None, expected));
    let content = json!({ "problem": { "code": 1301, "text": "against our POLICY" } });
    assert_eq!(refused(content).await.0, ErrorKind::ContentRefused);
    // It may have begun: nobody knows what these words mean.
    for unclear in
        [json!({ "problem": { "code": 0, "text": "success" } }), json!({}), json!([]), json!(null), json!("ok")]
    {
        let (kind, effect, _) = refused(unclear.clone()).await;
        assert_eq!((kind, effect), (ErrorKind::NoJobId, Effect::Maybe), "{unclear}");
    }
}

#[tokio::test]
async fn a_poll_without_a_status_is_an_end_only_where_its_words_say_so() {
    let asked = async |body: serde_json::Value| {
        let server = Server::always(Reply::json(200, &body)).await;
        provider("courier", &server.base).poll(&ticket()).await
    };
    let failed = asked(json!({ "job": null, "problem": { "text": "our policy forbids it" } })).await.unwrap();
    assert!(matches!(failed.status, Status::Failed(failure) if failure.message == "our policy forbids it"));
    for unclear in
        [json!({}), json!({ "job": [] }), json!({ "job": { "state": null } }), json!({ "job": { "state": {} } })]
    {
        assert_eq!(asked(unclear.clone()).await.unwrap_err().kind, ErrorKind::Protocol, "{unclear}");
    }
}

#[tokio::test]
async fn pages_and_other_documents_are_no_jobs_and_no_ends() {
    let pages =
        ["<?xml version=\"1.0\"?><Error><Code>Busy</Code></Error>", "<html>login</html>", "", "OK", "{\"job\":"];
    for page in pages {
        let server = Server::always(Reply::new(200, page)).await;
        let courier = provider("courier", &server.base);
        let order = contract::order(&courier, Kind::Video);
        let error = courier.submit(&order, &SubmitKey::fresh()).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (ErrorKind::Protocol, Effect::Maybe), "{page}");
        let error = courier.poll(&ticket()).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (ErrorKind::Protocol, Effect::None), "{page}");
    }
}

#[tokio::test]
async fn a_status_may_be_a_number_or_a_flag_and_an_output_any_list_of_texts() {
    let poll = async |words: &str, at: &str, body: serde_json::Value| {
        let server = Server::always(Reply::json(200, &body)).await;
        let words: toml::Table = toml::from_str(words).unwrap();
        let outputs: toml::Table = [("at".to_owned(), toml::Value::from(at))].into_iter().collect();
        let courier = with("courier", &server.base, |table| {
            table.insert("status".to_owned(), words.clone().into());
            table.insert("outputs".to_owned(), outputs.clone().into());
        });
        match courier.poll(&ticket()).await.unwrap().status {
            Status::Done(outputs) => outputs.len(),
            other => panic!("{body}: {other:?}"),
        }
    };
    let number = "at = \"/state\"\nsucceeded = [\"2\"]\nfailed = [\"-1\"]";
    let url = "https://files.example/a.mp4";
    for state in [json!(2), json!(2.0), json!("2"), json!(" 2 ")] {
        assert_eq!(poll(number, "/urls", json!({ "state": state, "urls": [url, null, 7, "", url] })).await, 2);
    }
    let flag = "at = \"/ok\"\nsucceeded = [\"true\"]\nfailed = [\"false\"]";
    for ok in [json!(true), json!("True")] {
        assert_eq!(poll(flag, "/files/*/url", json!({ "ok": ok, "files": { "b": { "url": url }, "a": {} } })).await, 1);
        assert_eq!(poll(flag, "/files/*/url", json!({ "ok": ok, "files": [null, { "url": url }, []] })).await, 1);
    }
}
