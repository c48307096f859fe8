//! `/_control`: what a test asks and tells the simulator beside the vendor's contract. JSON, no credential.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{World, fault::Rule, replicate::Origin, settings::Change};

/// All control paths.
pub(super) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/_control/counts", get(counts))
        .route("/_control/predictions", get(predictions))
        .route("/_control/faults", get(faults).post(set_faults))
        .route("/_control/settings", get(settings).post(set_settings))
        .route("/_control/release", post(release))
        .route("/_control/reset", post(reset))
}

#[derive(Debug, Deserialize)]
struct CountsQuery {
    /// With each prediction's own counts.
    #[serde(default = "yes")]
    predictions: bool,
}

fn yes() -> bool {
    true
}

/// `{"replicate": {"creates_received": 1, …, "predictions": {"<id>": {"gets": 3, …}}}}`; `?predictions=false` leaves
/// the latter out.
async fn counts(State(world): State<Arc<World>>, Query(query): Query<CountsQuery>) -> Json<Value> {
    let mut page = world.replicate.counts.page();
    if query.predictions {
        page.insert("predictions".to_owned(), Value::Object(world.replicate.tallies()));
    }
    Json(json!({ "replicate": page }))
}

/// `{"replicate": [prediction, …]}`, oldest first: the API's object with the full `input`, `headers` and `counts`.
async fn predictions(State(world): State<Arc<World>>, origin: Origin) -> Json<Value> {
    Json(json!({ "replicate": world.replicate.pages(&origin.0) }))
}

async fn faults(State(world): State<Arc<World>>) -> Json<Value> {
    Json(json!({ "faults": world.rules().texts() }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewFaults {
    faults: Vec<Rule>,
}

/// `{"faults": ["create:drop", …]}` replaces all rules and begins their counts anew.
async fn set_faults(State(world): State<Arc<World>>, body: Bytes) -> Response {
    match read::<NewFaults>(&body) {
        Ok(new) => {
            world.set_rules(new.faults);
            faults(State(world)).await.into_response()
        }
        Err(refusal) => *refusal,
    }
}

async fn settings(State(world): State<Arc<World>>) -> Json<Value> {
    Json(json!(*world.settings()))
}

/// `{"latency": "0s", "hold": true, …}` changes the named settings for jobs made from now on; answers with all of them.
async fn set_settings(State(world): State<Arc<World>>, body: Bytes) -> Response {
    match read::<Change>(&body) {
        Ok(change) => {
            world.change_settings(change);
            settings(State(world)).await.into_response()
        }
        Err(refusal) => *refusal,
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    /// Only this one.
    id: Option<String>,
    /// Only so many, oldest first.
    count: Option<usize>,
}

/// `{}` lets every held prediction go on, `{"id": …}` one, `{"count": n}` the oldest n. Answers `{"released": n}`.
async fn release(State(world): State<Arc<World>>, body: Bytes) -> Response {
    let release = if body.is_empty() { Ok(Release::default()) } else { read::<Release>(&body) };
    match release {
        Ok(Release { id, count }) => {
            let n_released = world.replicate.release(id.as_deref(), count.unwrap_or(usize::MAX));
            Json(json!({ "released": n_released })).into_response()
        }
        Err(refusal) => *refusal,
    }
}

/// Forgets predictions, files and counts, and goes back to the settings and faults of the start.
async fn reset(State(world): State<Arc<World>>) -> Json<Value> {
    world.reset();
    Json(json!({}))
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Box<Response>> {
    serde_json::from_slice(body).map_err(|error| {
        Box::new((StatusCode::BAD_REQUEST, Json(json!({ "error": error.to_string() }))).into_response())
    })
}
