//! OpenAI, and servers that speak its language: its own client against the simulator, and orders from the contract to the bytes.

use filmgate::pb::v1::{
    CachePolicy, CancelGenerationRequest, Charged, ErrorReason, GenerateImageRequest, GenerateSpeechRequest,
    GenerateVideoRequest, Generation, ImageOptions, Input, InputRole, SpeechOptions, State, VideoOptions,
    input::Source,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::{
    simulator::{Simulator, python},
    support::server::{SOON, Server, Setup, video},
};

const STILL: &[u8] = include_bytes!("../../src/simulator/still.png");
/// In another format, so that the two can be told apart.
const PHOTO: &[u8] = include_bytes!("../../src/simulator/still.jpg");

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_client_of_openai_works() {
    let simulator = Simulator::start(&[]);
    simulator.control("settings", json!({ "latency": "30ms" })).await;
    let text = python("openai_sdk.py", simulator.openai()).await;
    assert_eq!(text.lines().count(), 14, "{text}");
}

/// OpenAI itself, a server of one's own without a key, and an aggregator, all of them at the simulator.
fn setup(simulator: &Simulator) -> Setup {
    let base = simulator.openai();
    let file = format!(
        "[providers.own]\nadapter = \"openai\"\nbase_url = \"{base}\"\napi_key = \"any\"\nvideo_body = \"mixed\"\n\
         [providers.shop]\nadapter = \"openai-aggregator\"\nbase_url = \"{base}\"\napi_key = \"any\"\n"
    );
    let setup = Setup::sample().with("OPENAI_API_KEY", "sk-a-secret-key").with("OPENAI_BASE_URL", &base);
    setup.with_file("filmgate.toml", &file)
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn input(role: InputRole, source: Source) -> Input {
    Input { role: role.into(), source: Some(source) }
}

fn data_uri(media_type: &str, bytes: &[u8]) -> String {
    use base64::Engine as _;
    format!("data:{media_type};base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

async fn image(server: &Server, request: GenerateImageRequest) -> Generation {
    let mut stream = server.generations().await.generate_image(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = timeout(SOON, stream.message()).await.expect("a message in time").unwrap() {
        last = message.generation;
    }
    last.unwrap()
}

async fn speech(server: &Server, request: GenerateSpeechRequest) -> Generation {
    let mut stream = server.generations().await.generate_speech(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = timeout(SOON, stream.message()).await.expect("a message in time").unwrap() {
        last = message.generation;
    }
    last.unwrap()
}

fn options(options: &Value) -> prost_types::Struct {
    let fields = options.as_object().unwrap().iter().map(|(key, value)| {
        let kind = prost_types::value::Kind::StringValue(value.as_str().unwrap().to_owned());
        (key.clone(), prost_types::Value { kind: Some(kind) })
    });
    prost_types::Struct { fields: fields.collect() }
}

#[tokio::test]
async fn pictures_are_made_and_references_are_really_attached() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let made = image(
        &server,
        GenerateImageRequest {
            prompt: "a fox".to_owned(),
            model: "openai/gpt-image-2".to_owned(),
            options: Some(ImageOptions {
                samples: Some(2),
                quality: "high".to_owned(),
                background: "transparent".to_owned(),
                format: "png".to_owned(),
                width: Some(1024),
                height: Some(1536),
                ..ImageOptions::default()
            }),
            ..GenerateImageRequest::default()
        },
    )
    .await;
    assert_eq!(made.state(), State::Succeeded, "{made:?}");
    assert_eq!((made.artifacts.len(), made.artifacts[0].media_type.as_str()), (2, "image/png"));
    assert_eq!(server.bytes(&made).await.bytes().await.unwrap(), STILL);
    let body = &simulator.jobs("openai").await[0]["body"];
    let sent = json!({
        "prompt": made.brief, "model": "gpt-image-2", "n": 2, "quality": "high", "background": "transparent",
        "output_format": "png", "size": "1024x1536",
    });
    assert_eq!(*body, sent);

    let artifact = Source::Artifact(made.artifacts[0].name.clone());
    let edited = image(
        &server,
        GenerateImageRequest {
            prompt: "the same fox at night".to_owned(),
            model: "openai/gpt-image-2".to_owned(),
            inputs: vec![
                input(InputRole::Reference, Source::Uri(data_uri("image/jpeg", PHOTO))),
                input(InputRole::Source, artifact),
                input(InputRole::Mask, Source::Data(STILL.into())),
            ],
            ..GenerateImageRequest::default()
        },
    )
    .await;
    assert_eq!(edited.state(), State::Succeeded, "{edited:?}");
    let job = &simulator.jobs("openai").await[1];
    assert_eq!(job["path"], "/images/edits");
    let images = &job["body"]["image[]"];
    assert_eq!(images[0]["sha256"], sha256(STILL), "what is changed comes first");
    assert_eq!(images[1]["sha256"], sha256(PHOTO));
    assert_eq!(job["body"]["mask"]["sha256"], sha256(STILL));
}

#[tokio::test]
async fn a_text_is_spoken() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let made = speech(
        &server,
        GenerateSpeechRequest {
            prompt: "hello there".to_owned(),
            model: "openai/tts-1".to_owned(),
            options: Some(SpeechOptions {
                voice: "coral".to_owned(),
                speed: Some(1.25),
                format: "mp3".to_owned(),
                ..SpeechOptions::default()
            }),
            ..GenerateSpeechRequest::default()
        },
    )
    .await;
    assert_eq!((made.state(), made.artifacts[0].media_type.as_str()), (State::Succeeded, "audio/mpeg"), "{made:?}");
    let sent =
        json!({"input": "hello there", "model": "tts-1", "voice": "coral", "speed": 1.25, "response_format": "mp3"});
    assert_eq!(simulator.jobs("openai").await[0]["body"], sent);
    // 11 characters at $15 for a million.
    assert_eq!(made.cost.unwrap().settled_micro_usd, Some(165));
}

#[tokio::test]
async fn a_video_goes_from_a_picture_to_its_bytes() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let made = server
        .generate(GenerateVideoRequest {
            model: "openai/sora-2".to_owned(),
            options: Some(VideoOptions {
                duration: Some(prost_types::Duration { seconds: 8, nanos: 0 }),
                width: Some(1280),
                height: Some(720),
                ..VideoOptions::default()
            }),
            inputs: vec![input(InputRole::FirstFrame, Source::Data(STILL.into()))],
            ..video("it begins to move")
        })
        .await
        .unwrap();
    assert_eq!(made.state(), State::Succeeded, "{made:?}");
    assert_eq!(made.cost.unwrap().settled_micro_usd, Some(800_000));
    assert_eq!(&server.bytes(&made).await.bytes().await.unwrap()[4..8], b"ftyp");
    let job = &simulator.jobs("openai").await[0];
    let text = |field: &str| job["body"][field].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (text("seconds"), text("size"), text("prompt")),
        ("8".to_owned(), "1280x720".to_owned(), made.brief.clone())
    );
    assert_eq!(job["body"]["input_reference"]["sha256"], sha256(STILL));
    assert!(job["headers"]["idempotency-key"].is_string() && job["headers"].get("authorization").is_none());
}

#[tokio::test]
async fn a_video_whose_answer_was_lost_is_found_and_not_bought_twice() {
    let simulator = Simulator::start(&["create:first=1:drop,effect=after"]);
    let server = setup(&simulator).start().await;
    let request = GenerateVideoRequest { model: "openai/sora-2".to_owned(), ..video("a fox in the snow") };
    let made = server.generate(request).await.unwrap();
    assert_eq!(made.state(), State::Succeeded, "{made:?}");
    assert_eq!(simulator.jobs("openai").await.len(), 1);
}

#[tokio::test]
async fn an_aggregators_video_is_fetched_by_redirect_and_by_json() {
    let simulator =
        Simulator::start(&["create:prompt=[moved]:output=url", "create:prompt=[named]:output=object.data.url"]);
    let server = setup(&simulator).start().await;
    for (model, prompt) in [("shop/veo3", "a [moved] fox"), ("shop/sora2", "a [named] fox")] {
        let request =
            GenerateVideoRequest { model: model.to_owned(), cache: CachePolicy::Bypass.into(), ..video(prompt) };
        let made = server.generate(request).await.unwrap();
        assert_eq!(made.state(), State::Succeeded, "{made:?}");
        assert_eq!(&server.bytes(&made).await.bytes().await.unwrap()[4..8], b"ftyp");
    }
    let jobs = simulator.jobs("openai").await;
    assert_eq!((&jobs[0]["body"]["watermark"], &jobs[0]["body"]["seconds"]), (&json!("false"), &json!("8")));
    assert_eq!(jobs[1]["model"], "sora-2", "an alias is ordered by the model's own name");
}

#[tokio::test]
async fn a_model_of_ones_own_is_ordered_undescribed_and_stopped() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = setup(&simulator).start().await;
    let ordered = server
        .order(GenerateVideoRequest {
            model: "own/Wan-AI/Wan2.2".to_owned(),
            options: Some(VideoOptions {
                provider_options: Some(options(&json!({ "negative_prompt": "rain" }))),
                ..VideoOptions::default()
            }),
            ..video("a fox in the snow")
        })
        .await
        .unwrap();
    server.until(&ordered.name, |it| it.attempts.first().is_some_and(|it| !it.provider_job_id.is_empty())).await;
    let request = CancelGenerationRequest { name: ordered.name.clone() };
    server.generations().await.cancel_generation(request).await.unwrap();
    let ended = server.end_of(&ordered.name).await;
    assert_eq!((ended.state(), ended.attempts[0].charged()), (State::Cancelled, Charged::Unknown), "{ended:?}");
    let job = &simulator.jobs("openai").await[0];
    assert_eq!(job["headers"]["content-type"], "application/json");
    assert_eq!(job["body"], json!({"prompt": ended.brief, "model": "Wan-AI/Wan2.2", "negative_prompt": "rain"}));
    assert_eq!(job["counts"]["cancels"], 1);
}

#[tokio::test]
async fn a_refusal_is_told_with_its_reason_and_what_it_cost() {
    let simulator = Simulator::start(&["create:failed=\"moderation_blocked: it was refused\""]);
    let server = setup(&simulator).start().await;
    let request = GenerateImageRequest {
        prompt: "a fox".to_owned(),
        model: "openai/gpt-image-2".to_owned(),
        ..GenerateImageRequest::default()
    };
    let refused = image(&server, request).await;
    let failure = refused.failure.clone().unwrap();
    assert_eq!(
        (failure.reason(), failure.charged()),
        (ErrorReason::ProviderRefusedContent, Charged::No),
        "{refused:?}"
    );
    assert!(failure.message.contains("it was refused"), "{failure:?}");

    let request = GenerateVideoRequest { model: "openai/sora-2".to_owned(), ..video("a fox") };
    let failed = server.generate(request).await.unwrap();
    let failure = failed.failure.clone().unwrap();
    assert_eq!(
        (failure.reason(), failure.charged()),
        (ErrorReason::ProviderRefusedContent, Charged::Unknown),
        "{failed:?}"
    );
    assert_eq!(failed.attempts[0].provider_job_id.split('_').next(), Some("video"));
}
