//! Ending what is not wanted any more: cancel, a person's word about what is unknown, and delete.

use filmgate::pb::v1::{AttemptOutcome, GenerateVideoRequest, Resolution, State};
use serde_json::json;
use tonic::Code;

use crate::{
    simulator::Simulator,
    support::{
        acts::reason,
        server::{Server, Setup, video},
    },
};

/// Orders a video and waits until the vendor has its job.
pub(crate) async fn running(server: &Server, prompt: &str) -> String {
    let name = server.order(video(prompt)).await.unwrap().name;
    server.until(&name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    name
}

#[tokio::test]
async fn a_queued_one_is_cancelled_at_once_and_the_vendor_never_hears_of_it() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).with("FILMGATE_CONCURRENCY", "1").start().await;
    running(&server, "takes the place").await;
    let queued = server.order(video("waits for it")).await.unwrap().name;
    assert_eq!(server.cancel(&queued).await.unwrap().state(), State::Cancelled);
    assert_eq!(server.history(&queued).await, ["accepted", "cancelled"]);
    assert_eq!((simulator.count("creates_received").await, simulator.count("cancels").await), (1, 0));
}

#[tokio::test]
async fn a_running_one_is_cancelled_at_the_vendor_and_repeating_it_succeeds() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let name = running(&server, "a fox").await;
    let asked = server.cancel(&name).await.unwrap();
    assert!(matches!(asked.state(), State::Cancelling | State::Cancelled), "{asked:?}");
    assert!(server.cancel(&name).await.is_ok());
    let ended = server.end_of(&name).await;
    assert_eq!(ended.state(), State::Cancelled, "{ended:?}");
    assert_eq!(ended.attempts[0].outcome(), AttemptOutcome::Cancelled);
    assert_eq!(server.cancel(&name).await.unwrap().state(), State::Cancelled);
    let history = server.history(&name).await;
    assert_eq!(history, ["accepted", "submitting", "submitted", "cancel_requested", "cancelled"]);
    assert_eq!(simulator.count("cancels").await, 1);
    assert_eq!(simulator.predictions().await[0]["status"], "canceled");
}

#[tokio::test]
async fn a_cancel_is_asked_for_until_the_vendor_takes_it() {
    let check = async |rule: &str| {
        let simulator = Simulator::start(&["create:hold", rule]);
        let server = Setup::replicate(&simulator.replicate()).start().await;
        let name = running(&server, "a fox").await;
        server.cancel(&name).await.unwrap();
        let ended = server.end_of(&name).await;
        assert_eq!(ended.state(), State::Cancelled, "{rule}: {ended:?}");
        assert_eq!(simulator.predictions().await[0]["status"], "canceled", "{rule}");
    };
    check("cancel:first=2:status=500").await;
    check("cancel:first=2:drop").await;
    check("cancel:first=1:drop,effect=after").await;
    check("cancel:first=1:malformed").await;
    check("get:first=5:drop").await;
}

#[tokio::test]
async fn a_vendor_that_finishes_first_is_believed_and_paid() {
    let simulator = Simulator::start(&["create:hold", "create:uncancellable"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let name = running(&server, "a fox").await;
    server.cancel(&name).await.unwrap();
    while simulator.count("cancels").await == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.get(&name).await.state(), State::Cancelling);
    simulator.control("release", json!({})).await;
    let ended = server.end_of(&name).await;
    assert_eq!((ended.state(), ended.artifacts.len()), (State::Succeeded, 1), "{ended:?}");
    let refused = server.cancel(&name).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "GENERATION_FINISHED"));
}

#[tokio::test]
async fn a_cancel_during_the_submit_reaches_the_job_it_made() {
    let simulator = Simulator::start(&["create:hang,effect=after", "create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).with("FILMGATE_PROVIDER_TIMEOUT", "500ms").start().await;
    let name = server.order(video("a fox")).await.unwrap().name;
    while simulator.count("creates_effective").await == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.cancel(&name).await.unwrap().state(), State::Cancelling);
    let ended = server.end_of(&name).await;
    assert_eq!(ended.state(), State::Cancelled, "{ended:?}");
    assert_eq!((simulator.count("creates_received").await, simulator.count("cancels").await), (1, 1));
}

#[tokio::test]
async fn a_person_decides_about_what_is_unknown_and_about_nothing_else() {
    let simulator = Simulator::start(&["create:first=2:drop"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let [first, second] =
        [server.order(video("a fox")).await.unwrap().name, server.order(video("a hen")).await.unwrap().name];
    server.unresolved(&first).await;
    server.unresolved(&second).await;
    assert_eq!(server.resolve(&first, Resolution::Failed).await.unwrap().state(), State::Failed);
    server.resolve(&second, Resolution::Resubmit).await.unwrap();
    let ended = server.end_of(&second).await;
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    let outcomes: Vec<AttemptOutcome> = ended.attempts.iter().map(|attempt| attempt.outcome()).collect();
    assert_eq!(outcomes, [AttemptOutcome::Unknown, AttemptOutcome::Succeeded]);
    // What the first attempt cost is unknown, so the sum is.
    assert_eq!(ended.cost.unwrap().settled_micro_usd, None);
    assert_eq!((simulator.count("creates_received").await, simulator.count("creates_effective").await), (3, 1));
    let refused = server.resolve(&second, Resolution::Resubmit).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "GENERATION_NOT_UNRESOLVED"));
}

#[tokio::test]
async fn only_what_has_ended_is_deleted_and_its_request_id_still_answers() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let order = || GenerateVideoRequest { request_id: "once".to_owned(), ..video("a fox") };
    let name = server.order(order()).await.unwrap().name;
    let refused = server.delete(&name).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "GENERATION_UNFINISHED"));
    while simulator.count("creates_effective").await == 0 {
        tokio::task::yield_now().await;
    }
    simulator.control("release", json!({})).await;
    assert_eq!(server.end_of(&name).await.state(), State::Succeeded);
    server.delete(&name).await.unwrap();
    assert_eq!(reason(&server.delete(&name).await.unwrap_err()), "GENERATION_NOT_FOUND");
    let server = server.kill().start().await;
    let mut stream = server.generations().await.generate_video(order()).await.unwrap().into_inner();
    let answer = stream.message().await.unwrap().unwrap();
    assert!(answer.replayed);
    assert_eq!((answer.generation.unwrap().name, stream.message().await.unwrap()), (name, None));
    assert_eq!(simulator.count("creates_received").await, 1);
}
