use bytes::Bytes;

use super::*;
use crate::{
    domain::{
        money::{MicroUsd, Usage},
        names::SubmitKey,
        order::{InputRole, OptionName, OptionValue},
    },
    provider::{
        error::{Effect, ErrorKind},
        port::{InputFile, OrderInput, Provider, RemoteOutput, Submitted},
    },
};

async fn done(openai: &OpenAi, order: &Order) -> (Vec<RemoteOutput>, Usage) {
    match openai.submit(order, &SubmitKey::fresh()).await.unwrap() {
        Submitted::Done(outputs, usage) => (outputs, usage),
        Submitted::Pending(ticket) => panic!("{ticket:?}"),
    }
}

fn made() -> Value {
    json!({
        "created": 1_700_000_000, "background": "opaque", "output_format": "png", "quality": "high", "size": "1024x1024",
        "data": [{"b64_json": "YWJj", "url": null, "revised_prompt": null}, {"b64_json": "ZGVm"}],
        "usage": {"input_tokens": 50, "input_tokens_details": {"text_tokens": 50, "image_tokens": 0}, "output_tokens": 4160.0, "total_tokens": 4210},
    })
}

#[tokio::test]
async fn pictures_come_with_the_answer_and_what_they_took() {
    let server = Server::always(Reply::json(200, &made()).with("x-litellm-response-cost", "0.167")).await;
    let openai = openai(&server.base);
    let mut order = order(&openai, "gpt-image-2");
    order.options.extend([
        (OptionName::Samples, OptionValue::Int(2)),
        (OptionName::Quality, OptionValue::Text("high".to_owned())),
        (OptionName::Background, OptionValue::Text("transparent".to_owned())),
        (OptionName::Format, OptionValue::Text("png".to_owned())),
        (OptionName::Width, OptionValue::Int(1024)),
        (OptionName::Height, OptionValue::Int(1024)),
    ]);
    let (outputs, usage) = done(&openai, &order).await;
    assert!(matches!(&outputs[..], [RemoteOutput::Inline(a), RemoteOutput::Inline(b)] if a == "abc" && b == "def"));
    assert_eq!((usage.outputs, usage.tokens, usage.charged), (Some(2), Some(4160.0), Some(MicroUsd(167_000))));
    assert!(usage.megapixels.is_some_and(|megapixels| (megapixels - 2.097_152).abs() < 1e-9));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /v1/images/generations");
    let sent = json!({
        "prompt": "a fox in the snow", "model": "gpt-image-2", "n": 2, "quality": "high", "background": "transparent",
        "output_format": "png", "size": "1024x1024",
    });
    assert_eq!(asked.json(), sent);
}

#[tokio::test]
async fn references_are_really_attached_and_the_source_comes_first() {
    let server = Server::always(Reply::json(200, &made())).await;
    let openai = openai(&server.base);
    let mut order = order(&openai, "gpt-image-2");
    order.options.insert(OptionName::Background, OptionValue::Text("opaque".to_owned()));
    let input = |role, media_type: &str, data: &'static [u8]| OrderInput {
        role,
        file: InputFile::Bytes { media_type: media_type.to_owned(), data: Bytes::from_static(data) },
    };
    order.inputs = vec![
        input(InputRole::Reference, "image/jpeg", b"a face"),
        input(InputRole::Source, "image/png", b"a room"),
        input(InputRole::Mask, "image/png", b"a mask"),
    ];
    done(&openai, &order).await;
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /v1/images/edits");
    let parts = form(asked);
    let images: Vec<&String> = parts.iter().filter(|part| part.contains("name=\"image[]\"")).collect();
    assert!(images.len() == 2 && images[0].ends_with("a room") && images[1].ends_with("a face"), "{parts:?}");
    assert!(images[1].contains("filename=\"input.jpg\""));
    assert_eq!(text(asked, "mask").as_deref(), Some("a mask"));
    assert_eq!(text(asked, "background").as_deref(), Some("opaque"));

    order.inputs.truncate(1);
    done(&openai, &order).await;
    // One goes by the plain name, which every server takes.
    assert_eq!(text(&server.asked()[1], "image").as_deref(), Some("a face"));
}

#[tokio::test]
async fn a_picture_may_be_an_address_that_is_fetched_behind_the_fence() {
    let answer = json!({"created": 1, "data": [{"url": "/v1/images/x/content"}]});
    let server = Server::start(move |asked| match asked.line.as_str() {
        "GET /v1/images/x/content" => Reply::new(200, "a picture"),
        _ => Reply::json(200, &answer),
    })
    .await;
    let openai = openai(&server.base);
    let (outputs, _) = done(&openai, &order(&openai, "gpt-image-2")).await;
    assert_eq!(contract::bytes(&openai, &outputs[0]).await, b"a picture");
}

#[tokio::test]
async fn speech_is_the_answer_itself() {
    let server = Server::always(Reply::new(200, vec![0xFF, 0xFB, 0x90, 0x00]).with("content-type", "audio/mpeg")).await;
    let openai = openai(&server.base);
    let mut order = order(&openai, "gpt-4o-mini-tts");
    order.options.extend([
        (OptionName::Voice, OptionValue::Text("coral".to_owned())),
        (OptionName::Format, OptionValue::Text("mp3".to_owned())),
        (OptionName::Speed, OptionValue::Number(1.5)),
        (OptionName::Instructions, OptionValue::Text("whisper".to_owned())),
    ]);
    let (outputs, usage) = done(&openai, &order).await;
    assert!(matches!(&outputs[..], [RemoteOutput::Inline(sound)] if sound.len() == 4));
    assert_eq!((usage.characters, usage.outputs), (Some(17), Some(1)));
    let sent = json!({
        "input": "a fox in the snow", "model": "gpt-4o-mini-tts", "voice": "coral", "response_format": "mp3", "speed": 1.5,
        "instructions": "whisper",
    });
    assert_eq!((server.lines()[0].as_str(), server.asked()[0].json()), ("POST /v1/audio/speech", sent));

    let undescribed = Order { card: None, model: "kokoro".to_owned(), options: Default::default(), ..order };
    done(&openai, &undescribed).await;
    assert_eq!(server.asked()[1].json(), json!({"input": "a fox in the snow", "model": "kokoro"}));
}

#[tokio::test]
async fn an_error_with_a_good_status_is_an_error() {
    let check = async |model: &str, body: &str, kind, effect| {
        let server = Server::always(Reply::new(200, body.to_owned())).await;
        let openai = openai(&server.base);
        let error = openai.submit(&order(&openai, model), &SubmitKey::fresh()).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (kind, effect), "{model} {body}: {}", error.summary);
    };
    use Effect::{Maybe, None as Not};
    check(
        "gpt-image-2",
        r#"{"error": {"message": "no", "code": "content_policy_violation"}}"#,
        ErrorKind::ContentRefused,
        Not,
    )
    .await;
    check("gpt-image-2", r#"{"error": {"message": "it broke"}}"#, ErrorKind::Overloaded, Maybe).await;
    check("gpt-image-2", "<html>", ErrorKind::Protocol, Maybe).await;
    check("tts-1", "<html>login</html>", ErrorKind::Protocol, Maybe).await;
    check("tts-1", r#"{"error": {"message": "x", "code": "insufficient_quota"}}"#, ErrorKind::OutOfCredit, Not).await;
    check("sora-2", r#"{"status": "queued"}"#, ErrorKind::NoJobId, Maybe).await;
}

#[tokio::test]
async fn an_answer_without_a_file_holds_no_output() {
    let nothing = [
        ("gpt-image-2", r#"{"created": 1, "data": []}"#),
        ("gpt-image-2", r#"{"created": 1, "data": [{"b64_json": null}]}"#),
        ("tts-1", ""),
        ("tts-1", r#"{"created": 1}"#),
    ];
    for (model, body) in nothing {
        let server = Server::always(Reply::new(200, body)).await;
        let openai = openai(&server.base);
        let (outputs, usage) = done(&openai, &order(&openai, model)).await;
        assert!(outputs.is_empty() && usage.outputs == Some(0), "{model} {body}");
    }
}
