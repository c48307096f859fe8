//! What happens at the same time: cancels, ends, deadlines, deletes, persons and restarts. Each race has one outcome for everybody to see.

use std::time::Duration;

use filmgate::pb::v1::{
    Charged, ErrorReason, GenerateVideoRequest, Generation, Resolution, State, WatchGenerationRequest,
};
use futures_util::future::{join, join_all};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    cancel::running,
    sharing::{reached, sharing},
    simulator::Simulator,
    support::{
        acts::reason,
        server::{Setup, video},
    },
};

/// The first fetch of an output hangs for this long, so that a job can be met while its outputs are being stored.
const FETCH: &str = "1s";

/// With a vendor whose first output hangs.
fn slow_to_store(simulator: &Simulator) -> Setup {
    Setup::replicate(&simulator.replicate()).with("FILMGATE_DOWNLOAD_TIMEOUT", FETCH)
}

fn limited(prompt: &str, max_duration: Duration) -> GenerateVideoRequest {
    GenerateVideoRequest { max_duration: Some(max_duration.try_into().unwrap()), ..video(prompt) }
}

/// What the vendor says of its only job.
async fn vendors_word(simulator: &Simulator) -> Value {
    simulator.predictions().await[0]["status"].clone()
}

/// How many succeeded, and the reasons of the others.
fn ok<T>(answers: &[Result<T, Status>]) -> (usize, Vec<String>) {
    let refused: Vec<String> = answers.iter().filter_map(|answer| answer.as_ref().err()).map(reason).collect();
    (answers.len() - refused.len(), refused)
}

#[tokio::test]
async fn a_cancel_while_the_outputs_are_stored_destroys_nothing_that_was_paid_for() {
    let simulator = Simulator::start(&["download:first=1:hang"]);
    let server = slow_to_store(&simulator).start().await;
    let name = server.order(video("a fox")).await.unwrap().name;
    server.until(&name, |generation| generation.state() == State::Storing).await;
    assert_eq!(server.cancel(&name).await.unwrap().state(), State::Cancelling);
    let ended = server.end_of(&name).await;
    assert_eq!((ended.state(), ended.artifacts.len()), (State::Succeeded, 1), "{ended:?}");
    assert_eq!((simulator.count("cancels").await, simulator.count("creates_received").await), (0, 1));
}

#[tokio::test]
async fn a_cancel_at_the_moment_of_the_end_has_one_outcome_and_the_vendor_agrees() {
    for n in 0..10 {
        let simulator = Simulator::start(&["create:hold"]);
        let server = Setup::replicate(&simulator.replicate()).start().await;
        let name = running(&server, "a fox").await;
        let release = async {
            sleep(Duration::from_millis(n * 2)).await;
            simulator.control("release", json!({})).await;
        };
        let (cancelled, _) = join(server.cancel(&name), release).await;
        let ended = server.end_of(&name).await;
        let word = vendors_word(&simulator).await;
        match ended.state() {
            State::Succeeded => assert_eq!((word, ended.artifacts.len()), (json!("succeeded"), 1)),
            State::Cancelled => assert_eq!((word, ended.artifacts.len()), (json!("canceled"), 0)),
            other => panic!("{other:?}: {ended:?}"),
        }
        if let Err(refused) = cancelled {
            assert_eq!((reason(&refused).as_str(), ended.state()), ("GENERATION_FINISHED", State::Succeeded));
        }
        assert_eq!(server.get(&name).await, ended);
    }
}

#[tokio::test]
async fn a_cancel_outlives_the_process_that_took_it() {
    let check = async |rules: &[&str], submitted: bool| {
        let simulator = Simulator::start(rules);
        let server = Setup::replicate(&simulator.replicate()).start().await;
        let name = server.order(video("a fox")).await.unwrap().name;
        if submitted {
            server.until(&name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
        }
        reached(&simulator, "creates_effective", 1).await;
        assert_eq!(server.cancel(&name).await.unwrap().state(), State::Cancelling, "{rules:?}");
        let server = server.kill().start().await;
        assert_eq!(server.get(&name).await.state(), State::Cancelling, "{rules:?}");
        assert!(server.cancel(&name).await.is_ok(), "{rules:?}");
        simulator.faults(&[]).await;
        let ended = server.end_of(&name).await;
        assert_eq!((ended.state(), vendors_word(&simulator).await), (State::Cancelled, json!("canceled")), "{rules:?}");
        assert_eq!(simulator.count("creates_received").await, 1, "{rules:?}");
    };
    // The vendor does not take the cancel before the kill; or it has not even answered for the order.
    check(&["create:hold", "cancel:drop"], true).await;
    check(&["create:hold", "create:hang,effect=after", "list:status=500"], false).await;
}

#[tokio::test]
async fn a_cancel_that_the_vendor_never_heeds_stays_until_it_is_given_up() {
    let simulator = Simulator::start(&["create:hold", "create:uncancellable"]);
    let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_UNRESOLVED_FOR", "5s");
    let server = setup.start().await;
    let name = running(&server, "a fox").await;
    server.cancel(&name).await.unwrap();
    reached(&simulator, "cancels", 1).await;
    let server = server.kill().start().await;
    let n_gets = simulator.count("gets").await;
    reached(&simulator, "gets", n_gets + 2).await;
    assert_eq!(server.get(&name).await.state(), State::Cancelling);
    let failure = server.end_of(&name).await.failure.unwrap();
    assert_eq!((failure.reason(), failure.charged()), (ErrorReason::UnresolvedExpired, Charged::Unknown));
}

#[tokio::test]
async fn a_deadline_that_passes_while_nobody_runs_is_kept_by_the_next_process() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).with("FILMGATE_CONCURRENCY", "1").start().await;
    let max_duration = Duration::from_secs(2);
    let at_vendor = server.order(limited("at the vendor", max_duration)).await.unwrap().name;
    server.until(&at_vendor, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    let queued = server.order(limited("queued", max_duration)).await.unwrap().name;
    let setup = server.kill();
    sleep(max_duration).await;
    let server = setup.start().await;
    let failure = server.end_of(&queued).await.failure.unwrap();
    assert_eq!((failure.reason(), failure.charged()), (ErrorReason::DeadlineExceeded, Charged::No));
    assert_eq!(server.unresolved(&at_vendor).await.unresolved.unwrap().reason(), ErrorReason::DeadlinePassed);
    simulator.control("release", json!({})).await;
    assert_eq!(server.end_of(&at_vendor).await.state(), State::Succeeded, "late, and delivered");
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn a_deadline_at_the_moment_of_the_end_loses_nothing() {
    let simulator = Simulator::start(&[]);
    simulator.control("settings", json!({ "latency": "1s" })).await;
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let orders = (0..20_u64).map(|n| limited(&format!("job {n}"), Duration::from_millis(1000 + n * 5)));
    let ended = join_all(orders.map(|order| server.generate(order))).await;
    for generation in ended {
        let generation = generation.unwrap();
        assert_eq!((generation.state(), generation.artifacts.len()), (State::Succeeded, 1), "{generation:?}");
    }
    assert_eq!(simulator.count("creates_received").await, 20);
}

#[tokio::test]
async fn of_many_who_decide_about_the_unknown_at_once_one_does() {
    let simulator = Simulator::start(&["create:first=1:drop"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let name = server.order(video("a fox")).await.unwrap().name;
    server.unresolved(&name).await;
    let (n_ok, refused) = ok(&join_all((0..10).map(|_| server.resolve(&name, Resolution::Resubmit))).await);
    assert_eq!((n_ok, refused), (1, vec!["GENERATION_NOT_UNRESOLVED".to_owned(); 9]));
    let ended = server.end_of(&name).await;
    assert_eq!((ended.state(), ended.attempts.len()), (State::Succeeded, 2), "{ended:?}");
    assert_eq!(simulator.count("creates_received").await, 2);
}

#[tokio::test]
async fn of_many_who_delete_at_once_one_does_and_who_watches_still_gets_the_end() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let name = running(&server, "a fox").await;
    let request = WatchGenerationRequest { name: name.clone(), after_sequence: 0 };
    let mut watching = server.generations().await.watch_generation(request.clone()).await.unwrap().into_inner();
    let refused = server.delete(&name).await.unwrap_err();
    assert_eq!(reason(&refused), "GENERATION_UNFINISHED");
    simulator.control("release", json!({})).await;
    let ended = server.end_of(&name).await;
    let (n_ok, refused) = ok(&join_all((0..10).map(|_| server.delete(&name))).await);
    assert_eq!((n_ok, refused), (1, vec!["GENERATION_NOT_FOUND".to_owned(); 9]));
    let mut last = None;
    while let Some(message) = watching.message().await.unwrap() {
        last = message.generation;
    }
    assert_eq!(last.as_ref(), Some(&ended), "who watched from before sees how it ended");
    let refused = server.generations().await.watch_generation(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(server.bytes(&ended).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_deleted_leaders_result_stays_with_those_who_shared_it() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let names = sharing(&server, 3).await;
    reached(&simulator, "creates_effective", 1).await;
    simulator.control("release", json!({})).await;
    let ends: Vec<Generation> = join_all(names.iter().map(|name| server.end_of(name))).await;
    server.delete(&names[0]).await.unwrap();
    let server = server.kill().start().await;
    let statuses = join_all(ends.iter().map(async |end| server.bytes(end).await.status())).await;
    assert_eq!(statuses, [StatusCode::NOT_FOUND, StatusCode::OK, StatusCode::OK]);
    assert_eq!(server.get(&names[1]).await, ends[1]);
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn a_request_id_used_for_another_request_names_the_first_field_that_differs() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let first = GenerateVideoRequest { request_id: "once".to_owned(), ..video("a fox") };
    let name = server.order(first.clone()).await.unwrap().name;
    let label = [("a".to_owned(), "b".to_owned())];
    let others = [
        ("prompt", GenerateVideoRequest { prompt: "a hen".to_owned(), ..first.clone() }),
        ("session", GenerateVideoRequest { session: "sessions/other".to_owned(), ..first.clone() }),
        ("model", GenerateVideoRequest { model: "replicate/kwaivgi/kling-v1.6-standard".to_owned(), ..first.clone() }),
        ("labels", GenerateVideoRequest { labels: label.into(), ..first.clone() }),
        (
            "max_duration",
            GenerateVideoRequest { request_id: "once".to_owned(), ..limited("a fox", Duration::from_secs(9)) },
        ),
    ];
    for (field, other) in others {
        let refused = server.order(other).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"), "{field}");
        assert_eq!(refused.get_details_error_info().unwrap().metadata["field"], field);
    }
    assert_eq!(server.order(first).await.unwrap().name, name);
    reached(&simulator, "creates_effective", 1).await;
    assert_eq!(simulator.count("creates_received").await, 1);
}
