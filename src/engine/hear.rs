//! Webhooks of providers: one has the job polled now, or brings the ticket of a submit whose answer was lost. How far a job is and how it
//! ended is learned by polling alone, so a webhook that is lost, repeated, late or out of order does no harm.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::HeaderMap;
use subtle::ConstantTimeEq;
use tracing::{debug, warn};

use super::{Engine, error::Error};
use crate::{
    domain::{
        attempt::{Attempt, AttemptStage, Ticket},
        failure::Charged,
        generation::Generation,
        life::{AttemptEvent, Event},
        names::{GenerationId, ProviderId},
    },
    provider::{
        port::{Progress, Provider, Status},
        webhook::{Address, Delivery, HookError},
    },
    store::port::{ApplyError, StoreError},
};

/// Webhooks that are remembered, so that copies of them cause no further polls.
const MOST_KNOWN: usize = 10_000;

/// What became of a webhook. The words go into metrics, with which forgeries are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// The job is polled now.
    Woke,
    /// It named the job of a submit whose answer has not come; that is polled now.
    Found,
    /// A copy of one that was heard.
    Duplicate,
    /// The attempt has ended.
    Late,
    /// The attempt had ended unknown, and it is known now what it cost.
    Learned,
    /// No such provider here.
    UnknownProvider,
    /// No submit has this address.
    Unknown,
    /// The provider did not sign it for this address.
    Forged,
    /// Signed at another time than about now.
    Stale,
    /// Larger than is read.
    TooLarge,
    /// The sender broke off, or was too slow.
    Incomplete,
    /// Too many at once.
    Busy,
    /// It cannot be judged or stored now; the provider may send it again.
    Unavailable,
}

impl Hearing {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Woke => "woke",
            Self::Found => "found",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::Learned => "learned",
            Self::UnknownProvider => "unknown_provider",
            Self::Unknown => "unknown",
            Self::Forged => "forged",
            Self::Stale => "stale",
            Self::TooLarge => "too_large",
            Self::Incomplete => "incomplete",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
        }
    }
}

/// The attempt whose submit has the address that somebody called.
#[derive(Debug)]
pub struct Addressee {
    provider: Arc<dyn Provider>,
    generation: Generation,
    attempt: Attempt,
}

impl Engine {
    /// Whose address this is. The token is compared in constant time, and a wrong one is told from an unknown generation by nobody.
    pub async fn addressee(&self, provider: &str, generation: &str, token: &str) -> Result<Addressee, Hearing> {
        let provider = ProviderId::from_id(provider).ok().and_then(|id| self.provider(&id));
        let provider = provider.ok_or(Hearing::UnknownProvider)?;
        let id = GenerationId::from_id(generation).map_err(|_| Hearing::Unknown)?;
        let generation = self.where_its_job_is(id).await.map_err(|error| unavailable(id, &error.into()))?;
        let generation = generation.ok_or(Hearing::Unknown)?;
        let attempt = with_token(&generation, provider.id(), token).ok_or(Hearing::Unknown)?.clone();
        Ok(Addressee { provider, generation, attempt })
    }

    /// Judges what came to the address, and does what follows from it.
    pub async fn hear(&self, to: Addressee, headers: HeaderMap, body: Bytes) -> Hearing {
        let id = to.generation.id;
        let heard = self.judge(to, headers, body).await.unwrap_or_else(|error| unavailable(id, &error));
        if matches!(heard, Hearing::Forged | Hearing::Stale) {
            // Counted by outcome; a line each would let whoever knows an address fill the log.
            debug!(generation.name = %id, outcome = heard.as_str(), "a webhook is not believed");
        } else {
            debug!(generation.name = %id, outcome = heard.as_str(), "heard a webhook");
        }
        heard
    }

    /// Counts a webhook to an address of `provider`, as the sender wrote it.
    pub fn count_webhook(&self, provider: &str, hearing: Hearing) {
        // What a sender makes up is no label.
        let known = self.catalog().providers.keys().map(ProviderId::id).find(|id| *id == provider);
        self.metrics().webhook_received(known.unwrap_or("unknown"), hearing.as_str());
    }

    /// Where the provider may tell of the job of the last submit.
    pub(super) fn webhook_of(&self, generation: &Generation) -> Option<Address> {
        let attempt = generation.open_attempt()?;
        let public_url = self.settings().public_url.as_ref()?;
        Some(Address::of(public_url, &attempt.model.provider, generation.id, attempt.submit_key?))
    }

    /// The generation, or the one that took over its job.
    async fn where_its_job_is(&self, id: GenerationId) -> Result<Option<Generation>, StoreError> {
        let mut loaded = self.store().load(id).await?;
        while let Some(successor) = loaded.as_ref().and_then(|loaded| loaded.generation.successor) {
            loaded = self.store().load(successor).await?;
        }
        Ok(loaded.map(|loaded| loaded.generation))
    }

    async fn judge(&self, to: Addressee, headers: HeaderMap, body: Bytes) -> Result<Hearing, Error> {
        let Addressee { provider, generation, attempt } = to;
        let (Some(key), id) = (attempt.submit_key, generation.id) else { return Ok(Hearing::Unknown) };
        let (kind, model) = (generation.kind, attempt.model.name.clone());
        let delivery = Delivery { key, kind, model, headers, body, received_at: self.now() };
        let heard = match provider.hear(&delivery).await {
            Ok(heard) => heard,
            Err(HookError::Forged) => return Ok(Hearing::Forged),
            Err(HookError::Stale) => return Ok(Hearing::Stale),
            Err(HookError::KeyUnavailable) => return Ok(Hearing::Unavailable),
        };
        let message = (key, heard.id);
        if self.0.heard.contains(&message) {
            return Ok(Hearing::Duplicate);
        }
        let is_open = generation.open_attempt().is_some_and(|open| open.id == attempt.id);
        let hearing = match heard.ticket {
            // A tombstone has forgotten what a job is asked about with.
            _ if generation.expired_at.is_some() => Hearing::Late,
            ticket if !is_open => self.learn(provider, &generation, attempt, ticket).await?,
            // Also if the answer said that nothing came of it and the order waits to be sent again: here is the job.
            Some(ticket) if attempt.stage != AttemptStage::Accepted => self.bring(id, &attempt, ticket).await?,
            Some(_) | None => {
                self.nudge(id).await?;
                Hearing::Woke
            }
        };
        // Only now: what could not be stored must be heard when it is sent again.
        self.0.heard.insert(&message);
        Ok(hearing)
    }

    /// Asks once what became of an attempt that had ended unknown, and corrects the ledger. The generation stays as it is.
    async fn learn(
        &self,
        provider: Arc<dyn Provider>,
        generation: &Generation,
        attempt: Attempt,
        ticket: Option<Ticket>,
    ) -> Result<Hearing, Error> {
        let known = ticket.or(attempt.ticket).filter(|_| attempt.charged == Some(Charged::Unknown));
        let Some(ticket) = known else { return Ok(Hearing::Late) };
        let (id, name) = (generation.id, attempt.model.provider.id());
        let has_job = |other: &Attempt| other.ticket.as_ref().is_some_and(|other| other.job == ticket.job);
        let is_later_attempts = generation.attempts.iter().any(|other| other.id != attempt.id && has_job(other));
        if is_later_attempts || self.store().job_is_claimed(name, &ticket.account, &ticket.job, id).await? {
            // Its money is told of there.
            return Ok(Hearing::Late);
        }
        let Ok(Progress { status, usage, .. }) = provider.poll(&ticket).await else {
            return Ok(Hearing::Unavailable);
        };
        let charged = match status {
            Status::Done(_) => Charged::Yes,
            Status::Failed(failure) => failure.charged,
            Status::Cancelled(charged) => charged,
            Status::Waiting | Status::Running => return Ok(Hearing::Late),
        };
        match self.apply_for_caller(id, Event::Learned(attempt.id, charged, usage)).await? {
            Ok(_) if charged == Charged::Unknown => Ok(Hearing::Late),
            Ok(_) => Ok(Hearing::Learned),
            Err(ApplyError::Refused { .. } | ApplyError::NotFound | ApplyError::Lost | ApplyError::Budget(_)) => {
                Ok(Hearing::Late)
            }
            Err(ApplyError::Store(error)) => Err(error.into()),
        }
    }

    /// Tells the ticket of a submit whose answer has not come.
    async fn bring(&self, id: GenerationId, attempt: &Attempt, ticket: Ticket) -> Result<Hearing, Error> {
        let provider = attempt.model.provider.id();
        let claimed = self.store().job_is_claimed(provider, &ticket.account, &ticket.job, id).await?;
        if claimed {
            warn!(generation.name = %id, "a webhook named the job of another generation");
            return Ok(Hearing::Forged);
        }
        let event = Event::Attempt(attempt.id, AttemptEvent::Accepted(ticket));
        match self.apply_for_caller(id, event).await? {
            Ok(generation) => {
                self.nudge(generation.id).await?;
                Ok(Hearing::Found)
            }
            Err(ApplyError::Refused { .. } | ApplyError::NotFound | ApplyError::Lost | ApplyError::Budget(_)) => {
                Ok(Hearing::Late)
            }
            Err(ApplyError::Store(error)) => Err(error.into()),
        }
    }
}

/// The attempt at this provider whose submit has the token as its key. Looks at all of them, however early one fits.
fn with_token<'a>(generation: &'a Generation, provider: &ProviderId, token: &str) -> Option<&'a Attempt> {
    let fits =
        |attempt: &Attempt| attempt.submit_key.is_some_and(|key| key.id().as_bytes().ct_eq(token.as_bytes()).into());
    let fitting: Vec<&Attempt> = generation.attempts.iter().filter(|attempt| fits(attempt)).collect();
    fitting.into_iter().find(|attempt| attempt.model.provider == *provider)
}

fn unavailable(id: GenerationId, error: &Error) -> Hearing {
    warn!(generation.name = %id, error = ?error, "a webhook cannot be heard now");
    Hearing::Unavailable
}

/// The last webhooks that were heard; a copy of an older one only causes a poll.
#[derive(Debug, Default)]
pub(super) struct Known {
    hasher: RandomState,
    recent: Mutex<(HashSet<u64>, VecDeque<u64>)>,
}

impl Known {
    fn contains(&self, message: &impl std::hash::Hash) -> bool {
        let hash = self.hasher.hash_one(message);
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).0.contains(&hash)
    }

    fn insert(&self, message: &impl std::hash::Hash) {
        let hash = self.hasher.hash_one(message);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, order) = &mut *recent;
        if known.insert(hash) {
            order.push_back(hash);
        }
        if order.len() > MOST_KNOWN
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_known_until_ten_thousand_others_were() {
        let known = Known::default();
        known.insert(&"first");
        known.insert(&"first");
        for n in 0..MOST_KNOWN - 1 {
            known.insert(&n);
        }
        assert!(known.contains(&"first") && !known.contains(&"another"));
        known.insert(&"last");
        assert!(!known.contains(&"first") && known.contains(&"last"));
    }
}
