//! Vendors described by settings, exactly as the documentation shows them, through the door to the simulator and back.

use std::path::Path;

use filmgate::pb::v1::{
    AttemptOutcome, CachePolicy, Charged, ErrorReason, GenerateVideoRequest, Generation, Input, InputRole, Quality,
    State, VideoOptions, input::Source,
};
use serde_json::{Value, json};

use crate::{
    simulator::Simulator,
    support::server::{Setup, video},
};

const PICTURE: &[u8] = include_bytes!("../../src/simulator/still.png");

/// The documented settings, with the vendors at these addresses.
fn documented(courier: &str, python: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/provider/http_json/README.md");
    let text = std::fs::read_to_string(file).unwrap();
    let blocks: Vec<&str> = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let text = blocks.join("\n");
    assert!(text.contains("http://127.0.0.1:50052/courier/v1") && text.contains("http://127.0.0.1:8000"), "{text}");
    text.replace("http://127.0.0.1:50052/courier/v1", courier).replace("http://127.0.0.1:8000", python)
}

fn setup(simulator: &Simulator) -> Setup {
    let text = documented(&format!("{}/v1", simulator.vendor("courier")), &simulator.vendor("backend"));
    Setup::sample().with_file("filmgate.toml", &text)
}

fn clip(prompt: &str) -> GenerateVideoRequest {
    GenerateVideoRequest { model: "courier/clips".to_owned(), cache: CachePolicy::Bypass.into(), ..video(prompt) }
}

async fn sent(simulator: &Simulator, vendor: &str) -> Value {
    simulator.look("jobs").await[vendor][0]["body"].clone()
}

async fn n_creates(simulator: &Simulator, vendor: &str) -> u64 {
    simulator.look("counts").await[vendor]["creates_received"].as_u64().unwrap()
}

#[track_caller]
fn failed(generation: &Generation, reason: ErrorReason, charged: Charged) -> String {
    assert_eq!(generation.state(), State::Failed, "{generation:?}");
    let failure = generation.failure.clone().unwrap();
    assert_eq!((failure.reason(), failure.charged()), (reason, charged), "{failure:?}");
    failure.message
}

#[tokio::test]
async fn an_order_reaches_a_described_queue_whole_and_comes_back_as_a_file_with_its_price() {
    let simulator = Simulator::start(&["create:vendor=courier:latency=300ms"]);
    let server = setup(&simulator).start().await;
    let duration = Some(prost_types::Duration { seconds: 7, nanos: 0 });
    let frame = Input { role: InputRole::FirstFrame.into(), source: Some(Source::Data(PICTURE.into())) };
    let order = GenerateVideoRequest {
        options: Some(VideoOptions { duration, seed: Some(42), ..VideoOptions::default() }),
        inputs: vec![frame],
        ..clip("a fox in the snow")
    };
    let generation = server.generate(order).await.unwrap();
    assert_eq!(generation.state(), State::Succeeded, "{generation:?}");
    assert_eq!(generation.cost.unwrap().settled_micro_usd, Some(70_000), "what the vendor says");
    let bytes = server.bytes(&generation).await.bytes().await.unwrap();
    assert_eq!(bytes, include_bytes!("../../src/simulator/clip.mp4").as_slice());
    let body = sent(&simulator, "courier").await;
    assert_eq!((&body["input"]["duration"], &body["input"]["seed"]), (&json!(7), &json!(42)));
    assert!(body["input"]["image"].as_str().unwrap().starts_with("data:image/png;base64,"));
    assert_eq!(body["reference"].as_str().unwrap().len(), 36);
}

#[tokio::test]
async fn a_lost_answer_is_found_by_its_mark_and_not_ordered_again() {
    let simulator = Simulator::start(&["create:vendor=courier:drop,effect=after"]);
    let server = setup(&simulator).start().await;
    let generation = server.generate(clip("a fox")).await.unwrap();
    assert_eq!(generation.state(), State::Succeeded, "{generation:?}");
    assert_eq!(n_creates(&simulator, "courier").await, 1);
}

#[tokio::test]
async fn a_described_vendor_stops_a_job_and_tells_of_its_failures() {
    let simulator = Simulator::start(&[
        "create:vendor=courier,prompt=[stop]:hold",
        r#"create:prompt=[bad]:failed="against our policy""#,
    ]);
    let server = setup(&simulator).start().await;
    let order = server.order(clip("a [stop] fox")).await.unwrap();
    server.until(&order.name, |generation| generation.state() == State::Running && !generation.phase.is_empty()).await;
    let request = filmgate::pb::v1::CancelGenerationRequest { name: order.name.clone() };
    server.generations().await.cancel_generation(request).await.unwrap();
    let stopped = server.end_of(&order.name).await;
    assert_eq!(stopped.state(), State::Cancelled, "{stopped:?}");
    assert_eq!(stopped.attempts[0].outcome(), AttemptOutcome::Cancelled);

    let refused = server.generate(clip("a [bad] fox")).await.unwrap();
    let message = failed(&refused, ErrorReason::ProviderRefusedContent, Charged::No);
    assert!(message.contains("against our policy"), "{message}");
}

#[tokio::test]
async fn the_python_back_end_serves_both_tiers_with_its_defaults_and_limits() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let order = |quality: Quality, prompt: &str| GenerateVideoRequest { quality: quality.into(), ..video(prompt) };
    let generation = server.generate(order(Quality::Fast, "a fox in the snow")).await.unwrap();
    assert_eq!((generation.state(), generation.model.as_str()), (State::Succeeded, "python/fast"), "{generation:?}");
    let body = sent(&simulator, "backend").await;
    assert!(body["prompt"].as_str().unwrap().starts_with("a fox in the snow"), "{body}");
    assert_eq!((&body["duration_seconds"], &body["quality"]), (&json!(5), &json!("fast")));
    let bytes = server.bytes(&generation).await.bytes().await.unwrap();
    assert_eq!(bytes, include_bytes!("../../src/simulator/clip.mp4").as_slice());
    let slow = server.generate(order(Quality::Quality, "a fox in the deep snow")).await.unwrap();
    assert_eq!((slow.state(), slow.model.as_str()), (State::Succeeded, "python/quality"));

    let named = |prompt: &str, seconds: i64| GenerateVideoRequest {
        model: "python/fast".to_owned(),
        options: Some(VideoOptions {
            duration: Some(prost_types::Duration { seconds, nanos: 0 }),
            ..VideoOptions::default()
        }),
        ..video(prompt)
    };
    let (ten, long) = ("0123456789", "x".repeat(2000));
    for (prompt, seconds) in [("012345678", 5), (&*format!("{long}x"), 5), (ten, 31)] {
        let status = server.order(named(prompt, seconds)).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{prompt} {seconds}");
    }
    for (prompt, seconds) in [(ten, 1), (&*long, 30)] {
        assert_eq!(
            server.generate(named(prompt, seconds)).await.unwrap().state(),
            State::Succeeded,
            "{prompt} {seconds}"
        );
    }
}

#[tokio::test]
async fn the_python_back_end_fails_in_its_own_words_and_is_unreachable_when_it_is_down() {
    let simulator = Simulator::start(&[r#"create:failed="Veo is out of memory""#]);
    let server = setup(&simulator).start().await;
    let order = GenerateVideoRequest { model: "python/fast".to_owned(), ..video("a fox in the snow") };
    let generation = server.generate(order.clone()).await.unwrap();
    let message = failed(&generation, ErrorReason::ProviderJobFailed, Charged::Unknown);
    assert!(message.contains("Veo is out of memory"), "{message}");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let setup = Setup::sample().with_file("filmgate.toml", &documented(&nobody, &nobody));
    let server = setup.with("FILMGATE_MAX_DURATION", "1s").start().await;
    let generation = server.generate(order).await.unwrap();
    failed(&generation, ErrorReason::ProviderUnreachable, Charged::No);
    assert!(generation.failure.unwrap().retryable);
}
