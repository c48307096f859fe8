//! From the wire to what the engine takes. Past this file a request is valid by type.
//!
//! Invariant: a request is refused with all its violations at once, those of the models' cards included, and before anything was stored.

mod callback;
mod candidates;
mod chat;
mod estimate;
mod hosts;
mod inputs;
mod link;
mod options;
mod ordered;
mod prompt;
mod sent;
#[cfg(test)]
mod tests;
mod values;

use std::{collections::BTreeMap, str::FromStr, time::Duration};

pub(super) use self::{
    chat::chat,
    estimate::{ToEstimate, estimates},
    inputs::{bare_base64, data_uri},
    link::link,
    ordered::Ordering,
    prompt::prompt,
};
use url::Url;

use self::{
    candidates::{Prompt, candidates},
    ordered::Ordered,
};
use super::{caller::Caller, refusal::Refusal};
use crate::{
    callback::Targets,
    domain::{
        artifact::{Kind, Made},
        catalog::{Asked, Catalog, Choice},
        names::{BadName, ModelName, QuoteId, RequestId, RouteName, SessionId},
        order::{CachePolicy, Candidate, MAX_PROMPT, Mode, Violation},
    },
    engine::request::{AskedInput, Request},
    pb::v1,
};

/// Shortest and longest `max_duration`.
const MIN_MAX_DURATION: Duration = Duration::from_secs(1);
const MAX_MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);
/// Most labels, and the most characters of their keys and values.
const MAX_LABELS: usize = 32;
const MAX_LABEL_KEY: usize = 63;
const MAX_LABEL_VALUE: usize = 256;

/// Everything found wrong with a request so far.
#[derive(Debug, Default)]
struct Violations(Vec<Violation>);

/// A request of any kind, or all that is wrong with it. `quoted` are the models of the quote that it is made with, in its order.
pub(super) fn order<R: Ordering>(
    request: R,
    caller: Caller,
    quoted: &[ModelName],
    catalog: &Catalog,
    targets: &Targets,
) -> Result<Request, Refusal> {
    let sent = sent::of(&request)?;
    let ordered = request.ordered();
    let (kind, labels, fallback_on_refusal) = (ordered.kind, ordered.labels.clone(), ordered.fallback_on_refusal);
    let mut read = read(ordered, quoted, catalog, targets, Prompt::Needed)?;
    let callback_url = targets.address(&caller.tenant, read.callback_url.take())?;
    let request_id = read.request_id.take().map(|id| (id, sent));
    let request = made(kind, caller, fallback_on_refusal, read);
    Ok(Request { callback_url, request_id, labels, ..request })
}

/// A request of what was read, without what plays no part in a price.
fn made(kind: Kind, caller: Caller, fallback_on_refusal: bool, read: Read) -> Request {
    Request {
        tenant: caller.tenant,
        source: caller.source,
        kind,
        request_id: None,
        session: read.session,
        prompt: read.prompt,
        candidates: read.candidates,
        inputs: read.inputs,
        cache: read.cache,
        quote: read.quote,
        max_duration: read.max_duration,
        labels: BTreeMap::new(),
        callback_url: None,
        fallback_on_refusal,
        trace: caller.trace,
    }
}

/// What of a request is more than its text.
#[derive(Debug)]
struct Read {
    request_id: Option<RequestId>,
    session: Option<SessionId>,
    prompt: String,
    /// The models in order; never empty.
    candidates: Vec<Candidate>,
    inputs: Vec<AskedInput>,
    cache: CachePolicy,
    quote: Option<QuoteId>,
    max_duration: Option<Duration>,
    callback_url: Option<Url>,
}

fn read(
    ordered: Ordered,
    quoted: &[ModelName],
    catalog: &Catalog,
    targets: &Targets,
    need: Prompt,
) -> Result<Read, Refusal> {
    let mut violations = Violations::default();
    let prompt = trimmed(&ordered.prompt, &mut violations);
    let session = optional(&ordered.session, "session", &mut violations);
    let choice = choice(&ordered, &mut violations);
    let mode = mode(ordered.mode, &mut violations);
    let cache = cache(ordered.cache, &mut violations);
    let options = ordered.options.accept(&mut violations);
    let inputs = inputs::accept(ordered.inputs, &mut violations);
    let request_id = bare(&ordered.request_id, "request_id", RequestId::from_id, &mut violations);
    let max_duration = max_duration(ordered.max_duration.as_ref(), &mut violations);
    check_labels(&ordered.labels, &mut violations);
    let callback_url = callback::accept(&ordered.callback_url, targets, &mut violations);
    let quote = optional(&ordered.quote, "quote", &mut violations);
    if ordered.fallback_on_refusal && ordered.route.is_empty() && ordered.quality == 0 {
        violations.add("fallback_on_refusal", "needs route or quality: a single model has no next one");
    }

    let roles: Vec<_> = inputs.iter().map(|input| input.role).collect();
    let candidates = match (choice, mode) {
        (Some(choice), Some(mode)) => {
            let asked = Asked {
                kind: ordered.kind,
                choice: &choice,
                prompt: &prompt,
                options: &options.typed,
                provider_options: &options.provider,
                inputs: &roles,
                mode,
                fallback_to_sample: ordered.fallback_to_sample,
                quoted,
            };
            candidates(catalog, &asked, need, &mut violations)?
        }
        // What the models can honour cannot be asked without knowing which, or how strictly.
        (None, _) | (_, None) => Vec::new(),
    };
    violations.none()?;
    Ok(Read { request_id, session, prompt, candidates, inputs, cache, quote, max_duration, callback_url })
}

/// A required name such as `generations/{id}`.
pub(super) fn name<T: FromStr<Err = BadName>>(text: &str, field: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error: BadName| Refusal::field(field, error.to_string()))
}

/// An optional name of a filter; empty for none.
pub(super) fn filter<T: FromStr<Err = BadName>>(text: &str, field: &str) -> Result<Option<T>, Refusal> {
    if text.is_empty() { Ok(None) } else { name(text, field).map(Some) }
}

/// The kind of a filter; unspecified for all.
pub(super) fn kind_filter(kind: i32) -> Result<Option<Kind>, Refusal> {
    match v1::Kind::try_from(kind) {
        Ok(v1::Kind::Unspecified) => Ok(None),
        Ok(v1::Kind::Video) => Ok(Some(Kind::Video)),
        Ok(v1::Kind::Image) => Ok(Some(Kind::Image)),
        Ok(v1::Kind::Speech) => Ok(Some(Kind::Speech)),
        Ok(v1::Kind::Music) => Ok(Some(Kind::Music)),
        Ok(v1::Kind::Text) | Err(_) => {
            let known = [v1::Kind::Video, v1::Kind::Image, v1::Kind::Speech, v1::Kind::Music];
            Err(Refusal::Invalid(vec![unknown("kind", kind, &known.map(|kind| kind.as_str_name()))]))
        }
    }
}

/// As [`kind_filter`], where text may be asked for as well.
pub(super) fn made_filter(kind: i32) -> Result<Option<Made>, Refusal> {
    match v1::Kind::try_from(kind) {
        Ok(v1::Kind::Text) => Ok(Some(Made::Text)),
        Ok(_) => Ok(kind_filter(kind)?.map(Made::Media)),
        Err(_) => {
            use v1::Kind as Wire;
            let known = [Wire::Video, Wire::Image, Wire::Speech, Wire::Music, Wire::Text];
            Err(Refusal::Invalid(vec![unknown("kind", kind, &known.map(|kind| kind.as_str_name()))]))
        }
    }
}

/// Labels to look for: none that no generation could have.
pub(super) fn labels_filter(labels: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Refusal> {
    let mut violations = Violations::default();
    check_labels(&labels, &mut violations);
    violations.none()?;
    Ok(labels)
}

/// An enum number that is not in the contract, or is its unspecified value where one is required.
pub(super) fn unknown(field: impl Into<String>, number: i32, allowed: &[&str]) -> Violation {
    let what = if number == 0 { "must be set".to_owned() } else { format!("has no value {number}") };
    Violation::new(field, format!("{what}; allowed: {}", allowed.join(", ")))
}

impl Violations {
    fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation::new(field, description));
    }

    /// Adds what a card says, except about fields that are known to be wrong already.
    fn extend_from_card(&mut self, prompt: &str, from_card: Vec<Violation>) {
        let mut n_own = self.0.len();
        for violation in from_card {
            let own = self.0.get(..n_own).unwrap_or_default();
            // A wrong input is not shown to the card, so what it says of the others would be off by one.
            let inputs_wrong = || own.iter().any(|other| other.field.starts_with("inputs"));
            let known = own.iter().any(|other| other.field == violation.field)
                || violation.field.starts_with("inputs") && inputs_wrong();
            if known {
                continue;
            }
            // In the order of the request's fields, as far as the prompt goes that nobody wrote.
            if prompt.is_empty() && violation.field == "prompt" {
                self.0.insert(0, violation);
                n_own += 1;
            } else {
                self.0.push(violation);
            }
        }
    }

    fn none(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::Invalid(self.0)) }
    }
}

/// Whether it may be blank is the model's word.
fn trimmed(text: &str, violations: &mut Violations) -> String {
    let prompt = text.trim();
    let n_chars = prompt.chars().count();
    if n_chars > MAX_PROMPT {
        violations.add("prompt", format!("has {n_chars} characters; at most {MAX_PROMPT}"));
    }
    prompt.to_owned()
}

fn choice(request: &Ordered, violations: &mut Violations) -> Option<Choice> {
    let quality = match v1::Quality::try_from(request.quality) {
        Ok(v1::Quality::Unspecified) => None,
        Ok(v1::Quality::Fast) => Some("fast"),
        Ok(v1::Quality::Quality) => Some("quality"),
        Err(_) => {
            let known = [v1::Quality::Fast, v1::Quality::Quality].map(|quality| quality.as_str_name());
            violations.0.push(unknown("quality", request.quality, &known));
            return None;
        }
    };
    let set =
        [("model", !request.model.is_empty()), ("route", !request.route.is_empty()), ("quality", quality.is_some())];
    let mut set = set.into_iter().filter(|(_, set)| *set).map(|(field, _)| field);
    if let Some(first) = set.next() {
        let n_before = violations.0.len();
        for field in set {
            violations.add(field, format!("must not be set beside {first}: at most one of model, route and quality"));
        }
        if violations.0.len() > n_before {
            return None;
        }
    }
    if !request.model.is_empty() {
        if request.model.contains('/') {
            return optional::<ModelName>(&request.model, "model", violations).map(Choice::Model);
        }
        return Some(Choice::Named(request.model.clone()));
    }
    let (route, field) = match quality {
        Some(route) => (route, "quality"),
        None if request.route.is_empty() => return Some(Choice::Default),
        None => (request.route.as_str(), "route"),
    };
    bare(route, field, RouteName::from_id, violations).map(|route| Choice::Route(route, field))
}

fn mode(mode: i32, violations: &mut Violations) -> Option<Mode> {
    match v1::Mode::try_from(mode) {
        Ok(v1::Mode::Unspecified | v1::Mode::Strict) => Some(Mode::Strict),
        Ok(v1::Mode::Adapt) => Some(Mode::Adapt),
        Err(_) => {
            let known = [v1::Mode::Strict, v1::Mode::Adapt].map(|mode| mode.as_str_name());
            violations.0.push(unknown("mode", mode, &known));
            None
        }
    }
}

fn cache(cache: i32, violations: &mut Violations) -> CachePolicy {
    use v1::CachePolicy as Wire;
    match Wire::try_from(cache) {
        Ok(Wire::Unspecified | Wire::Default) => CachePolicy::Default,
        Ok(Wire::Bypass) => CachePolicy::Bypass,
        Ok(Wire::Refresh) => CachePolicy::Refresh,
        Err(_) => {
            let known = [Wire::Default, Wire::Bypass, Wire::Refresh].map(|policy| policy.as_str_name());
            violations.0.push(unknown("cache", cache, &known));
            CachePolicy::Default
        }
    }
}

fn max_duration(duration: Option<&prost_types::Duration>, violations: &mut Violations) -> Option<Duration> {
    let duration = values::duration(duration?, "max_duration", violations)?;
    if (MIN_MAX_DURATION..=MAX_MAX_DURATION).contains(&duration) {
        return Some(duration);
    }
    violations.add("max_duration", "must be from 1 s to 24 h");
    None
}

fn check_labels(labels: &BTreeMap<String, String>, violations: &mut Violations) {
    if labels.len() > MAX_LABELS {
        violations.add("labels", format!("has {} labels; at most {MAX_LABELS}", labels.len()));
    }
    let in_key = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
    for (key, value) in labels {
        let field = || format!("labels[{key:?}]");
        if !(1..=MAX_LABEL_KEY).contains(&key.len()) || !key.bytes().all(in_key) {
            violations.add(field(), format!("the key must be 1 to {MAX_LABEL_KEY} characters of a-z 0-9 _ - ."));
        }
        let n_chars = value.chars().count();
        if n_chars > MAX_LABEL_VALUE {
            violations.add(field(), format!("the value has {n_chars} characters; at most {MAX_LABEL_VALUE}"));
        }
    }
}

fn optional<T: FromStr<Err = BadName>>(text: &str, field: &str, violations: &mut Violations) -> Option<T> {
    bare(text, field, |text: &str| text.parse(), violations)
}

/// Nothing for an empty text, and for one that is no name a violation.
fn bare<'a, T>(
    text: &'a str,
    field: &str,
    parse: impl FnOnce(&'a str) -> Result<T, BadName>,
    violations: &mut Violations,
) -> Option<T> {
    if text.is_empty() {
        return None;
    }
    parse(text).map_err(|error| violations.add(field, error.to_string())).ok()
}
