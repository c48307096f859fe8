use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

use super::{
    APP, JOB, KEY, fal, fixture, order,
    server::{Asked, Reply, Server},
    settings, ticket,
};
use crate::{
    domain::{
        artifact::Kind,
        failure::Charged,
        names::{GenerationId, SubmitKey},
        order::InputRole,
    },
    provider::{
        contract,
        error::{Effect, ErrorKind},
        fal::Fal,
        port::{CancelOutcome, Found, InputFile, Order, OrderInput, Provider},
        webhook::Address,
    },
};

const CLIP: &[u8] = b"the bytes of a clip";
const MODEL: &str = "fal-ai/kling-video/v1.6/pro";

/// fal in small: a job waits, works, and is done at the third question; its file lies beside the queue.
async fn little_fal() -> Server {
    let jobs: Mutex<Vec<(usize, bool)>> = Mutex::default();
    Server::start(move |asked: &Asked| {
        let mut jobs = jobs.lock().unwrap();
        if asked.line.starts_with("POST /v1/fal-ai/kling-video/v1.6/pro/text-to-video") {
            jobs.push((0, false));
            return Reply::json(200, &json!({ "request_id": format!("job{}", jobs.len() - 1), "status": "IN_QUEUE" }));
        }
        if asked.line.starts_with("GET /v1/models/requests/by-endpoint") {
            return Reply::json(200, &json!({ "items": [], "next_cursor": null, "has_more": false }));
        }
        if asked.line == "GET /out.mp4" {
            return Reply::new(200, CLIP);
        }
        let (_, job) = asked.line.split_once("/v1/fal-ai/kling-video/requests/job").unwrap_or_default();
        let (id, rest) = job.split_once('/').unwrap_or((job, ""));
        let Some(job) = id.parse::<usize>().ok().and_then(|id| jobs.get_mut(id)) else {
            return Reply::json(404, &json!({ "status": "NOT_FOUND" }));
        };
        match (rest, &mut *job) {
            ("cancel", (3.., _) | (_, true)) => Reply::json(400, &json!({ "status": "ALREADY_COMPLETED" })),
            ("cancel", job) => {
                job.1 = true;
                Reply::json(202, &json!({ "status": "CANCELLATION_REQUESTED" }))
            }
            ("", (_, true)) => Reply::json(499, &json!({ "detail": "stopped", "error_type": "client_cancelled" })),
            ("", _) => Reply::json(200, &json!({ "video": { "url": format!("http://{}/out.mp4", asked.host) } })),
            (_, (_, true)) => Reply::json(200, &json!({ "status": "COMPLETED", "error_type": "client_cancelled" })),
            (_, job) => {
                job.0 += 1;
                let words = ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"];
                Reply::json(200, &json!({ "status": words[(job.0 - 1).min(2)], "queue_position": 1 }))
            }
        }
    })
    .await
}

#[tokio::test]
async fn it_keeps_the_contract_of_every_adapter() {
    let server = little_fal().await;
    let fal = fal(&server.base);
    let order = contract::order(&fal, Kind::Video);
    contract::makes_the_bytes(&fal, &order, CLIP).await;
    contract::stops(&fal, &order).await;
    contract::knows_no_foreign_job(&fal).await;
    contract::finds_only_its_own(&fal, &order).await;
    contract::keeps_its_secret(&fal, &order, KEY).await;
    let (key, with_key): (_, Vec<Asked>) = (format!("Key {KEY}"), server.asked());
    for asked in with_key {
        let expected = (asked.line != "GET /out.mp4").then_some(key.as_str());
        assert_eq!(asked.authorization.as_deref(), expected, "{}", asked.line);
    }
}

#[tokio::test]
async fn the_app_is_read_from_the_answer_if_that_speaks_of_our_host() {
    let check = async |answer: fn(&str) -> Value, expected: &str| {
        let server = Server::start(move |asked: &Asked| Reply::json(202, &answer(&asked.host))).await;
        let fal = fal(&server.base);
        let accepted = contract::accepted(&fal, &order(&fal, MODEL)).await;
        assert_eq!((accepted.job.as_str(), accepted.data["app"].as_str()), (JOB, Some(expected)));
    };
    check(|_| json!({ "request_id": JOB }), APP).await;
    check(|host| json!({ "request_id": JOB, "status_url": at(host, "fal-ai/other") }), "fal-ai/other").await;
    check(|host| json!({ "status_url": at(host, APP) }), APP).await;
    check(|_| json!({ "request_id": JOB, "status_url": at("evil.example", "a/b") }), APP).await;
    check(|host| json!({ "request_id": JOB, "status_url": at(host, "a/../../b") }), APP).await;
    check(|host| json!({ "request_id": JOB, "status_url": at(host, "a/b").replace(JOB, "other") }), APP).await;
}

fn at(host: &str, app: &str) -> String {
    format!("http://{host}/v1/{app}/requests/{JOB}/status")
}

#[tokio::test]
async fn a_recorded_submit_names_its_job() {
    for name in ["submitted", "submitted_sparse"] {
        let server = Server::always(Reply::json(200, &fixture(name))).await;
        let fal = fal(&server.base);
        assert_eq!(contract::accepted(&fal, &order(&fal, MODEL)).await.job, JOB, "{name}");
    }
    let server = Server::always(Reply::json(200, &fixture("submitted_without_id"))).await;
    let fal = fal(&server.base);
    let error = fal.submit(&order(&fal, MODEL), &SubmitKey::fresh()).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::NoJobId, Effect::Maybe));
}

#[tokio::test]
async fn an_order_carries_its_mark_and_its_webhook() {
    let server = Server::always(Reply::json(200, &fixture("submitted"))).await;
    let (fal, key) = (fal(&server.base), SubmitKey::fresh());
    let webhook = |public: &str| Address::of(&public.parse().unwrap(), &fal.id, GenerationId::fresh(), key);
    let with = webhook("https://film.example");
    let told = Order { webhook: Some(with.clone()), ..order(&fal, MODEL) };
    fal.submit(&told, &key).await.unwrap();
    let asked = server.asked();
    let url = Url::parse(&format!("http://x{}", asked[0].line.split_once(' ').unwrap().1)).unwrap();
    let hooks: Vec<_> = url.query_pairs().collect();
    assert_eq!(hooks, [("fal_webhook".into(), with.url().as_str().into())]);
    assert_eq!(asked[0].json()["prompt"], "a fox in the snow");
}

#[tokio::test]
async fn the_real_fal_is_asked_to_call_https_only() {
    let hook = |base: &str, public: &str| {
        let fal = fal(&base.parse().unwrap());
        let webhook = Address::of(&public.parse().unwrap(), &fal.id, GenerationId::fresh(), SubmitKey::fresh());
        fal.webhook_of(&Order { webhook: Some(webhook), ..order(&fal, MODEL) }).is_some()
    };
    assert!(hook("https://queue.fal.run", "https://film.example"));
    assert!(!hook("https://queue.fal.run", "http://film.example"));
    assert!(hook("http://127.0.0.1:1", "http://film.example"));
}

#[tokio::test]
async fn the_key_goes_to_the_real_sisters_of_the_real_queue_only() {
    let sisters = |base: &str, rest: Option<&str>| {
        let mut settings = settings(&base.parse().unwrap());
        settings.rest_url = rest.map(|url| url.parse().unwrap());
        let fal = Fal::new(settings).unwrap();
        (fal.rest.to_string(), fal.api.to_string())
    };
    let pair = |rest: &str, api: &str| (rest.to_owned(), api.to_owned());
    assert_eq!(sisters("https://queue.fal.run", None), pair("https://rest.fal.ai/", "https://api.fal.ai/v1"));
    assert_eq!(sisters("http://127.0.0.1:5/fal", None), pair("http://127.0.0.1:5/fal", "http://127.0.0.1:5/fal"));
    let own = sisters("http://127.0.0.1:5/fal", Some("http://127.0.0.1:6/"));
    assert_eq!(own, pair("http://127.0.0.1:6/", "http://127.0.0.1:5/fal"));
}

#[tokio::test]
async fn small_files_travel_within_the_order_and_large_ones_through_the_storage() {
    let server = Server::start(|asked: &Asked| {
        if asked.line.starts_with("POST /v1/storage/upload/initiate?storage_type=fal-cdn-v3") {
            let upload = format!("http://{}/put/1?signature=s", asked.host);
            return Reply::json(
                200,
                &json!({ "upload_url": upload, "file_url": "https://v3.fal.media/files/x/input.png" }),
            );
        }
        if asked.line.starts_with("PUT /put/1") { Reply::new(200, "") } else { Reply::json(200, &fixture("submitted")) }
    })
    .await;
    let fal = fal(&server.base);
    let bytes =
        |n_bytes: usize| InputFile::Bytes { media_type: "image/png".to_owned(), data: Bytes::from(vec![7; n_bytes]) };
    let input = |role, file| OrderInput { role, file };
    let inputs = vec![input(InputRole::FirstFrame, bytes(3)), input(InputRole::LastFrame, bytes(300_000))];
    fal.submit(&Order { inputs, ..order(&fal, MODEL) }, &SubmitKey::fresh()).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].json(), json!({ "file_name": "input.png", "content_type": "image/png" }));
    let put = &asked[1];
    assert_eq!((put.body.len(), put.content_type.as_str(), &put.authorization), (300_000, "image/png", &None));
    let body = asked[2].json();
    assert_eq!(body["image_url"], "data:image/png;base64,BwcH");
    assert_eq!(body["tail_image_url"], "https://v3.fal.media/files/x/input.png");
}

#[tokio::test]
async fn a_failed_upload_buys_nothing_and_names_the_inputs() {
    let inputs = || {
        let data = Bytes::from(vec![7; 300_000]);
        let file = InputFile::Bytes { media_type: "image/png".to_owned(), data };
        vec![OrderInput { role: InputRole::FirstFrame, file }]
    };
    let check = async |answer: fn(&Asked) -> Reply, kind: ErrorKind| {
        let server = Server::start(answer).await;
        let fal = fal(&server.base);
        let order = Order { inputs: inputs(), ..order(&fal, MODEL) };
        let error = fal.submit(&order, &SubmitKey::fresh()).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (kind, Effect::None), "{}", error.summary);
        assert!(!server.lines().iter().any(|line| line.contains("kling")));
    };
    check(|_| Reply::new(500, "<html>"), ErrorKind::Overloaded).await;
    check(|_| Reply::json(413, &json!({ "detail": "too large" })), ErrorKind::InvalidOrder).await;
    // An address of somebody's own network is never asked.
    let inward =
        |_: &Asked| Reply::json(200, &json!({ "upload_url": "http://10.0.0.1/x", "file_url": "https://f.example/x" }));
    check(inward, ErrorKind::Protocol).await;
    let refused = |asked: &Asked| match asked.line.starts_with("PUT") {
        true => Reply::new(403, "expired"),
        false => Reply::json(
            200,
            &json!({ "upload_url": format!("http://{}/put", asked.host), "file_url": "https://f.example/x" }),
        ),
    };
    check(refused, ErrorKind::Unauthenticated).await;
}

#[tokio::test]
async fn a_cancel_tells_what_it_did() {
    let check = async |status: u16, body: Value, expected: Result<CancelOutcome, ErrorKind>| {
        let server = Server::always(Reply::json(status, &body)).await;
        let outcome = fal(&server.base).cancel(&ticket(JOB)).await.map_err(|error| error.kind);
        assert_eq!(outcome, expected, "{status} {body}");
        assert_eq!(server.lines(), [format!("PUT /v1/{APP}/requests/{JOB}/cancel")]);
    };
    check(200, json!({ "status": "OK" }), Ok(CancelOutcome::Stopped(Charged::No))).await;
    check(202, json!({ "status": "CANCELLATION_REQUESTED" }), Ok(CancelOutcome::Requested)).await;
    check(200, json!({ "success": true }), Ok(CancelOutcome::Requested)).await;
    check(200, json!(null), Ok(CancelOutcome::Requested)).await;
    check(400, json!({ "status": "ALREADY_COMPLETED" }), Ok(CancelOutcome::TooLate)).await;
    check(404, json!({ "status": "NOT_FOUND" }), Err(ErrorKind::TicketUnknown)).await;
    check(401, json!({ "detail": "No user found" }), Err(ErrorKind::Unauthenticated)).await;
    check(502, json!("<html>"), Err(ErrorKind::Overloaded)).await;
}

#[tokio::test]
async fn a_lost_order_is_looked_for_by_endpoint_time_and_body() {
    let (key, sent_at) = (SubmitKey::fresh(), Timestamp::now());
    let n_asked = AtomicUsize::new(0);
    let server = Server::start(move |_: &Asked| {
        let body = json!({
            "prompt": "a fox in the snow", "duration": "5", "cfg_scale": 0.5, "image_url": "data:image/png;base64,AAAA",
            "negative_prompt": "blur, distort, and low quality", "aspect_ratio": "16:9",
        });
        let item = |id: &str, body: &Value, at: Timestamp, tags: Value| {
            json!({ "request_id": id, "sent_at": at.to_string(), "json_input": body, "tags": tags, "duration": null })
        };
        let (now, before) = (sent_at, sent_at - jiff::SignedDuration::from_secs(60));
        let mut other = body.clone();
        other["prompt"] = json!("another");
        if n_asked.fetch_add(1, Ordering::Relaxed) == 0 {
            let items = [item("like", &body, now, json!(null)), item("early", &body, before, json!(null)), item("other", &other, now, json!(null))];
            return Reply::json(200, &json!({ "items": items, "next_cursor": "Mg==", "has_more": true }));
        }
        let items = [item("ours", &json!(null), now, json!({ "filmgate": key.id() })), json!("odd"), json!({ "request_id": 5 })];
        Reply::json(200, &json!({ "items": items, "next_cursor": null }))
    })
    .await;
    let fal = fal(&server.base);
    let file = InputFile::Bytes { media_type: "image/png".to_owned(), data: Bytes::from_static(b"x") };
    let inputs = vec![OrderInput { role: InputRole::FirstFrame, file }];
    let mut lost = Order { inputs, ..order(&fal, MODEL) };
    lost.options = lost.card.as_ref().unwrap().defaults();
    let Found::Candidates(jobs) = fal.find(&lost, &key, sent_at).await.unwrap() else { panic!("there is a list") };
    let found: Vec<_> = jobs.iter().map(|job| (job.ticket.job.as_str(), job.exact)).collect();
    assert_eq!(found, [("like", false), ("ours", true)]);
    assert_eq!(jobs[0].ticket.data["app"], APP);
    let lines = server.lines();
    let endpoint = "endpoint_id=fal-ai%2Fkling-video%2Fv1.6%2Fpro%2Fimage-to-video";
    assert!(lines[0].starts_with("GET /v1/models/requests/by-endpoint?") && lines[0].contains(endpoint), "{lines:?}");
    assert!(lines[1].contains("cursor=Mg%3D%3D"), "{lines:?}");
}

#[tokio::test]
async fn a_key_that_may_not_look_finds_nothing_and_fails_nothing() {
    for status in [401, 403, 404] {
        let server = Server::always(Reply::json(status, &json!({ "error": { "message": "no" } }))).await;
        let fal = fal(&server.base);
        let found = fal.find(&order(&fal, MODEL), &SubmitKey::fresh(), Timestamp::now()).await.unwrap();
        assert!(matches!(found, Found::Unsupported), "{status}");
    }
    let server = Server::always(Reply::new(500, "<html>")).await;
    let fal = fal(&server.base);
    let error = fal.find(&order(&fal, MODEL), &SubmitKey::fresh(), Timestamp::now()).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::Overloaded, Effect::None));
}

#[tokio::test]
async fn a_model_without_a_card_is_ordered_by_its_endpoint() {
    let server = Server::always(Reply::json(200, &fixture("submitted_without_id"))).await;
    let fal = fal(&server.base);
    let send = async |model: &str| fal.submit(&order(&fal, model), &SubmitKey::fresh()).await.unwrap_err().kind;
    assert_eq!(send("bytedance/seedance-2.0/text-to-video").await, ErrorKind::NoJobId);
    assert_eq!(server.lines(), ["POST /v1/bytedance/seedance-2.0/text-to-video"]);
    for odd in ["flux", "../admin/x", "a//b"] {
        assert_eq!(send(odd).await, ErrorKind::ModelNotFound, "{odd}");
    }
    assert_eq!(server.asked().len(), 1);
}
