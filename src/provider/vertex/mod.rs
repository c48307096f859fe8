//! Vertex AI: Veo through `:predictLongRunning` and `:fetchPredictOperation`, its videos within answers or in a bucket.
//!
//! Invariant: addresses are built from the configured bases; an operation's name only fills the places of a path that the
//! API itself fixes. A bucket's folder bears the submit's own key, which is what a lost job is known by.

mod auth;
mod find;
mod order;
mod setup;
mod store;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use http::Method;
use jiff::Timestamp;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::domain::{
    card::ModelCard,
    names::{ProviderId, SubmitKey},
};

use super::{
    error::{Effect, ErrorKind, ProviderError},
    google::{names, status, veo},
    http::{ANSWER_CAP, Answer, Http, inputs::Inputs, links::Links, outcome::Call},
    port::{ByteSource, CancelOutcome, Found, Order, Progress, Provider, RemoteOutput, Submitted, Ticket},
    vendor::Vendor,
};

pub use self::setup::{VENDOR, VERTEX};
use self::{auth::Tokens, order::Body, store::Folder};

/// The adapter.
pub struct Vertex {
    id: ProviderId,
    account: String,
    project: String,
    location: String,
    base: Url,
    store: Url,
    folder: Option<Folder>,
    http: Http,
    links: Links,
    inputs: Inputs,
    tokens: Tokens,
    cards: Vec<Arc<ModelCard>>,
}

impl Vertex {
    /// `method` on the path of `segments` below `base`, with a token.
    fn request(&self, method: Method, base: &Url, segments: &[&str], token: &SecretString) -> RequestBuilder {
        let mut url = base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        let request = self.http.client().request(method, url).bearer_auth(token.expose_secret());
        match self.tokens.credentials().quota_project() {
            Some(project) => request.header("x-goog-user-project", project),
            None => request,
        }
    }

    /// Sends a request, and forgets the token if it was not accepted.
    async fn exchange(
        &self,
        call: Call,
        request: RequestBuilder,
        token: &SecretString,
        cap: usize,
    ) -> Result<Answer, ProviderError> {
        let answer = self.http.exchange(call, request, cap).await?;
        if answer.status.as_u16() == 401 {
            self.tokens.forget(token).await;
        }
        Ok(answer)
    }

    /// Posts to a method of a model.
    async fn post(&self, call: Call, model: &Model<'_>, method: &str, body: &Value) -> Result<Answer, ProviderError> {
        let action = format!("{}:{method}", model.name);
        let segments =
            ["projects", model.project, "locations", model.location, "publishers", "google", "models", &action];
        let cap = if call == Call::Job { veo::OPERATION_CAP } else { ANSWER_CAP };
        let token = self.tokens.get().await?;
        let request = self.request(Method::POST, &self.base, &segments, &token).json(body);
        let answer = self.exchange(call, request, &token, cap).await?;
        if answer.status.as_u16() != 401 {
            return Ok(answer);
        }
        // A token may end before its time. A call that was not let in did nothing, so that it is made once more with another.
        let token = self.tokens.get().await?;
        let request = self.request(Method::POST, &self.base, &segments, &token).json(body);
        self.exchange(call, request, &token, cap).await
    }

    fn refused(&self, call: Call, answer: &Answer, order: Option<&Order>) -> ProviderError {
        let prompt = order.map(|order| order.prompt.as_str()).unwrap_or_default();
        let card = order.and_then(|order| order.card.as_deref());
        status::refused(&self.id, call, answer, &[prompt], card)
    }

    fn ticket(&self, job: String, data: Value) -> Ticket {
        Ticket { account: self.account.clone(), job, data }
    }

    fn error(&self, kind: ErrorKind, effect: Effect, summary: impl Into<String>) -> ProviderError {
        ProviderError::new(&self.id, kind, effect, summary)
    }
}

#[async_trait]
impl Provider for Vertex {
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
        let Body { json, mut ticket } = self.body(order, *key).await?;
        let model = Model { project: &self.project, location: &self.location, name: &order.model };
        let answer = self.post(Call::Submit, &model, "predictLongRunning", &json).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Submit, &answer, Some(order)));
        }
        let operation = names::one(self.http.json(Call::Submit, &answer)?);
        match operation["name"].as_str().filter(|name| Model::of_operation(name).is_some()) {
            Some(name) => {
                name.clone_into(&mut ticket.job);
                Ok(Submitted::Pending(ticket))
            }
            None => Err(self.error(ErrorKind::NoJobId, Effect::Maybe, "took the order and named no operation")),
        }
    }

    async fn find(&self, order: &Order, key: &SubmitKey, _sent_at: Timestamp) -> Result<Found, ProviderError> {
        self.job_of(order, *key).await
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        if let Some(folder) = Folder::read(&ticket.job) {
            return self.look_into(&folder, &ticket.data).await;
        }
        let unknown =
            || self.error(ErrorKind::TicketUnknown, Effect::None, "knows jobs by the names of operations only");
        let model = Model::of_operation(&ticket.job).ok_or_else(unknown)?;
        let body = json!({ "operationName": ticket.job });
        let answer = self.post(Call::Job, &model, "fetchPredictOperation", &body).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Job, &answer, None));
        }
        let operation = names::one(self.http.json(Call::Job, &answer)?);
        let is_other = operation["name"].as_str().is_some_and(|name| name != ticket.job);
        if is_other || !operation.is_object() {
            return Err(self.http.broken(Call::Job, "answered with another operation, or with none"));
        }
        veo::progress(&self.id, &operation, &ticket.data, &|text| store::link(&self.store, text))
    }

    /// The API has no cancel of a publisher's operations.
    async fn cancel(&self, ticket: &Ticket) -> Result<CancelOutcome, ProviderError> {
        match self.poll(ticket).await?.status {
            super::port::Status::Waiting | super::port::Status::Running => Ok(CancelOutcome::Unsupported),
            super::port::Status::Done(_) | super::port::Status::Failed(_) => Ok(CancelOutcome::TooLate),
            super::port::Status::Cancelled(charged) => Ok(CancelOutcome::Stopped(charged)),
        }
    }

    async fn open(&self, output: &RemoteOutput, _ticket: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
        match output {
            RemoteOutput::Link(url) => {
                let token = self.tokens.get().await?;
                self.links.open_with(url, &token).await
            }
            RemoteOutput::Inline(bytes) => Ok(ByteSource::of(bytes.clone())),
        }
    }
}

impl fmt::Debug for Vertex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vertex")
            .field("base", &self.base.host_str())
            .field("account", &self.account)
            .field("tokens", &self.tokens)
            .field("cards", &self.cards.len())
            .finish_non_exhaustive()
    }
}

/// A model's place in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Model<'a> {
    project: &'a str,
    location: &'a str,
    name: &'a str,
}

impl<'a> Model<'a> {
    /// The one whose operation has this name, if it is such a name.
    fn of_operation(operation: &'a str) -> Option<Self> {
        let parts: Vec<&str> = operation.split('/').collect();
        let ["projects", project, "locations", location, "publishers", "google", "models", name, "operations", job] =
            parts[..]
        else {
            return None;
        };
        let is_plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:@".contains(&b)) && part != ".."
        };
        [project, location, name, job].into_iter().all(is_plain).then_some(Self { project, location, name })
    }
}
