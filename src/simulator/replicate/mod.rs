//! Replicate: predictions, models, files, callbacks and delivery, below `/replicate`.
//!
//! Differences from the vendor, all of them wanted by tests: callbacks may go to `http` addresses, delivery needs no
//! token, rate limits exist only as faults, uploaded bytes are hashed and forgotten, and no model streams.

mod account;
mod book;
mod create;
mod delivery;
mod field;
mod files;
mod life;
mod models;
mod order;
mod prediction;
mod predictions;
mod problem;
mod reply;
mod webhook;

use std::{
    io,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRequestParts, Request},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{header, request::Parts};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

pub(crate) use models::Model;

use self::prediction::Prediction;
use super::{World, counts::Counts};

/// JSON bodies may carry files as data URIs; the vendor's own client stops at 10 MB of them.
const MAX_JSON_BYTES: usize = 24 << 20;

/// Predictions with callbacks that are followed at the same time; further ones are not called back.
const MAX_FOLLOWED: usize = 20_000;

/// Callbacks in flight at the same time.
const MAX_POSTING: usize = 256;

/// The receiver of a callback is to answer within this.
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(5);

/// One simulated account.
#[derive(Debug)]
pub(crate) struct Replicate {
    catalogue: models::Catalogue,
    book: book::Book,
    files: files::Files,
    pub(super) counts: Counts,
    webhook_secret: Arc<str>,
    callers: Arc<Semaphore>,
    posting: Semaphore,
    http: reqwest::Client,
    sequence: AtomicU64,
}

impl Replicate {
    /// An account whose webhook secret follows from the seed, with `more` models beside the known ones.
    pub(super) fn new(seed: u64, more: Vec<Model>) -> io::Result<Self> {
        let secret = STANDARD.encode(&Sha256::digest(format!("webhook secret {seed}"))[..24]);
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(CALLBACK_TIMEOUT)
            .build()
            .map_err(io::Error::other)?;
        Ok(Self {
            catalogue: models::Catalogue::new(more)?,
            book: book::Book::default(),
            files: files::Files::default(),
            counts: Counts::default(),
            webhook_secret: Arc::from(format!("whsec_{secret}")),
            callers: Arc::new(Semaphore::new(MAX_FOLLOWED)),
            posting: Semaphore::new(MAX_POSTING),
            http,
            sequence: AtomicU64::new(0),
        })
    }

    /// Forgets every prediction, file and count.
    pub(super) fn reset(&self) {
        self.book.clear();
        self.files.clear();
        self.counts.reset();
    }

    /// Lets held predictions end: the one named, or the `limit` oldest. Says how many.
    pub(super) fn release(&self, id: Option<&str>, limit: usize) -> usize {
        let released: Vec<Arc<Prediction>> = match id {
            Some(id) => self.book.take_held_one(id).into_iter().collect(),
            None => self.book.take_held(limit),
        };
        released.iter().for_each(|prediction| prediction.release());
        released.len()
    }

    /// Calls about each prediction, by id.
    pub(super) fn tallies(&self) -> Map<String, Value> {
        self.book.all().into_iter().map(|prediction| (prediction.id.clone(), prediction.tally.page())).collect()
    }

    /// Every prediction as the API shows it, oldest first, with what a test wants to know besides.
    pub(super) fn pages(&self, origin: &str) -> Vec<Value> {
        let page = |prediction: Arc<Prediction>| {
            let mut page = prediction.page(origin);
            let headers: Map<String, Value> =
                prediction.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            page["input"] = json!(prediction.input);
            page["headers"] = Value::Object(headers);
            page["counts"] = prediction.tally.page();
            page
        };
        self.book.all().into_iter().map(page).collect()
    }
}

/// All paths of this vendor.
pub(super) fn router() -> Router<Arc<World>> {
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
    Router::new().nest("/replicate/v1", api).route("/replicate/delivery/{id}/{epoch}/{file}", get(delivery::download))
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

/// Scheme and authority as the caller knows us, so that links lead back whatever lies between.
#[derive(Debug)]
pub(crate) struct Origin(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let header = |name| parts.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let scheme = header("x-forwarded-proto").filter(|scheme| *scheme == "https").unwrap_or("http");
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        let host = header("host").or(authority).unwrap_or("localhost");
        Ok(Self(format!("{scheme}://{host}")))
    }
}
