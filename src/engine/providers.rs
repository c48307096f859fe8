//! The providers as they are now, and what must hold when an order is sent there.

use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::{Engine, retry};
use crate::{
    domain::{
        catalog::ProviderEntry,
        names::{ModelName, ProviderId},
    },
    provider::port::Provider,
    store::port::{Bound, Limits},
};

/// A provider with what was seen of it lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderState {
    /// Which.
    pub id: ProviderId,
    /// What to set to configure it; absent if it is configured.
    pub missing: Option<String>,
    /// Whether the last call was answered; absent before the first call.
    pub up: Option<bool>,
    /// Generations at work there.
    pub n_running: usize,
    /// Generations waiting for a place.
    pub n_queued: usize,
    /// Most at work at once.
    pub concurrency: usize,
    /// Until when no new work is sent there.
    pub resting_until: Option<Timestamp>,
    /// Calls of the last 5 minutes that were answered.
    pub n_recent_answered: u32,
    /// Calls of the last 5 minutes that failed on the way or for overload.
    pub n_recent_failed: u32,
    /// Most orders sent in a minute.
    pub rate: Option<u64>,
    /// Its keys that may be used now, and all of them.
    pub keys: (usize, usize),
}

impl Engine {
    /// The providers with their live state, by name.
    pub fn providers(&self) -> Vec<ProviderState> {
        let state = |(id, entry): (&ProviderId, &ProviderEntry)| {
            let gate = self.gate(id);
            let provider = self.0.parts.registry.get(id);
            let keys = provider.map(|provider| provider.keys()).unwrap_or_default();
            let (n_recent_answered, n_recent_failed) = gate.breaker().recent();
            let resting_until = provider.and_then(|provider| provider.resting_until()).max(gate.held_back_until());
            let limits = self.settings().limits.get(id);
            ProviderState {
                resting_until: resting_until.map(|until| self.clock().timestamp(until)),
                n_recent_answered,
                n_recent_failed,
                rate: limits.and_then(|limits| limits.of_provider.rate),
                keys: (keys.n_usable, keys.n),
                id: id.clone(),
                missing: entry.missing.clone(),
                up: provider.and_then(|provider| provider.is_up()),
                n_running: gate.n_running(),
                n_queued: gate.n_queued(),
                concurrency: gate.n_places(),
            }
        };
        self.catalog().providers.iter().map(state).collect()
    }

    /// What must hold when an order is sent to a model.
    pub(super) fn limits_of(&self, model: &ModelName) -> Limits {
        let of_provider = self.settings().limits.get(&model.provider).map(|limits| limits.of_provider);
        let of_model = self.gate(&model.provider).limit_of(model);
        Limits { model: model.clone(), of_provider: of_provider.unwrap_or_default(), of_model }
    }

    /// A provider wants no orders for so long: none goes there from here, nor from other processes, nor after a restart.
    pub(super) async fn pause(&self, model: &ModelName, wait: Duration) {
        let wait = wait.min(retry::LONGEST);
        self.gate(&model.provider).hold_back(Bound::Provider, model, Some(wait));
        let now = self.now();
        let until = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        if let Err(error) = self.store().pause(model.provider.id(), until, now).await {
            // Others will hear it from the provider.
            warn!(provider.id = %model.provider, error = ?error, "its pause is known to this process only");
        }
    }
}
