//! Volcengine Ark behind the contract: films as tasks, pictures at once, and the vendor's own client against the simulator.

use filmgate::pb::v1::{
    CachePolicy, Charged, ErrorReason, GenerateImageRequest, GenerateVideoRequest, Generation, ImageOptions, Input,
    InputRole, State, VideoOptions, input::Source,
};
use serde_json::json;

use crate::{
    simulator::{Simulator, python},
    support::server::{Server, Setup, video},
};

const STILL: &[u8] = include_bytes!("../fixtures/media/still.jpg");
const FILM: &str = "ark/doubao-seedance-1-5-pro-251215";

fn setup(simulator: &Simulator) -> Setup {
    let base = simulator.vendor("ark/api/v3");
    Setup::sample().with("ARK_API_KEY", "ark_a_secret_key").with("FILMGATE_ARK_BASE_URL", &base)
}

fn film(prompt: &str) -> GenerateVideoRequest {
    GenerateVideoRequest { model: FILM.to_owned(), ..video(prompt) }
}

fn picture(prompt: &str, samples: u32) -> GenerateImageRequest {
    GenerateImageRequest {
        prompt: prompt.to_owned(),
        model: "ark/seedream-4.5".to_owned(),
        options: Some(ImageOptions { samples: Some(samples), ..ImageOptions::default() }),
        ..GenerateImageRequest::default()
    }
}

async fn pictures(server: &Server, request: GenerateImageRequest) -> Generation {
    let mut stream = server.generations().await.generate_image(request).await.unwrap().into_inner();
    let name = stream.message().await.unwrap().unwrap().generation.unwrap().name;
    server.end_of(&name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_ark_client_works() {
    let simulator = Simulator::start(&[]);
    simulator.control("settings", json!({ "latency": "300ms" })).await;
    let text = python("ark_sdk.py", simulator.vendor("ark/api/v3")).await;
    assert_eq!(text.lines().count(), 8, "{text}");
}

#[tokio::test]
async fn a_film_from_a_picture_is_made_fetched_and_paid_by_its_tokens() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let first = Input { role: InputRole::FirstFrame.into(), source: Some(Source::Data(STILL.into())) };
    let last = Input {
        role: InputRole::LastFrame.into(),
        source: Some(Source::Uri("https://93.184.215.14/last.png".to_owned())),
    };
    let options = VideoOptions { aspect_ratio: "9:16".to_owned(), audio: Some(true), ..VideoOptions::default() };
    let request = GenerateVideoRequest { inputs: vec![first, last], options: Some(options), ..film("a fox") };
    let ended = server.generate(request).await.unwrap();
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    // 121 frames of 1280x720 at 2.4 dollars a million.
    assert_eq!(ended.cost.as_ref().unwrap().settled_micro_usd, Some(261_360));
    assert_eq!(&server.bytes(&ended).await.bytes().await.unwrap()[4..8], b"ftyp");
    let sent = simulator.jobs("ark").await[0]["body"].clone();
    assert!(sent["content"][1]["image_url"]["url"].as_str().unwrap().starts_with("data:image/jpeg;base64,/9j/"));
    assert_eq!(sent["content"][2]["image_url"]["url"], "https://93.184.215.14/last.png");
    assert_eq!(
        (&sent["ratio"], &sent["resolution"], &sent["generate_audio"]),
        (&json!("9:16"), &json!("720p"), &json!(true))
    );
    assert!(!server.setup().log().contains("ark_a_secret_key"));
}

#[tokio::test]
async fn pictures_come_at_once_and_each_is_paid() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let ended = pictures(&server, picture("three lamps", 3)).await;
    assert_eq!((ended.state(), ended.artifacts.len()), (State::Succeeded, 3), "{ended:?}");
    assert_eq!(ended.cost.as_ref().unwrap().settled_micro_usd, Some(120_000));
    assert_eq!(&server.bytes(&ended).await.bytes().await.unwrap()[..3], b"\xff\xd8\xff");
}

#[tokio::test]
async fn a_task_whose_answer_was_lost_is_found_by_its_mark_and_bought_once() {
    let simulator = Simulator::start(&["create:nth=2:drop,effect=after"]);
    let server = setup(&simulator).start().await;
    let same = |id: &str| GenerateVideoRequest {
        request_id: id.to_owned(),
        cache: CachePolicy::Bypass.into(),
        ..film("a fox")
    };
    // Two orders alike are told apart.
    server.generate(same("one")).await.unwrap();
    let ended = server.generate(same("two")).await.unwrap();
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    let made = simulator.jobs("ark").await;
    let marks: Vec<_> = made.iter().map(|task| &task["body"]["safety_identifier"]).collect();
    assert!(made.len() == 2 && marks[0] != marks[1], "{marks:?}");
}

#[tokio::test]
async fn a_task_that_waits_is_stopped_and_costs_nothing() {
    let simulator = Simulator::start(&["create:stuck=starting"]);
    let server = setup(&simulator).start().await;
    let first = server.order(film("a fox")).await.unwrap();
    server.until(&first.name, |generation| generation.state() == State::Running).await;
    server.cancel(&first.name).await.unwrap();
    let ended = server.end_of(&first.name).await;
    assert_eq!(ended.state(), State::Cancelled, "{ended:?}");
    assert_eq!(ended.cost.unwrap().settled_micro_usd.unwrap_or(0), 0);
}

#[tokio::test]
async fn what_the_vendor_refuses_is_explained() {
    let code = "InputImageSensitiveContentDetected.PrivacyInformation";
    let rules = [
        format!("create:prompt=[face]:failed=\"{code}: a real person\""),
        "create:prompt=[lamp]:failed=\"OutputImageSensitiveContentDetected: no\"".to_owned(),
    ];
    let simulator = Simulator::start(&rules.each_ref().map(String::as_str));
    let server = setup(&simulator).start().await;
    let ended = server.generate(film("a [face]")).await.unwrap();
    let failure = ended.failure.unwrap();
    assert_eq!((failure.reason(), failure.charged()), (ErrorReason::ProviderRefusedContent, Charged::No));
    assert!(failure.field == "inputs" && failure.message.contains(code), "{failure:?}");
    let failure = pictures(&server, picture("a [lamp]", 1)).await.failure.unwrap();
    assert_eq!((failure.reason(), failure.charged()), (ErrorReason::ProviderRefusedContent, Charged::No));
}
