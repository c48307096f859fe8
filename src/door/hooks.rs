//! Webhooks of providers: `POST /webhooks/{provider}/{generation}/{token}`, the address that a submit carried.
//!
//! Anybody can reach this, so nothing is done for a sender who does not know the token beyond one lookup, and a body is read only after
//! that, up to a size, within a time, and few at once. Every answer that could tell why a webhook was refused is the same.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Path, Request, State, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::{sync::Semaphore, time::timeout};

use crate::engine::{Engine, Hearing};

/// Most bytes of a body. A larger one is refused and wakes nobody: unread, it proves nothing.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Longest time that a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Most webhooks at work at once; further ones are sent again later by every vendor that signs.
const MOST_AT_ONCE: usize = 64;
/// When to send again.
const RETRY_AFTER_S: u16 = 1;

#[derive(Debug, Clone)]
struct Hooks {
    engine: Engine,
    places: Arc<Semaphore>,
}

type Parts = Result<Path<(String, String, String)>, PathRejection>;

/// `POST /webhooks/{provider}/{generation}/{token}`.
pub(super) fn router(engine: Engine) -> Router {
    let hooks = Hooks { engine, places: Arc::new(Semaphore::new(MOST_AT_ONCE)) };
    let hear = post(hear).fallback(wrong_method).layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
    Router::new().route("/webhooks/{provider}/{generation}/{token}", hear).with_state(hooks)
}

async fn hear(State(hooks): State<Hooks>, address: Parts, request: Request) -> Response {
    // What is not even text is no address of ours.
    let (provider, generation, token) = address.map(|Path(parts)| parts).unwrap_or_default();
    let hearing = match hooks.places.try_acquire() {
        Ok(_place) => hooks.hear(&provider, &generation, &token, request).await.unwrap_or_else(|refused| refused),
        Err(_) => Hearing::Busy,
    };
    hooks.engine.count_webhook(&provider, hearing);
    answer(hearing)
}

impl Hooks {
    async fn hear(&self, provider: &str, generation: &str, token: &str, request: Request) -> Result<Hearing, Hearing> {
        let to = self.engine.addressee(provider, generation, token).await?;
        let headers = request.headers().clone();
        let body = match timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
            Ok(Ok(body)) => body,
            Ok(Err(refused)) if refused.status() == StatusCode::PAYLOAD_TOO_LARGE => return Err(Hearing::TooLarge),
            Ok(Err(_)) | Err(_) => return Err(Hearing::Incomplete),
        };
        Ok(self.engine.hear(to, headers, body).await)
    }
}

fn answer(hearing: Hearing) -> Response {
    match hearing {
        Hearing::Woke | Hearing::Found | Hearing::Duplicate | Hearing::Late | Hearing::Learned => {
            (StatusCode::OK, Json(json!({}))).into_response()
        }
        Hearing::UnknownProvider => super::json::no_such_path(),
        Hearing::Unknown | Hearing::Forged | Hearing::Stale => {
            let message = "nothing was asked to call here with this token, signature and time";
            refusal(StatusCode::UNAUTHORIZED, "WEBHOOK_REFUSED", message)
        }
        Hearing::TooLarge => {
            refusal(StatusCode::PAYLOAD_TOO_LARGE, "WEBHOOK_TOO_LARGE", "the body is larger than 1 MiB")
        }
        Hearing::Incomplete => {
            refusal(StatusCode::REQUEST_TIMEOUT, "WEBHOOK_INCOMPLETE", "the body did not come within 10 s")
        }
        Hearing::Busy | Hearing::Unavailable => {
            let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "WEBHOOK_NOT_NOW", "send it again later");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
            response
        }
    }
}

async fn wrong_method() -> Response {
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "a webhook is sent by POST");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response()
}
