use serde_json::{Value, json};
use url::Url;

use super::{KEY, adapter, interaction, ticket};
use crate::{
    domain::{failure::Charged, money::Usage, names::ProviderId},
    provider::{
        error::{ErrorKind, ProviderError},
        gemini::content,
        port::{Progress, Provider, RemoteOutput, Status},
        tests::{
            conversations::are_heard_as_they_say,
            failures::mean_what_they_say,
            server::{Reply, Server},
        },
    },
};

const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAA";

fn read(made: &Value) -> Result<(Vec<RemoteOutput>, Usage), ProviderError> {
    content::read(&ProviderId::from_id("gemini").unwrap(), made, "a fox in the snow")
}

#[test]
fn pictures_are_taken_from_wherever_parts_have_them() {
    let check = |parts: Value, expected: usize| {
        let made = json!({ "candidates": [{ "content": { "parts": parts }, "finishReason": "STOP" }], "new": null });
        assert_eq!(read(&made).unwrap().0.len(), expected, "{made}");
    };
    let picture = |mime: &str| json!({ "inlineData": { "mimeType": mime, "data": PNG } });
    check(json!([{ "text": "Here you go!" }, picture("image/png")]), 1);
    check(json!([picture("image/jpeg"), { "thoughtSignature": "x".repeat(1000) }]), 1);
    check(
        json!([{ "thought": true, "inlineData": { "mimeType": "image/png", "data": PNG } }, picture("image/png")]),
        1,
    );
    check(json!([picture("image/png"), picture("image/png")]), 2);
    check(json!([{ "inline_data": { "mime_type": "image/webp", "data": PNG }, "thoughtSignature": null }]), 1);
    check(json!([{ "inlineData": { "mimeType": "audio/wav", "data": PNG } }, picture("image/png")]), 1);
}

#[test]
fn what_was_used_is_counted_as_the_vendor_counts_it() {
    let check = |usage: Value, expected: Option<f64>| {
        let parts = json!([{ "inlineData": { "mimeType": "image/png", "data": PNG } }]);
        let made = json!({ "usageMetadata": usage, "candidates": [{ "content": { "parts": parts } }] });
        let (_, used) = read(&made).unwrap();
        assert_eq!(used, Usage { outputs: Some(1), tokens: expected, ..Usage::default() }, "{made}");
    };
    let details = json!([{ "modality": "TEXT", "tokenCount": 5 }, { "modality": "IMAGE", "tokenCount": 1290.0 }]);
    check(json!({ "candidatesTokenCount": 1295, "candidatesTokensDetails": details }), Some(1290.0));
    check(json!({ "candidatesTokenCount": "1295" }), Some(1295.0));
    check(json!({}), None);
    check(Value::Null, None);
}

#[test]
fn a_refusal_never_quotes_the_prompt() {
    let why = "cannot draw a fox in the snow";
    let made = json!({ "promptFeedback": { "blockReason": "SAFETY", "blockReasonMessage": why } });
    let error = read(&made).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ContentRefused);
    assert!(error.summary.contains("SAFETY, cannot draw […]"), "{}", error.summary);
}

async fn polled(interaction: Value) -> Result<Progress, ProviderError> {
    let server = Server::always(Reply::json(200, &interaction)).await;
    adapter(&server.base).poll(&ticket(json!({ "seconds": 6.0 }))).await
}

#[tokio::test]
async fn an_interaction_on_its_way_shows_where_it_is() {
    assert!(matches!(polled(interaction("queued", json!([]))).await.unwrap().status, Status::Waiting));
    for word in ["in_progress", "pondering"] {
        let progress = polled(interaction(word, json!(null))).await.unwrap();
        assert!(matches!(progress.status, Status::Running), "{word}");
        assert_eq!(progress.phase.as_deref(), Some(word));
    }
    let progress = polled(interaction("cancelled", json!([]))).await.unwrap();
    assert!(matches!(progress.status, Status::Cancelled(Charged::No)));
    for broken in [json!({ "id": "v1_abc" }), json!({ "id": "other", "status": "queued" }), json!([])] {
        assert_eq!(polled(broken).await.unwrap_err().kind, ErrorKind::Protocol);
    }
}

#[tokio::test]
async fn a_video_comes_within_or_at_an_address_and_its_tokens_are_told() {
    let uri = "https://generativelanguage.googleapis.com/v1beta/files/f1";
    for content in [
        json!([{ "type": "text", "text": "done" }, { "type": "video", "mime_type": "video/mp4", "uri": uri }]),
        json!([{ "type": "video", "uri": format!("{uri}:download?alt=media"), "data": null }]),
    ] {
        let mut done = interaction("completed", content);
        done["usage"] = json!({ "total_output_tokens": 34_752, "output_tokens_by_modality": [
            { "modality": "text", "tokens": 2 }, { "modality": "video", "tokens": 34_750 }] });
        let progress = polled(done).await.unwrap();
        let Status::Done(outputs) = &progress.status else { panic!("{progress:?}") };
        let [RemoteOutput::Link(link)] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(link.as_str(), format!("{uri}:download?alt=media"));
        let expected =
            Usage { outputs: Some(1), output_seconds: Some(6.0), tokens: Some(34_750.0), ..Usage::default() };
        assert_eq!(progress.usage, expected);
    }
    let inline = polled(interaction("completed", json!([{ "type": "video", "data": PNG }]))).await.unwrap();
    assert!(matches!(&inline.status, Status::Done(outputs) if matches!(outputs[..], [RemoteOutput::Inline(_)])));
    // What was made before it ran out of room is an output too.
    let incomplete = polled(interaction("incomplete", json!([{ "type": "video", "data": PNG }]))).await.unwrap();
    assert!(matches!(incomplete.status, Status::Done(_)));
}

#[tokio::test]
async fn every_failure_on_file_means_what_it_says() {
    let n_files = mean_what_they_say("gemini", |base: &Url| adapter(base), |_| None).await;
    assert!(n_files >= 30, "{n_files}");
    assert!(!format!("{:?}", adapter(&Url::parse("https://a.example/v1").unwrap())).contains(KEY));
}

#[tokio::test]
async fn every_conversation_on_file_is_heard_as_it_says() {
    assert!(are_heard_as_they_say("gemini", |base: &Url| adapter(base)).await >= 10);
}
