//! A bounded number of generations at work at one provider and at each of its models; the rest wait in order and know their place.
//!
//! Invariants: the oldest that fits goes first, also one that was turned away and comes back; nobody waits for a place that is free. What all
//! processes may do together, and how fast, the store says (`intend`): whoever it holds back comes back here, and one at a time asks again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use crate::{
    domain::names::{GenerationId, ModelName},
    provider::breaker::Breaker,
    store::port::{Bound, Limit},
};

mod place;
#[cfg(test)]
mod tests;

pub(super) use place::Slot;
use place::{Place, Queued, Waiting};

/// How soon the store is asked again for a place that somebody else's job has.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// So long after the store held somebody back the others ask one at a time.
const IN_TURN_FOR: Duration = Duration::from_mins(1);

/// The places at one provider.
#[derive(Debug)]
pub(super) struct Gate {
    n_places: usize,
    /// By the models' names at the provider; those without a limit of their own are not here.
    of_models: BTreeMap<String, Limit>,
    breaker: Arc<Breaker>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    n_running: usize,
    running: HashMap<String, usize>,
    /// How the store holds back orders for a model with limits, and under the empty name those for the provider.
    held_back: HashMap<String, HeldBack>,
    /// Who waits for a place, by model; all models without a limit under one name.
    waiting: BTreeMap<String, BTreeMap<GenerationId, oneshot::Sender<Place>>>,
    /// Who was not sent yet, with a place or without.
    queue: BTreeSet<GenerationId>,
}

/// What the store said last to those whom it held back.
#[derive(Debug, Clone, Copy)]
struct HeldBack {
    at: Instant,
    until: Instant,
    /// Somebody is about to ask it again.
    is_asked: bool,
}

impl HeldBack {
    /// It did so lately, so that the next ask one at a time.
    fn is_recent(&self) -> bool {
        let now = Instant::now();
        self.until > now || self.at + IN_TURN_FOR > now
    }
}

impl Gate {
    /// A gate with this many places, to a provider that rests as its breaker says.
    pub(super) fn new(n_places: usize, of_models: BTreeMap<String, Limit>, breaker: Arc<Breaker>) -> Self {
        Self { n_places: n_places.max(1), of_models, breaker, state: Mutex::default() }
    }

    /// Waits for a place at the provider and the model, until the provider does not rest, and for its turn to ask the store. Dropping the future
    /// leaves the queue.
    pub(super) async fn enter(self: &Arc<Self>, id: GenerationId, model: &ModelName) -> Slot {
        let _queued = self.join(id);
        let model = self.key(&model.name);
        let place = self.place(id, &model).await;
        let held_back = |name| self.state().held_back.get(name).map(|held_back: &HeldBack| held_back.until);
        if let Some(until) = place.asks.iter().filter_map(held_back).max() {
            sleep_until(until).await;
        }
        let probe = self.breaker.pass().await;
        Slot { place, probe }
    }

    /// A place for a job that is at the provider already, if one is free: it goes on in either case.
    pub(super) fn adopt(self: &Arc<Self>, model: &ModelName) -> Option<Slot> {
        let model = self.key(&model.name);
        let mut state = self.state();
        let is_free = state.n_running < self.n_places && self.has_room(&state, &model);
        is_free.then(|| {
            state.take(&model);
            drop(state);
            Slot { place: Place { gate: Arc::clone(self), model, asks: Vec::new() }, probe: None }
        })
    }

    /// The store held an order back for so long, or until somebody else's job ends.
    pub(super) fn hold_back(&self, bound: Bound, model: &ModelName, wait: Option<Duration>) {
        let name = match bound {
            Bound::Provider => String::new(),
            Bound::Model => self.key(&model.name),
        };
        let now = Instant::now();
        let mut state = self.state();
        let is_asked = state.held_back.get(&name).is_some_and(|held_back| held_back.is_asked);
        state.held_back.insert(name, HeldBack { at: now, until: now + wait.unwrap_or(ASK_AGAIN), is_asked });
    }

    /// Whether the provider gets new work.
    pub(super) fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// The bounds of a model of this provider that the store is to see to.
    pub(super) fn limit_of(&self, model: &ModelName) -> Limit {
        self.of_models.get(&model.name).copied().unwrap_or_default()
    }

    /// Place in the queue, from 1.
    pub(super) fn position(&self, id: GenerationId) -> Option<u32> {
        let state = self.state();
        state.queue.contains(&id).then(|| u32::try_from(state.queue.range(..=id).count()).unwrap_or(u32::MAX))
    }

    /// How many wait.
    pub(super) fn n_queued(&self) -> usize {
        self.state().queue.len()
    }

    /// How many are at work.
    pub(super) fn n_running(&self) -> usize {
        self.state().n_running.min(self.n_places)
    }

    /// Most that may be at work.
    pub(super) fn n_places(&self) -> usize {
        self.n_places
    }

    /// Most of a model that may be at work.
    pub(super) fn n_places_of(&self, model: &ModelName) -> usize {
        let own = self.limit_of(model).concurrency.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        own.map_or(self.n_places, |own| own.min(self.n_places))
    }

    /// False if an order for the model would have to wait now.
    pub(super) fn is_free(&self, model: &ModelName) -> bool {
        let state = self.state();
        let model = self.key(&model.name);
        let held_back = ["", &model].into_iter().any(|name| state.held_back_until(name).is_some());
        state.n_running < self.n_places && self.has_room(&state, &model) && !held_back
    }

    /// Until when the store lets nobody send to the provider, as it said last.
    pub(super) fn held_back_until(&self) -> Option<Instant> {
        self.state().held_back_until("")
    }

    async fn place(self: &Arc<Self>, id: GenerationId, model: &str) -> Place {
        let (sender, receiver) = oneshot::channel();
        self.state().waiting.entry(model.to_owned()).or_default().insert(id, sender);
        let _waiting = Waiting { gate: self, id, model };
        self.give_places();
        match receiver.await {
            Ok(place) => place,
            // Nobody drops the other end but `Waiting`, which is ours.
            Err(_) => std::future::pending().await,
        }
    }

    /// Gives what is free to those who wait: the oldest that fits first.
    fn give_places(self: &Arc<Self>) {
        let mut given = Vec::new();
        let mut state = self.state();
        while state.n_running < self.n_places {
            let fits = state.waiting.iter().filter(|(model, _)| self.has_room(&state, model));
            let oldest = fits.filter_map(|(model, ids)| Some((*ids.first_key_value()?.0, model.clone()))).min();
            let Some((id, model)) = oldest else { break };
            let Some(sender) = state.waiting.get_mut(&model).and_then(|ids| ids.remove(&id)) else { break };
            state.take(&model);
            let asks = state.ask(&model);
            given.push((sender, Place { gate: Arc::clone(self), model, asks }));
        }
        drop(state);
        for (sender, place) in given {
            // Who is gone gives the place back by dropping it, which needs the lock.
            drop(sender.send(place));
        }
    }

    fn has_room(&self, state: &State, model: &str) -> bool {
        let most = self.of_models.get(model).and_then(|limit| limit.concurrency);
        let n_running = state.running.get(model).copied().unwrap_or_default();
        let is_asked = |name| state.held_back.get(name).is_some_and(|held_back| held_back.is_asked);
        most.is_none_or(|most| (n_running as u64) < most) && !is_asked("") && !is_asked(model)
    }

    /// The name that a model is counted under: its own, or none if it has no limit.
    fn key(&self, model: &str) -> String {
        if self.of_models.contains_key(model) { model.to_owned() } else { String::new() }
    }

    fn join(&self, id: GenerationId) -> Queued<'_> {
        self.state().queue.insert(id);
        Queued { gate: self, id }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, model: &str) {
        self.n_running += 1;
        if !model.is_empty() {
            *self.running.entry(model.to_owned()).or_default() += 1;
        }
    }

    /// Who got a place for the model is the one that asks the store again, if that held somebody back lately.
    fn ask(&mut self, model: &str) -> Vec<String> {
        let mut names = vec![String::new(), model.to_owned()];
        names.dedup();
        names.retain(|name| match self.held_back.get_mut(name) {
            Some(held_back) if held_back.is_recent() => {
                held_back.is_asked = true;
                true
            }
            Some(_) | None => false,
        });
        names
    }

    fn held_back_until(&self, name: &str) -> Option<Instant> {
        self.held_back.get(name).map(|held_back| held_back.until).filter(|until| *until > Instant::now())
    }
}
