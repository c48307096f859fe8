//! How callers come in: gRPC, HTTP and JSON, files over HTTP, probes. Convert, call, convert; no business rules.
//!
//! Invariants: a value that passed `accept` is valid by type; `status` alone decides what a refusal is called on the wire; nothing here is
//! spawned or queued, so a stream costs what its snapshot costs and ends when its caller goes.

mod accept;
mod caller;
mod cors;
pub mod dispatch;
mod encoding;
mod files;
#[cfg(test)]
mod fixture;
mod grpc;
mod hear_out;
mod hooks;
mod json;
mod links;
pub mod listen;
mod measure;
mod once;
mod openai;
mod order;
mod pages;
mod patience;
mod present;
mod probes;
mod reflection;
mod refusal;
mod request_id;
mod status;
mod which;

use std::sync::Arc;

use axum::{Router, extract::Request, middleware::map_response, response::Response};
use http::StatusCode;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};

pub use self::{links::Links, probes::health};

pub use present::generation_json;

use crate::{callback::Targets, chat::Chat, engine::Engine};

/// Every gRPC service: the contract's, health (made by [`health`]) and both versions of reflection.
///
/// # Errors
/// The embedded descriptors cannot be read: a defect of the build.
pub fn grpc_router(
    engine: Engine,
    chat: Chat,
    links: Links,
    targets: Arc<Targets>,
    health: HealthServer<impl Health>,
) -> Result<Router, tonic_reflection::server::Error> {
    let mut routes = Routes::builder();
    routes.add_service(health);
    reflection::add_to(&mut routes)?;
    grpc::add_to(&mut routes, engine, chat, links, targets);
    Ok(routes.routes().prepare().into_axum_router().layer(map_response(grpc::refuse_unreadable)))
}

/// Everything that is not gRPC: OpenAI's paths below `/v1`, `/artifacts/{id}`, `/webhooks/…`, `/livez`, `/readyz`, `/metrics`, `/openapi.json`, and
/// the calls of `grpc` as HTTP and JSON. Any other path is a 404 in JSON.
pub fn http_router(
    engine: Engine,
    chat: Chat,
    links: Links,
    targets: Arc<Targets>,
    readiness: watch::Receiver<bool>,
    grpc: Router,
) -> Router {
    files::router(engine.clone(), links.clone())
        .merge(hooks::router(engine.clone()))
        .merge(probes::router(readiness))
        .method_not_allowed_fallback(wrong_method)
        .merge(openai::router(engine, chat, links, targets))
        .merge(json::router(grpc))
}

/// Which methods a path takes is told by its router, in `Allow`.
async fn wrong_method(request: Request) -> Response {
    let message = "this path does not take this method; the header Allow names those that it takes";
    which::Door::of(&request).refuse(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
}
