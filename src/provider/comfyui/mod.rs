//! ComfyUI: the user's own server and workflows, each a model.
//!
//! Invariant: the submit's key is the prompt's id and the websocket's client, so a job is known by it wherever the server shows it.
//! `README.md` beside this file says how workflows are written.

mod library;
mod map;
mod refusal;
mod seen;
mod socket;
#[cfg(test)]
mod tests;
mod workflow;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header::AUTHORIZATION};
use jiff::Timestamp;
use reqwest::{
    RequestBuilder,
    multipart::{Form, Part},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::domain::{
    card::ModelCard,
    failure::Charged,
    names::{ProviderId, SubmitKey},
    order::{InputRole, OptionName},
};

use super::{
    error::{Effect, ErrorKind, ProviderError, SetupError},
    http::{
        ANSWER_CAP, Answer, Http, INLINE_CAP, http1_client,
        inputs::{File, INPUT_CAP, Inputs},
        links::Links,
        outcome::{self, Call, Said},
    },
    port::{
        ByteSource, CancelOutcome, Found, InputFile, Job, Order, Progress, Provider, RemoteOutput, Status, Submitted,
        Ticket,
    },
    vendor::{Build, Built, Setting, Shape, Vendor},
};

use self::{
    library::Library,
    map::Place,
    socket::Sockets,
    workflow::{Slot, Workflow},
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

    async fn tell(&self, segments: &[&str], body: &Value) -> Result<(), ProviderError> {
        let request = self.request(Method::POST, segments).json(body);
        let answer = self.http.exchange(Call::Job, request, ANSWER_CAP).await?;
        if answer.status.is_success() { Ok(()) } else { Err(self.refused(Call::Job, &answer)) }
    }

    /// The history's entry of a job that ended.
    async fn ended(&self, call: Call, job: &str) -> Result<Option<Value>, ProviderError> {
        let mut history = self.ask(call, &["history", job]).await?;
        Ok(history.get_mut(job).map(Value::take).filter(|entry| entry.is_object()))
    }

    /// Uploads an input and gives what the workflow calls it.
    async fn upload(&self, name: &str, file: &InputFile) -> Result<Value, ProviderError> {
        let call = Call::Prepare;
        let file = self.inputs.fetch(file, INPUT_CAP).await?;
        let request = self.request(Method::POST, &["upload", "image"]).multipart(self.form(name, file)?);
        let request = request.timeout(self.upload_timeout);
        let answer = self.http.exchange(call, request, ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(call, &answer));
        }
        let said: Value = self.http.json(call, &answer)?;
        let text = |key: &str| said[key].as_str().filter(|text| !text.is_empty());
        let stored = text("name").ok_or_else(|| self.http.broken(call, "took an upload and did not name it"))?;
        Ok(match text("subfolder") {
            Some(subfolder) => Value::from(format!("{subfolder}/{stored}")),
            None => Value::from(stored),
        })
    }

    fn form(&self, name: &str, file: File) -> Result<Form, ProviderError> {
        let file_name = format!("{name}.{}", file.extension());
        let length = file.data.len() as u64;
        let part = Part::stream_with_length(file.data, length).file_name(file_name);
        let part = part
            .mime_str(&file.media_type)
            .map_err(|error| self.http.broken(Call::Prepare, "an input has an odd media type").caused_by(error))?;
        Ok(Form::new().part("image", part).text("subfolder", "filmgate").text("type", "input"))
    }

    /// Uploads the inputs and says where each goes.
    async fn inputs(&self, order: &Order, key: SubmitKey) -> Result<Vec<(Slot, Value)>, ProviderError> {
        let mut n_seen: BTreeMap<InputRole, usize> = BTreeMap::new();
        let slots = order.inputs.iter().map(|input| {
            let n_in_role = n_seen.entry(input.role).or_default();
            *n_in_role += 1;
            (Slot::Input(input.role, *n_in_role - 1), &input.file)
        });
        let slots: Vec<_> = slots.collect();
        try_join_all(slots.into_iter().enumerate().map(async |(index, (slot, file))| {
            let uploaded = self.upload(&format!("{}-{index}", key.id()), file).await;
            Ok((slot, uploaded.map_err(|error| error.because_of(Some(format!("inputs[{index}]"))))?))
        }))
        .await
    }

    /// The graph of an order.
    fn graph(
        &self,
        order: &Order,
        key: SubmitKey,
        workflow: &Workflow,
        inputs: Vec<(Slot, Value)>,
    ) -> Result<Value, String> {
        let mut values: BTreeMap<Slot, Value> = inputs.into_iter().collect();
        let option = |name: OptionName| order.options.get(&name);
        values.insert(Slot::Prompt, Value::from(order.prompt.as_str()));
        for (name, value) in &order.options {
            let spec = order.card.as_ref().and_then(|card| card.options.get(name));
            values.insert(Slot::Option(*name), spec.map_or_else(|| value.to_json(), |spec| spec.written(value)));
        }
        values.entry(Slot::Option(OptionName::Seed)).or_insert_with(|| Value::from(seed_of(key)));
        if let (Some(duration), Some(fps)) = (option(OptionName::Duration), option(OptionName::Fps)) {
            let frames = duration.as_f64().unwrap_or_default() * fps.as_f64().unwrap_or_default();
            values.extend([1, 4, 8].map(|step| (Slot::Frames(step), Value::from(n_frames(frames, step)))));
        }
        for (name, value) in &order.provider_options {
            values.insert(Slot::Own(name.clone()), value.clone());
        }
        match values.keys().find(|slot| !workflow.has(slot) && is_own_or_input(slot)) {
            Some(Slot::Own(name)) => Err(format!("has no {{{{option.{name}}}}} in the workflow {}", order.model)),
            Some(_) => Err(format!("has no place for one of the inputs in the workflow {}", order.model)),
            None => workflow.filled(&values),
        }
    }

    /// Why the server refused an order, with our field.
    fn refused_order(&self, answer: &Answer, order: &Order, workflow: &Workflow) -> ProviderError {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status != 400 || !body["error"].is_object() {
            return self.refused(Call::Submit, answer);
        }
        let said = refusal::read(&body, workflow, &[&order.prompt]);
        let mut words = Said { detail: said.detail, field: said.field, ..Said::default() };
        words.retry_after = answer.retry_after;
        let mut error = outcome::refused(&self.id, Call::Submit, answer.status, words);
        error.kind = said.kind;
        error
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

/// A seed that no other order has: the server answers what it has made before from its cache. Small enough for every JSON reader.
fn seed_of(key: SubmitKey) -> u64 {
    let digest = Sha256::digest(key.id());
    digest.iter().take(6).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

fn is_own_or_input(slot: &Slot) -> bool {
    match slot {
        Slot::Own(_) | Slot::Input(..) => true,
        Slot::Prompt | Slot::Option(_) | Slot::Frames(_) => false,
    }
}

/// The number of frames nearest to `frames` that is one more than a multiple of `step`; at a step of 1 any.
fn n_frames(frames: f64, step: u32) -> u64 {
    let step = f64::from(step);
    let nearest = if step > 1.0 { ((frames - 1.0) / step).round() * step + 1.0 } else { frames.round() };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, and it is at least 1")]
    let whole = nearest.max(1.0) as u64;
    whole
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
        let items = ["queue_running", "queue_pending"].iter().filter_map(|list| queue[*list].as_array()).flatten();
        let is_ours = |item: &&Value| item[1] == mark.as_str() || item[3]["client_id"] == mark.as_str();
        let mut jobs: Vec<String> =
            items.filter(is_ours).filter_map(|item| item[1].as_str()).map(str::to_owned).collect();
        if jobs.is_empty() {
            // Only a server that gives ids of its own has it under another one.
            let history = match self.ended(Call::List, &mark).await? {
                Some(entry) => json!({ mark.as_str(): entry }),
                None => self.ask(Call::List, &["history"]).await?,
            };
            let entries = history.as_object().into_iter().flatten();
            let ours = entries.filter(|(id, entry)| **id == mark || entry["prompt"][3]["client_id"] == mark.as_str());
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
