//! fal: its official clients against the simulator, and orders of every kind through the door to the simulator and back.

use std::{path::Path, process::Command, time::Duration};

use filmgate::pb::v1::{
    AttemptOutcome, CachePolicy, Charged, ErrorReason, GenerateImageRequest, GenerateMusicRequest,
    GenerateSpeechRequest, GenerateVideoRequest, Generation, ImageOptions, Input, InputRole, MusicOptions, State,
    VideoOptions, input::Source,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    simulator::Simulator,
    support::{
        relay::Relay,
        server::{Server, Setup, video},
    },
};

const KLING: &str = "fal/fal-ai/kling-video/v1.6/pro";
const PICTURE: &[u8] = include_bytes!("../../src/simulator/still.png");

fn setup(simulator: &Simulator) -> Setup {
    Setup::sample().with("FAL_KEY", "id:a_secret_key").with("FILMGATE_FAL_BASE_URL", &simulator.vendor("fal"))
}

fn kling(prompt: &str) -> GenerateVideoRequest {
    GenerateVideoRequest { model: KLING.to_owned(), cache: CachePolicy::Bypass.into(), ..video(prompt) }
}

async fn jobs(simulator: &Simulator) -> Vec<Value> {
    simulator.look("jobs").await["fal"].as_array().unwrap().clone()
}

async fn count(simulator: &Simulator, name: &str) -> u64 {
    simulator.look("counts").await["fal"][name].as_u64().unwrap()
}

/// Watches what a call streams to its end.
macro_rules! ended {
    ($server:expr, $call:ident($request:expr)) => {{
        let mut stream = $server.generations().await.$call($request).await.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap().generation.unwrap();
        $server.end_of(&first.name).await
    }};
}

/// Runs a client's program against a simulator; what it prints.
async fn client(mut program: Command) -> String {
    let run = tokio::task::spawn_blocking(move || program.output());
    let output = timeout(Duration::from_secs(60), run).await.expect("the client ends").unwrap().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[expect(clippy::disallowed_methods, reason = "a test has no settings of its own")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn script(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_client_works() {
    let simulator = Simulator::start(&[]);
    let python = variable("FILMGATE_TEST_PYTHON").unwrap_or_else(|| "python3".to_owned());
    let mut program = Command::new(python);
    program.arg(script("python/fal_sdk.py")).arg(simulator.vendor("fal"));
    let text = client(program).await;
    assert_eq!(text.lines().count(), 7, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_javascript_client_works() {
    let simulator = Simulator::start(&[]);
    let modules = variable("FILMGATE_TEST_NODE_MODULES").expect("./scripts/test-rust sets FILMGATE_TEST_NODE_MODULES");
    let mut program = Command::new("node");
    program.arg(script("javascript/fal_sdk.js")).arg(simulator.vendor("fal")).env("NODE_PATH", modules);
    let text = client(program).await;
    assert_eq!(text.lines().count(), 5, "{text}");
}

#[tokio::test]
async fn a_video_from_two_pictures_goes_to_the_endpoint_for_these() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let input = |role: InputRole, source| Input { role: role.into(), source: Some(source) };
    let request = GenerateVideoRequest {
        inputs: vec![
            input(InputRole::FirstFrame, Source::Data(PICTURE.into())),
            input(InputRole::LastFrame, Source::Uri("https://images.example/last.png".to_owned())),
        ],
        options: Some(VideoOptions { aspect_ratio: "9:16".to_owned(), ..VideoOptions::default() }),
        ..kling("A fox in the snow")
    };
    let ended = server.generate(request).await.unwrap();
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    let bytes = server.bytes(&ended).await.bytes().await.unwrap();
    assert_eq!(&bytes[4..8], b"ftyp");
    let made = &jobs(&simulator).await[0];
    assert_eq!(made["model"], "fal-ai/kling-video/v1.6/pro/image-to-video");
    assert_eq!(made["id"], ended.attempts[0].provider_job_id.as_str());
    assert!(made["headers"]["x-fal-tags"].as_str().unwrap().starts_with("filmgate="), "{made}");
    let mut body = made["body"].clone();
    let first = body.as_object_mut().unwrap().remove("image_url").unwrap();
    assert_eq!(body.as_object_mut().unwrap().remove("prompt").unwrap(), ended.brief.as_str());
    assert!(first.as_str().unwrap().starts_with("data:image/png;base64,iVBOR"), "{first}");
    let expected = json!({
        "duration": "5", "aspect_ratio": "9:16", "cfg_scale": 0.5,
        "negative_prompt": "blur, distort, and low quality", "tail_image_url": "https://images.example/last.png",
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn images_speech_and_music_come_back_as_files() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let options = ImageOptions { samples: Some(2), format: "png".to_owned(), ..ImageOptions::default() };
    let image = GenerateImageRequest {
        prompt: "A lamp".to_owned(),
        model: "fal/flux-schnell".to_owned(),
        options: Some(options),
        ..GenerateImageRequest::default()
    };
    let image = ended!(server, generate_image(image));
    assert_eq!((image.state(), image.artifacts.len()), (State::Succeeded, 2), "{image:?}");
    // Two pictures of 0.786432 million pixels, each million at $0.003: what fal says it billed.
    assert_eq!(image.cost.unwrap().settled_micro_usd, Some(4719));

    let speech = GenerateSpeechRequest {
        prompt: "Good evening.".to_owned(),
        model: "fal/fal-ai/elevenlabs/tts/multilingual-v2".to_owned(),
        ..GenerateSpeechRequest::default()
    };
    let speech = ended!(server, generate_speech(speech));
    is_a_tone(&server, &speech).await;

    let music = GenerateMusicRequest {
        prompt: "A slow waltz".to_owned(),
        model: "fal/stable-audio-2.5".to_owned(),
        options: Some(MusicOptions {
            duration: Some(prost_types::Duration { seconds: 8, nanos: 0 }),
            ..MusicOptions::default()
        }),
        ..GenerateMusicRequest::default()
    };
    let music = ended!(server, generate_music(music));
    is_a_tone(&server, &music).await;
    let bodies: Vec<Value> = jobs(&simulator).await.iter().map(|job| job["body"].clone()).collect();
    assert_eq!(bodies[1], json!({ "text": "Good evening.", "voice": "Rachel" }));
    assert_eq!(bodies[2], json!({ "prompt": music.brief, "seconds_total": 8 }));
}

/// The simulator's sound is 8 s long, whatever the time of its making.
async fn is_a_tone(server: &Server, generation: &Generation) {
    assert_eq!(generation.state(), State::Succeeded, "{generation:?}");
    let artifact = &generation.artifacts[0];
    assert_eq!((artifact.media_type.as_str(), artifact.duration.as_ref().unwrap().seconds), ("audio/mpeg", 8));
    assert_eq!(
        server.bytes(generation).await.bytes().await.unwrap().len(),
        usize::try_from(artifact.size_bytes).unwrap()
    );
}

#[tokio::test]
async fn a_waiting_order_shows_its_place_in_the_queue_of_fal() {
    let simulator =
        Simulator::start(&["create:prompt=[first]:stuck=starting", "create:prompt=[second]:stuck=starting"]);
    let server = setup(&simulator).start().await;
    server.order(kling("[first]")).await.unwrap();
    simulator_has(&simulator, 1).await;
    let second = server.order(kling("[second]")).await.unwrap();
    let waiting = server.until(&second.name, |generation| generation.queue_position.is_some()).await;
    assert_eq!((waiting.queue_position, waiting.phase.as_str()), (Some(2), "IN_QUEUE"));
}

async fn simulator_has(simulator: &Simulator, n_jobs: usize) {
    let made = async {
        while jobs(simulator).await.len() < n_jobs {
            tokio::task::yield_now().await;
        }
    };
    timeout(crate::support::server::SOON, made).await.expect("the jobs are made");
}

#[tokio::test]
async fn a_lost_answer_is_found_in_the_list_and_never_bought_twice() {
    let simulator = Simulator::start(&["create:drop,effect=after"]);
    let server = setup(&simulator).start().await;
    let ended = server.generate(kling("a fox")).await.unwrap();
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    let made = jobs(&simulator).await;
    assert_eq!((made.len(), made[0]["id"].as_str().unwrap()), (1, ended.attempts[0].provider_job_id.as_str()));
    assert_eq!(count(&simulator, "creates_received").await, 1);
}

#[tokio::test]
async fn a_webhook_brings_the_ticket_of_a_lost_answer_and_a_forged_one_nothing() {
    let simulator = Simulator::start(&["create:drop,effect=after", "list:status=500"]);
    let relay = Relay::start().await;
    let server = relay.before(setup(&simulator)).start().await;
    let order = server.order(kling("a fox")).await.unwrap();
    server.unresolved(&order.name).await;
    let letter = relay.next().await;
    let mut forged = letter.clone();
    forged.body = String::from_utf8_lossy(&letter.body).replace("\"OK\"", "\"KO\"").into();
    assert_eq!(relay.pass(&forged, &server).await, reqwest::StatusCode::UNAUTHORIZED);
    assert_eq!(relay.pass(&letter, &server).await, reqwest::StatusCode::OK);
    let ended = server.end_of(&order.name).await;
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    assert_eq!(ended.attempts[0].provider_job_id, jobs(&simulator).await[0]["id"].as_str().unwrap());
    assert_eq!(count(&simulator, "creates_received").await, 1);
}

#[tokio::test]
async fn a_cancel_in_the_queue_costs_nothing_and_one_at_work_is_followed_to_its_end() {
    let check = async |rule: &str, expected: Charged| {
        let simulator = Simulator::start(&[rule]);
        let server = setup(&simulator).start().await;
        let name = server.order(kling("a fox")).await.unwrap().name;
        server.until(&name, |generation| !generation.phase.is_empty()).await;
        server.cancel(&name).await.unwrap();
        let ended = server.end_of(&name).await;
        assert_eq!(ended.state(), State::Cancelled, "{rule}: {ended:?}");
        assert_eq!(ended.attempts[0].outcome(), AttemptOutcome::Cancelled);
        assert_eq!(ended.attempts[0].charged(), expected, "{rule}");
        assert_eq!(jobs(&simulator).await[0]["status"], "canceled");
    };
    check("create:stuck=starting", Charged::No).await;
    // It had run, and the simulator bills what has.
    check("create:hold", Charged::Yes).await;
}

#[tokio::test]
async fn a_failure_says_why_which_field_and_whether_it_cost_anything() {
    let simulator = Simulator::start(&[
        "create:prompt=[bad]:failed=\"against the content policy\"",
        "create:prompt=[ill]:failed=\"the runner broke\"",
    ]);
    let server = setup(&simulator).start().await;
    let failure = async |request: GenerateVideoRequest| server.generate(request).await.unwrap().failure.unwrap();
    let refused = failure(kling("a [bad] fox")).await;
    assert_eq!((refused.reason(), refused.field.as_str()), (ErrorReason::ProviderRefusedContent, "prompt"));
    assert_eq!((refused.charged(), refused.retryable), (Charged::Yes, false));
    let ill = failure(kling("an [ill] fox")).await;
    assert_eq!((ill.reason(), ill.charged(), ill.retryable), (ErrorReason::ProviderJobFailed, Charged::No, true));
    let unknown =
        failure(GenerateVideoRequest { model: "fal/fal-ai/no-such-model".to_owned(), ..kling("a fox") }).await;
    assert_eq!((unknown.reason(), unknown.charged()), (ErrorReason::ProviderModelNotFound, Charged::No));
}
