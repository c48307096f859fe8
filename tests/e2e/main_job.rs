//! The main job: an order, its progress, its file, its session.

use std::time::Duration;

use filmgate::pb::v1::{
    AttemptOutcome, CachePolicy, Charged, DownloadArtifactRequest, GenerateVideoRequest, GetSessionHistoryRequest,
    Role, State, VideoOptions, download_artifact_response::Part,
};
use sha2::{Digest, Sha256};

use crate::{
    simulator::Simulator,
    support::server::{Setup, is_terminal, snapshots, video},
};

#[tokio::test]
async fn without_a_key_the_sample_makes_a_flagged_video() {
    let server = Setup::sample().start().await;
    let stream = server.generations().await.generate_video(video("A calm forest")).await.unwrap();
    let mut stream = stream.into_inner();
    let mut all = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        all.push(message.generation.unwrap());
    }
    let trailers = stream.trailers().await.unwrap().unwrap();
    let last = all.last().unwrap();
    assert_eq!(last.state(), State::Succeeded, "{last:?}");
    assert!(last.sample && last.artifacts[0].sample);
    assert!(all.windows(2).all(|pair| pair[0].sequence <= pair[1].sequence));
    assert_eq!(trailers.get("x-session-id").unwrap(), last.session.strip_prefix("sessions/").unwrap());
    assert_eq!(trailers.get("x-video-sample").unwrap(), "true");
    assert!(trailers.get("x-generation-time").is_none());

    let artifact = &last.artifacts[0];
    assert_eq!((artifact.media_type.as_str(), artifact.width, artifact.height), ("video/mp4", Some(512), Some(288)));
    let bytes =
        reqwest::get(format!("http://{}{}", server.addr(), artifact.http_path)).await.unwrap().bytes().await.unwrap();
    assert_eq!(hex::encode(Sha256::digest(&bytes)), artifact.sha256);
}

#[tokio::test]
async fn replicate_makes_a_video_that_is_stored_checked_and_priced() {
    let simulator = Simulator::start(&[]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let mut generations = server.generations().await;
    let stream = generations.generate_video(GenerateVideoRequest {
        model: "replicate/kwaivgi/kling-v1.6-standard".to_owned(),
        options: Some(VideoOptions {
            seed: None,
            duration: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
            ..VideoOptions::default()
        }),
        ..video("A fox in the snow")
    });
    let all = snapshots(stream.await.unwrap().into_inner()).await;
    let last = all.last().unwrap();
    assert_eq!(last.state(), State::Succeeded, "{last:?}");
    assert_eq!(last.attempts[0].outcome(), AttemptOutcome::Succeeded);
    assert_eq!(last.attempts[0].charged(), Charged::Yes);
    assert!(!last.attempts[0].provider_job_id.is_empty() && !last.sample && !last.cached);
    assert_eq!(last.cost.unwrap().settled_micro_usd, Some(250_000));
    assert!(last.artifacts[0].duration.is_some() && last.generation_time.is_some());

    let made = simulator.predictions().await;
    assert_eq!(made.len(), 1);
    assert_eq!(made[0]["input"]["prompt"], last.brief.as_str());
    assert_eq!(made[0]["input"]["duration"], 5);

    let request = DownloadArtifactRequest { name: last.artifacts[0].name.clone(), read_offset: 10, read_limit: 100 };
    let mut download = server.artifacts().await.download_artifact(request).await.unwrap().into_inner();
    let first = download.message().await.unwrap().unwrap();
    assert!(matches!(first.part, Some(Part::Artifact(_))));
    let Some(Part::Chunk(chunk)) = download.message().await.unwrap().unwrap().part else { panic!("a chunk") };
    assert_eq!((chunk.offset, chunk.data.len()), (10, 100));
    assert!(download.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_remembers_its_turns_and_the_same_prompt_is_bought_once() {
    let simulator = Simulator::start(&[]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let order = |prompt: &str| GenerateVideoRequest { session: "sessions/abc".to_owned(), ..video(prompt) };
    let first = server.generate(order("A  Cat ")).await.unwrap();
    let second = server.generate(order("a cat")).await.unwrap();
    assert!(!first.cached && second.cached && second.state() == State::Succeeded);
    assert_eq!(simulator.count("creates_received").await, 1);
    assert_eq!(second.cost.unwrap().settled_micro_usd, Some(0));
    assert_eq!(first.artifacts[0].sha256, second.artifacts[0].sha256);
    assert_ne!(first.artifacts[0].name, second.artifacts[0].name);

    let request = GetSessionHistoryRequest { name: "sessions/abc".to_owned(), ..GetSessionHistoryRequest::default() };
    let history = server.sessions().await.get_session_history(request).await.unwrap().into_inner().messages;
    let roles: Vec<Role> = history.iter().map(|message| message.role()).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::Assistant, Role::User, Role::Assistant, Role::Assistant]);
    let meta = |index: usize| history[index].meta.as_ref().unwrap().fields.keys().cloned().collect::<Vec<_>>();
    assert_eq!((meta(0), meta(1)), (vec!["source".to_owned()], vec!["brief".to_owned()]));
    assert_eq!(meta(2), ["elapsed", "sample", "video"]);

    let other = GenerateVideoRequest { cache: CachePolicy::Bypass.into(), ..order("a cat") };
    assert!(!server.generate(other).await.unwrap().cached);
    assert_eq!(simulator.count("creates_received").await, 2);
}

#[tokio::test]
async fn identical_orders_in_flight_share_one_job() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let generations = server.generations().await;
    let orders = (0..500).map(|_| {
        let mut generations = generations.clone();
        async move {
            let stream = generations.generate_video(video("the same")).await.unwrap();
            stream.into_inner().message().await.unwrap().unwrap().generation.unwrap().name
        }
    });
    let names = futures_util::future::join_all(orders).await;
    simulator.control("release", serde_json::json!({})).await;
    let ended = futures_util::future::join_all(names.iter().map(|name| server.end_of(name))).await;
    assert!(ended.iter().all(|generation| generation.state() == State::Succeeded));
    assert_eq!(ended.iter().filter(|generation| generation.coalesced).count(), 499);
    assert_eq!(simulator.count("creates_received").await, 1);
    assert_eq!(simulator.count("downloads").await, 1);
    let paid: i64 = ended.iter().map(|generation| generation.cost.unwrap().held_micro_usd).sum();
    assert_eq!(paid, 0);
}

#[tokio::test]
async fn a_thousand_watchers_cause_no_more_polls_than_one() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate())
        .with("FILMGATE_POLL_INTERVAL", "200ms")
        .with("FILMGATE_POLL_INTERVAL_MAX", "200ms")
        .start()
        .await;
    let first = server.order(video("watched")).await.unwrap();
    let watchers = futures_util::future::join_all((0..1000).map(|_| server.until(&first.name, is_terminal)));
    let release = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        simulator.control("release", serde_json::json!({})).await;
    };
    let (ended, ()) = tokio::join!(watchers, release);
    assert!(ended.iter().all(|generation| generation.state() == State::Succeeded));
    // The number of polls follows from time alone; a thousand pollers would make thousands.
    assert!(simulator.count("gets").await < 100);
}
