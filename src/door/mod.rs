//! How callers come in: gRPC, files over HTTP, probes. Convert, call, convert; no business rules.
//!
//! Invariants: a value that passed `accept` is valid by type; `status` alone decides what a refusal is called on the wire; nothing here is
//! spawned or queued, so a stream costs what its snapshot costs and ends when its caller goes.

mod accept;
mod caller;
pub mod dispatch;
mod files;
#[cfg(test)]
mod fixture;
mod grpc;
mod hooks;
mod links;
pub mod listen;
mod openai;
mod order;
mod pages;
mod present;
mod probes;
mod reflection;
mod refusal;
mod status;

use std::sync::Arc;

use axum::{
    Json, Router,
    middleware::map_response,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::json;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};

pub use self::{links::Links, probes::health};

pub use present::generation_json;

use crate::{callback::Targets, engine::Engine};

/// Every gRPC service: the contract's, health (made by [`health`]) and both versions of reflection.
///
/// # Errors
/// The embedded descriptors cannot be read: a defect of the build.
pub fn grpc_router(
    engine: Engine,
    links: Links,
    targets: Arc<Targets>,
    health: HealthServer<impl Health>,
) -> Result<Router, tonic_reflection::server::Error> {
    let mut routes = Routes::builder();
    routes.add_service(health);
    reflection::add_to(&mut routes)?;
    grpc::add_to(&mut routes, engine, links, targets);
    Ok(routes.routes().prepare().into_axum_router().layer(map_response(grpc::refuse_unreadable)))
}

/// Everything that is not gRPC: OpenAI's paths below `/v1`, `/artifacts/{id}`, `/webhooks/…`, `/livez`, `/readyz`; any other path is a 404 in
/// JSON.
pub fn http_router(engine: Engine, links: Links, targets: Arc<Targets>, readiness: watch::Receiver<bool>) -> Router {
    files::router(engine.clone(), links.clone())
        .merge(openai::router(engine.clone(), links, targets))
        .merge(hooks::router(engine))
        .merge(probes::router(readiness))
        .fallback(async || no_such_path())
}

fn no_such_path() -> Response {
    let body = json!({ "error": { "code": "PATH_NOT_FOUND", "message": "no such path" } });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}
