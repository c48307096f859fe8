//! fal: every model behind one queue, its inputs mapped by cards.
//!
//! Invariant: addresses are built from the configured ones, the model's app and the job's id; what an answer calls its own address is read
//! for the app only, and never asked.

mod endpoint;
mod fault;
mod find;
mod map;
mod output;
#[cfg(test)]
mod tests;
mod upload;
mod webhook;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use http::Method;
use jiff::Timestamp;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::domain::{
    card::ModelCard,
    names::{ProviderId, SubmitKey},
};

use super::{
    error::{Effect, ErrorKind, ProviderError, SetupError},
    http::{
        Answer, Http, INLINE_CAP,
        links::Links,
        outcome::{self, Call, Said},
        text::shown,
    },
    keys::account_of,
    port::{ByteSource, CancelOutcome, Found, Order, Progress, Provider, RemoteOutput, Submitted, Ticket},
    vendor::{Build, Built, Setting, Shape, Vendor},
    webhook::{Delivery, Heard, HookError},
};

use self::{
    endpoint::{Ways, app_of},
    fault::Fault,
    map::JobData,
    webhook::Keys,
    wire::{Accepted, StatusPage},
};

/// Its id.
pub const FAL: &str = "fal";
/// The vendor, for settings and wiring.
pub const VENDOR: Vendor = Vendor {
    id: FAL,
    title: "fal",
    settings: &[
        Setting::new(
            "api_key",
            Shape::Secrets,
            "KEY",
            "Key of the fal account, `id:secret`; better in the environment, where no process list shows it",
        )
        .env(&["FAL_KEY", "FAL_CLIENT_API_KEY"]),
        Setting { help: "Where {}'s queue is", ..Setting::BASE_URL.or(QUEUE) },
        Setting::new(
            "rest_url",
            Shape::Url,
            "URL",
            "Where {} takes files and publishes the keys of its webhooks: https://rest.fal.ai, or `base_url` if that is another",
        ),
        Setting::new(
            "api_url",
            Shape::Url,
            "URL",
            "Where {} lists past jobs: https://api.fal.ai/v1, or `base_url` if that is another",
        ),
    ],
    how_to_configure: "set FAL_KEY to a key from the dashboard of fal",
    cards: include_str!("models.toml"),
    usual: &[
        "fal-ai/kling-video/v1.6/pro",
        "fal-ai/flux/schnell",
        "fal-ai/elevenlabs/tts/multilingual-v2",
        "fal-ai/stable-audio-25/text-to-audio",
    ],
    is_template: false,
    calls_https_only: true,
    build,
};

const QUEUE: &str = "https://queue.fal.run";
const REST: &str = "https://rest.fal.ai";
const API: &str = "https://api.fal.ai/v1";
/// Labels that fal keeps with a job; ours is the mark of the submit.
const TAGS: &str = "x-fal-tags";

/// What the adapter is built from.
#[derive(Debug)]
pub struct FalSettings {
    /// The account's key.
    pub api_key: SecretString,
    /// Where the queue is; its host may be private or speak plain HTTP.
    pub base_url: Url,
    /// Where files and the keys of webhooks are; follows `base_url` when absent.
    pub rest_url: Option<Url>,
    /// Where past jobs are listed; follows `base_url` when absent.
    pub api_url: Option<Url>,
    /// Longest time of one call.
    pub timeout: Duration,
    /// Longest silence of a download, and longest time of an upload.
    pub download_timeout: Duration,
    /// Its id.
    pub id: ProviderId,
    /// The cards it serves.
    pub cards: Vec<Arc<ModelCard>>,
}

/// The adapter.
pub struct Fal {
    id: ProviderId,
    account: String,
    base: Url,
    rest: Url,
    api: Url,
    key: SecretString,
    http: Http,
    links: Links,
    hook_keys: Keys,
    cards: Vec<Arc<ModelCard>>,
}

fn build(build: Build) -> Built {
    let (Some(api_key), Some(base_url)) = (build.values.secret("api_key"), build.values.url("base_url")) else {
        return Ok(None);
    };
    let fal = Fal::new(FalSettings {
        api_key: api_key.clone(),
        base_url: base_url.clone(),
        rest_url: build.values.url("rest_url").cloned(),
        api_url: build.values.url("api_url").cloned(),
        timeout: build.timeout,
        download_timeout: build.download_timeout,
        id: build.id,
        cards: build.cards,
    })?;
    Ok(Some(Arc::new(fal)))
}

impl Fal {
    /// Of its settings. Calls nobody.
    ///
    /// # Errors
    /// An address is none, or the `adapter` table of a card is wrong; says which.
    pub fn new(settings: FalSettings) -> Result<Self, SetupError> {
        let FalSettings { api_key, base_url, rest_url, api_url, timeout, download_timeout, id, cards } = settings;
        if base_url.cannot_be_a_base() || !matches!(base_url.scheme(), "http" | "https") {
            return Err(SetupError::new(id, "its base URL must start with https:// or http://"));
        }
        for card in &cards {
            Ways::of(card).map_err(|why| SetupError::new(&id, format!("the card of {}: adapter: {why}", card.name)))?;
        }
        // Whoever stands in for the queue, such as a simulator, stands in for its sisters too: the key goes nowhere else.
        let is_real = base_url.as_str().trim_end_matches('/') == QUEUE;
        let sister = |given: Option<Url>, real: &str| match given {
            Some(url) => Ok(url),
            None if is_real => Url::parse(real).map_err(|error| SetupError::new(&id, error.to_string())),
            None => Ok(base_url.clone()),
        };
        Ok(Self {
            account: account_of(&api_key),
            rest: sister(rest_url, REST)?,
            api: sister(api_url, API)?,
            http: Http::new(&id, timeout)?,
            links: Links::open_to_all(&id, &base_url, download_timeout)?,
            hook_keys: Keys::default(),
            cards,
            base: base_url,
            key: api_key,
            id,
        })
    }

    /// `method` on the path of `segments` below `root`, with the key.
    fn request<'a>(
        &self,
        method: Method,
        root: &Url,
        segments: impl IntoIterator<Item = &'a str>,
        query: &[(&str, &str)],
    ) -> RequestBuilder {
        let mut url = root.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.client().request(method, url).header("authorization", format!("Key {}", self.key.expose_secret()))
    }

    /// `method` on a job, whose address has owner and app of its model and nothing more of it.
    fn on_job(&self, method: Method, ticket: &Ticket, last: Option<&str>) -> Result<RequestBuilder, ProviderError> {
        let data = JobData::of(ticket);
        if data.app.is_empty() {
            let why = "can be asked of a job only with its app, which this ticket does not name";
            return Err(self.error(ErrorKind::TicketUnknown, why));
        }
        let segments = data.app.split('/').chain(["requests", &ticket.job]).chain(last);
        let query: &[_] = if last == Some("status") { &[("logs", "1")] } else { &[] };
        Ok(self.request(method, &self.base, segments, query))
    }

    fn card(&self, model: &str) -> Option<&Arc<ModelCard>> {
        self.cards.iter().find(|card| card.name == model)
    }

    fn ticket(&self, job: String, data: &JobData) -> Ticket {
        Ticket { account: self.account.clone(), job, data: serde_json::to_value(data).unwrap_or_default() }
    }

    /// The error of a bad answer, in our words and with our field.
    fn refused(&self, call: Call, answer: &Answer, order: Option<&Order>) -> ProviderError {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let fault = Fault::of(answer, &body);
        let prompt = order.map(|order| order.prompt.as_str()).unwrap_or_default();
        let address = order.and_then(|order| order.webhook.as_ref()).map(|address| address.url().as_str());
        let hidden = [prompt, self.key.expose_secret(), address.unwrap_or_default()];
        let mut said = Said::of(answer, &body, &hidden);
        if let Some(text) = fault.text() {
            said.detail = shown(&text, &hidden);
        }
        said.field = order.and_then(|order| fault.field(order.card.as_ref(), &map::roles(order)));
        let kind = fault.kind(call);
        let mut error = outcome::refused(&self.id, call, answer.status, said);
        if let Some(kind) = kind {
            (error.kind, error.effect) = (kind, Effect::None);
        }
        error
    }

    fn error(&self, kind: ErrorKind, summary: impl Into<String>) -> ProviderError {
        ProviderError::new(&self.id, kind, Effect::None, summary)
    }
}

#[async_trait]
impl Provider for Fal {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn models(&self) -> &[Arc<ModelCard>] {
        &self.cards
    }

    fn serves_undescribed(&self) -> bool {
        true
    }

    async fn submit(&self, order: &Order, key: &SubmitKey) -> Result<Submitted, ProviderError> {
        let target = endpoint::target(order).map_err(|why| self.error(why.kind, why.text).because_of(why.field))?;
        let files = try_join_all(order.inputs.iter().map(|input| self.file_value(&input.file))).await?;
        let body = target.body(order, files).map_err(|why| self.error(why.kind, why.text).because_of(why.field))?;
        let hook = self.webhook_of(order);
        let query: Vec<_> = hook.iter().map(|url| ("fal_webhook", url.as_str())).collect();
        let request = self
            .request(Method::POST, &self.base, target.endpoint.split('/'), &query)
            .header(TAGS, format!("filmgate={}", key.id()))
            .json(&body);
        let answer = self.http.exchange(Call::Submit, request, INLINE_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Submit, &answer, Some(order)));
        }
        let accepted: Accepted = self.http.record(Call::Submit, &answer)?;
        let Some(job) = accepted.job() else {
            let what = "took the order and named no job";
            return Err(ProviderError::new(&self.id, ErrorKind::NoJobId, Effect::Maybe, what));
        };
        // The app may be another than the endpoint says, where fal leads one endpoint to another.
        let app = accepted.app(&self.base, &job).unwrap_or_else(|| app_of(&target.endpoint));
        Ok(Submitted::Pending(self.ticket(job, &JobData::new(order, app))))
    }

    async fn find(&self, order: &Order, key: &SubmitKey, sent_at: Timestamp) -> Result<Found, ProviderError> {
        self.jobs_like(order, *key, sent_at).await
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        let answer =
            self.http.exchange(Call::Job, self.on_job(Method::GET, ticket, Some("status"))?, INLINE_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Job, &answer, None));
        }
        let page: StatusPage = self.http.record(Call::Job, &answer)?;
        if page.status.is_none() || page.request_id.as_ref().is_some_and(|id| *id != ticket.job) {
            return Err(self.http.broken(Call::Job, "answered with another job, or without a status"));
        }
        if !page.has_ended() {
            return map::unfinished(&self.id, &page);
        }
        // Also of a failure: only the stored answer of the model says what was wrong, and whether it was billed.
        let result = self.http.exchange(Call::Job, self.on_job(Method::GET, ticket, None)?, INLINE_CAP).await?;
        let data = JobData::of(ticket);
        let ended = map::Ended {
            provider: &self.id,
            page: &page,
            card: self.card(&data.model),
            data: &data,
            plain_http: self.base.scheme() == "http",
        };
        match ended.progress(&result) {
            map::Read::Progress(progress) => Ok(*progress),
            map::Read::Error(error) => Err(error),
            map::Read::Refused => Err(self.refused(Call::Job, &result, None)),
            map::Read::Broken(what) => Err(self.http.broken(Call::Job, what)),
        }
    }

    async fn cancel(&self, ticket: &Ticket) -> Result<CancelOutcome, ProviderError> {
        let request = self.on_job(Method::PUT, ticket, Some("cancel"))?.header("content-length", "0");
        let answer = self.http.exchange(Call::Job, request, INLINE_CAP).await?;
        match map::cancelled(&answer) {
            Some(outcome) => Ok(outcome),
            None => Err(self.refused(Call::Job, &answer, None)),
        }
    }

    async fn open(&self, output: &RemoteOutput, _ticket: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
        match output {
            RemoteOutput::Link(url) => self.links.open(url).await,
            RemoteOutput::Inline(bytes) => Ok(ByteSource::of(bytes.clone())),
        }
    }

    async fn hear(&self, delivery: &Delivery) -> Result<Heard, HookError> {
        self.judge(delivery).await
    }
}

impl fmt::Debug for Fal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fal")
            .field("base", &self.base.host_str())
            .field("account", &self.account)
            .field("cards", &self.cards.len())
            .finish_non_exhaustive()
    }
}
