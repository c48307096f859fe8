//! What was lost between a submit and its answer is found by its webhook, or by the mark that the webhook's address is.

use filmgate::pb::v1::{Charged, ErrorReason, GenerateVideoRequest, LedgerEntry, LedgerReason, Resolution, State};
use serde_json::json;

use super::{OK, REFUSED, alone};
use crate::{
    command_line::run,
    money::entries,
    simulator::Simulator,
    support::{
        relay::Relay,
        server::{Setup, video},
    },
};

#[tokio::test]
async fn a_late_webhook_brings_the_ticket_of_a_lost_answer() {
    let simulator = Simulator::start(&["create:drop,effect=after", "list:status=500"]);
    let relay = Relay::start().await;
    let server = relay.setup(&simulator.replicate()).start().await;
    let order = server.order(alone("a fox")).await.unwrap();
    let generation = server.unresolved(&order.name).await;
    assert_eq!(generation.unresolved.unwrap().reason(), ErrorReason::SubmitAnswerLost);
    let [start, completed] = [relay.next().await, relay.next().await];
    // Out of order, as they may come.
    assert_eq!(relay.pass(&completed, &server).await, OK);
    let ended = server.end_of(&order.name).await;
    assert_eq!(relay.pass(&start, &server).await, OK);
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    assert_eq!(ended.attempts[0].provider_job_id, simulator.predictions().await[0]["id"].as_str().unwrap());
    assert_eq!(simulator.count("creates_received").await, 1);
    let history = server.history(&order.name).await;
    assert_eq!(history, ["accepted", "submitting", "unresolved", "submitted", "outputs_ready", "succeeded"]);
}

#[tokio::test]
async fn a_webhook_finds_what_was_lost_in_a_crash_between_intent_and_ticket() {
    let simulator = Simulator::start(&["create:hang,effect=after", "list:status=500"]);
    let relay = Relay::start().await;
    let server = relay.setup(&simulator.replicate()).start().await;
    let order = server.order(alone("a fox")).await.unwrap();
    let [_start, completed] = [relay.next().await, relay.next().await];
    let server = server.kill().start().await;
    server.unresolved(&order.name).await;
    assert_eq!(relay.pass(&completed, &server).await, OK);
    let ended = server.end_of(&order.name).await;
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn a_webhook_may_be_faster_than_the_answer_to_its_submit() {
    // The answer never comes, and the vendor's list cannot be read: the webhook alone knows.
    let simulator = Simulator::start(&["create:hang,effect=after", "list:status=500"]);
    let relay = Relay::start().await;
    let server = relay.setup(&simulator.replicate()).with("FILMGATE_PROVIDER_TIMEOUT", "3s").start().await;
    let order = server.order(alone("a fox")).await.unwrap();
    let [start, completed] = [relay.next().await, relay.next().await];
    for letter in [&start, &completed] {
        assert_eq!(relay.pass(letter, &server).await, OK);
    }
    let submitted = server.get(&order.name).await;
    assert_eq!(submitted.attempts[0].provider_job_id, simulator.predictions().await[0]["id"].as_str().unwrap());
    let ended = server.end_of(&order.name).await;
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    let history = server.history(&order.name).await;
    assert_eq!(history, ["accepted", "submitting", "submitted", "outputs_ready", "succeeded"]);
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn an_order_that_was_turned_away_and_has_a_job_all_the_same_is_not_sent_again() {
    let simulator = Simulator::start(&["create:status=429,retry_after=4,effect=after"]);
    let relay = Relay::start().await;
    let server = relay.setup(&simulator.replicate()).start().await;
    let order = server.order(alone("a fox")).await.unwrap();
    let [start, completed] = [relay.next().await, relay.next().await];
    let postponed = "postponed".to_owned();
    while !server.history(&order.name).await.contains(&postponed) {
        tokio::task::yield_now().await;
    }
    for letter in [&start, &completed] {
        assert_eq!(relay.pass(letter, &server).await, OK);
    }
    let ended = server.end_of(&order.name).await;
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    assert_eq!(ended.attempts[0].provider_job_id, simulator.predictions().await[0]["id"].as_str().unwrap());
    let history = server.history(&order.name).await;
    assert_eq!(history, ["accepted", "submitting", "postponed", "submitted", "outputs_ready", "succeeded"]);
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn two_identical_orders_whose_answers_were_lost_each_find_their_own_by_its_mark() {
    let simulator = Simulator::start(&["create:drop,effect=after", "list:status=500"]);
    let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_PUBLIC_URL", "http://127.0.0.1:9");
    let server = setup.start().await;
    let [first, second] = [server.order(alone("twins")).await.unwrap(), server.order(alone("twins")).await.unwrap()];
    for order in [&first, &second] {
        server.unresolved(&order.name).await;
    }
    // Jobs are known by their marks also when the address has changed since.
    let server = server.kill().with("FILMGATE_PUBLIC_URL", "http://127.0.0.1:9/moved").start().await;
    simulator.faults(&[]).await;
    for order in [&first, &second] {
        let ended = server.end_of(&order.name).await;
        assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
        let made = simulator.predictions().await;
        let job = made.iter().find(|job| job["id"] == *ended.attempts[0].provider_job_id).unwrap();
        let id = order.name.strip_prefix("generations/").unwrap();
        assert!(job["webhook"].as_str().unwrap().contains(id), "{job}");
    }
    assert_eq!(simulator.count("creates_received").await, 2);
}

#[tokio::test]
async fn a_job_with_the_mark_of_another_is_not_adopted() {
    // The second order never reached the vendor; the only job that looks like it is the first one's.
    let simulator = Simulator::start(&["create:nth=1:drop,effect=after", "create:drop", "list:status=500"]);
    let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_PUBLIC_URL", "http://127.0.0.1:9");
    let server = setup.start().await;
    let first = server.order(alone("twins")).await.unwrap();
    server.unresolved(&first.name).await;
    server.resolve(&first.name, Resolution::Failed).await.unwrap();
    let second = server.order(alone("twins")).await.unwrap();
    server.unresolved(&second.name).await;
    simulator.faults(&[]).await;
    let n_lists = simulator.count("lists").await;
    while simulator.count("lists").await < n_lists + 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.get(&second.name).await.state(), State::Unresolved);
}

#[tokio::test]
async fn what_was_given_up_stays_so_when_a_webhook_tells_of_it() {
    let simulator = Simulator::start(&["create:drop,effect=after", "list:status=500"]);
    let relay = Relay::start().await;
    let server = relay.setup(&simulator.replicate()).start().await;
    let order = server.order(alone("a fox")).await.unwrap();
    server.unresolved(&order.name).await;
    let ended = server.resolve(&order.name, Resolution::Failed).await.unwrap();
    let [start, completed] = [relay.next().await, relay.next().await];
    for letter in [&start, &completed] {
        assert_eq!(relay.pass(letter, &server).await, OK);
    }
    // What the lost attempt cost is known now, and nothing else has changed.
    let after = server.get(&order.name).await;
    assert_eq!((after.attempts[0].charged(), ended.attempts[0].charged()), (Charged::Yes, Charged::Unknown));
    assert_eq!((after.state(), &after.failure, after.end_time), (State::Failed, &ended.failure, ended.end_time));
    assert!(after.artifacts.is_empty());
    // Once it is deleted nobody is called so any more.
    server.delete(&order.name).await.unwrap();
    assert_eq!(relay.pass(&completed, &server).await, REFUSED);
}

#[tokio::test]
async fn a_webhook_follows_the_job_to_whoever_took_it_over() {
    let simulator = Simulator::start(&["create:drop,effect=after", "create:hold", "list:status=500"]);
    let relay = Relay::start().await;
    let server = relay.setup(&simulator.replicate()).start().await;
    let leader = server.order(video("a fox")).await.unwrap();
    server.unresolved(&leader.name).await;
    let follower = server.order(video("a fox")).await.unwrap();
    assert!(follower.coalesced);
    assert_eq!(server.cancel(&leader.name).await.unwrap().state(), State::Cancelled);
    server.delete(&leader.name).await.unwrap();
    assert_eq!(relay.pass(&relay.next().await, &server).await, OK);
    server.until(&follower.name, |generation| generation.phase == "processing").await;
    simulator.control("release", json!({})).await;
    assert_eq!(relay.pass(&relay.next().await, &server).await, OK);
    assert_eq!(server.end_of(&follower.name).await.state(), State::Succeeded);
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn a_webhook_after_a_persons_word_corrects_the_ledger_and_nothing_else() {
    let simulator = Simulator::start(&["create:drop,effect=after", "list:status=500"]);
    let relay = Relay::start().await;
    let server = relay.setup(&simulator.replicate()).start().await;
    let priced = "replicate/kwaivgi/kling-v1.6-standard".to_owned();
    let order = server.order(GenerateVideoRequest { model: priced, ..alone("a fox") }).await.unwrap();
    server.unresolved(&order.name).await;
    let [_start, completed] = [relay.next().await, relay.next().await];
    let resolved = run(server.setup(), &["resolve", &order.name, "--as", "failed"]).await;
    assert_eq!(resolved.code, Some(0), "{resolved:?}");
    let ended = server.end_of(&order.name).await;
    let n_polls = simulator.count("gets").await;
    for _ in 0..2 {
        assert_eq!(relay.pass(&completed, &server).await, OK);
    }
    assert_eq!(simulator.count("gets").await, n_polls + 1, "it is asked once");
    let after = server.get(&order.name).await;
    assert_eq!((after.state(), &after.failure, &after.artifacts), (State::Failed, &ended.failure, &ended.artifacts));
    let cost = after.cost.unwrap();
    assert_eq!((cost.settled_micro_usd, cost.suspense_micro_usd), (Some(250_000), 0));
    let reasons: Vec<_> = entries(&server, &order.name).await.iter().map(LedgerEntry::reason).collect();
    assert_eq!(reasons, [LedgerReason::Hold, LedgerReason::Suspend, LedgerReason::Correct]);
}
