use bytes::Bytes;
use serde_json::{Value, json};
use url::Url;

use super::{FAST, OPERATION, order, token, vertex_with};
use crate::{
    domain::{
        names::SubmitKey,
        order::{InputRole, OptionName, OptionValue},
    },
    provider::{
        contract,
        error::{Effect, ErrorKind},
        http::inputs::Inputs,
        port::{InputFile, Order, OrderInput, Provider},
        tests::server::{Reply, Server},
    },
};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and more";

async fn server() -> Server {
    Server::start(|asked| match asked.line.as_str() {
        "GET /pictures/a.png" => Reply::new(200, PNG),
        "GET /pictures/words" => Reply::new(200, "no picture"),
        "GET /pictures/gone" => Reply::new(404, ""),
        _ => token(asked).unwrap_or_else(|| Reply::json(200, &json!({ "name": OPERATION }))),
    })
    .await
}

/// The body that this order becomes.
async fn sent(model: &str, more: &[(&'static str, &str)], change: impl FnOnce(&mut Order, &Url)) -> Value {
    let server = server().await;
    let vertex = vertex_with(&server.base, more);
    let mut order = order(&vertex, model);
    change(&mut order, &server.base);
    contract::accepted(&vertex, &order).await;
    let asked = server.asked().pop().unwrap();
    let line =
        format!("POST /v1/projects/p1/locations/us-central1/publishers/google/models/{model}:predictLongRunning");
    assert_eq!(asked.line, line);
    asked.json()
}

fn bytes(role: InputRole) -> OrderInput {
    let data = Bytes::from_static(b"abc");
    OrderInput { role, file: InputFile::Bytes { media_type: "image/jpeg".to_owned(), data } }
}

fn at(role: InputRole, url: &str) -> OrderInput {
    OrderInput { role, file: InputFile::Url(Url::parse(url).unwrap()) }
}

#[tokio::test]
async fn options_become_parameters_and_the_prompt_is_the_instances() {
    let body = sent(FAST, &[], |order, _| {
        order.options = [
            (OptionName::Duration, OptionValue::Int(6)),
            (OptionName::Resolution, OptionValue::Text("1080p".to_owned())),
            (OptionName::Audio, OptionValue::Bool(true)),
            (OptionName::Seed, OptionValue::Int(7)),
            (OptionName::Samples, OptionValue::Int(2)),
            (OptionName::NegativePrompt, OptionValue::Text("rain".to_owned())),
            (OptionName::AspectRatio, OptionValue::Text("9:16".to_owned())),
        ]
        .into();
        order.provider_options =
            [("personGeneration", json!("allow_all")), ("enhancePrompt", json!(true)), ("labels", json!({ "a": "b" }))]
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect();
    })
    .await;
    let expected = json!({
        "instances": [{ "prompt": "a fox in the snow" }],
        "parameters": {
            "durationSeconds": 6, "resolution": "1080p", "generateAudio": true, "seed": 7, "sampleCount": 2,
            "negativePrompt": "rain", "aspectRatio": "9:16", "personGeneration": "allow_all", "enhancePrompt": true,
        },
        "labels": { "a": "b" },
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn frames_and_references_are_carried_as_bytes_or_named_in_a_bucket() {
    let file = json!({ "bytesBase64Encoded": "YWJj", "mimeType": "image/jpeg" });
    let body = sent(FAST, &[], |order, _| {
        order.inputs = vec![
            bytes(InputRole::FirstFrame),
            at(InputRole::LastFrame, "https://storage.googleapis.com/films/b%20c.png"),
        ];
    })
    .await;
    let last = json!({ "gcsUri": "gs://films/b c.png", "mimeType": "image/png" });
    assert_eq!(body["instances"][0], json!({ "prompt": "a fox in the snow", "image": file, "lastFrame": last }));

    let body = sent(FAST, &[], |order, _| {
        order.inputs = vec![bytes(InputRole::Reference), bytes(InputRole::Reference)];
        order.provider_options.insert("referenceType".to_owned(), json!("style"));
    })
    .await;
    let reference = json!({ "image": file, "referenceType": "style" });
    assert_eq!(body["instances"][0]["referenceImages"], json!([reference, reference]));
    assert_eq!(body["parameters"], json!({}));

    let body = sent(FAST, &[], |order, _| {
        order.inputs = vec![at(InputRole::Source, "https://storage.googleapis.com/films/clip")];
    })
    .await;
    assert_eq!(body["instances"][0]["video"], json!({ "gcsUri": "gs://films/clip", "mimeType": "video/mp4" }));
}

#[tokio::test]
async fn a_picture_at_an_address_is_fetched_without_the_token() {
    let server = server().await;
    let mut vertex = vertex_with(&server.base, &[]);
    vertex.inputs = Inputs::admitting(&vertex.id, "127.0.0.1");
    let mut order = order(&vertex, FAST);
    let place = |name: &str| server.at(&format!("/pictures/{name}")).to_string();
    order.inputs = vec![at(InputRole::FirstFrame, &place("a.png"))];
    contract::accepted(&vertex, &order).await;
    let asked = server.asked();
    assert_eq!((asked[0].line.as_str(), asked[0].authorization.as_deref()), ("GET /pictures/a.png", None));
    let file = &asked.last().unwrap().json()["instances"][0]["image"];
    assert_eq!(file["mimeType"], "image/png");

    for name in ["words", "gone"] {
        order.inputs = vec![at(InputRole::FirstFrame, &place(name))];
        let error = vertex.submit(&order, &SubmitKey::fresh()).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (ErrorKind::InvalidOrder, Effect::None), "{name}");
        assert_eq!(error.field.as_deref(), Some("inputs"));
    }
    order.inputs = vec![at(InputRole::FirstFrame, "https://10.0.0.1/a.png")];
    let error = vertex.submit(&order, &SubmitKey::fresh()).await.unwrap_err();
    assert!(error.summary.contains("private network"), "{}", error.summary);
}

#[tokio::test]
async fn every_submit_has_a_folder_of_its_own() {
    let folder = |body: Value| body["parameters"]["storageUri"].as_str().unwrap().to_owned();
    let more = [("storage_uri", "gs://films/videos/")];
    let first = folder(sent(FAST, &more, |_, _| {}).await);
    let second = folder(sent(FAST, &more, |_, _| {}).await);
    assert!(first.starts_with("gs://films/videos/") && first.ends_with('/') && first != second, "{first}");
    let wish = json!("gs://pixology/videos/p1/scene_2/");
    let own = sent(FAST, &more, |order, _| {
        order.provider_options.insert("storageUri".to_owned(), wish);
    });
    assert!(folder(own.await).starts_with("gs://pixology/videos/p1/scene_2/"));
    let server = server().await;
    let vertex = vertex_with(&server.base, &[]);
    let mut order = order(&vertex, FAST);
    order.provider_options.insert("storageUri".to_owned(), json!("s3://films/"));
    let error = vertex.submit(&order, &SubmitKey::fresh()).await.unwrap_err();
    assert_eq!(error.field.as_deref(), Some("options.provider_options.storageUri"));
}

#[tokio::test]
async fn a_model_that_cannot_be_named_is_refused_before_anything_is_sent() {
    let server = server().await;
    let vertex = vertex_with(&server.base, &[]);
    for model in ["", "a/b", "veo:predict", "veo?x"] {
        let error = vertex.submit(&order(&vertex, model), &SubmitKey::fresh()).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (ErrorKind::ModelNotFound, Effect::None), "{model}");
    }
    assert_eq!(server.asked().len(), 0);
}
