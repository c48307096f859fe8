//! SIGKILL at a bad moment, then a start on the same folder.

use std::{collections::BTreeSet, path::Path};

use filmgate::{
    failpoint::Point,
    pb::v1::{
        CachePolicy, Charged, ErrorReason, GenerateVideoRequest, Generation, Resolution, ResolveGenerationRequest,
        State,
    },
};
use serde_json::json;

use crate::{
    simulator::Simulator,
    support::server::{Setup, video},
    tidy,
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

#[tokio::test]
async fn two_identical_orders_killed_while_their_answers_are_awaited_stay_unresolved_with_their_holds() {
    let simulator = Simulator::start(&["create:hang,effect=after"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let order = || GenerateVideoRequest {
        cache: CachePolicy::Bypass.into(),
        model: "replicate/kwaivgi/kling-v1.6-standard".to_owned(),
        ..video("twins")
    };
    let names = [server.order(order()).await.unwrap().name, server.order(order()).await.unwrap().name];
    simulator.reached("creates_effective", 2).await;
    let server = server.kill().start().await;
    for name in &names {
        server.unresolved(name).await;
    }
    let n_lists = simulator.count("lists").await;
    simulator.reached("lists", n_lists + 4).await;
    for name in &names {
        let generation = server.get(name).await;
        assert_eq!(generation.state(), State::Unresolved);
        assert_eq!(generation.cost.unwrap().held_micro_usd, 250_000);
        assert_eq!(generation.attempts[0].provider_job_id, "");
    }
    assert_eq!((simulator.count("creates_received").await, simulator.count("gets").await), (2, 0));
}

#[tokio::test]
async fn a_cancel_asked_for_while_the_answer_is_awaited_reaches_the_job_after_a_kill() {
    let simulator = Simulator::start(&["create:hang,effect=after", "create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let name = server.order(video("unwanted")).await.unwrap().name;
    simulator.reached("creates_effective", 1).await;
    assert_eq!(server.cancel(&name).await.unwrap().state(), State::Cancelling);
    let server = server.kill().start().await;
    assert_eq!(server.end_of(&name).await.state(), State::Cancelled);
    assert_eq!((simulator.count("creates_received").await, simulator.count("cancels").await), (1, 1));
    assert_eq!(simulator.predictions().await[0]["status"], "canceled");
}

#[tokio::test]
async fn a_cancel_of_what_was_never_made_waits_and_takes_no_place_from_others() {
    let simulator = Simulator::start(&["create:first=1:hang"]);
    let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_CONCURRENCY", "1");
    let server = setup.with("FILMGATE_PROVIDER_TIMEOUT", "500ms").start().await;
    let order = GenerateVideoRequest { model: "replicate/kwaivgi/kling-v1.6-standard".to_owned(), ..video("unwanted") };
    let name = server.order(order).await.unwrap().name;
    simulator.reached("creates_received", 1).await;
    server.cancel(&name).await.unwrap();
    let other = server.generate(video("wanted")).await.unwrap();
    assert_eq!(other.state(), State::Succeeded, "{other:?}");
    let server = server.kill().start().await;
    let other = server.generate(video("wanted, too")).await.unwrap();
    assert_eq!(other.state(), State::Succeeded, "{other:?}");
    let n_lists = simulator.count("lists").await;
    simulator.reached("lists", n_lists + 1).await;
    let generation = server.get(&name).await;
    assert_eq!(generation.state(), State::Cancelling);
    assert_eq!(generation.cost.unwrap().held_micro_usd, 250_000);
    assert_eq!(simulator.count("creates_received").await, 3);
}

/// The names are part of what testers rely on, and each stands in one place of the sources.
#[test]
fn every_failpoint_has_its_name_and_one_place() {
    let expected = "order.before order.after intent.before intent.after send.before receive.before receive.after answer.before answer.after \
        ticket.before ticket.after poll.before poll.after terminal.before terminal.after spool.before spool.after \
        blob.before blob.after settle.before settle.after notify.before notify.after";
    assert_eq!(Point::ALL.map(Point::name).join(" "), expected);
    let sources = tidy::shipped_sources().into_iter().filter(|(file, _)| *file != Path::new("failpoint.rs"));
    let code = sources.map(|(_, code)| code).collect::<String>();
    for point in Point::ALL {
        assert_eq!(code.matches(&format!("failpoint::reach(Point::{point:?})")).count(), 1, "{point:?}");
    }
    assert_eq!(code.matches("failpoint::reach(").count(), Point::ALL.len());
}
