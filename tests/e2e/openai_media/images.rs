//! `POST /v1/images/generations`.

use filmgate::pb::v1::{CancelGenerationRequest, ListGenerationsRequest, State};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{STILL, at, bytes_of, events, made, post, refused, sent, setup};
use crate::{
    simulator::Simulator,
    support::server::{SOON, Server},
};

const PATH: &str = "/images/generations";

fn fox() -> Value {
    json!({ "model": "gpt-image-2", "prompt": "a fox" })
}

async fn orders(simulator: &Simulator) -> u64 {
    simulator.counted("openai", "creates_received").await
}

/// Every generation, newest first.
async fn generations(server: &Server) -> Vec<filmgate::pb::v1::Generation> {
    let listed = server.generations().await.list_generations(ListGenerationsRequest::default()).await.unwrap();
    listed.into_inner().generations
}

/// Until this many orders came to the vendor.
async fn ordered(simulator: &Simulator, n: u64) {
    let counted = async {
        while orders(simulator).await < n {
            sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, counted).await.expect("the order comes");
}

#[tokio::test]
async fn images_come_in_base64_and_say_what_they_are() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let body = json!({
        "model": "openai/gpt-image-2", "prompt": "a fox", "n": 2, "size": "1024x1536", "quality": "hd", "background": "transparent",
        "output_format": "png", "moderation": "low", "output_compression": 90, "user": "ada", "labels": { "team": "x" },
    });
    let answer = post(&server, PATH, &body).await;
    let length: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let name = answer.headers()["x-filmgate-generation"].to_str().unwrap().to_owned();
    let text = answer.text().await.unwrap();
    assert_eq!(text.len(), length);
    let page: Value = serde_json::from_str(&text).unwrap();
    assert!(page["created"].as_i64().unwrap() > 1_700_000_000);
    assert_eq!((&page["output_format"], &page["quality"]), (&json!("png"), &json!("high")));
    assert_eq!((&page["background"], page.get("usage")), (&json!("transparent"), None));
    let images = page["data"].as_array().unwrap();
    assert_eq!((images.len(), bytes_of(&images[0]["b64_json"])), (2, STILL.to_vec()));
    assert_eq!(bytes_of(&images[1]["b64_json"]), STILL);
    assert!(images[0].get("url").is_none());

    let job = &simulator.jobs("openai").await[0]["body"];
    assert_eq!((&job["n"], &job["size"], &job["quality"]), (&json!(2), &json!("1024x1536"), &json!("high")));
    assert_eq!((&job["moderation"], &job["output_compression"]), (&json!("low"), &json!(90)));
    assert!(job.get("user").is_none());
    let generation = server.get(&name).await;
    assert_eq!((generation.labels["user"].as_str(), generation.labels["team"].as_str()), ("ada", "x"));
    assert_eq!(images[0]["revised_prompt"], generation.brief);
}

#[tokio::test]
async fn an_address_works_without_a_header_and_names_the_host_that_was_called() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let body = json!({ "model": "gpt-image-2", "prompt": "a fox", "response_format": "url", "size": "auto", "n": 1 });
    let asked = at(&server, PATH).header("x-filmgate-tenant", "acme").json(&body);
    let page: Value = sent(asked).await.json().await.unwrap();
    let url = page["data"][0]["url"].as_str().unwrap_or_else(|| panic!("{page}"));
    assert!(url.starts_with(&format!("http://{}/artifacts/", server.addr())), "{url}");
    assert_eq!(reqwest::get(url).await.unwrap().bytes().await.unwrap(), STILL);

    let elsewhere = at(&server, PATH).header("host", "films.lan:81").json(&body);
    let page: Value = sent(elsewhere).await.json().await.unwrap();
    assert!(page["data"][0]["url"].as_str().unwrap().starts_with("http://films.lan:81/artifacts/"), "{page}");
    let public = setup(&simulator).with("FILMGATE_PUBLIC_URL", "https://films.example/gate").start().await;
    let page = made(&public, PATH, &body).await;
    assert!(page["data"][0]["url"].as_str().unwrap().starts_with("https://films.example/gate/artifacts/"), "{page}");
}

#[tokio::test]
async fn the_default_model_makes_images_for_a_caller_that_names_none() {
    let server = crate::support::server::Setup::sample().start().await;
    let body = json!({ "prompt": "a fox", "n": 3, "quality": "standard", "style": "vivid", "seed": 4 });
    let answer = post(&server, PATH, &body).await;
    let name = answer.headers()["x-filmgate-generation"].to_str().unwrap().to_owned();
    let page: Value = answer.json().await.unwrap();
    assert_eq!(page["data"].as_array().unwrap_or_else(|| panic!("{page}")).len(), 3);
    assert!(server.get(&name).await.sample);
}

#[tokio::test]
async fn a_streamed_answer_has_an_event_for_every_image() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let body = json!({ "model": "gpt-image-2", "prompt": "a fox", "n": 2, "stream": true, "partial_images": 2 });
    let events = events(post(&server, PATH, &body).await).await;
    assert_eq!(events.len(), 2);
    for event in &events {
        assert_eq!(event["type"], "image_generation.completed");
        assert_eq!(bytes_of(&event["b64_json"]), STILL);
        for key in ["created_at", "size", "quality", "background", "output_format", "usage"] {
            assert!(event.get(key).is_some(), "{key}");
        }
    }
}

#[tokio::test]
async fn a_refusal_during_a_stream_is_an_event() {
    let simulator = Simulator::start(&["create:failed=\"moderation_blocked: it was refused\""]);
    let server = setup(&simulator).start().await;
    let body = json!({ "model": "gpt-image-2", "prompt": "a fox", "stream": true });
    let events = events(post(&server, PATH, &body).await).await;
    assert_eq!((events.len(), &events[0]["error"]["code"]), (1, &json!("moderation_blocked")));
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_its_name_before_anything_is_ordered() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    for (change, status, param, code) in [
        (json!({ "prompt": null }), 400, "prompt", "missing_required_parameter"),
        (json!({ "prompt": 1 }), 400, "prompt", "invalid_type"),
        (json!({ "prompt": " " }), 400, "prompt", "invalid_value"),
        (json!({ "model": "dall-e-9" }), 404, "model", "model_not_found"),
        (json!({ "n": 0 }), 400, "n", "invalid_value"),
        (json!({ "n": 11 }), 400, "n", "invalid_value"),
        (json!({ "n": "2" }), 400, "n", "invalid_type"),
        (json!({ "model": "dall-e-3", "n": 2 }), 400, "n", "invalid_value"),
        (json!({ "size": "big" }), 400, "size", "invalid_value"),
        (json!({ "size": "1000x1000" }), 400, "size", "invalid_value"),
        (json!({ "quality": "best" }), 400, "quality", "invalid_value"),
        (json!({ "output_format": "tiff" }), 400, "output_format", "invalid_value"),
        (json!({ "background": "blue" }), 400, "background", "invalid_value"),
        (json!({ "style": "vivid" }), 400, "style", "invalid_value"),
        (json!({ "response_format": "png" }), 400, "response_format", "invalid_value"),
        (json!({ "stream": 1 }), 400, "stream", "invalid_type"),
        (json!({ "user": "x".repeat(300) }), 400, "user", "invalid_value"),
        (json!({ "colour": "red" }), 400, "colour", "unknown_parameter"),
        (json!({ "model": "dall-e-2", "moderation": "low" }), 400, "moderation", "invalid_value"),
    ] {
        let mut body = fox();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (is, _, error) = refused(post(&server, PATH, &body).await).await;
        assert_eq!((is, &error["param"], &error["code"]), (status, &json!(param), &json!(code)), "{change} {error}");
    }
    assert_eq!(orders(&simulator).await, 0);
}

#[tokio::test]
async fn how_an_order_fails_decides_what_the_client_is_told() {
    for (fault, status, code, retry) in [
        ("create:failed=\"moderation_blocked: it was refused\"", 400, "moderation_blocked", Some("false")),
        ("create:status=401", 502, "provider_unauthenticated", Some("false")),
        ("create:drop,effect=after", 504, "unresolved", Some("false")),
    ] {
        let simulator = Simulator::start(&[fault]);
        let server = setup(&simulator).start().await;
        let (is, should_retry, error) = refused(post(&server, PATH, &fox()).await).await;
        assert_eq!((is, &error["code"], should_retry.as_deref()), (status, &json!(code), retry), "{fault} {error}");
        assert_eq!(orders(&simulator).await, 1, "{fault}");
    }
}

#[tokio::test]
async fn what_is_unresolved_is_named_and_the_same_call_does_not_buy_it_again() {
    let simulator = Simulator::start(&["create:drop,effect=after"]);
    let server = setup(&simulator).start().await;
    for _ in 0..3 {
        let (status, retry, error) = refused(post(&server, PATH, &fox()).await).await;
        assert_eq!((status, retry.as_deref(), &error["code"]), (504, Some("false"), &json!("unresolved")), "{error}");
        assert!(error["message"].as_str().unwrap().contains("generations/"), "{error}");
    }
    assert_eq!(orders(&simulator).await, 1);
}

#[tokio::test]
async fn a_caller_that_lost_the_connection_gets_the_same_job() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = setup(&simulator).start().await;
    let (body, path) = (fox(), PATH);
    let mut lost = tokio::task::JoinSet::new();
    lost.spawn(at(&server, path).json(&body).send());
    ordered(&simulator, 1).await;
    lost.shutdown().await;
    let again = at(&server, path).json(&body).send();
    let release = async {
        let shared = async {
            while generations(&server).await.len() < 2 {
                sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, shared).await.expect("it came twice");
        simulator.control("release", json!({})).await;
    };
    let (answer, ()) = tokio::join!(again, release);
    let page: Value = answer.unwrap().json().await.unwrap();
    assert_eq!(bytes_of(&page["data"][0]["b64_json"]), STILL);
    let both = generations(&server).await;
    assert!(both.iter().all(|generation| generation.state() == State::Succeeded), "{both:?}");
    assert!(both.iter().any(|generation| generation.coalesced));
    // And from now on it is a result.
    made(&server, path, &body).await;
    assert_eq!(orders(&simulator).await, 1, "it is paid for once");
}

#[tokio::test]
async fn a_key_names_one_order() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let keyed = |body: &Value| at(&server, PATH).header("Idempotency-Key", "order-1").json(body);
    let body = json!({ "model": "gpt-image-2", "prompt": "a fox", "cache": "bypass" });
    let name = |answer: &reqwest::Response| answer.headers()["x-filmgate-generation"].to_str().unwrap().to_owned();
    let (first, second) = (sent(keyed(&body)).await, sent(keyed(&body)).await);
    assert_eq!(name(&first), name(&second));
    assert_eq!(orders(&simulator).await, 1);
    let other = json!({ "model": "gpt-image-2", "prompt": "a cat", "cache": "bypass" });
    let (status, retry, error) = refused(sent(keyed(&other)).await).await;
    assert_eq!((status, retry.as_deref()), (409, Some("false")), "{error}");
    let beside = json!({ "prompt": "a fox", "request_id": "x" });
    assert_eq!(refused(sent(keyed(&beside)).await).await.2["param"], "request_id");
}

#[tokio::test]
async fn a_cancelled_order_is_told_as_one() {
    let simulator = Simulator::start(&[]);
    // Nothing goes to the vendor, so it is cancelled at once.
    let server = setup(&simulator).with("FILMGATE_SAMPLE_LATENCY", "1h").start().await;
    let body = json!({ "model": "sample/image", "prompt": "a fox" });
    let waiting = at(&server, PATH).json(&body).send();
    let cancel = async {
        let found = async {
            loop {
                if let Some(found) = generations(&server).await.pop() {
                    return found.name;
                }
                sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let name = timeout(SOON, found).await.expect("it is accepted");
        server.generations().await.cancel_generation(CancelGenerationRequest { name }).await.unwrap();
    };
    let (answer, ()) = tokio::join!(waiting, cancel);
    let (status, retry, error) = refused(answer.unwrap()).await;
    assert_eq!((status, retry.as_deref()), (409, Some("false")), "{error}");
    assert_eq!(error["code"], "generation_cancelled");
}
