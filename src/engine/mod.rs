//! What happens: admission, and one readable async function that drives each generation.
//!
//! `admit` stores a request, `drive` takes it to its end through the pure `plan`, `watch` shows it, `recover` starts again after a restart, `shared` works beside other
//! processes on one store, `reconcile` sees to it that what is owned is driven.
//! Nothing here names generated types, SQL or a vendor.

pub mod error;
pub mod request;
pub mod view;

mod admit;
mod brief;
mod callbacks;
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
use tokio::sync::{Notify, oneshot, watch as channel};
use tracing::{Instrument, warn};
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
use self::{drivers::Drivers, gate::Gate, hear::Known, lease::Lease, outlook::Seen, view::View, watch::Hub};
use crate::{
    artifact::{Blobs, Collector},
    domain::{
        catalog::Catalog,
        generation::{Generation, HistoryEvent, State},
        life::{Event, Resolution},
        names::{GenerationId, ModelName, ProviderId, TenantId},
    },
    failpoint::{self, Point},
    lifecycle::{Drain, OnFailure, OnShutdown, Policy, Tasks},
    provider::{port::Provider, registry::Registry},
    store::port::{
        ApplyError, Bound, Changes, Claim, DeleteError, GenerationFilter, Intended, Limit, Limits, Page, Store,
    },
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

    /// The snapshots of a generation, from the current one to the last.
    pub async fn watch(&self, tenant: &TenantId, id: GenerationId, after_sequence: u64) -> Result<Watch, Error> {
        // What is driven here is shown as it is stored; only the rest is read, such as what has ended and may have expired since.
        let is_current = self.drivers().drives(id) || !self.store().is_shared();
        let shows = |shown: &Generation| {
            // Whoever changed it elsewhere may have been told of it before we were.
            let is_current = is_current && shown.sequence >= after_sequence;
            is_current && shown.tenant == *tenant && !shown.state.is_terminal()
        };
        if let Some(own) = self.hub().join(id).filter(|own| shows(&own.borrow())) {
            return Ok(Watch::new(self.clone(), own, after_sequence));
        }
        let known = self.find(tenant, id).await?;
        let ended = known.state.is_terminal();
        let own = self.hub().subscribe(Arc::new(known));
        if !ended {
            // What ended between reading and subscribing would otherwise be missed.
            let now = self.find(tenant, id).await?;
            self.hub().publish(Arc::new(now));
        }
        Ok(Watch::new(self.clone(), own, after_sequence))
    }

    /// The snapshots of a generation whose job another one shares; none if it cannot be read now.
    async fn watch_leader(&self, leader: GenerationId) -> Option<channel::Receiver<Arc<Generation>>> {
        if let Some(shown) = self.hub().join(leader) {
            return Some(shown);
        }
        let loaded = self.store().load(leader).await.ok().flatten()?;
        Some(self.hub().subscribe(Arc::new(loaded.generation)))
    }

    /// The snapshots of what was just accepted; of a deleted generation, whose request id still answers, how it ended.
    pub async fn watch_admitted(&self, admitted: &Admitted) -> Result<Watch, Error> {
        let generation = &admitted.view.generation;
        if generation.state.is_terminal() {
            return Ok(Watch::new(self.clone(), self.hub().subscribe(Arc::clone(generation)), 0));
        }
        self.watch(&generation.tenant, generation.id, 0).await
    }

    /// A generation.
    pub async fn get(&self, tenant: &TenantId, id: GenerationId) -> Result<View, Error> {
        let generation = match self.shown(tenant, id) {
            Some(shown) => shown,
            None => Arc::new(self.find(tenant, id).await?),
        };
        self.views(vec![generation]).await?.pop().ok_or(Error::GenerationNotFound)
    }

    /// Generations, newest first.
    pub async fn list(
        &self,
        tenant: &TenantId,
        filter: &GenerationFilter,
        page: Page<GenerationId>,
    ) -> Result<Vec<View>, Error> {
        let listed = self.store().generations(tenant, filter, page).await?;
        self.views(listed.into_iter().map(Arc::new).collect()).await
    }

    /// Asks for the end of a generation; repeating it succeeds.
    pub async fn cancel(&self, tenant: &TenantId, id: GenerationId) -> Result<View, Error> {
        self.find(tenant, id).await?;
        let cancelled = match self.apply_for_caller(id, Event::CancelRequested).await? {
            // The job may have moved on to another generation; the caller asked about this one.
            Ok(generation) if generation.id != id => return self.get(tenant, id).await,
            Ok(generation) => generation,
            Err(ApplyError::Refused { generation, .. }) if generation.state == State::Cancelled => {
                Arc::from(generation)
            }
            Err(ApplyError::Refused { generation, .. }) => return Err(Error::Finished(generation.state)),
            // Only a claim can be lost, and a caller has none.
            Err(ApplyError::NotFound | ApplyError::Lost) => return Err(Error::GenerationNotFound),
            Err(ApplyError::Budget(refused)) => return Err(refused.into()),
            Err(ApplyError::Store(error)) => return Err(error.into()),
        };
        Ok(self.view(cancelled))
    }

    /// Ends what is unknown by a person's decision.
    pub async fn resolve(&self, tenant: &TenantId, id: GenerationId, resolution: Resolution) -> Result<View, Error> {
        self.find(tenant, id).await?;
        match self.apply_for_caller(id, Event::Resolved(resolution)).await? {
            Ok(generation) => Ok(self.view(generation)),
            Err(ApplyError::Refused { generation, .. }) => Err(Error::NotUnresolved(generation.state)),
            Err(ApplyError::NotFound | ApplyError::Lost) => Err(Error::GenerationNotFound),
            Err(ApplyError::Budget(refused)) => Err(refused.into()),
            Err(ApplyError::Store(error)) => Err(error.into()),
        }
    }

    /// Deletes an ended generation with its artifacts.
    pub async fn delete(&self, tenant: &TenantId, id: GenerationId) -> Result<(), Error> {
        match self.store().delete_generation(tenant, id).await {
            Ok(()) => {
                self.hub().forget(id);
                Ok(())
            }
            Err(DeleteError::NotFound) => Err(Error::GenerationNotFound),
            Err(DeleteError::Unfinished(state)) => Err(Error::Unfinished(state)),
            Err(DeleteError::Store(error)) => Err(error.into()),
        }
    }

    /// The history of a generation, oldest first.
    pub async fn history(
        &self,
        tenant: &TenantId,
        id: GenerationId,
        page: Page<u64>,
    ) -> Result<Vec<HistoryEvent>, Error> {
        self.find(tenant, id).await?;
        Ok(self.store().history(id, page).await?)
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

    /// Does `work` to its end even if the caller goes away in the middle: what is stored must also be shown and driven.
    async fn to_the_end<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let policy = Policy { on_shutdown: OnShutdown::Wait, on_failure: OnFailure::Log };
        let work = async move {
            // Nobody may be waiting any more.
            let _ = answer.send(work.await);
        };
        self.0.parts.tasks.spawn(name, policy, work.in_current_span());
        // The task was dropped, which only the last moments of the process do.
        answered.await.map_err(|_| Error::Draining)
    }

    /// Applies an event that a caller asked for, even if the caller goes away.
    async fn apply_for_caller(
        &self,
        id: GenerationId,
        event: Event,
    ) -> Result<Result<Arc<Generation>, ApplyError>, Error> {
        let engine = self.clone();
        self.to_the_end("apply", async move {
            let applied = engine.apply(id, event, None).await;
            if let Err(ApplyError::Store(_)) = applied {
                // It may have been applied all the same.
                engine.doubt();
            }
            applied
        })
        .await
    }

    /// Applies an event and shows what it changed to all who watch.
    async fn apply(&self, id: GenerationId, event: Event, claim: Option<Claim>) -> Result<Arc<Generation>, ApplyError> {
        let now = self.now();
        let changes = self.store().apply(id, event, claim, now).await?;
        Ok(self.show(changes, now))
    }

    /// As `apply`, for an intent to submit: none if the store holds it back, and then the gate knows for how long.
    async fn intend(
        &self,
        id: GenerationId,
        event: Event,
        claim: Option<Claim>,
        limits: &Limits,
    ) -> Result<Option<Arc<Generation>>, ApplyError> {
        let now = self.now();
        match self.store().intend(id, event, claim, limits, now).await? {
            Intended::Stored(changes) => Ok(Some(self.show(*changes, now))),
            Intended::Wait(bound, wait) => {
                self.gate(&limits.model.provider).hold_back(bound, &limits.model, wait);
                Ok(None)
            }
        }
    }

    /// What must hold when an order is sent to a model.
    fn limits_of(&self, model: &ModelName) -> Limits {
        let of_provider = self.settings().limits.get(&model.provider).map(|limits| limits.of_provider);
        let of_model = self.gate(&model.provider).limit_of(model);
        Limits { model: model.clone(), of_provider: of_provider.unwrap_or_default(), of_model }
    }

    /// A provider wants no orders for so long: none goes there from here, nor from other processes, nor after a restart.
    async fn pause(&self, model: &ModelName, wait: Duration) {
        let wait = wait.min(retry::LONGEST);
        self.gate(&model.provider).hold_back(Bound::Provider, model, Some(wait));
        let now = self.now();
        let until = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        if let Err(error) = self.store().pause(model.provider.id(), until, now).await {
            // Others will hear it from the provider.
            warn!(provider.id = %model.provider, error = ?error, "its pause is known to this process only");
        }
    }

    /// Shows what an event changed to all who watch.
    fn show(&self, changes: Changes, now: Timestamp) -> Arc<Generation> {
        let generation = Arc::new(changes.generation);
        let ended = generation.state.is_terminal();
        if ended {
            failpoint::reach(Point::SettleAfter);
            failpoint::reach(Point::NotifyBefore);
        }
        for changed in changes.others.into_iter().map(Arc::new).chain([Arc::clone(&generation)]) {
            // Now, and not before: each end is counted once, by the process that brought it about.
            if changed.ended_at == Some(now) {
                self.metrics().finished(changed.state.as_str());
                self.0.seen.note(&changed);
            }
            self.announce_callback(&changed);
            self.note_heir(&changed);
            self.hub().publish(changed);
        }
        if ended {
            failpoint::reach(Point::NotifyAfter);
        }
        generation
    }

    /// If the generation handed its job over, the driver of that job is expected to go on with the one that took it.
    fn note_heir(&self, generation: &Generation) {
        if let Some(successor) = generation.successor {
            self.drivers().expect(generation.id, successor);
        }
    }

    /// Starts the driver of a generation that has not ended.
    fn start(&self, generation: &Arc<Generation>, claim: Claim) {
        if !generation.state.is_terminal() {
            recover::spawn(self, Arc::clone(generation), claim, recover::Origin::Accepted);
        }
    }

    /// Has the generation's driver read its record again and ask the provider now, wherever it is.
    pub async fn nudge(&self, id: GenerationId) -> Result<(), Error> {
        if !self.drivers().nudge(id) {
            self.store().hint(id).await?;
        }
        Ok(())
    }

    /// An unfinished generation as it is stored, if that can be told without the store: only this process writes it, and shows what it writes before
    /// it answers. What has ended may be deleted or expire.
    fn shown(&self, tenant: &TenantId, id: GenerationId) -> Option<Arc<Generation>> {
        if self.store().is_shared() {
            // Who has just changed it at another process must see that here.
            return None;
        }
        self.hub().shown(id).filter(|shown| shown.tenant == *tenant && !shown.state.is_terminal())
    }

    async fn find(&self, tenant: &TenantId, id: GenerationId) -> Result<Generation, Error> {
        self.store().generation(tenant, id).await?.ok_or(Error::GenerationNotFound)
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
