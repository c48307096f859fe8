//! ComfyUI: the user's own server and workflows, each a model.
//!
//! Invariant: the submit's key is the prompt's id and the websocket's client, so a job is known by it wherever the server shows it.
//! `README.md` beside this file says how workflows are written.

mod library;
mod map;
mod order;
mod refusal;
mod seen;
mod socket;
#[cfg(test)]
mod tests;
mod workflow;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header::AUTHORIZATION};
use jiff::Timestamp;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::domain::{
    card::ModelCard,
    failure::Charged,
    names::{ProviderId, SubmitKey},
};

use super::{
    error::{Effect, ErrorKind, ProviderError, SetupError},
    http::{
        ANSWER_CAP, Answer, Http, INLINE_CAP, http1_client,
        inputs::Inputs,
        links::Links,
        outcome::{self, Call, Said},
    },
    port::{ByteSource, CancelOutcome, Found, Job, Order, Progress, Provider, RemoteOutput, Status, Submitted, Ticket},
    vendor::{Build, Built, Setting, Shape, Vendor},
};

use self::{
    library::Library,
    map::{Item, Place},
    socket::Sockets,
};

/// Its id.
pub const COMFYUI: &str = "comfyui";

/// The vendor, for settings and wiring.
pub const VENDOR: Vendor = Vendor {
    id: COMFYUI,
    title: "ComfyUI",
    settings: &[
        Setting::new(
            "workflows",
            Shape::Path,
            "FOLDER",
            "Folder with workflows of {}, each NAME.json in API format, with its card NAME.toml if it needs one",
        ),
        Setting::BASE_URL.or("http://127.0.0.1:8188"),
        Setting::new("api_key", Shape::Secret, "KEY", "Key of a proxy before {}, which itself has none"),
        Setting::new(
            "key_header",
            Shape::Form("the name of a header", is_header),
            "HEADER",
            "Header that carries the key before {}; in `Authorization` it follows the word Bearer",
        )
        .or("Authorization"),
    ],
    how_to_configure: "set FILMGATE_COMFYUI_WORKFLOWS to a folder with workflows in API format",
    cards: "",
    usual: &[],
    is_template: false,
    calls_https_only: false,
    build,
};

/// The account of tickets where there is no key.
const NO_ACCOUNT: &str = "none";

/// Entries of the history that are looked through for a job under an id that is not ours.
const NEWEST: usize = 500;

/// The adapter.
pub struct ComfyUi {
    id: ProviderId,
    account: String,
    base: Url,
    headers: HeaderMap,
    upload_timeout: Duration,
    http: Http,
    links: Links,
    inputs: Inputs,
    sockets: Sockets,
    library: Library,
}

fn is_header(text: &str) -> bool {
    HeaderName::try_from(text).is_ok()
}

fn build(build: Build) -> Built {
    Ok(ComfyUi::of(build)?.map(|adapter| Arc::new(adapter) as Arc<dyn Provider>))
}

fn key_header(name: Option<&str>, key: &SecretString) -> Option<(HeaderName, HeaderValue)> {
    let name = name.map_or(Ok(AUTHORIZATION), HeaderName::try_from).ok()?;
    let value = match name == AUTHORIZATION {
        true => format!("Bearer {}", key.expose_secret()),
        false => key.expose_secret().to_owned(),
    };
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

impl ComfyUi {
    /// Of the settings; nothing without a workflow.
    fn of(build: Build) -> Result<Option<Self>, SetupError> {
        let library = Library::read(build.values.path("workflows"), &build.cards)
            .map_err(|why| SetupError::new(&build.id, why))?;
        let base = build.values.url("base_url").filter(|_| !library.workflows.is_empty());
        let Some(base) = base else { return Ok(None) };
        let mut headers = HeaderMap::new();
        if let Some(key) = build.values.secret("api_key") {
            let (name, value) = key_header(build.values.text("key_header"), key)
                .ok_or_else(|| SetupError::new(&build.id, "api_key must be visible ASCII"))?;
            headers.insert(name, value);
        }
        Ok(Some(Self {
            http: Http::new(&build.id, build.timeout)?,
            links: Links::with_headers(&build.id, base, headers.clone(), Vec::new(), build.download_timeout)?,
            sockets: Sockets::new(http1_client(&build.id)?, headers.clone()),
            inputs: Inputs::new(&build.id)?,
            account: if build.account.is_empty() { NO_ACCOUNT.to_owned() } else { build.account },
            base: base.clone(),
            headers,
            upload_timeout: build.download_timeout,
            library,
            id: build.id,
        }))
    }

    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        self.http.client().request(method, url).headers(self.headers.clone())
    }

    async fn ask(&self, call: Call, segments: &[&str]) -> Result<Value, ProviderError> {
        let answer = self.http.exchange(call, self.request(Method::GET, segments), INLINE_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(call, &answer));
        }
        self.http.json(call, &answer)
    }

    /// The newest part of the history.
    async fn lately(&self) -> Result<Value, ProviderError> {
        let request = self.request(Method::GET, &["history"]).query(&[("max_items", NEWEST)]);
        let answer = self.http.exchange(Call::List, request, INLINE_CAP).await?;
        if answer.status.is_success() {
            self.http.json(Call::List, &answer)
        } else {
            Err(self.refused(Call::List, &answer))
        }
    }

    async fn tell(&self, segments: &[&str], body: &Value) -> Result<(), ProviderError> {
        let request = self.request(Method::POST, segments).json(body);
        let answer = self.http.exchange(Call::Job, request, ANSWER_CAP).await?;
        if answer.status.is_success() { Ok(()) } else { Err(self.refused(Call::Job, &answer)) }
    }

    /// The history's entry of a job that ended.
    async fn ended(&self, call: Call, job: &str) -> Result<Option<Value>, ProviderError> {
        let mut history = self.ask(call, &["history", job]).await?;
        let entry = history.get_mut(job).map(Value::take).filter(Value::is_object);
        // Some proxies take the entry out of its envelope.
        Ok(entry.or_else(|| Some(history).filter(|entry| entry["outputs"].is_object() || entry["status"].is_object())))
    }

    fn refused(&self, call: Call, answer: &Answer) -> ProviderError {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        outcome::refused(&self.id, call, answer.status, Said::of(answer, &body, &[]))
    }

    fn ticket(&self, job: &str, client: &str, order: &Order) -> Ticket {
        let data = json!({ "kind": order.kind, "client": client });
        Ticket { account: self.account.clone(), job: job.to_owned(), data }
    }

    fn gone(&self) -> ProviderError {
        let summary =
            "has the job neither in its queue nor in its history: it was started anew, or somebody cleared them";
        ProviderError::new(&self.id, ErrorKind::TicketUnknown, Effect::None, summary)
    }
}

#[async_trait]
impl Provider for ComfyUi {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn models(&self) -> &[Arc<ModelCard>] {
        &self.library.cards
    }

    async fn submit(&self, order: &Order, key: &SubmitKey) -> Result<Submitted, ProviderError> {
        let error = |kind, why: String| ProviderError::new(&self.id, kind, Effect::None, why);
        let workflow = self.library.workflows.get(&order.model);
        let workflow = workflow.ok_or_else(|| error(ErrorKind::ModelNotFound, "has no such workflow".to_owned()))?;
        let inputs = self.inputs(order, *key).await?;
        let graph = self.graph(order, *key, workflow, inputs).map_err(|why| error(ErrorKind::InvalidOrder, why))?;
        let mark = key.id();
        let body = json!({ "prompt": graph, "prompt_id": mark, "client_id": mark });
        let request = self.request(Method::POST, &["prompt"]).json(&body);
        let answer = self.http.exchange(Call::Submit, request, ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused_order(&answer, order, workflow));
        }
        let said: Value = self.http.json(Call::Submit, &answer)?;
        // An old server gives an id of its own.
        match said["prompt_id"].as_str().filter(|id| !id.is_empty()) {
            Some(job) => Ok(Submitted::Pending(self.ticket(job, &mark, order))),
            None => {
                Err(ProviderError::new(&self.id, ErrorKind::NoJobId, Effect::Maybe, "took the order and named no job"))
            }
        }
    }

    async fn find(&self, order: &Order, key: &SubmitKey, sent_at: Timestamp) -> Result<Found, ProviderError> {
        let mark = key.id();
        let queue = self.ask(Call::List, &["queue"]).await?;
        let items = ["queue_running", "queue_pending"].iter().flat_map(|list| map::items(&queue, list));
        let ours = items.filter(|item| item.job() == Some(mark.as_str()) || item.is_of(&mark));
        let mut jobs: Vec<String> = ours.filter_map(Item::job).map(str::to_owned).collect();
        if jobs.is_empty() {
            // Only a server that gives ids of its own has it under another one.
            let history = match self.ended(Call::List, &mark).await? {
                Some(entry) => json!({ mark.as_str(): entry }),
                None => self.lately().await?,
            };
            let entries = history.as_object().into_iter().flatten();
            let ours = entries.filter(|(id, entry)| **id == mark || Item(&entry["prompt"]).is_of(&mark));
            jobs = ours.map(|(id, _)| id.clone()).collect();
        }
        let job = |job: String| Job { ticket: self.ticket(&job, &mark, order), created_at: sent_at, exact: true };
        Ok(Found::Candidates(jobs.into_iter().map(job).collect()))
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        let job = ticket.job.as_str();
        // In this order nothing is missed: a job goes from the queue into the history, never back.
        let queue = self.ask(Call::Job, &["queue"]).await?;
        match map::place(&queue, job) {
            Place::Pending(position) => {
                let mut progress = Progress::of(Status::Waiting);
                progress.queue_position = Some(position);
                Ok(progress)
            }
            Place::Running(graph) => {
                let client = ticket.data["client"].as_str().unwrap_or(job);
                let glance = self.sockets.glance(&self.base, job, client, graph).await;
                let mut progress = Progress::of(Status::Running);
                (progress.percent, progress.phase) = (glance.percent, glance.phase);
                Ok(progress)
            }
            Place::Absent => {
                self.sockets.forget(job);
                let entry = self.ended(Call::Job, job).await?.ok_or_else(|| self.gone())?;
                let kind = serde_json::from_value(ticket.data["kind"].clone()).ok();
                map::ended(&self.id, &self.base, kind, &entry)
            }
        }
    }

    async fn cancel(&self, ticket: &Ticket) -> Result<CancelOutcome, ProviderError> {
        let job = ticket.job.as_str();
        let mut queue = self.ask(Call::Job, &["queue"]).await?;
        if let Place::Pending(_) = map::place(&queue, job) {
            self.tell(&["queue"], &json!({ "delete": [job] })).await?;
            // It may have begun meanwhile.
            queue = self.ask(Call::Job, &["queue"]).await?;
            if map::place(&queue, job) == Place::Absent {
                let ended = self.ended(Call::Job, job).await?;
                return Ok(ended.map_or(CancelOutcome::Stopped(Charged::No), |_| CancelOutcome::TooLate));
            }
        }
        match map::place(&queue, job) {
            Place::Running(_) => {
                self.tell(&["interrupt"], &json!({ "prompt_id": job })).await?;
                Ok(CancelOutcome::Requested)
            }
            Place::Pending(_) => Ok(CancelOutcome::Requested),
            Place::Absent => {
                self.ended(Call::Job, job).await?.map(|_| CancelOutcome::TooLate).ok_or_else(|| self.gone())
            }
        }
    }

    async fn open(&self, output: &RemoteOutput, _ticket: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
        match output {
            RemoteOutput::Link(url) => self.links.open(url).await,
            RemoteOutput::Inline(bytes) => Ok(ByteSource::of(bytes.clone())),
        }
    }
}

impl fmt::Debug for ComfyUi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComfyUi")
            .field("base", &self.base.host_str())
            .field("account", &self.account)
            .field("workflows", &self.library.workflows.len())
            .finish_non_exhaustive()
    }
}
