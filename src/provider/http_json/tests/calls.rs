use std::sync::Mutex;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    domain::{
        artifact::Kind,
        failure::{Charged, FailureReason},
        money::MicroUsd,
        names::SubmitKey,
        order::{InputRole, OptionName, OptionValue},
    },
    provider::{
        contract,
        error::{Effect, ErrorKind, Verdict},
        port::{InputFile, OrderInput, Status},
        tests::{
            fields::all_arrive,
            server::{Asked, Reply, Server},
        },
    },
};

const PICTURE: &[u8] = include_bytes!("../../../simulator/still.png");
const CLIP: &[u8] = b"the bytes of a clip";

fn job(id: usize, state: &str, host: &str) -> Json {
    let files = if state == "done" { json!([{ "url": format!("http://{host}/out.mp4") }]) } else { json!([]) };
    json!({ "job": { "id": id, "state": state, "files": files, "done": 0.5, "ahead": 0, "log": ["one", "two"] } })
}

/// The documented queue vendor in small: a job waits, works, and is done at the third question.
async fn little_courier() -> Server {
    let jobs: Mutex<Vec<(usize, bool, String)>> = Mutex::default();
    Server::start(move |asked: &Asked| {
        let mut jobs = jobs.lock().unwrap();
        if asked.line == "POST /v1/models/clips/jobs" {
            jobs.push((0, false, asked.json()["reference"].as_str().unwrap().to_owned()));
            return Reply::json(201, &job(jobs.len() - 1, "queued", &asked.host));
        }
        if let Some((_, mark)) = asked.line.split_once("/jobs?reference=") {
            let found = jobs.iter().enumerate().filter(|(_, it)| it.2 == mark);
            let found: Vec<_> =
                found.map(|(id, it)| json!({ "id": id, "reference": it.2, "created": 1_700_000_000 })).collect();
            return Reply::json(200, &json!({ "jobs": found }));
        }
        if asked.line == "GET /out.mp4" {
            return Reply::new(200, CLIP);
        }
        let id = asked.line.rsplit('/').next().and_then(|id| id.parse::<usize>().ok());
        let Some((id, it)) = id.and_then(|id| Some((id, jobs.get_mut(id)?))) else {
            return Reply::json(404, &json!({ "problem": { "text": "no such job" } }));
        };
        if asked.line.starts_with("DELETE") {
            if it.0 > 2 {
                return Reply::json(409, &json!({ "problem": { "text": "it has ended" } }));
            }
            it.1 = true;
        }
        it.0 += 1;
        let state = match it {
            (_, true, _) => "STOPPED",
            (1, ..) => "queued",
            (2, ..) => "working",
            _ => "done",
        };
        Reply::json(200, &job(id, state, &asked.host))
    })
    .await
}

#[tokio::test]
async fn a_described_queue_keeps_the_contract_of_every_adapter() {
    let server = little_courier().await;
    let courier = provider("courier", &server.base);
    let order = contract::order(&courier, Kind::Video);
    contract::makes_the_bytes(&courier, &order, CLIP).await;
    contract::stops(&courier, &order).await;
    contract::knows_no_foreign_job(&courier).await;
    contract::finds_only_its_own(&courier, &order).await;
    contract::keeps_its_secret(&courier, &order, KEY).await;
}

#[tokio::test]
async fn a_lost_job_is_found_by_its_mark_and_by_nothing_else() {
    let server = little_courier().await;
    let courier = provider("courier", &server.base);
    let order = contract::order(&courier, Kind::Video);
    let key = SubmitKey::fresh();
    let Submitted::Pending(ticket) = courier.submit(&order, &key).await.unwrap() else { panic!("a job") };
    let Found::Candidates(jobs) = courier.find(&order, &key, Timestamp::now()).await.unwrap() else { panic!("a list") };
    assert_eq!((jobs.len(), jobs[0].exact, &jobs[0].ticket), (1, true, &ticket));
    assert_eq!(jobs[0].created_at.as_second(), 1_700_000_000);
    let Found::Candidates(jobs) = courier.find(&order, &SubmitKey::fresh(), Timestamp::now()).await.unwrap() else {
        panic!("a list")
    };
    assert!(jobs.is_empty());
    let python = provider("python", &server.base);
    assert!(matches!(python.find(&order, &key, Timestamp::now()).await.unwrap(), Found::Unsupported));
}

#[tokio::test]
async fn an_order_goes_out_as_described_with_every_field() {
    let server = little_courier().await;
    let courier = provider("courier", &server.base);
    let mut order = contract::order(&courier, Kind::Video);
    order.options.insert(OptionName::Duration, OptionValue::Int(7));
    order.options.insert(OptionName::Seed, OptionValue::Int(42));
    let file = InputFile::Bytes { media_type: "image/png".to_owned(), data: Bytes::from_static(b"abc") };
    order.inputs = vec![OrderInput { role: InputRole::FirstFrame, file }];
    let key = SubmitKey::fresh();
    courier.submit(&order, &key).await.unwrap();
    let expected = json!({
        "reference": key.id(),
        "input": { "prompt": "a fox in the snow", "duration": 7, "seed": 42, "image": "data:image/png;base64,YWJj" },
    });
    assert_eq!(server.asked()[0].json(), expected);
}

#[tokio::test]
async fn the_key_goes_where_the_description_says() {
    let check = async |auth: &str, lines: &str, authorization: Option<String>| {
        let server = little_courier().await;
        let auth: toml::Table = toml::from_str(&format!("it = {auth}")).unwrap();
        let courier = with("courier", &server.base, |table| drop(table.insert("auth".to_owned(), auth["it"].clone())));
        contract::accepted(&courier, &contract::order(&courier, Kind::Video)).await;
        let asked = &server.asked()[0];
        assert!(asked.line.ends_with(lines), "{}", asked.line);
        assert_eq!(asked.authorization, authorization);
    };
    check("{}", "/jobs", Some(format!("Bearer {KEY}"))).await;
    check("{ scheme = 'Key' }", "/jobs", Some(format!("Key {KEY}"))).await;
    check("{ header = 'Authorization', scheme = '' }", "/jobs", Some(KEY.to_owned())).await;
    check("{ header = 'X-Key' }", "/jobs", None).await;
}

#[tokio::test]
async fn a_key_in_the_query_is_with_every_call_and_in_no_ticket() {
    let server = Server::always(Reply::json(200, &job(7, "queued", "h"))).await;
    let query: toml::Table = toml::from_str("query = 'key'").unwrap();
    let courier = with("courier", &server.base, |table| drop(table.insert("auth".to_owned(), query.clone().into())));
    let ticket = contract::accepted(&courier, &contract::order(&courier, Kind::Video)).await;
    courier.poll(&ticket).await.unwrap();
    let key = "key=a+very+secret+key";
    assert_eq!(server.lines(), [format!("POST /v1/models/clips/jobs?{key}"), format!("GET /v1/jobs/7?{key}")]);
    assert!(!format!("{ticket:?}").contains("secret"));
}

#[tokio::test]
async fn a_form_carries_inputs_as_files() {
    let server = Server::always(Reply::json(200, &job(7, "queued", "h"))).await;
    let courier = with("courier", &server.base, |table| {
        let submit = table["submit"].as_table_mut().unwrap();
        submit.insert("encoding".to_owned(), "multipart".into());
        submit.remove("fields_at");
    });
    let mut order = contract::order(&courier, Kind::Video);
    order.options.insert(OptionName::Duration, OptionValue::Int(7));
    let file = InputFile::Bytes { media_type: "image/png".to_owned(), data: Bytes::from_static(b"the picture") };
    order.inputs = vec![OrderInput { role: InputRole::FirstFrame, file }];
    courier.submit(&order, &SubmitKey::fresh()).await.unwrap();
    let asked = &server.asked()[0];
    assert!(asked.content_type.starts_with("multipart/form-data"));
    let body = String::from_utf8_lossy(&asked.body);
    for part in
        ["name=\"prompt\"", "name=\"duration\"\r\n\r\n7", "name=\"image\"; filename=\"input-0.png\"", "the picture"]
    {
        assert!(body.contains(part), "{part}: {body}");
    }
}

#[tokio::test]
async fn inputs_are_passed_as_the_vendor_takes_them() {
    let sent = async |inputs: &'static str, file: fn(&Server) -> InputFile| {
        let server = Server::start(|asked: &Asked| match asked.line.as_str() {
            "GET /in.png" => Reply::new(200, PICTURE),
            "GET /gone.png" => Reply::new(404, ""),
            _ => Reply::json(200, &job(7, "queued", "h")),
        })
        .await;
        let courier = with("courier", &server.base, |table| {
            drop(table["submit"].as_table_mut().unwrap().insert("inputs".to_owned(), inputs.into()));
        });
        let order = contract::order(&courier, Kind::Video);
        let inputs = vec![OrderInput { role: InputRole::FirstFrame, file: file(&server) }];
        let submitted = courier.submit(&Order { inputs, ..order }, &SubmitKey::fresh()).await;
        submitted.map(|_| server.asked().pop().unwrap().json()["input"]["image"].clone())
    };
    let bytes = |_: &Server| InputFile::Bytes { media_type: "image/png".to_owned(), data: Bytes::from_static(b"abc") };
    assert_eq!(sent("base64", bytes).await.unwrap(), "YWJj");
    assert_eq!(sent("base64", |server| InputFile::Url(server.at("/in.png"))).await.unwrap(), STANDARD.encode(PICTURE));
    let address = |_: &Server| InputFile::Url("https://h.example/a.png".parse().unwrap());
    assert_eq!(sent("url", address).await.unwrap(), "https://h.example/a.png");
    assert_eq!(sent("data_uri", address).await.unwrap(), "https://h.example/a.png");
    let gone: fn(&Server) -> InputFile = |server| InputFile::Url(server.at("/gone.png"));
    for error in [sent("url", bytes).await.unwrap_err(), sent("base64", gone).await.unwrap_err()] {
        assert_eq!((error.kind, error.effect), (ErrorKind::InvalidOrder, Effect::None), "{error}");
        assert_eq!(error.field.as_deref(), Some("inputs"));
    }
}

#[tokio::test]
async fn progress_queue_log_and_price_are_read_where_they_stand() {
    let mut answer = job(7, "queued", "h");
    answer["job"]["ahead"] = json!("2");
    answer["job"]["usage"] = json!({ "seconds": 7.0, "dollars": "0.07" });
    let server = Server::always(Reply::json(200, &answer)).await;
    let courier = provider("courier", &server.base);
    let ticket = contract::accepted(&courier, &contract::order(&courier, Kind::Video)).await;
    let progress = courier.poll(&ticket).await.unwrap();
    assert!(matches!(progress.status, Status::Waiting));
    assert_eq!(
        (progress.phase.as_deref(), progress.percent, progress.queue_position),
        (Some("queued"), Some(50), Some(3))
    );
    assert_eq!(progress.log_tail.as_deref(), Some("one\ntwo"));
    assert_eq!((progress.usage.output_seconds, progress.usage.charged), (Some(7.0), Some(MicroUsd(70_000))));
}

#[tokio::test]
async fn the_python_back_end_gets_its_order_and_gives_the_file() {
    let server = Server::start(|asked: &Asked| match asked.line.as_str() {
        "POST /api/videos/generate" => Reply::json(
            200,
            &json!({ "success": true, "video_url": "/files/a.mp4", "video_id": "a", "duration_seconds": 5, "quality": "fast",
                     "generation_time": 31.5, "gcs_path": null }),
        ),
        _ => Reply::new(200, CLIP),
    })
    .await;
    let python = provider("python", &server.at("/"));
    let mut order = contract::order(&python, Kind::Video);
    let card = order.card.clone().unwrap();
    order.options = card
        .resolve("a fox in the snow", &order.options, &serde_json::Map::new(), &[], Default::default())
        .unwrap()
        .options;
    let Submitted::Done(outputs, usage) = python.submit(&order, &SubmitKey::fresh()).await.unwrap() else {
        panic!("the answer holds the output")
    };
    assert_eq!(
        server.asked()[0].json(),
        json!({ "prompt": "a fox in the snow", "duration_seconds": 5, "quality": "fast" })
    );
    assert_eq!(usage.output_seconds, Some(5.0));
    assert_eq!(contract::bytes(&python, &outputs[0]).await, CLIP);
}

#[tokio::test]
async fn a_synchronous_failure_is_the_jobs_and_not_the_calls() {
    let end = async |status: u16, body: Json| {
        let server = Server::always(Reply::json(status, &body)).await;
        let python = provider("python", &server.base);
        let ticket = contract::accepted(&python, &contract::order(&python, Kind::Video)).await;
        let Status::Failed(failure) = python.poll(&ticket).await.unwrap().status else { panic!("{ticket:?}") };
        assert_eq!(python.cancel(&ticket).await.unwrap(), CancelOutcome::TooLate);
        assert_eq!(server.lines().len(), 1, "the ticket says how it ended");
        (failure.reason, failure.message, failure.charged)
    };
    let (failed, unknown) = (FailureReason::ProviderJobFailed, Charged::Unknown);
    let said = json!({ "success": false, "error": "Veo is out of memory" });
    assert_eq!(end(200, said.clone()).await, (failed, "Veo is out of memory".to_owned(), unknown));
    assert_eq!(end(500, said).await, (failed, "Veo is out of memory".to_owned(), unknown));
    let nothing = end(200, json!({ "success": true, "video_url": null })).await;
    assert_eq!((nothing.0, nothing.2), (FailureReason::NoDownloadableOutput, unknown));
}

#[tokio::test]
async fn a_500_without_the_vendors_own_words_may_have_begun_work() {
    for reply in
        [Reply::new(500, "<html>"), Reply::json(500, &json!({})), Reply::json(503, &json!({ "error": "busy" }))]
    {
        let server = Server::always(reply).await;
        let python = provider("python", &server.base);
        let order = contract::order(&python, Kind::Video);
        let error = python.submit(&order, &SubmitKey::fresh()).await.unwrap_err();
        assert_eq!(error.verdict(), Verdict::AskFirst, "{error}");
    }
}

#[tokio::test]
async fn a_file_as_the_whole_answer_and_files_in_base64_are_taken() {
    let change = |outputs: &str| {
        let outputs: toml::Table = toml::from_str(outputs).unwrap();
        move |table: &mut toml::Table| {
            table.remove("status");
            drop(table.insert("outputs".to_owned(), outputs.clone().into()));
        }
    };
    let outputs = async |reply: Reply, outputs: &str| {
        let server = Server::always(reply).await;
        let python = with("python", &server.base, change(outputs));
        let order = contract::order(&python, Kind::Video);
        let Submitted::Done(outputs, _) = python.submit(&order, &SubmitKey::fresh()).await.unwrap() else {
            panic!("done")
        };
        let mut all = Vec::new();
        for output in &outputs {
            all.push(contract::bytes(&python, output).await);
        }
        all
    };
    assert_eq!(outputs(Reply::new(200, CLIP), "as = 'body'").await, [CLIP]);
    let two = json!({ "data": [{ "b64": "YWJj" }, { "b64": "data:image/png;base64,ZGVm" }, { "b64": null }] });
    assert_eq!(outputs(Reply::json(200, &two), "at = '/data/*/b64'\nas = 'base64'").await, [b"abc", b"def"]);
}

#[tokio::test]
async fn a_result_may_be_a_call_of_its_own_and_an_output_a_path() {
    let server = Server::start(|asked: &Asked| match asked.line.as_str() {
        "GET /v1/jobs/a%2Fb" => Reply::json(200, &json!({ "job": { "state": "done" } })),
        "GET /v1/jobs/a%2Fb/result" => {
            Reply::json(200, &json!({ "job": { "files": [{ "url": "/out.mp4" }], "usage": { "seconds": 3 } } }))
        }
        "GET /v1/jobs/a%2Fb/content" => Reply::new(200, CLIP),
        _ => Reply::new(404, ""),
    })
    .await;
    let ticket = Ticket { account: "a".to_owned(), job: "a/b".to_owned(), data: json!({ "model": "clips" }) };
    let result: toml::Table = toml::from_str("path = '/jobs/{job}/result'").unwrap();
    let courier = with("courier", &server.base, |table| drop(table.insert("result".to_owned(), result.clone().into())));
    let progress = courier.poll(&ticket).await.unwrap();
    assert!(matches!(&progress.status, Status::Done(outputs) if outputs.len() == 1), "{progress:?}");
    assert_eq!(progress.usage.output_seconds, Some(3.0));

    let content: toml::Table = toml::from_str("path = '/jobs/{job}/content'").unwrap();
    let courier =
        with("courier", &server.base, |table| drop(table.insert("outputs".to_owned(), content.clone().into())));
    let Status::Done(outputs) = courier.poll(&ticket).await.unwrap().status else { panic!("done") };
    assert_eq!(contract::bytes(&courier, &outputs[0]).await, CLIP);
    let dots = Ticket { job: "..".to_owned(), ..ticket };
    assert_eq!(courier.poll(&dots).await.unwrap_err().kind, ErrorKind::Protocol);
}

#[tokio::test]
async fn every_field_of_every_documented_card_arrives() {
    for (name, least) in [("courier", 3), ("python", 2)] {
        let answer = |_: &Asked| Reply::json(200, &job(7, "queued", "h"));
        let n_fields = all_arrive(|base| provider(name, base), answer).await;
        assert!(n_fields >= least, "{name}: {n_fields}");
    }
}
