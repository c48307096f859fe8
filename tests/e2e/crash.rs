//! SIGKILL at a bad moment, then a start on the same folder.

use std::collections::BTreeSet;

use filmgate::pb::v1::{
    CachePolicy, Charged, ErrorReason, GenerateVideoRequest, Generation, Resolution, ResolveGenerationRequest, State,
};
use serde_json::json;

use crate::{
    simulator::Simulator,
    support::server::{Setup, video},
};

#[tokio::test]
async fn fifty_running_jobs_survive_a_kill_and_each_is_submitted_once() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let mut names = Vec::new();
    for n in 0..50 {
        names.push(server.order(video(&format!("job {n}"))).await.unwrap().name);
    }
    for name in &names {
        server.until(name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    }
    let server = server.kill().start().await;
    simulator.control("release", json!({})).await;
    for name in &names {
        let ended = server.end_of(name).await;
        assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    }
    let prompts: BTreeSet<String> =
        simulator.predictions().await.iter().map(|made| made["input"]["prompt"].to_string()).collect();
    assert_eq!((simulator.count("creates_received").await, prompts.len()), (50, 50));
}

#[tokio::test]
async fn a_kill_while_the_answer_is_awaited_is_found_again_and_never_sent_again() {
    // The vendor makes the job and never answers.
    let simulator = Simulator::start(&["create:hang,effect=after"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let order = server.order(video("lost on the way")).await.unwrap();
    while simulator.count("creates_effective").await == 0 {
        tokio::task::yield_now().await;
    }
    let server = server.kill().start().await;
    let ended = server.end_of(&order.name).await;
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn two_identical_orders_whose_answers_were_lost_are_not_mistaken_for_each_other() {
    let simulator = Simulator::start(&["create:drop,effect=after", "list:status=500"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let order = || GenerateVideoRequest { cache: CachePolicy::Bypass.into(), ..video("twins") };
    let [first, second] = [server.order(order()).await.unwrap(), server.order(order()).await.unwrap()];
    let unresolved = |generation: &Generation| generation.state() == State::Unresolved;
    for name in [&first.name, &second.name] {
        let generation = server.until(name, unresolved).await;
        assert_eq!(generation.unresolved.as_ref().unwrap().reason(), ErrorReason::SubmitAnswerLost);
    }
    // Now the vendor's list can be read, and both jobs could be either's.
    simulator.faults(&[]).await;
    let n_lists = simulator.count("lists").await;
    while simulator.count("lists").await < n_lists + 4 {
        tokio::task::yield_now().await;
    }
    for name in [&first.name, &second.name] {
        assert_eq!(server.get(name).await.state(), State::Unresolved);
    }
    assert_eq!(simulator.count("creates_received").await, 2);

    let request = ResolveGenerationRequest { name: first.name.clone(), resolution: Resolution::Failed.into() };
    let resolved = server.generations().await.resolve_generation(request).await.unwrap().into_inner();
    let failure = resolved.generation.unwrap().failure.unwrap();
    assert_eq!((failure.reason(), failure.charged()), (ErrorReason::ResolvedByPerson, Charged::Unknown));
}
