//! What is tried again, where, and what is not: limits, a vendor that cannot be reached, the sample, and routes.

use std::{fs, net::TcpListener};

use filmgate::pb::v1::{
    AttemptOutcome, CachePolicy, Charged, ErrorReason, GenerateVideoRequest, Generation, GetSessionHistoryRequest,
    State,
};
use tokio::time::Instant;

use crate::{
    simulator::Simulator,
    support::server::{Server, Setup, video},
};

#[tokio::test]
async fn a_limited_submit_waits_as_asked_and_is_bought_once() {
    let check = async |rule: &str| {
        let simulator = Simulator::start(&[rule]);
        let server = Setup::replicate(&simulator.replicate()).start().await;
        let began = Instant::now();
        let generation = server.generate(video("a fox")).await.unwrap();
        assert_eq!(generation.state(), State::Succeeded, "{rule}: {generation:?}");
        // Our own first wait would be 20 ms.
        assert!(began.elapsed().as_millis() >= 1000, "{rule}");
        let creates = (simulator.count("creates_received").await, simulator.count("creates_effective").await);
        assert_eq!(creates, (2, 1), "{rule}");
        let history = server.history(&generation.name).await;
        assert_eq!(history[..4], ["accepted", "submitting", "postponed", "submitting"], "{rule}");
    };
    tokio::join!(
        check("create:first=1:status=429,retry_after_header=1"),
        check("create:first=1:status=429,retry_after_body=1")
    );
}

#[tokio::test]
async fn a_vendor_that_cannot_be_reached_is_tried_four_times_and_took_no_money() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Setup::replicate(&format!("http://{nobody}/v1")).start().await;
    let generation = server.generate(video("a fox")).await.unwrap();
    let failure = generation.failure.unwrap();
    assert_eq!((failure.reason(), failure.charged()), (ErrorReason::ProviderUnreachable, Charged::No));
    assert!(failure.retryable);
    let history = server.history(&generation.name).await;
    assert_eq!(history.iter().filter(|what| *what == "submitting").count(), 4, "{history:?}");
}

#[tokio::test]
async fn the_sample_stands_in_only_where_it_may_and_says_so() {
    let simulator = Simulator::start(&[r#"create:failed="it broke""#]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let order = |fallback_to_sample| GenerateVideoRequest {
        fallback_to_sample,
        session: "sessions/abc".to_owned(),
        ..video("a fox")
    };
    assert_eq!(server.generate(order(false)).await.unwrap().state(), State::Failed);
    let generation = server.generate(order(true)).await.unwrap();
    assert_eq!(generation.state(), State::Succeeded, "{generation:?}");
    assert!(generation.sample && generation.artifacts[0].sample);
    assert!(generation.provider_error.contains("it broke"), "{}", generation.provider_error);
    let outcomes: Vec<AttemptOutcome> = generation.attempts.iter().map(|attempt| attempt.outcome()).collect();
    assert_eq!(outcomes, [AttemptOutcome::Failed, AttemptOutcome::Succeeded]);
    let request = GetSessionHistoryRequest { name: "sessions/abc".to_owned(), ..Default::default() };
    let messages = server.sessions().await.get_session_history(request).await.unwrap().into_inner().messages;
    let closing = messages.last().unwrap();
    assert!(closing.text.starts_with("[SAMPLE VIDEO SERVED AFTER PROVIDER ERROR]"), "{}", closing.text);
    let keys: Vec<&String> = closing.meta.as_ref().unwrap().fields.keys().collect();
    assert_eq!(keys, ["provider_error", "sample"]);
    // A stand-in answers nobody else.
    let again = server.generate(order(true)).await.unwrap();
    assert!(!again.cached && simulator.count("creates_received").await == 3);
}

const FIRST: &str = "kwaivgi/kling-v1.6-standard";
const SECOND: &str = "minimax/video-01";

/// A server whose route `quality` tries one model, then another.
async fn routed(simulator: &Simulator) -> Server {
    let setup = Setup::replicate(&simulator.replicate());
    let route = format!("[routes]\nquality = [\"replicate/{FIRST}\", \"replicate/{SECOND}\"]\n");
    fs::write(setup.folder().join("filmgate.toml"), route).unwrap();
    setup.start().await
}

fn by_route(fallback_on_refusal: bool) -> GenerateVideoRequest {
    GenerateVideoRequest {
        route: "quality".to_owned(),
        fallback_on_refusal,
        cache: CachePolicy::Bypass.into(),
        ..video("a fox")
    }
}

#[tokio::test]
async fn a_route_moves_on_after_an_uncharged_end_only() {
    let check = async |fault: &str, on_refusal: bool, moves_on: bool| {
        let simulator = Simulator::start(&[&format!("create:model={FIRST}:{fault}")]);
        let server = routed(&simulator).await;
        let generation = server.generate(by_route(on_refusal)).await.unwrap();
        let expected = if moves_on { (State::Succeeded, 2) } else { (State::Failed, 1) };
        assert_eq!((generation.state(), generation.attempts.len()), expected, "{fault}: {generation:?}");
        if moves_on {
            assert_eq!(generation.model, format!("replicate/{SECOND}"));
            assert_eq!(generation.attempts[0].charged(), Charged::No);
            assert!(server.history(&generation.name).await.contains(&"attempt_failed".to_owned()));
        }
    };
    let refusal = r#"failed="flagged as sensitive (E005)""#;
    check(r#"failed="it broke""#, false, true).await;
    check("status=402", false, true).await;
    check("status=404", false, true).await;
    check(refusal, false, false).await;
    check(refusal, true, true).await;
    check("output=null", false, false).await;
}

#[tokio::test]
async fn a_route_never_moves_on_from_what_is_unknown() {
    let check = async |fault: &str| {
        let simulator = Simulator::start(&[&format!("create:model={FIRST}:{fault}"), "get:drop"]);
        let server = routed(&simulator).await;
        let first = server.order(by_route(true)).await.unwrap();
        let unknown = |generation: &Generation| generation.state() == State::Unresolved;
        assert_eq!(server.until(&first.name, unknown).await.attempts.len(), 1);
        assert_eq!(simulator.count("creates_received").await, 1, "{fault}");
    };
    check("drop").await;
    check("status=500").await;
    check("hold").await;
}
