//! A vendor described wholly in the settings: paths, places of its JSON and words, so that a new one needs no build.
//!
//! Invariant: what the description does not say is not guessed, and every slip of it is found before the first order. `README.md` beside
//! this file is its documentation.

mod answer;
mod body;
mod description;
mod pointer;
mod read;
mod template;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header::AUTHORIZATION};
use jiff::Timestamp;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::domain::{
    card::ModelCard,
    failure::{Charged, Failure},
    money::Usage,
    names::{ProviderId, SubmitKey},
};

use super::{
    error::{Effect, ErrorKind, ProviderError, SetupError},
    fields,
    http::{
        Answer, Http, INLINE_CAP,
        inputs::{INPUT_CAP, Inputs},
        links::Links,
        outcome::Call,
    },
    port::{
        ByteSource, CancelOutcome, Found, InputFile, Job, Order, Progress, Provider, RemoteOutput, Status, Submitted,
        Ticket,
    },
    vendor::{Build, Built, Setting, Shape, Vendor},
};

use self::{
    body::Passed,
    description::{Auth, Description, Request},
    read::Stand,
    template::Filling,
};

/// Its id as an adapter.
pub const HTTP_JSON: &str = "http-json";

const fn table(key: &'static str, help: &'static str) -> Setting {
    Setting::new(key, Shape::Nested, "TABLE", help)
}

/// The vendor, for settings and wiring.
pub const VENDOR: Vendor = Vendor {
    id: HTTP_JSON,
    title: "the vendor",
    settings: &[
        Setting::new("api_key", Shape::Secrets, "KEY", "Key of {}"),
        table("auth", "How calls name the key"),
        table("headers", "Headers of every call"),
        table("submit", "How an order is handed over"),
        table("poll", "How a job is asked after"),
        table("result", "How the result of a finished job is asked for"),
        table("cancel", "How a job is stopped"),
        table("list", "How a job is looked for"),
        table("status", "What the status words mean"),
        table("outputs", "Where the outputs are"),
        table("progress", "Where progress is told"),
        table("errors", "What errors mean"),
        table("usage", "Where usage and price are told"),
    ],
    how_to_configure: "describe it with base_url and submit in [providers.NAME]",
    cards: "",
    usual: &[],
    is_template: true,
    calls_https_only: false,
    build,
};

/// The account of tickets where the vendor knows none.
const NO_ACCOUNT: &str = "none";

/// The adapter.
pub struct HttpJson {
    id: ProviderId,
    account: String,
    base: Url,
    key: Option<SecretString>,
    headers: HeaderMap,
    description: Description,
    upload_timeout: Duration,
    http: Http,
    links: Links,
    inputs: Inputs,
    cards: Vec<Arc<ModelCard>>,
}

fn build(build: Build) -> Built {
    Ok(HttpJson::of(build)?.map(|adapter| Arc::new(adapter) as Arc<dyn Provider>))
}

/// The header that carries the key, if one does.
fn key_headers(auth: &Auth, key: Option<&SecretString>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let Some(key) = key.filter(|_| auth.query.is_none()) else { return Ok(headers) };
    let name = match &auth.header {
        Some(name) => HeaderName::try_from(name).map_err(|_| "auth.header: must be the name of a header".to_owned())?,
        None => AUTHORIZATION,
    };
    let usual = if name == AUTHORIZATION { "Bearer" } else { "" };
    let value = match auth.scheme.as_deref().unwrap_or(usual) {
        "" => key.expose_secret().to_owned(),
        scheme => format!("{scheme} {}", key.expose_secret()),
    };
    let mut value = HeaderValue::try_from(value).map_err(|_| "api_key: must be visible ASCII".to_owned())?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(headers)
}

impl HttpJson {
    /// Of the settings; nothing without a description.
    fn of(build: Build) -> Result<Option<Self>, SetupError> {
        let id = build.id.id();
        let (Some(description), Some(base)) = (Description::read(id, &build.values)?, build.values.url("base_url"))
        else {
            return Ok(None);
        };
        let key = build.values.secret("api_key").cloned();
        let keyed = key_headers(&description.auth, key.as_ref()).map_err(|why| SetupError::new(id, why))?;
        let mut headers = keyed.clone();
        for (name, value) in &description.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        let key_hosts = description.outputs.key_hosts.clone();
        Ok(Some(Self {
            http: Http::new(&build.id, build.timeout)?,
            links: Links::with_headers(&build.id, base, keyed, key_hosts, build.download_timeout)?,
            inputs: Inputs::new(&build.id)?,
            account: if build.account.is_empty() { NO_ACCOUNT.to_owned() } else { build.account },
            base: base.clone(),
            key,
            headers,
            description,
            upload_timeout: build.download_timeout,
            cards: build.cards,
            id: build.id,
        }))
    }

    /// A call of `method` at a path below the base, with the key.
    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ProviderError> {
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let mut url = Url::parse(&url).map_err(|_| self.error(ErrorKind::Protocol, "its paths make no address"))?;
        // A job called `..` would lead elsewhere.
        if url.path().len() < self.base.path().trim_end_matches('/').len() + path.split('?').next().map_or(0, str::len)
        {
            return Err(self.error(ErrorKind::Protocol, "named a job that cannot stand in a path"));
        }
        self.add_key(&mut url);
        Ok(self.http.client().request(method, url).headers(self.headers.clone()))
    }

    /// The key as a parameter of the query, if that is where it goes.
    fn add_key(&self, url: &mut Url) {
        if let (Some(name), Some(key)) = (&self.description.auth.query, &self.key) {
            url.query_pairs_mut().append_pair(name, key.expose_secret());
        }
    }

    async fn about(&self, request: &Request, usual: Method, ticket: &Ticket) -> Result<Answer, ProviderError> {
        let filling = filling(ticket);
        let method = request.method.map_or(usual, Method::from);
        let mut call = self.request(method, &request.path.filled(filling))?;
        if let Some(body) = &request.body {
            call = call.json(&template::filled(body, filling));
        }
        self.http.exchange(Call::Job, call, INLINE_CAP).await
    }

    async fn pass(&self, file: &InputFile) -> Result<Passed, ProviderError> {
        let submit = &self.description.submit;
        if let Some(passed) = body::without_bytes(submit, file) {
            return Ok(passed);
        }
        let of_inputs = |error: ProviderError| error.because_of(Some("inputs".to_owned()));
        let file = self.inputs.fetch(file, INPUT_CAP).await.map_err(of_inputs)?;
        body::with_bytes(submit, file).map_err(|why| of_inputs(self.error(ErrorKind::InvalidOrder, why)))
    }

    /// The request's field that an error names.
    fn field(&self, said: &Value, card: Option<&ModelCard>) -> Option<String> {
        let theirs = self.description.errors.field.text(said)?;
        let below = format!("{}.", self.description.submit.fields_at);
        fields::field_of_request(theirs.strip_prefix(&below).unwrap_or(&theirs), card)
    }

    fn hidden<'a>(&'a self, prompt: &'a str) -> Vec<&'a str> {
        let key = self.key.as_ref().map(SecretString::expose_secret);
        [prompt].into_iter().chain(key).filter(|text| !text.is_empty()).collect()
    }

    /// `failure` is how the job ended, if the answer to the order says so already.
    fn ticket(&self, job: String, model: &str, failure: Option<&Failure>) -> Ticket {
        let data = match failure {
            Some(failure) => json!({ "model": model, "failure": failure }),
            None => json!({ "model": model }),
        };
        Ticket { account: self.account.clone(), job, data }
    }

    fn error(&self, kind: ErrorKind, summary: impl Into<String>) -> ProviderError {
        ProviderError::new(&self.id, kind, Effect::None, summary)
    }
}

fn filling(ticket: &Ticket) -> Filling<'_> {
    Filling { model: ticket.data["model"].as_str().unwrap_or_default(), job: &ticket.job, mark: "" }
}

/// How a job ended, where the answer to its order said so.
fn known_end(ticket: &Ticket) -> Option<Failure> {
    ticket.data.get("failure").and_then(|failure| serde_json::from_value(failure.clone()).ok())
}

#[async_trait]
impl Provider for HttpJson {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn models(&self) -> &[Arc<ModelCard>] {
        &self.cards
    }

    fn serves_undescribed(&self) -> bool {
        self.description.names_model()
    }

    async fn submit(&self, order: &Order, key: &SubmitKey) -> Result<Submitted, ProviderError> {
        let submit = &self.description.submit;
        let inputs = try_join_all(order.inputs.iter().map(|input| self.pass(&input.file))).await?;
        let mark = key.id();
        let path = submit.path.filled(Filling { model: &order.model, mark: &mark, job: "" });
        let mut request = self.request(submit.method.map_or(Method::POST, Method::from), &path)?;
        if let Some(name) = &submit.idempotency_header {
            request = request.header(name, &mark);
        }
        if !order.inputs.is_empty() {
            request = request.timeout(self.upload_timeout);
        }
        let request = body::write(request, submit, order, inputs, *key)
            .map_err(|why| self.error(ErrorKind::InvalidOrder, why))?;
        let answer = self.http.exchange(Call::Submit, request, INLINE_CAP).await?;
        if answer.status.is_success() {
            return self.taken(order, *key, &answer);
        }
        let errors = &self.description.errors;
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let hidden = self.hidden(&order.prompt);
        let is_final = errors.failed_status.contains(&answer.status.as_u16());
        // A gateway uses the same statuses, but not the vendor's words.
        if is_final && read::message(errors, &said, &hidden).is_some() {
            let field = self.field(&said, order.card.as_deref());
            let failure = read::failure(&self.id, errors, &said, field, &hidden);
            return Ok(Submitted::Pending(self.ticket(mark, &order.model, Some(&failure))));
        }
        Err(self.refused(Call::Submit, &answer, Some(order)))
    }

    async fn find(&self, order: &Order, key: &SubmitKey, sent_at: Timestamp) -> Result<Found, ProviderError> {
        let Some(list) = &self.description.list else { return Ok(Found::Unsupported) };
        let mark = key.id();
        let filling = Filling { model: &order.model, mark: &mark, job: "" };
        let mut request = self.request(list.method.map_or(Method::GET, Method::from), &list.path.filled(filling))?;
        if let Some(body) = &list.body {
            request = request.json(&template::filled(body, filling));
        }
        let answer = self.http.exchange(Call::List, request, INLINE_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::List, &answer, None));
        }
        let said: Value = self.http.json(Call::List, &answer)?;
        let items = list.items.first(&said).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let ours = items.iter().filter(|item| list.mark.text(item).is_some_and(|it| it == mark));
        let jobs = ours.filter_map(|item| {
            let ticket = self.ticket(list.job.text(item)?, &order.model, None);
            let created_at = list.created.as_ref().and_then(|place| read::created_at(place, item)).unwrap_or(sent_at);
            Some(Job { ticket, created_at, exact: true })
        });
        Ok(Found::Candidates(jobs.collect()))
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        if let Some(failure) = known_end(ticket) {
            return Ok(Progress::of(Status::Failed(failure)));
        }
        let description = &self.description;
        let (Some(poll), Some(words)) = (&description.poll, &description.status) else {
            return Err(self.error(ErrorKind::TicketUnknown, "has no jobs to ask about by today's settings"));
        };
        let answer = self.about(poll, Method::GET, ticket).await?;
        if !answer.status.is_success() {
            return self.failed_by_status(ticket, &answer);
        }
        let said: Value = self.http.json(Call::Job, &answer)?;
        let Some((stand, word)) = read::stand(words, &said) else { return self.without_status(ticket, &said) };
        let places = &description.progress;
        let mut progress = Progress {
            status: Status::Waiting,
            phase: Some(word),
            percent: read::percent(places, &said),
            queue_position: read::queue_position(places, &said).filter(|_| stand == Stand::Waiting),
            log_tail: read::log_tail(places, &said),
            usage: read::usage(&description.usage, &said),
            poll_after: read::poll_after(places, &said),
        };
        progress.status = match stand {
            Stand::Waiting => Status::Waiting,
            Stand::Running => Status::Running,
            Stand::Cancelled => Status::Cancelled(description.errors.charged.unwrap_or(Charged::Unknown)),
            Stand::Failed => Status::Failed(self.failure(ticket, &said)),
            Stand::Succeeded => {
                let (outputs, said) = self.made(ticket, said).await?;
                let told = read::usage(&description.usage, &said);
                if told != Usage::default() {
                    progress.usage = told;
                }
                Status::Done(outputs)
            }
        };
        Ok(progress)
    }

    async fn cancel(&self, ticket: &Ticket) -> Result<CancelOutcome, ProviderError> {
        if known_end(ticket).is_some() {
            return Ok(CancelOutcome::TooLate);
        }
        let Some(cancel) = &self.description.cancel else { return Ok(CancelOutcome::Unsupported) };
        let answer = self.about(cancel, Method::POST, ticket).await?;
        match answer.status.as_u16() {
            200..300 => {
                let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                let words = self.description.status.as_ref();
                Ok(match words.and_then(|words| read::stand(words, &said)) {
                    Some((Stand::Cancelled, _)) => {
                        CancelOutcome::Stopped(self.description.errors.charged.unwrap_or(Charged::Unknown))
                    }
                    Some((Stand::Succeeded | Stand::Failed, _)) => CancelOutcome::TooLate,
                    Some((Stand::Waiting | Stand::Running, _)) | None => CancelOutcome::Requested,
                })
            }
            401..=404 | 408 | 429 => Err(self.refused(Call::Job, &answer, None)),
            400..500 => Ok(CancelOutcome::TooLate),
            _ => Err(self.refused(Call::Job, &answer, None)),
        }
    }

    async fn open(&self, output: &RemoteOutput, _ticket: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
        match output {
            RemoteOutput::Link(url) => {
                let mut url = url.clone();
                if url.origin() == self.base.origin() {
                    self.add_key(&mut url);
                }
                self.links.open(&url).await
            }
            RemoteOutput::Inline(bytes) => Ok(ByteSource::of(bytes.clone())),
        }
    }
}

impl fmt::Debug for HttpJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpJson")
            .field("id", &self.id)
            .field("base", &self.base.host_str())
            .field("account", &self.account)
            .field("cards", &self.cards.len())
            .finish_non_exhaustive()
    }
}
