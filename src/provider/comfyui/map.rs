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

/// Where `job` is in the answer of `/queue`.
pub(super) fn place<'a>(queue: &'a Value, job: &str) -> Place<'a> {
    let items = |key: &str| queue[key].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(item) = items("queue_running").iter().find(|item| item[1] == job) {
        return Place::Running(&item[2]);
    }
    // A heap: only its first item is in order.
    let mut pending: Vec<&Value> = items("queue_pending").iter().collect();
    let number = |item: &&Value| item[0].as_f64().unwrap_or(f64::MAX);
    pending.sort_by(|left, right| number(left).total_cmp(&number(right)));
    match pending.iter().position(|item| item[1] == job) {
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
    let message = |name: &str| messages.iter().rev().find(|message| message[0] == name).map(|message| &message[1]);
    let is_error = status["status_str"] == "error";
    if is_error && message("execution_interrupted").is_some() {
        return Ok(Progress::of(Status::Cancelled(Charged::No)));
    }
    if is_error || status["completed"] == false {
        let error = message("execution_error").cloned().unwrap_or_default();
        return Ok(Progress::of(Status::Failed(failure(provider, &error, &entry["prompt"][2]))));
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

/// The time between the messages that it began and that it ended.
fn compute_seconds(messages: &[Value]) -> Option<f64> {
    let at = |name: &str| messages.iter().find(|message| message[0] == name)?[1]["timestamp"].as_f64();
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

/// The files that a job saved, those of the ordered kind if there are any; previews only where nothing was saved.
fn files(base: &Url, kind: Option<Kind>, outputs: &Value) -> Vec<RemoteOutput> {
    let mut nodes: Vec<(&String, &Value)> = outputs.as_object().into_iter().flatten().collect();
    nodes.sort_by_key(|(id, _)| (id.parse::<u64>().unwrap_or(u64::MAX), (*id).clone()));
    let lists = nodes.into_iter().filter_map(|(_, node)| node.as_object()).flat_map(|node| node.values());
    let items = lists.filter_map(Value::as_array).flatten();
    let files: Vec<(&str, &str, &str)> = items
        .filter_map(|file| {
            let text = |key: &str| file[key].as_str();
            let name = text("filename").filter(|name| !name.is_empty())?;
            Some((name, text("subfolder").unwrap_or_default(), text("type").unwrap_or("output")))
        })
        .collect();
    let of_type = |wanted: &str| -> Vec<_> { files.iter().copied().filter(|(_, _, it)| *it == wanted).collect() };
    let saved = [of_type("output"), of_type("temp")].into_iter().find(|list| !list.is_empty()).unwrap_or_default();
    let is_ordered = |name: &str| {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
        kind.is_none_or(|kind| endings(kind).contains(&ending.as_str()))
    };
    let ordered: Vec<_> = saved.iter().copied().filter(|(name, ..)| is_ordered(name)).collect();
    let mut seen = BTreeSet::new();
    let chosen = if ordered.is_empty() { saved } else { ordered };
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
