//! The shared store: PostgreSQL, for several processes on one database.
//!
//! Each method is one transaction at READ COMMITTED with row locks taken in one order (`locks`), so that the methods of all processes wait for
//! each other and not in a circle. Everything works through a transaction-mode pooler: no named statements, settings or locks outlive a
//! transaction. All tables are in the schema `filmgate`, named in full, because a pooler keeps no search path.
//!
//! An answered write is as durable as the database's `synchronous_commit` makes it; leave that `on`.

mod accept;
mod address;
mod apply;
mod artifacts;
mod callbacks;
mod chats;
mod database;
mod dialect;
mod ends;
mod error;
mod generations;
mod limits;
mod locks;
mod migrate;
mod money;
mod owners;
mod retention;
mod sessions;
mod statements;
mod tls;
mod unfinished;
mod work;

#[cfg(test)]
mod tests;

use std::{ops::ControlFlow, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

pub use self::address::{Address, BadAddress};
use self::{database::Database, unfinished::Unfinished};
use super::{
    OpenError,
    port::{
        AcceptError, Acceptance, Accepted, ApplyError, ArtifactFilter, CallbackClaim, Changes, Claim, DeleteError,
        Draft, DueCallback, Expired, GenerationFilter, Intended, LedgerFilter, Limits, Loaded, Owned, Page,
        RedeliverError, Store, StoreError, UsageFilter, UsageKey, UsageRow,
    },
    rules,
};
use crate::domain::{
    artifact::{Artifact, BlobKey},
    budget::{Budgets, Spender, Standing},
    callback::Callback,
    chat::ChatRecord,
    generation::{Generation, HistoryEvent},
    ledger::Entry,
    life::Event,
    names::{ArtifactId, GenerationId, QuoteId, SessionId, TenantId},
    quote::Quote,
    session::{Message, Session},
};

type Result<T> = std::result::Result<T, StoreError>;

/// This process's part of a store that several may use.
#[derive(Debug)]
pub struct Postgres {
    database: Database,
    /// The name of this process.
    process: String,
    /// How long the others let it be when they hear nothing of it.
    lease: Duration,
    unfinished: Unfinished,
    budgets: Budgets,
}

impl Postgres {
    /// Connects, brings the tables up to date, and takes the lease of `process`, which must be the name of no other process that runs: what an
    /// earlier run of that name left unfinished is this one's at once. What is taken of the budgets is counted anew; all processes on one
    /// database must have the same.
    ///
    /// # Errors
    /// If the database cannot be used, or has tables of a newer version.
    pub async fn open(
        address: &Address,
        process: String,
        lease: Duration,
        budgets: Budgets,
    ) -> std::result::Result<Self, OpenError> {
        let database = Database::new(address)?;
        database.long_transaction(migrate::migrate).await?;
        database.long_transaction(|work| owners::enter(work, &process, lease)).await?;
        database.long_transaction(|work| money::recount(work, &budgets, Timestamp::now())).await?;
        let store = Self { database, process, lease, budgets, unfinished: Unfinished::default() };
        store.heartbeat(Timestamp::now()).await?;
        Ok(store)
    }

    /// Whether what [`Self::open`] failed with may pass by itself: the database is away.
    pub fn is_away(error: &OpenError) -> bool {
        error::is_away(error)
    }

    /// Connects and changes nothing: the version of the database program, and of the tables (0 if there are none).
    ///
    /// # Errors
    /// If it cannot be used, or has tables of a newer version.
    pub async fn examine(address: &Address) -> std::result::Result<(String, i64), OpenError> {
        let database = Database::new(address)?;
        let examined = database.read(migrate::examine).await?;
        database.close();
        let (program, found) = examined;
        let known = migrate::latest();
        if found > known { Err(OpenError::Newer { found, known }) } else { Ok((program, found)) }
    }
}

#[async_trait]
impl Store for Postgres {
    async fn accept(
        &self,
        acceptance: Acceptance,
        draft: Box<dyn Draft>,
    ) -> std::result::Result<Accepted, AcceptError> {
        self.database.transaction(|work| accept::accept(self, work, &acceptance, &*draft)).await
    }

    async fn cached(&self, tenant: &TenantId, session: Option<&SessionId>, digest: &str) -> Result<Option<Generation>> {
        self.database.read(|work| accept::cached_for(work, tenant, session, digest)).await
    }

    async fn forget_cached(&self, tenant: &TenantId, generation: GenerationId) -> Result<()> {
        self.database.transaction(|work| accept::forget_cached(work, tenant, generation)).await
    }

    async fn apply(
        &self,
        id: GenerationId,
        event: Event,
        claim: Option<Claim>,
        now: Timestamp,
    ) -> std::result::Result<Changes, ApplyError> {
        let applied = self.database.transaction(|work| apply::apply(self, work, id, &event, claim, now)).await;
        applied.map_err(error::of_event)
    }

    async fn intend(
        &self,
        id: GenerationId,
        event: Event,
        claim: Option<Claim>,
        limits: &Limits,
        now: Timestamp,
    ) -> std::result::Result<Intended, ApplyError> {
        let intent = (id, &event, claim);
        let intended = self.database.transaction(|work| limits::intend(self, work, intent, limits, now)).await;
        intended.map_err(error::of_event)
    }

    async fn pause(&self, provider: &str, until: Timestamp, now: Timestamp) -> Result<()> {
        let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        self.database.transaction(|work| limits::pause(work, provider, wait)).await
    }

    async fn latest_successes(&self, limit: usize) -> Result<Vec<Generation>> {
        self.database.read(|work| limits::latest_successes(work, limit)).await
    }

    async fn load(&self, id: GenerationId) -> Result<Option<Loaded>> {
        self.database.read(|work| generations::loaded(work, &self.process, id)).await
    }

    async fn owned(&self, after: Option<GenerationId>, limit: usize) -> Result<Vec<Owned>> {
        self.database.read_in_round(|work| owners::owned(work, &self.process, after, limit)).await
    }

    async fn job_is_claimed(&self, provider: &str, account: &str, job: &str, besides: GenerationId) -> Result<bool> {
        self.database.read(|work| apply::job_is_claimed(work, (provider, account, job), besides)).await
    }

    async fn lost_submits(&self, model: &str, brief: &str, besides: GenerationId) -> Result<u64> {
        let asked = rules::asked(model, brief);
        self.database.read(|work| apply::lost_submits(work, &asked, besides)).await
    }

    async fn generation(&self, tenant: &TenantId, id: GenerationId) -> Result<Option<Generation>> {
        self.database.read(|work| generations::of_tenant(work, tenant, id)).await
    }

    async fn generations(
        &self,
        tenant: &TenantId,
        filter: &GenerationFilter,
        page: Page<GenerationId>,
    ) -> Result<Vec<Generation>> {
        self.database.read(|work| generations::listed(work, tenant, filter, &page)).await
    }

    async fn history(&self, id: GenerationId, page: Page<u64>) -> Result<Vec<HistoryEvent>> {
        self.database.read(|work| generations::history(work, id, &page)).await
    }

    async fn delete_generation(&self, tenant: &TenantId, id: GenerationId) -> std::result::Result<(), DeleteError> {
        self.database.transaction(|work| generations::delete(work, tenant, id)).await
    }

    async fn create_session(&self, tenant: &TenantId, id: &SessionId, now: Timestamp) -> Result<Session> {
        self.database.transaction(|work| sessions::create(work, tenant, id, now)).await
    }

    async fn session(&self, tenant: &TenantId, id: &SessionId) -> Result<Option<Session>> {
        self.database.read(|work| sessions::find(work, tenant, id)).await
    }

    async fn sessions(&self, tenant: &TenantId, page: Page<(Timestamp, SessionId)>) -> Result<Vec<Session>> {
        self.database.read(|work| sessions::listed(work, tenant, &page)).await
    }

    async fn delete_session(&self, tenant: &TenantId, id: &SessionId) -> Result<bool> {
        self.database.transaction(|work| sessions::delete(work, tenant, id)).await
    }

    async fn messages(&self, tenant: &TenantId, id: &SessionId, page: Page<u64>) -> Result<Vec<(u64, Message)>> {
        self.database.read(|work| sessions::messages(work, tenant, id, &page)).await
    }

    async fn add_artifact(&self, tenant: &TenantId, artifact: &Artifact) -> Result<()> {
        self.database.transaction(|work| artifacts::add(work, tenant, artifact)).await
    }

    async fn artifact(&self, tenant: &TenantId, id: &ArtifactId) -> Result<Option<Artifact>> {
        self.database.read(|work| artifacts::of_tenant(work, tenant, id)).await
    }

    async fn artifacts(
        &self,
        tenant: &TenantId,
        filter: &ArtifactFilter,
        page: Page<(Timestamp, ArtifactId)>,
    ) -> Result<Vec<Artifact>> {
        self.database.read(|work| artifacts::listed(work, tenant, filter, &page)).await
    }

    async fn delete_artifact(&self, tenant: &TenantId, id: &ArtifactId) -> Result<ControlFlow<(), Option<BlobKey>>> {
        self.database.transaction(|work| artifacts::delete(work, tenant, id)).await
    }

    async fn unreferenced(&self, keys: Vec<BlobKey>) -> Result<Vec<BlobKey>> {
        self.database.read(|work| artifacts::unreferenced(work, &keys)).await
    }

    async fn due_callbacks(&self, claim: CallbackClaim) -> Result<Vec<DueCallback>> {
        self.database.transaction(|work| callbacks::claim(work, &claim)).await
    }

    async fn callback_tried(&self, id: GenerationId, claimed_until: Timestamp, after: &Callback) -> Result<bool> {
        self.database.transaction(|work| callbacks::tried(work, id, claimed_until, after)).await
    }

    async fn redeliver(
        &self,
        tenant: &TenantId,
        id: GenerationId,
        now: Timestamp,
    ) -> std::result::Result<Callback, RedeliverError> {
        self.database.transaction(|work| callbacks::redeliver(work, tenant, id, now)).await
    }

    async fn callback(&self, tenant: &TenantId, id: GenerationId) -> Result<Option<Callback>> {
        self.database.read(|work| callbacks::of_tenant(work, tenant, id)).await
    }

    async fn expire_generations(&self, before: Timestamp, limit: usize, now: Timestamp) -> Result<Expired> {
        self.database.transaction(|work| retention::expire_generations(work, before, limit, now)).await
    }

    async fn expire_artifacts(&self, before: Timestamp, limit: usize) -> Result<Expired> {
        self.database.transaction(|work| retention::expire_artifacts(work, before, limit)).await
    }

    async fn add_quote(&self, tenant: &TenantId, quote: &Quote) -> Result<()> {
        self.database.transaction(|work| money::add_quote(work, tenant, quote)).await
    }

    async fn quote(&self, tenant: &TenantId, id: QuoteId) -> Result<Option<Quote>> {
        self.database.read(|work| money::quote(work, tenant, id)).await
    }

    async fn usage(
        &self,
        tenant: &TenantId,
        filter: &UsageFilter,
        by: &[UsageKey],
        page: Page<u64>,
    ) -> Result<Vec<UsageRow>> {
        self.database.read(|work| money::usage(work, tenant, filter, by, &page)).await
    }

    async fn ledger(&self, tenant: &TenantId, filter: &LedgerFilter, page: Page<u64>) -> Result<Vec<Entry>> {
        self.database.read(|work| money::ledger(work, tenant, filter, &page)).await
    }

    async fn record_chat(&self, chat: &ChatRecord, turns: Vec<Message>) -> Result<()> {
        self.database.transaction(|work| chats::record(work, &self.budgets, chat, &turns)).await
    }

    async fn standings(&self, spender: Spender<'_>, now: Timestamp) -> Result<Vec<Standing>> {
        self.database.read(|work| money::standings(work, &self.budgets, spender, now)).await
    }

    async fn forget_money(&self, before: Timestamp, now: Timestamp) -> Result<()> {
        self.database.transaction(|work| money::forget(work, &self.budgets, before, now)).await
    }

    async fn expire_request_ids(&self, before: Timestamp) -> Result<u64> {
        self.database.transaction(|work| accept::expire_request_ids(work, before)).await
    }

    async fn heartbeat(&self, _now: Timestamp) -> Result<()> {
        self.database.lease(|work| owners::heartbeat(work, &self.process, self.lease, &self.unfinished)).await
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn take_over(&self, limit: usize) -> Result<Vec<Owned>> {
        self.database.round(|work| owners::take_over(work, &self.process, limit)).await
    }

    async fn take_waiting(&self, provider: &str, before: Timestamp, limit: usize) -> Result<Vec<Owned>> {
        self.database.round(|work| owners::take_waiting(work, &self.process, (provider, before), limit)).await
    }

    async fn hints(&self) -> Result<Vec<Loaded>> {
        self.database.round(|work| owners::hints(work, &self.process)).await
    }

    async fn hint(&self, id: GenerationId) -> Result<()> {
        self.database.transaction(|work| owners::hint(work, &self.process, id)).await
    }

    async fn newer(&self, known: &[(GenerationId, u64)]) -> Result<Vec<Generation>> {
        self.database.read_in_round(|work| owners::newer(work, known)).await
    }

    async fn leave(&self) -> Result<()> {
        self.database.long_transaction(|work| owners::leave(work, &self.process)).await
    }

    async fn close(&self) {
        self.database.close();
    }
}
