//! How this door says no: OpenAI's status, type and code for each of our reasons. Nothing else here decides one.
//!
//! OpenAI's SDKs send every call again after 408, 409, 429 and 5xx, also one that orders. Whatever a repetition cannot help, or would pay for
//! twice, says `x-should-retry: false`; no wait is longer than a minute, for the SDK for JavaScript waits as long as it is told.
#![deny(clippy::wildcard_enum_match_arm)]

use std::{borrow::Cow, time::Duration};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header::RETRY_AFTER};
use serde_json::{Value, json};

use crate::{
    domain::{
        failure::{Charged, Failure, FailureReason},
        order::Violation,
    },
    door::{present, refusal::Refusal, status},
    engine::error::Error,
    pb::v1::ErrorReason,
};

/// The SDKs' word on whether to send a call again.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// Longest wait that a client is asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A refusal in OpenAI's words.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    kind: Kind,
    code: Option<Cow<'static, str>>,
    param: Option<String>,
    message: String,
    again: Again,
}

/// OpenAI's type of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    InvalidRequest,
    Requests,
    InsufficientQuota,
    Server,
    Unavailable,
}

/// What to say to a client that would send the call again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Nothing: it may.
    May,
    /// After so long.
    After(Duration),
    /// Not to.
    Never,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::Requests => "requests",
            Self::InsufficientQuota => "insufficient_quota",
            Self::Server => "server_error",
            Self::Unavailable => "service_unavailable_error",
        }
    }
}

impl Problem {
    /// A refusal, its fields called as `names` says.
    pub(super) fn of(refusal: Refusal, names: impl Fn(&str) -> String) -> Self {
        let is_limited = is_limited(&refusal);
        let told = match status::tell(renamed(refusal, names)) {
            Ok(told) => told,
            // Only a gRPC stream can break like that.
            Err(status) => return Self::new(StatusCode::BAD_REQUEST, status.message()),
        };
        let mut problem = Self::because(if is_limited { ErrorReason::QueueFull } else { told.reason });
        problem.message = told.message;
        problem.param = told.details.bad_request().and_then(|bad| Some(bad.field_violations.first()?.field.clone()));
        if let Some(id) = told.metadata.get("request_id") {
            problem.message.push_str(&format!(": {id}"));
        }
        if let (Again::May, Some(wait)) = (problem.again, told.details.retry_info().and_then(|info| info.retry_delay)) {
            problem.again = Again::After(wait);
        }
        problem
    }

    /// How a generation failed, told to the caller that waited for it.
    pub(super) fn failed(failure: &Failure, names: impl Fn(&str) -> String) -> Self {
        let mut problem = Self::because(present::failure_reason(failure.reason));
        problem.message = format!("{}; next: {}", failure.message, failure.reason.next_step());
        problem.param = failure.field.as_deref().map(names);
        // A repetition is a new order: it is only free if this one cost nothing.
        if !failure.retryable || failure.charged != Charged::No {
            problem.again = Again::Never;
        }
        problem
    }

    /// A 400 about a parameter.
    pub(super) fn invalid(param: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, message).with_code(code);
        Self { param: Some(param.into()), ..problem }
    }

    /// A required parameter is not there.
    pub(super) fn missing(param: &str) -> Self {
        Self::invalid(param, "missing_required_parameter", format!("Missing required parameter: '{param}'."))
    }

    /// A parameter has a value of another type; both in words with their article.
    pub(super) fn wrong_type(param: &str, expected: &str, got: &str) -> Self {
        let message = format!("Invalid type for '{param}': expected {expected}, but got {got} instead.");
        Self::invalid(param, "invalid_type", message)
    }

    /// A parameter has a value that is not taken.
    pub(super) fn wrong_value(param: &str, why: impl std::fmt::Display) -> Self {
        Self::invalid(param, "invalid_value", format!("Invalid value for '{param}': {why}."))
    }

    /// Nobody here knows this parameter.
    pub(super) fn unknown(param: &str) -> Self {
        let shown: String = param.chars().take(100).collect();
        let message = format!("Unknown parameter: '{shown}'.");
        Self::invalid(shown, "unknown_parameter", message)
    }

    /// Nothing here has this model name.
    pub(super) fn model_not_found(name: &str) -> Self {
        let shown: String = name.chars().take(200).collect();
        Self::no_model(format!("The model '{shown}' does not exist here. GET /v1/models lists those that do."))
    }

    /// Nothing here is a model of the kind that the call needs.
    pub(super) fn no_model(message: impl Into<String>) -> Self {
        let problem = Self::not_found("model_not_found", message);
        Self { param: Some("model".to_owned()), ..problem }
    }

    /// A thing that is named in the path does not exist.
    pub(super) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message).with_code(code)
    }

    /// A thing is in another state than the call needs. The SDK would ask again at once, which helps nobody.
    pub(super) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message).with_code(code).never_again()
    }

    /// Any other refusal of a request, by its status.
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let (kind, code, param) = (Kind::InvalidRequest, None, None);
        Self { status, kind, code, param, message: message.into(), again: Again::May }
    }

    /// What the caller waited for is not known to have ended, or cannot be told in an answer of this call.
    pub(super) fn unresolved(message: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::GATEWAY_TIMEOUT, message).with_code("unresolved").never_again();
        Self { kind: Kind::Server, ..problem }
    }

    /// Too many such calls at once; none was begun.
    pub(super) fn busy(message: impl Into<String>, wait: Duration) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, message).with_code("server_is_overloaded");
        Self { kind: Kind::Unavailable, again: Again::After(wait), ..problem }
    }

    /// No such path.
    pub(super) fn no_such_path(method: &Method, uri: &Uri) -> Self {
        let path = cut(uri.path());
        // Some clients choose it by themselves.
        let hint =
            if path.starts_with("/responses") { " Of OpenAI's ways to talk there is Chat Completions." } else { "" };
        Self::not_found("unknown_url", format!("Unknown request URL: {method} /v1{path}.{hint} {SERVED}"))
    }

    /// The path has no such method.
    pub(super) fn wrong_method(method: &Method, uri: &Uri) -> Self {
        let message = format!("Not allowed to {method} on /v1{}.", cut(uri.path()));
        Self::new(StatusCode::METHOD_NOT_ALLOWED, message).with_code("method_not_allowed")
    }

    /// With this code.
    #[must_use]
    pub(super) fn with_code(self, code: &'static str) -> Self {
        Self { code: Some(code.into()), ..self }
    }

    /// Asks clients not to send the call again.
    #[must_use]
    pub(super) fn never_again(self) -> Self {
        Self { again: Again::Never, ..self }
    }

    /// Of an order that would be bought again: where it may have been accepted all the same, clients are asked not to repeat it.
    #[must_use]
    pub(super) fn once_if_uncertain(self) -> Self {
        if self.status.is_server_error() { self.never_again() } else { self }
    }

    /// Its body, which also ends a stream that has begun.
    pub(super) fn envelope(&self) -> Value {
        let Self { kind, code, param, message, .. } = self;
        json!({ "error": { "message": message, "type": kind.as_str(), "param": param, "code": code } })
    }

    /// What each reason of the contract is called by OpenAI. Where it has no code, ours says more.
    fn because(reason: ErrorReason) -> Self {
        use ErrorReason as R;
        let (status, kind, code, again) = match reason {
            R::InvalidRequest => (400, Kind::InvalidRequest, Some("invalid_value"), Again::May),
            R::ProviderInvalidOrder
            | R::ProviderNotConfigured
            | R::CallbackNotConfigured
            | R::PriceUnknown
            | R::QuoteNotFound
            | R::QuoteExpired
            | R::QuoteMismatch => (400, Kind::InvalidRequest, None, Again::May),
            R::ProviderRefusedContent => (400, Kind::InvalidRequest, Some("moderation_blocked"), Again::May),
            R::LinkExpired | R::LinkInvalid => (403, Kind::InvalidRequest, None, Again::May),
            R::GenerationNotFound | R::SessionNotFound | R::ArtifactNotFound => {
                (404, Kind::InvalidRequest, None, Again::May)
            }
            R::ModelNotFound | R::ProviderModelNotFound => {
                (404, Kind::InvalidRequest, Some("model_not_found"), Again::May)
            }
            R::RequestIdReused
            | R::GenerationFinished
            | R::GenerationUnfinished
            | R::GenerationNotUnresolved
            | R::NoCallback => (409, Kind::InvalidRequest, None, Again::Never),
            R::UploadTooLarge => (413, Kind::InvalidRequest, None, Again::May),
            R::QueueFull => (429, Kind::Requests, Some("rate_limit_exceeded"), Again::May),
            R::BudgetExceeded | R::ProviderOutOfCredit => {
                (429, Kind::InsufficientQuota, Some("insufficient_quota"), Again::Never)
            }
            R::Unspecified | R::Internal => (500, Kind::Server, None, Again::Never),
            R::ProviderUnauthenticated
            | R::ProviderProtocol
            | R::NoProviderJobId
            | R::ProviderJobFailed
            | R::ProviderJobCancelled
            | R::NoDownloadableOutput
            | R::ArtifactInvalid
            | R::ArtifactTooLarge
            | R::ArtifactLost
            | R::ResolvedByPerson => (502, Kind::Server, None, Again::Never),
            R::ServerDraining | R::StoreUnavailable => (503, Kind::Unavailable, None, Again::May),
            R::ProviderUnreachable | R::ProviderOverloaded => {
                (503, Kind::Unavailable, Some("server_is_overloaded"), Again::May)
            }
            R::SampleMissing => (503, Kind::Unavailable, None, Again::Never),
            R::DeadlineExceeded
            | R::UnresolvedExpired
            | R::SubmitAnswerLost
            | R::DeadlinePassed
            | R::TicketUnknown
            | R::ProviderSilent => (504, Kind::Server, None, Again::Never),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let code = code.map_or_else(|| word(reason).into(), Cow::Borrowed);
        Self { status, kind, code: Some(code), param: None, message: String::new(), again }
    }
}

/// Our reason as a code: in lower case, as all of OpenAI's are.
pub(super) fn word(reason: ErrorReason) -> String {
    status::reason_word(reason).to_ascii_lowercase()
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::of(refusal, str::to_owned)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.envelope())).into_response();
        match self.again {
            Again::May => {}
            Again::After(wait) => {
                // Rounded up: too early would be refused again.
                let wait = wait.min(LONGEST_WAIT);
                let seconds = (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            Again::Never => {
                response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
            }
        }
        response
    }
}

/// Whether a provider limits its callers: of those that are busy, it alone has certainly not begun.
fn is_limited(refusal: &Refusal) -> bool {
    let is_limit =
        |failure: &Failure| failure.reason == FailureReason::ProviderOverloaded && failure.charged == Charged::No;
    matches!(refusal, Refusal::Chat { failure, .. } if is_limit(failure))
}

/// The same with other names for the fields that it complains of.
fn renamed(refusal: Refusal, names: impl Fn(&str) -> String) -> Refusal {
    let rename = |violations: Vec<Violation>| {
        let renamed = violations.into_iter().map(|wrong| Violation { field: names(&wrong.field), ..wrong });
        renamed.collect()
    };
    match refusal {
        Refusal::Invalid(violations) => Refusal::Invalid(rename(violations)),
        Refusal::Engine { error: Error::Invalid(violations), .. } => Refusal::Invalid(rename(violations)),
        Refusal::Engine { error: Error::RequestIdReused { field }, subject } => {
            Refusal::Engine { error: Error::RequestIdReused { field: names(&field) }, subject }
        }
        Refusal::Chat { mut failure, retry_after } => {
            failure.field = failure.field.as_deref().map(names);
            Refusal::Chat { failure, retry_after }
        }
        other @ (Refusal::NotConfigured { .. }
        | Refusal::CallbackNotConfigured
        | Refusal::NotFound(..)
        | Refusal::UploadTooLarge { .. }
        | Refusal::Link(_)
        | Refusal::Engine { .. }
        | Refusal::Caller(_)) => other,
    }
}

/// What there is, for who asks for something else.
const SERVED: &str = "Served are /v1/chat/completions, /v1/images/generations, /v1/images/edits, /v1/audio/speech, /v1/videos and /v1/models.";

/// A path is the caller's own text, which is repeated only so far.
fn cut(path: &str) -> String {
    path.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;
    use crate::domain::failure::FailurePhase;

    async fn told(problem: Problem) -> (u16, Option<String>, Option<String>, Value) {
        let response = problem.into_response();
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (status, retry, after) = (response.status().as_u16(), header("x-should-retry"), header("retry-after"));
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, retry, after, serde_json::from_slice(&body).unwrap())
    }

    fn engine(error: Error) -> Problem {
        Refusal::Engine { error, subject: "x".to_owned() }.into()
    }

    #[tokio::test]
    async fn all_four_keys_are_always_there() {
        let (status, retry, after, body) = told(Problem::not_found("unknown_url", "no")).await;
        assert_eq!((status, retry, after), (404, None, None));
        let error = json!({ "message": "no", "type": "invalid_request_error", "param": null, "code": "unknown_url" });
        assert_eq!(body, json!({ "error": error }));
        let (_, _, _, body) = told(Problem::new(StatusCode::BAD_REQUEST, "no")).await;
        assert_eq!(body["error"]["code"], Value::Null);
    }

    #[tokio::test]
    async fn fields_have_the_names_of_this_door() {
        let refusal = Refusal::field("options.duration", "must be more than 0 s");
        let problem = Problem::of(refusal, |field| field.replace("options.duration", "seconds"));
        let (status, _, _, body) = told(problem).await;
        let message = "seconds: must be more than 0 s";
        let error =
            json!({ "message": message, "type": "invalid_request_error", "param": "seconds", "code": "invalid_value" });
        assert_eq!((status, body), (400, json!({ "error": error })));
    }

    #[tokio::test]
    async fn what_helps_is_to_be_sent_again_and_nothing_else() {
        let full = told(engine(Error::QueueFull { unfinished: 3 })).await;
        assert_eq!((full.0, full.1, full.2), (429, None, Some("5".to_owned())));
        assert_eq!(full.3["error"]["type"], "requests");
        let draining = told(engine(Error::Draining)).await;
        assert_eq!((draining.0, draining.1, draining.2), (503, None, Some("1".to_owned())));
        assert_eq!(draining.3["error"]["code"], "server_draining");
        let stored = told(engine(Error::Storage("disk".into())).once_if_uncertain()).await;
        assert_eq!((stored.0, stored.1, stored.2), (503, Some("false".to_owned()), None));
        let full = told(engine(Error::QueueFull { unfinished: 3 }).once_if_uncertain()).await;
        assert_eq!((full.1, full.2), (None, Some("5".to_owned())), "nothing was accepted");
        let reused = told(engine(Error::RequestIdReused { field: "prompt".to_owned() })).await;
        assert_eq!((reused.0, reused.1.as_deref()), (409, Some("false")));
    }

    #[tokio::test]
    async fn a_failure_is_repeated_only_if_it_was_free() {
        for (reason, charged, status, retry) in [
            (FailureReason::ProviderUnreachable, Charged::No, 503, None),
            (FailureReason::ProviderUnreachable, Charged::Unknown, 503, Some("false")),
            (FailureReason::ArtifactInvalid, Charged::Yes, 502, Some("false")),
            (FailureReason::ProviderOutOfCredit, Charged::No, 429, Some("false")),
        ] {
            let failure = Failure::new(reason, FailurePhase::Provider, charged, "no");
            let told = told(Problem::failed(&failure, str::to_owned)).await;
            assert_eq!((told.0, told.1.as_deref()), (status, retry), "{reason:?} {charged:?}");
        }
    }

    #[tokio::test]
    async fn a_limit_of_the_provider_is_one_for_its_caller() {
        // What may have been paid for is not to be sent again, so it has no time for that.
        for (charged, status, code, wait) in [
            (Charged::No, 429, "rate_limit_exceeded", Some("7")),
            (Charged::Unknown, 503, "server_is_overloaded", None),
        ] {
            let reason = FailureReason::ProviderOverloaded;
            let failure = Box::new(Failure::new(reason, FailurePhase::Provider, charged, "no"));
            let refusal = Refusal::Chat { failure, retry_after: Some(Duration::from_secs(7)) };
            let (told_status, _, after, body) = told(refusal.into()).await;
            assert_eq!((told_status, body["error"]["code"].as_str()), (status, Some(code)), "{charged:?}");
            assert_eq!(after.as_deref(), wait, "{charged:?}");
        }
    }

    #[tokio::test]
    async fn no_wait_is_longer_than_a_minute() {
        let (_, _, after, _) = told(Problem::busy("later", Duration::from_secs(600))).await;
        assert_eq!(after.as_deref(), Some("60"));
        for (millis, seconds) in [(10, "1"), (1_000, "1"), (1_200, "2")] {
            let (_, _, after, _) = told(Problem::busy("later", Duration::from_millis(millis))).await;
            assert_eq!(after.as_deref(), Some(seconds));
        }
    }
}
