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

/// What to do about an answer that was lost.
const LOOK_FIRST: &str =
    "it may have been answered and charged; look at the provider's own account before sending it again";

/// What the provider said of a chat, with its reason as a generation would have it.
pub(super) fn tell_chat(failure: &Failure, retry_after: Option<Duration>) -> Told {
    let lost = failure.reason == FailureReason::ProviderUnreachable && failure.charged != Charged::No;
    // Only what certainly had no effect may be called unreachable: callers send that again.
    let reason = if lost { ErrorReason::SubmitAnswerLost } else { failure_reason(failure.reason) };
    // Nothing that may have cost something is to be sent again without a look, whatever went wrong.
    let (message, retryable) = (failure.message.clone(), failure.retryable && failure.charged == Charged::No);
    let next_step = if failure.retryable && !retryable { LOOK_FIRST } else { failure.reason.next_step() };
    let code = code(failure.reason);
    // Whatever is invalid says where; nothing but the conversation is left if the provider does not.
    let field = failure.field.clone().or_else(|| (code == Code::InvalidArgument).then(|| "messages".to_owned()));
    let mut told = match field {
        Some(field) => {
            let violation = Violation::new(field, failure.message.clone());
            Told { code, reason, message, ..tell_invalid(vec![violation]) }
        }
        None => Told::new(code, reason, message),
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
        .with("next_step", next_step.to_owned());
    if retryable { told.retry_in(retry_after.unwrap_or(RETRY_PROVIDER)) } else { told }
}

fn code(reason: FailureReason) -> Code {
    match reason {
        FailureReason::ProviderInvalidOrder | FailureReason::ProviderRefusedContent => Code::InvalidArgument,
        FailureReason::ProviderUnauthenticated | FailureReason::ProviderOutOfCredit => Code::FailedPrecondition,
        FailureReason::ProviderModelNotFound => Code::NotFound,
        FailureReason::ProviderOverloaded => Code::ResourceExhausted,
        // All but the first two are of generations, which have outputs and jobs.
        FailureReason::ProviderUnreachable
        | FailureReason::ProviderProtocol
        | FailureReason::NoProviderJobId
        | FailureReason::ProviderJobFailed
        | FailureReason::ProviderJobCancelled
        | FailureReason::NoDownloadableOutput
        | FailureReason::ArtifactInvalid
        | FailureReason::ArtifactTooLarge
        | FailureReason::ArtifactLost
        | FailureReason::DeadlineExceeded
        | FailureReason::UnresolvedExpired
        | FailureReason::ResolvedByPerson => Code::Unavailable,
    }
}
