//! From a vendor's answer to what it means, by the description. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use crate::{
    domain::{
        failure::{Charged, Failure, FailurePhase, FailureReason},
        money::{MicroUsd, Usage},
        names::ProviderId,
    },
    provider::{
        error::ErrorKind,
        http::{
            base64,
            text::{SHOWN_CHARS, shortened, shown},
        },
        port::RemoteOutput,
    },
};

use super::{
    description::{Description, Errors, OutputForm, ProgressPlaces, StatusWords, UsagePlaces},
    pointer::{Pointer, text_of},
};

/// Most characters kept of a status word.
const PHASE_CHARS: usize = 64;
/// Most bytes kept of a log.
const LOG_TAIL: usize = 4096;
/// A larger number of seconds since 1970 is one of milliseconds.
const MOST_SECONDS: f64 = 1e11;

/// What an answer says of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    Waiting,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// Where a job stands, and the vendor's word for it; nothing without a word.
pub(super) fn stand(words: &StatusWords, answer: &Value) -> Option<(Stand, String)> {
    let word = words.at.text(answer)?;
    let is_one_of = |list: &[String]| list.iter().any(|it| it.eq_ignore_ascii_case(&word));
    let known = [
        (&words.succeeded, Stand::Succeeded),
        (&words.failed, Stand::Failed),
        (&words.cancelled, Stand::Cancelled),
        (&words.waiting, Stand::Waiting),
        (&words.running, Stand::Running),
    ];
    // A word of tomorrow is taken for a job at work, which our own deadline bounds.
    let stand = known.iter().find(|(list, _)| is_one_of(list)).map_or(Stand::Running, |(_, stand)| *stand);
    Some((stand, shortened(&word, PHASE_CHARS)))
}

/// The outputs that an answer holds; `base` is where a relative address begins.
pub(super) fn outputs(description: &Description, base: &Url, answer: &Value) -> Vec<RemoteOutput> {
    let found = description.outputs.at.all(answer).into_iter();
    // A list at the place is as good as a star behind it.
    let flat = found.flat_map(|value| match value {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    });
    let texts = flat.filter_map(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    texts.filter_map(|text| output(description.outputs.form, base, text)).collect()
}

fn output(form: OutputForm, base: &Url, text: &str) -> Option<RemoteOutput> {
    if text.starts_with("data:") {
        return base64::decode_data_uri(text).map(RemoteOutput::Inline);
    }
    match form {
        // Any other text is only a text.
        OutputForm::Url if !["https://", "http://", "/"].iter().any(|start| text.starts_with(start)) => None,
        OutputForm::Url => base.join(text).ok().filter(Url::has_host).map(RemoteOutput::Link),
        OutputForm::Base64 => base64::decode(text).map(RemoteOutput::Inline),
        OutputForm::Body => None,
    }
}

/// What the vendor counts and asks for itself.
pub(super) fn usage(places: &UsagePlaces, answer: &Value) -> Usage {
    let number = |place: &Option<Pointer>| place.as_ref()?.number(answer).filter(|number| *number >= 0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; a count is small")]
    let count = |place: &Option<Pointer>| number(place).map(|number| number as u64);
    Usage {
        output_seconds: number(&places.output_seconds),
        outputs: count(&places.outputs).and_then(|count| u32::try_from(count).ok()),
        compute_seconds: number(&places.compute_seconds),
        audio: places.audio.as_ref().and_then(|place| place.first(answer)?.as_bool()),
        characters: count(&places.characters),
        megapixels: number(&places.megapixels),
        tokens: number(&places.tokens),
        charged: number(&places.charged_usd).map(|dollars| MicroUsd(1_000_000).times(dollars)),
    }
}

/// 0 to 100.
pub(super) fn percent(places: &ProgressPlaces, answer: &Value) -> Option<u8> {
    let value = places.percent.as_ref()?.number(answer)?;
    let percent = value / places.scale.unwrap_or(100.0) * 100.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100")]
    Some(percent.clamp(0.0, 100.0) as u8)
}

/// The place in the vendor's queue, from 1.
pub(super) fn queue_position(places: &ProgressPlaces, answer: &Value) -> Option<u32> {
    let place = places.queue_position.as_ref()?.number(answer)?;
    let from_one = place - f64::from(places.queue_from.unwrap_or(1)) + 1.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, and it is at least 1")]
    (from_one >= 1.0).then_some(from_one as u32)
}

/// The end of the vendor's log.
pub(super) fn log_tail(places: &ProgressPlaces, answer: &Value) -> Option<String> {
    let found = places.logs.as_ref()?.all(answer).into_iter();
    let lines = found.flat_map(|value| match value {
        Value::Array(items) => items.iter().filter_map(text_of).collect(),
        other => text_of(other).into_iter().collect::<Vec<_>>(),
    });
    let log = lines.collect::<Vec<_>>().join("\n");
    let tail = &log[log.ceil_char_boundary(log.len().saturating_sub(LOG_TAIL))..];
    (!tail.is_empty()).then(|| tail.to_owned())
}

/// When the vendor wants to be asked again.
pub(super) fn poll_after(places: &ProgressPlaces, answer: &Value) -> Option<Duration> {
    let seconds = places.poll_after.as_ref()?.number(answer)?;
    Duration::try_from_secs_f64(seconds.clamp(0.0, 600.0)).ok()
}

/// When a job of a list was made.
pub(super) fn created_at(place: &Pointer, item: &Value) -> Option<Timestamp> {
    if let Some(at) = place.text(item).and_then(|text| text.parse().ok()) {
        return Some(at);
    }
    let number = place.number(item)?;
    let seconds = if number.abs() > MOST_SECONDS { number / 1000.0 } else { number };
    Timestamp::from_second(0).ok()?.checked_add(jiff::SignedDuration::try_from_secs_f64(seconds).ok()?).ok()
}

/// The vendor's explanation, made safe to show.
pub(super) fn message(errors: &Errors, answer: &Value, hidden: &[&str]) -> Option<String> {
    let text = errors.message.text(answer);
    let text = text.as_deref().and_then(|text| shown(text, hidden));
    let code = errors.code.text(answer).as_deref().and_then(|code| shown(code, hidden));
    match (text, code) {
        (Some(text), Some(code)) if !text.contains(&code) => Some(shortened(&format!("{text} ({code})"), SHOWN_CHARS)),
        (Some(text), Some(_) | None) => Some(text),
        (None, code) => code,
    }
}

/// What the words of an error mean, where the description says so.
pub(super) fn meaning(errors: &Errors, answer: &Value) -> Option<ErrorKind> {
    let texts: Vec<String> = [errors.message.text(answer), errors.code.text(answer)].into_iter().flatten().collect();
    let says = |words: &[String]| {
        words.iter().any(|word| {
            let word = word.to_lowercase();
            texts.iter().any(|text| text.to_lowercase().contains(&word))
        })
    };
    let known = [
        (&errors.content, ErrorKind::ContentRefused),
        (&errors.credit, ErrorKind::OutOfCredit),
        (&errors.invalid, ErrorKind::InvalidOrder),
        (&errors.busy, ErrorKind::Overloaded),
    ];
    known.into_iter().find(|(words, _)| says(words)).map(|(_, kind)| kind)
}

/// The failure of a job of which the vendor says that it failed.
pub(super) fn failure(
    provider: &ProviderId,
    errors: &Errors,
    answer: &Value,
    field: Option<String>,
    hidden: &[&str],
) -> Failure {
    let reason = match meaning(errors, answer) {
        Some(ErrorKind::ContentRefused) => FailureReason::ProviderRefusedContent,
        Some(ErrorKind::OutOfCredit) => FailureReason::ProviderOutOfCredit,
        Some(ErrorKind::InvalidOrder) => FailureReason::ProviderInvalidOrder,
        Some(_) | None => FailureReason::ProviderJobFailed,
    };
    let message = message(errors, answer, hidden).unwrap_or_else(|| "failed without saying why".to_owned());
    let charged = errors.charged.unwrap_or(Charged::Unknown);
    let mut failure = Failure::new(reason, FailurePhase::Provider, charged, message).at(provider).because_of(field);
    failure.retryable |= meaning(errors, answer) == Some(ErrorKind::Overloaded);
    failure
}
