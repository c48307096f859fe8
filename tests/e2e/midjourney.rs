//! midjourney-proxy behind the contract: one order, several tasks, each bought once.

use filmgate::pb::v1::{
    ErrorReason, GenerateImageRequest, GenerateVideoRequest, Generation, ImageOptions, Input, InputRole, State,
    input::Source,
};
use serde_json::{Value, json};

use crate::{
    simulator::Simulator,
    support::server::{Server, Setup, video},
};

const STILL: &[u8] = include_bytes!("../fixtures/media/still.jpg");

fn setup(simulator: &Simulator, path: &str) -> Setup {
    Setup::sample().with("MIDJOURNEY_BASE_URL", &simulator.vendor(path))
}

fn picture(model: &str, prompt: &str) -> GenerateImageRequest {
    GenerateImageRequest { prompt: prompt.to_owned(), model: model.to_owned(), ..GenerateImageRequest::default() }
}

async fn begin(server: &Server, request: GenerateImageRequest) -> String {
    let mut stream = server.generations().await.generate_image(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap().generation.unwrap().name
}

async fn pictures(server: &Server, request: GenerateImageRequest) -> Generation {
    let name = begin(server, request).await;
    server.end_of(&name).await
}

fn actions(jobs: &[Value]) -> Vec<&str> {
    jobs.iter().map(|job| job["model"].as_str().unwrap()).collect()
}

const ALL: [&str; 5] = ["IMAGINE", "UPSCALE", "UPSCALE", "UPSCALE", "UPSCALE"];

#[tokio::test]
async fn one_order_gives_four_pictures_from_either_lineage() {
    for path in ["midjourney/mj", "midjourney/java/mj"] {
        let simulator = Simulator::start(&[]);
        let server = setup(&simulator, path).start().await;
        let options = ImageOptions { aspect_ratio: "16:9".to_owned(), seed: Some(7), ..ImageOptions::default() };
        let request = GenerateImageRequest { options: Some(options), ..picture("midjourney/midjourney", "a canal") };
        let ended = pictures(&server, request).await;
        assert_eq!((ended.state(), ended.artifacts.len()), (State::Succeeded, 4), "{path}: {ended:?}");
        assert_eq!(&server.bytes(&ended).await.bytes().await.unwrap()[1..4], b"PNG");
        let jobs = simulator.jobs("midjourney").await;
        assert_eq!(actions(&jobs), ALL, "{path}");
        let prompt = jobs[0]["body"]["prompt"].as_str().unwrap();
        assert!(prompt.starts_with("a canal") && prompt.ends_with(" --ar 16:9 --seed 7"), "{prompt}");
    }
}

#[tokio::test]
async fn lost_answers_and_a_killed_server_buy_no_step_twice() {
    let simulator = Simulator::start(&[
        "create:nth=1:drop,effect=after",
        "create:nth=3:drop,effect=after",
        // The next server is to see the grid before it is done: a finished one that it knows nothing of it would take as it is.
        "create:model=IMAGINE:latency=12s",
    ]);
    let server = setup(&simulator, "midjourney/mj").start().await;
    let name = begin(&server, picture("midjourney/imagine", "a canal")).await;
    // Before that the order may not have been sent, and nobody could tell.
    let is_taken = |generation: &Generation| generation.attempts.iter().any(|it| !it.provider_job_id.is_empty());
    server.until(&name, is_taken).await;
    let server = server.kill().start().await;
    let ended = server.end_of(&name).await;
    assert_eq!((ended.state(), ended.artifacts.len()), (State::Succeeded, 4), "{ended:?}");
    assert_eq!(actions(&simulator.jobs("midjourney").await), ALL);
}

#[tokio::test]
async fn a_picture_moves() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator, "midjourney/mj").start().await;
    let first = Input { role: InputRole::FirstFrame.into(), source: Some(Source::Data(STILL.into())) };
    let request =
        GenerateVideoRequest { model: "midjourney/video".to_owned(), inputs: vec![first], ..video("it turns") };
    let ended = server.generate(request).await.unwrap();
    assert_eq!((ended.state(), ended.artifacts.len()), (State::Succeeded, 1), "{ended:?}");
    let sent = simulator.jobs("midjourney").await[0]["body"].clone();
    assert_eq!(sent["batchSize"], json!(1));
    assert!(sent["image"].as_str().unwrap().starts_with("data:image/jpeg;base64,"));
}

#[tokio::test]
async fn a_banned_word_is_told_by_either_lineage_in_its_way() {
    let simulator = Simulator::start(&["create:prompt=[late]:failed=可能包含敏感词"]);
    for (path, prompt) in [("midjourney/java/mj", "a gore scene"), ("midjourney/mj", "a [late] scene")] {
        let server = setup(&simulator, path).start().await;
        let failure = pictures(&server, picture("midjourney/imagine", prompt)).await.failure.unwrap();
        assert_eq!(failure.reason(), ErrorReason::ProviderRefusedContent, "{path}");
        assert_eq!(failure.field, "prompt", "{path}");
    }
}
