//! `GET /v1/models` and `/v1/models/{id}`: the models of the providers that are configured here, those that talk among them.

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    routing::get,
};
use http::HeaderMap;
use jiff::civil::Date;
use serde::Serialize;

use super::{Door, problem::Problem};
use crate::domain::{
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
    let mut data: Vec<Model> = configured.flat_map(|(provider, entry)| models(provider, entry)).collect();
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
    let found = shown(door.engine.catalog(), &id);
    found.map(Json).ok_or_else(|| Problem::model_not_found(&id))
}

/// Refuses a model that nobody here can have, as OpenAI does. Empty stands for the default; what a known model takes is judged later, and so is a
/// provider that only lacks its key.
pub(super) fn check(catalog: &Catalog, model: &str) -> Result<(), Problem> {
    let is_known = |name: ModelName| {
        let entry = catalog.providers.get(&name.provider);
        entry.is_some_and(|entry| entry.open || catalog.card(&name).is_some() || catalog.chat_card(&name).is_some())
    };
    // One that talks is known, and refused with those that do what is asked.
    if model.is_empty() || names(catalog, model).any(is_known) {
        return Ok(());
    }
    Err(Problem::model_not_found(model))
}

/// The models that `text` may stand for.
fn names(catalog: &Catalog, text: &str) -> impl Iterator<Item = ModelName> {
    catalog.named(text, None).into_iter().chain(catalog.named_chat(text))
}

/// The model of a configured provider that has this name.
fn shown(catalog: &Catalog, text: &str) -> Option<Model> {
    names(catalog, text).find_map(|name| {
        let entry = catalog.providers.get(&name.provider).filter(|entry| entry.missing.is_none())?;
        let made = catalog.card(&name).map(|card| (&card.name, card.end_of_life));
        let (name_here, end_of_life) =
            made.or_else(|| entry.chat_card(&name.name).map(|card| (&card.name, card.end_of_life)))?;
        Some(Model::of(&name.provider, name_here, end_of_life))
    })
}

fn models(provider: &ProviderId, entry: &ProviderEntry) -> impl Iterator<Item = Model> {
    let makers = entry.cards.iter().map(|card| Model::of(provider, &card.name, card.end_of_life));
    let talkers = entry.chat_cards.iter().map(|card| Model::of(provider, &card.name, card.end_of_life));
    makers.chain(talkers)
}

impl Model {
    fn of(provider: &ProviderId, name: &str, end_of_life: Option<Date>) -> Self {
        Self {
            id: format!("{provider}/{name}"),
            object: "model",
            created: 0,
            owned_by: provider.to_string(),
            shutdown_date: end_of_life.map(|day| day.to_string()),
        }
    }
}
