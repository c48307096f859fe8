//! Every way a generation ends as failed, and every shape of output that is none.

use std::fs;

use filmgate::pb::v1::{Charged, ErrorReason, GenerateVideoRequest, Generation, State, VideoOptions};
use prost_types::{Struct, Value, value::Kind};

use crate::{
    simulator::Simulator,
    support::server::{Setup, video},
};

/// The end of one order while the vendor behaves so.
async fn end_of(faults: &[&str], variables: &[(&'static str, &str)]) -> (Generation, Simulator) {
    let simulator = Simulator::start(faults);
    let setup = Setup::replicate(&simulator.replicate());
    let setup = variables.iter().fold(setup, |setup, (name, value)| setup.with(name, value));
    let server = setup.start().await;
    (server.generate(video("a fox")).await.unwrap(), simulator)
}

/// Checks why and at what price it failed; returns its message.
#[track_caller]
fn check_failure(generation: &Generation, reason: ErrorReason, charged: Charged) -> String {
    assert_eq!(generation.state(), State::Failed, "{generation:?}");
    let failure = generation.failure.clone().unwrap();
    assert_eq!((failure.reason(), failure.charged()), (reason, charged), "{failure:?}");
    assert!(!failure.next_step.is_empty() && generation.artifacts.is_empty());
    assert_eq!(generation.cost.unwrap().held_micro_usd, 0);
    failure.message
}

#[tokio::test]
async fn what_the_vendor_says_of_an_order_or_a_job_is_told_by_its_reason() {
    let check = async |rule: &str, reason: ErrorReason, charged: Charged, phase: &str, words: &str| {
        let (generation, simulator) = end_of(&[rule], &[]).await;
        let message = check_failure(&generation, reason, charged);
        assert!(message.contains(words), "{rule}: {message}");
        assert_eq!(generation.failure.unwrap().phase, phase, "{rule}");
        assert_eq!(simulator.count("creates_received").await, 1, "{rule}");
    };
    let no = Charged::No;
    check("create:status=401", ErrorReason::ProviderUnauthenticated, no, "submit", "401").await;
    check("create:status=402", ErrorReason::ProviderOutOfCredit, no, "submit", "402").await;
    check("create:status=404", ErrorReason::ProviderModelNotFound, no, "submit", "404").await;
    check("create:status=418", ErrorReason::ProviderProtocol, no, "submit", "418").await;
    let sensitive = r#"create:failed="Prediction failed: flagged as sensitive. (E005)""#;
    check(sensitive, ErrorReason::ProviderRefusedContent, no, "provider", "E005").await;
    let broken = r#"create:failed="CUDA out of memory""#;
    check(broken, ErrorReason::ProviderJobFailed, no, "provider", "CUDA out of memory").await;
    check("create:aborted", ErrorReason::ProviderJobCancelled, no, "provider", "").await;
    let (generation, _) = end_of(&["create:canceled"], &[]).await;
    let failure = generation.failure.unwrap();
    assert_eq!((failure.reason(), failure.retryable), (ErrorReason::ProviderJobCancelled, true));
    // How long it had run decides.
    assert!(matches!(failure.charged(), Charged::No | Charged::Unknown), "{failure:?}");
}

#[tokio::test]
async fn a_refused_value_is_named_by_our_own_field() {
    let simulator = Simulator::start(&[]);
    let setup = Setup::replicate(&simulator.replicate());
    // An operator's card that promises more than the vendor takes.
    let card = "[[models]]\nprovider = \"replicate\"\nname = \"kwaivgi/kling-v1.6-standard\"\nkind = \"video\"\n\
                title = \"Kling\"\n[models.options]\nduration = { min = 1, max = 60 }\n";
    fs::write(setup.folder().join("filmgate.toml"), card).unwrap();
    let server = setup.start().await;
    let check = async |model: &str, options: VideoOptions, field: &str| {
        let order = GenerateVideoRequest { model: model.to_owned(), options: Some(options), ..video(field) };
        let generation = server.generate(order).await.unwrap();
        check_failure(&generation, ErrorReason::ProviderInvalidOrder, Charged::No);
        assert_eq!(generation.failure.unwrap().field, field);
    };
    let duration = Some(prost_types::Duration { seconds: 7, nanos: 0 });
    let seven = VideoOptions { duration, ..VideoOptions::default() };
    check("replicate/kwaivgi/kling-v1.6-standard", seven, "options.duration").await;
    let no = Value { kind: Some(Kind::StringValue("no".to_owned())) };
    let provider_options = Some(Struct { fields: [("prompt_optimizer".to_owned(), no)].into() });
    let by_hand = VideoOptions { provider_options, ..VideoOptions::default() };
    check("replicate/minimax/video-01", by_hand, "options.provider_options.prompt_optimizer").await;
}

#[tokio::test]
async fn an_output_in_any_shape_becomes_an_artifact() {
    let check = async |rules: &[&str], media_type: &str, downloads: u64| {
        let (generation, simulator) = end_of(rules, &[]).await;
        assert_eq!(generation.state(), State::Succeeded, "{rules:?}: {generation:?}");
        assert_eq!(generation.artifacts.len(), 1, "{rules:?}");
        let artifact = &generation.artifacts[0];
        assert_eq!(artifact.media_type, media_type, "{rules:?}");
        assert_eq!((artifact.width, artifact.height), (Some(512), Some(288)), "{rules:?}");
        assert_eq!(simulator.count("downloads").await, downloads, "{rules:?}");
        assert_eq!(simulator.count("creates_received").await, 1, "{rules:?}");
    };
    check(&["create:output=url"], "video/mp4", 1).await;
    check(&["create:output=array"], "video/mp4", 1).await;
    check(&["create:output=object"], "video/mp4", 1).await;
    check(&["create:output=object.result.video"], "video/mp4", 1).await;
    check(&["create:output=data_uri"], "video/mp4", 0).await;
    check(&["create:output=base64"], "video/mp4", 0).await;
    check(&["create:output=webm"], "video/webm", 1).await;
    // Trouble that passes.
    check(&["download:first=1:drop"], "video/mp4", 2).await;
    check(&["download:first=1:status=503"], "video/mp4", 2).await;
    check(&["create:expires=0"], "video/mp4", 2).await;
    check(&["download:first=2:empty"], "video/mp4", 3).await;
    check(&["download:first=2:wrong_length"], "video/mp4", 3).await;
}

#[tokio::test]
async fn an_output_that_stays_unsound_is_opened_twice_again_and_then_failed_as_paid() {
    let check = async |rule: &str| {
        let (generation, simulator) = end_of(&[rule], &[]).await;
        check_failure(&generation, ErrorReason::ArtifactInvalid, Charged::Yes);
        assert_eq!(simulator.count("downloads").await, 3, "{rule}");
    };
    check("download:empty").await;
    check("download:truncated").await;
    check("download:page").await;
    check("download:wrong_length").await;
}

#[tokio::test]
async fn an_output_with_nothing_to_download_is_told_by_its_shape() {
    let check = async |rule: &str, shape: &str| {
        let (generation, simulator) = end_of(&[rule], &[]).await;
        let message = check_failure(&generation, ErrorReason::NoDownloadableOutput, Charged::Yes);
        assert!(message.contains(shape), "{message}");
        assert_eq!(simulator.count("downloads").await, 0);
    };
    check("create:output=text", "the clip is ready").await;
    check("create:output=null", "null").await;
}

#[tokio::test]
async fn an_output_above_the_cap_is_not_fetched_to_its_end() {
    let (generation, simulator) = end_of(&["create:size=50000000"], &[("FILMGATE_MAX_ARTIFACT_BYTES", "1MiB")]).await;
    let message = check_failure(&generation, ErrorReason::ArtifactTooLarge, Charged::Yes);
    assert!(message.contains("1048576"), "{message}");
    assert_eq!(simulator.count("downloads").await, 1);
}

#[tokio::test]
async fn an_output_that_cannot_be_fetched_in_time_is_lost_and_was_paid() {
    let times = [("FILMGATE_MAX_DURATION", "1s"), ("FILMGATE_UNRESOLVED_FOR", "200ms")];
    let (generation, simulator) = end_of(&["download:status=500"], &times).await;
    check_failure(&generation, ErrorReason::ArtifactLost, Charged::Yes);
    assert!(simulator.count("downloads").await > 1);
}

#[tokio::test]
async fn time_that_is_over_before_anything_was_sent_is_told_apart_from_a_limit() {
    let (generation, _) = end_of(&["create:status=429,retry_after=9"], &[("FILMGATE_MAX_DURATION", "1s")]).await;
    check_failure(&generation, ErrorReason::ProviderOverloaded, Charged::No);

    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).with("FILMGATE_CONCURRENCY", "1").start().await;
    let first = server.order(video("takes the place")).await.unwrap();
    server.until(&first.name, |generation| generation.state() == State::Running).await;
    let hurried = GenerateVideoRequest {
        max_duration: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..video("waits for it")
    };
    let generation = server.generate(hurried).await.unwrap();
    check_failure(&generation, ErrorReason::DeadlineExceeded, Charged::No);
    assert_eq!(generation.failure.unwrap().phase, "deadline");
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn what_stays_unknown_is_given_up_as_perhaps_paid() {
    let soon = [("FILMGATE_UNRESOLVED_FOR", "200ms")];
    let check = async |rules: &[&str], reason: ErrorReason| {
        let (generation, simulator) = end_of(rules, &soon).await;
        check_failure(&generation, reason, Charged::Unknown);
        assert_eq!(generation.cost.unwrap().settled_micro_usd, None);
        assert_eq!(simulator.count("creates_received").await, 1, "{rules:?}");
    };
    check(&["create:drop"], ErrorReason::UnresolvedExpired).await;
    check(&["get:drop"], ErrorReason::UnresolvedExpired).await;
    check(&["create:no_id", "list:status=500"], ErrorReason::NoProviderJobId).await;
}
