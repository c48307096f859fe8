//! One job for many: identical orders in flight, repeated requests, and answers from earlier results.

use std::{fs, time::Duration};

use filmgate::pb::v1::{CachePolicy, Charged, ErrorReason, GenerateVideoRequest, Generation, State};
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::sleep;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    simulator::Simulator,
    support::{
        acts::reason,
        server::{Server, Setup, video},
    },
};

/// `n` orders of the same prompt, the first of which leads.
pub(crate) async fn sharing(server: &Server, n: usize) -> Vec<String> {
    let mut names = Vec::new();
    for index in 0..n {
        let generation = server.order(video("the same")).await.unwrap();
        assert_eq!(generation.coalesced, index > 0);
        names.push(generation.name);
    }
    names
}

pub(crate) async fn reached(simulator: &Simulator, count: &str, n: u64) {
    while simulator.count(count).await < n {
        tokio::task::yield_now().await;
    }
}

/// Releases until it has ended: a job made after a release is held again.
async fn released_end(simulator: &Simulator, server: &Server, name: &str) -> Generation {
    loop {
        simulator.control("release", json!({})).await;
        let generation = server.get(name).await;
        if generation.end_time.is_some() {
            return generation;
        }
    }
}

#[tokio::test]
async fn a_cancelled_leaders_job_goes_on_for_those_who_share_it() {
    let check = async |rules: &[&str], creates: u64| {
        let simulator = Simulator::start(rules);
        let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_PROVIDER_TIMEOUT", "500ms");
        let server = setup.with("FILMGATE_CONCURRENCY", "1").start().await;
        if creates == 2 {
            // The leader waits behind another job.
            server.order(video("takes the place")).await.unwrap();
        }
        reached(&simulator, "creates_effective", creates - 1).await;
        let names = sharing(&server, 3).await;
        if creates == 1 {
            reached(&simulator, "creates_effective", 1).await;
        }
        assert_eq!(server.cancel(&names[0]).await.unwrap().state(), State::Cancelled, "{rules:?}");
        for name in &names[1..] {
            let ended = released_end(&simulator, &server, name).await;
            assert_eq!(ended.state(), State::Succeeded, "{rules:?}: {ended:?}");
        }
        let [successor, follower] = [server.get(&names[1]).await, server.get(&names[2]).await];
        assert_eq!((successor.attempts.len(), follower.attempts.len()), (1, 0));
        assert_eq!(simulator.count("creates_received").await, creates, "{rules:?}");
        assert_eq!(simulator.count("cancels").await, 0, "{rules:?}");
        assert!(server.cancel(&names[0]).await.is_ok());
    };
    check(&["create:hold"], 1).await;
    check(&["create:hang,effect=after", "create:hold"], 1).await;
    check(&["create:hold"], 2).await;
}

#[tokio::test]
async fn a_handed_over_job_keeps_its_place_at_the_vendor() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).with("FILMGATE_CONCURRENCY", "1").start().await;
    let names = sharing(&server, 2).await;
    reached(&simulator, "gets", 1).await;
    let other = server.order(video("another")).await.unwrap().name;
    server.cancel(&names[0]).await.unwrap();
    let n_gets = simulator.count("gets").await;
    reached(&simulator, "gets", n_gets + 4).await;
    assert_eq!(simulator.count("creates_received").await, 1);
    assert_eq!(server.get(&other).await.queue_position, Some(1));
}

#[tokio::test]
async fn a_cancelled_follower_changes_nothing_for_the_rest() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let names = sharing(&server, 3).await;
    assert_eq!(server.cancel(&names[1]).await.unwrap().state(), State::Cancelled);
    reached(&simulator, "creates_effective", 1).await;
    simulator.control("release", json!({})).await;
    for name in [&names[0], &names[2]] {
        assert_eq!(server.end_of(name).await.state(), State::Succeeded);
    }
    assert_eq!((simulator.count("creates_received").await, simulator.count("cancels").await), (1, 0));
}

#[tokio::test]
async fn those_who_share_a_job_fail_with_it_for_nothing_also_after_a_restart() {
    let simulator = Simulator::start(&[r#"create:failed="it broke""#, "create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let names = sharing(&server, 3).await;
    reached(&simulator, "creates_effective", 1).await;
    let server = server.kill().start().await;
    simulator.control("release", json!({})).await;
    for name in &names {
        let failure = server.end_of(name).await.failure.unwrap();
        assert_eq!((failure.reason(), failure.charged()), (ErrorReason::ProviderJobFailed, Charged::No));
    }
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn a_repeated_request_attaches_to_the_first_also_over_a_restart() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let order =
        || GenerateVideoRequest { request_id: "once".to_owned(), cache: CachePolicy::Bypass.into(), ..video("a fox") };
    let generations = server.generations().await;
    let racing = join_all((0..100).map(|_| {
        let mut generations = generations.clone();
        async move {
            let mut stream = generations.generate_video(order()).await.unwrap().into_inner();
            let answer = stream.message().await.unwrap().unwrap();
            (answer.generation.unwrap().name, answer.replayed)
        }
    }));
    let answers = racing.await;
    assert!(answers.iter().all(|(name, _)| *name == answers[0].0));
    assert_eq!(answers.iter().filter(|(_, replayed)| !replayed).count(), 1);
    reached(&simulator, "creates_effective", 1).await;

    let server = server.kill().start().await;
    assert_eq!(server.order(order()).await.unwrap().name, answers[0].0);
    let other = GenerateVideoRequest { prompt: "a hen".to_owned(), ..order() };
    let refused = server.order(other).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    assert_eq!(refused.get_details_error_info().unwrap().metadata["field"], "prompt");
    simulator.control("release", json!({})).await;
    assert_eq!(server.end_of(&answers[0].0).await.state(), State::Succeeded);
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn a_result_whose_bytes_were_taken_away_is_made_anew() {
    let simulator = Simulator::start(&[]);
    let setup = Setup::replicate(&simulator.replicate());
    let server = setup.start().await;
    let first = server.generate(video("a fox")).await.unwrap();
    assert!(server.generate(video("a fox")).await.unwrap().cached);
    fs::remove_dir_all(setup.data_dir().join("blobs")).unwrap();
    let again = server.generate(video("a fox")).await.unwrap();
    assert_eq!((again.state(), again.cached), (State::Succeeded, false), "{again:?}");
    assert_eq!(again.artifacts[0].sha256, first.artifacts[0].sha256);
    assert_eq!(simulator.count("creates_received").await, 2);
    assert!(server.generate(video("a fox")).await.unwrap().cached);
}

#[tokio::test]
async fn a_lost_job_of_another_identical_order_is_not_mistaken_while_it_may_be_theirs() {
    let simulator = Simulator::start(&["create:first=1:drop,effect=after", "list:first=1:status=500"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let order = || GenerateVideoRequest { cache: CachePolicy::Bypass.into(), ..video("twins") };
    let lost = server.order(order()).await.unwrap().name;
    server.unresolved(&lost).await;
    let other = server.generate(order()).await.unwrap();
    let found = server.end_of(&lost).await;
    assert_eq!((found.state(), other.state()), (State::Succeeded, State::Succeeded));
    assert_ne!(found.attempts[0].provider_job_id, other.attempts[0].provider_job_id);
    assert_eq!(simulator.count("creates_received").await, 2);
}

#[tokio::test]
async fn a_leader_cancelled_while_its_outputs_are_stored_leaves_them_to_those_who_share_them() {
    let simulator = Simulator::start(&["download:first=1:hang"]);
    simulator.control("settings", json!({ "latency": "300ms" })).await;
    let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_DOWNLOAD_TIMEOUT", "1s");
    let server = setup.start().await;
    let names = sharing(&server, 3).await;
    server.until(&names[0], |generation| generation.state() == State::Storing).await;
    let left = server.cancel(&names[0]).await.unwrap();
    assert_eq!((left.state(), left.artifacts.len()), (State::Cancelled, 0), "{left:?}");
    for name in &names[1..] {
        let ended = server.end_of(name).await;
        assert_eq!((ended.state(), ended.artifacts.len()), (State::Succeeded, 1), "{ended:?}");
        assert!(server.bytes(&ended).await.status().is_success());
    }
    assert_eq!(server.get(&names[0]).await, left);
    assert_eq!((simulator.count("creates_received").await, simulator.count("cancels").await), (1, 0));
}

#[tokio::test]
async fn an_unknown_job_of_a_cancelled_leader_is_found_for_those_who_share_it_also_after_a_restart() {
    let check = async |restart: bool| {
        let simulator = Simulator::start(&["create:drop,effect=after", "list:status=500"]);
        let server = Setup::replicate(&simulator.replicate()).start().await;
        let first = server.order(video("the same")).await.unwrap().name;
        server.unresolved(&first).await;
        let second = server.order(video("the same")).await.unwrap();
        assert!(second.coalesced);
        assert_eq!(server.cancel(&first).await.unwrap().state(), State::Cancelled);
        assert_eq!(server.unresolved(&second.name).await.attempts.len(), 1, "what is unknown is the successor's now");
        let server = if restart { server.kill().start().await } else { server };
        simulator.faults(&[]).await;
        let ended = server.end_of(&second.name).await;
        assert_eq!(ended.state(), State::Succeeded, "restart: {restart}: {ended:?}");
        assert_eq!(simulator.count("creates_received").await, 1, "restart: {restart}");
    };
    check(false).await;
    check(true).await;
}

#[tokio::test]
async fn a_job_goes_from_hand_to_hand_until_the_last_who_wants_it_also_over_a_kill() {
    let check = async |kill: bool| {
        let simulator = Simulator::start(&["create:hold"]);
        let server = Setup::replicate(&simulator.replicate()).start().await;
        let names = sharing(&server, 6).await;
        server.until(&names[0], |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
        let (last, others) = names.split_last().unwrap();
        for cancelled in join_all(others.iter().map(|name| server.cancel(name))).await {
            assert_eq!(cancelled.unwrap().state(), State::Cancelled);
        }
        let server = if kill { server.kill().start().await } else { server };
        let n_gets = simulator.count("gets").await;
        reached(&simulator, "gets", n_gets + 2).await;
        simulator.control("release", json!({})).await;
        let ended = server.end_of(last).await;
        assert_eq!((ended.state(), ended.attempts.len()), (State::Succeeded, 1), "kill: {kill}: {ended:?}");
        assert_eq!((simulator.count("creates_received").await, simulator.count("cancels").await), (1, 0));
    };
    check(false).await;
    check(true).await;
}

#[tokio::test]
async fn the_last_who_cancels_a_shared_job_stops_it_at_the_vendor() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let names = sharing(&server, 4).await;
    server.until(&names[0], |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    for cancelled in join_all(names.iter().map(|name| server.cancel(name))).await {
        assert!(matches!(cancelled.unwrap().state(), State::Cancelled | State::Cancelling));
    }
    for name in &names {
        assert_eq!(server.end_of(name).await.state(), State::Cancelled);
    }
    assert_eq!((simulator.count("creates_received").await, simulator.count("cancels").await), (1, 1));
    assert_eq!(simulator.predictions().await[0]["status"], "canceled");
}

#[tokio::test]
async fn each_deadline_is_its_own_the_followers_ends_alone_and_the_leaders_hands_over() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).with("FILMGATE_CONCURRENCY", "1").start().await;
    let short =
        || GenerateVideoRequest { max_duration: Some(Duration::from_secs(2).try_into().unwrap()), ..video("the same") };
    let place = server.order(video("takes the place")).await.unwrap().name;
    reached(&simulator, "creates_effective", 1).await;
    // A queued leader without much time, one who shares its job and has time, and one who has none either.
    let leader = server.order(short()).await.unwrap().name;
    let patient = server.order(video("the same")).await.unwrap();
    let hasty = server.order(short()).await.unwrap();
    assert!(patient.coalesced && hasty.coalesced);
    for name in [&leader, &hasty.name] {
        let failure = server.end_of(name).await.failure.unwrap();
        assert_eq!((failure.reason(), failure.charged()), (ErrorReason::DeadlineExceeded, Charged::No));
    }
    let ended = released_end(&simulator, &server, &patient.name).await;
    assert_eq!((ended.state(), ended.attempts.len()), (State::Succeeded, 1), "{ended:?}");
    assert_eq!(server.end_of(&place).await.state(), State::Succeeded);
    assert_eq!(simulator.count("creates_received").await, 2);
}

#[tokio::test]
async fn identical_orders_around_the_end_of_the_first_share_it_or_its_result() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let mut names = sharing(&server, 5).await;
    reached(&simulator, "creates_effective", 1).await;
    let around = join_all((0..40_u64).map(async |n| {
        sleep(Duration::from_millis(n * 3)).await;
        server.order(video("the same")).await.unwrap().name
    }));
    let release = async {
        sleep(Duration::from_millis(30)).await;
        simulator.control("release", json!({})).await;
    };
    let (around, ()) = tokio::join!(around, release);
    names.extend(around);
    server.end_of(&names[0]).await;
    let after = server.order(video("the same")).await.unwrap();
    assert!(after.cached, "{after:?}");
    let ends = join_all(names.iter().map(|name| server.end_of(name))).await;
    assert!(ends.iter().all(|end| end.state() == State::Succeeded && end.artifacts.len() == 1));
    let alone = ends.iter().filter(|end| !end.cached && !end.coalesced).count();
    assert_eq!((alone, simulator.count("creates_received").await), (1, 1));
}
