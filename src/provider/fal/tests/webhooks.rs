//! Webhooks: what is believed, and when fal's keys are fetched.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    APP, JOB, fal,
    server::{Reply, Server},
};
use crate::{
    domain::{artifact::Kind, names::SubmitKey},
    provider::{
        fal::Fal,
        port::Provider,
        webhook::{Delivery, Heard, HookError},
    },
};

const SEEDS: [[u8; 32]; 2] = [[1; 32], [2; 32]];

/// fal with the key of this number; it has no answer for a key that it does not have.
async fn account(number: Arc<AtomicUsize>) -> Server {
    Server::start(move |_| match SEEDS.get(number.load(Ordering::Relaxed)) {
        Some(seed) => {
            let x = URL_SAFE_NO_PAD.encode(pair(seed).public_key());
            Reply::json(200, &json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x }] }))
        }
        None => Reply::new(500, "<html>"),
    })
    .await
}

fn pair(seed: &[u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed).unwrap()
}

fn delivery(id: &str, body: &Value, seed: &[u8; 32]) -> Delivery {
    let received_at = Timestamp::now();
    let (timestamp, body) = (received_at.as_second().to_string(), Bytes::from(body.to_string()));
    let message = format!("{id}\nme\n{timestamp}\n{}", hex::encode(Sha256::digest(&body)));
    let signature = hex::encode(pair(seed).sign(message.as_bytes()));
    let mut headers = HeaderMap::new();
    for (name, value) in [("request-id", id), ("user-id", "me"), ("timestamp", &timestamp), ("signature", &signature)] {
        let name: http::HeaderName = format!("x-fal-webhook-{name}").parse().unwrap();
        headers.insert(name, value.parse().unwrap());
    }
    let model = "fal-ai/kling-video/v1.6/pro".to_owned();
    Delivery { key: SubmitKey::fresh(), kind: Kind::Video, model, headers, body, received_at }
}

async fn hear(fal: &Fal, seed: &[u8; 32]) -> Result<Heard, HookError> {
    fal.hear(&delivery(JOB, &json!({ "request_id": JOB, "status": "OK" }), seed)).await
}

#[tokio::test]
async fn a_signed_one_names_its_job_and_nothing_else_is_believed() {
    let server = account(Arc::default()).await;
    let fal = fal(&server.base);
    let heard = hear(&fal, &SEEDS[0]).await.unwrap();
    let ticket = heard.ticket.unwrap();
    assert_eq!((heard.id.as_str(), ticket.job.as_str(), &ticket.data["app"]), (JOB, JOB, &json!(APP)));
    assert_eq!(ticket.account, fal.account);
    // After a repetition on fal's side the header may name the last try.
    let retried = delivery("last-try", &json!({ "request_id": JOB, "gateway_request_id": "last-try" }), &SEEDS[0]);
    assert_eq!(fal.hear(&retried).await.unwrap().ticket.unwrap().job, JOB);
    let unreadable = delivery(JOB, &json!("nothing we know"), &SEEDS[0]);
    assert_eq!(fal.hear(&unreadable).await.unwrap().id, JOB);

    let mut changed = delivery(JOB, &json!({ "request_id": JOB }), &SEEDS[0]);
    changed.body = Bytes::from_static(b"{\"request_id\": \"another\"}");
    assert_eq!(fal.hear(&changed).await, Err(HookError::Forged));
    let mut late = delivery(JOB, &json!({ "request_id": JOB }), &SEEDS[0]);
    late.received_at += jiff::SignedDuration::from_secs(302);
    assert_eq!(fal.hear(&late).await, Err(HookError::Stale));
    assert_eq!(hear(&fal, &SEEDS[1]).await.unwrap_err(), HookError::Forged);
    let asked = server.asked();
    assert_eq!((asked[0].line.as_str(), &asked[0].authorization), ("GET /v1/.well-known/jwks.json", &None));
}

#[tokio::test]
async fn a_changed_key_is_fetched_anew_at_most_once_a_minute_and_once_a_day() {
    let number = Arc::new(AtomicUsize::new(0));
    let server = account(Arc::clone(&number)).await;
    let fal = fal(&server.base);
    for _ in 0..5 {
        hear(&fal, &SEEDS[0]).await.unwrap();
        assert_eq!(hear(&fal, &SEEDS[1]).await, Err(HookError::Forged));
    }
    assert_eq!(server.asked().len(), 1);
    number.store(1, Ordering::Relaxed);
    later(60).await;
    hear(&fal, &SEEDS[1]).await.unwrap();
    assert_eq!(hear(&fal, &SEEDS[0]).await, Err(HookError::Forged));
    assert_eq!(server.asked().len(), 2);
    later(24 * 3600).await;
    hear(&fal, &SEEDS[1]).await.unwrap();
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn without_a_key_nobody_can_tell_and_it_is_asked_for_again() {
    let number = Arc::new(AtomicUsize::new(usize::MAX));
    let server = account(Arc::clone(&number)).await;
    let fal = fal(&server.base);
    assert_eq!(hear(&fal, &SEEDS[0]).await, Err(HookError::KeyUnavailable));
    assert_eq!(hear(&fal, &SEEDS[0]).await, Err(HookError::KeyUnavailable));
    assert_eq!(server.asked().len(), 1);
    number.store(0, Ordering::Relaxed);
    later(5).await;
    hear(&fal, &SEEDS[0]).await.unwrap();
}

/// Lets time pass for the adapter; the server goes on in real time.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}
