//! fal's webhooks: asked for with each order, believed if signed with a key that fal publishes.

use std::{sync::Arc, time::Duration};

use http::Method;
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};
use tracing::warn;
use url::Url;

use crate::{
    domain::order::InputRole,
    provider::{
        error::ProviderError,
        http::{ANSWER_CAP, outcome::Call},
        port::Order,
        webhook::{
            Address, Delivery, Heard, HookError,
            fal::{KeySet, Letter},
        },
    },
};

use super::{
    FAL, Fal,
    endpoint::{Ways, app_of},
    map::JobData,
};

/// fal allows to keep its keys for a day.
const MOST_AGE: Duration = Duration::from_secs(24 * 3600);
/// A signature that no key fits is a reason to ask for newer ones, at most this often.
const BETWEEN_FETCHES: Duration = Duration::from_secs(60);
/// The same after an answer that was none.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The keys that fal publishes, fetched when first needed.
#[derive(Debug, Default)]
pub(super) struct Keys(Mutex<Fetched>);

#[derive(Debug, Default)]
struct Fetched {
    keys: Option<(Arc<KeySet>, Instant)>,
    /// Not to be asked for again before.
    not_before: Option<Instant>,
}

impl Fal {
    /// Where the job is to be told of. fal calls HTTPS addresses only; who speaks plain HTTP in its place may call plain HTTP.
    pub(super) fn webhook_of(&self, order: &Order) -> Option<Url> {
        let url = order.webhook.as_ref().map(Address::url)?;
        (url.scheme() == "https" || self.base.scheme() == "http").then(|| url.clone())
    }

    /// Judges a webhook by its signature, which covers the body, and the body names the job.
    pub(super) async fn judge(&self, delivery: &Delivery) -> Result<Heard, HookError> {
        let letter = Letter::read(&delivery.headers, &delivery.body, delivery.received_at)?;
        let keys = self.hook_keys(None).await?;
        if !letter.is_signed_by(&keys) {
            let newer = self.hook_keys(Some(&keys)).await?;
            if Arc::ptr_eq(&newer, &keys) || !letter.is_signed_by(&newer) {
                return Err(HookError::Forged);
            }
        }
        #[derive(Deserialize)]
        struct Told {
            #[serde(default)]
            request_id: Value,
        }
        // After a repetition on fal's side other ids are those of the last try; the body's stays that of the order.
        let told: Option<Told> = serde_json::from_slice(&delivery.body).ok();
        let named = told.as_ref().and_then(|told| told.request_id.as_str()).filter(|id| !id.is_empty());
        let job = named.unwrap_or(letter.request_id).to_owned();
        Ok(Heard { id: job.clone(), ticket: Some(self.ticket(job, &self.data_of(delivery))) })
    }

    /// All ways of one model have the same app.
    fn data_of(&self, delivery: &Delivery) -> JobData {
        let ways = self.card(&delivery.model).and_then(|card| Ways::of(card).ok());
        let endpoint = ways.and_then(|ways| ways.main_endpoint().map(str::to_owned));
        JobData {
            kind: Some(delivery.kind),
            model: delivery.model.clone(),
            app: app_of(endpoint.as_deref().unwrap_or(&delivery.model)),
            inputs: Vec::<InputRole>::new(),
        }
    }

    /// The keys; if there may be others than `unfit`, those are asked for. One caller asks, the others wait for the answer.
    async fn hook_keys(&self, unfit: Option<&Arc<KeySet>>) -> Result<Arc<KeySet>, HookError> {
        let mut fetched = self.hook_keys.0.lock().await;
        let is_fresh = |at: Instant| at.elapsed() < MOST_AGE;
        if let Some((keys, at)) = &fetched.keys
            && is_fresh(*at)
            && unfit.is_none_or(|unfit| !Arc::ptr_eq(keys, unfit))
        {
            return Ok(Arc::clone(keys));
        }
        if fetched.not_before.is_none_or(|at| at <= Instant::now()) {
            let pause = match self.fetch_keys().await {
                Ok(keys) => {
                    fetched.keys = Some((Arc::new(keys), Instant::now()));
                    BETWEEN_FETCHES
                }
                Err(error) => {
                    warn!(provider.id = FAL, kind = ?error.kind, "the keys of webhooks cannot be fetched");
                    AFTER_FAILURE
                }
            };
            fetched.not_before = Some(Instant::now() + pause);
        }
        let keys = fetched.keys.as_ref().filter(|(_, at)| is_fresh(*at));
        keys.map(|(keys, _)| Arc::clone(keys)).ok_or(HookError::KeyUnavailable)
    }

    /// They are public, so the key stays here.
    async fn fetch_keys(&self) -> Result<KeySet, ProviderError> {
        let mut url = self.rest.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend([".well-known", "jwks.json"]);
        }
        let answer = self.http.exchange(Call::Key, self.http.client().request(Method::GET, url), ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Key, &answer, None));
        }
        KeySet::of(&answer.body).ok_or_else(|| self.http.broken(Call::Key, "answered with keys of another form"))
    }
}
