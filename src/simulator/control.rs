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

use super::{House, desk::Origin, fault::Rule, settings::Change};

/// All control paths.
pub(super) fn router() -> Router<Arc<House>> {
    Router::new()
        .route("/_control/counts", get(counts))
        .route("/_control/jobs", get(jobs))
        .route("/_control/predictions", get(jobs))
        .route("/_control/chats", get(chats))
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

/// `{"replicate": {"creates_received": 1, …, "predictions": {"<id>": {"gets": 3, …}}}, …}`; `?predictions=false` leaves
/// the latter out. At another vendor too `predictions` are its jobs.
async fn counts(State(house): State<Arc<House>>, Query(query): Query<CountsQuery>) -> Json<Value> {
    let page = house.vendors.iter().map(|vendor| {
        let desk = vendor.desk();
        let mut page = desk.counts();
        if query.predictions {
            page.insert("predictions".to_owned(), Value::Object(desk.tallies()));
        }
        (desk.name().to_owned(), Value::Object(page))
    });
    Json(Value::Object(page.collect()))
}

/// `{"replicate": [job, …], …}`, oldest first. A job has `id`, `status`, `headers`, `counts`, and what the caller asked:
/// at Replicate as the API's object with the full `input`, elsewhere as `model`, `prompt`, `path` and `body`.
async fn jobs(State(house): State<Arc<House>>, origin: Origin) -> Json<Value> {
    let page = house.vendors.iter().map(|vendor| (vendor.desk().name().to_owned(), json!(vendor.jobs(&origin.0))));
    Json(Value::Object(page.collect()))
}

/// `{"openai": [{"method", "path", "headers", "body"}, …], …}`: the last conversations as they were asked, oldest first.
async fn chats(State(house): State<Arc<House>>) -> Json<Value> {
    let page = house.vendors.iter().map(|vendor| (vendor.desk().name().to_owned(), json!(vendor.desk().chats())));
    Json(Value::Object(page.collect()))
}

async fn faults(State(house): State<Arc<House>>) -> Json<Value> {
    Json(json!({ "faults": house.world.rules().sources() }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewFaults {
    faults: Vec<Rule>,
}

/// `{"faults": ["create:drop", {"rule": "get:first=1", "answer": {"status": 422, "body": {}}}, …]}` replaces all rules and begins their counts anew.
async fn set_faults(State(house): State<Arc<House>>, body: Bytes) -> Response {
    match read::<NewFaults>(&body) {
        Ok(new) => {
            house.world.set_rules(new.faults);
            faults(State(house)).await.into_response()
        }
        Err(refusal) => *refusal,
    }
}

async fn settings(State(house): State<Arc<House>>) -> Json<Value> {
    Json(json!(*house.world.settings()))
}

/// `{"latency": "0s", "hold": true, …}` changes the named settings for jobs made from now on; answers with all of them.
async fn set_settings(State(house): State<Arc<House>>, body: Bytes) -> Response {
    match read::<Change>(&body) {
        Ok(change) => {
            house.world.change_settings(change);
            settings(State(house)).await.into_response()
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

/// `{}` lets every held job go on, `{"id": …}` one, `{"count": n}` the oldest n of the first vendor that holds any, then
/// those of the next. Answers `{"released": n}`.
async fn release(State(house): State<Arc<House>>, body: Bytes) -> Response {
    let release = if body.is_empty() { Ok(Release::default()) } else { read::<Release>(&body) };
    match release {
        Ok(Release { id, count }) => {
            let n_released = house.release(id.as_deref(), count.unwrap_or(usize::MAX));
            Json(json!({ "released": n_released })).into_response()
        }
        Err(refusal) => *refusal,
    }
}

/// Forgets jobs, files and counts, and goes back to the settings and faults of the start.
async fn reset(State(house): State<Arc<House>>) -> Json<Value> {
    house.reset();
    Json(json!({}))
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Box<Response>> {
    serde_json::from_slice(body).map_err(|error| {
        Box::new((StatusCode::BAD_REQUEST, Json(json!({ "error": error.to_string() }))).into_response())
    })
}
