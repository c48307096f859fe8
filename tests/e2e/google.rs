//! Google's two APIs from the door to the bytes: Veo on Vertex AI, pictures and Omni on the Gemini API.
#![cfg(test)]

use std::{path::Path, process::Command, time::Duration};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use filmgate::pb::v1::{
    Charged, ErrorReason, GenerateImageRequest, GenerateVideoRequest, Generation, ImageOptions, Input, InputRole,
    State, VideoOptions, input::Source,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    simulator::Simulator,
    support::server::{Server, Setup, video},
};

const STILL: &[u8] = include_bytes!("../fixtures/media/still.jpg");

/// Vertex AI with a bucket, as the machine's own account.
fn vertex(simulator: &Simulator) -> Setup {
    Setup::sample()
        .with("FILMGATE_VERTEX_PROJECT", "p1")
        .with("FILMGATE_VERTEX_BASE_URL", &simulator.at("/vertex/v1"))
        .with("FILMGATE_VERTEX_STORAGE_API", &simulator.at("/vertex"))
        .with("FILMGATE_VERTEX_STORAGE_URI", "gs://films/videos")
        .with("GCE_METADATA_HOST", simulator.at("").trim_start_matches("http://"))
}

fn gemini(simulator: &Simulator) -> Setup {
    Setup::sample()
        .with("GEMINI_API_KEY", "AIza-a-secret-key")
        .with("FILMGATE_GEMINI_BASE_URL", &simulator.at("/gemini/v1beta"))
}

fn ordered(model: &str, prompt: &str) -> GenerateVideoRequest {
    GenerateVideoRequest { model: model.to_owned(), ..video(prompt) }
}

fn veo(prompt: &str) -> GenerateVideoRequest {
    ordered("vertex/veo-3.1-fast-generate-001", prompt)
}

fn input(role: InputRole, source: Source) -> Input {
    Input { role: role.into(), source: Some(source) }
}

async fn image(server: &Server, prompt: &str, options: ImageOptions, inputs: Vec<Input>) -> Generation {
    let model = "gemini/nano-banana-2".to_owned();
    let request =
        GenerateImageRequest { prompt: prompt.to_owned(), model, options: Some(options), inputs, ..Default::default() };
    let mut stream = server.generations().await.generate_image(request).await.unwrap().into_inner();
    let name = stream.message().await.unwrap().unwrap().generation.unwrap().name;
    server.end_of(&name).await
}

#[tokio::test]
async fn veo_makes_videos_from_frames_and_they_come_from_the_bucket() {
    let simulator = Simulator::start(&[]);
    let server = vertex(&simulator).start().await;
    let data_uri = format!("data:image/jpeg;base64,{}", STANDARD.encode(STILL));
    let ended = server
        .generate(GenerateVideoRequest {
            options: Some(VideoOptions {
                duration: Some(prost_types::Duration { seconds: 6, nanos: 0 }),
                resolution: "1080p".to_owned(),
                audio: Some(true),
                samples: Some(2),
                seed: Some(7),
                ..VideoOptions::default()
            }),
            inputs: vec![
                input(InputRole::FirstFrame, Source::Data(STILL.to_vec().into())),
                input(InputRole::LastFrame, Source::Uri(data_uri)),
            ],
            ..veo("a fox")
        })
        .await
        .unwrap();
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    assert_eq!(ended.artifacts.len(), 2);
    // Two videos of six seconds at $0.12.
    assert_eq!(ended.cost.unwrap().settled_micro_usd, Some(1_440_000));
    let bytes = server.bytes(&ended).await.bytes().await.unwrap();
    assert_eq!(infer::get(&bytes).unwrap().mime_type(), "video/mp4");

    let job = &simulator.jobs("vertex").await[0];
    let file = json!({ "bytesBase64Encoded": STANDARD.encode(STILL), "mimeType": "image/jpeg" });
    assert_eq!((&job["body"]["instances"][0]["image"], &job["body"]["instances"][0]["lastFrame"]), (&file, &file));
    let mut parameters = job["body"]["parameters"].clone();
    let folder = parameters["storageUri"].take();
    assert!(folder.as_str().unwrap().starts_with("gs://films/videos/"), "{folder}");
    let expected = json!({
        "durationSeconds": 6, "resolution": "1080p", "generateAudio": true, "sampleCount": 2, "seed": 7,
        "aspectRatio": "16:9", "storageUri": null,
    });
    assert_eq!(parameters, expected);
    assert_eq!(simulator.counted("vertex", "downloads").await, 2);
}

#[tokio::test]
async fn veo_whose_answer_was_lost_is_found_in_the_bucket_and_bought_once() {
    for rule in ["create:drop,effect=after", "create:html=502,effect=after", "create:malformed"] {
        let simulator = Simulator::start(&[rule]);
        let server = vertex(&simulator).start().await;
        let ended = server.generate(veo("a fox")).await.unwrap();
        assert_eq!(ended.state(), State::Succeeded, "{rule}: {ended:?}");
        assert_eq!(ended.cost.unwrap().settled_micro_usd, Some(640_000), "{rule}");
        let creates = ["creates_received", "creates_effective"];
        for name in creates {
            assert_eq!(simulator.counted("vertex", name).await, 1, "{rule} {name}");
        }
    }
}

#[tokio::test]
async fn what_the_filter_takes_is_a_refusal_and_costs_nothing() {
    let simulator =
        Simulator::start(&[r#"create:failed="This prompt may violate the guidelines. Support codes: 58061214""#]);
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
    // As programs in use are set up: a whole key in one variable, and videos within the answer.
    let account = json!({ "type": "service_account", "project_id": "p2", "client_email": "a@p2.example",
        "private_key_id": "k1", "private_key": pem, "token_uri": simulator.at("/vertex/token") });
    let setup = Setup::sample()
        .with("VEO3_SERVICE_ACCOUNT_KEY", &serde_json::to_string_pretty(&account).unwrap())
        .with("FILMGATE_VERTEX_BASE_URL", &simulator.at("/vertex/v1"))
        .with("FILMGATE_VERTEX_STORAGE_API", &simulator.at("/vertex"));
    let server = setup.start().await;
    let ended = server.generate(veo("a fox")).await.unwrap();
    assert_eq!(ended.state(), State::Failed, "{ended:?}");
    let failure = ended.failure.unwrap();
    assert_eq!((failure.reason(), failure.charged()), (ErrorReason::ProviderRefusedContent, Charged::No));
    assert!(failure.message.contains("(child)") && !failure.retryable, "{failure:?}");
    assert_eq!((failure.field.as_str(), ended.cost.unwrap().settled_micro_usd), ("prompt", Some(0)));
    simulator.faults(&[]).await;
    let ended = server.generate(veo("another fox")).await.unwrap();
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    assert!(simulator.jobs("vertex").await[1]["path"].as_str().unwrap().contains("/projects/p2/"));
    assert!(!server.setup().log().contains("PRIVATE KEY"));
}

#[tokio::test]
async fn a_picture_comes_with_the_answer_and_is_priced_by_its_size() {
    let simulator = Simulator::start(&["create:prompt=[bad]:failed=IMAGE_SAFETY"]);
    let server = gemini(&simulator).start().await;
    let options =
        ImageOptions { aspect_ratio: "16:9".to_owned(), resolution: "2K".to_owned(), ..ImageOptions::default() };
    let inputs = vec![input(InputRole::Reference, Source::Data(STILL.to_vec().into()))];
    let ended = image(&server, "a fox", options, inputs).await;
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    assert_eq!(ended.cost.unwrap().settled_micro_usd, Some(101_000));
    assert_eq!(ended.artifacts[0].media_type, "image/png");
    let job = &simulator.jobs("gemini").await[0];
    let picture = json!({ "inlineData": { "mimeType": "image/jpeg", "data": STANDARD.encode(STILL) } });
    assert_eq!(job["body"]["contents"][0]["parts"], json!([{ "text": ended.brief }, picture]));
    let config = json!({ "aspectRatio": "16:9", "imageSize": "2K" });
    assert_eq!(job["body"]["generationConfig"]["imageConfig"], config);

    let refused = image(&server, "a [bad] fox", ImageOptions::default(), Vec::new()).await;
    let failure = refused.failure.unwrap();
    assert_eq!((failure.reason(), failure.charged()), (ErrorReason::ProviderRefusedContent, Charged::No));
}

#[tokio::test]
async fn omni_makes_a_video_and_can_be_stopped() {
    let simulator = Simulator::start(&["create:prompt=[held]:hold"]);
    let server = gemini(&simulator).start().await;
    let ended = server.generate(ordered("gemini/gemini-omni-1.1-flash", "a fox")).await.unwrap();
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    // 34 752 tokens of video at $17.50 a million.
    assert_eq!(ended.cost.unwrap().settled_micro_usd, Some(608_160));
    let body: &Value = &simulator.jobs("gemini").await[0]["body"];
    assert_eq!((&body["response_format"]["duration"], &body["background"]), (&json!("6s"), &json!(true)));

    let held = server.order(ordered("gemini/gemini-omni-1.1-flash", "a [held] fox")).await.unwrap();
    server.until(&held.name, |generation| generation.state() == State::Running).await;
    server.cancel(&held.name).await.unwrap();
    assert_eq!(server.end_of(&held.name).await.state(), State::Cancelled);
    assert_eq!(simulator.counted("gemini", "cancels").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn googles_own_client_works() {
    let simulator = Simulator::start(&[]);
    simulator.control("settings", json!({ "latency": "30ms" })).await;
    #[expect(clippy::disallowed_methods, reason = "a test has no settings of its own")]
    let python = std::env::var("FILMGATE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/google_sdk.py");
    let root = simulator.at("");
    let run = tokio::task::spawn_blocking(move || Command::new(&python).arg(script).arg(root).output());
    let output = timeout(Duration::from_secs(90), run).await.expect("the client ends").unwrap().expect("python starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), 11, "{text}");
}
