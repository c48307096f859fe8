//! Refusals, in the vendor's problem documents.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::simulator::desk::Refusal;

/// One reason why a request body is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) kind: &'static str,
    /// Dotted path; for a missing key it names the parent.
    pub(super) field: String,
    pub(super) description: String,
}

impl Violation {
    pub(super) fn required(parent: &str, name: &str) -> Self {
        Self { kind: "required", field: parent.to_owned(), description: format!("{name} is required") }
    }

    pub(super) fn unknown(name: &str) -> Self {
        Self {
            kind: "additional_property_not_allowed",
            field: String::new(),
            description: format!("Additional property {name} is not allowed"),
        }
    }

    pub(super) fn invalid(field: &str, description: impl Into<String>) -> Self {
        Self { kind: "invalid_type", field: field.to_owned(), description: description.into() }
    }
}

/// A problem document with this status.
pub(super) fn problem(status: StatusCode, body: Value) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// The document for a refusal that a fault wants. Credit and credential have a title.
pub(super) fn refuse(refusal: &Refusal) -> Response {
    let mut body = json!({ "detail": refusal.text, "status": refusal.status.as_u16() });
    match refusal.status {
        StatusCode::PAYMENT_REQUIRED => body["title"] = json!("Insufficient credit"),
        StatusCode::UNAUTHORIZED => body["title"] = json!("Unauthenticated"),
        _ => {}
    }
    if let Some(wait) = refusal.wait {
        body["retry_after"] = json!(wait);
    }
    problem(refusal.status, body)
}

/// 401; the text depends on whether a token came at all.
pub(super) fn unauthenticated(detail: &str) -> Response {
    problem(StatusCode::UNAUTHORIZED, json!({ "title": "Unauthenticated", "detail": detail, "status": 401 }))
}

/// 404, without a title as the vendor has it.
pub(super) fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, json!({ "detail": "The requested resource could not be found.", "status": 404 }))
}

/// 400 for a body that is no JSON object.
pub(super) fn unreadable(detail: &str) -> Response {
    problem(StatusCode::BAD_REQUEST, json!({ "title": "Bad request", "detail": detail, "status": 400 }))
}

/// 422 for a version that names no model.
pub(super) fn unknown_version() -> Response {
    let detail = "The specified version does not exist (or perhaps you don't have permission to use it?)";
    let body = json!({ "title": "Invalid version or not permitted", "detail": detail, "status": 422 });
    problem(StatusCode::UNPROCESSABLE_ENTITY, body)
}

/// 422 that lists every violation.
pub(super) fn invalid(violations: &[Violation]) -> Response {
    let detail: String =
        violations.iter().map(|violation| format!("- {}: {}\n", violation.field, violation.description)).collect();
    let fields: Vec<Value> = violations
        .iter()
        .map(|violation| {
            json!({ "type": violation.kind, "field": violation.field, "description": violation.description })
        })
        .collect();
    let body = json!({ "title": "Input validation failed", "detail": detail, "status": 422, "invalid_fields": fields });
    problem(StatusCode::UNPROCESSABLE_ENTITY, body)
}
