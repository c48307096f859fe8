//! What an answer says beyond its file or job: why it refuses, when to come again, what it cost.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::{
    domain::money::MicroUsd,
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
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let problem = Problem::of(&body).unwrap_or_default();
        let prompt = order.map(|order| order.prompt.as_str()).unwrap_or_default();
        let hidden = [prompt, self.key.expose_secret()];
        let mut said = Said::of(answer, &body, &hidden);
        said.detail = shown(&problem.message, &hidden).or(said.detail);
        said.retry_after = millis(answer, "retry-after-ms")
            .or(said.retry_after)
            .or_else(|| reason::wait(&body).and_then(|wait| Duration::try_from_secs_f64(wait.clamp(1.0, 600.0)).ok()));
        said.field =
            order.filter(|_| answer.status.is_client_error()).and_then(|order| reason::field_at_fault(&problem, order));
        let mut error = outcome::refused(&self.id, call, answer.status, said);
        if call != Call::Submit {
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

    /// A good status may hold an error all the same; aggregators do that.
    pub(super) fn error_within(&self, answer: &Answer, body: &Value, order: &Order) -> Option<ProviderError> {
        let problem = Problem::of(body).filter(|problem| !problem.is_empty())?;
        // What the error itself calls a refusal was one; whatever else may have begun.
        let said = problem.codes.iter().find_map(|code| code.parse::<u16>().ok());
        let status = said.filter(|code| matches!(code, 400..=404 | 413 | 415 | 422));
        let status = status.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::BAD_GATEWAY);
        Some(self.refused(Call::Submit, &answered(answer, status), Some(order)))
    }

    /// The error of a good answer to a question about a job, which tells nothing of the job.
    pub(super) fn error_of_question(&self, answer: &Answer) -> ProviderError {
        self.refused(Call::Job, &answered(answer, StatusCode::BAD_GATEWAY), None)
    }
}

/// The answer as if it had come with `status`.
fn answered(answer: &Answer, status: StatusCode) -> Answer {
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
