//! fal: queue, direct calls, storage, keys of webhooks and the list of past jobs, below `/fal`.
//!
//! What fal spreads over hosts is under one address here: the queue (`queue.fal.run`) and its sisters `rest.fal.ai`, `v3.fal.media` and
//! `api.fal.ai/v1` at `/fal`, direct calls (`fal.run`) at `/fal/run`.
//!
//! Differences from the vendor, all of them wanted by tests: callbacks may go to `http` addresses, uploaded bytes are hashed and forgotten,
//! direct calls end as the queue does, and the list of past jobs shows those that are still going.
//!
//! A job that is to fail (`create:failed=…`) blames the content if the text speaks of a policy, blacks pictures out if it says `nsfw`, and is
//! the model's own trouble otherwise.

mod models;
mod request;
mod storage;
mod submit;
mod webhook;

use std::{io, sync::Arc};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use http::{StatusCode, header};
use serde_json::json;

use self::{models::Endpoints, storage::Files, submit::Asked, webhook::Signer};
use super::{
    World,
    desk::{Desk, Dialect, Job, Refusal},
    settings::Scenario,
    vendor::{Ledger, Vendor},
};

/// JSON bodies may carry files as data URIs.
const MAX_JSON_BYTES: usize = 24 << 20;

static DIALECT: Dialect = Dialect {
    name: "fal",
    id: "/request_id",
    status: "/status",
    items: "/items",
    optional: &["gateway_request_id", "error_type", "runner_id"],
    refuse,
};

/// A job with what only fal knows of it.
type FalJob = Job<Asked>;

/// One simulated account.
#[derive(Debug)]
pub(crate) struct Fal {
    desk: Arc<Desk<Asked>>,
    endpoints: Endpoints,
    files: Files,
    signer: Arc<Signer>,
}

/// An account whose webhook keys follow from the seed.
pub(super) fn open(world: &Arc<World>, _: &Scenario) -> io::Result<Arc<dyn Vendor>> {
    Ok(Arc::new(Fal {
        desk: Desk::new(world, &DIALECT),
        endpoints: Endpoints::read()?,
        files: Files::default(),
        signer: Arc::new(Signer::new(world.seed)?),
    }))
}

impl Vendor for Fal {
    fn router(self: Arc<Self>) -> Router {
        let delivery = self.desk.delivery();
        let keyed = Router::new()
            .route("/storage/upload/initiate", post(storage::initiate))
            .route("/storage/auth/token", post(storage::token))
            .route("/models/requests/by-endpoint", get(request::list))
            .route("/run/{*endpoint}", post(submit::run))
            .route("/{*path}", get(request::get).put(request::put).post(submit::submit))
            .layer(DefaultBodyLimit::max(MAX_JSON_BYTES))
            .layer(middleware::from_fn(authenticate));
        let open = Router::new()
            .route("/.well-known/jwks.json", get(webhook::keys))
            .route("/storage/put/{id}", put(storage::put))
            .route("/files/upload", post(storage::upload))
            .layer(DefaultBodyLimit::disable());
        Router::new().nest("/fal", keyed.merge(open)).with_state(self).merge(delivery)
    }

    fn desk(&self) -> &dyn Ledger {
        &*self.desk
    }

    fn reset(&self) {
        self.desk.clear();
        self.files.clear();
    }
}

fn refuse(refusal: &Refusal) -> Response {
    let error_type = match refusal.status.as_u16() {
        404 => return (refusal.status, Json(json!({ "status": "NOT_FOUND" }))).into_response(),
        429 => "concurrent_requests_limit",
        503 => "runner_scheduling_failure",
        504 => "request_timeout",
        500..=599 => "internal_error",
        _ => return (refusal.status, Json(json!({ "detail": refusal.text }))).into_response(),
    };
    let body = json!({ "detail": refusal.text, "error_type": error_type });
    (refusal.status, [("x-fal-error-type", error_type)], Json(body)).into_response()
}

/// Any key will do, but there must be one.
async fn authenticate(request: Request, next: Next) -> Response {
    let credential = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let text = match credential.and_then(|credential| credential.split_once(' ')) {
        Some(("Key", key)) if !key.trim().is_empty() => return next.run(request).await,
        Some(_) => "Invalid Key Authorization header format. Please use the format `Key <key>`",
        None => "Cannot access application. Authentication is required to access this application.",
    };
    (StatusCode::UNAUTHORIZED, Json(json!({ "detail": text }))).into_response()
}
