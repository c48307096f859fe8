//! How it is told that a language model's provider did not answer.

use std::time::Duration;

use tonic::Code;

use super::{Told, tell_invalid};
use crate::{
    domain::{
        failure::{Charged, Failure, FailureReason},
        order::Violation,
    },
    door::present::failure_reason,
    pb::v1::ErrorReason,
};

/// When to ask again if the provider does not say.
const RETRY_PROVIDER: Duration = Duration::from_secs(5);

/// What the provider said of a chat, with its reason as a generation would have it.
pub(super) fn tell_chat(failure: Failure, retry_after: Option<Duration>) -> Told {
    let lost = failure.reason == FailureReason::ProviderUnreachable && failure.charged != Charged::No;
    // Only what certainly had no effect may be called unreachable: callers send that again.
    let reason = if lost { ErrorReason::SubmitAnswerLost } else { failure_reason(failure.reason) };
    let (message, retryable) = (failure.message.clone(), failure.retryable && !lost);
    let mut told = match &failure.field {
        Some(field) => {
            let violation = Violation::new(field.clone(), failure.message.clone());
            Told { code: code(failure.reason), reason, message, ..tell_invalid(vec![violation]) }
        }
        None => Told::new(code(failure.reason), reason, message),
    };
    if let Some(provider) = &failure.provider {
        told = told.with("provider", provider.to_string());
    }
    let charged = match failure.charged {
        Charged::No => "NO",
        Charged::Yes => "YES",
        Charged::Unknown => "UNKNOWN",
    };
    let told = told
        .with("charged", charged.to_owned())
        .with("retryable", retryable.to_string())
        .with("next_step", failure.reason.next_step().to_owned());
    if retryable { told.retry_in(retry_after.unwrap_or(RETRY_PROVIDER)) } else { told }
}

fn code(reason: FailureReason) -> Code {
    match reason {
        FailureReason::ProviderInvalidOrder | FailureReason::ProviderRefusedContent => Code::InvalidArgument,
        FailureReason::ProviderUnauthenticated | FailureReason::ProviderOutOfCredit => Code::FailedPrecondition,
        FailureReason::ProviderModelNotFound => Code::NotFound,
        FailureReason::ProviderOverloaded => Code::ResourceExhausted,
        FailureReason::ProviderUnreachable => Code::Unavailable,
        // The others are of generations, which have outputs and jobs.
        FailureReason::ProviderProtocol
        | FailureReason::NoProviderJobId
        | FailureReason::ProviderJobFailed
        | FailureReason::ProviderJobCancelled
        | FailureReason::NoDownloadableOutput
        | FailureReason::ArtifactInvalid
        | FailureReason::ArtifactTooLarge
        | FailureReason::ArtifactLost
        | FailureReason::DeadlineExceeded
        | FailureReason::UnresolvedExpired
        | FailureReason::ResolvedByPerson => Code::Unknown,
    }
}
