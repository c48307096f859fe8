//! Volcengine Ark (and `ModelArk` of `BytePlus`): Seedream pictures, answered at once, and Seedance films, as tasks; chat with Doubao.
//!
//! Invariant: only a task that waits is ever deleted. To delete one that is over would destroy its result.

mod body;
mod chat;
mod find;
mod map;
mod refusal;
#[cfg(test)]
mod tests;
mod wire;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use http::Method;
use jiff::Timestamp;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use crate::domain::{
    artifact::Kind,
    card::ModelCard,
    chat::ChatCard,
    failure::Charged,
    names::{ProviderId, SubmitKey},
};

use super::{
    chat::ChatProvider,
    error::{Effect, ErrorKind, ProviderError, SetupError},
    http::{ANSWER_CAP, Answer, Http, INLINE_CAP, links::Links, outcome::Call},
    port::{ByteSource, CancelOutcome, Found, Order, Progress, Provider, RemoteOutput, Submitted, Ticket},
    vendor::{Build, Built, Setting, Shape, Vendor},
    webhook::{Delivery, Heard, HookError},
};

use self::{
    body::Unwritable,
    wire::{Pictures, Task},
};

/// Its id.
pub const ARK: &str = "ark";
/// The vendor, for settings and wiring.
pub const VENDOR: Vendor = Vendor {
    id: ARK,
    title: "Volcengine Ark",
    settings: &[
        Setting::new(
            "api_key",
            Shape::Secrets,
            "KEY",
            "Key of the {} account; better in the environment, where no process list shows it",
        )
        .env(&["ARK_API_KEY", "VOLC_ARK_API_KEY"]),
        Setting::BASE_URL.or("https://ark.cn-beijing.volces.com/api/v3"),
        // A series of large pictures is one call.
        Setting::TIMEOUT.or("5m"),
    ],
    how_to_configure: "set ARK_API_KEY to an API key from the console of Volcengine Ark, and for BytePlus ModelArk ark.base_url too",
    cards: include_str!("models.toml"),
    usual: &["doubao-seedance-1-0-pro-250528", "doubao-seedream-4-0-250828"],
    is_template: false,
    calls_https_only: false,
    build,
};

/// Where the same models have other names.
const INTERNATIONAL: &str = "bytepluses.com";

/// The adapter.
pub struct Ark {
    id: ProviderId,
    account: String,
    base: Url,
    key: SecretString,
    http: Http,
    links: Links,
    cards: Vec<Arc<ModelCard>>,
    chat_cards: Vec<Arc<ChatCard>>,
}

fn build(build: Build) -> Built {
    let (Some(key), Some(base)) = (build.values.secret("api_key").cloned(), build.values.url("base_url").cloned())
    else {
        return Ok(None);
    };
    Ok(Some(Arc::new(Ark::new(build, key, base)?)))
}

/// What a task names its submit by. Not the key itself, which is what makes the address of webhooks unguessable.
fn mark_of(key: SubmitKey) -> String {
    let digest = Sha256::digest(format!("safety_identifier {}", key.id()));
    hex::encode(&digest[..16])
}

impl Ark {
    fn new(build: Build, key: SecretString, base: Url) -> Result<Self, SetupError> {
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(SetupError::new(&build.id, "its base URL must start with https:// or http://"));
        }
        Ok(Self {
            account: build.account,
            http: Http::new(&build.id, build.timeout)?,
            // Outputs lie in an object store under signed addresses.
            links: Links::new(&build.id, &base, &key, &[], build.download_timeout)?,
            cards: build.cards,
            chat_cards: build.chat_cards,
            base,
            key,
            id: build.id,
        })
    }

    /// `method` on the path of `segments` below the base, with the key.
    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        self.http.client().request(method, url).bearer_auth(self.key.expose_secret())
    }

    fn ticket(&self, job: String) -> Ticket {
        Ticket { account: self.account.clone(), job, data: Value::Null }
    }

    /// The model's name where the API is: a card may stand for a variant of a model, and `BytePlus` names the same models otherwise.
    fn model_of<'a>(&self, order: &'a Order) -> &'a str {
        let named = |key: &str| order.card.as_ref()?.adapter.get(key)?.as_str();
        let is_international = self.base.host_str().is_some_and(|host| host.ends_with(INTERNATIONAL));
        let international = if is_international { named("international") } else { None };
        international.or_else(|| named("model")).unwrap_or(&order.model)
    }

    fn refused(&self, call: Call, answer: &Answer, order: Option<&Order>) -> ProviderError {
        let prompt = order.map(|order| order.prompt.as_str()).unwrap_or_default();
        let address = order.and_then(|order| order.webhook.as_ref()).map(|address| address.url().as_str());
        let hidden = [prompt, self.key.expose_secret(), address.unwrap_or_default()];
        refusal::of_answer(&self.id, call, answer, order, &hidden)
    }

    fn unwritable(&self, unwritable: Unwritable) -> ProviderError {
        let Unwritable { field, why } = unwritable;
        ProviderError::new(&self.id, ErrorKind::InvalidOrder, Effect::None, why).because_of(Some(field.to_owned()))
    }

    async fn make_pictures(&self, order: &Order) -> Result<Submitted, ProviderError> {
        let body = body::of_pictures(order, self.model_of(order)).map_err(|why| self.unwritable(why))?;
        let request = self.request(Method::POST, &["images", "generations"]).json(&body);
        let answer = self.http.exchange(Call::Submit, request, INLINE_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Submit, &answer, Some(order)));
        }
        let pictures: Pictures = self.http.json(Call::Submit, &answer)?;
        let (outputs, usage) = map::pictures(&self.id, pictures, order, &[&order.prompt, self.key.expose_secret()])?;
        Ok(Submitted::Done(outputs, usage))
    }

    async fn make_film(&self, order: &Order, key: SubmitKey) -> Result<Submitted, ProviderError> {
        let mut body = body::of_film(order, self.model_of(order), &mark_of(key)).map_err(|why| self.unwritable(why))?;
        if let Some(address) = &order.webhook {
            body.insert("callback_url".to_owned(), Value::from(address.url().as_str()));
        }
        let request = self.request(Method::POST, &["contents", "generations", "tasks"]).json(&body);
        let answer = self.http.exchange(Call::Submit, request, ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Submit, &answer, Some(order)));
        }
        let task: Task = self.http.json(Call::Submit, &answer)?;
        match task.id {
            Some(job) => Ok(Submitted::Pending(self.ticket(job))),
            None => {
                Err(ProviderError::new(&self.id, ErrorKind::NoJobId, Effect::Maybe, "took the order and named no job"))
            }
        }
    }

    async fn task(&self, ticket: &Ticket) -> Result<Task, ProviderError> {
        let request = self.request(Method::GET, &["contents", "generations", "tasks", &ticket.job]);
        let answer = self.http.exchange(Call::Job, request, ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Job, &answer, None));
        }
        let task: Task = self.http.json(Call::Job, &answer)?;
        if task.status.is_none() || task.id.as_ref().is_some_and(|id| *id != ticket.job) {
            return Err(self.http.broken(Call::Job, "answered with another job, or without a status"));
        }
        Ok(task)
    }
}

#[async_trait]
impl Provider for Ark {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn models(&self) -> &[Arc<ModelCard>] {
        &self.cards
    }

    /// An endpoint of the account's own, `ep-…`, is a model too.
    fn serves_undescribed(&self) -> bool {
        true
    }

    fn chat(&self) -> Option<&dyn ChatProvider> {
        Some(self)
    }

    async fn submit(&self, order: &Order, key: &SubmitKey) -> Result<Submitted, ProviderError> {
        match order.kind {
            Kind::Image => self.make_pictures(order).await,
            Kind::Video => self.make_film(order, *key).await,
            Kind::Speech | Kind::Music => {
                let why = format!("makes no {}", order.kind);
                Err(ProviderError::new(&self.id, ErrorKind::ModelNotFound, Effect::None, why))
            }
        }
    }

    async fn find(&self, order: &Order, key: &SubmitKey, sent_at: Timestamp) -> Result<Found, ProviderError> {
        self.tasks_like(order, *key, sent_at).await
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        map::progress(&self.id, &self.task(ticket).await?)
    }

    /// Looks first: to delete a task that is over would delete its result, and one at work cannot be stopped.
    async fn cancel(&self, ticket: &Ticket) -> Result<CancelOutcome, ProviderError> {
        match self.task(ticket).await?.status.as_deref() {
            Some("queued") => {}
            Some("succeeded" | "failed" | "expired" | "cancelled" | "canceled") => return Ok(CancelOutcome::TooLate),
            Some(_) | None => return Ok(CancelOutcome::Unsupported),
        }
        let request = self.request(Method::DELETE, &["contents", "generations", "tasks", &ticket.job]);
        let answer = self.http.exchange(Call::Job, request, ANSWER_CAP).await?;
        match answer.status.as_u16() {
            200..300 => Ok(CancelOutcome::Stopped(Charged::No)),
            // It began meanwhile.
            400 | 403 | 409 => Ok(CancelOutcome::Unsupported),
            _ => Err(self.refused(Call::Job, &answer, None)),
        }
    }

    async fn open(&self, output: &RemoteOutput, _ticket: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
        match output {
            RemoteOutput::Link(url) => self.links.open(url).await,
            RemoteOutput::Inline(bytes) => Ok(ByteSource::of(bytes.clone())),
        }
    }

    /// Ark signs nothing, so that only the address, which nobody can guess, speaks for a call. It is a reason to ask and brings no ticket.
    async fn hear(&self, delivery: &Delivery) -> Result<Heard, HookError> {
        let task: Task = serde_json::from_slice(&delivery.body).map_err(|_| HookError::Forged)?;
        if task.id.is_none() || task.status.is_none() {
            return Err(HookError::Forged);
        }
        Ok(Heard { id: hex::encode(Sha256::digest(&delivery.body)), ticket: None })
    }
}

impl fmt::Debug for Ark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ark")
            .field("base", &self.base.host_str())
            .field("account", &self.account)
            .field("cards", &self.cards.len())
            .finish_non_exhaustive()
    }
}
