use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use url::Url;

use super::{
    JOB, TOKEN, fixture, order, replicate,
    server::{Asked, Reply, Server},
    ticket,
};
use crate::{
    domain::{
        artifact::Kind,
        failure::Charged,
        names::SubmitKey,
        order::{InputRole, OptionName, OptionValue},
    },
    provider::{
        contract,
        error::{Effect, ErrorKind, ProviderError},
        port::{CancelOutcome, Found, InputFile, OrderInput, Provider},
        replicate::{Replicate, map},
    },
};

const CLIP: &[u8] = b"the bytes of a clip";

/// Replicate in small: a job starts, works, and is done at the third question; its file lies beside the API.
async fn little_replicate() -> Server {
    let jobs: Mutex<Vec<(usize, &'static str)>> = Mutex::default();
    Server::start(move |asked: &Asked| {
        let mut jobs = jobs.lock().unwrap();
        let prediction = |id: usize, status: &str, output: Value| {
            json!({"id": format!("job{id}"), "status": status, "output": output, "model": "minimax/video-01"})
        };
        if asked.line == "POST /v1/models/minimax/video-01/predictions" {
            jobs.push((0, "running"));
            return Reply::json(201, &prediction(jobs.len() - 1, "starting", Value::Null));
        }
        if asked.line == "GET /v1/predictions" {
            return Reply::json(200, &json!({"previous": null, "next": null, "results": []}));
        }
        if asked.line == "GET /out.mp4" {
            return Reply::new(200, CLIP);
        }
        let (_, job) = asked.line.split_once("/v1/predictions/job").unwrap_or_default();
        let (id, is_cancel) = job.strip_suffix("/cancel").map_or((job, false), |id| (id, true));
        let Some(job) = id.parse::<usize>().ok().and_then(|id| jobs.get_mut(id)) else {
            return Reply::new(404, fixture("404"));
        };
        if is_cancel && job.0 < 2 {
            job.1 = "canceled";
        }
        job.0 += 1;
        let id = id.parse().unwrap();
        match job {
            (_, "canceled") => Reply::json(200, &prediction(id, "canceled", Value::Null)),
            (1, _) => Reply::json(200, &prediction(id, "starting", Value::Null)),
            (2, _) => Reply::json(200, &prediction(id, "processing", Value::Null)),
            _ => Reply::json(200, &prediction(id, "succeeded", json!(format!("http://{}/out.mp4", asked.host)))),
        }
    })
    .await
}

#[tokio::test]
async fn it_keeps_the_contract_of_every_adapter() {
    let server = little_replicate().await;
    let replicate = replicate(&server.base);
    let order = contract::order(&replicate, Kind::Video);
    contract::makes_the_bytes(&replicate, &order, CLIP).await;
    contract::stops(&replicate, &order).await;
    contract::knows_no_foreign_job(&replicate).await;
    contract::finds_only_its_own(&replicate, &order).await;
    contract::keeps_its_secret(&replicate, &order, TOKEN).await;
}

#[tokio::test]
async fn an_official_model_is_ordered_by_name_and_any_by_version() {
    let server = Server::always(Reply::new(201, fixture("starting"))).await;
    let replicate = replicate(&server.base);
    let version = "0123456789abcdef".repeat(4);
    for model in ["minimax/video-01".to_owned(), format!("me/mine:{version}"), version.clone()] {
        let mut order = order(&replicate, &model);
        order.provider_options.insert("extra".to_owned(), json!(1));
        let accepted = contract::accepted(&replicate, &order).await;
        assert_eq!(accepted.job, JOB);
        assert_eq!(accepted.account.len(), 16);
    }
    let input = json!({"prompt": "a fox in the snow", "extra": 1});
    let asked = server.asked();
    assert_eq!(asked[0].line, "POST /v1/models/minimax/video-01/predictions");
    assert_eq!(asked[0].json(), json!({ "input": input }));
    for by_version in &asked[1..] {
        assert_eq!(by_version.line, "POST /v1/predictions");
        assert_eq!(by_version.json(), json!({"version": version, "input": input}));
    }
    assert!(asked.iter().all(|asked| asked.authorization.as_deref() == Some(&format!("Bearer {TOKEN}"))));
}

#[tokio::test]
async fn a_model_that_cannot_be_named_is_refused_before_anything_is_sent() {
    let server = Server::always(Reply::new(201, fixture("starting"))).await;
    let replicate = replicate(&server.base);
    for model in ["video-01", "a/b/c", "a/b:latest", "a/b:", "/b", &"A".repeat(64)] {
        let error = replicate.submit(&order(&replicate, model), &SubmitKey::fresh()).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (ErrorKind::ModelNotFound, Effect::None), "{model}");
    }
    assert_eq!(server.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn small_files_travel_within_and_large_ones_are_uploaded() {
    let server = Server::start(|asked| match asked.line.as_str() {
        "POST /v1/files" => Reply::new(201, fixture("file")),
        _ => Reply::new(201, fixture("starting")),
    })
    .await;
    let replicate = replicate(&server.base);
    let mut order = order(&replicate, "kwaivgi/kling-v1.6-pro");
    let input = |role, file| OrderInput { role, file };
    let bytes = |data| InputFile::Bytes { media_type: "image/png".to_owned(), data };
    order.inputs = vec![
        input(InputRole::FirstFrame, bytes(Bytes::from_static(b"abc"))),
        input(InputRole::LastFrame, InputFile::Url(Url::parse("https://h.example/b.png").unwrap())),
        input(InputRole::Reference, bytes(Bytes::from(vec![7; 256 * 1024 + 1]))),
    ];
    contract::accepted(&replicate, &order).await;
    let asked = server.asked();
    assert_eq!(server.lines(), ["POST /v1/files", "POST /v1/models/kwaivgi/kling-v1.6-pro/predictions"]);
    assert!(asked[0].content_type.starts_with("multipart/form-data"));
    let head = String::from_utf8_lossy(&asked[0].body[..300]).to_lowercase();
    assert!(head.contains("name=\"content\"; filename=\"input.png\"") && head.contains("image/png"), "{head}");
    let sent = &asked[1].json()["input"];
    assert_eq!(sent["start_image"], "data:image/png;base64,YWJj");
    assert_eq!(sent["end_image"], "https://h.example/b.png");
    assert_eq!(sent["reference_images"], json!(["https://api.replicate.com/v1/files/file1"]));
}

#[tokio::test]
async fn a_refused_upload_costs_nothing_and_names_the_inputs() {
    let server = Server::always(Reply::json(413, &json!({"detail": "too large"}))).await;
    let replicate = replicate(&server.base);
    let mut order = order(&replicate, "minimax/video-01");
    let data = Bytes::from(vec![7; 300 * 1024]);
    let file = InputFile::Bytes { media_type: "image/png".to_owned(), data };
    order.inputs = vec![OrderInput { role: InputRole::FirstFrame, file }];
    let error = replicate.submit(&order, &SubmitKey::fresh()).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::InvalidOrder, Effect::None));
    assert_eq!(error.field.as_deref(), Some("inputs"));
}

async fn refusal(status: u16, name: &str) -> ProviderError {
    let server = Server::always(Reply::new(status, fixture(name))).await;
    let replicate = replicate(&server.base);
    let mut order = order(&replicate, "google/veo-3.1");
    order.options.insert(OptionName::Resolution, OptionValue::Text("1080p".to_owned()));
    replicate.submit(&order, &SubmitKey::fresh()).await.unwrap_err()
}

#[tokio::test]
async fn a_refused_order_is_explained_in_our_words() {
    let check = async |status, name: &str, kind, effect, field: Option<&str>, says: &str| {
        let error = refusal(status, name).await;
        assert_eq!((error.kind, error.effect), (kind, effect), "{name}");
        assert_eq!(error.field.as_deref(), field, "{name}");
        assert!(error.summary.contains(says), "{name}: {}", error.summary);
        assert!(!error.summary.contains('<') && !error.summary.contains("nginx"), "{}", error.summary);
    };
    use Effect::{Maybe, None as Not};
    check(401, "401", ErrorKind::Unauthenticated, Not, None, "did not pass a valid").await;
    check(401, "401_short", ErrorKind::Unauthenticated, Not, None, "expired API token").await;
    check(402, "402", ErrorKind::OutOfCredit, Not, None, "insufficient credit").await;
    check(404, "404", ErrorKind::ModelNotFound, Not, None, "could not be found").await;
    check(422, "422_version", ErrorKind::InvalidOrder, Not, None, "does not exist").await;
    check(422, "422_input", ErrorKind::InvalidOrder, Not, Some("options.resolution"), "\"720p\", \"1080p\"").await;
    check(422, "422_required", ErrorKind::InvalidOrder, Not, Some("inputs"), "image is required").await;
    check(422, "422_lines", ErrorKind::InvalidOrder, Not, Some("options.duration"), "4, 6, 8").await;
    check(429, "429", ErrorKind::RateLimited, Not, None, "throttled").await;
    check(500, "500", ErrorKind::Overloaded, Maybe, None, "Something went wrong").await;
    check(502, "502.html", ErrorKind::Overloaded, Maybe, None, "an HTML page").await;
    check(201, "502.html", ErrorKind::Protocol, Maybe, None, "an HTML page").await;
    check(201, "created_without_id", ErrorKind::NoJobId, Maybe, None, "named no job").await;
}

#[tokio::test]
async fn a_throttled_order_says_when_to_come_again() {
    let wait = async |name: &str| refusal(429, name).await.retry_after.map(|wait| wait.as_secs());
    assert_eq!(wait("429").await, Some(7));
    assert_eq!(wait("429_words").await, Some(30));
    let server = Server::always(Reply::new(429, fixture("429")).with("retry-after", 4)).await;
    let error = replicate(&server.base).poll(&ticket()).await.unwrap_err();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_secs(4))));
}

#[tokio::test]
async fn a_question_that_fails_never_says_that_work_may_have_begun() {
    let table = [
        (401, "401", ErrorKind::Unauthenticated),
        (404, "404", ErrorKind::TicketUnknown),
        (500, "500", ErrorKind::Overloaded),
        (502, "502.html", ErrorKind::Overloaded),
        (200, "502.html", ErrorKind::Protocol),
        (200, "created_without_id", ErrorKind::Protocol),
    ];
    for (status, name, kind) in table {
        let mut body = fixture(name);
        if name == "created_without_id" {
            body = json!({"id": "another", "status": "succeeded"}).to_string().into_bytes();
        }
        let server = Server::always(Reply::new(status, body)).await;
        let error = replicate(&server.base).poll(&ticket()).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (kind, Effect::None), "{status} {name}");
    }
}

#[tokio::test]
async fn the_answer_to_a_cancel_tells_what_became_of_it() {
    let check = async |status, body: Vec<u8>, expected: Result<CancelOutcome, ErrorKind>| {
        let server = Server::always(Reply::new(status, body.clone())).await;
        let outcome = replicate(&server.base).cancel(&ticket()).await.map_err(|error| error.kind);
        assert_eq!(outcome, expected, "{status} {}", String::from_utf8_lossy(&body));
        assert_eq!(server.lines(), [format!("POST /v1/predictions/{JOB}/cancel")]);
    };
    check(200, fixture("canceled"), Ok(CancelOutcome::Stopped(Charged::Unknown))).await;
    check(200, fixture("aborted"), Ok(CancelOutcome::Stopped(Charged::No))).await;
    check(200, fixture("succeeded_string"), Ok(CancelOutcome::TooLate)).await;
    check(202, fixture("processing"), Ok(CancelOutcome::Requested)).await;
    check(200, Vec::new(), Ok(CancelOutcome::Requested)).await;
    check(409, b"{}".to_vec(), Ok(CancelOutcome::TooLate)).await;
    check(401, fixture("401"), Err(ErrorKind::Unauthenticated)).await;
    check(404, fixture("404"), Err(ErrorKind::TicketUnknown)).await;
    check(429, fixture("429"), Err(ErrorKind::RateLimited)).await;
    check(500, fixture("500"), Err(ErrorKind::Overloaded)).await;
}

/// What `find` makes of a list in pages of one.
async fn found(replicate_of: impl Fn(&Url) -> Replicate, jobs: Vec<Value>, sent_at: Timestamp) -> (Vec<String>, usize) {
    let n_pages = AtomicUsize::new(0);
    let server = Server::start(move |asked| {
        let page = n_pages.fetch_add(1, Ordering::Relaxed);
        assert!(page == 0 || asked.line.ends_with(&format!("cursor={page}")), "{}", asked.line);
        let next = (page + 1 < jobs.len()).then(|| format!("/v1/predictions?cursor={}", page + 1));
        Reply::json(200, &json!({"next": next, "previous": null, "results": [jobs[page]]}))
    })
    .await;
    let replicate = replicate_of(&server.base);
    let mut order = order(&replicate, "google/veo-3.1");
    order.options.insert(OptionName::Duration, OptionValue::Int(8));
    let data = Bytes::from_static(b"abc");
    let file = InputFile::Bytes { media_type: "image/png".to_owned(), data };
    order.inputs = vec![OrderInput { role: InputRole::FirstFrame, file }];
    let Found::Candidates(jobs) = replicate.find(&order, &SubmitKey::fresh(), sent_at).await.unwrap() else {
        panic!("Replicate has a list");
    };
    assert!(jobs.iter().all(|job| !job.exact));
    (jobs.into_iter().map(|job| job.ticket.job).collect(), server.asked().len())
}

fn listed(id: &str, created_at: Timestamp, change: &Value) -> Value {
    let mut job = json!({
        "id": id, "status": "processing", "model": "google/veo-3.1", "created_at": created_at,
        "input": {"prompt": "a fox in the snow", "duration": 8.0, "image": "https://x.example/1", "seed": 5},
    });
    for (key, value) in change.as_object().unwrap() {
        match (job.get_mut(key), value) {
            (Some(Value::Object(inner)), Value::Object(changes)) => inner.extend(changes.clone()),
            _ => job[key] = value.clone(),
        }
    }
    job
}

#[tokio::test]
async fn only_jobs_with_our_model_and_input_made_since_the_submit_are_candidates() {
    let sent_at = Timestamp::now();
    let check = async |change: Value, age_s: i64, is_candidate: bool| {
        let job = listed("it", sent_at - SignedDuration::from_secs(age_s), &change);
        let (jobs, _) = found(replicate, vec![job], sent_at).await;
        assert_eq!(jobs.len(), usize::from(is_candidate), "{change} {age_s}");
    };
    check(json!({}), 0, true).await;
    check(json!({}), 5, true).await;
    check(json!({}), 6, false).await;
    check(json!({"model": "veo-3.1"}), 0, true).await;
    check(json!({"model": null}), 0, true).await;
    check(json!({"model": "google/veo-3"}), 0, false).await;
    check(json!({"input": {"prompt": "another fox"}}), 0, false).await;
    check(json!({"input": {"duration": 4}}), 0, false).await;
    check(json!({"input": {"image": null}}), 0, false).await;
    check(json!({"input": null}), 0, false).await;
    check(json!({"id": null}), 0, false).await;
    check(json!({"created_at": "lately"}), 0, false).await;
}

#[test]
fn a_job_ordered_by_version_is_known_by_it_or_by_its_name_where_the_version_is_hidden() {
    let replicate = replicate(&Url::parse("https://api.replicate.com/v1").unwrap());
    let (version, other) = ("a".repeat(64), "b".repeat(64));
    let check = |ordered: &str, model: Value, shown: &str, expected: bool| {
        let job = json!({"id": "a", "model": model, "version": shown, "input": {"prompt": "a fox in the snow"}});
        let prediction = serde_json::from_value(job).unwrap();
        let order = order(&replicate, ordered);
        let sent = crate::provider::fields::of(&order, Vec::new()).unwrap();
        assert_eq!(map::is_run_of(&prediction, &order, &sent), expected, "{ordered} {prediction:?}");
    };
    let named = format!("me/mine:{version}");
    check(&named, json!("me/mine"), &version, true);
    check(&named, json!("me/mine"), &other, false);
    check(&named, json!("me/mine"), "hidden", true);
    check(&named, json!("me/other"), "hidden", false);
    check(&version, json!(null), &version, true);
    check(&version, json!(null), &other, false);
    check("me/mine", json!("me/mine"), &other, true);
}

#[tokio::test]
async fn looking_ends_where_the_list_is_older_than_the_submit_or_after_five_pages() {
    let sent_at = Timestamp::now();
    let at = |age_s: i64| sent_at - SignedDuration::from_secs(age_s);
    let jobs = vec![
        listed("a", at(-20), &json!({})),
        listed("b", at(-10), &json!({})),
        listed("old", at(61), &json!({})),
        listed("c", at(0), &json!({})),
    ];
    assert_eq!(found(replicate, jobs, sent_at).await, (vec!["a".to_owned(), "b".to_owned()], 3));
    let jobs = (0..9).map(|index| listed(&index.to_string(), at(-20), &json!({}))).collect();
    let (jobs, n_asked) = found(replicate, jobs, sent_at).await;
    assert_eq!((jobs.len(), n_asked), (5, 5));
}

#[tokio::test]
async fn the_next_page_is_followed_only_below_our_base() {
    for next in ["https://evil.example/v1/predictions?cursor=1", "/v2/predictions?cursor=1", "not an address ://"] {
        let server = Server::always(Reply::json(200, &json!({"results": [], "next": next}))).await;
        let replicate = replicate(&server.base);
        let order = order(&replicate, "minimax/video-01");
        replicate.find(&order, &SubmitKey::fresh(), Timestamp::now()).await.unwrap();
        assert_eq!(server.lines(), ["GET /v1/predictions"], "{next}");
    }
}

#[tokio::test]
async fn a_hundred_polls_share_one_connection() {
    let server = Server::always(Reply::new(200, fixture("processing"))).await;
    let replicate = replicate(&server.base);
    for _ in 0..100 {
        replicate.poll(&ticket()).await.unwrap();
    }
    assert_eq!((server.asked().len(), server.n_connections()), (100, 1));
}

#[tokio::test]
async fn an_address_that_a_ticket_would_escape_to_stays_below_the_base() {
    let server = Server::always(Reply::new(404, fixture("404"))).await;
    let mut ticket = ticket();
    ticket.job = "../account?x=1".to_owned();
    replicate(&server.base).poll(&ticket).await.unwrap_err();
    assert_eq!(server.lines(), ["GET /v1/predictions/..%2Faccount%3Fx=1"]);
}
