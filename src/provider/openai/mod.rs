//! OpenAI, and every server that speaks its language: images and speech in one exchange, videos as jobs, and chat.
//!
//! Invariant: addresses are built from the configured base and the job's id; an answer's own address is only ever fetched as
//! an output, behind the fence and without the key.

mod answer;
mod body;
mod chat;
mod content;
mod find;
mod inline;
mod reason;
#[cfg(test)]
mod tests;
mod video;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::Method;
use jiff::Timestamp;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::domain::{
    artifact::Kind,
    card::ModelCard,
    chat::ChatCard,
    names::{ProviderId, SubmitKey},
};

use super::{
    chat::ChatProvider,
    completions::TokenLimit,
    error::{Effect, ErrorKind, ProviderError, SetupError},
    http::{Http, inputs::Inputs, links::Links},
    port::{ByteSource, CancelOutcome, Found, Order, Progress, Provider, RemoteOutput, Submitted, Ticket},
    vendor::{Build, Built, Setting, Shape, Vendor},
};

use self::body::Body;

/// Its id.
pub const OPENAI: &str = "openai";
/// Where OpenAI itself is: the one place that certainly needs a key.
const OPENAI_URL: &str = "https://api.openai.com/v1";
/// How the bodies of videos are written.
const VIDEO_BODY: Setting = Setting::new(
    "video_body",
    Shape::Form("multipart, json or mixed", |text| Writing::of(text).is_some()),
    "FORM",
    "How orders of videos are written: `multipart` (OpenAI's clients, vLLM-Omni, LiteLLM, aggregators), `json`, or `mixed`, which is JSON without and a form with a file (SGLang)",
)
.or("multipart");

/// What the limit of a chat's tokens is called.
const TOKEN_LIMIT: Setting = Setting::new(
    "token_limit",
    Shape::Form("max_tokens or max_completion_tokens", |text| TokenLimit::of(text).is_some()),
    "NAME",
    "What the most tokens of a chat's answer are called: `max_completion_tokens` (OpenAI, whose newer models refuse the other) or `max_tokens` (all other servers know it, and some know nothing else); by default as the address and the model tell",
);

/// The vendor, for settings and wiring.
pub const VENDOR: Vendor = Vendor {
    id: OPENAI,
    title: "OpenAI",
    settings: &[
        Setting::new(
            "api_key",
            Shape::Secrets,
            "KEY",
            "Key of the OpenAI account, or of the server that speaks its language; a server of your own may need none",
        )
        .env(&["OPENAI_API_KEY"]),
        Setting::BASE_URL.or(OPENAI_URL).env(&["OPENAI_BASE_URL"]),
        Setting::new("organization", Shape::Text, "ID", "Organization at OpenAI that pays").env(&["OPENAI_ORG_ID"]),
        Setting::new("project", Shape::Text, "ID", "Project at OpenAI that pays").env(&["OPENAI_PROJECT_ID"]),
        VIDEO_BODY,
        TOKEN_LIMIT,
        Setting::TIMEOUT.or("5m"),
    ],
    how_to_configure: "set OPENAI_API_KEY to a key of the account, or OPENAI_BASE_URL to a server that needs none",
    cards: include_str!("models.toml"),
    usual: &["gpt-image-2", "gpt-4o-mini-tts"],
    is_template: false,
    calls_https_only: false,
    build,
};

/// Whoever sells Veo 3 and Sora 2 in the form of OpenAI's Videos API.
pub const AGGREGATOR: Vendor = Vendor {
    id: "openai-aggregator",
    title: "the aggregator",
    settings: &[
        Setting::new("api_key", Shape::Secrets, "KEY", "Key of the account at {}"),
        VIDEO_BODY,
        TOKEN_LIMIT,
        Setting::TIMEOUT.or("5m"),
    ],
    how_to_configure: "set `base_url` and `api_key` in its table",
    cards: include_str!("aggregator.toml"),
    usual: &[],
    is_template: true,
    ..VENDOR
};

/// How the body of a video's order is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// A form, with and without a file.
    Multipart,
    /// JSON, with and without a file.
    Json,
    /// JSON without, a form with a file.
    Mixed,
}

impl Writing {
    fn of(text: &str) -> Option<Self> {
        match text {
            "multipart" => Some(Self::Multipart),
            "json" => Some(Self::Json),
            "mixed" => Some(Self::Mixed),
            _ => None,
        }
    }
}

/// What the adapter is built from.
#[derive(Debug)]
struct OpenAiSettings {
    /// Its id.
    id: ProviderId,
    /// The fingerprint of the key.
    account: String,
    /// The key; empty for a server that needs none.
    key: SecretString,
    /// Where the API is; also the only host that may be private or speak plain HTTP.
    base: Url,
    /// Headers that name organization and project.
    payer: Vec<(&'static str, String)>,
    /// How orders of videos are written, unless a card says otherwise.
    writing: Writing,
    /// What the limit of a chat's tokens is called; by default as the address and the model tell.
    token_limit: Option<TokenLimit>,
    /// Longest time of one call.
    timeout: Duration,
    /// Longest silence of a download.
    download_timeout: Duration,
    /// The cards it serves.
    cards: Vec<Arc<ModelCard>>,
    /// Those of its language models.
    chat_cards: Vec<Arc<ChatCard>>,
}

/// The adapter.
pub struct OpenAi {
    id: ProviderId,
    account: String,
    key: SecretString,
    base: Url,
    payer: Vec<(&'static str, String)>,
    writing: Writing,
    http: Http,
    links: Links,
    inputs: Inputs,
    cards: Vec<Arc<ModelCard>>,
    token_limit: Option<TokenLimit>,
    chat_cards: Vec<Arc<ChatCard>>,
}

fn build(build: Build) -> Built {
    let Some(base) = build.values.url("base_url").cloned() else { return Ok(None) };
    let key = build.values.secret("api_key").cloned();
    if key.is_none() && base.as_str().trim_end_matches('/') == OPENAI_URL {
        return Ok(None);
    }
    let payer = [("openai-organization", "organization"), ("openai-project", "project")];
    let payer = payer.into_iter().filter_map(|(header, key)| Some((header, build.values.text(key)?.to_owned())));
    Ok(Some(Arc::new(OpenAi::new(OpenAiSettings {
        payer: payer.collect(),
        writing: build.values.text("video_body").and_then(Writing::of).unwrap_or(Writing::Multipart),
        id: build.id,
        account: build.account,
        key: key.unwrap_or_default(),
        base,
        timeout: build.timeout,
        download_timeout: build.download_timeout,
        cards: build.cards,
        token_limit: build.values.text("token_limit").and_then(TokenLimit::of),
        chat_cards: build.chat_cards,
    })?)))
}

impl OpenAi {
    /// Of its settings. Calls nobody.
    fn new(settings: OpenAiSettings) -> Result<Self, SetupError> {
        let OpenAiSettings { id, account, key, base, payer, writing, timeout, download_timeout, cards, .. } = settings;
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(SetupError::new(id, "its base URL must start with https:// or http://"));
        }
        if let Some(card) = cards.iter().find(|card| writing_of(card).is_err()) {
            let why = format!("the card of {} has an `adapter.body` other than multipart, json or mixed", card.name);
            return Err(SetupError::new(id, why));
        }
        Ok(Self {
            http: Http::new(&id, timeout)?,
            links: Links::new(&id, &base, &key, &[], download_timeout)?,
            inputs: Inputs::new(&id)?,
            id,
            account,
            key,
            base,
            payer,
            writing,
            cards,
            token_limit: settings.token_limit,
            chat_cards: settings.chat_cards,
        })
    }

    /// `method` on the path of `segments` below the base, with the key if there is one.
    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut request = self.http.client().request(method, self.address(segments));
        if !self.key.expose_secret().is_empty() {
            request = request.bearer_auth(self.key.expose_secret());
        }
        for (header, value) in &self.payer {
            request = request.header(*header, value);
        }
        request
    }

    fn address(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// An order's call. No server of this kind documents the header, so nothing relies on it.
    fn submission(&self, segments: &[&str], key: &SubmitKey) -> RequestBuilder {
        // LiteLLM sends an order again when its upstream breaks, also when that had made it: each may be paid.
        self.request(Method::POST, segments).header("idempotency-key", key.id()).header("x-litellm-num-retries", "0")
    }

    fn body<'a>(&self, order: &'a Order) -> Result<Body<'a>, ProviderError> {
        Body::of(order).map_err(|why| self.order_error(ErrorKind::InvalidOrder, why))
    }

    fn order_error(&self, kind: ErrorKind, summary: impl Into<String>) -> ProviderError {
        ProviderError::new(&self.id, kind, Effect::None, summary)
    }
}

/// How a card wants its videos' orders written; an error if it names no form.
fn writing_of(card: &ModelCard) -> Result<Option<Writing>, ()> {
    match card.adapter.get("body") {
        None => Ok(None),
        Some(form) => form.as_str().and_then(Writing::of).map(Some).ok_or(()),
    }
}

#[async_trait]
impl Provider for OpenAi {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn models(&self) -> &[Arc<ModelCard>] {
        &self.cards
    }

    fn ready(&self, kind: Kind) -> Result<(), String> {
        match kind {
            Kind::Video | Kind::Image | Kind::Speech => Ok(()),
            Kind::Music => Err("servers in the form of OpenAI make no music".to_owned()),
        }
    }

    fn serves_undescribed(&self) -> bool {
        true
    }

    fn chat(&self) -> Option<&dyn ChatProvider> {
        Some(self)
    }

    async fn submit(&self, order: &Order, key: &SubmitKey) -> Result<Submitted, ProviderError> {
        match order.kind {
            Kind::Video => self.create_video(order, key).await,
            Kind::Image => self.make_images(order, key).await,
            Kind::Speech => self.speak(order, key).await,
            Kind::Music => Err(self.order_error(ErrorKind::ModelNotFound, "makes no music")),
        }
    }

    async fn find(&self, order: &Order, _key: &SubmitKey, sent_at: Timestamp) -> Result<Found, ProviderError> {
        match order.kind {
            Kind::Video => self.videos_like(order, sent_at).await,
            // They come with the answer and are kept nowhere.
            Kind::Image | Kind::Speech | Kind::Music => Ok(Found::Unsupported),
        }
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        self.progress(ticket).await
    }

    async fn cancel(&self, ticket: &Ticket) -> Result<CancelOutcome, ProviderError> {
        self.delete(ticket).await
    }

    async fn open(&self, output: &RemoteOutput, ticket: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
        match output {
            RemoteOutput::Link(url) => self.fetch(url, ticket).await,
            RemoteOutput::Inline(bytes) => Ok(ByteSource::of(bytes.clone())),
        }
    }
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi")
            .field("id", &self.id)
            .field("base", &self.base.host_str())
            .field("account", &self.account)
            .field("cards", &self.cards.len())
            .finish_non_exhaustive()
    }
}
