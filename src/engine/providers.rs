//! The providers as they are now.

use super::Engine;
use crate::domain::{catalog::ProviderEntry, names::ProviderId};

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
}

impl Engine {
    /// The providers with their live state, by name.
    pub fn providers(&self) -> Vec<ProviderState> {
        let state = |(id, entry): (&ProviderId, &ProviderEntry)| {
            let gate = self.gate(id);
            ProviderState {
                id: id.clone(),
                missing: entry.missing.clone(),
                up: self.0.parts.registry.get(id).and_then(|provider| provider.is_up()),
                n_running: gate.n_running(),
                n_queued: gate.n_queued(),
                concurrency: gate.n_places(),
            }
        };
        self.catalog().providers.iter().map(state).collect()
    }
}
