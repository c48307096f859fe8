//! Replicate's webhooks: asked for with each order, believed if signed with the account's secret.

use std::{sync::Arc, time::Duration};

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::{sync::Mutex, time::Instant};
use tracing::warn;

use crate::provider::{
    error::{ProviderError, SetupError},
    http::{ANSWER_CAP, outcome::Call},
    id_of,
    port::Order,
    webhook::{
        self, Delivery, Heard, HookError,
        standard::{Letter, SigningKey},
    },
};

use super::{REPLICATE, Replicate, wire::Prediction};

/// When it is to call: at the start, which brings a lost ticket while the job can still be stopped, and at the end.
const EVENTS: [&str; 2] = ["start", "completed"];
/// The secret may have been changed at Replicate; a signature that does not fit is a reason to ask, at most this often.
const BETWEEN_FETCHES: Duration = Duration::from_secs(60);
/// The same after an answer that was none.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The account's secret, fetched when first needed unless it was given.
#[derive(Debug)]
pub(super) enum Secret {
    Given(Arc<SigningKey>),
    Fetched(Mutex<Fetched>),
}

#[derive(Debug, Default)]
pub(super) struct Fetched {
    key: Option<Arc<SigningKey>>,
    /// Not to be asked for again before.
    not_before: Option<Instant>,
}

impl Secret {
    pub(super) fn of(given: Option<&SecretString>) -> Result<Self, SetupError> {
        let Some(given) = given else { return Ok(Self::Fetched(Mutex::default())) };
        match SigningKey::of(given.expose_secret()) {
            Some(key) => Ok(Self::Given(Arc::new(key))),
            None => Err(SetupError::new(id_of(REPLICATE)?, "its webhook secret must be whsec_ and base64")),
        }
    }
}

impl Replicate {
    /// Adds to the `body` of a create that the job is to be told of. Replicate calls HTTPS addresses only; who speaks plain HTTP in its
    /// place may call plain HTTP.
    pub(super) fn ask_to_be_told(&self, order: &Order, body: &mut Map<String, Value>) {
        let address = order.webhook.as_ref().map(webhook::Address::url);
        if let Some(url) = address.filter(|url| url.scheme() == "https" || self.base.scheme() == "http") {
            body.insert("webhook".to_owned(), json!(url));
            body.insert("webhook_events_filter".to_owned(), json!(EVENTS));
        }
    }

    /// Judges a webhook by its signature, which covers the body, and the body names the address that it was sent to.
    pub(super) async fn judge(&self, delivery: &Delivery) -> Result<Heard, HookError> {
        let letter = Letter::read(&delivery.headers, &delivery.body, delivery.received_at)?;
        let key = self.signing_key(None).await?;
        if !letter.is_signed_by(&key) {
            let newer = self.signing_key(Some(&key)).await?;
            if Arc::ptr_eq(&newer, &key) || !letter.is_signed_by(&newer) {
                return Err(HookError::Forged);
            }
        }
        // Signed for something that we cannot read: still a reason to look at the job.
        let prediction: Prediction = serde_json::from_slice(&delivery.body).unwrap_or_default();
        if prediction.webhook.is_some_and(|echoed| !webhook::is_of(&echoed, delivery.key)) {
            // Another job's, sent here by somebody who recorded it.
            return Err(HookError::Forged);
        }
        let ticket = prediction.id.map(|job| self.ticket(job, delivery.kind));
        Ok(Heard { id: letter.id.to_owned(), ticket })
    }

    /// The secret; if there may be another one than `unfit`, that is asked for. One caller asks, the others wait for the answer.
    async fn signing_key(&self, unfit: Option<&Arc<SigningKey>>) -> Result<Arc<SigningKey>, HookError> {
        let fetched = match &self.webhook_secret {
            Secret::Given(key) => return Ok(Arc::clone(key)),
            Secret::Fetched(fetched) => fetched,
        };
        let mut fetched = fetched.lock().await;
        let is_fit = |key: &&Arc<SigningKey>| unfit.is_none_or(|unfit| !Arc::ptr_eq(key, unfit));
        if let Some(key) = fetched.key.as_ref().filter(is_fit) {
            return Ok(Arc::clone(key));
        }
        if fetched.not_before.is_none_or(|at| at <= Instant::now()) {
            let (key, pause) = match self.fetch_secret().await {
                Ok(key) => (Some(Arc::new(key)), BETWEEN_FETCHES),
                Err(error) => {
                    warn!(provider.id = REPLICATE, kind = ?error.kind, "the secret of webhooks cannot be fetched");
                    (None, AFTER_FAILURE)
                }
            };
            fetched.key = key.or_else(|| fetched.key.take());
            fetched.not_before = Some(Instant::now() + pause);
        }
        fetched.key.clone().ok_or(HookError::KeyUnavailable)
    }

    async fn fetch_secret(&self) -> Result<SigningKey, ProviderError> {
        #[derive(Deserialize)]
        struct Answer {
            key: String,
        }
        let request = self.request(Method::GET, &["webhooks", "default", "secret"]);
        let answer = self.http.exchange(Call::Key, request, ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Key, &answer, None));
        }
        let Answer { key } = self.http.json(Call::Key, &answer)?;
        let broken = || self.http.broken(Call::Key, "answered with a secret of another form");
        SigningKey::of(&key).ok_or_else(broken)
    }
}
