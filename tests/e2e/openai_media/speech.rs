//! `POST /v1/audio/speech`.

use serde_json::{Value, json};

use super::{bytes_of, events, post, refused, setup};
use crate::{simulator::Simulator, support::server::Setup};

const PATH: &str = "/audio/speech";
const TONE: &[u8] = include_bytes!("../../../src/simulator/tone.mp3");

#[tokio::test]
async fn a_text_is_spoken_and_the_answer_is_the_sound() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let body = json!({
        "model": "gpt-4o-mini-tts", "input": "hello there", "voice": "coral", "response_format": "mp3", "speed": 1.25,
        "instructions": "softly",
    });
    let answer = post(&server, PATH, &body).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "audio/mpeg");
    assert_eq!(answer.headers()["content-length"], TONE.len().to_string());
    assert!(answer.headers().contains_key("x-filmgate-generation"));
    assert_eq!(answer.bytes().await.unwrap(), TONE);
    let sent = &simulator.jobs("openai").await[0]["body"];
    assert_eq!(
        *sent,
        json!({
            "input": "hello there", "model": "gpt-4o-mini-tts", "voice": "coral", "response_format": "mp3", "speed": 1.25,
            "instructions": "softly",
        })
    );
}

#[tokio::test]
async fn events_bring_the_sound_in_parts() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let body = json!({ "model": "tts-1", "input": "hello", "voice": "alloy", "stream_format": "sse" });
    let mut events = events(post(&server, PATH, &body).await).await;
    let done = events.pop().unwrap();
    assert_eq!((&done["type"], done["usage"].is_object()), (&json!("speech.audio.done"), true));
    assert!(events.iter().all(|event| event["type"] == "speech.audio.delta"));
    let sound: Vec<u8> = events.iter().flat_map(|event| bytes_of(&event["audio"])).collect();
    assert_eq!(sound, TONE);
}

#[tokio::test]
async fn the_content_type_says_what_the_bytes_are() {
    let server = Setup::sample().start().await;
    let body = json!({ "input": "hello", "voice": { "id": "mine" }, "response_format": "flac" });
    let answer = post(&server, PATH, &body).await;
    let told = answer.headers()["content-type"].to_str().unwrap().to_owned();
    let bytes = answer.bytes().await.unwrap();
    let found = infer::get(&bytes).unwrap().mime_type().replace("x-", "");
    assert_eq!(told.replace("x-", ""), found, "a stand-in is whatever it is");
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_its_name_before_anything_is_ordered() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    for (change, param, code) in [
        (json!({ "input": null }), "input", "missing_required_parameter"),
        (json!({ "input": "" }), "input", "invalid_value"),
        (json!({ "input": "x".repeat(4097) }), "input", "invalid_value"),
        (json!({ "voice": "nobody" }), "voice", "invalid_value"),
        (json!({ "voice": 3 }), "voice", "invalid_type"),
        (json!({ "voice": {} }), "voice", "invalid_value"),
        (json!({ "response_format": "pcm" }), "response_format", "invalid_value"),
        (json!({ "response_format": "midi" }), "response_format", "invalid_value"),
        (json!({ "speed": 5 }), "speed", "invalid_value"),
        (json!({ "speed": "fast" }), "speed", "invalid_type"),
        (json!({ "instructions": "softly" }), "instructions", "invalid_value"),
        (json!({ "stream_format": "chunks" }), "stream_format", "invalid_value"),
        (json!({ "model": "gpt-image-2" }), "model", "invalid_value"),
        (json!({ "pitch": 2 }), "pitch", "unknown_parameter"),
    ] {
        let mut body: Value = json!({ "model": "tts-1", "input": "hello", "voice": "alloy" });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, _, error) = refused(post(&server, PATH, &body).await).await;
        assert_eq!((status, &error["param"], &error["code"]), (400, &json!(param), &json!(code)), "{change} {error}");
    }
    assert_eq!(simulator.counted("openai", "creates_received").await, 0);
}
