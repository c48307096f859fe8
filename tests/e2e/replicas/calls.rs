//! Calls that change something, made anywhere but where the generation is driven.

use filmgate::pb::v1::{CachePolicy, Charged, ErrorReason, GenerateVideoRequest, Generation, Resolution, State};
use futures_util::future::join_all;
use tonic::Code;

use super::{Cluster, whole_history};
use crate::support::{
    acts::reason,
    server::{Server, video},
};

fn at_the_vendor(generation: &Generation) -> bool {
    generation.attempts.first().is_some_and(|attempt| !attempt.provider_job_id.is_empty())
}

#[tokio::test]
async fn a_cancel_anywhere_reaches_the_vendor() {
    let cluster = Cluster::start(&["create:hold"]);
    let [drives, other, third] = cluster.three().await;
    let name = drives.order(video("cancelled")).await.unwrap().name;
    other.until(&name, at_the_vendor).await;
    let told = other.cancel(&name).await.unwrap();
    assert!([State::Cancelling, State::Cancelled].contains(&told.state()), "{told:?}");
    let ended = third.end_of(&name).await;
    assert_eq!((ended.state(), cluster.simulator.count("cancels").await), (State::Cancelled, 1));
    assert!(other.cancel(&name).await.is_ok(), "repeating it succeeds");

    // What still waits is cancelled at once, and never sent.
    let waiting = cluster.setup().with("FILMGATE_CONCURRENCY", "1");
    drop((drives, third));
    let n_creates = cluster.simulator.count("creates_received").await;
    other.stop().await;
    let [alone, asked] = [waiting.start().await, cluster.setup().with("FILMGATE_CONCURRENCY", "1").start().await];
    for (n, server) in [&alone, &asked].into_iter().enumerate() {
        let name = server.order(video(&format!("takes the place {n}"))).await.unwrap().name;
        server.until(&name, at_the_vendor).await;
    }
    let name = alone.order(video("waits")).await.unwrap().name;
    assert_eq!(asked.cancel(&name).await.unwrap().state(), State::Cancelled);
    assert_eq!(alone.end_of(&name).await.state(), State::Cancelled);
    cluster.release().await;
    assert_eq!(alone.generate(video("last")).await.unwrap().state(), State::Succeeded);
    assert_eq!(cluster.simulator.count("creates_received").await, n_creates + 3);
}

#[tokio::test]
async fn a_persons_decision_anywhere_is_carried_out() {
    let cluster = Cluster::start(&["create:first=2:drop"]);
    let [drives, other, third] = cluster.three().await;
    let lost = drives.order(video("lost")).await.unwrap().name;
    other.unresolved(&lost).await;
    let failed = other.resolve(&lost, Resolution::Failed).await.unwrap().failure.unwrap();
    assert_eq!((failed.reason(), failed.charged()), (ErrorReason::ResolvedByPerson, Charged::Unknown));
    assert_eq!(drives.end_of(&lost).await.state(), State::Failed);

    let again = drives.order(video("sent again")).await.unwrap().name;
    third.unresolved(&again).await;
    other.resolve(&again, Resolution::Resubmit).await.unwrap();
    assert_eq!(third.end_of(&again).await.state(), State::Succeeded);
    assert_eq!(cluster.simulator.count("creates_received").await, 3);

    third.delete(&again).await.unwrap();
    let gone = drives.cancel(&again).await.unwrap_err();
    assert_eq!((gone.code(), reason(&gone).as_str()), (Code::NotFound, "GENERATION_NOT_FOUND"));
}

/// Orders the same everywhere, many times at once.
async fn race(servers: &[Server; 3], order: impl Fn() -> GenerateVideoRequest) -> Vec<Generation> {
    let orders = (0..60).map(|n| {
        let (server, order) = (&servers[n % 3], order());
        async move { server.order(order).await.unwrap() }
    });
    join_all(orders).await
}

#[tokio::test]
async fn one_request_id_is_one_generation_and_identical_orders_are_one_job_everywhere() {
    let cluster = Cluster::start(&["create:hold"]);
    let servers = cluster.three().await;
    let bypass = || GenerateVideoRequest {
        request_id: "once".to_owned(),
        cache: CachePolicy::Bypass.into(),
        ..video("one request")
    };
    let answers = race(&servers, bypass).await;
    assert!(answers.iter().all(|answer| answer.name == answers[0].name));

    let shared = race(&servers, || video("one job")).await;
    assert_eq!(shared.iter().filter(|generation| !generation.coalesced).count(), 1);
    cluster.reached("creates_effective", 2).await;
    // All show how far their job is, wherever that is.
    for server in &servers {
        for generation in &shared[..6] {
            server.until(&generation.name, |generation| generation.state() == State::Running).await;
            assert_eq!(server.get(&generation.name).await.state(), State::Running);
        }
    }
    cluster.release().await;
    for (n, generation) in shared.iter().chain([&answers[0]]).enumerate() {
        assert_eq!(servers[n % 3].end_of(&generation.name).await.state(), State::Succeeded);
    }
    cluster.bought_once(2).await;
}

#[tokio::test]
async fn a_cancelled_leaders_job_goes_on_for_those_who_share_it_elsewhere() {
    let cluster = Cluster::start(&["create:hold"]);
    let [first, second, third] = cluster.three().await;
    let leader = first.order(video("shared")).await.unwrap().name;
    let follower = second.order(video("shared")).await.unwrap();
    let last = third.order(video("shared")).await.unwrap();
    assert!(follower.coalesced && last.coalesced);
    first.until(&leader, at_the_vendor).await;
    let told = third.cancel(&leader).await.unwrap();
    assert_eq!(told.state(), State::Cancelled, "nothing is cancelled at the vendor");

    let promoted = second.until(&follower.name, at_the_vendor).await;
    assert_eq!(promoted.state(), State::Running);
    cluster.release().await;
    for server in [&first, &second, &third] {
        for name in [&follower.name, &last.name] {
            assert_eq!(server.end_of(name).await.state(), State::Succeeded);
        }
        assert_eq!(server.end_of(&leader).await.state(), State::Cancelled);
    }
    let history = whole_history(&first, &follower.name).await;
    assert_eq!(history, ["accepted", "promoted", "outputs_ready", "succeeded"]);
    assert_eq!(cluster.simulator.count("cancels").await, 0);
    cluster.bought_once(1).await;
}
