//! Replicate: every model behind one prediction API, its inputs mapped by cards.
//!
//! Invariant: addresses are built from the configured base and the prediction's id; what an answer calls its own
//! address is never asked.

mod find;
mod map;
mod output;
#[cfg(test)]
mod tests;
mod webhook;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::Method;
use jiff::Timestamp;
use reqwest::{
    RequestBuilder,
    multipart::{Form, Part},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use url::Url;

use crate::domain::{
    artifact::Kind,
    card::ModelCard,
    names::{ProviderId, SubmitKey},
};

use super::{
    error::{Effect, ErrorKind, ProviderError, SetupError},
    fields,
    http::{
        ANSWER_CAP, Answer, Http, INLINE_CAP,
        base64::data_uri,
        links::Links,
        outcome::{self, Call, Said},
    },
    keys::account_of,
    port::{ByteSource, CancelOutcome, Found, InputFile, Order, Progress, Provider, RemoteOutput, Submitted, Ticket},
    vendor::{Build, Built, Setting, Shape, Vendor},
    webhook::{Delivery, Heard, HookError},
};

use self::{
    output::View,
    webhook::Secret,
    wire::{Prediction, Problem, Upload},
};

/// Its id.
pub const REPLICATE: &str = "replicate";
/// The vendor, for settings and wiring.
pub const VENDOR: Vendor = Vendor {
    id: REPLICATE,
    title: "Replicate",
    settings: &[
        Setting::new(
            "api_token",
            Shape::Secrets,
            "TOKEN",
            "Key of the Replicate account; better in the environment, where no process list shows it",
        )
        .env(&["REPLICATE_API_TOKEN", "REPLICATE_API_KEY"]),
        Setting::new(
            "webhook_secret",
            Shape::WebhookSecret,
            "SECRET",
            "Secret that signs the Replicate account's webhooks, `whsec_…`; Replicate is asked for it when it is not set",
        )
        .env(&["REPLICATE_WEBHOOK_SECRET"]),
        Setting::BASE_URL.or("https://api.replicate.com/v1"),
        Setting {
            env: &["REPLICATE_MODEL"],
            value_name: "OWNER/NAME",
            default: Some("minimax/video-01"),
            shape: Shape::Form("owner/name, such as minimax/video-01", is_model),
            ..Setting::MODEL
        },
    ],
    how_to_configure: "set REPLICATE_API_TOKEN to a key from the account page of Replicate",
    cards: include_str!("models.toml"),
    usual: &["black-forest-labs/flux-schnell", "minimax/speech-02-turbo", "meta/musicgen"],
    is_template: false,
    calls_https_only: true,
    build,
};

/// Replicate advises data URIs up to 256 kB; a larger file is uploaded.
const INLINE_INPUT_BYTES: usize = 256 * 1024;
/// Hosts that serve outputs and take the key.
const KEY_HOSTS: [&str; 2] = ["replicate.delivery", "api.replicate.com"];

/// What the adapter is built from.
#[derive(Debug)]
pub struct ReplicateSettings {
    /// The account's key.
    pub api_token: SecretString,
    /// The secret of the account's webhooks, `whsec_` and base64; asked of Replicate without it.
    pub webhook_secret: Option<SecretString>,
    /// Where the API is; also the only host that may be private or speak plain HTTP.
    pub base_url: Url,
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
pub struct Replicate {
    id: ProviderId,
    account: String,
    base: Url,
    token: SecretString,
    upload_timeout: Duration,
    http: Http,
    links: Links,
    webhook_secret: Secret,
    cards: Vec<Arc<ModelCard>>,
}

fn is_model(text: &str) -> bool {
    text.contains('/')
        && text.split('/').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic()))
}

fn build(build: Build) -> Built {
    let (Some(api_token), Some(base_url)) = (build.values.secret("api_token"), build.values.url("base_url")) else {
        return Ok(None);
    };
    let replicate = Replicate::new(ReplicateSettings {
        api_token: api_token.clone(),
        webhook_secret: build.values.secret("webhook_secret").cloned(),
        base_url: base_url.clone(),
        timeout: build.timeout,
        download_timeout: build.download_timeout,
        id: build.id,
        cards: build.cards,
    })?;
    Ok(Some(Arc::new(replicate)))
}

impl Replicate {
    /// Of its settings. Calls nobody.
    pub fn new(settings: ReplicateSettings) -> Result<Self, SetupError> {
        let ReplicateSettings { api_token, webhook_secret, base_url, timeout, download_timeout, id, cards } = settings;
        if base_url.cannot_be_a_base() || !matches!(base_url.scheme(), "http" | "https") {
            return Err(SetupError::new(id, "its base URL must start with https:// or http://"));
        }
        Ok(Self {
            account: account_of(&api_token),
            http: Http::new(&id, timeout)?,
            links: Links::new(&id, &base_url, &api_token, &KEY_HOSTS, download_timeout)?,
            webhook_secret: Secret::of(webhook_secret.as_ref())?,
            cards,
            base: base_url,
            token: api_token,
            upload_timeout: download_timeout,
            id,
        })
    }

    /// `method` on the path of `segments` below the base, with the key.
    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        self.keyed(method, url)
    }

    fn keyed(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.client().request(method, url).bearer_auth(self.token.expose_secret())
    }

    fn ticket(&self, job: String, kind: Kind) -> Ticket {
        Ticket { account: self.account.clone(), job, data: json!({ "kind": kind }) }
    }

    /// The file as an input's value: an address, a data URI, or the address of its upload.
    async fn file_value(&self, file: &InputFile) -> Result<Value, ProviderError> {
        match file {
            InputFile::Url(url) => Ok(Value::from(url.as_str())),
            InputFile::Bytes { media_type, data } if data.len() <= INLINE_INPUT_BYTES => {
                Ok(Value::from(data_uri(media_type, data)))
            }
            InputFile::Bytes { media_type, data } => self.upload(media_type, data.clone()).await.map(Value::from),
        }
    }

    async fn upload(&self, media_type: &str, data: Bytes) -> Result<String, ProviderError> {
        let call = Call::Prepare;
        let length = data.len() as u64;
        let extension = media_type.rsplit('/').next().unwrap_or("bin");
        let part = Part::stream_with_length(data, length)
            .file_name(format!("input.{extension}"))
            .mime_str(media_type)
            .map_err(|error| self.http.broken(call, "an input has an odd media type").caused_by(error))?;
        let request = self.request(Method::POST, &["files"]).multipart(Form::new().part("content", part));
        let answer = self.http.exchange(call, request.timeout(self.upload_timeout), ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(call, &answer, None).because_of(Some("inputs".to_owned())));
        }
        let upload: Upload = self.http.json(call, &answer)?;
        Ok(upload.urls.get)
    }

    /// The error of a bad answer, in our words and with our field.
    fn refused(&self, call: Call, answer: &Answer, order: Option<&Order>) -> ProviderError {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let prompt = order.map(|order| order.prompt.as_str()).unwrap_or_default();
        let address = order.and_then(|order| order.webhook.as_ref()).map(|address| address.url().as_str());
        let mut said = Said::of(answer, &body, &[prompt, self.token.expose_secret(), address.unwrap_or_default()]);
        if let Some(order) = order {
            let problem: Problem = serde_json::from_value(body).unwrap_or_default();
            said.field = match answer.status.as_u16() {
                400 | 422 => map::field_at_fault(&problem, order.card.as_ref()),
                _ => None,
            };
        }
        outcome::refused(&self.id, call, answer.status, said)
    }

    fn order_error(&self, kind: ErrorKind, summary: impl Into<String>) -> ProviderError {
        ProviderError::new(&self.id, kind, Effect::None, summary)
    }
}

#[async_trait]
impl Provider for Replicate {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn models(&self) -> &[Arc<ModelCard>] {
        &self.cards
    }

    fn serves_undescribed(&self) -> bool {
        true
    }

    async fn submit(&self, order: &Order, _key: &SubmitKey) -> Result<Submitted, ProviderError> {
        let target = Target::of_order(order).ok_or_else(|| {
            self.order_error(
                ErrorKind::ModelNotFound,
                "names its models owner/name, owner/name:version or version, with a version of 64 hexadecimal digits",
            )
        })?;
        let files = try_join_all(order.inputs.iter().map(|input| self.file_value(&input.file))).await?;
        let input = fields::of(order, files).map_err(|why| self.order_error(ErrorKind::InvalidOrder, why))?;
        let mut body = Map::from_iter([("input".to_owned(), Value::Object(input))]);
        self.ask_to_be_told(order, &mut body);
        let request = match target {
            Target::Model { owner, name } => self.request(Method::POST, &["models", owner, name, "predictions"]),
            Target::Version(version) => {
                body.insert("version".to_owned(), Value::from(version));
                self.request(Method::POST, &["predictions"])
            }
        };
        let answer = self.http.exchange(Call::Submit, request.json(&body), INLINE_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Submit, &answer, Some(order)));
        }
        let prediction: Prediction = self.http.json(Call::Submit, &answer)?;
        match prediction.id.filter(|id| !id.is_empty()) {
            Some(job) => Ok(Submitted::Pending(self.ticket(job, order.kind))),
            None => {
                Err(ProviderError::new(&self.id, ErrorKind::NoJobId, Effect::Maybe, "took the order and named no job"))
            }
        }
    }

    async fn find(&self, order: &Order, key: &SubmitKey, sent_at: Timestamp) -> Result<Found, ProviderError> {
        self.jobs_like(order, *key, sent_at).await.map(Found::Candidates)
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        let request = self.request(Method::GET, &["predictions", &ticket.job]);
        let answer = self.http.exchange(Call::Job, request, INLINE_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Job, &answer, None));
        }
        let prediction: Prediction = self.http.json(Call::Job, &answer)?;
        if prediction.status.is_none() || prediction.id.as_ref().is_some_and(|id| *id != ticket.job) {
            return Err(self.http.broken(Call::Job, "answered with another job, or without a status"));
        }
        let kind = serde_json::from_value(ticket.data["kind"].clone()).ok();
        map::progress(&self.id, &prediction, View { kind, plain_http: self.base.scheme() == "http" })
    }

    async fn cancel(&self, ticket: &Ticket) -> Result<CancelOutcome, ProviderError> {
        let request = self.request(Method::POST, &["predictions", &ticket.job, "cancel"]);
        let answer = self.http.exchange(Call::Job, request, INLINE_CAP).await?;
        match answer.status.as_u16() {
            // Also when the body tells nothing: the vendor took it, and the next poll says more.
            200..300 => Ok(map::cancelled(&serde_json::from_slice(&answer.body).unwrap_or_default())),
            401..=404 | 408 | 429 => Err(self.refused(Call::Job, &answer, None)),
            400..500 => Ok(CancelOutcome::TooLate),
            _ => Err(self.refused(Call::Job, &answer, None)),
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

impl fmt::Debug for Replicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicate")
            .field("base", &self.base.host_str())
            .field("account", &self.account)
            .field("cards", &self.cards.len())
            .finish_non_exhaustive()
    }
}

/// How a model is ordered.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    /// An official model, by name.
    Model { owner: &'a str, name: &'a str },
    /// Any model, by one version of it.
    Version(&'a str),
}

impl<'a> Target<'a> {
    /// The version on the model's card, without which a community model cannot be ordered, else what the name says.
    fn of_order(order: &'a Order) -> Option<Self> {
        let version = order.card.as_ref().and_then(|card| card.adapter.get("version")?.as_str());
        match version {
            Some(version) => is_version(version).then_some(Self::Version(version)),
            None => Self::of(&order.model),
        }
    }

    fn of(model: &'a str) -> Option<Self> {
        let (path, version) = match model.split_once(':') {
            Some((path, version)) => (path, Some(version)),
            None if is_version(model) => return Some(Self::Version(model)),
            None => (model, None),
        };
        let (owner, name) = path.split_once('/')?;
        if owner.is_empty() || name.is_empty() || name.contains('/') {
            return None;
        }
        match version {
            None => Some(Self::Model { owner, name }),
            Some(version) => is_version(version).then_some(Self::Version(version)),
        }
    }
}

fn is_version(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
