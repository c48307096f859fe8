//! What is unknown stays unknown until it is known: never sent again, never given up early, and delivered late.

use filmgate::pb::v1::{ErrorReason, GenerateVideoRequest, State};
use serde_json::json;

use crate::{
    simulator::Simulator,
    support::server::{Setup, video},
};

/// A model with a price, so that money is held.
fn priced(prompt: &str) -> GenerateVideoRequest {
    GenerateVideoRequest { model: "replicate/kwaivgi/kling-v1.6-standard".to_owned(), ..video(prompt) }
}

#[tokio::test]
async fn an_answer_lost_before_the_effect_is_unresolved_and_never_sent_again() {
    let check = async |rule: &str| {
        let simulator = Simulator::start(&[rule]);
        let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_PROVIDER_TIMEOUT", "500ms");
        let server = setup.start().await;
        let first = server.order(priced("a fox")).await.unwrap();
        let generation = server.unresolved(&first.name).await;
        assert_eq!(generation.unresolved.unwrap().reason(), ErrorReason::SubmitAnswerLost, "{rule}");
        assert_eq!(generation.cost.unwrap().held_micro_usd, 250_000, "{rule}");
        // The vendor was asked once at the loss; asked again it still is not sent again.
        let n_lists = simulator.count("lists").await;
        while simulator.count("lists").await < n_lists + 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.get(&first.name).await.state(), State::Unresolved, "{rule}");
        assert_eq!(simulator.count("creates_received").await, 1, "{rule}");
    };
    check("create:status=500").await;
    check("create:status=503").await;
    check("create:html").await;
    check("create:drop").await;
    check("create:hang").await;
}

#[tokio::test]
async fn a_job_whose_answer_was_lost_is_found_again_and_bought_once() {
    let check = async |rule: &str| {
        let simulator = Simulator::start(&[rule]);
        let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_PROVIDER_TIMEOUT", "500ms");
        let server = setup.start().await;
        let generation = server.generate(priced("a fox")).await.unwrap();
        assert_eq!(generation.state(), State::Succeeded, "{rule}: {generation:?}");
        assert_eq!(generation.cost.unwrap().settled_micro_usd, Some(250_000), "{rule}");
        let creates = (simulator.count("creates_received").await, simulator.count("creates_effective").await);
        assert_eq!(creates, (1, 1), "{rule}");
        // It was found at once, so nobody was told that it is unknown.
        assert!(!server.history(&generation.name).await.contains(&"unresolved".to_owned()), "{rule}");
    };
    check("create:status=500,effect=after").await;
    check("create:html,effect=after").await;
    check("create:drop,effect=after").await;
    check("create:hang,effect=after").await;
    check("create:malformed").await;
    check("create:no_id").await;
}

#[tokio::test]
async fn a_vendor_that_falls_silent_is_asked_until_it_answers_again() {
    let check = async |rule: &str, reason: ErrorReason| {
        let simulator = Simulator::start(&[rule, "create:hold"]);
        let server = Setup::replicate(&simulator.replicate()).start().await;
        let first = server.order(priced("a fox")).await.unwrap();
        let generation = server.unresolved(&first.name).await;
        let unresolved = generation.unresolved.unwrap();
        assert_eq!(unresolved.reason(), reason, "{rule}");
        assert!(unresolved.give_up_time.unwrap().seconds > unresolved.since_time.unwrap().seconds);
        assert_eq!(generation.cost.unwrap().held_micro_usd, 250_000);
        simulator.faults(&[]).await;
        let again = server.until(&first.name, |generation| generation.state() == State::Running).await;
        assert!(again.unresolved.is_none() && again.sequence > generation.sequence);
        simulator.control("release", json!({})).await;
        let ended = server.end_of(&first.name).await;
        assert_eq!(ended.state(), State::Succeeded, "{rule}: {ended:?}");
        assert_eq!(simulator.count("creates_received").await, 1);
    };
    check("get:drop", ErrorReason::ProviderSilent).await;
    check("get:status=500", ErrorReason::ProviderSilent).await;
    check("get:html", ErrorReason::ProviderSilent).await;
    check("get:malformed", ErrorReason::ProviderSilent).await;
    check("get:status=401", ErrorReason::ProviderSilent).await;
    check("get:forgotten", ErrorReason::TicketUnknown).await;
}

#[tokio::test]
async fn three_failed_polls_are_no_silence() {
    let simulator = Simulator::start(&["get:first=3:drop"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let generation = server.generate(video("a fox")).await.unwrap();
    let history = server.history(&generation.name).await;
    assert_eq!(history, ["accepted", "submitting", "submitted", "outputs_ready", "succeeded"]);
    assert_eq!(simulator.count("gets").await, 4);
}

#[tokio::test]
async fn a_vendors_new_words_fields_and_floats_change_nothing() {
    let check = async |rules: &[&str]| {
        let simulator = Simulator::start(rules);
        let server = Setup::replicate(&simulator.replicate()).start().await;
        let ended = server.generate(priced("a fox")).await.unwrap();
        assert_eq!(ended.state(), State::Succeeded, "{rules:?}: {ended:?}");
        assert_eq!(ended.cost.unwrap().settled_micro_usd, Some(250_000));
    };
    check(&["get:first=2:unknown_status=thinking"]).await;
    check(&["create:extra_fields", "get:extra_fields"]).await;
    check(&["create:floats", "get:floats"]).await;
}

#[tokio::test]
async fn a_job_past_its_deadline_is_delivered_late_and_settled() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).with("FILMGATE_MAX_DURATION", "1s").start().await;
    let first = server.order(priced("a fox")).await.unwrap();
    let generation = server.unresolved(&first.name).await;
    assert_eq!(generation.unresolved.unwrap().reason(), ErrorReason::DeadlinePassed);
    assert_eq!(generation.cost.unwrap().held_micro_usd, 250_000);
    simulator.control("release", json!({})).await;
    let ended = server.end_of(&first.name).await;
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    let cost = ended.cost.unwrap();
    assert_eq!((cost.held_micro_usd, cost.settled_micro_usd), (0, Some(250_000)));
    assert!(ended.unresolved.is_none() && ended.artifacts.len() == 1);
}

#[tokio::test]
async fn what_is_unknown_takes_no_place_from_others() {
    let simulator = Simulator::start(&["create:prompt=[lost]:drop"]);
    let server = Setup::replicate(&simulator.replicate()).with("FILMGATE_CONCURRENCY", "1").start().await;
    let lost = server.order(video("a [lost] fox")).await.unwrap();
    server.unresolved(&lost.name).await;
    let ended = server.generate(video("another fox")).await.unwrap();
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    assert_eq!(server.get(&lost.name).await.state(), State::Unresolved);
}

#[tokio::test]
async fn at_most_as_many_as_allowed_are_at_the_vendor_and_the_queue_moves() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).with("FILMGATE_CONCURRENCY", "2").start().await;
    let mut names = Vec::new();
    for n in 0..5 {
        let name = server.order(video(&format!("job {n}"))).await.unwrap().name;
        let placed = |generation: &filmgate::pb::v1::Generation| {
            generation.state() == State::Running || generation.queue_position.is_some()
        };
        // In this order they came, in this order they wait.
        while !placed(&server.get(&name).await) {
            tokio::task::yield_now().await;
        }
        names.push(name);
    }
    let positions = async || {
        let mut positions = Vec::new();
        for name in &names {
            positions.push(server.get(name).await.queue_position);
        }
        positions
    };
    assert_eq!(positions().await, [None, None, Some(1), Some(2), Some(3)]);
    while simulator.count("creates_received").await < 2 {
        tokio::task::yield_now().await;
    }
    let n_gets = simulator.count("gets").await;
    while simulator.count("gets").await < n_gets + 6 {
        tokio::task::yield_now().await;
    }
    assert_eq!(simulator.count("creates_received").await, 2);
    simulator.control("release", json!({ "count": 1 })).await;
    server.until(&names[2], |generation| generation.state() == State::Running).await;
    assert_eq!(positions().await[3..], [Some(1), Some(2)]);
    simulator.faults(&[]).await;
    simulator.control("release", json!({})).await;
    for name in &names {
        while server.get(name).await.state() != State::Succeeded {
            simulator.control("release", json!({})).await;
        }
    }
    assert_eq!(simulator.count("creates_received").await, 5);
}

#[tokio::test]
async fn a_restart_gives_running_jobs_their_places_before_older_queued_ones() {
    let simulator = Simulator::start(&["create:hold"]);
    let one_of_kling = "[limits.\"replicate/kwaivgi/kling-v1.6-standard\"]\nconcurrency = 1";
    let setup = Setup::replicate(&simulator.replicate()).with_file("filmgate.toml", one_of_kling);
    let server = setup.start().await;
    for n in 0..5 {
        let model = "replicate/kwaivgi/kling-v1.6-standard".to_owned();
        server.order(GenerateVideoRequest { model, ..video(&format!("kling {n}")) }).await.unwrap();
    }
    let running = server.order(video("taken")).await.unwrap();
    server.until(&running.name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    simulator.reached("creates_received", 2).await;
    // Two places, one of them taken by the youngest; the model has no limit of its own any more.
    let server = server.kill().with_file("filmgate.toml", "").with("FILMGATE_CONCURRENCY", "2").start().await;
    let n_gets = simulator.count("gets").await;
    simulator.reached("gets", n_gets + 5).await;
    assert_eq!(simulator.count("creates_received").await, 2);
    assert_eq!(server.get(&running.name).await.state(), State::Running);
}
