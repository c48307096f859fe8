//! The Gemini API: image models by `generateContent`, Omni video by interactions, chat, and Veo for proxies that still serve it.
//!
//! Invariant: addresses are built from the configured base and a job's id; the key goes there and to Google's host of files
//! only, in its own header and never in an address.

mod chat;
mod content;
mod omni;
mod order;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
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
    google::{names, status, veo},
    http::{ANSWER_CAP, Answer, Http, inputs::Inputs, links::Links, outcome::Call},
    port::{ByteSource, CancelOutcome, Found, Order, Progress, Provider, RemoteOutput, Status, Submitted, Ticket},
    vendor::{Build, Built, Setting, Shape, Vendor},
};

/// Its id.
pub const GEMINI: &str = "gemini";
/// The vendor, for settings and wiring.
pub const VENDOR: Vendor = Vendor {
    id: GEMINI,
    title: "Gemini",
    settings: &[
        Setting::new(
            "api_key",
            Shape::Secrets,
            "KEY",
            "Key of the Gemini API; better in the environment, where no process list shows it",
        )
        .env(&["GEMINI_API_KEY", "GOOGLE_API_KEY"]),
        Setting::new(
            "api_revision",
            Shape::Form("a date such as 2026-05-20", is_revision),
            "DATE",
            "Revision of the Interactions API that is asked for in the header `Api-Revision`; none without it",
        ),
        Setting::BASE_URL.or("https://generativelanguage.googleapis.com/v1beta"),
        // An image is made while the call waits.
        Setting::TIMEOUT.or("5m"),
    ],
    how_to_configure: "set GEMINI_API_KEY to a key of the Gemini API",
    cards: include_str!("models.toml"),
    usual: &["gemini-omni-1.1-flash", "gemini-3.1-flash-image"],
    is_template: false,
    calls_https_only: false,
    build,
};

/// The header with the key.
const KEY_HEADER: HeaderName = HeaderName::from_static("x-goog-api-key");
/// Hosts that serve outputs and take the key.
const KEY_HOSTS: [&str; 1] = ["generativelanguage.googleapis.com"];

/// The adapter.
pub struct Gemini {
    id: ProviderId,
    account: String,
    base: Url,
    key: SecretString,
    revision: Option<String>,
    http: Http,
    links: Links,
    inputs: Inputs,
    cards: Vec<Arc<ModelCard>>,
    chat_cards: Vec<Arc<ChatCard>>,
}

/// By which calls a model is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Content,
    Interactions,
    Veo,
}

impl Api {
    /// The card's word for it; a model without a card is taken for what makes its kind.
    fn of(order: &Order) -> Self {
        let word = order.card.as_ref().and_then(|card| card.adapter.get("api")).and_then(toml::Value::as_str);
        match word {
            Some("interactions") => Self::Interactions,
            Some("veo") => Self::Veo,
            Some(_) => Self::Content,
            None if order.kind == Kind::Video => Self::Interactions,
            None => Self::Content,
        }
    }
}

fn is_revision(text: &str) -> bool {
    text.parse::<jiff::civil::Date>().is_ok()
}

fn build(build: Build) -> Built {
    Ok(gemini(build)?.map(|gemini| Arc::new(gemini) as Arc<dyn Provider>))
}

fn gemini(build: Build) -> Result<Option<Gemini>, SetupError> {
    let (Some(key), Some(base)) = (build.values.secret("api_key"), build.values.url("base_url")) else {
        return Ok(None);
    };
    if base.cannot_be_a_base() {
        return Err(SetupError::new(build.id, "its base URL must start with https:// or http://"));
    }
    let mut value = HeaderValue::try_from(key.expose_secret())
        .map_err(|_| SetupError::new(&build.id, "its key must be visible ASCII"))?;
    value.set_sensitive(true);
    let headers = HeaderMap::from_iter([(KEY_HEADER, value)]);
    let hosts = KEY_HOSTS.map(str::to_owned).to_vec();
    let links = Links::with_headers(&build.id, base, headers, hosts, build.download_timeout)?;
    Ok(Some(Gemini {
        account: build.account,
        base: base.clone(),
        key: key.clone(),
        revision: build.values.text("api_revision").map(str::to_owned),
        http: Http::new(&build.id, build.timeout)?,
        links,
        inputs: Inputs::new(&build.id)?,
        cards: build.cards,
        chat_cards: build.chat_cards,
        id: build.id,
    }))
}

impl Gemini {
    /// `method` on the path of `segments` below the base, with the key.
    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        self.http.client().request(method, url).header(KEY_HEADER, self.key.expose_secret())
    }

    /// The same of the Interactions API.
    fn interactions(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let request = self.request(method, segments);
        match &self.revision {
            Some(revision) => request.header("api-revision", revision),
            None => request,
        }
    }

    fn refused(&self, call: Call, answer: &Answer, order: Option<&Order>) -> ProviderError {
        let prompt = order.map(|order| order.prompt.as_str()).unwrap_or_default();
        let card = order.and_then(|order| order.card.as_deref());
        status::refused(&self.id, call, answer, &[prompt, self.key.expose_secret()], card)
    }

    fn error(&self, kind: ErrorKind, effect: Effect, summary: impl Into<String>) -> ProviderError {
        ProviderError::new(&self.id, kind, effect, summary)
    }

    fn pending(&self, job: Option<&str>, data: Value) -> Result<Submitted, ProviderError> {
        match job.filter(|job| !job.is_empty()) {
            Some(job) => {
                let account = self.account.clone();
                Ok(Submitted::Pending(Ticket { account, job: job.to_owned(), data }))
            }
            None => Err(self.error(ErrorKind::NoJobId, Effect::Maybe, "took the order and named no job")),
        }
    }

    /// Makes an image, while the call waits.
    async fn make_content(&self, order: &Order) -> Result<Submitted, ProviderError> {
        let body = self.content_body(order).await?;
        let action = format!("{}:generateContent", order.model);
        let request = self.request(Method::POST, &["models", &action]).json(&body);
        let answer = self.http.exchange(Call::Submit, request, content::ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Submit, &answer, Some(order)));
        }
        let made = names::one(self.http.json(Call::Submit, &answer)?);
        let (outputs, usage) = content::read(&self.id, &made, &order.prompt)?;
        Ok(Submitted::Done(outputs, usage))
    }

    async fn begin_interaction(&self, order: &Order) -> Result<Submitted, ProviderError> {
        let body = self.interaction_body(order).await?;
        let request = self.interactions(Method::POST, &["interactions"]).json(&body);
        let answer = self.http.exchange(Call::Submit, request, omni::ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Submit, &answer, Some(order)));
        }
        let made = names::one(self.http.json(Call::Submit, &answer)?);
        self.pending(made["id"].as_str(), veo::remembered(order))
    }

    async fn begin_veo(&self, order: &Order) -> Result<Submitted, ProviderError> {
        let body = self.veo_body(order).await?;
        let action = format!("{}:predictLongRunning", order.model);
        let request = self.request(Method::POST, &["models", &action]).json(&body);
        let answer = self.http.exchange(Call::Submit, request, ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Submit, &answer, Some(order)));
        }
        let made = names::one(self.http.json(Call::Submit, &answer)?);
        self.pending(made["name"].as_str().filter(|name| is_operation(name)), veo::remembered(order))
    }

    async fn poll_veo(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        let segments: Vec<&str> = ticket.job.split('/').collect();
        let answer = self.http.exchange(Call::Job, self.request(Method::GET, &segments), veo::OPERATION_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Job, &answer, None));
        }
        let operation = names::one(self.http.json(Call::Job, &answer)?);
        if !operation.is_object() {
            return Err(self.http.broken(Call::Job, "answered with no operation"));
        }
        veo::progress(&self.id, &operation, &ticket.data, &|text| omni::link(&self.base, text))
    }

    async fn poll_interaction(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        let request = self.interactions(Method::GET, &["interactions", &ticket.job]);
        let answer = self.http.exchange(Call::Job, request, omni::ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.of_interaction(&answer));
        }
        let interaction = names::one(self.http.json(Call::Job, &answer)?);
        let is_other = interaction["id"].as_str().is_some_and(|id| id != ticket.job);
        if is_other || interaction["status"].as_str().is_none() {
            return Err(self.http.broken(Call::Job, "answered with another interaction, or without a status"));
        }
        omni::progress(&self.id, &interaction, &ticket.data, &self.base)
    }

    /// An unknown interaction is told by 400 and its words. Any other 400 was seen of one still at work, so it is no end.
    fn of_interaction(&self, answer: &Answer) -> ProviderError {
        let mut error = self.refused(Call::Job, answer, None);
        if answer.status.as_u16() == 400 && error.kind == ErrorKind::Protocol {
            let words = error.summary.to_ascii_lowercase();
            let is_unknown =
                words.contains("interaction") && (words.contains("invalid") || words.contains("not found"));
            error.kind = if is_unknown { ErrorKind::TicketUnknown } else { ErrorKind::Overloaded };
        }
        error
    }
}

/// Names of Veo's operations, which are paths; an interaction's id is none.
fn is_operation(job: &str) -> bool {
    let parts: Vec<&str> = job.split('/').collect();
    let is_plain = |part: &&str| !["", ".", ".."].contains(part);
    matches!(parts[..], ["models", _, "operations", _] | ["operations", _]) && parts.iter().all(is_plain)
}

#[async_trait]
impl Provider for Gemini {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn models(&self) -> &[Arc<ModelCard>] {
        &self.cards
    }

    fn serves_undescribed(&self) -> bool {
        true
    }

    fn chat(&self) -> Option<&dyn ChatProvider> {
        Some(self)
    }

    async fn submit(&self, order: &Order, _key: &SubmitKey) -> Result<Submitted, ProviderError> {
        if order.model.is_empty() || order.model.contains(['/', ':', '?', '#']) {
            return Err(self.error(ErrorKind::ModelNotFound, Effect::None, "names its models without slashes"));
        }
        match Api::of(order) {
            Api::Content => self.make_content(order).await,
            Api::Interactions => self.begin_interaction(order).await,
            Api::Veo => self.begin_veo(order).await,
        }
    }

    /// No call of the API carries a mark, and none lists jobs.
    async fn find(&self, _order: &Order, _key: &SubmitKey, _sent_at: Timestamp) -> Result<Found, ProviderError> {
        Ok(Found::Unsupported)
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        if is_operation(&ticket.job) { self.poll_veo(ticket).await } else { self.poll_interaction(ticket).await }
    }

    async fn cancel(&self, ticket: &Ticket) -> Result<CancelOutcome, ProviderError> {
        if is_operation(&ticket.job) {
            return Ok(match self.poll_veo(ticket).await?.status {
                Status::Waiting | Status::Running => CancelOutcome::Unsupported,
                Status::Done(_) | Status::Failed(_) => CancelOutcome::TooLate,
                Status::Cancelled(charged) => CancelOutcome::Stopped(charged),
            });
        }
        let request = self.interactions(Method::POST, &["interactions", &ticket.job, "cancel"]).json(&json!({}));
        let answer = self.http.exchange(Call::Job, request, omni::ANSWER_CAP).await?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let stopped = status::Status::of_body(&body).is_some_and(|status| status.is_cancelled());
        match answer.status.as_u16() {
            // A cancel that worked is told as an error named CANCELLED. What was made until then may be charged.
            _ if stopped => Ok(CancelOutcome::Stopped(Charged::Unknown)),
            499 => Ok(CancelOutcome::Stopped(Charged::Unknown)),
            200..300 => Ok(omni::cancelled(&body)),
            409 => Ok(CancelOutcome::TooLate),
            _ => Err(self.of_interaction(&answer)),
        }
    }

    async fn open(&self, output: &RemoteOutput, _ticket: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
        match output {
            RemoteOutput::Link(url) => self.links.open(url).await,
            RemoteOutput::Inline(bytes) => Ok(ByteSource::of(bytes.clone())),
        }
    }
}

impl fmt::Debug for Gemini {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gemini")
            .field("base", &self.base.host_str())
            .field("account", &self.account)
            .field("cards", &self.cards.len())
            .finish_non_exhaustive()
    }
}
