//! Replicate: predictions, models, files, callbacks and delivery, below `/replicate`.
//!
//! Differences from the vendor, all of them wanted by tests: callbacks may go to `http` addresses, delivery needs no
//! token, rate limits exist only as faults, uploaded bytes are hashed and forgotten, and no model streams.

mod account;
mod create;
mod field;
mod files;
mod models;
mod order;
mod prediction;
mod predictions;
mod problem;
mod webhook;

use std::{io, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::header;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

pub(crate) use models::Model;

use self::prediction::{Asked, Prediction};
use super::{
    World,
    desk::{Desk, Dialect},
    settings::Scenario,
    vendor::{Ledger, Vendor},
};

/// JSON bodies may carry files as data URIs; the vendor's own client stops at 10 MB of them.
const MAX_JSON_BYTES: usize = 24 << 20;

static DIALECT: Dialect = Dialect {
    name: "replicate",
    id: "/id",
    status: "/status",
    items: "/results",
    optional: &["deployment", "metrics", "started_at", "completed_at", "webhook"],
    refuse: problem::refuse,
};

/// One simulated account.
#[derive(Debug)]
pub(crate) struct Replicate {
    desk: Arc<Desk<Asked>>,
    catalogue: models::Catalogue,
    files: files::Files,
    webhook_secret: Arc<str>,
}

/// An account whose webhook secret follows from the seed, with the scenario's models beside the known ones.
pub(super) fn open(world: &Arc<World>, scenario: &Scenario) -> io::Result<Arc<dyn Vendor>> {
    let secret = STANDARD.encode(&Sha256::digest(format!("webhook secret {}", world.seed))[..24]);
    Ok(Arc::new(Replicate {
        desk: Desk::new(world, &DIALECT),
        catalogue: models::Catalogue::new(scenario.models.clone())?,
        files: files::Files::default(),
        webhook_secret: Arc::from(format!("whsec_{secret}")),
    }))
}

impl Vendor for Replicate {
    fn router(self: Arc<Self>) -> Router {
        let delivery = self.desk.delivery();
        let api = Router::new()
            .route("/predictions", post(create::by_version).get(predictions::list))
            .route("/predictions/{id}", get(predictions::get))
            .route("/predictions/{id}/cancel", post(predictions::cancel))
            .route("/models/{owner}/{name}", get(account::model))
            .route("/models/{owner}/{name}/predictions", post(create::by_model))
            .route("/models/{owner}/{name}/versions", get(account::versions))
            .route("/models/{owner}/{name}/versions/{version}", get(account::version))
            .route("/account", get(account::account))
            .route("/hardware", get(account::hardware))
            .route("/webhooks/default/secret", get(account::webhook_secret))
            .route("/files", post(files::upload).layer(DefaultBodyLimit::disable()).get(files::list))
            .route("/files/{id}", get(files::get).delete(files::delete))
            .fallback(async || problem::not_found())
            .layer(DefaultBodyLimit::max(MAX_JSON_BYTES))
            .layer(middleware::from_fn(authenticate));
        Router::new().nest("/replicate/v1", api).with_state(self).merge(delivery)
    }

    fn desk(&self) -> &dyn Ledger {
        &*self.desk
    }

    /// The API's objects, with what a test wants to know besides.
    fn jobs(&self, origin: &str) -> Vec<Value> {
        let page = |prediction: Arc<Prediction>| {
            let mut page = prediction.page(origin);
            let headers = prediction.received.headers.iter().map(|(name, value)| (name.clone(), json!(value)));
            page["input"] = json!(prediction.data.input);
            page["headers"] = Value::Object(headers.collect::<Map<_, _>>());
            page["counts"] = prediction.tally.page();
            page
        };
        self.desk.book.all().into_iter().map(page).collect()
    }

    fn reset(&self) {
        self.desk.clear();
        self.files.clear();
    }
}

/// Any token will do, but there must be one.
async fn authenticate(request: Request, next: Next) -> Response {
    let credential = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(credential) = credential else {
        return problem::unauthenticated("You did not pass an authentication token");
    };
    match credential.split_once(' ') {
        Some(("Bearer" | "Token", token)) if !token.trim().is_empty() => next.run(request).await,
        Some(_) | None => problem::unauthenticated("You did not pass a valid authentication token"),
    }
}
