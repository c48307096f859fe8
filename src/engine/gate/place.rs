//! What is held while dropping gives it back: a place, a turn in the queue, and the wait for a place.

use std::sync::Arc;

use crate::{domain::names::GenerationId, provider::breaker::Probe};

use super::Gate;

/// A place at a provider, until dropped.
#[derive(Debug)]
pub(in crate::engine) struct Slot {
    pub(super) place: Place,
    pub(super) probe: Option<Probe>,
}

impl Slot {
    /// The store took the intent: the next may ask.
    pub(in crate::engine) fn let_others_ask(&mut self) {
        self.place.let_others_ask();
    }

    /// Its order was answered, whatever that says.
    pub(in crate::engine) fn was_answered(&mut self) {
        self.probe = None;
    }
}

/// What is taken from the gate, and given back by dropping it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) gate: Arc<Gate>,
    pub(super) model: String,
    /// For whom it is the one that asks.
    pub(super) asks: Vec<String>,
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

/// Somebody in the queue, until dropped.
pub(super) struct Queued<'a> {
    pub(super) gate: &'a Gate,
    pub(super) id: GenerationId,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.gate.state().queue.remove(&self.id);
    }
}

/// Somebody who waits for a place, until dropped.
pub(super) struct Waiting<'a> {
    pub(super) gate: &'a Gate,
    pub(super) id: GenerationId,
    pub(super) model: &'a str,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let left = self.gate.state().waiting.get_mut(self.model).and_then(|ids| ids.remove(&self.id));
        // Outside the lock: a place that is on its way in it goes back.
        drop(left);
    }
}
