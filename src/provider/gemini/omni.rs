//! Interactions: how far one is, and its videos. Pure.

use serde_json::Value;
use url::Url;

use crate::{
    domain::{
        failure::{Charged, Failure, FailurePhase, FailureReason},
        money::Usage,
        names::ProviderId,
    },
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        google::{
            base64::decode,
            names::items,
            status::{Status, refused_input, speaks_of_policy},
        },
        http::text::{shortened, shown},
        port::{CancelOutcome, Progress, RemoteOutput, Status as Stage},
    },
};

/// Most bytes of an interaction: a video within it, in base64.
pub(super) const ANSWER_CAP: usize = 128 << 20;
/// Most characters kept of a status word.
const PHASE_CHARS: usize = 64;

/// How far an interaction is.
pub(super) fn progress(
    provider: &ProviderId,
    interaction: &Value,
    data: &Value,
    base: &Url,
) -> Result<Progress, ProviderError> {
    let word = interaction["status"].as_str().unwrap_or_default().to_ascii_lowercase();
    let word = word.as_str();
    let outputs = outputs(interaction, base);
    let status = match word {
        "queued" => Stage::Waiting,
        "completed" | "incomplete" if !outputs.is_empty() => Stage::Done(outputs),
        "completed" => Stage::Failed(without_video(provider, interaction)?),
        "failed" | "incomplete" => Stage::Failed(failure(provider, interaction)),
        "budget_exceeded" => {
            let reason = FailureReason::ProviderOutOfCredit;
            let why = "BUDGET_EXCEEDED: the account's budget ended it";
            Stage::Failed(Failure::new(reason, FailurePhase::Provider, charged(interaction), why).at(provider))
        }
        "requires_action" | "requires_continuation" => {
            let why = format!("waits for something that no order gives: {word}");
            let reason = FailureReason::ProviderJobFailed;
            Stage::Failed(Failure::new(reason, FailurePhase::Provider, charged(interaction), why).at(provider))
        }
        "cancelled" => Stage::Cancelled(charged(interaction)),
        // A word of tomorrow is taken for a job at work, which our own deadline bounds.
        _ => Stage::Running,
    };
    let n_outputs = if let Stage::Done(outputs) = &status { u32::try_from(outputs.len()).ok() } else { None };
    let seconds = data["seconds"].as_f64().filter(|_| n_outputs.is_some());
    let usage = Usage {
        outputs: n_outputs,
        output_seconds: seconds,
        tokens: video_tokens(interaction).filter(|_| n_outputs.is_some()),
        ..Usage::default()
    };
    Ok(Progress { usage, phase: Some(shortened(word, PHASE_CHARS)), ..Progress::of(status) })
}

/// What a good answer to a cancel says.
pub(super) fn cancelled(interaction: &Value) -> CancelOutcome {
    match interaction["status"].as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("cancelled") => CancelOutcome::Stopped(charged(interaction)),
        Some("completed" | "failed" | "incomplete" | "budget_exceeded") => CancelOutcome::TooLate,
        // There may have been nothing to stop: the next question tells.
        Some(_) | None => CancelOutcome::Requested,
    }
}

/// The address where a file can be fetched: a file's own address gives its description, and its content by `:download`.
pub(super) fn link(base: &Url, text: &str) -> Option<Url> {
    let mut url = Url::parse(text.trim()).ok().filter(Url::has_host)?;
    if url.scheme() != "https" && !(url.scheme() == "http" && base.scheme() == "http") {
        return None;
    }
    let is_file = url.path().contains("/files/");
    let is_ours = url.origin() == base.origin() || url.host_str() == Some(super::KEY_HOSTS[0]);
    if is_file && is_ours {
        if !url.path().ends_with(":download") {
            url.set_path(&format!("{}:download", url.path()));
        }
        if !url.query_pairs().any(|(name, _)| name == "alt") {
            url.query_pairs_mut().append_pair("alt", "media");
        }
    }
    Some(url)
}

fn steps(interaction: &Value) -> impl Iterator<Item = &Value> {
    items(&interaction["steps"]).iter().filter(|step| step["type"].as_str() == Some("model_output"))
}

fn blocks(interaction: &Value) -> impl Iterator<Item = &Value> {
    // What was made lay beside the steps in the first revision.
    steps(interaction).flat_map(|step| items(&step["content"])).chain(items(&interaction["outputs"]))
}

fn outputs(interaction: &Value, base: &Url) -> Vec<RemoteOutput> {
    let videos = blocks(interaction).filter(|block| block["type"].as_str() == Some("video"));
    let output = |block: &Value| {
        let at = block["uri"].as_str().and_then(|uri| link(base, uri)).map(RemoteOutput::Link);
        at.or_else(|| block["data"].as_str().and_then(decode).map(RemoteOutput::Inline))
    };
    videos.filter_map(output).collect()
}

/// A refusal may be a completed interaction with words in the place of the video.
fn without_video(provider: &ProviderId, interaction: &Value) -> Result<Failure, ProviderError> {
    if steps(interaction).any(|step| step["error"].is_object()) {
        return Ok(failure(provider, interaction));
    }
    let words: Vec<&str> = blocks(interaction).filter_map(|block| block["text"].as_str()).collect();
    let words = words.join(" ");
    let Some(told) = shown(&words, &[]) else {
        return Err(ProviderError::new(provider, ErrorKind::NoOutput, Effect::None, "completed without a video"));
    };
    let is_refusal = speaks_of_policy(&words) || is_excuse(&words);
    let reason = if is_refusal { FailureReason::ProviderRefusedContent } else { FailureReason::NoDownloadableOutput };
    let message = format!("answered with words and no video: {told}");
    let field = is_refusal.then(|| refused_input(&words)).flatten();
    Ok(Failure::new(reason, FailurePhase::Provider, charged(interaction), message).at(provider).because_of(field))
}

fn is_excuse(words: &str) -> bool {
    let words = words.to_ascii_lowercase().replace('’', "'");
    ["can't", "cannot", "can not", "unable to", "not able to", "won't"].iter().any(|excuse| words.contains(excuse))
}

fn failure(provider: &ProviderId, interaction: &Value) -> Failure {
    let of_step = steps(interaction).map(|step| &step["error"]).find(|error| error.is_object());
    let of_all = interaction["errors"].as_array().and_then(|errors| errors.first());
    let error = of_step.or(of_all).or_else(|| interaction.get("error")).cloned().unwrap_or_default();
    let mut failure = Status::of(&error).failure(provider);
    failure.charged = charged(interaction);
    failure
}

/// Without a token of video nothing of weight is charged; with some it cannot be told.
fn charged(interaction: &Value) -> Charged {
    match video_tokens(interaction) {
        Some(tokens) if tokens > 0.0 => Charged::Unknown,
        Some(_) | None => Charged::No,
    }
}

/// Tokens of the video; all that came out where they are not told apart.
fn video_tokens(interaction: &Value) -> Option<f64> {
    let usage = &interaction["usage"];
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    match usage["output_tokens_by_modality"].as_array() {
        Some(all) if !all.is_empty() => {
            let of_video =
                all.iter().filter(|it| it["modality"].as_str().is_some_and(|m| m.eq_ignore_ascii_case("video")));
            Some(of_video.filter_map(|it| number(&it["tokens"])).sum())
        }
        Some(_) | None => {
            let has_video = blocks(interaction).any(|block| block["type"].as_str() == Some("video"));
            number(&usage["total_output_tokens"]).filter(|_| has_video)
        }
    }
}
