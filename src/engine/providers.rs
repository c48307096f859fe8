//! The providers as they are now.

use jiff::Timestamp;

use super::Engine;
use crate::{
    domain::{catalog::ProviderEntry, names::ProviderId},
    provider::port::Provider,
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
}
