//! How a refusal is told: gRPC code, `google.rpc` details, HTTP status. The only file that names `tonic::Code`.
//!
//! Every refusal carries an `ErrorInfo` with domain `filmgate`; what varies in the text is in its metadata too, each detail type comes once.
#![deny(clippy::wildcard_enum_match_arm)]

mod chat;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, time::Duration};

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;
use tonic::{Code, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};
use tracing::{error, warn};

use super::{
    grpc::MAX_MESSAGE_BYTES,
    links::BadLink,
    refusal::{Refusal, Resource},
    request_id::RequestId,
};
use crate::{
    domain::{
        budget::{NotAllowed, OverBudget},
        generation::State,
        order::Violation,
        quote::NoQuote,
    },
    engine::error::Error,
    pb::v1::ErrorReason,
    store::port::StoreError,
};

/// `ErrorInfo.domain` of every refusal.
const DOMAIN: &str = "filmgate";
/// When to ask again after a full queue, a drain or a store that cannot be written.
const RETRY_QUEUE: Duration = Duration::from_secs(5);
const RETRY_DRAIN: Duration = Duration::from_secs(1);
const RETRY_STORE: Duration = Duration::from_secs(5);
/// Details travel in a header, and some clients take 8 KiB of headers only. So the texts of all violations together stay below this.
const MAX_VIOLATION_BYTES: usize = 4096;
const MAX_FIELD_BYTES: usize = 128;
const MAX_DESCRIPTION_BYTES: usize = 1024;

/// A refusal in the words of the wire.
#[derive(Debug)]
pub(super) struct Told {
    code: Code,
    /// The stable reason.
    pub(super) reason: ErrorReason,
    /// What happened.
    pub(super) message: String,
    /// What varies in the message.
    pub(super) metadata: HashMap<String, String>,
    /// More about it.
    pub(super) details: ErrorDetails,
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        match tell(refusal) {
            Ok(told) => told.into_status(),
            Err(status) => status,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (code, reason, message) = match tell(self) {
            Ok(told) => (told.code, reason_word(told.reason), told.message),
            Err(status) => (status.code(), "CALLER", status.message().to_owned()),
        };
        let body = axum::Json(json!({ "error": { "code": reason, "message": message } }));
        (http_status(code), body).into_response()
    }
}

/// What ends a stream that ended well and has something to say in its trailers.
///
/// tonic sends trailers only with a status, so this is an `Err` that callers see as OK.
pub(super) fn ok_with(trailers: MetadataMap) -> Status {
    Status::with_metadata(Code::Ok, "", trailers)
}

/// `ErrorInfo.reason`: the value's name without the enum's prefix.
pub(super) fn reason_word(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// This is where a refusal is handled, so what only the operator may see is logged here and nowhere else.
///
/// # Errors
/// The caller's own stream broke: its status, as it came.
pub(super) fn tell(refusal: Refusal) -> Result<Told, Status> {
    Ok(match refusal {
        Refusal::Invalid(violations) => tell_invalid(violations),
        Refusal::NotConfigured { provider, how } => {
            let message = format!("provider {provider} is not configured: {how}");
            Told::new(Code::FailedPrecondition, ErrorReason::ProviderNotConfigured, message)
                .with("provider", provider.to_string())
                .with("how_to_configure", how.clone())
                .precondition(provider.to_string(), how)
        }
        Refusal::CallbackNotConfigured => {
            let message = "callbacks are not configured: there is no secret to sign them with".to_owned();
            let how = "set FILMGATE_CALLBACK_SECRET, or order without callback_url and watch the generation".to_owned();
            Told::new(Code::FailedPrecondition, ErrorReason::CallbackNotConfigured, message)
                .with("how_to_configure", how.clone())
                .precondition("callback_url".to_owned(), how)
        }
        Refusal::NotFound(resource, name) => tell_not_found(resource, name),
        Refusal::UploadTooLarge { max_bytes } => {
            let message = format!("the upload is larger than {max_bytes} bytes");
            let mut told = Told::new(Code::ResourceExhausted, ErrorReason::UploadTooLarge, message);
            told.details.add_quota_failure_violation("upload", format!("at most {max_bytes} bytes"));
            told.with("max_bytes", max_bytes.to_string())
        }
        Refusal::Link(bad) => tell_link(bad),
        Refusal::Engine { error, subject } => tell_engine(error, subject),
        Refusal::Chat { failure, retry_after } => chat::tell_chat(&failure, retry_after),
        Refusal::Caller(status) => match unreadable(&status) {
            Some(refusal) => return tell(refusal),
            None => return Err(status),
        },
    })
}

/// What a message that never became one is refused with; none for any other end of a caller's stream.
///
/// tonic calls it our internal error, or a number out of range, and says nothing of what to do.
pub(super) fn unreadable(status: &Status) -> Option<Refusal> {
    let why = match status.code() {
        _ if !status.details().is_empty() => return None,
        // The second is of one that was packed.
        Code::OutOfRange | Code::ResourceExhausted => {
            format!("is larger than {MAX_MESSAGE_BYTES} bytes; large files go through UploadArtifact")
        }
        Code::Internal => format!("is not a message of the contract: {}", status.message()),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unimplemented
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => return None,
    };
    Some(Refusal::field("request", why))
}

fn tell_engine(error: Error, subject: String) -> Told {
    let message = error.to_string();
    match error {
        Error::Invalid(violations) => tell_invalid(violations),
        Error::GenerationNotFound => tell_not_found(Resource::Generation, subject),
        Error::RequestIdReused { field } => {
            let mut told = Told::new(Code::AlreadyExists, ErrorReason::RequestIdReused, message);
            told.details.set_resource_info("request_id", subject, "", "belongs to another request");
            told.with("field", field)
        }
        Error::SampleMissing { provider, why } => {
            Told::new(Code::FailedPrecondition, ErrorReason::SampleMissing, message)
                .with("provider", provider.to_string())
                .with("why", why.clone())
                .precondition(provider.to_string(), why)
        }
        Error::Finished(state) => tell_state(ErrorReason::GenerationFinished, state, message, subject),
        Error::Unfinished(state) => tell_state(ErrorReason::GenerationUnfinished, state, message, subject),
        Error::NotUnresolved(state) => tell_state(ErrorReason::GenerationNotUnresolved, state, message, subject),
        Error::NoCallback => {
            Told::new(Code::FailedPrecondition, ErrorReason::NoCallback, message.clone()).precondition(subject, message)
        }
        Error::QueueFull { unfinished } => {
            let mut told = Told::new(Code::ResourceExhausted, ErrorReason::QueueFull, message);
            told.details.add_quota_failure_violation("unfinished generations", format!("{unfinished} are unfinished"));
            told.with("unfinished", unfinished.to_string()).retry_in(RETRY_QUEUE)
        }
        Error::Budget(refused) => tell_budget(refused, message),
        Error::Quote(refused) => tell_quote(refused, message),
        Error::PriceUnknown { model } => {
            let model = model.to_string();
            Told::new(Code::FailedPrecondition, ErrorReason::PriceUnknown, message.clone())
                .with("model", model.clone())
                .precondition(model, message)
        }
        Error::Draining => Told::new(Code::Unavailable, ErrorReason::ServerDraining, message).retry_in(RETRY_DRAIN),
        Error::Store(StoreError::Unavailable(cause)) => tell_unavailable(message, &*cause),
        Error::Storage(cause) => tell_unavailable(message, &*cause),
        Error::Store(StoreError::Broken(cause)) => tell_defect(&*cause),
    }
}

fn tell_budget(refused: NotAllowed, message: String) -> Told {
    match refused {
        NotAllowed::Over(OverBudget { budget, limit, left, asked }) => {
            let mut told = Told::new(Code::ResourceExhausted, ErrorReason::BudgetExceeded, message.clone());
            told.details.add_quota_failure_violation(format!("budget {budget}"), message);
            told.with("budget", budget)
                .with("limit_micro_usd", limit.0.to_string())
                .with("left_micro_usd", left.0.to_string())
                .with("asked_micro_usd", asked.0.to_string())
        }
        NotAllowed::Unpriced { budget, model } => {
            Told::new(Code::FailedPrecondition, ErrorReason::PriceUnknown, message.clone())
                .with("budget", budget)
                .with("model", model.clone())
                .precondition(model, message)
        }
    }
}

fn tell_quote(refused: NoQuote, message: String) -> Told {
    let failed = |reason| Told::new(Code::FailedPrecondition, reason, message.clone());
    match refused {
        NoQuote::NotFound => {
            let mut told = Told::new(Code::NotFound, ErrorReason::QuoteNotFound, message);
            told.details.set_resource_info("quote", "", "", "");
            told
        }
        NoQuote::Expired(at) => failed(ErrorReason::QuoteExpired)
            .with("expired_at", at.to_string())
            .precondition("quote".to_owned(), message),
        NoQuote::Used => failed(ErrorReason::QuoteExpired).precondition("quote".to_owned(), message),
        NoQuote::Mismatch { field } => {
            failed(ErrorReason::QuoteMismatch).with("field", field.clone()).precondition(field, message)
        }
    }
}

fn tell_invalid(violations: Vec<Violation>) -> Told {
    let n_all = violations.len();
    let names_nothing = n_all > 0 && violations.iter().all(|wrong| wrong.names_nothing);
    let mut n_bytes = 0;
    let mut shown = Vec::new();
    for Violation { field, description, names_nothing: _ } in violations {
        let (field, description) = (cut(field, MAX_FIELD_BYTES), cut(description, MAX_DESCRIPTION_BYTES));
        n_bytes += field.len() + description.len();
        if n_bytes > MAX_VIOLATION_BYTES && !shown.is_empty() {
            break;
        }
        shown.push(FieldViolation::new(field, description));
    }
    let first = shown.first().map(|first| format!("{}: {}", first.field, first.description)).unwrap_or_default();
    let message = match n_all {
        0 | 1 => first,
        _ => format!("{first} (and {} more)", n_all - 1),
    };
    let n_omitted = n_all - shown.len();
    let mut told = Told::new(Code::InvalidArgument, ErrorReason::InvalidRequest, message);
    told.details.set_bad_request(shown);
    let told = told.with("n_violations", n_all.to_string());
    // A name that nothing has is no defect of the request: doors that can tell the two apart do.
    let told = if names_nothing { told.with("names_nothing", "true".to_owned()) } else { told };
    if n_omitted > 0 { told.with("n_omitted", n_omitted.to_string()) } else { told }
}

fn tell_not_found(resource: Resource, name: String) -> Told {
    let reason = match resource {
        Resource::Generation => ErrorReason::GenerationNotFound,
        Resource::Session => ErrorReason::SessionNotFound,
        Resource::Artifact => ErrorReason::ArtifactNotFound,
        Resource::Model => ErrorReason::ModelNotFound,
    };
    let resource = resource.as_str();
    let mut told = Told::new(Code::NotFound, reason, format!("{resource} not found"));
    told.details.set_resource_info(resource, name.clone(), "", "");
    told.with("name", name)
}

fn tell_link(bad: BadLink) -> Told {
    let (reason, message) = match bad {
        BadLink::Invalid => (ErrorReason::LinkInvalid, "the link was not signed here, or was changed"),
        BadLink::Expired => (ErrorReason::LinkExpired, "the link has expired; ask for a new one"),
    };
    Told::new(Code::PermissionDenied, reason, message.to_owned())
}

fn tell_state(reason: ErrorReason, state: State, message: String, subject: String) -> Told {
    Told::new(Code::FailedPrecondition, reason, message.clone())
        .with("state", state.as_str().to_owned())
        .precondition(subject, message)
}

fn tell_unavailable(message: String, cause: &(dyn std::error::Error + 'static)) -> Told {
    warn!(cause = chain(cause), "{message}");
    Told::new(Code::Unavailable, ErrorReason::StoreUnavailable, message).retry_in(RETRY_STORE)
}

fn tell_defect(cause: &(dyn std::error::Error + 'static)) -> Told {
    let request_id = RequestId::current().as_str().to_owned();
    error!(request_id, cause = chain(cause), "a call failed by a defect");
    let message = "internal error; report it with the request id".to_owned();
    let mut told = Told::new(Code::Internal, ErrorReason::Internal, message);
    told.details.set_request_info(request_id.clone(), "");
    told.with("request_id", request_id)
}

impl Told {
    fn new(code: Code, reason: ErrorReason, message: String) -> Self {
        Self { code, reason, message, metadata: HashMap::new(), details: ErrorDetails::new() }
    }

    fn with(mut self, key: &str, value: String) -> Self {
        self.metadata.insert(key.to_owned(), cut(value, MAX_DESCRIPTION_BYTES));
        self
    }

    fn retry_in(mut self, delay: Duration) -> Self {
        self.details.set_retry_info(Some(delay));
        self
    }

    fn precondition(mut self, subject: String, description: String) -> Self {
        self.details.add_precondition_failure_violation(reason_word(self.reason), subject, description);
        self
    }

    fn into_status(self) -> Status {
        let Self { code, reason, message, metadata, mut details } = self;
        details.set_error_info(reason_word(reason), DOMAIN, metadata);
        Status::with_error_details(code, message, details)
    }
}

/// The HTTP status of a gRPC code.
pub(super) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// At most `max` bytes, cut between characters and marked as cut.
pub(super) fn cut(mut text: String, max: usize) -> String {
    const MARK: &str = "…";
    if text.len() > max {
        let mut end = max.saturating_sub(MARK.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(MARK);
    }
    text
}

/// An error with its causes, for the log.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
