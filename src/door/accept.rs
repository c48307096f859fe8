//! From the wire to what the engine takes. Past this file a request is valid by type.
//!
//! Invariant: a request is refused with all its violations at once, those of the models' cards included, and before anything was stored.

mod callback;
mod hosts;
mod inputs;
mod link;
mod options;
mod sent;
#[cfg(test)]
mod tests;
mod values;

use std::{collections::BTreeMap, str::FromStr, time::Duration};

pub(super) use self::link::link;
use super::{caller::Caller, refusal::Refusal};
use crate::{
    callback::Targets,
    domain::{
        artifact::Kind,
        catalog::{Asked, Catalog, Choice, NoCandidate},
        names::{BadName, ModelName, RequestId, RouteName},
        order::{CachePolicy, Candidate, MAX_PROMPT, Mode, Violation},
    },
    engine::request::Request,
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

/// A request for a video, or all that is wrong with it.
pub(super) fn video(
    request: v1::GenerateVideoRequest,
    caller: Caller,
    catalog: &Catalog,
    targets: &Targets,
) -> Result<Request, Refusal> {
    let mut violations = Violations::default();
    let sent = (!request.request_id.is_empty()).then(|| sent::video(&request));
    let prompt = prompt(&request.prompt, &mut violations);
    let session = optional(&request.session, "session", &mut violations);
    let choice = choice(&request, &mut violations);
    let mode = mode(request.mode, &mut violations);
    let cache = cache(request.cache, &mut violations);
    let options = options::video(request.options.unwrap_or_default(), &mut violations);
    let inputs = inputs::accept(request.inputs, &mut violations);
    let request_id: Option<RequestId> = bare(&request.request_id, "request_id", RequestId::from_id, &mut violations);
    let max_duration = max_duration(request.max_duration.as_ref(), &mut violations);
    check_labels(&request.labels, &mut violations);
    let callback_url = callback::accept(&request.callback_url, targets, &mut violations);
    check_unsupported(&request.quote, &mut violations);
    if request.fallback_on_refusal && request.route.is_empty() && request.quality == 0 {
        violations.add("fallback_on_refusal", "needs route or quality: a single model has no next one");
    }

    let roles: Vec<_> = inputs.iter().map(|input| input.role).collect();
    let candidates = match (choice, mode) {
        (Some(choice), Some(mode)) => {
            let asked = Asked {
                kind: Kind::Video,
                choice: &choice,
                prompt,
                options: &options.typed,
                provider_options: &options.provider,
                inputs: &roles,
                mode,
                fallback_to_sample: request.fallback_to_sample,
            };
            candidates(catalog, &asked, &mut violations)?
        }
        // What the models can honour cannot be asked without knowing which, or how strictly.
        (None, _) | (_, None) => Vec::new(),
    };
    let prompt = prompt.to_owned();
    violations.none()?;
    Ok(Request {
        callback_url: targets.address(&caller.tenant, callback_url)?,
        tenant: caller.tenant,
        source: caller.source,
        kind: Kind::Video,
        request_id: request_id.zip(sent),
        session,
        prompt,
        candidates,
        inputs,
        cache,
        max_duration,
        labels: request.labels,
        fallback_on_refusal: request.fallback_on_refusal,
        trace: caller.trace,
    })
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
        Err(_) => {
            let known = [v1::Kind::Video, v1::Kind::Image, v1::Kind::Speech, v1::Kind::Music];
            Err(Refusal::Invalid(vec![unknown("kind", kind, &known.map(|kind| kind.as_str_name()))]))
        }
    }
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
    fn extend_from_card(&mut self, from_card: Vec<Violation>) {
        let n_own = self.0.len();
        for violation in from_card {
            let own = self.0.get(..n_own).unwrap_or_default();
            // A wrong input is not shown to the card, so what it says of the others would be off by one.
            let inputs_wrong = || own.iter().any(|other| other.field.starts_with("inputs"));
            let known = own.iter().any(|other| other.field == violation.field)
                || violation.field.starts_with("inputs") && inputs_wrong();
            if !known {
                self.0.push(violation);
            }
        }
    }

    fn none(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::Invalid(self.0)) }
    }
}

fn candidates(catalog: &Catalog, asked: &Asked<'_>, violations: &mut Violations) -> Result<Vec<Candidate>, Refusal> {
    match catalog.candidates(asked) {
        Ok(candidates) => Ok(candidates),
        Err(NoCandidate::Violations(from_card)) => {
            violations.extend_from_card(from_card);
            Ok(Vec::new())
        }
        // Wrong fields are told first: they are the caller's to correct, the provider is not.
        Err(NoCandidate::NotConfigured { .. }) if !violations.0.is_empty() => Ok(Vec::new()),
        Err(none @ NoCandidate::NotConfigured { .. }) => Err(none.into()),
    }
}

fn prompt<'a>(text: &'a str, violations: &mut Violations) -> &'a str {
    let prompt = text.trim();
    let n_chars = prompt.chars().count();
    if n_chars == 0 {
        violations.add("prompt", "must not be blank");
    } else if n_chars > MAX_PROMPT {
        violations.add("prompt", format!("has {n_chars} characters; at most {MAX_PROMPT}"));
    }
    prompt
}

fn choice(request: &v1::GenerateVideoRequest, violations: &mut Violations) -> Option<Choice> {
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

fn check_unsupported(quote: &str, violations: &mut Violations) {
    if !quote.is_empty() {
        violations.add("quote", "must be empty: this version does not support quotes");
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
