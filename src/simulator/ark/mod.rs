//! Volcengine Ark: pictures at once, films as tasks, and chat, below `/ark/api/v3`.
//!
//! Differences from the vendor: any key does, pictures are never streamed, and a callback tells of the end only.

mod chat;
mod order;
mod page;
mod pictures;
mod tasks;

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
};

use axum::{
    Json, Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{StatusCode, header};
use serde_json::json;

use super::{
    World,
    desk::{Desk, Dialect, Refusal},
    settings::Scenario,
    vendor::{Ledger, Vendor},
};

static DIALECT: Dialect = Dialect {
    name: "ark",
    id: "/id",
    status: "/status",
    items: "/items",
    optional: &["error", "usage", "revised_prompt", "draft_task_id"],
    refuse,
};

/// One simulated account.
#[derive(Debug)]
pub(crate) struct Ark {
    desk: Arc<Desk<Task>>,
}

/// What is remembered of a task besides its order.
#[derive(Debug, Default)]
pub(crate) struct Task {
    order: order::Film,
    /// Its record was deleted.
    deleted: AtomicBool,
}

pub(super) fn open(world: &Arc<World>, _: &Scenario) -> io::Result<Arc<dyn Vendor>> {
    Ok(Arc::new(Ark { desk: Desk::new(world, &DIALECT) }))
}

impl Vendor for Ark {
    fn router(self: Arc<Self>) -> Router {
        let delivery = self.desk.delivery();
        let api = Router::new()
            .route("/chat/completions", post(chat::complete))
            .route("/images/generations", post(pictures::generate))
            .route("/contents/generations/tasks", post(tasks::create).get(tasks::list))
            .route("/contents/generations/tasks/{id}", get(tasks::get).delete(tasks::delete))
            .fallback(async || problem(StatusCode::NOT_FOUND, "NotFound", "no such path", ""))
            .layer(middleware::from_fn(authenticate));
        Router::new().nest("/ark/api/v3", api).with_state(self).merge(delivery)
    }

    fn desk(&self) -> &dyn Ledger {
        &*self.desk
    }
}

async fn authenticate(request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match header.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(key) if !key.trim().is_empty() => next.run(request).await,
        Some(_) | None => {
            let message = "The API key or AK/SK in the request is missing or invalid.";
            problem(StatusCode::UNAUTHORIZED, "AuthenticationError", message, "")
        }
    }
}

/// The vendor's error document.
fn problem(status: StatusCode, code: &str, message: &str, param: &str) -> Response {
    let kind = match status {
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        _ => "InternalServerError",
    };
    let message = format!("{message} Request id: 0217000000000000000000000000000000000000000000000000");
    let error = json!({ "code": code, "message": message, "param": param, "type": kind });
    (status, Json(json!({ "error": error }))).into_response()
}

/// A refusal that a fault wants, or a job that is not known.
fn refuse(refusal: &Refusal) -> Response {
    let code = match refusal.status {
        StatusCode::UNAUTHORIZED => "AuthenticationError",
        StatusCode::PAYMENT_REQUIRED => "AccountOverdueError",
        StatusCode::FORBIDDEN => "AccessDenied",
        StatusCode::NOT_FOUND => "NotFound.TaskId",
        StatusCode::TOO_MANY_REQUESTS => "ModelAccountRpmRateLimitExceeded",
        status if status.is_server_error() => "InternalServiceError",
        _ => "InvalidParameter",
    };
    problem(refusal.status, code, &refusal.text, "")
}

/// The code and the message of a failure written `Code: message`; anything else is the message of a refused output.
fn told(text: &str, usual: &'static str) -> (String, String) {
    match text.split_once(": ") {
        Some((code, message)) if !code.is_empty() && !code.contains(' ') => (code.to_owned(), message.to_owned()),
        Some(_) | None => (usual.to_owned(), text.to_owned()),
    }
}
