use bytes::Bytes;
use serde_json::{Value, json};
use url::Url;

use super::{IMAGE, OMNI, VEO, adapter, order};
use crate::{
    domain::{
        names::SubmitKey,
        order::{InputRole, OptionName, OptionValue},
    },
    provider::{
        error::{Effect, ErrorKind},
        port::{InputFile, Order, OrderInput, Provider, Submitted},
        tests::server::{Reply, Server},
    },
};

/// The line and body that this order becomes.
async fn sent(model: &str, change: impl FnOnce(&mut Order)) -> (String, Value) {
    let server = Server::start(|asked| {
        let part = json!({ "inlineData": { "mimeType": "image/png", "data": "iVBORw0KGgo=" } });
        Reply::json(
            200,
            &match asked.line.as_str() {
                line if line.ends_with(":generateContent") => {
                    json!({ "candidates": [{ "content": { "parts": [part] } }] })
                }
                "POST /v1/interactions" => json!({ "id": "v1_abc", "status": "queued" }),
                _ => json!({ "name": "models/veo/operations/op1" }),
            },
        )
    })
    .await;
    let gemini = adapter(&server.base);
    let mut order = order(&gemini, model);
    change(&mut order);
    gemini.submit(&order, &SubmitKey::fresh()).await.unwrap();
    let asked = server.asked().pop().unwrap();
    (asked.line.clone(), asked.json())
}

fn input(role: InputRole) -> OrderInput {
    let data = Bytes::from_static(b"abc");
    OrderInput { role, file: InputFile::Bytes { media_type: "image/png".to_owned(), data } }
}

fn text(text: &str) -> OptionValue {
    OptionValue::Text(text.to_owned())
}

#[tokio::test]
async fn a_picture_is_ordered_with_words_pictures_and_its_shape() {
    let (line, body) = sent(IMAGE, |order| {
        order.options =
            [(OptionName::AspectRatio, text("16:9")), (OptionName::Resolution, text("2K"))].into_iter().collect();
        order.inputs = vec![input(InputRole::Source), input(InputRole::Reference)];
        order.provider_options.insert("systemInstruction".to_owned(), json!("be kind"));
        order.provider_options.insert("safetySettings".to_owned(), json!([]));
    })
    .await;
    assert_eq!(line, "POST /v1/models/gemini-3.1-flash-image:generateContent");
    let picture = json!({ "inlineData": { "mimeType": "image/png", "data": "YWJj" } });
    let expected = json!({
        "contents": [{ "role": "user", "parts": [{ "text": "a fox in the snow" }, picture, picture] }],
        "generationConfig": {
            "responseModalities": ["IMAGE"], "imageConfig": { "aspectRatio": "16:9", "imageSize": "2K" },
        },
        "systemInstruction": { "parts": [{ "text": "be kind" }] },
        "safetySettings": [],
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn an_interaction_says_what_to_do_with_its_inputs() {
    let (line, body) = sent(OMNI, |order| {
        order.options = [
            (OptionName::Duration, OptionValue::Int(6)),
            (OptionName::AspectRatio, text("9:16")),
            (OptionName::Resolution, text("1080p")),
        ]
        .into();
    })
    .await;
    assert_eq!(line, "POST /v1/interactions");
    let expected = json!({
        "model": OMNI, "background": true, "store": true,
        "input": [{ "type": "text", "text": "a fox in the snow" }],
        "response_format": {
            "type": "video", "delivery": "uri", "duration": "6s", "aspect_ratio": "9:16", "resolution": "1080p",
        },
        "generation_config": { "video_config": { "task": "text_to_video" } },
    });
    assert_eq!(body, expected);
    let check = async |role: InputRole, task: &str, kind: &str| {
        let (_, body) = sent(OMNI, |order| order.inputs = vec![input(role)]).await;
        assert_eq!(body["generation_config"]["video_config"]["task"], task);
        assert_eq!(body["input"][1], json!({ "type": kind, "mime_type": "image/png", "data": "YWJj" }));
    };
    check(InputRole::FirstFrame, "image_to_video", "image").await;
    check(InputRole::Reference, "reference_to_video", "image").await;
    check(InputRole::Source, "edit", "video").await;
    let (_, body) = sent(OMNI, |order| {
        order.inputs = vec![input(InputRole::Source)];
        order.provider_options.insert("generation_config".to_owned(), json!({ "video_config": { "task": "extend" } }));
    })
    .await;
    assert_eq!(body["generation_config"], json!({ "video_config": { "task": "extend" } }));
}

#[tokio::test]
async fn veo_is_ordered_as_this_api_takes_it() {
    let (line, body) = sent(VEO, |order| {
        order.options = [(OptionName::Duration, OptionValue::Int(8))].into();
        order.inputs = vec![input(InputRole::FirstFrame)];
    })
    .await;
    assert_eq!(line, "POST /v1/models/veo-3.1-generate-preview:predictLongRunning");
    let image = json!({ "bytesBase64Encoded": "YWJj", "mimeType": "image/png" });
    let instance = json!({ "prompt": "a fox in the snow", "image": image });
    assert_eq!(body, json!({ "instances": [instance], "parameters": { "durationSeconds": 8 } }));
}

#[tokio::test]
async fn a_model_without_a_card_is_ordered_by_what_makes_its_kind() {
    let (line, _) = sent("gemini-5-image", |_| {}).await;
    assert_eq!(line, "POST /v1/models/gemini-5-image:generateContent");
    let (line, body) = sent("gemini-omni-2", |order| order.kind = crate::domain::artifact::Kind::Video).await;
    assert_eq!((line.as_str(), &body["response_format"]["type"]), ("POST /v1/interactions", &json!("video")));
    let base = Url::parse("http://127.0.0.1:9/v1").unwrap();
    let gemini = adapter(&base);
    for model in ["", "a/b", "x:generateContent"] {
        let error = gemini.submit(&order(&gemini, model), &SubmitKey::fresh()).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (ErrorKind::ModelNotFound, Effect::None), "{model}");
    }
}

#[tokio::test]
async fn a_picture_is_there_when_the_call_ends() {
    let part = json!({ "inlineData": { "mimeType": "image/png", "data": "iVBORw0KGgo=" } });
    let answer = json!({ "candidates": [{ "content": { "parts": [part] } }] });
    let server = Server::always(Reply::json(200, &answer)).await;
    let gemini = adapter(&server.base);
    let made = gemini.submit(&order(&gemini, IMAGE), &SubmitKey::fresh()).await.unwrap();
    let Submitted::Done(outputs, usage) = made else { panic!("{made:?}") };
    assert_eq!((outputs.len(), usage.outputs), (1, Some(1)));
}
