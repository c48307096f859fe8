//! ComfyUI: a client as its own example is written against the simulator, and the documented workflows through the door and back.

use std::{path::Path, process::Command, time::Duration};

use filmgate::pb::v1::{
    CachePolicy, CancelGenerationRequest, Charged, ErrorReason, GenerateImageRequest, GenerateVideoRequest, Generation,
    ImageOptions, Input, InputRole, State, VideoOptions, WatchGenerationRequest, input::Source,
};
use prost_types::{Struct, value::Kind};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    simulator::Simulator,
    support::server::{SOON, Server, Setup, is_terminal, video},
};

const PICTURE: &[u8] = include_bytes!("../../src/simulator/still.png");

fn setup(simulator: &Simulator) -> Setup {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/provider/comfyui/examples");
    Setup::sample()
        .with("FILMGATE_COMFYUI_WORKFLOWS", examples.to_str().unwrap())
        .with("FILMGATE_COMFYUI_BASE_URL", &simulator.vendor("comfyui"))
}

fn still(prompt: &str) -> GenerateImageRequest {
    GenerateImageRequest {
        prompt: prompt.to_owned(),
        model: "comfyui/still".to_owned(),
        cache: CachePolicy::Bypass.into(),
        ..GenerateImageRequest::default()
    }
}

async fn order(server: &Server, request: GenerateImageRequest) -> Generation {
    let mut stream = server.generations().await.generate_image(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap().generation.unwrap()
}

async fn sent(simulator: &Simulator) -> Vec<Value> {
    let jobs = simulator.look("jobs").await["comfyui"].as_array().unwrap().clone();
    jobs.into_iter().map(|job| job["body"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_written_as_the_servers_own_example_works() {
    let simulator = Simulator::start(&["create:prompt=[bad]:failed=\"no memory\"", "create:latency=300ms"]);
    #[expect(clippy::disallowed_methods, reason = "a test has no settings of its own")]
    let python = std::env::var("FILMGATE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/comfyui_client.py");
    let base = simulator.vendor("comfyui");
    let run = tokio::task::spawn_blocking(move || Command::new(&python).arg(script).arg(base).output());
    let output = timeout(Duration::from_secs(60), run).await.expect("the client ends").unwrap().expect("python starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[tokio::test]
async fn a_workflow_gets_every_option_and_gives_all_its_files() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let options = ImageOptions {
        width: Some(512),
        height: Some(768),
        steps: Some(30),
        guidance: Some(4.5),
        samples: Some(2),
        negative_prompt: "people".to_owned(),
        ..ImageOptions::default()
    };
    let first = order(&server, GenerateImageRequest { options: Some(options), ..still("a fox in the snow") }).await;
    let generation = server.end_of(&first.name).await;
    assert_eq!(generation.state(), State::Succeeded, "{generation:?}");
    assert_eq!(generation.artifacts.len(), 2);
    assert_eq!(server.bytes(&generation).await.bytes().await.unwrap(), PICTURE);
    let body = sent(&simulator).await.remove(0);
    let inputs = |node: &str| body["prompt"][node]["inputs"].clone();
    let sampling = ["steps", "cfg"].map(|key| inputs("3")[key].clone());
    assert_eq!(sampling, [json!(30), json!(4.5)]);
    let size = ["width", "height", "batch_size"].map(|key| inputs("5")[key].clone());
    assert_eq!(size, [json!(512), json!(768), json!(2)]);
    assert!(inputs("6")["text"].as_str().unwrap().starts_with("a fox in the snow"));
    assert_eq!(inputs("7")["text"], "text, watermark, people");
    assert!(inputs("3")["seed"].is_u64());
}

#[tokio::test]
async fn a_picture_is_uploaded_and_becomes_a_video_with_real_progress() {
    let simulator = Simulator::start(&["create:latency=3s"]);
    let server = setup(&simulator).start().await;
    let frame = Input { role: InputRole::FirstFrame.into(), source: Some(Source::Data(PICTURE.into())) };
    let duration = Some(prost_types::Duration { seconds: 3, nanos: 0 });
    let options = Some(VideoOptions { duration, seed: Some(7), ..VideoOptions::default() });
    let model = "comfyui/clip".to_owned();
    let request = GenerateVideoRequest { model, inputs: vec![frame], options, ..video("it walks") };
    let first = server.order(request).await.unwrap();
    let watch = WatchGenerationRequest { name: first.name, after_sequence: 0 };
    let mut stream = server.generations().await.watch_generation(watch).await.unwrap().into_inner();
    let (mut percents, mut phases) = (Vec::new(), Vec::new());
    let generation = loop {
        let message = timeout(SOON, stream.message()).await.unwrap().unwrap().unwrap();
        let generation = message.generation.unwrap();
        if is_terminal(&generation) {
            break generation;
        }
        percents.extend(generation.progress_percent);
        phases.push(generation.phase);
    };
    assert_eq!(generation.state(), State::Succeeded, "{generation:?}");
    assert_eq!(generation.artifacts[0].media_type, "video/mp4");
    percents.dedup();
    assert!(percents.len() > 2 && percents.is_sorted(), "the socket tells of steps: {percents:?}");
    assert!(phases.iter().any(|phase| phase.starts_with("KSampler ")), "{phases:?}");
    let body = sent(&simulator).await.remove(0);
    assert_eq!(body["prompt"]["9"]["inputs"]["length"], 49);
    assert_eq!(body["prompt"]["10"]["inputs"]["seed"], 7);
    assert!(body["prompt"]["5"]["inputs"]["image"].as_str().unwrap().starts_with("filmgate/"));
}

#[tokio::test]
async fn a_lost_answer_is_found_by_the_prompts_own_id() {
    let simulator = Simulator::start(&["create:drop,effect=after"]);
    let server = setup(&simulator).start().await;
    let first = order(&server, still("a fox")).await;
    let generation = server.end_of(&first.name).await;
    assert_eq!(generation.state(), State::Succeeded, "{generation:?}");
    assert_eq!(sent(&simulator).await.len(), 1);
}

#[tokio::test]
async fn only_the_job_that_is_cancelled_is_interrupted() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = setup(&simulator).start().await;
    let (one, two) = (order(&server, still("one")).await, order(&server, still("two")).await);
    for job in [&one, &two] {
        server.until(&job.name, |generation| generation.state() == State::Running).await;
    }
    let request = CancelGenerationRequest { name: one.name.clone() };
    server.generations().await.cancel_generation(request).await.unwrap();
    assert_eq!(server.end_of(&one.name).await.state(), State::Cancelled);
    simulator.control("release", json!({})).await;
    assert_eq!(server.end_of(&two.name).await.state(), State::Succeeded);
}

#[tokio::test]
async fn failures_tell_the_node_and_the_field() {
    let simulator = Simulator::start(&["create:prompt=[bad]:failed=\"Allocation on device\""]);
    let server = setup(&simulator).start().await;
    let check = async |request: GenerateImageRequest, reason: ErrorReason, field: &str, words: &str| {
        let first = order(&server, request).await;
        let generation = server.end_of(&first.name).await;
        assert_eq!(generation.state(), State::Failed, "{generation:?}");
        let failure = generation.failure.unwrap();
        assert_eq!(
            (failure.reason(), failure.charged(), failure.field.as_str()),
            (reason, Charged::No, field),
            "{failure:?}"
        );
        assert!(failure.message.contains(words), "{failure:?}");
    };
    check(still("a [bad] fox"), ErrorReason::ProviderJobFailed, "", "KSampler: Allocation on device").await;
    let name = prost_types::Value { kind: Some(Kind::StringValue("missing.safetensors".to_owned())) };
    let provider_options = Some(Struct { fields: [("checkpoint".to_owned(), name)].into() });
    let options = Some(ImageOptions { provider_options, ..ImageOptions::default() });
    let missing = GenerateImageRequest { options, ..still("a fox") };
    let field = "options.provider_options.checkpoint";
    check(missing, ErrorReason::ProviderInvalidOrder, field, "CheckpointLoaderSimple (4)").await;
}
