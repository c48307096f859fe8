use std::sync::Mutex;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{JOB, SECRET, midjourney, order, ticket};
use crate::{
    domain::{
        names::SubmitKey,
        order::{InputRole, OptionName, OptionValue, Options},
    },
    provider::{
        contract,
        error::{Effect, ErrorKind},
        port::{CancelOutcome, Found, InputFile, Order, OrderInput, Provider, Submitted},
        tests::server::{Asked, Reply, Server},
    },
};

const STILL: &[u8] = b"the bytes of a still";

fn taken(id: &str) -> Reply {
    Reply::json(200, &json!({ "code": 1, "description": "ok", "result": id, "properties": {} }))
}

/// The proxy in small: a task starts, works, and is done at the third question; an administrator asks.
async fn little_proxy() -> Server {
    let tasks: Mutex<Vec<(usize, bool)>> = Mutex::default();
    Server::start(move |asked: &Asked| {
        let mut tasks = tasks.lock().unwrap();
        match asked.line.as_str() {
            "POST /v1/submit/imagine" => {
                tasks.push((0, false));
                return taken(&(tasks.len() - 1).to_string());
            }
            "GET /out.png" => return Reply::new(200, STILL),
            "GET /v1/task/list" => return Reply::json(200, &json!([])),
            _ => {}
        }
        let (_, rest) = asked.line.split_once("/task/").unwrap_or_default();
        let (id, what) = rest.split_once('/').unwrap_or_default();
        let Some(task) = id.parse::<usize>().ok().and_then(|id| tasks.get_mut(id)) else { return Reply::new(204, "") };
        if what == "cancel" {
            task.1 = true;
            return Reply::new(200, "");
        }
        task.0 += 1;
        let link = format!("http://{}/out.png", asked.host);
        let (status, progress, reason) = match task {
            (_, true) => ("FAILURE", "", json!("用户取消任务")),
            (1, _) => ("NOT_START", "0%", Value::Null),
            (2, _) => ("IN_PROGRESS", "50%", Value::Null),
            _ => ("SUCCESS", "100%", Value::Null),
        };
        let page = json!({ "id": id, "status": status, "progress": progress, "failReason": reason, "imageUrl": link });
        Reply::json(200, &page)
    })
    .await
}

#[tokio::test]
async fn it_keeps_the_contract_of_every_adapter() {
    let server = little_proxy().await;
    let midjourney = midjourney(&server.base);
    let order = order(&midjourney, "imagine-grid");
    contract::makes_the_bytes(&midjourney, &order, STILL).await;
    contract::stops(&midjourney, &order).await;
    contract::knows_no_foreign_job(&midjourney).await;
    contract::finds_only_its_own(&midjourney, &order).await;
    contract::keeps_its_secret(&midjourney, &order, SECRET).await;
}

#[tokio::test]
async fn options_become_flags_and_inputs_lead_or_travel_along() {
    let server = Server::always(taken(JOB)).await;
    let midjourney = midjourney(&server.base);
    let mut order = order(&midjourney, "imagine");
    order.options = Options::from([
        (OptionName::AspectRatio, OptionValue::Text("16:9".to_owned())),
        (OptionName::Seed, OptionValue::Int(7)),
        (OptionName::NegativePrompt, OptionValue::Text("cars, rain".to_owned())),
        (OptionName::Samples, OptionValue::Int(2)),
    ]);
    order.provider_options =
        serde_json::from_value(json!({ "tile": true, "chaos": 20, "botType": "MID_JOURNEY" })).unwrap();
    let bytes = InputFile::Bytes { media_type: "image/png".to_owned(), data: Bytes::from_static(b"abc") };
    let link = InputFile::Url("https://h.example/b.png".parse().unwrap());
    order.inputs = [bytes, link].map(|file| OrderInput { role: InputRole::Reference, file }).to_vec();
    let accepted = contract::accepted(&midjourney, &order).await;
    assert_eq!(accepted.data["n_pictures"], 2);
    let sent = server.asked()[0].json();
    let expected = json!({
        "prompt": "https://h.example/b.png a fox in the snow --ar 16:9 --seed 7 --no cars, rain --chaos 20 --tile",
        "base64Array": ["data:image/png;base64,YWJj"], "botType": "MID_JOURNEY", "state": accepted.data["mark"],
    });
    assert_eq!(sent, expected);
    assert!(sent["state"].as_str().unwrap().ends_with("-2"));
}

#[tokio::test]
async fn what_would_be_read_otherwise_is_refused_before_anything_is_sent() {
    let server = Server::always(taken(JOB)).await;
    let midjourney = midjourney(&server.base);
    let check = async |order: Order, field: &str| {
        let error = midjourney.submit(&order, &SubmitKey::fresh()).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (ErrorKind::InvalidOrder, Effect::None), "{field}");
        assert_eq!(error.field.as_deref(), Some(field), "{}", error.summary);
    };
    let with = |prompt: &str, name: OptionName, value: &str| {
        let options = Options::from([(name, OptionValue::Text(value.to_owned()))]);
        Order { prompt: prompt.to_owned(), options, ..order(&midjourney, "imagine") }
    };
    check(with("a fox --aspect 1:1", OptionName::AspectRatio, "16:9"), "prompt").await;
    check(with("a fox —ar 1:1", OptionName::AspectRatio, "16:9"), "prompt").await;
    check(with("a fox --video", OptionName::Style, "raw"), "prompt").await;
    check(with("a fox", OptionName::NegativePrompt, "cars --v 5"), "options.negative_prompt").await;
    let own = serde_json::from_value(json!({ "state": "mine" })).unwrap();
    check(Order { provider_options: own, ..order(&midjourney, "imagine") }, "options.provider_options.state").await;
    check(order(&midjourney, "upscale"), "options.provider_options.taskId").await;
    let own = serde_json::from_value(json!({ "taskId": "1", "index": 5 })).unwrap();
    check(Order { provider_options: own, ..order(&midjourney, "vary") }, "options.provider_options.index").await;
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn an_earlier_task_is_followed_by_its_button_or_by_name() {
    let check = async |buttons: Value, path: &str, expected: Value| {
        let parent = json!({ "id": "77", "status": "SUCCESS", "buttons": buttons });
        let server = Server::start(move |asked| match asked.line.starts_with("GET") {
            true => Reply::json(200, &parent),
            false => taken(JOB),
        })
        .await;
        let midjourney = midjourney(&server.base);
        let options = serde_json::from_value(json!({ "taskId": "77", "index": 2 })).unwrap();
        let order = Order { provider_options: options, ..order(&midjourney, "upscale") };
        let Submitted::Pending(accepted) = midjourney.submit(&order, &SubmitKey::fresh()).await.unwrap() else {
            panic!()
        };
        assert_eq!(server.lines(), ["GET /v1/task/77/fetch".to_owned(), format!("POST /v1/submit/{path}")]);
        let mut sent = server.asked()[1].json();
        assert_eq!(sent.as_object_mut().unwrap().remove("state").unwrap(), accepted.data["mark"]);
        assert_eq!(sent, expected);
    };
    let button = json!([{ "customId": "MJ::JOB::upsample::1::u" }, { "customId": "MJ::JOB::upsample::2::u" }]);
    check(button, "action", json!({ "taskId": "77", "customId": "MJ::JOB::upsample::2::u" })).await;
    check(Value::Null, "change", json!({ "taskId": "77", "action": "UPSCALE", "index": 2 })).await;
}

#[tokio::test]
async fn a_place_in_the_queue_is_told_until_the_task_starts() {
    let server = Server::start(|asked| match asked.line.starts_with("POST") {
        true => Reply::json(200, &json!({ "code": 22, "result": 5, "properties": { "numberOfQueues": "4" } })),
        false => Reply::json(200, &json!({ "id": 5, "status": "NOT_START", "progress": null })),
    })
    .await;
    let midjourney = midjourney(&server.base);
    let accepted = contract::accepted(&midjourney, &order(&midjourney, "imagine")).await;
    assert_eq!(accepted.job, "5");
    assert_eq!(midjourney.poll(&accepted).await.unwrap().queue_position, Some(4));
}

#[tokio::test]
async fn a_lost_task_is_found_by_its_mark_only() {
    let server = Server::start(|asked| match asked.line.as_str() {
        "GET /v1/task/list" => Reply::json(
            200,
            &json!([
                { "id": "1", "state": "filmgate-other-4", "status": "SUCCESS", "submitTime": 1_788_500_000_000_i64 },
                { "id": "2", "state": null, "status": "SUCCESS" },
            ]),
        ),
        _ => Reply::new(500, ""),
    })
    .await;
    let midjourney = midjourney(&server.base);
    let order = order(&midjourney, "imagine");
    let error = midjourney.submit(&order, &SubmitKey::fresh()).await.unwrap_err();
    assert_eq!(error.effect, Effect::Maybe);
    let Found::Candidates(jobs) = midjourney.find(&order, &SubmitKey::fresh(), Timestamp::now()).await.unwrap() else {
        panic!()
    };
    assert!(jobs.is_empty());
}

#[tokio::test]
async fn who_may_not_stop_a_task_is_told_so() {
    for status in [400, 401, 403, 404, 405] {
        let server = Server::start(move |asked| match asked.line.ends_with("/fetch") {
            true => Reply::json(200, &json!({ "id": JOB, "status": "IN_PROGRESS" })),
            false => Reply::new(status, "演示模式，禁止操作"),
        })
        .await;
        assert_eq!(midjourney(&server.base).cancel(&ticket()).await.unwrap(), CancelOutcome::Unsupported, "{status}");
    }
}
