//! What is kept for a time only: ended generations leave a tombstone, artifacts go, and nothing that is still needed does.

use std::time::Duration;

use filmgate::pb::v1::{
    DownloadArtifactRequest, GenerateVideoRequest, Generation, GetArtifactRequest, ListGenerationsRequest, State,
    WatchGenerationRequest, input::Source,
};
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    files::{from_picture, n_blobs, picture, upload},
    simulator::Simulator,
    support::{
        acts::reason,
        server::{SOON, Server, Setup, video},
    },
};

/// Makes all that is stored an hour older than it is, and starts again.
async fn an_hour_later(server: Server, settings: &[(&'static str, &str)]) -> Server {
    let setup = settings.iter().fold(server.kill(), |setup, (name, value)| setup.with(name, value));
    let db = rusqlite::Connection::open(setup.data_dir().join("filmgate.db")).unwrap();
    for text in [
        "UPDATE generations SET ended_at = ended_at - 3600000000",
        "UPDATE artifacts SET created_at = created_at - 3600000000",
    ] {
        db.execute(text, ()).unwrap();
    }
    drop(db);
    setup.start().await
}

/// Waits until it is a tombstone.
async fn expired(server: &Server, name: &str) -> Generation {
    let expired = async {
        loop {
            let generation = server.get(name).await;
            if generation.expire_time.is_some() {
                return generation;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, expired).await.expect("it expires")
}

async fn listed(server: &Server) -> Vec<String> {
    let listed = server.generations().await.list_generations(ListGenerationsRequest::default()).await.unwrap();
    listed.into_inner().generations.into_iter().map(|generation| generation.name).collect()
}

async fn assert_gone(server: &Server, generation: &Generation) {
    assert_eq!(server.bytes(generation).await.status(), StatusCode::NOT_FOUND);
    let name = generation.artifacts[0].name.clone();
    let request = DownloadArtifactRequest { name: name.clone(), ..Default::default() };
    let refused = server.artifacts().await.download_artifact(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(refused.get_details_resource_info().unwrap().resource_name, name);
}

#[tokio::test]
async fn an_ended_generation_expires_to_a_tombstone_and_a_running_one_never() {
    let simulator = Simulator::start(&["create:prompt=[held]:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let order = || GenerateVideoRequest {
        request_id: "once".to_owned(),
        labels: [("secret".to_owned(), "label".to_owned())].into(),
        ..video("a secret fox")
    };
    let whole = server.generate(order()).await.unwrap();
    let held = server.order(video("a [held] fox")).await.unwrap().name;
    server.until(&held, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;

    let server = an_hour_later(server, &[("FILMGATE_KEEP_GENERATIONS", "30m")]).await;
    let left = expired(&server, &whole.name).await;
    assert_eq!((left.state(), left.end_time, left.cost), (State::Succeeded, whole.end_time, whole.cost));
    assert!(left.sequence > whole.sequence);
    assert!(left.artifacts.is_empty() && !format!("{left:?}").contains("secret"), "{left:?}");
    assert_eq!(listed(&server).await, [held.as_str()]);
    assert_gone(&server, &whole).await;
    let mut watch = {
        let request = WatchGenerationRequest { name: whole.name.clone(), after_sequence: whole.sequence };
        server.generations().await.watch_generation(request).await.unwrap().into_inner()
    };
    assert_eq!(watch.message().await.unwrap().unwrap().generation.as_ref(), Some(&left));
    assert!(watch.message().await.unwrap().is_none());
    assert_eq!(server.order(order()).await.unwrap(), left, "its request id still answers");
    assert_eq!(reason(&server.cancel(&whole.name).await.unwrap_err()), "GENERATION_FINISHED");
    assert_eq!(server.events(&whole.name).await, []);

    let again = server.generate(video("a secret fox")).await.unwrap();
    assert!(!again.cached && again.state() == State::Succeeded, "{again:?}");
    simulator.control("release", json!({})).await;
    assert_eq!(server.end_of(&held).await.state(), State::Succeeded);
    server.delete(&whole.name).await.unwrap();
    assert_eq!(reason(&server.delete(&whole.name).await.unwrap_err()), "GENERATION_NOT_FOUND");
    assert_eq!(simulator.count("creates_received").await, 3);
}

#[tokio::test]
async fn artifacts_expire_but_for_what_an_unfinished_generation_starts_from() {
    let simulator = Simulator::start(&["create:prompt=[held]:hold"]);
    let server = Setup::replicate(&simulator.replicate()).with("FILMGATE_CONCURRENCY", "1").start().await;
    let made = server.generate(video("a fox")).await.unwrap();
    let [needed, unneeded] = [upload(&server, &picture(1000)).await, upload(&server, &picture(2000)).await];
    // It holds the only place, so the other one keeps its picture for later.
    let held = server.order(video("a [held] fox")).await.unwrap().name;
    server.until(&held, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    let queued = server.order(from_picture(Source::Artifact(needed.name.clone()))).await.unwrap().name;

    let server = an_hour_later(server, &[("FILMGATE_KEEP_ARTIFACTS", "30m")]).await;
    let get = async |name: &str| {
        let request = GetArtifactRequest { name: name.to_owned() };
        server.artifacts().await.get_artifact(request).await
    };
    let expired = async {
        while get(&unneeded.name).await.is_ok() || get(&made.artifacts[0].name).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, expired).await.expect("they expire");
    assert_gone(&server, &made).await;
    assert_eq!(server.get(&made.name).await.expire_time, None, "the generation itself is kept");
    get(&needed.name).await.unwrap();
    simulator.control("release", json!({})).await;
    let ended = server.end_of(&queued).await;
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    // The picture, and the outputs of the two that have ended since.
    assert_eq!(n_blobs(&server.setup().data_dir().join("blobs")), 3);
    assert!(!server.generate(video("a fox")).await.unwrap().cached, "what it would be answered from is gone");
}
