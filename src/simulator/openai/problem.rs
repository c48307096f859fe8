//! Refusals in OpenAI's envelope: `{"error": {"message", "type", "param", "code"}}`, all four always there.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::simulator::desk::Refusal;

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    message: String,
    param: Option<String>,
    code: Option<String>,
}

impl Problem {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), param: None, code: None }
    }

    /// At this parameter.
    pub(super) fn at(mut self, param: &str) -> Self {
        self.param = Some(param.to_owned());
        self
    }

    /// With this word for programs.
    pub(super) fn coded(mut self, code: &str) -> Self {
        self.code = Some(code.to_owned());
        self
    }

    /// A failure as faults tell it: `CODE: TEXT`, or only a text.
    pub(super) fn of_failure(text: &str) -> Self {
        match text.split_once(": ").filter(|(code, _)| !code.contains(' ')) {
            Some((code, text)) => Self::new(text).coded(code),
            None => Self::new(text),
        }
    }

    /// As a job shows it.
    pub(super) fn of_job(&self) -> Value {
        json!({ "code": self.code.as_deref().unwrap_or("video_generation_failed"), "message": self.message })
    }

    pub(super) fn with_status(&self, status: StatusCode) -> Response {
        envelope(status, &self.message, "invalid_request_error", self.param.as_deref(), self.code.as_deref())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.with_status(StatusCode::BAD_REQUEST)
    }
}

fn envelope(status: StatusCode, message: &str, kind: &str, param: Option<&str>, code: Option<&str>) -> Response {
    let error = json!({ "error": { "message": message, "type": kind, "param": param, "code": code } });
    (status, Json(error)).into_response()
}

/// The document for a refusal that a fault wants.
pub(super) fn refuse(refusal: &Refusal) -> Response {
    let (kind, code) = match refusal.status.as_u16() {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        402 => ("insufficient_quota", Some("insufficient_quota")),
        429 => ("requests", Some("rate_limit_exceeded")),
        503 => ("service_unavailable_error", Some("server_is_overloaded")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    envelope(refusal.status, &refusal.text, kind, None, code)
}
