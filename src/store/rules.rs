//! What every store decides alike, as pure functions of the records.

use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::port::{Bound, Limits, RATE_OVER, SentRequest, cacheable};
use crate::domain::{
    attempt::{Attempt, AttemptStage},
    failure::Charged,
    generation::{Generation, State},
    life::{Event, HandOver},
    names::SessionId,
    order::CachePolicy,
};

/// The scope of results that no conversation had a part in. No session has this name.
pub(super) const ANY_SESSION: &str = "*";

/// Where an order looks for an earlier result.
pub(super) fn scope(first_turn: bool, session: &SessionId) -> &str {
    if first_turn { ANY_SESSION } else { session.id() }
}

/// The digests and scopes under which a generation's result is remembered: as the order was asked for, and as one for the model that made it.
pub(super) fn remembered(generation: &Generation) -> Option<(Vec<&str>, Vec<&str>)> {
    let key = match generation.cache {
        CachePolicy::Default | CachePolicy::Refresh => cacheable(generation)?,
        CachePolicy::Bypass => return None,
    };
    let mut scopes = vec![generation.session.id()];
    if key.first_turn {
        scopes.push(ANY_SESSION);
    }
    // Who shared another's job made no attempt and cannot tell.
    let made_by = generation.attempts.last().and_then(|attempt| generation.candidates.get(attempt.candidate));
    let made_by = made_by.map(|candidate| candidate.digest.as_str());
    let mut digests = vec![key.digest.as_str()];
    digests.extend(made_by.filter(|own| !own.is_empty() && *own != key.digest));
    Some((digests, scopes))
}

/// The digest by which identical orders find this generation to share its job.
pub(super) fn open_digest(generation: &Generation) -> Option<&str> {
    let shares = match generation.state {
        State::Queued | State::Running | State::Storing | State::Unresolved => {
            generation.cache == CachePolicy::Default && generation.leader.is_none()
        }
        State::Cancelling | State::Succeeded | State::Failed | State::Cancelled => false,
    };
    generation.cache_key.as_ref().filter(|_| shares).map(|key| key.digest.as_str())
}

/// The provider that a generation waits for, and since when: it needs a place there, and was never turned away. One that was turned away
/// comes back when its driver says so.
pub(super) fn waits_for(generation: &Generation) -> Option<(&str, Timestamp)> {
    let attempt = generation.open_attempt().filter(|attempt| attempt.stage == AttemptStage::Waiting)?;
    let waits = generation.state == State::Queued && generation.leader.is_none() && attempt.turned_away.is_none();
    waits.then(|| (attempt.model.provider.id(), attempt.created_at))
}

/// The model at which the generation's job has a place: it was sent, and what became of it is not unknown.
pub(super) fn works_at(generation: &Generation) -> Option<String> {
    let attempt = generation.open_attempt().filter(|attempt| attempt.stage != AttemptStage::Waiting)?;
    let works = !generation.state.is_terminal() && generation.leader.is_none() && !generation.is_unknown();
    works.then(|| attempt.model.to_string())
}

/// A rate that counts when an order is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// What its sends are stored under: the provider, or the model with its provider.
    pub(super) name: String,
    pub(super) bound: Bound,
    /// Most within a minute, at least 1.
    pub(super) most: u64,
}

impl Rate {
    /// Those there are.
    pub(super) fn all(limits: &Limits) -> Vec<Self> {
        let of_provider = (limits.model.provider.id().to_owned(), Bound::Provider, limits.of_provider.rate);
        let of_model = (limits.model.to_string(), Bound::Model, limits.of_model.rate);
        let rate = |(name, bound, most): (String, Bound, Option<u64>)| Some(Self { name, bound, most: most?.max(1) });
        [of_provider, of_model].into_iter().filter_map(rate).collect()
    }
}

/// What was sent at or before this time does not count against a rate any more.
pub(super) fn counted_since(now: Timestamp) -> i64 {
    now.as_microsecond().saturating_sub(micros(RATE_OVER))
}

/// How long must be waited if the oldest send that fills a rate was then.
pub(super) fn may_send_after(oldest: Option<i64>, now: Timestamp) -> Option<Duration> {
    until(oldest.map(|oldest| oldest.saturating_add(micros(RATE_OVER))), now)
}

/// How long it is until then, if that is not over.
pub(super) fn until(then: Option<i64>, now: Timestamp) -> Option<Duration> {
    let wait = then?.saturating_sub(now.as_microsecond());
    u64::try_from(wait).ok().filter(|wait| *wait > 0).map(Duration::from_micros)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// What the open attempt has asked for with an intent without a ticket, see `asked`.
pub(super) fn submitting(generation: &Generation) -> Option<String> {
    let attempt = generation.open_attempt().filter(|attempt| attempt.stage == AttemptStage::Submitting)?;
    Some(asked(&attempt.model.to_string(), &generation.brief))
}

/// The model that a generation is counted at: that of its last attempt, or of the order if it made none.
pub(super) fn model(generation: &Generation) -> String {
    generation.candidate().map(|candidate| candidate.model.to_string()).unwrap_or_default()
}

/// It ended charged, at a price that nobody knows.
pub(super) fn is_unpriced(generation: &Generation) -> bool {
    let unpriced = |attempt: &Attempt| attempt.charged == Some(Charged::Yes) && attempt.settled.is_none();
    generation.attempts.iter().any(unpriced)
}

/// A new attempt has begun, so that money must be there for it.
pub(super) fn begins_attempt(before: &Generation, after: &Generation) -> bool {
    after.attempts.len() > before.attempts.len()
}

/// One short text for what a provider would list of an order: its model and brief. No model's name holds a line feed.
pub(super) fn asked(model: &str, brief: &str) -> String {
    let digest = Sha256::new().chain_update(model).chain_update("\n").chain_update(brief).finalize();
    hex::encode(digest)
}

/// Words with a blank before and after each, in which a statement looks for one of them.
pub(super) fn listed(words: &[String]) -> String {
    words.iter().map(|word| format!(" {word} ")).collect()
}

/// How the event would end a generation whose job others share, so that the job must be handed over.
pub(super) fn handing_over(generation: &Generation, event: &Event, now: Timestamp) -> Option<HandOver> {
    if generation.state.is_terminal() || generation.leader.is_some() {
        return None;
    }
    match event {
        Event::CancelRequested => Some(HandOver::Cancelled).filter(|_| generation.cancel_requested_at.is_none()),
        Event::DeadlinePassed => {
            Some(HandOver::DeadlinePassed).filter(|_| generation.state == State::Queued && now >= generation.deadline)
        }
        Event::Attempt(..) | Event::GaveUp | Event::Resolved(_) | Event::Learned(..) | Event::LeaderEnded(_) => None,
    }
}

/// The first field in which a request differs from the one that was sent with the same request id.
pub(super) fn first_difference<'a>(before: &'a SentRequest, now: &'a SentRequest) -> Option<&'a str> {
    let differs = before.iter().zip(now).position(|(before, now)| before != now);
    let index = differs.unwrap_or_else(|| before.len().min(now.len()));
    match (before.get(index), now.get(index)) {
        (None, None) => None,
        (Some((field, _)), None) | (None, Some((field, _))) => Some(field),
        // A field that only one of them has stands where the other already has a later one.
        (Some((old, _)), Some((new, _))) => {
            let left_out = now[index..].iter().all(|(field, _)| field != old);
            Some(if left_out { old } else { new })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        attempt::AttemptOutcome,
        failure::FailureReason,
        life::tests::{START, drafted},
        names::GenerationId,
    };

    #[test]
    fn only_what_may_go_to_its_provider_at_once_waits_for_it() {
        let check = |waits: bool, change: fn(&mut Generation)| {
            let mut generation = drafted(1);
            change(&mut generation);
            let expected = waits.then_some(("sample", START));
            assert_eq!(waits_for(&generation), expected);
        };
        check(true, |_| ());
        check(false, |generation| generation.leader = Some(GenerationId::fresh()));
        check(false, |generation| generation.state = State::Cancelled);
        check(false, |generation| generation.attempts[0].stage = AttemptStage::Submitting);
        check(false, |generation| generation.attempts[0].turned_away = Some(FailureReason::ProviderOverloaded));
        check(false, |generation| generation.attempts[0].outcome = AttemptOutcome::Failed);
    }

    #[test]
    fn the_first_difference_is_the_first_field_of_the_contract_that_differs() {
        let request = |fields: &[(&str, &str)]| -> SentRequest {
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let before = request(&[("prompt", "a"), ("model", "m"), ("mode", "1")]);
        let check = |now: &[(&str, &str)], expected: Option<&str>| {
            let now = request(now);
            assert_eq!(first_difference(&before, &now), expected);
            assert_eq!(first_difference(&now, &before), expected);
        };
        check(&[("prompt", "a"), ("model", "m"), ("mode", "1")], None);
        check(&[("prompt", "b"), ("model", "n"), ("mode", "1")], Some("prompt"));
        check(&[("prompt", "a"), ("mode", "1")], Some("model"));
        check(&[("prompt", "a"), ("model", "m")], Some("mode"));
        check(&[("prompt", "a"), ("session", "s"), ("model", "m"), ("mode", "1")], Some("session"));
        check(&[], Some("prompt"));
    }
}
