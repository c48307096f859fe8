//! Several keys of one vendor: one adapter for each, behind one provider.
//!
//! Invariants: an order goes to a second key only after the first call certainly had no effect; a job is asked after with the key that ordered
//! it. A key that is refused, out of credit or over its limit rests, and the others take its work.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::domain::{
    artifact::Kind,
    card::ModelCard,
    chat::ChatCard,
    names::{ProviderId, SubmitKey},
};

use super::{
    // Not by its name: both ports have an `id`.
    chat::{self, ChatOrder, ChatStream},
    error::{Effect, ErrorKind, ProviderError},
    port::{ByteSource, CancelOutcome, Found, KeyState, Order, Progress, Provider, RemoteOutput, Submitted, Ticket},
    webhook::{Delivery, Heard, HookError},
};

/// How long other keys are preferred to one that was refused or has no credit: somebody has to look after it.
const REFUSED: Duration = Duration::from_mins(5);
/// The same for one over a limit whose end the vendor does not tell.
const LIMITED: Duration = Duration::from_secs(30);
/// The longest that a vendor's own wish is believed.
const LONGEST: Duration = Duration::from_mins(10);

/// An adapter built with one key.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// The fingerprint of the key, as the adapter's tickets say it; empty without a key.
    pub account: String,
    /// The adapter.
    pub provider: Arc<dyn Provider>,
}

/// The account that a key belongs to, for tickets: a fingerprint, never the key.
pub fn account_of(key: &SecretString) -> String {
    hex::encode(&Sha256::digest(key.expose_secret())[..8])
}

/// One provider of the adapters of all keys, or nothing without an adapter. New orders go to one key after the other; a job is asked after and
/// stopped with the key that ordered it, so keys can be changed while jobs run.
pub fn with_keys(mut keyed: Vec<Keyed>) -> Option<Arc<dyn Provider>> {
    let without_key = |keyed: &Vec<Keyed>| keyed.len() == 1 && keyed[0].account.is_empty();
    match keyed.len() {
        0 => None,
        _ if without_key(&keyed) => keyed.pop().map(|keyed| keyed.provider),
        _ => {
            let keys =
                keyed.into_iter().map(|keyed| Key { keyed, orders: Rest::default(), questions: Rest::default() });
            Some(Arc::new(Keys { keys: keys.collect(), next: AtomicUsize::new(0) }))
        }
    }
}

/// At least one.
#[derive(Debug)]
struct Keys {
    keys: Vec<Key>,
    next: AtomicUsize,
}

/// A key and when it may be used again. Vendors limit orders and questions apart.
#[derive(Debug)]
struct Key {
    keyed: Keyed,
    orders: Rest,
    questions: Rest,
}

/// Until when a key rests, if it does.
#[derive(Debug, Default)]
struct Rest(Mutex<Option<Pause>>);

#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    /// The vendor itself named the time, so that asking before is no use. Otherwise others are only preferred.
    is_binding: bool,
}

impl Rest {
    fn now(&self) -> Option<Pause> {
        let pause = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pause.filter(|pause| pause.until > Instant::now())
    }

    fn bound_until(&self) -> Option<Instant> {
        self.now().filter(|pause| pause.is_binding).map(|pause| pause.until)
    }

    fn set(&self, pause: Option<Pause>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = pause;
    }

    /// Rests after an error that another key need not meet.
    fn begin(&self, error: &ProviderError) {
        let wish = error.retry_after.map(|wish| wish.min(LONGEST));
        let (pause, is_binding) = match (error.kind, wish) {
            (ErrorKind::RateLimited, Some(wish)) => (wish, true),
            (ErrorKind::RateLimited, None) => (LIMITED, false),
            (_, wish) => (wish.unwrap_or(REFUSED), false),
        };
        self.set(Some(Pause { until: Instant::now() + pause, is_binding }));
    }
}

/// Whether the error is about the key, so that another one may do.
fn is_of_key(error: &ProviderError) -> bool {
    let of_key = matches!(error.kind, ErrorKind::Unauthenticated | ErrorKind::OutOfCredit | ErrorKind::RateLimited);
    of_key && error.effect == Effect::None && !error.is_of_input
}

impl Key {
    /// An order's answer, after which the key rests if that is about it.
    fn judged<T>(&self, answer: Result<T, ProviderError>) -> Result<T, ProviderError> {
        match &answer {
            Ok(_) => self.orders.set(None),
            Err(error) if is_of_key(error) => self.orders.begin(error),
            Err(_) => {}
        }
        answer
    }

    /// Asks about a job, unless the vendor said that this key asks too often.
    async fn ask<T>(
        &self,
        id: &ProviderId,
        question: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        if let Some(until) = self.questions.bound_until() {
            return Err(limited(id, until));
        }
        let answer = question.await;
        if let Err(error) = &answer
            && error.kind == ErrorKind::RateLimited
            && error.retry_after.is_some()
        {
            self.questions.begin(error);
        }
        answer
    }
}

impl Keys {
    fn first(&self) -> &dyn Provider {
        &*self.keys[0].keyed.provider
    }

    /// The key that ordered the job, if it is still there.
    fn of(&self, ticket: &Ticket) -> Option<&Key> {
        self.keys.iter().find(|key| key.keyed.account == ticket.account)
    }

    /// The keys that an order may go to, the next in turn first and those that rest after the others; none before the vendor's own time.
    fn in_turn(&self) -> Vec<&Key> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.keys.len();
        let mut keys: Vec<&Key> = self.keys[first..].iter().chain(&self.keys[..first]).collect();
        keys.retain(|key| key.orders.bound_until().is_none());
        keys.sort_by_key(|key| key.orders.now().map(|pause| pause.until));
        keys
    }

    /// When the first key may be used again, if none may before.
    fn bound_until(&self) -> Option<Instant> {
        let each: Option<Vec<Instant>> = self.keys.iter().map(|key| key.orders.bound_until()).collect();
        each?.into_iter().min()
    }

    /// The error of an order that no key could hand over.
    fn exhausted(&self, last: Option<ProviderError>) -> ProviderError {
        // A limit passes by itself, and so it is what the order waits for.
        let limit = self.keys.iter().filter_map(|key| key.orders.bound_until()).min();
        match (limit, last) {
            (None, Some(error)) => error,
            (until, _) => limited(self.id(), until.unwrap_or_else(Instant::now)),
        }
    }

    /// Asks about a job: with its key, or if that is gone with each of the others, one of which may be of the same account.
    async fn ask<'a, T, F>(
        &'a self,
        ticket: &Ticket,
        question: impl Fn(&'a dyn Provider) -> F,
    ) -> Result<T, ProviderError>
    where
        F: Future<Output = Result<T, ProviderError>>,
    {
        if let Some(key) = self.of(ticket) {
            return key.ask(self.id(), question(&*key.keyed.provider)).await;
        }
        for key in &self.keys {
            match key.ask(self.id(), question(&*key.keyed.provider)).await {
                Err(error) if knows_no_job(error.kind) => {}
                answer => return answer,
            }
        }
        let account = &ticket.account;
        let summary = format!(
            "the key that ordered this job (account {account}) is not configured any more and no other knows the job; \
             set it again beside the others, and the job goes on"
        );
        Err(ProviderError::new(self.id(), ErrorKind::TicketUnknown, Effect::None, summary))
    }
}

/// What a vendor says to a stranger.
fn knows_no_job(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::TicketUnknown | ErrorKind::Unauthenticated | ErrorKind::InvalidOrder)
}

fn limited(id: &ProviderId, until: Instant) -> ProviderError {
    let wait = until.saturating_duration_since(Instant::now());
    let summary = format!("asked for a pause of {} s more", wait.as_secs().max(1));
    ProviderError::new(id, ErrorKind::RateLimited, Effect::None, summary).retry_after(Some(wait))
}

#[async_trait]
impl Provider for Keys {
    fn id(&self) -> &ProviderId {
        self.first().id()
    }

    fn models(&self) -> &[Arc<ModelCard>] {
        self.first().models()
    }

    fn ready(&self, kind: Kind) -> Result<(), String> {
        self.first().ready(kind)
    }

    async fn submit(&self, order: &Order, submit_key: &SubmitKey) -> Result<Submitted, ProviderError> {
        let mut last = None;
        for key in self.in_turn() {
            match key.judged(key.keyed.provider.submit(order, submit_key).await) {
                Err(error) if is_of_key(&error) => last = Some(error),
                answer => return answer,
            }
        }
        Err(self.exhausted(last))
    }

    async fn find(&self, order: &Order, key: &SubmitKey, sent_at: Timestamp) -> Result<Found, ProviderError> {
        // Nobody wrote down which key the lost order went to.
        let each = join_all(self.keys.iter().map(|it| it.keyed.provider.find(order, key, sent_at))).await;
        let (mut candidates, mut failed, mut is_supported) = (Vec::new(), None, false);
        for found in each {
            match found {
                Ok(Found::Candidates(more)) => {
                    is_supported = true;
                    candidates.extend(more);
                }
                Ok(Found::Unsupported) => {}
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            // The only one that was found is not the only one as long as not all were asked; one with our mark is.
            Some(error) if !candidates.iter().any(|job| job.exact) => Err(error),
            _ if !is_supported => Ok(Found::Unsupported),
            _ => Ok(Found::Candidates(candidates)),
        }
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        self.ask(ticket, |provider| provider.poll(ticket)).await
    }

    async fn cancel(&self, ticket: &Ticket) -> Result<CancelOutcome, ProviderError> {
        self.ask(ticket, |provider| provider.cancel(ticket)).await
    }

    async fn open(&self, output: &RemoteOutput, ticket: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
        if let Some(key) = ticket.and_then(|ticket| self.of(ticket)) {
            return key.keyed.provider.open(output, ticket).await;
        }
        let mut refused = None;
        for key in &self.keys {
            match key.keyed.provider.open(output, ticket).await {
                Err(error) if error.kind == ErrorKind::Unauthenticated => refused = Some(error),
                answer => return answer,
            }
        }
        Err(refused.unwrap_or_else(|| limited(self.id(), Instant::now())))
    }

    async fn hear(&self, delivery: &Delivery) -> Result<Heard, HookError> {
        let mut heard = Err(HookError::Forged);
        for key in &self.keys {
            heard = key.keyed.provider.hear(delivery).await;
            if heard.is_ok() {
                break;
            }
        }
        heard
    }

    fn serves_undescribed(&self) -> bool {
        self.first().serves_undescribed()
    }

    fn chat(&self) -> Option<&dyn chat::ChatProvider> {
        self.first().chat().map(|_| self as &dyn chat::ChatProvider)
    }

    fn keys(&self) -> KeyState {
        let n_usable = self.keys.iter().filter(|key| key.orders.now().is_none()).count();
        KeyState { n: self.keys.len(), n_usable, bound_until: self.bound_until() }
    }
}

#[async_trait]
impl chat::ChatProvider for Keys {
    fn chat_models(&self) -> &[Arc<ChatCard>] {
        self.first().chat().map(|chat| chat.chat_models()).unwrap_or_default()
    }

    fn serves_undescribed_chat(&self) -> bool {
        self.first().chat().is_some_and(|chat| chat.serves_undescribed_chat())
    }

    async fn chat(&self, order: ChatOrder) -> Result<ChatStream, ProviderError> {
        let mut last = None;
        let mut keys = self.in_turn().into_iter().peekable();
        let mut order = Some(order);
        while let Some(key) = keys.next() {
            let Some(provider) = key.keyed.provider.chat() else { continue };
            // Copied only for a key that another can follow.
            let its = if keys.peek().is_some() { order.clone() } else { order.take() };
            let Some(its) = its else { break };
            match key.judged(provider.chat(its).await) {
                Err(error) if is_of_key(&error) => last = Some(error),
                answer => return answer,
            }
        }
        Err(self.exhausted(last))
    }
}

#[cfg(test)]
mod tests;
