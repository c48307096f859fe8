//! Every outcome of a video as its servers tell it.

use std::{fs, path::Path};

use super::*;
use crate::{
    domain::failure::{Charged, FailureReason},
    provider::port::{Progress, Provider, Status},
};

async fn told(name: &str) -> Progress {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/openai").join(format!("{name}.json"));
    let body = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let server = Server::always(Reply::new(200, body)).await;
    openai(&server.base).poll(&ticket()).await.unwrap()
}

#[tokio::test]
async fn a_job_on_its_way_is_told_by_every_server() {
    let check = async |name: &str, is_waiting: bool, percent: Option<u8>| {
        let progress = told(name).await;
        let as_expected = match progress.status {
            Status::Waiting => is_waiting,
            Status::Running => !is_waiting,
            Status::Done(_) | Status::Failed(_) | Status::Cancelled(_) => false,
        };
        assert!(as_expected && progress.percent == percent, "{name}: {progress:?}");
    };
    check("queued", true, Some(0)).await;
    check("in_progress", false, Some(33)).await;
    check("in_progress_litellm", false, None).await;
    check("in_progress_aggregator", false, Some(45)).await;
    check("in_progress_odd", false, Some(50)).await;
    check("queued_vllm", true, Some(0)).await;
    check("unknown_status", false, Some(12)).await;
}

#[tokio::test]
async fn a_finished_job_is_told_by_every_server() {
    let check = async |name: &str, seconds: Option<f64>, compute: Option<f64>| {
        let progress = told(name).await;
        let Status::Done(outputs) = progress.status else { panic!("{name}: {:?}", progress.status) };
        assert_eq!(outputs.len(), 1, "{name}");
        assert_eq!((progress.usage.output_seconds, progress.usage.compute_seconds), (seconds, compute), "{name}");
        assert_eq!(progress.usage.charged, None, "{name}");
    };
    check("completed", Some(8.0), None).await;
    check("completed_vllm", Some(5.0), Some(41.7)).await;
    check("completed_sglang", Some(4.0), None).await;
    check("completed_litellm", Some(8.0), None).await;
    check("completed_aggregator", None, None).await;
}

#[tokio::test]
async fn a_job_that_ended_badly_says_why() {
    let check = async |name: &str, reason, retryable, field: Option<&str>, says: &str| {
        let progress = told(name).await;
        let Status::Failed(failure) = progress.status else { panic!("{name}: {:?}", progress.status) };
        assert_eq!(
            (failure.reason, failure.retryable, failure.charged),
            (reason, retryable, Charged::Unknown),
            "{name}"
        );
        assert_eq!(failure.field.as_deref(), field, "{name}");
        assert!(failure.message.contains(says), "{name}: {}", failure.message);
    };
    check("failed_moderation", FailureReason::ProviderRefusedContent, false, None, "moderation_blocked").await;
    check("failed_vllm", FailureReason::ProviderJobFailed, false, None, "out of memory").await;
    check("failed_aggregator", FailureReason::ProviderRefusedContent, false, None, "PROMINENT_PEOPLE").await;
    check("failed_internal", FailureReason::ProviderJobFailed, true, None, "try again").await;
    check("failed_quota", FailureReason::ProviderOutOfCredit, false, None, "INSUFFICIENT_QUOTA").await;
    check("failed_prompt", FailureReason::ProviderInvalidOrder, false, Some("prompt"), "INVALID_PROMPT").await;
    check("failed_silent", FailureReason::ProviderJobFailed, false, None, "without saying why").await;
    check("failed_telling", FailureReason::ProviderJobFailed, false, None, "[…]").await;
    let stopped = told("deleted_sglang").await;
    assert!(matches!(stopped.status, Status::Cancelled(Charged::Unknown)), "{stopped:?}");
}
