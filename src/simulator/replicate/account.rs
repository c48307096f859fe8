//! What can be read of models and of the account.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{Replicate, problem};

/// `GET /models/{owner}/{name}`
pub(super) async fn model(
    State(replicate): State<Arc<Replicate>>,
    Path((owner, name)): Path<(String, String)>,
) -> Response {
    match replicate.catalogue.named(&format!("{owner}/{name}")) {
        Some(model) => Json(model.page()).into_response(),
        None => problem::not_found(),
    }
}

/// `GET /models/{owner}/{name}/versions`
pub(super) async fn versions(
    State(replicate): State<Arc<Replicate>>,
    Path((owner, name)): Path<(String, String)>,
) -> Response {
    match replicate.catalogue.named(&format!("{owner}/{name}")) {
        Some(model) => {
            Json(json!({ "previous": null, "next": null, "results": [model.version_page()] })).into_response()
        }
        None => problem::not_found(),
    }
}

/// `GET /models/{owner}/{name}/versions/{version}`
pub(super) async fn version(
    State(replicate): State<Arc<Replicate>>,
    Path((owner, name, version)): Path<(String, String, String)>,
) -> Response {
    match replicate.catalogue.named(&format!("{owner}/{name}")) {
        Some(model) if model.version() == version => Json(model.version_page()).into_response(),
        Some(_) | None => problem::not_found(),
    }
}

/// `GET /account`
pub(super) async fn account() -> Json<Value> {
    Json(json!({ "type": "organization", "username": "simulated", "name": "Simulated", "github_url": null }))
}

/// `GET /hardware`
pub(super) async fn hardware() -> Json<Value> {
    Json(json!([
        { "sku": "cpu", "name": "CPU" },
        { "sku": "gpu-t4", "name": "Nvidia T4 GPU" },
        { "sku": "gpu-l40s", "name": "Nvidia L40S GPU" },
        { "sku": "gpu-a100-large", "name": "Nvidia A100 (80GB) GPU" },
        { "sku": "gpu-h100", "name": "Nvidia H100 GPU" },
    ]))
}

/// `GET /webhooks/default/secret`
pub(super) async fn webhook_secret(State(replicate): State<Arc<Replicate>>) -> Json<Value> {
    Json(json!({ "key": &*replicate.webhook_secret }))
}
