//! Webhooks: what is asked for, what is believed, and when the account's secret is fetched.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use super::{
    JOB, TOKEN, fixture, order, replicate,
    server::{Reply, Server},
};
use crate::{
    domain::{
        artifact::Kind,
        names::{GenerationId, SubmitKey},
    },
    provider::{
        id_of,
        port::{Found, Order, Provider},
        replicate::{REPLICATE, Replicate, ReplicateSettings, VENDOR},
        webhook::{Address, Delivery, Heard, HookError},
    },
};

const SECRETS: [&str; 2] = ["whsec_Zmlyc3Q=", "whsec_c2Vjb25k"];

/// An account whose secret is the one of this number; it does not answer for a secret that it does not have.
async fn account(secret: Arc<AtomicUsize>) -> Server {
    Server::start(move |_| match SECRETS.get(secret.load(Ordering::Relaxed)) {
        Some(key) => Reply::json(200, &json!({ "key": key })),
        None => Reply::new(500, fixture("500")),
    })
    .await
}

fn delivery(key: SubmitKey, body: &Value, secret: &str) -> Delivery {
    let received_at = Timestamp::now();
    let (timestamp, body) = (received_at.as_second().to_string(), Bytes::from(body.to_string()));
    let secret = BASE64.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
    mac.update(format!("msg_1.{timestamp}.").as_bytes());
    mac.update(&body);
    let signature = format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()));
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", "msg_1".parse().unwrap());
    headers.insert("webhook-timestamp", timestamp.parse().unwrap());
    headers.insert("webhook-signature", signature.parse().unwrap());
    Delivery { key, kind: Kind::Video, model: String::new(), headers, body, received_at }
}

fn addressed(order: Order, public: &str, key: SubmitKey) -> Order {
    let provider = "replicate".parse().unwrap();
    let webhook = Address::of(&public.parse().unwrap(), &provider, GenerationId::fresh(), key);
    Order { webhook: Some(webhook), ..order }
}

async fn hear(replicate: &Replicate, secret: &str) -> Result<Heard, HookError> {
    replicate.hear(&delivery(SubmitKey::fresh(), &json!({ "id": JOB }), secret)).await
}

#[tokio::test]
async fn a_signed_one_names_its_job_and_nothing_else_is_believed() {
    let server = account(Arc::default()).await;
    let replicate = replicate(&server.base);
    let heard = hear(&replicate, SECRETS[0]).await.unwrap();
    let ticket = heard.ticket.unwrap();
    assert_eq!((heard.id.as_str(), ticket.job.as_str(), &ticket.data), ("msg_1", JOB, &json!({ "kind": "video" })));
    assert_eq!(ticket.account, replicate.account);

    let (key, other) = (SubmitKey::fresh(), SubmitKey::fresh());
    let check = async |body: Value, change: fn(&mut Delivery), expected: Result<Option<&str>, HookError>| {
        let mut delivery = delivery(key, &body, SECRETS[0]);
        change(&mut delivery);
        let heard = replicate.hear(&delivery).await.map(|heard| heard.ticket.map(|ticket| ticket.job));
        assert_eq!(heard, expected.map(|job| job.map(str::to_owned)), "{body}");
    };
    let at = |key: SubmitKey| format!("https://film.example/webhooks/replicate/x/{}", key.id());
    check(json!({ "id": JOB, "webhook": at(key) }), |_| (), Ok(Some(JOB))).await;
    check(json!({ "id": JOB, "webhook": at(other) }), |_| (), Err(HookError::Forged)).await;
    check(json!({ "id": JOB, "webhook": 5 }), |_| (), Ok(Some(JOB))).await;
    check(json!({ "status": "succeeded" }), |_| (), Ok(None)).await;
    check(json!("nothing we know"), |_| (), Ok(None)).await;
    let changed = |delivery: &mut Delivery| delivery.body = Bytes::from_static(b"{\"id\": \"another\"}");
    check(json!({ "id": JOB }), changed, Err(HookError::Forged)).await;
    let late = |delivery: &mut Delivery| delivery.received_at += SignedDuration::from_secs(302);
    check(json!({ "id": JOB }), late, Err(HookError::Stale)).await;
    assert_eq!(server.lines()[0], "GET /v1/webhooks/default/secret");
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(server.asked()[0].authorization.as_deref(), Some(bearer.as_str()));
}

#[tokio::test]
async fn a_changed_secret_is_fetched_anew_at_most_once_a_minute() {
    let number = Arc::new(AtomicUsize::new(0));
    let server = account(Arc::clone(&number)).await;
    let replicate = replicate(&server.base);
    for _ in 0..10 {
        hear(&replicate, SECRETS[0]).await.unwrap();
        assert_eq!(hear(&replicate, SECRETS[1]).await, Err(HookError::Forged));
    }
    assert_eq!(server.asked().len(), 1);
    number.store(1, Ordering::Relaxed);
    later(60).await;
    hear(&replicate, SECRETS[1]).await.unwrap();
    assert_eq!(hear(&replicate, SECRETS[0]).await, Err(HookError::Forged));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn while_the_secret_cannot_be_fetched_nobody_is_called_a_forger() {
    let number = Arc::new(AtomicUsize::new(9));
    let server = account(Arc::clone(&number)).await;
    let replicate = replicate(&server.base);
    for _ in 0..10 {
        assert_eq!(hear(&replicate, SECRETS[0]).await, Err(HookError::KeyUnavailable));
    }
    assert_eq!(server.asked().len(), 1);
    number.store(0, Ordering::Relaxed);
    later(5).await;
    hear(&replicate, SECRETS[0]).await.unwrap();
    // Once known it stays known, whatever happens to the account.
    number.store(9, Ordering::Relaxed);
    later(60).await;
    assert_eq!(hear(&replicate, SECRETS[1]).await, Err(HookError::Forged));
    hear(&replicate, SECRETS[0]).await.unwrap();
}

/// Moves the clock on; in between it runs, for calls are real.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_secret_that_is_given_is_not_asked_for() {
    let server = account(Arc::new(AtomicUsize::new(1))).await;
    let settings = |secret: &str| ReplicateSettings {
        api_token: SecretString::from(TOKEN),
        webhook_secret: Some(SecretString::from(secret)),
        base_url: server.base.clone(),
        timeout: Duration::from_secs(5),
        download_timeout: Duration::from_secs(5),
        id: id_of(REPLICATE).unwrap(),
        cards: VENDOR.all_cards(Vec::new()).unwrap(),
    };
    let replicate = Replicate::new(settings(SECRETS[0])).unwrap();
    hear(&replicate, SECRETS[0]).await.unwrap();
    assert_eq!(hear(&replicate, SECRETS[1]).await, Err(HookError::Forged));
    assert!(server.asked().is_empty());
    let error = Replicate::new(settings("not_to_be_seen")).unwrap_err().to_string();
    assert!(error.contains("whsec_") && !error.contains("seen"), "{error}");
}

#[tokio::test]
async fn https_is_told_to_anybody_and_plain_http_only_to_who_speaks_it() {
    let server = Server::always(Reply::new(201, fixture("starting"))).await;
    let told = async |public: &str, base: &Url| {
        let replicate = replicate(base);
        let order = addressed(order(&replicate, "minimax/video-01"), public, SubmitKey::fresh());
        let mut body = serde_json::Map::new();
        replicate.ask_to_be_told(&order, &mut body);
        (order.webhook.unwrap(), Value::Object(body))
    };
    let real = Url::parse("https://api.replicate.com/v1").unwrap();
    let asked =
        |address: &Address| json!({ "webhook": address.url(), "webhook_events_filter": ["start", "completed"] });
    let (address, body) = told("https://film.example", &real).await;
    assert_eq!(body, asked(&address));
    let (address, body) = told("http://127.0.0.1:50051", &server.base).await;
    assert_eq!(body, asked(&address));
    assert_eq!(told("http://film.example", &real).await.1, json!({}));

    let replicate = replicate(&server.base);
    let key = SubmitKey::fresh();
    let order = addressed(order(&replicate, "minimax/video-01"), "https://film.example", key);
    replicate.submit(&order, &key).await.unwrap();
    let sent = server.asked()[0].json();
    assert_eq!(
        (&sent["webhook"], &sent["input"]["prompt"]),
        (&json!(order.webhook.unwrap().url()), &json!(order.prompt))
    );
}

#[tokio::test]
async fn a_refusal_that_repeats_the_address_does_not_show_it() {
    let refusing = Server::start(|asked| {
        let detail = format!("- webhook: {} cannot be called", asked.json()["webhook"].as_str().unwrap());
        Reply::json(422, &json!({ "detail": detail, "status": 422 }))
    });
    let server = refusing.await;
    let replicate = replicate(&server.base);
    let key = SubmitKey::fresh();
    let order = addressed(order(&replicate, "minimax/video-01"), "https://film.example", key);
    let error = replicate.submit(&order, &key).await.unwrap_err();
    assert!(error.summary.contains("cannot be called") && !error.summary.contains(&key.id()), "{}", error.summary);
}

#[tokio::test]
async fn in_the_list_our_mark_makes_a_job_ours_and_any_other_makes_it_somebody_elses() {
    let sent_at = Timestamp::now();
    let key = SubmitKey::fresh();
    let check = async |webhook: Value, change: Value, expected: Option<bool>| {
        let mut job = json!({
            "id": JOB, "status": "processing", "model": "minimax/video-01", "created_at": sent_at,
            "input": { "prompt": "a fox in the snow" }, "webhook": webhook,
        });
        job.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let server = Server::always(Reply::json(200, &json!({ "results": [job] }))).await;
        let replicate = replicate(&server.base);
        let order = order(&replicate, "minimax/video-01");
        let Found::Candidates(jobs) = replicate.find(&order, &key, sent_at).await.unwrap() else { panic!("no list") };
        assert_eq!(jobs.first().map(|job| job.exact), expected, "{job}");
    };
    let at = |key: SubmitKey| json!(format!("https://old.example/webhooks/replicate/x/{}", key.id()));
    check(Value::Null, json!({}), Some(false)).await;
    check(at(key), json!({}), Some(true)).await;
    // What was made of the order, and the vendor's clock, matter no more.
    check(at(key), json!({ "input": {}, "model": "a/renamed-one" }), Some(true)).await;
    check(at(key), json!({ "created_at": sent_at - SignedDuration::from_secs(30) }), Some(true)).await;
    check(at(SubmitKey::fresh()), json!({}), None).await;
    check(json!("https://somebody.example/hook"), json!({}), None).await;
}
