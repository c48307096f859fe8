use std::sync::Mutex;

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{super::mark_of, FILM, JOB, KEY, PICTURE, ark, fixture, ticket};
use crate::{
    domain::{
        artifact::Kind,
        failure::Charged,
        names::{GenerationId, SubmitKey},
        order::{InputRole, OptionName, OptionValue, Options},
    },
    provider::{
        ark::{ARK, Ark},
        contract,
        error::{Effect, ErrorKind},
        id_of,
        port::{CancelOutcome, Found, InputFile, Order, OrderInput, Provider, Submitted},
        tests::server::{Asked, Reply, Server},
        webhook::{Address, Delivery, HookError},
    },
};

const CLIP: &[u8] = b"the bytes of a clip";

fn order(ark: &Ark, model: &str) -> Order {
    let card = ark.models().iter().find(|card| card.name == model).cloned().unwrap();
    let kind = card.kind;
    Order { model: model.to_owned(), kind, card: Some(card), ..contract::order(ark, kind) }
}

/// Ark in small: a task waits, works, and is done at the third question; its film lies beside the API.
async fn little_ark() -> Server {
    let tasks: Mutex<Vec<(usize, bool)>> = Mutex::default();
    Server::start(move |asked: &Asked| {
        let mut tasks = tasks.lock().unwrap();
        if asked.line == "POST /v1/contents/generations/tasks" {
            tasks.push((0, false));
            return Reply::json(200, &json!({ "id": format!("cgt-{}", tasks.len() - 1) }));
        }
        if asked.line == "GET /out.mp4" {
            return Reply::new(200, CLIP);
        }
        if asked.line.starts_with("GET /v1/contents/generations/tasks?") {
            return Reply::json(200, &json!({ "total": 0, "items": [] }));
        }
        let (_, id) = asked.line.split_once("/tasks/cgt-").unwrap_or_default();
        let Some(task) = id.parse::<usize>().ok().and_then(|id| tasks.get_mut(id)) else {
            return Reply::json(404, &json!({ "error": { "code": "NotFound.TaskId", "message": "no such task" } }));
        };
        if asked.line.starts_with("DELETE") {
            task.1 = true;
            return Reply::json(200, &json!({}));
        }
        task.0 += 1;
        let page =
            |status: &str, content: Value| json!({ "id": format!("cgt-{id}"), "status": status, "content": content });
        let link = format!("http://{}/out.mp4", asked.host);
        Reply::json(
            200,
            &match task {
                (_, true) => page("cancelled", Value::Null),
                (1, _) => page("queued", Value::Null),
                (2, _) => page("running", json!({})),
                _ => page("succeeded", json!({ "video_url": link })),
            },
        )
    })
    .await
}

#[tokio::test]
async fn it_keeps_the_contract_of_every_adapter() {
    let server = little_ark().await;
    let ark = ark(&server.base);
    let order = order(&ark, FILM);
    contract::makes_the_bytes(&ark, &order, CLIP).await;
    contract::stops(&ark, &order).await;
    contract::knows_no_foreign_job(&ark).await;
    contract::finds_only_its_own(&ark, &order).await;
    contract::keeps_its_secret(&ark, &order, KEY).await;
}

#[tokio::test]
async fn a_film_is_ordered_with_what_it_starts_from_in_its_place() {
    let server = Server::always(Reply::json(200, &json!({ "id": JOB }))).await;
    let ark = ark(&server.base);
    let mut order = order(&ark, FILM);
    let bytes = InputFile::Bytes { media_type: "image/PNG".to_owned(), data: Bytes::from_static(b"abc") };
    let link = InputFile::Url("https://h.example/b.png?sig=1".parse().unwrap());
    order.inputs = vec![
        OrderInput { role: InputRole::FirstFrame, file: bytes },
        OrderInput { role: InputRole::LastFrame, file: link },
    ];
    order.options = Options::from([
        (OptionName::Duration, OptionValue::Int(7)),
        (OptionName::Audio, OptionValue::Bool(true)),
        (OptionName::Camera, OptionValue::Text("fixed".to_owned())),
    ]);
    let key = SubmitKey::fresh();
    let public = "https://film.example".parse().unwrap();
    order.webhook = Some(Address::of(&public, &id_of(ARK).unwrap(), GenerationId::fresh(), key));
    let Submitted::Pending(accepted) = ark.submit(&order, &key).await.unwrap() else { panic!("no task") };
    assert_eq!((accepted.job.as_str(), accepted.account.len()), (JOB, 16));
    let asked = &server.asked()[0];
    assert_eq!(asked.authorization.as_deref(), Some(format!("Bearer {KEY}").as_str()));
    let expected = json!({
        "model": FILM,
        "content": [
            { "type": "text", "text": "a fox in the snow" },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,YWJj" }, "role": "first_frame" },
            { "type": "image_url", "image_url": { "url": "https://h.example/b.png?sig=1" }, "role": "last_frame" },
        ],
        "duration": 7, "generate_audio": true, "camera_fixed": true, "safety_identifier": mark_of(key),
        "callback_url": order.webhook.unwrap().url(),
    });
    assert_eq!(asked.json(), expected);
    assert!(!mark_of(key).contains(&key.id()));
}

#[tokio::test]
async fn a_variant_is_ordered_by_the_name_of_its_model_and_an_endpoint_by_its_own() {
    let server = Server::always(Reply::json(200, &json!({ "id": JOB }))).await;
    let ark = ark(&server.base);
    contract::accepted(&ark, &order(&ark, "doubao-seedance-1-5-pro-251215-flex")).await;
    let own = Order { model: "ep-20260101000000-abcde".to_owned(), card: None, ..order(&ark, FILM) };
    contract::accepted(&ark, &own).await;
    let [flex, own] = [0, 1].map(|index| server.asked()[index].json());
    assert_eq!((&flex["model"], &flex["service_tier"]), (&json!(FILM), &json!("flex")));
    assert_eq!(own["model"], "ep-20260101000000-abcde");
    assert_eq!(own["content"], json!([{ "type": "text", "text": "a fox in the snow" }]));
}

#[tokio::test]
async fn elsewhere_the_same_models_have_other_names() {
    let base = "https://ark.ap-southeast.bytepluses.com/api/v3".parse().unwrap();
    let ark = ark(&base);
    assert_eq!(ark.model_of(&order(&ark, FILM)), "seedance-1-5-pro-251215");
    assert_eq!(ark.model_of(&order(&ark, "doubao-seedance-2-0-260128")), "dreamina-seedance-2-0-260128");
}

#[tokio::test]
async fn pictures_come_with_the_answer() {
    let server = Server::always(Reply::new(200, fixture("pictures"))).await;
    let ark = ark(&server.base);
    let mut order = order(&ark, PICTURE);
    let file = InputFile::Bytes { media_type: "image/png".to_owned(), data: Bytes::from_static(b"abc") };
    order.inputs = vec![OrderInput { role: InputRole::Source, file }];
    let submit = async |order: &Order| {
        let Submitted::Done(outputs, usage) = ark.submit(order, &SubmitKey::fresh()).await.unwrap() else { panic!() };
        assert_eq!((outputs.len(), usage.outputs), (2, Some(2)));
    };
    order.options.insert(OptionName::Samples, OptionValue::Int(3));
    submit(&order).await;
    order.options = Options::from([(OptionName::Samples, OptionValue::Int(1))]);
    submit(&order).await;
    let [series, one] = [0, 1].map(|index| server.asked()[index].json());
    assert_eq!(server.lines()[0], "POST /v1/images/generations");
    assert_eq!(
        series,
        json!({
            "model": PICTURE, "prompt": "a fox in the snow", "image": ["data:image/png;base64,YWJj"], "watermark": false,
            "sequential_image_generation": "auto", "sequential_image_generation_options": { "max_images": 3 },
        })
    );
    assert_eq!(
        (&one["sequential_image_generation"], &one["sequential_image_generation_options"]),
        (&json!("disabled"), &Value::Null)
    );
    let found = ark.find(&order, &SubmitKey::fresh(), Timestamp::now()).await.unwrap();
    assert!(matches!(found, Found::Unsupported), "pictures are listed nowhere");
}

#[tokio::test]
async fn flags_in_the_words_are_refused_where_a_model_would_obey_them() {
    let server = Server::always(Reply::json(200, &json!({ "id": JOB }))).await;
    let ark = ark(&server.base);
    let with = |model| Order { prompt: "a fox --dur 12".to_owned(), ..order(&ark, model) };
    let error = ark.submit(&with(FILM), &SubmitKey::fresh()).await.unwrap_err();
    assert_eq!(
        (error.kind, error.effect, error.field.as_deref()),
        (ErrorKind::InvalidOrder, Effect::None, Some("prompt"))
    );
    assert!(server.asked().is_empty());
    contract::accepted(&ark, &with("doubao-seedance-2-0-260128")).await;
}

#[tokio::test]
async fn a_lost_task_is_found_by_its_mark_and_another_orders_task_is_not_ours() {
    let key = SubmitKey::fresh();
    let now = Timestamp::now();
    let at = now.as_second();
    let task = |id: &str, mark: Value, at: i64| json!({ "id": id, "model": FILM, "status": "running", "created_at": at, "safety_identifier": mark });
    let page = json!({ "total": 4.0, "items": [
        task("cgt-theirs", json!("somebody"), at), task("cgt-ours", json!(mark_of(key)), at), task("cgt-plain", Value::Null, at),
        task("cgt-old", Value::Null, at - 30),
    ]});
    let server = Server::always(Reply::json(200, &page)).await;
    let ark = ark(&server.base);
    let Found::Candidates(jobs) = ark.find(&order(&ark, FILM), &key, now).await.unwrap() else { panic!() };
    let found: Vec<_> = jobs.iter().map(|job| (job.ticket.job.as_str(), job.exact)).collect();
    assert_eq!(found, [("cgt-ours", true), ("cgt-plain", false)]);
    assert_eq!(
        server.lines(),
        [format!("GET /v1/contents/generations/tasks?page_num=1&page_size=100&filter.model={FILM}")]
    );
}

#[tokio::test]
async fn only_a_task_that_waits_is_ever_deleted() {
    let check = async |status: &'static str, delete: u16, expected: CancelOutcome, n_calls: usize| {
        let server = Server::start(move |asked| match asked.line.starts_with("DELETE") {
            true => Reply::json(delete, &json!({})),
            false => Reply::json(200, &json!({ "id": JOB, "status": status })),
        })
        .await;
        assert_eq!(ark(&server.base).cancel(&ticket()).await.unwrap(), expected, "{status} {delete}");
        assert_eq!(server.asked().len(), n_calls, "{status}");
    };
    check("queued", 200, CancelOutcome::Stopped(Charged::No), 2).await;
    check("queued", 403, CancelOutcome::Unsupported, 2).await;
    check("running", 200, CancelOutcome::Unsupported, 1).await;
    for over in ["succeeded", "failed", "expired", "cancelled"] {
        check(over, 200, CancelOutcome::TooLate, 1).await;
    }
}

#[tokio::test]
async fn a_call_is_a_reason_to_ask_and_brings_no_ticket() {
    let ark = ark(&"http://127.0.0.1:9/v1".parse().unwrap());
    let delivery = |body: Vec<u8>| Delivery {
        key: SubmitKey::fresh(),
        kind: Kind::Video,
        model: String::new(),
        headers: HeaderMap::new(),
        body: body.into(),
        received_at: Timestamp::now(),
    };
    let heard = ark.hear(&delivery(fixture("succeeded"))).await.unwrap();
    assert_eq!((heard.id.len(), &heard.ticket), (64, &None));
    assert_eq!(heard, ark.hear(&delivery(fixture("succeeded"))).await.unwrap());
    for odd in [&b"[]"[..], b"{}", b"<html>"] {
        assert_eq!(ark.hear(&delivery(odd.to_vec())).await.unwrap_err(), HookError::Forged);
    }
}
