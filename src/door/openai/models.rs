//! `GET /v1/models` and `/v1/models/{id}`: the models of the providers that are configured here.

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    routing::get,
};
use http::HeaderMap;
use serde::Serialize;

use super::{Door, problem::Problem};
use crate::domain::{
    card::ModelCard,
    catalog::{Catalog, ProviderEntry},
    names::{ModelName, ProviderId},
};

/// A model as OpenAI shows one.
#[derive(Debug, Serialize)]
struct Model {
    id: String,
    object: &'static str,
    /// OpenAI's seconds of birth, which no card knows.
    created: u64,
    owned_by: String,
    /// Last day the provider serves it; left out if none is announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    shutdown_date: Option<String>,
}

#[derive(Debug, Serialize)]
struct List {
    object: &'static str,
    data: Vec<Model>,
}

pub(super) fn router() -> Router<Door> {
    // Ids hold slashes, and only newer SDKs escape them.
    Router::new().route("/models", get(list)).route("/models/{*id}", get(retrieve))
}

async fn list(State(door): State<Door>, headers: HeaderMap) -> Result<Json<List>, Problem> {
    door.caller(&headers)?;
    let configured = door.engine.catalog().providers.iter().filter(|(_, entry)| entry.missing.is_none());
    let cards = configured.flat_map(|(provider, entry)| entry.cards.iter().map(move |card| (provider, card)));
    let mut data: Vec<Model> = cards.map(|(provider, card)| shown(provider, card)).collect();
    data.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(Json(List { object: "list", data }))
}

async fn retrieve(
    State(door): State<Door>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<Model>, Problem> {
    door.caller(&headers)?;
    // What is not even text names nothing either.
    let id = id.map(|Path(id)| id).unwrap_or_default();
    let catalog = door.engine.catalog();
    let found = catalog.named(&id, None).and_then(|name| {
        let card = usable(catalog, &name).and_then(|_| catalog.card(&name))?;
        Some(shown(&name.provider, card))
    });
    found.map(Json).ok_or_else(|| Problem::model_not_found(&id))
}

/// Refuses a model that nobody here can have, as OpenAI does. Empty stands for the default; what a known model takes is judged later, and so is a
/// provider that only lacks its key.
pub(super) fn check(catalog: &Catalog, model: &str) -> Result<(), Problem> {
    let is_known = |name: ModelName| {
        let entry = catalog.providers.get(&name.provider);
        entry.is_some_and(|entry| entry.open || catalog.card(&name).is_some())
    };
    if model.is_empty() || catalog.named(model, None).is_some_and(is_known) {
        return Ok(());
    }
    Err(Problem::model_not_found(model))
}

fn usable<'a>(catalog: &'a Catalog, name: &ModelName) -> Option<&'a ProviderEntry> {
    catalog.providers.get(&name.provider).filter(|entry| entry.missing.is_none())
}

fn shown(provider: &ProviderId, card: &ModelCard) -> Model {
    Model {
        id: format!("{provider}/{}", card.name),
        object: "model",
        created: 0,
        owned_by: provider.to_string(),
        shutdown_date: card.end_of_life.map(|day| day.to_string()),
    }
}
