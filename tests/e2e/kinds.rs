//! Images, speech and music, ordered like videos; files of every source; and what orders would cost.

use std::future::Future;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use filmgate::pb::v1::{
    EstimateCostRequest, EstimateCostResponse, GenerateImageRequest, GenerateMusicRequest, GenerateSpeechRequest,
    GenerateVideoRequest, Generation, GetSessionHistoryRequest, ImageOptions, Input, InputRole, ListArtifactsRequest,
    Mode, MusicOptions, OrderToEstimate, State, VideoOptions, generation::Spec, input::Source,
    order_to_estimate::Order,
};
use prost_types::Duration;
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::{Response, Status, Streaming};

use crate::{
    simulator::Simulator,
    support::{
        refusals::{invalid, refusal},
        server::{SOON, Server, Setup},
    },
};

const PICTURE: &[u8] = include_bytes!("../fixtures/media/still.jpg");
const SOUND: &[u8] = include_bytes!("../fixtures/media/tone.wav");
const NO_PICTURE: &str = "https://example.com/a.png";

fn input(role: InputRole, source: Source) -> Input {
    Input { role: role.into(), source: Some(source) }
}

fn pictures(count: usize) -> Vec<Input> {
    (0..count).map(|_| input(InputRole::Sequence, Source::Uri(NO_PICTURE.to_owned()))).collect()
}

fn image(model: &str) -> GenerateImageRequest {
    GenerateImageRequest { prompt: "a fox".to_owned(), model: model.to_owned(), ..Default::default() }
}

fn speech(model: &str) -> GenerateSpeechRequest {
    GenerateSpeechRequest { prompt: "Hello,  you.".to_owned(), model: model.to_owned(), ..Default::default() }
}

fn music(model: &str) -> GenerateMusicRequest {
    GenerateMusicRequest { prompt: "a waltz".to_owned(), model: model.to_owned(), ..Default::default() }
}

/// What a stream says: its last snapshot, and whether a trailer of this name is `true`.
async fn end<M>(
    call: impl Future<Output = Result<Response<Streaming<M>>, Status>>,
    of: impl Fn(M) -> Option<Generation>,
    trailer: &str,
) -> (Generation, Option<bool>) {
    let mut stream = call.await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = timeout(SOON, stream.message()).await.expect("a message in time").unwrap() {
        last = of(message);
    }
    let trailers = timeout(SOON, stream.trailers()).await.unwrap().unwrap().unwrap();
    (last.unwrap(), trailers.get(trailer).map(|value| value == "true"))
}

async fn make_image(server: &Server, request: GenerateImageRequest) -> (Generation, Option<bool>) {
    let mut client = server.generations().await;
    end(client.generate_image(request), |message| message.generation, "x-image-sample").await
}

async fn make_speech(server: &Server, request: GenerateSpeechRequest) -> (Generation, Option<bool>) {
    let mut client = server.generations().await;
    end(client.generate_speech(request), |message| message.generation, "x-speech-sample").await
}

async fn make_music(server: &Server, request: GenerateMusicRequest) -> (Generation, Option<bool>) {
    let mut client = server.generations().await;
    end(client.generate_music(request), |message| message.generation, "x-music-sample").await
}

/// The input of the one prediction made.
async fn sent(simulator: &Simulator) -> Value {
    let mut made = simulator.predictions().await;
    assert_eq!(made.len(), 1, "{made:?}");
    made.remove(0)["input"].take()
}

#[tokio::test]
async fn the_sample_serves_every_kind_and_its_streams_say_so() {
    let server = Setup::sample().start().await;
    let made = [
        ("image/png", make_image(&server, image("")).await),
        ("audio/mpeg", make_speech(&server, speech("")).await),
        ("audio/mpeg", make_music(&server, music("")).await),
    ];
    for (media_type, (generation, trailer)) in made {
        assert_eq!((generation.state(), generation.sample, trailer), (State::Succeeded, true, Some(true)));
        assert_eq!(generation.artifacts[0].media_type, media_type);
        assert!(server.bytes(&generation).await.status().is_success());
    }
}

#[tokio::test]
async fn a_vendor_makes_every_kind_and_the_order_arrives_in_its_fields() {
    let simulator = Simulator::start(&[]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let options =
        ImageOptions { strength: Some(0.25), samples: Some(2), format: "jpeg".to_owned(), ..ImageOptions::default() };
    let request = GenerateImageRequest {
        options: Some(options),
        inputs: vec![input(InputRole::Source, Source::Data(PICTURE.into()))],
        ..image("replicate/black-forest-labs/flux-dev")
    };
    let (made, trailer) = make_image(&server, request).await;
    assert_eq!((made.state(), trailer, made.artifacts.len()), (State::Succeeded, Some(false), 2));
    let Some(Spec::Image(spec)) = made.spec else { panic!("no image: {made:?}") };
    assert_eq!(spec.options.unwrap().strength, Some(0.25));
    let body = sent(&simulator).await;
    assert_eq!(
        (&body["prompt_strength"], &body["num_outputs"], &body["output_format"]),
        (&json!(0.25), &json!(2), &json!("jpg"))
    );
    let expected = format!("data:image/jpeg;base64,{}", STANDARD.encode(PICTURE));
    assert_eq!(body["image"], expected.as_str());

    let (spoken, _) = make_speech(&server, speech("replicate/minimax/speech-02-hd")).await;
    assert_eq!((spoken.state(), spoken.brief.as_str()), (State::Succeeded, "Hello,  you."));
    let options = MusicOptions { duration: Some(Duration { seconds: 45, nanos: 0 }), ..MusicOptions::default() };
    let request =
        GenerateMusicRequest { options: Some(options), mode: Mode::Adapt.into(), ..music("replicate/meta/musicgen") };
    let (played, _) = make_music(&server, request).await;
    assert_eq!(played.state(), State::Succeeded, "{played:?}");
    let adjustment = &played.adjustments[0];
    assert_eq!((adjustment.field.as_str(), adjustment.used.as_str()), ("options.duration", "30"));
    assert_eq!(played.artifacts[0].media_type, "audio/mpeg");
}

#[tokio::test]
async fn a_text_to_speak_goes_without_the_sessions_context_which_remembers_it() {
    let server = Setup::sample().start().await;
    let session = "sessions/tale".to_owned();
    make_image(&server, GenerateImageRequest { session: session.clone(), ..image("") }).await;
    let (spoken, _) = make_speech(&server, GenerateSpeechRequest { session: session.clone(), ..speech("") }).await;
    assert_eq!(spoken.brief, "Hello,  you.");
    let (played, _) = make_music(&server, GenerateMusicRequest { session: session.clone(), ..music("") }).await;
    assert!(played.brief.contains("user: Hello, you."), "{}", played.brief);
    let request = GetSessionHistoryRequest { name: session, ..Default::default() };
    let history = server.sessions().await.get_session_history(request).await.unwrap().into_inner();
    let said: Vec<&str> = history.messages.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(said[1], "Generating an image based on your prompt. I'll return the image when ready.");
    assert_eq!(said[3], "Speaking your text. I'll return the speech when ready.");
}

#[tokio::test]
async fn pictures_become_a_video_without_a_prompt_and_no_pictures_are_refused() {
    let simulator = Simulator::start(&[]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let order = |inputs| GenerateVideoRequest {
        model: "replicate/fofr/skyreels-2".to_owned(),
        inputs,
        ..GenerateVideoRequest::default()
    };
    let refused = server.order(order(Vec::new())).await.map(Response::new);
    assert_eq!(refusal(refused, &"no pictures"), invalid(&["inputs"]));
    assert!(simulator.predictions().await.is_empty());
    let made = server.generate(order(pictures(3))).await.unwrap();
    assert_eq!(made.state(), State::Succeeded, "{made:?}");
    assert_eq!(sent(&simulator).await, json!({ "image_urls": [NO_PICTURE, NO_PICTURE, NO_PICTURE] }));
    let cost = made.cost.unwrap();
    assert_eq!((cost.estimated_micro_usd, cost.settled_micro_usd), (Some(600_000), Some(600_000)));
    assert_eq!(made.deadline.unwrap().seconds - made.create_time.unwrap().seconds, 1200);
    assert_eq!(made.brief, "");
}

#[tokio::test]
async fn a_file_comes_as_bytes_data_uri_bare_base64_artifact_or_address() {
    let simulator = Simulator::start(&[]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let encoded = STANDARD.encode(PICTURE);
    let written = format!("data:image/jpeg;base64,{encoded}");
    let data = Source::Data(PICTURE.into());
    let sources = [data, Source::Uri(format!("data:;base64,{encoded}")), Source::Uri(encoded)];
    let address = Source::Uri(NO_PICTURE.to_owned());
    for (index, source) in sources.into_iter().enumerate() {
        enlarge(&server, &format!("fox {index}"), source).await;
    }
    // Bytes became an artifact, which is named like any other.
    let mut artifacts = server.artifacts().await;
    let page = artifacts.list_artifacts(ListArtifactsRequest::default()).await.unwrap().into_inner();
    let uploaded: Vec<_> = page.artifacts.iter().filter(|artifact| artifact.generation.is_empty()).collect();
    assert_eq!(uploaded.len(), 1, "equal bytes are one artifact");
    enlarge(&server, "fox 3", Source::Artifact(uploaded[0].name.clone())).await;
    enlarge(&server, "fox 4", address).await;
    let predictions = simulator.predictions().await;
    let mut made: Vec<_> = predictions.iter().map(|made| made["input"]["image"].as_str().unwrap()).collect();
    made.sort_unstable();
    assert_eq!(made, [written.as_str(), &written, &written, &written, NO_PICTURE]);
}

async fn enlarge(server: &Server, prompt: &str, source: Source) {
    let request = GenerateImageRequest {
        prompt: prompt.to_owned(),
        inputs: vec![input(InputRole::Source, source)],
        ..image("replicate/philz1337x/clarity-upscaler")
    };
    let (made, _) = make_image(server, request).await;
    assert_eq!(made.state(), State::Succeeded, "{made:?}");
}

#[tokio::test]
async fn a_file_that_cannot_play_its_part_is_refused_with_its_path() {
    let simulator = Simulator::start(&[]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let sound = || Source::Data(SOUND.into());
    let picture = || Source::Data(PICTURE.into());
    let mut client = server.generations().await;
    let request = GenerateImageRequest {
        inputs: vec![input(InputRole::Source, sound())],
        ..image("replicate/philz1337x/clarity-upscaler")
    };
    assert_eq!(refusal(client.generate_image(request).await, &"a sound to enlarge"), invalid(&["inputs[0].data"]));
    let request = GenerateMusicRequest {
        inputs: vec![input(InputRole::Reference, picture())],
        ..music("replicate/meta/musicgen")
    };
    assert_eq!(refusal(client.generate_music(request).await, &"a picture as tune"), invalid(&["inputs[0].data"]));
    // The card narrows what a sound may be.
    let flac: &[u8] = include_bytes!("../fixtures/media/tone.flac");
    let inputs = vec![input(InputRole::FirstFrame, picture()), input(InputRole::Audio, Source::Data(flac.into()))];
    let request = GenerateVideoRequest {
        prompt: "a fox".to_owned(),
        model: "replicate/wan-video/wan-2.5-i2v".to_owned(),
        inputs,
        ..GenerateVideoRequest::default()
    };
    assert_eq!(refusal(client.generate_video(request).await, &"a FLAC"), invalid(&["inputs[1].data"]));
    assert!(simulator.predictions().await.is_empty());
}

#[tokio::test]
async fn a_request_id_is_known_of_its_own_kind_alone() {
    let server = Setup::sample().start().await;
    let id = "the-same".to_owned();
    let (first, _) = make_image(&server, GenerateImageRequest { request_id: id.clone(), ..image("") }).await;
    let (again, _) = make_image(&server, GenerateImageRequest { request_id: id.clone(), ..image("") }).await;
    assert_eq!(first.name, again.name);
    let other = GenerateMusicRequest { request_id: id, prompt: "a fox".to_owned(), ..music("") };
    let answer = server.generations().await.generate_music(other).await;
    assert_eq!(refusal(answer, &"another kind").reason, "REQUEST_ID_REUSED");
}

fn count(order: Order, count: u32) -> OrderToEstimate {
    OrderToEstimate { order: Some(order), count: Some(count) }
}

async fn estimate(server: &Server, orders: Vec<OrderToEstimate>) -> EstimateCostResponse {
    let request = EstimateCostRequest { orders, quote_ttl: None };
    server.generations().await.estimate_cost(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_film_of_stills_and_seconds_costs_what_it_should() {
    let simulator = Simulator::start(&[]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    for (stills, seconds, expected) in
        [(10, 30, 3_030_000), (10, 20, 2_030_000), (5, 10, 1_015_000), (0, 30, 3_000_000)]
    {
        let still = GenerateImageRequest {
            model: "replicate/black-forest-labs/flux-schnell".to_owned(),
            ..GenerateImageRequest::default()
        };
        let video = GenerateVideoRequest {
            model: "replicate/fofr/skyreels-2".to_owned(),
            inputs: pictures(seconds / 2),
            ..GenerateVideoRequest::default()
        };
        let told = estimate(&server, vec![count(Order::Image(still), stills), count(Order::Video(video), 1)]).await;
        assert_eq!(told.total_micro_usd, Some(expected), "{stills} stills, {seconds} s");
        #[expect(clippy::cast_precision_loss, reason = "few seconds")]
        let units = seconds as f64;
        assert_eq!(told.estimates[1].units, Some(units));
    }
    assert!(simulator.predictions().await.is_empty());
}

#[tokio::test]
async fn an_estimate_tells_model_price_and_adjustments_and_an_unknown_price_has_no_sum() {
    let simulator = Simulator::start(&[]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let options = VideoOptions { duration: Some(Duration { seconds: 7, nanos: 0 }), ..VideoOptions::default() };
    let video = GenerateVideoRequest {
        model: "replicate/veo-3.1".to_owned(),
        options: Some(options),
        mode: Mode::Adapt.into(),
        ..GenerateVideoRequest::default()
    };
    let told = estimate(&server, vec![count(Order::Video(video.clone()), 2)]).await;
    let one = &told.estimates[0];
    assert_eq!((one.model.as_str(), one.estimated_micro_usd), ("replicate/google/veo-3.1", Some(2_400_000)));
    assert_eq!((one.adjustments[0].asked.as_str(), one.adjustments[0].used.as_str()), ("7", "6"));
    assert_eq!((one.units, one.price.as_ref().unwrap().micro_usd), (Some(12.0), 200_000));
    let unknown = count(Order::Music(music("replicate/meta/musicgen")), 1);
    let told = estimate(&server, vec![count(Order::Video(video), 1), unknown]).await;
    assert_eq!((told.total_micro_usd, told.estimates[1].estimated_micro_usd), (None, None));
}

#[tokio::test]
async fn what_is_wrong_with_an_estimate_is_told_with_its_path() {
    let server = Setup::sample().start().await;
    let mut client = server.generations().await;
    let mut refused = async |orders: Vec<OrderToEstimate>, ttl: Option<i64>| {
        let quote_ttl = ttl.map(|seconds| Duration { seconds, nanos: 0 });
        let request = EstimateCostRequest { orders, quote_ttl };
        let answer = client.estimate_cost(request.clone()).await;
        refusal(answer, &request).fields
    };
    let wrong = GenerateImageRequest { mode: 9, ..image("") };
    assert_eq!(
        refused(vec![count(Order::Image(wrong), 10_001), OrderToEstimate::default()], Some(0)).await,
        ["quote_ttl", "orders[0].count", "orders[0].image.mode", "orders[1]"]
    );
    assert_eq!(refused(Vec::new(), None).await, ["orders"]);
}
