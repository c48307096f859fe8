//! Answers, true or spoilt by a fault.

use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::problem;
use crate::simulator::{
    World,
    fault::{Answer, Edit, Faults},
    server::Severed,
};

/// Lets the fault's delay pass, and gives the answer that replaces the call if it is to have no effect.
pub(super) async fn before(world: &World, faults: &Faults) -> Option<Response> {
    if !faults.delay.is_zero() && world.stop.run_until_cancelled(sleep(faults.delay)).await.is_none() {
        return Some(Severed::response());
    }
    match faults.instead() {
        Some(answer) => Some(spoilt(world, answer, &Value::Null).await),
        None => None,
    }
}

/// The answer to a call that had its effect.
pub(super) async fn after(world: &World, faults: &Faults, status: StatusCode, mut body: Value) -> Response {
    if let Some(answer) = faults.afterwards() {
        return spoilt(world, answer, &body).await;
    }
    for edit in &faults.edits {
        match body.get_mut("results").and_then(Value::as_array_mut) {
            Some(results) => results.iter_mut().for_each(|result| apply(edit, result)),
            None => apply(edit, &mut body),
        }
    }
    (status, Json(body)).into_response()
}

/// The answer that a fault gives in place of `body`.
pub(super) async fn spoilt(world: &World, answer: &Answer, body: &Value) -> Response {
    match answer {
        Answer::Status { code, header_wait, body_wait } => refusal(*code, *header_wait, *body_wait),
        Answer::Html(code) => html(status(*code)),
        Answer::Forgotten => problem::not_found(),
        Answer::Drop => Severed::response(),
        Answer::Hang => {
            world.stop.cancelled().await;
            Severed::response()
        }
        Answer::Malformed => {
            let mut text = body.to_string().into_bytes();
            text.truncate(text.len() / 2);
            ([(header::CONTENT_TYPE, "application/json")], Body::from(text)).into_response()
        }
    }
}

/// A gateway's own error page, as seen when the vendor's front is ill.
pub(super) fn html(status: StatusCode) -> Response {
    let page = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\n");
    (status, [(header::CONTENT_TYPE, "text/html")], page).into_response()
}

fn refusal(code: u16, header_wait: Option<u32>, body_wait: Option<u32>) -> Response {
    let status = status(code);
    let mut body = match code {
        429 => {
            let wait = body_wait.or(header_wait).unwrap_or(30);
            let detail = format!("Request was throttled. Your rate limit resets in ~{wait}s.");
            json!({ "detail": detail, "status": code })
        }
        402 => json!({
            "title": "Insufficient credit",
            "detail": "You have insufficient credit to run this model. Buy credit, then wait a few minutes.",
            "status": code,
        }),
        401 => json!({ "title": "Unauthenticated", "detail": "Invalid or expired API token.", "status": code }),
        _ => json!({ "detail": status.canonical_reason().unwrap_or("error"), "status": code }),
    };
    if let Some(wait) = body_wait {
        body["retry_after"] = json!(wait);
    }
    let mut response = problem::problem(status, body);
    if let Some(wait) = header_wait {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}

/// Codes are checked when a rule is read.
pub(super) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn apply(edit: &Edit, body: &mut Value) {
    match edit {
        Edit::Floats => floats(body),
        Edit::NoId => {
            if let Some(object) = body.as_object_mut() {
                object.remove("id");
            }
        }
        Edit::StatusWord(word) => body["status"] = json!(word),
        Edit::ExtraFields => {
            body["tier"] = Value::Null;
            body["x_experimental"] = json!({ "nested": [null, 1, "two"], "flag": true });
            body["deployment"] = Value::Null;
            for absent in ["metrics", "started_at", "completed_at", "webhook"] {
                if body.get(absent).is_none() {
                    body[absent] = Value::Null;
                }
            }
        }
    }
}

fn floats(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|_| !number.is_f64()) {
                *value = json!(float);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(floats),
        Value::Object(fields) => fields.values_mut().for_each(floats),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_become_floats_at_every_depth() {
        let mut body = json!({"a": 5, "b": [1, {"c": 2}], "d": 0.5, "e": "5"});
        floats(&mut body);
        assert_eq!(body.to_string(), r#"{"a":5.0,"b":[1.0,{"c":2.0}],"d":0.5,"e":"5"}"#);
    }

    #[test]
    fn extra_fields_overwrite_nothing() {
        let mut body = json!({"id": "a", "metrics": {"predict_time": 1}});
        apply(&Edit::ExtraFields, &mut body);
        assert_eq!(body["metrics"]["predict_time"], 1);
        assert!(body["completed_at"].is_null() && body["x_experimental"].is_object());
    }
}
