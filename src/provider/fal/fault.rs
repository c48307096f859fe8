//! What fal's error bodies say: which of the order's fields, whose fault, whether a repetition helps, and whether it was billed. Pure.
//!
//! There are two families: `{"detail": "…", "error_type": "…"}` from the platform, and `{"detail": [{"loc", "msg", "type"}]}` from models.

use http::HeaderMap;
use serde_json::Value;

use crate::{
    domain::{
        card::ModelCard,
        failure::{Charged, FailureReason},
        order::InputRole,
    },
    provider::{
        error::ErrorKind,
        http::{Answer, outcome::Call},
    },
};

use super::{
    endpoint::{Ways, option_of},
    wire::number_of,
};

/// Types of a model's error that are its own trouble and may pass.
const PASSING: [&str; 4] =
    ["internal_server_error", "generation_timeout", "downstream_service_error", "downstream_service_unavailable"];
/// Types that the platform finds in the order, before any model has run.
const UNRUN: [&str; 10] = [
    "missing",
    "literal_error",
    "enum",
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
    "multiple_of",
    "value_error",
    "extra_forbidden",
];
/// Words that tell of a content policy where the type does not.
const POLICY_WORDS: [&str; 16] = [
    "content policy",
    "content_policy",
    "content checker",
    "nsfw",
    "safety checker",
    "safety filter",
    "safety system",
    "moderation",
    "moderated",
    "flagged",
    "usage guidelines",
    "usage policies",
    "responsible ai",
    "risk control",
    "sensitive content",
    "inappropriate content",
];
/// What the header of billed units is called.
const UNITS: &str = "x-fal-billable-units";

/// An error as fal tells it.
#[derive(Debug, Clone, Default)]
pub(super) struct Fault {
    status: u16,
    /// Of the platform's family: the kind of trouble.
    error_type: String,
    items: Vec<Item>,
    text: String,
    /// Whether fal says that a repetition helps.
    says_retry: Option<bool>,
    units: Option<f64>,
    /// Whether it is the answer to a request that fal counts.
    has_id: bool,
}

#[derive(Debug, Clone, Default)]
struct Item {
    loc: Vec<Value>,
    msg: String,
    kind: String,
}

impl Fault {
    /// Of an answer and its JSON; null if it had none.
    pub(super) fn of(answer: &Answer, body: &Value) -> Self {
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let text_of = |value: &Value| value.as_str().map(str::to_owned);
        let items = |detail: &Value| detail.as_array().into_iter().flatten().map(Item::of).collect::<Vec<_>>();
        let mut items = items(&body["detail"]);
        if body["detail"].is_object() {
            items.push(Item::of(&body["detail"]));
        }
        let words = ["detail", "message", "error", "msg"].iter().find_map(|key| text_of(&body[*key]));
        let words = words.or_else(|| text_of(&body["error"]["message"]));
        let says_retry = ["x-fal-needs-retry", "x-fal-retryable"].iter().find_map(|name| header(name));
        Self {
            status: answer.status.as_u16(),
            error_type: text_of(&body["error_type"])
                .or_else(|| header("x-fal-error-type").map(str::to_owned))
                .unwrap_or_default(),
            items,
            text: words.unwrap_or_default(),
            says_retry: says_retry.map(|word| matches!(word.to_ascii_lowercase().as_str(), "1" | "true" | "yes")),
            units: units(&answer.headers),
            has_id: answer.headers.contains_key("x-fal-request-id"),
        }
    }

    /// With what the status of the job says, where the answer says less.
    pub(super) fn or_told(&self, error: &Value, error_type: Option<&str>) -> Self {
        let mut told = self.clone();
        if told.items.is_empty() && told.text.is_empty() {
            match error {
                Value::Array(items) => told.items = items.iter().map(Item::of).collect(),
                Value::String(text) => told.text.clone_from(text),
                Value::Object(fields) => {
                    let words = ["detail", "message", "msg"].iter().find_map(|key| fields.get(*key)?.as_str());
                    told.text = words.map_or_else(|| error.to_string(), str::to_owned);
                }
                Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
        }
        if told.error_type.is_empty() {
            error_type.unwrap_or_default().clone_into(&mut told.error_type);
        }
        told
    }

    /// True if it says anything that a gateway in front of the model would not: its words alone may be those of any server.
    pub(super) fn is_told(&self) -> bool {
        let is_of_fal = self.has_id || self.units.is_some() || self.says_retry.is_some();
        !self.items.is_empty() || !self.error_type.is_empty() || !self.text.is_empty() && is_of_fal
    }

    /// What it says, on one line.
    pub(super) fn text(&self) -> Option<String> {
        let of_item = |item: &Item| match item.path() {
            Some(path) => format!("{path}: {}", item.msg),
            None => item.msg.clone(),
        };
        let lines: Vec<String> = self.items.iter().map(of_item).collect();
        let text = if lines.is_empty() { self.text.clone() } else { lines.join("; ") };
        match (text.is_empty(), self.error_type.is_empty()) {
            (false, _) => Some(text),
            (true, false) => Some(self.error_type.replace('_', " ")),
            (true, true) => None,
        }
    }

    /// True if somebody stopped the job.
    pub(super) fn is_cancelled(&self) -> bool {
        matches!(self.error_type.as_str(), "client_cancelled" | "cancelled" | "canceled")
            || self.items.iter().any(|item| item.kind == "client_cancelled")
    }

    /// True of an answer that came before there was a result.
    pub(super) fn is_too_early(&self) -> bool {
        self.status == 400 && self.text.to_ascii_lowercase().contains("still in progress")
    }

    /// True if the model has no such path, which is told as if the result were missing.
    pub(super) fn is_no_path(&self) -> bool {
        let text = self.text.to_ascii_lowercase();
        text.starts_with("path ") && text.contains("not found")
    }

    /// The kind of a call's error, where the status alone would tell another.
    pub(super) fn kind(&self, call: Call) -> Option<ErrorKind> {
        let text = self.text.to_ascii_lowercase();
        if matches!(self.status, 401..=403)
            && ["locked", "balance", "top_up", "top up"].iter().any(|it| text.contains(it))
        {
            return Some(ErrorKind::OutOfCredit);
        }
        let is_of_order = matches!(call, Call::Submit | Call::Prepare) && matches!(self.status, 400 | 422);
        (is_of_order && self.is_refused_content()).then_some(ErrorKind::ContentRefused)
    }

    /// Why the job failed, and whether the same order may well succeed later.
    pub(super) fn reason(&self) -> (FailureReason, bool) {
        if self.is_refused_content() {
            return (FailureReason::ProviderRefusedContent, false);
        }
        let is_any = |known: &[&str]| self.items.iter().any(|item| known.contains(&item.kind.as_str()));
        let passing = is_any(&PASSING) || self.items.is_empty() && is_passing(&self.error_type);
        let retryable = self.says_retry.unwrap_or(passing);
        let reason = match self.status {
            _ if passing || is_any(&["no_media_generated"]) => FailureReason::ProviderJobFailed,
            400 | 413 | 415 | 422 => FailureReason::ProviderInvalidOrder,
            404 => FailureReason::ProviderModelNotFound,
            _ if self.error_type == "bad_request" => FailureReason::ProviderInvalidOrder,
            _ => FailureReason::ProviderJobFailed,
        };
        (reason, retryable)
    }

    /// Whether it was billed, as far as the header says.
    pub(super) fn billed(&self) -> Charged {
        match self.units {
            Some(units) if units > 0.0 => Charged::Yes,
            Some(_) => Charged::No,
            None => Charged::Unknown,
        }
    }

    /// Whether it was billed: what the header says; else failures of the platform are free, and a model may bill what it refuses.
    pub(super) fn charged(&self) -> Charged {
        if self.units.is_some() {
            return self.billed();
        }
        // The older form of the same types: `value_error.missing`, `type_error.integer`.
        let is_old = |kind: &str| kind.starts_with("value_error.") || kind.starts_with("type_error.");
        let is_form = |kind: &str| kind.ends_with("_type") || kind.ends_with("_parsing");
        let is_unrun = |item: &Item| UNRUN.contains(&item.kind.as_str()) || is_old(&item.kind) || is_form(&item.kind);
        let all_unrun = !self.items.is_empty() && self.items.iter().all(is_unrun);
        let is_free = self.status >= 500 || all_unrun || self.items.is_empty() && is_passing(&self.error_type);
        if is_free { Charged::No } else { Charged::Unknown }
    }

    /// The request's field at fault, for an order of `card` with inputs in `roles`.
    pub(super) fn field(&self, card: Option<&std::sync::Arc<ModelCard>>, roles: &[InputRole]) -> Option<String> {
        self.items.iter().find_map(|item| our_field(item, card.map(std::convert::AsRef::as_ref), roles))
    }

    fn is_refused_content(&self) -> bool {
        let is_policy = |text: &str| {
            let text = text.to_ascii_lowercase();
            POLICY_WORDS.iter().any(|word| text.contains(word))
        };
        let by_type = |item: &Item| is_policy(&item.kind) || item.kind.contains("policy");
        let says = |item: &Item| self.status < 500 && is_policy(&item.msg);
        self.items.iter().any(|item| by_type(item) || says(item)) || self.status < 500 && is_policy(&self.text)
    }
}

impl Item {
    fn of(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let words = value.as_str().or_else(|| ["msg", "message", "detail"].iter().find_map(|key| value[*key].as_str()));
        Self {
            loc: value["loc"].as_array().cloned().unwrap_or_default(),
            msg: words.unwrap_or_default().to_owned(),
            kind: text("type"),
        }
    }

    /// The field with its place in the body.
    fn path(&self) -> Option<String> {
        let parts = self.loc.iter().filter(|part| part.as_str() != Some("body"));
        let words: Vec<String> =
            parts.map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned)).collect();
        (!words.is_empty()).then(|| words.join("."))
    }

    fn field(&self) -> Option<&str> {
        self.loc.iter().filter_map(Value::as_str).find(|part| *part != "body")
    }
}

/// Billed units of an answer; what a unit is, each endpoint says differently.
pub(super) fn units(headers: &HeaderMap) -> Option<f64> {
    number_of(&Value::from(headers.get(UNITS)?.to_str().ok()?))
}

fn is_passing(error_type: &str) -> bool {
    error_type.starts_with("runner_")
        || matches!(error_type, "request_timeout" | "startup_timeout" | "internal_error" | "client_disconnected")
        || PASSING.contains(&error_type)
}

fn our_field(item: &Item, card: Option<&ModelCard>, roles: &[InputRole]) -> Option<String> {
    let theirs = item.field()?;
    let Some(card) = card else {
        return Some(if theirs == "prompt" {
            "prompt".to_owned()
        } else {
            format!("options.provider_options.{theirs}")
        });
    };
    let outer = |field: &str| field.split('.').next() == Some(theirs);
    if outer(&card.prompt.field) {
        return Some("prompt".to_owned());
    }
    let ways = Ways::of(card).unwrap_or_default();
    let own = ways.renamed().find(|(_, to)| *to == theirs).map_or(theirs, |(from, _)| from);
    if let Some((role, _)) = card.inputs.iter().find(|(_, spec)| spec.field == own) {
        let nth = item.loc.iter().find_map(Value::as_u64).and_then(|nth| usize::try_from(nth).ok());
        let places = roles.iter().enumerate().filter(|(_, it)| *it == role).map(|(place, _)| place);
        let place = places.skip(nth.unwrap_or_default()).take(1).next();
        return Some(place.map_or_else(|| "inputs".to_owned(), |place| format!("inputs[{place}]")));
    }
    if let Some(name) = option_of(card, theirs) {
        return Some(format!("options.{name}"));
    }
    if let Some((name, _)) = card.options.iter().find(|(name, spec)| outer(spec.field(**name))) {
        return Some(format!("options.{name}"));
    }
    Some(format!("options.provider_options.{theirs}"))
}
