//! What an answer says beyond its file or job: why it refuses, when to come again, what it cost.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::{
    domain::{money::MicroUsd, names::ProviderId},
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        http::{
            Answer,
            outcome::{self, Call, Said},
            text::shown,
        },
        port::Order,
    },
};

use super::{
    OpenAi,
    reason::{self, Reason},
    wire::{Problem, number},
};

impl OpenAi {
    /// The error of a bad answer, in our words and with our field.
    pub(super) fn refused(&self, call: Call, answer: &Answer, order: Option<&Order>) -> ProviderError {
        let prompt = order.map(|order| order.prompt.as_str()).unwrap_or_default();
        let hidden = [prompt, self.key.expose_secret()];
        refusal(&self.id, call, answer, &hidden, |problem| reason::field_at_fault(problem, order?))
    }

    /// A good status may hold an error all the same; aggregators do that.
    pub(super) fn error_within(&self, answer: &Answer, body: &Value, order: &Order) -> Option<ProviderError> {
        let problem = Problem::of(body).filter(|problem| !problem.is_empty())?;
        Some(self.refused(Call::Submit, &answered(answer, status_within(&problem)), Some(order)))
    }

    /// The error of a good answer to a question about a job, which tells nothing of the job.
    pub(super) fn error_of_question(&self, answer: &Answer) -> ProviderError {
        self.refused(Call::Job, &answered(answer, StatusCode::BAD_GATEWAY), None)
    }
}

/// The error of a bad answer, with our field as `field` finds it; `hidden` texts never appear.
pub(super) fn refusal(
    id: &ProviderId,
    call: Call,
    answer: &Answer,
    hidden: &[&str],
    field: impl FnOnce(&Problem) -> Option<String>,
) -> ProviderError {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let problem = Problem::of(&body).unwrap_or_default();
    let mut said = Said::of(answer, &body, hidden);
    said.detail = shown(&problem.message, hidden).or(said.detail);
    said.retry_after = millis(answer, "retry-after-ms")
        .or(said.retry_after)
        .or_else(|| reason::wait(&body).and_then(|wait| Duration::try_from_secs_f64(wait.clamp(1.0, 600.0)).ok()));
    said.field = if answer.status.is_client_error() { field(&problem) } else { None };
    let mut error = outcome::refused(id, call, answer.status, said);
    if !matches!(call, Call::Submit | Call::Chat) {
        return error;
    }
    // These are refusals before any work, whatever status they come with.
    let kind = match Reason::of(&problem) {
        Some(Reason::Content) => ErrorKind::ContentRefused,
        Some(Reason::Credit) => ErrorKind::OutOfCredit,
        Some(Reason::Model) => ErrorKind::ModelNotFound,
        Some(Reason::Key) if answer.status.is_client_error() => ErrorKind::Unauthenticated,
        Some(Reason::Key | Reason::Input | Reason::Passing) | None => return error,
    };
    (error.kind, error.effect, error.retry_after) = (kind, Effect::None, None);
    error
}

/// What the error of a good answer would have come with: what it calls a refusal itself was one, whatever else may have begun.
pub(super) fn status_within(problem: &Problem) -> StatusCode {
    let said = problem.codes.iter().find_map(|code| code.parse::<u16>().ok());
    let status = said.filter(|code| matches!(code, 400..=404 | 413 | 415 | 422));
    status.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// The answer as if it had come with `status`.
pub(super) fn answered(answer: &Answer, status: StatusCode) -> Answer {
    Answer { status, retry_after: None, headers: HeaderMap::new(), body: answer.body.clone() }
}

/// What a header says in milliseconds, of one second at least.
pub(super) fn millis(answer: &Answer, header: &str) -> Option<Duration> {
    let millis: f64 = answer.headers.get(header)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64((millis / 1000.0).clamp(1.0, 600.0)).ok()
}

/// What LiteLLM says the call cost. It says zero where it knows no price, which tells nothing.
pub(super) fn charged(answer: &Answer) -> Option<MicroUsd> {
    let cost = answer.headers.get("x-litellm-response-cost")?.to_str().ok()?;
    let dollars = number(&Value::from(cost)).filter(|dollars| *dollars > 0.0)?;
    Some(MicroUsd(1_000_000).times(dollars))
}
