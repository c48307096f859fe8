//! How this door says no: `{"error": {"code", "message", "details"}}`. The one place where a status of a call gets that form.

use std::{borrow::Cow, time::Duration};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ALLOW, RETRY_AFTER},
};
use serde_json::{Map, Value, json};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use super::{comments, metadata};
use crate::{
    door::status::{self, cut},
    pb,
};

/// Longest text that is told of one thing; a caller's own value may be in it.
const MAX_TEXT: usize = 1024;
/// The code of whatever is wrong with a request itself.
pub(super) const VALIDATION_ERROR: &str = "VALIDATION_ERROR";

/// An answer that says no.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    code: Cow<'static, str>,
    message: String,
    details: Map<String, Value>,
    /// Boxed, because it is large and a refusal is the rare result.
    headers: Box<HeaderMap>,
    retry: Option<Duration>,
}

impl Refused {
    fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: cut(message.into(), MAX_TEXT),
            details: Map::new(),
            headers: Box::default(),
            retry: None,
        }
    }

    /// One field of the request is wrong; `field` is its path, or `request` for the whole.
    pub(super) fn field(field: &str, why: impl Into<String>) -> Self {
        let why = cut(why.into(), MAX_TEXT);
        Self::new(StatusCode::BAD_REQUEST, VALIDATION_ERROR, format!("{field}: {why}"))
            .with("reason", "INVALID_REQUEST")
            .with("fieldViolations", json!([{ "field": cut(field.to_owned(), MAX_TEXT), "description": why }]))
            .uncharged()
    }

    /// The request is larger than is read.
    pub(super) fn too_large(max_bytes: usize) -> Self {
        let why = format!("the request is larger than {max_bytes} bytes; large files go through UploadArtifact");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, VALIDATION_ERROR, why)
            .with("reason", "INVALID_REQUEST")
            .with("maxBytes", max_bytes)
            .uncharged()
    }

    /// The body is none of the types that are read.
    pub(super) fn media_type(expected: &str) -> Self {
        let why = format!("the body must be {expected}, and its Content-Type must say so");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, VALIDATION_ERROR, why).uncharged()
    }

    /// The body did not come.
    pub(super) fn slow(limit: Duration) -> Self {
        let why = format!("the body did not come within {} s", limit.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, VALIDATION_ERROR, why).uncharged()
    }

    /// Nothing is there.
    pub(super) fn path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "PATH_NOT_FOUND", "no such path; /openapi.json lists them all")
    }

    /// The path takes other methods.
    pub(super) fn method(methods: &[Method]) -> Self {
        let allowed = allow(methods);
        let why = format!("this path takes {allowed}");
        let mut refused = Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", why);
        if let Ok(value) = HeaderValue::from_str(&allowed) {
            refused.headers.insert(ALLOW, value);
        }
        refused
    }

    /// A defect of ours. The cause is logged, not told.
    pub(super) fn defect(cause: &str) -> Self {
        tracing::error!(cause, "an HTTP call failed by a defect");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "internal error").with("reason", "INTERNAL")
    }

    /// The end of a stream that had begun: what was spent until then is told by its messages.
    pub(super) fn mid_stream(status: &Status) -> Self {
        let mut refused = Self::from(status);
        refused.details.remove("charged");
        refused
    }

    /// The same refusal, unless `field`, which is the path, names nothing of `collection`: then nothing is there, whatever else is wrong.
    pub(super) fn in_path(self, field: &str, collection: &str) -> Self {
        let violations = self.details.get("fieldViolations").and_then(Value::as_array);
        let is_of_path = violations.is_some_and(|all| all.iter().any(|one| one["field"] == field));
        if self.status != StatusCode::BAD_REQUEST || !is_of_path {
            return self;
        }
        let code = match collection {
            "generations" => "TASK_NOT_FOUND".to_owned(),
            _ => format!("{}_NOT_FOUND", collection.strip_suffix('s').unwrap_or(collection).to_ascii_uppercase()),
        };
        Self { status: StatusCode::NOT_FOUND, code: code.into(), ..self }
    }

    /// The same refusal, unless all that is wrong is that a field names nothing: then nothing is there, as it would be with a path.
    fn of_names(self) -> Self {
        let names_nothing = self.details.get("metadata").is_some_and(|metadata| metadata["names_nothing"] == "true");
        let field = self.details.get("fieldViolations").and_then(|all| all[0]["field"].as_str());
        let Some(field) = field.filter(|_| names_nothing) else { return self };
        let name = field.rsplit('.').next().unwrap_or(field);
        let code = format!("{}_NOT_FOUND", name.trim_end_matches("_token").to_ascii_uppercase());
        Self { status: StatusCode::NOT_FOUND, code: code.into(), ..self }
    }

    /// The body of the answer.
    pub(super) fn body(&self) -> Value {
        json!({ "error": { "code": self.code, "message": self.message, "details": self.details } })
    }

    /// When to ask again.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    fn uncharged(self) -> Self {
        self.with("charged", "NO").with("retryable", false)
    }
}

/// The methods as the header `Allow` has them; `HEAD` goes with `GET`, and `OPTIONS` always.
pub(super) fn allow(methods: &[Method]) -> String {
    let mut names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = Json(self.body());
        let mut headers = *self.headers;
        if let Some(delay) = self.retry {
            // Whole seconds, and never sooner than asked for.
            headers.insert(RETRY_AFTER, HeaderValue::from(delay.as_secs() + u64::from(delay.subsec_nanos() > 0)));
        }
        (self.status, headers, body).into_response()
    }
}

impl From<&Status> for Refused {
    fn from(status: &Status) -> Self {
        let told = status.get_error_details();
        let info = told.error_info();
        let reason = info.map(|info| info.reason.clone()).unwrap_or_default();
        let http = match reason.as_str() {
            "UPLOAD_TOO_LARGE" => StatusCode::PAYLOAD_TOO_LARGE,
            _ => status::http_status(status.code()),
        };
        let mut refused = Self::new(http, code(http, &reason), status.message());
        refused.details = details(&told, &reason);
        refused.retry = told.retry_info().and_then(|info| info.retry_delay);
        refused.headers = Box::new(metadata::to_headers(status.metadata()));
        let retryable = refused.retry.is_some() || http == StatusCode::SERVICE_UNAVAILABLE;
        // A refusal starts nothing. What failed on our side may have begun something.
        let charged = if http.is_client_error() { "NO" } else { "UNKNOWN" };
        let told_charged =
            info.and_then(|info| info.metadata.get("charged")).map_or(charged, String::as_str).to_owned();
        let refused = refused.with("retryable", retryable).with("charged", told_charged).of_names();
        if http != StatusCode::SERVICE_UNAVAILABLE {
            return refused;
        }
        let service = info.and_then(|info| info.metadata.get("provider")).map_or("filmgate", String::as_str).to_owned();
        refused.with("service", service)
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::from(&status)
    }
}

/// The word for programs. Where none of the general ones fits, it is the reason itself.
fn code(http: StatusCode, reason: &str) -> Cow<'static, str> {
    let general = match (http, reason) {
        (StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE, _) => VALIDATION_ERROR,
        (_, "GENERATION_NOT_FOUND") => "TASK_NOT_FOUND",
        (_, "PROVIDER_NOT_CONFIGURED" | "CALLBACK_NOT_CONFIGURED" | "SAMPLE_MISSING") => "CONFIGURATION_ERROR",
        (_, "STORE_UNAVAILABLE") => "STORAGE_ERROR",
        (StatusCode::TOO_MANY_REQUESTS, _) => "RATE_LIMIT_EXCEEDED",
        (StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT, _) => "SERVICE_ERROR",
        (StatusCode::INTERNAL_SERVER_ERROR, _) => "INTERNAL_ERROR",
        (StatusCode::NOT_FOUND, "") => "NOT_FOUND",
        (StatusCode::NOT_IMPLEMENTED, "") => "NOT_IMPLEMENTED",
        (_, "") => "HTTP_ERROR",
        (_, reason) => return Cow::Owned(reason.to_owned()),
    };
    Cow::Borrowed(general)
}

fn details(told: &ErrorDetails, reason: &str) -> Map<String, Value> {
    let mut details = Map::new();
    let mut set = |key: &str, value: Value| drop(details.insert(key.to_owned(), value));
    if !reason.is_empty() {
        set("reason", reason.into());
    }
    if let Some(bad) = told.bad_request() {
        let violations = bad.field_violations.iter();
        set(
            "fieldViolations",
            violations.map(|one| json!({ "field": one.field, "description": one.description })).collect(),
        );
    }
    if let Some(failure) = told.precondition_failure() {
        let one = |one: &tonic_types::PreconditionViolation| json!({ "type": one.r#type, "subject": one.subject, "description": one.description });
        set("preconditionViolations", failure.violations.iter().map(one).collect());
    }
    if let Some(failure) = told.quota_failure() {
        let violations = failure.violations.iter();
        set(
            "quotaViolations",
            violations.map(|one| json!({ "subject": one.subject, "description": one.description })).collect(),
        );
    }
    if let Some(resource) = told.resource_info() {
        set("resource", json!({ "type": resource.resource_type, "name": resource.resource_name }));
    }
    if let Some(delay) = told.retry_info().and_then(|info| info.retry_delay) {
        set("retryDelay", format!("{}s", delay.as_secs_f64()).into());
    }
    if let Some(info) = told.request_info() {
        set("requestId", info.request_id.clone().into());
    }
    if let Some(info) = told.error_info().filter(|info| !info.metadata.is_empty()) {
        // Sorted, so that the same refusal is the same text.
        set("metadata", info.metadata.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect());
    }
    if let Some(step) = next_step(reason) {
        set("nextStep", step.into());
    }
    details
}

/// What the contract says to do about a reason: `CODE. Cause. Remedy.`
fn next_step(reason: &str) -> Option<String> {
    let reasons = pb::json::pool().ok()?.get_enum_by_name("filmgate.v1.ErrorReason")?;
    let value = reasons.get_value_by_name(&format!("ERROR_REASON_{reason}"))?;
    let comment = comments::of(&reasons.parent_file(), value.path());
    let remedy = comment.lines().next()?.splitn(3, ". ").nth(2)?.trim();
    (!remedy.is_empty()).then(|| remedy.to_owned())
}
