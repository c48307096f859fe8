//! From ComfyUI's queue and history to our progress. Pure.

use std::collections::BTreeSet;

use serde_json::Value;
use url::Url;

use crate::{
    domain::{
        artifact::Kind,
        failure::{Charged, Failure, FailurePhase, FailureReason},
        names::ProviderId,
    },
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        http::text::{SHOWN_CHARS, shortened, shown},
        port::{Progress, RemoteOutput, Status},
    },
};

/// Endings of files by what they are.
const VIDEO: [&str; 7] = ["mp4", "webm", "mov", "mkv", "avi", "m4v", "gif"];
const AUDIO: [&str; 6] = ["mp3", "flac", "wav", "ogg", "opus", "m4a"];
const IMAGE: [&str; 7] = ["png", "jpg", "jpeg", "webp", "avif", "bmp", "tiff"];

/// Where a job is in the queue.
#[derive(Debug, PartialEq)]
pub(super) enum Place<'a> {
    /// Worked on, with its graph.
    Running(&'a Value),
    /// So many places from the front, from 1.
    Pending(u32),
    /// Not in the queue.
    Absent,
}

/// A job as the queue and the history write it: `[number, id, graph, {"client_id": …}, …]`, or with names before some proxies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a>(pub(super) &'a Value);

impl<'a> Item<'a> {
    fn at(self, index: usize, name: &str) -> &'a Value {
        if self.0.is_array() { &self.0[index] } else { &self.0[name] }
    }

    fn number(self) -> f64 {
        self.at(0, "number").as_f64().unwrap_or(f64::MAX)
    }

    /// Its id.
    pub(super) fn job(self) -> Option<&'a str> {
        self.at(1, "prompt_id").as_str()
    }

    fn graph(self) -> &'a Value {
        self.at(2, "prompt")
    }

    /// Whether the client of this name ordered it.
    pub(super) fn is_of(self, client: &str) -> bool {
        self.at(3, "extra_data")["client_id"] == client
    }
}

/// The jobs of a list of the queue.
pub(super) fn items<'a>(queue: &'a Value, list: &str) -> impl Iterator<Item = Item<'a>> {
    queue[list].as_array().map(Vec::as_slice).unwrap_or_default().iter().map(Item)
}

/// Where `job` is in the answer of `/queue`.
pub(super) fn place<'a>(queue: &'a Value, job: &str) -> Place<'a> {
    if let Some(item) = items(queue, "queue_running").find(|item| item.job() == Some(job)) {
        return Place::Running(item.graph());
    }
    // A heap: only its first item is in order.
    let mut pending: Vec<Item<'_>> = items(queue, "queue_pending").collect();
    pending.sort_by(|left, right| left.number().total_cmp(&right.number()));
    match pending.iter().position(|item| item.job() == Some(job)) {
        Some(ahead) => Place::Pending(u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(1)),
        None => Place::Absent,
    }
}

/// How a job of the history ended.
pub(super) fn ended(
    provider: &ProviderId,
    base: &Url,
    kind: Option<Kind>,
    entry: &Value,
) -> Result<Progress, ProviderError> {
    let status = &entry["status"];
    let messages = status["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let word = status["status_str"].as_str().unwrap_or_default().to_ascii_lowercase();
    let is_bad = matches!(word.as_str(), "error" | "failed" | "failure") || status["completed"] == false;
    let is_stopped = matches!(word.as_str(), "interrupted" | "cancelled" | "canceled");
    if is_stopped || is_bad && said(messages.iter().rev(), "execution_interrupted").is_some() {
        return Ok(Progress::of(Status::Cancelled(Charged::No)));
    }
    if is_bad {
        let error = said(messages.iter().rev(), "execution_error").cloned().unwrap_or_default();
        return Ok(Progress::of(Status::Failed(failure(provider, &error, Item(&entry["prompt"]).graph()))));
    }
    let outputs = files(base, kind, &entry["outputs"]);
    if outputs.is_empty() {
        let summary = "succeeded and saved no file; the workflow needs a node that saves its result";
        return Err(ProviderError::new(provider, ErrorKind::NoOutput, Effect::None, summary));
    }
    let mut progress = Progress::of(Status::Done(outputs));
    progress.usage.outputs = match &progress.status {
        Status::Done(outputs) => u32::try_from(outputs.len()).ok(),
        Status::Waiting | Status::Running | Status::Failed(_) | Status::Cancelled(_) => None,
    };
    progress.usage.compute_seconds = compute_seconds(messages);
    progress.percent = Some(100);
    Ok(progress)
}

/// What the first of the messages with this name says; a message is `[name, data]`, or as the websocket tells it.
fn said<'a>(mut messages: impl Iterator<Item = &'a Value>, name: &str) -> Option<&'a Value> {
    messages.find_map(|message| match message.is_array() {
        true => (message[0] == name).then(|| &message[1]),
        false => (message["type"] == name).then(|| &message["data"]),
    })
}

/// The time between the messages that it began and that it ended.
fn compute_seconds(messages: &[Value]) -> Option<f64> {
    let at = |name: &str| said(messages.iter(), name)?["timestamp"].as_f64();
    let seconds = (at("execution_success")? - at("execution_start")?) / 1000.0;
    (seconds >= 0.0).then_some(seconds)
}

fn failure(provider: &ProviderId, error: &Value, graph: &Value) -> Failure {
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    let (kind, node) = (text("exception_type"), text("node_type"));
    // Nodes quote what they were given.
    let given: Vec<&str> = graph.as_object().into_iter().flat_map(|graph| graph.values()).flat_map(texts_of).collect();
    let said = shown(text("exception_message"), &given).unwrap_or_else(|| "failed without saying why".to_owned());
    let message = match (node.is_empty(), kind.is_empty()) {
        (false, false) => format!("{node}: {said} ({kind})"),
        (false, true) => format!("{node}: {said}"),
        (true, _) => said,
    };
    let message = shortened(&message, SHOWN_CHARS);
    let mut failure =
        Failure::new(FailureReason::ProviderJobFailed, FailurePhase::Provider, Charged::No, message).at(provider);
    // Another job may have held the memory.
    failure.retryable = kind.contains("OutOfMemory");
    failure
}

/// The longer texts of a node's inputs, prompts among them.
fn texts_of(node: &Value) -> impl Iterator<Item = &str> {
    let inputs = node["inputs"].as_object().into_iter().flat_map(|inputs| inputs.values());
    inputs.filter_map(Value::as_str).filter(|text| text.contains(' '))
}

/// The files of a list, of a list within it, or standing alone.
fn files_of(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(files_of).collect(),
        Value::Object(_) => vec![value],
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// The files that a job made: the saved ones of the ordered kind, or else previews of that kind, or else whatever there is.
fn files(base: &Url, kind: Option<Kind>, outputs: &Value) -> Vec<RemoteOutput> {
    let mut nodes: Vec<(&String, &Value)> = outputs.as_object().into_iter().flatten().collect();
    nodes.sort_by_key(|(id, _)| (id.parse::<u64>().unwrap_or(u64::MAX), (*id).clone()));
    let lists = nodes.into_iter().filter_map(|(_, node)| node.as_object()).flat_map(|node| node.values());
    let items = lists.flat_map(files_of);
    let files: Vec<(&str, &str, &str)> = items
        .filter_map(|file| {
            let text = |key: &str| file[key].as_str();
            let name = text("filename").filter(|name| !name.is_empty())?;
            Some((name, text("subfolder").unwrap_or_default(), text("type").unwrap_or("output")))
        })
        .collect();
    let is_ordered = |name: &str| {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
        kind.is_none_or(|kind| endings(kind).contains(&ending.as_str()))
    };
    let choices = [("output", true), ("temp", true), ("output", false), ("temp", false)].map(|(wanted, by_kind)| {
        let fits = files.iter().copied().filter(|(name, _, it)| *it == wanted && (!by_kind || is_ordered(name)));
        fits.collect::<Vec<_>>()
    });
    let chosen = choices.into_iter().find(|choice| !choice.is_empty()).unwrap_or_default();
    let mut seen = BTreeSet::new();
    chosen
        .into_iter()
        .filter(|file| seen.insert(*file))
        .filter_map(|file| view(base, file))
        .map(RemoteOutput::Link)
        .collect()
}

fn endings(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Video => &VIDEO,
        Kind::Image => &IMAGE,
        Kind::Speech | Kind::Music => &AUDIO,
    }
}

fn view(base: &Url, (name, subfolder, kind): (&str, &str, &str)) -> Option<Url> {
    let mut url = Url::parse(&format!("{}/view", base.as_str().trim_end_matches('/'))).ok()?;
    url.query_pairs_mut().append_pair("filename", name).append_pair("subfolder", subfolder).append_pair("type", kind);
    Some(url)
}
