//! Midjourney through midjourney-proxy, in either of its lineages: pictures, what is done with them, and films.
//!
//! Invariant: an order names itself and each of its steps by marks (`state`), by which they are looked for before anything is ordered that may
//! have been ordered before.

mod body;
mod map;
mod plan;
mod steps;
#[cfg(test)]
mod tests;
mod wire;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use http::{HeaderName, Method, header};
use jiff::Timestamp;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use url::Url;

use crate::domain::{
    card::ModelCard,
    names::{ProviderId, SubmitKey},
};

use super::{
    error::{Effect, ErrorKind, ProviderError, SetupError},
    http::{
        ANSWER_CAP, Answer, Http, INLINE_CAP,
        inputs::{File, Inputs},
        links::Links,
        outcome::{self, Call, Said},
    },
    port::{
        ByteSource, CancelOutcome, Found, InputFile, Job, Order, Progress, Provider, RemoteOutput, Status, Submitted,
        Ticket,
    },
    vendor::{Build, Built, Setting, Shape, Vendor},
    webhook::{Delivery, Heard, HookError},
};

use self::{
    body::{Action, Unwritable},
    plan::{Plan, mark_of},
    steps::Steps,
    wire::{Envelope, Task},
};

/// Its id.
pub const MIDJOURNEY: &str = "midjourney";
/// The vendor, for settings and wiring.
pub const VENDOR: Vendor = Vendor {
    id: MIDJOURNEY,
    title: "midjourney-proxy",
    settings: &[
        Setting::new("api_secret", Shape::Secret, "SECRET", "Secret of {}, if it asks for one")
            .env(&["MIDJOURNEY_API_SECRET", "MJ_API_SECRET"]),
        Setting::new(
            "secret_header",
            Shape::Form("mj-api-secret or bearer", |text| ["mj-api-secret", "bearer"].contains(&text)),
            "HEADER",
            "How {} wants the secret: its own header, or `Authorization: Bearer` as relays do",
        )
        .or("mj-api-secret"),
        Setting {
            env: &["MIDJOURNEY_BASE_URL"],
            help: "Where {}'s API is, up to and with `/mj`; `/mj-fast/mj` and the like choose a speed",
            ..Setting::BASE_URL
        },
    ],
    how_to_configure: "set MIDJOURNEY_BASE_URL to the address of your midjourney-proxy, such as http://127.0.0.1:8080/mj",
    cards: include_str!("models.toml"),
    usual: &["imagine", "video"],
    is_template: false,
    calls_https_only: false,
    build,
};

/// The proxy's own header for its secret.
const SECRET_HEADER: HeaderName = HeaderName::from_static("mj-api-secret");

/// The adapter.
pub struct Midjourney {
    id: ProviderId,
    account: String,
    base: Url,
    secret: Option<SecretString>,
    is_bearer: bool,
    http: Http,
    links: Links,
    inputs: Inputs,
    steps: Steps,
    cards: Vec<Arc<ModelCard>>,
}

fn build(build: Build) -> Built {
    let Some(base) = build.values.url("base_url").cloned() else { return Ok(None) };
    Ok(Some(Arc::new(Midjourney::new(build, base)?)))
}

impl Midjourney {
    fn new(build: Build, base: Url) -> Result<Self, SetupError> {
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(SetupError::new(&build.id, "its base URL must start with https:// or http://"));
        }
        let secret = build.values.secret("api_secret").cloned();
        let key = secret.clone().unwrap_or_default();
        Ok(Self {
            account: if build.account.is_empty() { "open".to_owned() } else { build.account },
            http: Http::new(&build.id, build.timeout)?,
            links: Links::new(&build.id, &base, &key, &[], build.download_timeout)?,
            inputs: Inputs::new(&build.id)?,
            steps: Steps::default(),
            cards: build.cards,
            is_bearer: build.values.text("secret_header") == Some("bearer"),
            secret,
            base,
            id: build.id,
        })
    }

    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        let request = self.http.client().request(method, url);
        match &self.secret {
            Some(secret) if self.is_bearer => {
                request.header(header::AUTHORIZATION, format!("Bearer {}", secret.expose_secret()))
            }
            Some(secret) => request.header(SECRET_HEADER, secret.expose_secret()),
            None => request,
        }
    }

    fn ticket(&self, job: String, plan: &Plan) -> Ticket {
        let data = serde_json::to_value(plan).unwrap_or_default();
        Ticket { account: self.account.clone(), job, data }
    }

    fn refused(&self, call: Call, answer: &Answer, hidden: &[&str]) -> ProviderError {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let mut said = Said::of(answer, &body, hidden);
        said.detail = said.detail.or_else(|| body["description"].as_str().map(str::to_owned));
        outcome::refused(&self.id, call, answer.status, said)
    }

    fn unwritable(&self, Unwritable { field, why }: Unwritable) -> ProviderError {
        ProviderError::new(&self.id, ErrorKind::InvalidOrder, Effect::None, why).because_of(Some(field))
    }

    /// Orders something; the task that it is, and how many are before it.
    async fn submitted(
        &self,
        path: &str,
        body: &Map<String, Value>,
        hidden: &[&str],
    ) -> Result<(String, Option<u32>), ProviderError> {
        let request = self.request(Method::POST, &["submit", path]).json(body);
        let answer = self.http.exchange(Call::Submit, request, ANSWER_CAP).await?;
        let envelope = serde_json::from_slice::<Envelope>(&answer.body);
        match envelope {
            // An envelope is the whole answer, also when it comes with an error's status.
            Ok(envelope) if envelope.code.is_some() && !answer.status.is_server_error() => {
                map::accepted(&self.id, &envelope, hidden)
            }
            Ok(_) | Err(_) if !answer.status.is_success() => Err(self.refused(Call::Submit, &answer, hidden)),
            Ok(_) | Err(_) => Err(self.http.broken(Call::Submit, "answered the order with something else than agreed")),
        }
    }

    async fn task(&self, id: &str) -> Result<Task, ProviderError> {
        let answer =
            self.http.exchange(Call::Job, self.request(Method::GET, &["task", id, "fetch"]), ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Job, &answer, &[]));
        }
        if answer.body.trim_ascii().is_empty() || answer.body.trim_ascii() == b"null" {
            return Err(ProviderError::new(&self.id, ErrorKind::TicketUnknown, Effect::None, "does not know the task"));
        }
        let task: Task = self.http.json(Call::Job, &answer)?;
        if task.status.is_none() || task.id.as_deref().is_some_and(|told| told != id) {
            return Err(self.http.broken(Call::Job, "answered with another task, or without a status"));
        }
        Ok(task)
    }

    /// All tasks, or the newest hundred.
    async fn listed(&self) -> Result<Vec<Task>, ProviderError> {
        let answer = self.http.exchange(Call::List, self.request(Method::GET, &["task", "list"]), INLINE_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::List, &answer, &[]));
        }
        self.http.json(Call::List, &answer)
    }

    /// The order with the bytes of its inputs, if what the card is of takes no addresses.
    async fn with_files(&self, order: &Order, card: &ModelCard) -> Result<Order, ProviderError> {
        let mut order = order.clone();
        if ["links_lead", "takes_links"].iter().any(|key| card.adapter.contains_key(*key)) {
            return Ok(order);
        }
        let files = self.inputs.fetch_all(&order.inputs).await?;
        for (input, File { media_type, data }) in order.inputs.iter_mut().zip(files) {
            input.file = InputFile::Bytes { media_type, data };
        }
        Ok(order)
    }

    /// The last part of the path and the body of an order's submit.
    async fn written(&self, order: &Order) -> Result<(String, Map<String, Value>), ProviderError> {
        let unknown = || ProviderError::new(&self.id, ErrorKind::ModelNotFound, Effect::None, "has no such model");
        let card = order.card.as_ref().ok_or_else(unknown)?;
        let of_card = |key: &str| card.adapter.get(key).and_then(toml::Value::as_str);
        let Some(action) = of_card("action").and_then(Action::of) else {
            let order = self.with_files(order, card).await?;
            let body = body::of_order(&order, card).map_err(|why| self.unwritable(why))?;
            return Ok((of_card("submit").ok_or_else(unknown)?.to_owned(), body));
        };
        let wrong =
            |key: &str, why: &str| self.unwritable(Unwritable::new(format!("options.provider_options.{key}"), why));
        let given = |key: &str| order.provider_options.get(key);
        let id = given("taskId")
            .and_then(Value::as_str)
            .ok_or_else(|| wrong("taskId", "must name the task that has the pictures"))?;
        let index = match given("index").and_then(index) {
            Some(index @ 1..=4) => index,
            None if action == Action::Reroll => 0,
            Some(_) | None => return Err(wrong("index", "must say which of the four pictures is meant, 1 to 4")),
        };
        let parent = self.task(id).await.map_err(|error| {
            let is_unknown = error.kind == ErrorKind::TicketUnknown;
            if is_unknown { wrong("taskId", "names no task that the proxy knows") } else { error }
        })?;
        let (path, body) = body::of_action(&parent, id, action, index);
        Ok((path.to_owned(), body))
    }
}

#[async_trait]
impl Provider for Midjourney {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn models(&self) -> &[Arc<ModelCard>] {
        &self.cards
    }

    async fn submit(&self, order: &Order, key: &SubmitKey) -> Result<Submitted, ProviderError> {
        let (path, mut body) = self.written(order).await?;
        let mut plan = Plan::of(order, *key);
        body.insert("state".to_owned(), Value::from(plan.mark.as_str()));
        let address = order.webhook.as_ref().map(|address| address.url().as_str());
        if let Some(address) = address {
            body.insert("notifyHook".to_owned(), Value::from(address));
        }
        let secret = self.secret.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
        let hidden = [order.prompt.as_str(), address.unwrap_or_default(), secret];
        let (id, n_before) = self.submitted(&path, &body, &hidden).await?;
        plan.n_before = n_before;
        Ok(Submitted::Pending(self.ticket(id, &plan)))
    }

    async fn find(&self, order: &Order, key: &SubmitKey, sent_at: Timestamp) -> Result<Found, ProviderError> {
        let plan = Plan::of(order, *key);
        let is_ours = |task: &Task| task.state.as_deref() == Some(plan.mark.as_str());
        let jobs = self.listed().await?.into_iter().filter(is_ours).filter_map(|task| {
            let created_at = task.submit_time.and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or(sent_at);
            Some(Job { ticket: self.ticket(task.id?, &plan), created_at, exact: true })
        });
        Ok(Found::Candidates(jobs.collect()))
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        let plan = Plan::read(ticket);
        let task = self.task(&ticket.job).await?;
        if task.word() == "MODAL" {
            self.confirm(ticket, &plan, &task).await?;
        }
        let splits = plan.n_pictures > 0 && task.image_urls.len() <= 1;
        if splits && task.word() == "SUCCESS" {
            return self.pictures(ticket, &plan, &task).await;
        }
        let mut progress = map::progress(&self.id, &task, &plan)?;
        if splits {
            progress.percent = steps::of_whole(progress.percent);
        }
        Ok(progress)
    }

    /// Only an administrator of one lineage can stop a task, and what Midjourney itself does then is not known.
    async fn cancel(&self, ticket: &Ticket) -> Result<CancelOutcome, ProviderError> {
        let task = self.task(&ticket.job).await?;
        match map::progress(&self.id, &task, &Plan::read(ticket)).map(|progress| progress.status) {
            Ok(Status::Waiting | Status::Running) => {}
            Ok(Status::Done(_) | Status::Failed(_) | Status::Cancelled(_)) | Err(_) => {
                return Ok(CancelOutcome::TooLate);
            }
        }
        let request = self.request(Method::POST, &["task", &ticket.job, "cancel"]);
        let answer = self.http.exchange(Call::Job, request, ANSWER_CAP).await?;
        match answer.status.as_u16() {
            200..300 => Ok(CancelOutcome::Requested),
            400 | 401 | 403..=405 => Ok(CancelOutcome::Unsupported),
            _ => Err(self.refused(Call::Job, &answer, &[])),
        }
    }

    async fn open(&self, output: &RemoteOutput, _ticket: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
        match output {
            RemoteOutput::Link(url) => self.links.open(url).await,
            RemoteOutput::Inline(bytes) => Ok(ByteSource::of(bytes.clone())),
        }
    }

    /// The proxy signs nothing, so that only the address, which nobody can guess, speaks for a call. It is a reason to ask and brings no ticket.
    async fn hear(&self, delivery: &Delivery) -> Result<Heard, HookError> {
        let task: Task = serde_json::from_slice(&delivery.body).map_err(|_| HookError::Forged)?;
        let mark = mark_of(delivery.key);
        if task.id.is_none() || !task.state.is_some_and(|state| state.starts_with(&mark)) {
            return Err(HookError::Forged);
        }
        Ok(Heard { id: hex::encode(Sha256::digest(&delivery.body)), ticket: None })
    }
}

impl fmt::Debug for Midjourney {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Midjourney")
            .field("base", &self.base.host_str())
            .field("account", &self.account)
            .field("cards", &self.cards.len())
            .finish_non_exhaustive()
    }
}

/// A whole number, also written as a float, as numbers of `provider_options` may be.
fn index(value: &Value) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and small, as checked")]
    let whole = |number: f64| (number.fract() == 0.0 && (0.0..=1000.0).contains(&number)).then_some(number as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(whole))
}
