//! Google's error form, `google.rpc.Status`, as answers and operations carry it, and what it means.

use std::time::Duration;

use serde_json::Value;

use crate::{
    domain::{
        card::ModelCard,
        failure::{Charged, Failure, FailurePhase, FailureReason},
        names::ProviderId,
    },
    provider::{
        error::{ErrorKind, ProviderError},
        http::{
            Answer,
            outcome::{self, Call, Said},
            text::{is_html, shown},
        },
    },
};

/// Words of a refusal by the content policy, in lower case.
const POLICY_WORDS: [&str; 9] = [
    "support codes",
    "responsible ai",
    "usage guidelines",
    "safety",
    "sensitive words",
    "content policy",
    "policies",
    "prohibited",
    "celebrit",
];

/// Longest wait that an error may ask for; a longer one is cut.
const MOST_WAIT: f64 = 600.0;

/// What an error says. Every part may be missing.
#[derive(Debug, Default)]
pub(in crate::provider) struct Status {
    /// HTTP status in an answer, `google.rpc.Code` in an operation.
    pub(in crate::provider) code: Option<i64>,
    /// The code's name, for example `INVALID_ARGUMENT`.
    pub(in crate::provider) word: Option<String>,
    /// The explanation.
    pub(in crate::provider) message: String,
    /// Reasons of `ErrorInfo`, for example `API_KEY_INVALID`.
    pub(in crate::provider) reasons: Vec<String>,
    /// Fields of `BadRequest`, as Google names them.
    pub(in crate::provider) fields: Vec<String>,
    /// Limits of `QuotaFailure` that were reached.
    pub(in crate::provider) quotas: Vec<String>,
    /// The wish of `RetryInfo`.
    pub(in crate::provider) retry_after: Option<Duration>,
}

impl Status {
    /// Of an error answer's body: `{"error": {…}}`, also as the only item of a list, or nothing if it has another form.
    pub(in crate::provider) fn of_body(body: &Value) -> Option<Self> {
        let body = body.get(0).unwrap_or(body);
        // A proxy may put the whole of it into the words of its own error.
        let inner = body["error"]["message"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let inner = inner.as_ref().and_then(|inner| inner.get("error"));
        inner.or_else(|| body.get("error")).filter(|error| error.is_object()).map(Self::of)
    }

    /// Of the error itself, which may be words alone.
    pub(in crate::provider) fn of(error: &Value) -> Self {
        if let Some(words) = error.as_str() {
            return Self { message: words.to_owned(), ..Self::default() };
        }
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let code = &error["code"];
        let mut status = Self {
            code: code.as_i64().or_else(|| code.as_f64().map(whole)).or_else(|| code.as_str()?.parse().ok()),
            // Some answers have a word in the code's place.
            word: text(&error["status"])
                .map(|word| word.to_ascii_uppercase().replace(' ', "_"))
                .or_else(|| text(code).filter(|word| word.parse::<f64>().is_err())),
            message: text(&error["message"]).unwrap_or_default(),
            ..Self::default()
        };
        for detail in error["details"].as_array().into_iter().flatten() {
            let items = |key: &str, name: &'static [&'static str]| {
                let items = detail[key].as_array().cloned().unwrap_or_default();
                items.into_iter().filter_map(move |item| name.iter().find_map(|name| text(&item[*name])))
            };
            status.reasons.extend(text(&detail["reason"]));
            status.fields.extend(items("fieldViolations", &["field"]));
            status.quotas.extend(items("violations", &["quotaId", "quotaMetric", "subject"]));
            status.retry_after = status.retry_after.or_else(|| detail["retryDelay"].as_str().and_then(wait));
        }
        status
    }

    /// True if the content policy spoke.
    pub(in crate::provider) fn is_policy(&self) -> bool {
        speaks_of_policy(&self.message)
    }

    /// What it means where the HTTP status alone says something else.
    fn kind(&self, call: Call, http: u16) -> Option<ErrorKind> {
        let has_reason = |wanted: &str| self.reasons.iter().any(|reason| reason.contains(wanted));
        let says = |wanted: &str| self.message.to_ascii_lowercase().contains(wanted);
        // A limit of nothing at all passes no more than money that is gone.
        let is_spent =
            ["limit: 0,", "limit: 0\n", "credits are depleted", "spending cap", "spend cap"].into_iter().any(says);
        let is_key = has_reason("API_KEY") || says("api key not valid") || says("api key expired");
        match http {
            400 | 401 | 403 if is_key => Some(ErrorKind::Unauthenticated),
            429 if is_spent => Some(ErrorKind::OutOfCredit),
            400 | 403 if has_reason("BILLING") || says("billing") => Some(ErrorKind::OutOfCredit),
            // Where the caller is, and what its organization forbids, are no faults of the order.
            400 if says("location is not supported") => Some(ErrorKind::Unauthenticated),
            403 if says("organization") => None,
            400 | 403 if matches!(call, Call::Submit | Call::Chat) && self.is_policy() => {
                Some(ErrorKind::ContentRefused)
            }
            _ => None,
        }
    }

    /// The explanation with the word and the limits, safe to show.
    fn words(&self, hidden: &[&str]) -> Option<String> {
        let mut words = shown(&self.message, hidden).unwrap_or_default();
        if !self.quotas.is_empty() {
            words.push_str(&format!(" (limit: {})", self.quotas.join(", ")));
        }
        (!words.trim().is_empty()).then_some(words)
    }

    /// The request's field that is named, or that the explanation speaks of.
    fn field(&self, card: Option<&ModelCard>) -> Option<String> {
        let named = self.fields.iter().find_map(|path| our_field(path, card?));
        named.or_else(|| {
            let words: Vec<String> =
                self.message.split(|c: char| !c.is_alphanumeric() && c != '_').map(folded).collect();
            let is_named = |field: &str| field.len() >= 4 && words.contains(&folded(last(field)));
            let (name, _) = card?.options.iter().find(|(name, spec)| is_named(spec.field(**name)))?;
            Some(format!("options.{name}"))
        })
    }

    /// A job's failure: what an operation that ended badly says. Videos that were not delivered are not charged.
    pub(in crate::provider) fn failure(&self, provider: &ProviderId) -> Failure {
        let word = self.word.as_deref().unwrap_or_else(|| self.code.map_or("", rpc_word));
        let (reason, retryable) = match word {
            _ if self.is_policy() => (FailureReason::ProviderRefusedContent, false),
            "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => (FailureReason::ProviderInvalidOrder, false),
            "PERMISSION_DENIED" | "UNAUTHENTICATED" => (FailureReason::ProviderUnauthenticated, false),
            "RESOURCE_EXHAUSTED" => (FailureReason::ProviderOverloaded, true),
            "INTERNAL" | "UNAVAILABLE" | "DEADLINE_EXCEEDED" | "ABORTED" | "UNKNOWN" => {
                (FailureReason::ProviderJobFailed, true)
            }
            _ => (FailureReason::ProviderJobFailed, false),
        };
        let explained = self.words(&[]).unwrap_or_else(|| "failed without saying why".to_owned());
        let message = if word.is_empty() { explained } else { format!("{word}: {explained}") };
        let mut failure = Failure::new(reason, FailurePhase::Provider, Charged::No, message).at(provider);
        failure.retryable = retryable;
        if reason == FailureReason::ProviderRefusedContent {
            failure = failure.because_of(refused_input(&self.message));
        }
        failure
    }

    /// True if the job was stopped.
    pub(in crate::provider) fn is_cancelled(&self) -> bool {
        self.word.as_deref() == Some("CANCELLED") || self.word.is_none() && matches!(self.code, Some(1 | 499))
    }
}

/// The error of a bad answer. 401 and 403 are told apart by name, also where the body explains nothing.
pub(in crate::provider) fn refused(
    provider: &ProviderId,
    call: Call,
    answer: &Answer,
    hidden: &[&str],
    card: Option<&ModelCard>,
) -> ProviderError {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let http = answer.status.as_u16();
    let status = Status::of_body(&body);
    let of_body = status.as_ref().and_then(|status| status.words(hidden));
    let detail = of_body.or_else(|| match &body {
        Value::Null if is_html(&answer.body) => Some("a non-JSON reply, an HTML page".to_owned()),
        Value::Null if !answer.body.is_empty() => Some("a non-JSON reply".to_owned()),
        // An OAuth error, or a proxy's own form.
        _ => Said::of(answer, body.get(0).unwrap_or(&body), hidden).detail,
    });
    let status = status.unwrap_or_default();
    let word = status.word.clone().or_else(|| http_word(http).map(str::to_owned));
    let said = Said {
        detail: match (word, detail) {
            (Some(word), Some(detail)) => Some(format!("{word}: {detail}")),
            (word, detail) => word.or(detail),
        },
        retry_after: answer.retry_after.or(status.retry_after),
        field: if matches!(http, 400 | 422) && call == Call::Submit { status.field(card) } else { None },
    };
    let mut error = outcome::refused(provider, call, answer.status, said);
    if let Some(kind) = status.kind(call, http) {
        error.kind = kind;
        if kind == ErrorKind::ContentRefused {
            error.field = refused_input(&status.message).or_else(|| Some("prompt".to_owned()));
        }
    }
    if http == 499 {
        // The caller is said to have gone away: what was begun may go on.
        (error.kind, error.effect) = (ErrorKind::Timeout, call.lost());
    }
    error
}

/// Whether a text is a refusal by the content policy.
pub(in crate::provider) fn speaks_of_policy(text: &str) -> bool {
    // A setting is no refusal, whatever it is about.
    let text = text.to_ascii_lowercase().replace("safety setting", "").replace("safety_setting", "");
    POLICY_WORDS.iter().any(|word| text.contains(word))
}

/// The part of the request that a refusal speaks of, if only one is.
pub(in crate::provider) fn refused_input(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let of_image = ["image", "input video", "photo", "frame"].iter().any(|word| text.contains(word));
    match (of_image, text.contains("prompt")) {
        (true, false) => Some("inputs".to_owned()),
        (false, true) => Some("prompt".to_owned()),
        (true, true) | (false, false) => None,
    }
}

fn our_field(path: &str, card: &ModelCard) -> Option<String> {
    let theirs = folded(last(path));
    if theirs.is_empty() {
        return None;
    }
    if theirs == folded(last(&card.prompt.field)) || theirs == "text" {
        return Some("prompt".to_owned());
    }
    if let Some((name, _)) = card.options.iter().find(|(name, spec)| folded(last(spec.field(**name))) == theirs) {
        return Some(format!("options.{name}"));
    }
    let is_input =
        card.inputs.values().any(|spec| path.split(['.', '[']).any(|part| folded(part) == folded(&spec.field)));
    if is_input || ["inlinedata", "data", "bytesbase64encoded", "mimetype"].contains(&theirs.as_str()) {
        return Some("inputs".to_owned());
    }
    card.provider_options
        .iter()
        .find(|known| folded(known) == theirs)
        .map(|known| format!("options.provider_options.{known}"))
}

/// The last name of a path, without an index.
fn last(path: &str) -> &str {
    let name = path.rsplit('.').next().unwrap_or_default();
    name.split('[').next().unwrap_or_default()
}

/// Google writes one name as `duration_seconds` here and `durationSeconds` there.
fn folded(name: &str) -> String {
    name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}

/// A duration of JSON, for example `34.4s`.
fn wait(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().strip_suffix('s').unwrap_or(text).parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.clamp(1.0, MOST_WAIT)))
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and a code is small")]
fn whole(number: f64) -> i64 {
    number as i64
}

fn http_word(status: u16) -> Option<&'static str> {
    Some(match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        500 => "INTERNAL",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => return None,
    })
}

/// The name of a `google.rpc.Code`; a gateway may have put an HTTP status there.
fn rpc_word(code: i64) -> &'static str {
    match code {
        1 => "CANCELLED",
        2 => "UNKNOWN",
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        9 => "FAILED_PRECONDITION",
        10 => "ABORTED",
        11 => "OUT_OF_RANGE",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        16 => "UNAUTHENTICATED",
        http => u16::try_from(http).ok().and_then(http_word).unwrap_or_default(),
    }
}
