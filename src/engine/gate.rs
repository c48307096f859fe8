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
    provider::breaker::{Breaker, Probe},
    store::port::{Bound, Limit},
};

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

/// A place at a provider, until dropped.
#[derive(Debug)]
pub(super) struct Slot {
    place: Place,
    probe: Option<Probe>,
}

impl Slot {
    /// The store took the intent: the next may ask.
    pub(super) fn let_others_ask(&mut self) {
        self.place.let_others_ask();
    }

    /// Its order was answered, whatever that says.
    pub(super) fn was_answered(&mut self) {
        self.probe = None;
    }
}

#[derive(Debug)]
struct Place {
    gate: Arc<Gate>,
    model: String,
    /// For whom it is the one that asks.
    asks: Vec<String>,
}

impl Place {
    fn let_others_ask(&mut self) {
        if self.asks.is_empty() {
            return;
        }
        let mut state = self.gate.state();
        for name in self.asks.drain(..) {
            if let Some(held_back) = state.held_back.get_mut(&name) {
                held_back.is_asked = false;
            }
        }
        drop(state);
        self.gate.give_places();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.n_running = state.n_running.saturating_sub(1);
        if let Some(n) = state.running.get_mut(&self.model) {
            *n = n.saturating_sub(1);
        }
        for name in &self.asks {
            if let Some(held_back) = state.held_back.get_mut(name) {
                held_back.is_asked = false;
            }
        }
        drop(state);
        self.gate.give_places();
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

struct Queued<'a> {
    gate: &'a Gate,
    id: GenerationId,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.gate.state().queue.remove(&self.id);
    }
}

struct Waiting<'a> {
    gate: &'a Gate,
    id: GenerationId,
    model: &'a str,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let left = self.gate.state().waiting.get_mut(self.model).and_then(|ids| ids.remove(&self.id));
        // Outside the lock: a place that is on its way in it goes back.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn gate(n_places: usize) -> Arc<Gate> {
        let limit = Limit { concurrency: Some(1), rate: None };
        Arc::new(Gate::new(n_places, [("narrow".to_owned(), limit)].into(), Arc::default()))
    }

    fn model(name: &str) -> ModelName {
        format!("fal/{name}").parse().unwrap()
    }

    #[tokio::test]
    async fn the_queue_moves_up_as_places_are_freed() {
        let (gate, wide) = (gate(1), model("wide"));
        let [first, second, third] = [(); 3].map(|()| GenerationId::fresh());
        let slot = gate.enter(first, &wide).await;
        let mut waits_second = Box::pin(gate.enter(second, &wide));
        let mut waits_third = Box::pin(gate.enter(third, &wide));
        assert!((&mut waits_second).now_or_never().is_none() && (&mut waits_third).now_or_never().is_none());
        assert_eq!((gate.position(first), gate.position(second), gate.position(third)), (None, Some(1), Some(2)));
        drop(slot);
        let _slot = waits_second.await;
        assert_eq!((gate.position(second), gate.position(third)), (None, Some(1)));
        assert_eq!((gate.n_running(), gate.n_queued()), (1, 1));
        drop(waits_third);
        assert_eq!(gate.n_queued(), 0);
    }

    #[tokio::test]
    async fn who_comes_back_goes_before_who_came_later() {
        let (gate, wide) = (gate(1), model("wide"));
        let [old, new] = [(); 2].map(|()| GenerationId::fresh());
        let slot = gate.enter(GenerationId::fresh(), &wide).await;
        let mut waits_new = Box::pin(gate.enter(new, &wide));
        assert!((&mut waits_new).now_or_never().is_none());
        let mut waits_old = Box::pin(gate.enter(old, &wide));
        assert!((&mut waits_old).now_or_never().is_none());
        assert_eq!((gate.position(old), gate.position(new)), (Some(1), Some(2)));
        drop(slot);
        assert!((&mut waits_new).now_or_never().is_none());
        drop(waits_old.await);
        waits_new.await;
    }

    #[tokio::test]
    async fn a_model_at_its_own_limit_keeps_no_other_waiting() {
        let (gate, wide, narrow) = (gate(3), model("wide"), model("narrow"));
        let slot = gate.enter(GenerationId::fresh(), &narrow).await;
        let mut waits = Box::pin(gate.enter(GenerationId::fresh(), &narrow));
        assert!((&mut waits).now_or_never().is_none());
        assert!(!gate.is_free(&narrow) && gate.is_free(&wide));
        let _other = gate.enter(GenerationId::fresh(), &wide).await;
        assert_eq!((gate.n_places_of(&narrow), gate.n_places_of(&wide), gate.n_running()), (1, 3, 2));
        drop(slot);
        waits.await;
    }

    #[tokio::test]
    async fn a_place_on_its_way_to_who_left_goes_to_the_next() {
        let (gate, wide) = (gate(1), model("wide"));
        let slot = gate.enter(GenerationId::fresh(), &wide).await;
        let mut leaves = Box::pin(gate.enter(GenerationId::fresh(), &wide));
        let mut stays = Box::pin(gate.enter(GenerationId::fresh(), &wide));
        assert!((&mut leaves).now_or_never().is_none() && (&mut stays).now_or_never().is_none());
        drop(slot);
        drop(leaves);
        stays.await;
        assert_eq!((gate.n_running(), gate.n_queued()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_held_back_by_the_store_asks_again_one_at_a_time() {
        let (gate, wide) = (gate(3), model("wide"));
        drop(gate.enter(GenerationId::fresh(), &wide).await);
        gate.hold_back(Bound::Provider, &wide, Some(Duration::from_secs(20)));
        assert!(!gate.is_free(&wide));
        let began = Instant::now();
        let mut first = gate.enter(GenerationId::fresh(), &wide).await;
        assert_eq!(began.elapsed().as_secs(), 20);
        let mut second = Box::pin(gate.enter(GenerationId::fresh(), &wide));
        assert!((&mut second).now_or_never().is_none());
        assert_eq!(gate.n_queued(), 1);
        first.let_others_ask();
        second.await;
    }

    #[test]
    fn a_job_already_at_the_provider_takes_a_place_only_if_one_is_free() {
        let gate = gate(1);
        let adopted = gate.adopt(&model("wide"));
        assert!(adopted.is_some() && gate.adopt(&model("wide")).is_none());
    }
}
