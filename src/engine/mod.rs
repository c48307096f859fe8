//! What happens: admission, and one readable async function that drives each generation.
//!
//! `calls` are what callers may ask, `admit` stores a request, `drive` takes it to its end through the pure `plan`, `apply` tells the store what
//! happened, `watch` shows it, `recover` starts again after a restart, `shared` works beside other processes on one store, `reconcile` sees to it
//! that what is owned is driven.
//! Nothing here names generated types, SQL or a vendor.

pub mod error;
pub mod request;
pub mod view;

mod admit;
mod apply;
mod brief;
mod callbacks;
mod calls;
mod clock;
mod drive;
mod drivers;
mod gate;
mod hear;
mod housekeeping;
mod inputs;
mod lease;
mod library;
mod outlook;
mod outputs;
mod plan;
mod providers;
mod quote;
mod reconcile;
mod recover;
mod retry;
mod shared;
mod trouble;
mod watch;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::{Notify, watch as channel};
use url::Url;

pub use self::{
    admit::Admitted,
    clock::Clock,
    error::Error,
    hear::{Addressee, Hearing},
    housekeeping::Retention,
    inputs::MAX_INPUT_BYTES,
    library::{UploadClaims, UploadError},
    providers::ProviderState,
    retry::{Backoff, Pace},
    watch::Watch,
};
use self::{drivers::Drivers, gate::Gate, hear::Known, lease::Lease, outlook::Seen, watch::Hub};
use crate::{
    artifact::{Blobs, Collector},
    domain::{catalog::Catalog, names::ProviderId},
    lifecycle::{Drain, Tasks},
    provider::{port::Provider, registry::Registry},
    store::port::{Limit, Store},
    telemetry::Metrics,
};

/// The engine; a cheap handle.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Inner>);

/// What the engine works with.
#[derive(Debug)]
pub struct Parts {
    /// Durable records.
    pub store: Arc<dyn Store>,
    /// The providers.
    pub registry: Arc<Registry>,
    /// What can be ordered.
    pub catalog: Catalog,
    /// Owned bytes.
    pub blobs: Blobs,
    /// How bytes come in.
    pub collector: Collector,
    /// Owner of every task.
    pub tasks: Tasks,
    /// Tells of the shutdown.
    pub drain: Drain,
    /// Instruments.
    pub metrics: Metrics,
    /// Where the time comes from.
    pub clock: Clock,
    /// Told when the callback of a generation may have fallen due here.
    pub callback_due: Arc<Notify>,
    /// Settings.
    pub settings: EngineSettings,
}

/// The engine's settings.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Bounds a job whose request says nothing.
    pub max_duration: Duration,
    /// How long what is unknown is asked for.
    pub unresolved_for: Duration,
    /// Waits between repeated calls.
    pub backoff: Backoff,
    /// Waits between polls.
    pub pace: Pace,
    /// Most generations at work at one provider.
    pub concurrency: usize,
    /// Bounds of single providers and models, which all processes on one store keep together.
    pub limits: BTreeMap<ProviderId, ProviderLimits>,
    /// Most unfinished generations.
    pub max_unfinished: u64,
    /// Put before every brief.
    pub system_prompt: Option<String>,
    /// What is kept for a time only.
    pub retention: Retention,
    /// Where the outside reaches this server; providers are asked to call back below it.
    pub public_url: Option<Url>,
    /// How long the store keeps what this process owns for it after a heartbeat; means nothing in a store of one process.
    pub lease: Duration,
}

/// Bounds of a provider and its models.
#[derive(Debug, Clone, Default)]
pub struct ProviderLimits {
    /// Of the provider.
    pub of_provider: Limit,
    /// Of single models, by their names at the provider.
    pub of_models: BTreeMap<String, Limit>,
}

#[derive(Debug)]
struct Inner {
    parts: Parts,
    gates: BTreeMap<ProviderId, Arc<Gate>>,
    seen: Arc<Seen>,
    hub: Hub,
    drivers: Drivers,
    heard: Known,
    lease: Lease,
    /// Reasons to look at what is owned and driven.
    doubts: Notify,
    ready: channel::Sender<bool>,
}

impl Engine {
    /// An engine that does nothing yet; `recover` takes up what an earlier process left.
    pub fn new(mut parts: Parts) -> Self {
        let gates = parts.catalog.providers.keys().map(|id| {
            let limits = parts.settings.limits.get(id).cloned().unwrap_or_default();
            let own = limits.of_provider.concurrency.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
            let breaker = parts.registry.get(id).map(|provider| Arc::clone(provider.breaker())).unwrap_or_default();
            let n_places = own.unwrap_or(parts.settings.concurrency);
            (id.clone(), Arc::new(Gate::new(n_places, limits.of_models, breaker)))
        });
        let gates: BTreeMap<_, _> = gates.collect();
        let seen = Arc::new(Seen::new(Arc::clone(&parts.registry), gates.clone()));
        parts.catalog.outlook = Arc::clone(&seen) as _;
        let lease = Lease::new(parts.store.is_shared().then_some(parts.settings.lease));
        Self(Arc::new(Inner {
            gates,
            seen,
            parts,
            hub: Hub::default(),
            drivers: Drivers::default(),
            heard: Known::default(),
            lease,
            doubts: Notify::new(),
            ready: channel::Sender::new(false),
        }))
    }

    /// What can be ordered.
    pub fn catalog(&self) -> &Catalog {
        &self.0.parts.catalog
    }

    /// Durable records, for plain reads.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.0.parts.store
    }

    /// Whether calls can be served; changes are signalled.
    pub fn readiness(&self) -> channel::Receiver<bool> {
        self.0.ready.subscribe()
    }

    fn provider(&self, id: &ProviderId) -> Option<Arc<dyn Provider>> {
        self.0.parts.registry.get(id).map(|provider| Arc::clone(provider) as Arc<dyn Provider>)
    }

    fn gate(&self, id: &ProviderId) -> Arc<Gate> {
        let none = || Arc::new(Gate::new(self.settings().concurrency, BTreeMap::new(), Arc::default()));
        self.0.gates.get(id).map_or_else(none, Arc::clone)
    }

    fn drivers(&self) -> &Drivers {
        &self.0.drivers
    }

    fn hub(&self) -> &Hub {
        &self.0.hub
    }

    fn lease(&self) -> &Lease {
        &self.0.lease
    }

    fn settings(&self) -> &EngineSettings {
        &self.0.parts.settings
    }

    fn blobs(&self) -> &Blobs {
        &self.0.parts.blobs
    }

    fn collector(&self) -> &Collector {
        &self.0.parts.collector
    }

    fn metrics(&self) -> &Metrics {
        &self.0.parts.metrics
    }

    fn drain(&self) -> &Drain {
        &self.0.parts.drain
    }

    fn is_closing(&self) -> bool {
        self.drain().is_closing()
    }

    /// Where the time comes from.
    pub fn clock(&self) -> Clock {
        self.0.parts.clock
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock().now()
    }
}
