//! From our order to Replicate's input, and from its prediction to our progress. Pure.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{
    domain::{
        card::ModelCard,
        failure::{Charged, Failure, FailurePhase, FailureReason},
        money::Usage,
        names::ProviderId,
    },
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        http::text::{SHOWN_CHARS, shortened, shown},
        port::{CancelOutcome, Order, Progress, Status},
    },
};

use super::{
    output::{self, View},
    wire::{Prediction, Problem},
};

/// Most characters kept of a status word.
const PHASE_CHARS: usize = 64;
/// Most bytes kept of a log.
const LOG_TAIL: usize = 4096;

/// A shorter input is an enumeration's word, which explains a failure and tells nothing.
const LEAST_QUOTED: usize = 12;

/// Codes of Replicate's list that name a passing trouble of its own.
const PASSING_CODES: [&str; 9] = ["E003", "E004", "E1000", "E6716", "E8367", "E8765", "E9243", "E9825", "E9828"];

/// Words of models and of the vendors behind them for a refusal of what was asked or made.
const REFUSALS: [&str; 16] = [
    "flagged",
    "moderated",
    "moderation",
    "content policy",
    "content_policy",
    "safety system",
    "safety filter",
    "safety check",
    "failed safety",
    "usage guidelines",
    "usage policies",
    "responsible ai",
    "risk control",
    "prohibited content",
    "inappropriate content",
    "guardrails",
];

/// How far a prediction is.
pub(super) fn progress(provider: &ProviderId, prediction: &Prediction, view: View) -> Result<Progress, ProviderError> {
    let word = prediction.word();
    let mut usage = usage(prediction);
    let status = match word.as_str() {
        "starting" => Status::Waiting,
        "succeeded" => {
            let files = output::files(&prediction.output, view);
            if files.is_empty() {
                return Err(no_output(provider, prediction));
            }
            usage.outputs = usage.outputs.or_else(|| u32::try_from(files.len()).ok());
            Status::Done(files)
        }
        "failed" => Status::Failed(failure(provider, prediction)),
        "canceled" => Status::Cancelled(charged_when_cancelled(prediction)),
        // The deadline passed before it began; documented as never billed.
        "aborted" => Status::Cancelled(Charged::No),
        // A word of tomorrow is taken for a job at work, which our own deadline bounds.
        _ => Status::Running,
    };
    let logs = prediction.logs.as_deref().unwrap_or_default();
    Ok(Progress {
        status,
        phase: Some(shortened(&word, PHASE_CHARS)),
        percent: percent(logs),
        queue_position: None,
        log_tail: (!logs.is_empty()).then(|| tail(logs).to_owned()),
        usage,
        poll_after: None,
    })
}

/// What the answer to a cancel says.
pub(super) fn cancelled(prediction: &Prediction) -> CancelOutcome {
    match prediction.word().as_str() {
        "canceled" => CancelOutcome::Stopped(charged_when_cancelled(prediction)),
        "aborted" => CancelOutcome::Stopped(Charged::No),
        "succeeded" | "failed" => CancelOutcome::TooLate,
        _ => CancelOutcome::Requested,
    }
}

/// The request's field that a refusal names.
pub(super) fn field_at_fault(problem: &Problem, card: Option<&Arc<ModelCard>>) -> Option<String> {
    let named = problem.invalid_fields.as_ref().and_then(|fields| {
        fields.iter().find_map(|invalid| {
            // Of a missing key only the description names it.
            let path = match invalid.fault.as_str() {
                "required" => invalid.description.split(' ').next().unwrap_or_default(),
                _ => invalid.field.as_str(),
            };
            (!path.is_empty()).then(|| path.to_owned())
        })
    });
    let path = named.or_else(|| {
        let detail = problem.detail.as_deref()?;
        let line = detail.lines().find_map(|line| line.trim_start().strip_prefix("- "))?;
        let (path, rest) = line.split_once(':')?;
        match path.trim() {
            "input" => rest.split_whitespace().next().map(str::to_owned),
            path => Some(path.to_owned()),
        }
    })?;
    our_field(&path, card)
}

fn our_field(path: &str, card: Option<&Arc<ModelCard>>) -> Option<String> {
    let theirs = path.strip_prefix("input.").unwrap_or(path).split(['.', '[']).next()?;
    if theirs.is_empty() || matches!(theirs, "input" | "version" | "webhook") {
        return None;
    }
    if theirs == card.map_or("prompt", |card| card.prompt.field.as_str()) {
        return Some("prompt".to_owned());
    }
    if let Some(card) = card {
        if let Some((name, _)) = card.options.iter().find(|(name, spec)| spec.field(**name) == theirs) {
            return Some(format!("options.{name}"));
        }
        if card.inputs.values().any(|spec| spec.field == theirs) {
            return Some("inputs".to_owned());
        }
    }
    Some(format!("options.provider_options.{theirs}"))
}

/// True if `prediction` could be the run of `order` whose expected input is `sent`, in which null stands for a file
/// that may be written in any way.
pub(super) fn is_run_of(prediction: &Prediction, order: &Order, sent: &Map<String, Value>) -> bool {
    let Some(input) = &prediction.input else { return false };
    is_model_of(prediction, order) && sent.iter().all(|(key, value)| input.get(key).is_some_and(|it| same(value, it)))
}

fn is_model_of(prediction: &Prediction, order: &Order) -> bool {
    let (name, version) = match order.model.split_once(':') {
        Some((name, version)) => (Some(name), Some(version)),
        None if super::is_version(&order.model) => (None, Some(order.model.as_str())),
        None => (Some(order.model.as_str()), None),
    };
    // An official model shows `hidden` in the place of its version.
    let shown = prediction.version.as_deref().filter(|shown| super::is_version(shown));
    if let (Some(version), Some(shown)) = (version, shown) {
        return version == shown;
    }
    // A prediction that does not name its model, or an order that does not, is judged by the input.
    let (Some(model), Some(name)) = (&prediction.model, name) else { return true };
    name == model || order.card.as_ref().is_some_and(|card| card.aliases.contains(model))
}

/// Equal as far as an echo can be: numbers by value, inline files by being there.
fn same(sent: &Value, echoed: &Value) -> bool {
    match (sent, echoed) {
        (Value::Null, echoed) => !echoed.is_null(),
        (Value::Number(sent), Value::Number(echoed)) => match (sent.as_f64(), echoed.as_f64()) {
            (Some(sent), Some(echoed)) => (sent - echoed).abs() < 1e-9,
            (Some(_) | None, None) | (None, Some(_)) => sent == echoed,
        },
        (Value::Array(sent), Value::Array(echoed)) => {
            sent.len() == echoed.len() && sent.iter().zip(echoed).all(|(sent, echoed)| same(sent, echoed))
        }
        (sent, echoed) => sent == echoed,
    }
}

fn no_output(provider: &ProviderId, prediction: &Prediction) -> ProviderError {
    let summary = if prediction.data_removed == Some(true) && prediction.output.is_null() {
        "succeeded, but its outputs were deleted before they were fetched: the retention of one hour has passed"
            .to_owned()
    } else {
        format!("succeeded with nothing to download: {}", output::shape(&prediction.output))
    };
    ProviderError::new(provider, ErrorKind::NoOutput, Effect::None, shortened(&summary, SHOWN_CHARS))
}

fn failure(provider: &ProviderId, prediction: &Prediction) -> Failure {
    let text = match &prediction.error {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    };
    let (reason, retryable) = classify(&text);
    // The model may quote what it was given.
    let given = prediction.input.iter().flatten().filter_map(|(key, value)| Some((key, value.as_str()?)));
    let is_telling = |(key, text): (&String, _)| (key == "prompt" || str::len(text) >= LEAST_QUOTED).then_some(text);
    let given: Vec<&str> = given.filter_map(is_telling).chain(prediction.webhook.as_deref()).collect();
    let message = shown(&text, &given).unwrap_or_else(|| "failed without saying why".to_owned());
    // Failed runs are documented as generally free.
    let mut failure = Failure::new(reason, FailurePhase::Provider, Charged::No, message).at(provider);
    failure.retryable = retryable;
    failure
}

fn classify(text: &str) -> (FailureReason, bool) {
    let lower = text.to_ascii_lowercase();
    let has_word =
        |word: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|it| it.eq_ignore_ascii_case(word));
    let is_sensitive = lower.contains("sensitive") && !lower.contains("case");
    let is_refusal = is_sensitive || REFUSALS.iter().any(|words| lower.contains(words));
    if has_word("E005") || has_word("NSFW") || is_refusal {
        return (FailureReason::ProviderRefusedContent, false);
    }
    if has_word("E006") {
        return (FailureReason::ProviderInvalidOrder, false);
    }
    let passing = PASSING_CODES.iter().any(|code| has_word(code))
        || text.contains("code: PA")
        || lower.contains("interrupted; please retry")
        || lower.contains("temporarily unavailable");
    (FailureReason::ProviderJobFailed, passing)
}

/// A cancelled run may be charged for the time it used; only a run that certainly used none, or made something, tells.
fn charged_when_cancelled(prediction: &Prediction) -> Charged {
    let made = ["video_output_count", "image_output_count", "audio_output_count"]
        .iter()
        .any(|key| metric(prediction, key).is_some_and(|count| count > 0.0));
    match metric(prediction, "predict_time") {
        _ if made => Charged::Yes,
        Some(seconds) if seconds <= 0.0 => Charged::No,
        Some(_) | None => Charged::Unknown,
    }
}

fn usage(prediction: &Prediction) -> Usage {
    let first = |keys: &[&str]| keys.iter().find_map(|key| metric(prediction, key));
    let flag = |fields: &Option<Map<String, Value>>, key: &str| fields.as_ref()?.get(key)?.as_bool();
    let outputs = first(&["video_output_count", "image_output_count", "audio_output_count", "image_count"]);
    Usage {
        output_seconds: first(&["video_output_duration_seconds", "audio_output_duration_seconds"]),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates; a count is small"
        )]
        outputs: outputs.map(|count| count as u32),
        compute_seconds: first(&["predict_time"]),
        audio: flag(&prediction.metrics, "with_audio").or_else(|| flag(&prediction.input, "generate_audio")),
        ..Usage::default()
    }
}

/// A metric that is a finite number of zero or more, however it is written.
fn metric(prediction: &Prediction, key: &str) -> Option<f64> {
    let value = prediction.metrics.as_ref()?.get(key)?;
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

/// The percentage of the last tqdm line, for example ` 45%|████▌     | 9/20 [00:04<00:05]`.
fn percent(logs: &str) -> Option<u8> {
    logs.rsplit(['\n', '\r']).find_map(|line| {
        let (number, rest) = line.trim_start().split_once('%')?;
        let mut parts = rest.trim_start().strip_prefix('|')?.splitn(2, '|');
        let (_bar, counts) = (parts.next()?, parts.next()?);
        let (done, _total) = counts.trim_start().split_once('/')?;
        let is_count = !done.is_empty() && done.bytes().all(|byte| byte.is_ascii_digit());
        let percent: u32 = number.parse().ok().filter(|_| is_count)?;
        u8::try_from(percent.min(100)).ok()
    })
}

fn tail(logs: &str) -> &str {
    &logs[logs.ceil_char_boundary(logs.len().saturating_sub(LOG_TAIL))..]
}
