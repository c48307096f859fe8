//! The default store: SQLite in the data folder, nothing to install.
//!
//! One writer thread commits many writes together, readers have connections of their own. Only one process may have the file open, the
//! holder of the data folder's lock: the number of unfinished generations is counted in memory.

mod accept;
mod apply;
mod artifacts;
mod callbacks;
mod chats;
mod connect;
mod error;
mod generations;
mod limits;
mod money;
mod readers;
mod records;
mod retention;
mod sessions;
mod statements;
mod writer;

#[cfg(test)]
mod tests;

use std::{ops::ControlFlow, path::Path};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::params;

use self::{
    readers::Readers,
    statements::{count, execute},
    writer::Writer,
};
use super::{
    OpenError,
    port::{
        AcceptError, Acceptance, Accepted, ApplyError, ArtifactFilter, CallbackClaim, Changes, Claim, DeleteError,
        Draft, DueCallback, Expired, GenerationFilter, Intended, LedgerFilter, Limits, Loaded, Owned, Page,
        RedeliverError, Store, StoreError, UsageFilter, UsageKey, UsageRow,
    },
    rules, sql,
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

/// Most request ids that one call forgets, so that no transaction keeps others waiting for long.
const MAX_EXPIRED: i64 = 10_000;

/// A store in one SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    budgets: Budgets,
    readers: Readers,
    writer: Writer,
}

impl Sqlite {
    /// Opens the file, or makes it, brings it up to date, and counts what is taken of the budgets. Blocks for a few milliseconds, with budgets
    /// longer the more was spent in their periods.
    pub fn open(path: &Path, budgets: Budgets) -> std::result::Result<Self, OpenError> {
        let work = connect::for_writing(path, budgets.clone())?;
        Ok(Self { budgets, readers: Readers::new(path), writer: Writer::start(work)? })
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn accept(
        &self,
        acceptance: Acceptance,
        draft: Box<dyn Draft>,
    ) -> std::result::Result<Accepted, AcceptError> {
        self.writer.write(move |work| accept::accept(work, &acceptance, &*draft)).await
    }

    async fn cached(&self, tenant: &TenantId, session: Option<&SessionId>, digest: &str) -> Result<Option<Generation>> {
        let (tenant, session, digest) = (tenant.clone(), session.cloned(), digest.to_owned());
        self.readers.read(move |db| accept::cached_for(db, &tenant, session.as_ref(), &digest)).await
    }

    async fn forget_cached(&self, tenant: &TenantId, generation: GenerationId) -> Result<()> {
        let tenant = tenant.clone();
        let forget = sql::cached::FORGET_GENERATION;
        self.writer.write(move |work| execute(&work.db, forget, params![tenant.id(), generation.id()]).map(drop)).await
    }

    // The lock on the folder proves that nobody else writes: every claim holds.
    async fn apply(
        &self,
        id: GenerationId,
        event: Event,
        _claim: Option<Claim>,
        now: Timestamp,
    ) -> std::result::Result<Changes, ApplyError> {
        self.writer.write(move |work| apply::apply(work, id, &event, now)).await
    }

    async fn intend(
        &self,
        id: GenerationId,
        event: Event,
        _claim: Option<Claim>,
        limits: &Limits,
        now: Timestamp,
    ) -> std::result::Result<Intended, ApplyError> {
        let limits = limits.clone();
        self.writer.write(move |work| limits::intend(work, id, &event, &limits, now)).await
    }

    async fn pause(&self, provider: &str, until: Timestamp, _now: Timestamp) -> Result<()> {
        let provider = provider.to_owned();
        self.writer.write(move |work| limits::pause(work, &provider, until)).await
    }

    async fn latest_successes(&self, limit: usize) -> Result<Vec<Generation>> {
        self.readers.read(move |db| limits::latest_successes(db, limit)).await
    }

    async fn load(&self, id: GenerationId) -> Result<Option<Loaded>> {
        let loaded = self.readers.read(move |db| generations::load_to_follow(db, id)).await?;
        Ok(loaded.map(|generation| Loaded { generation, claim: Some(Claim::SOLE) }))
    }

    async fn owned(&self, after: Option<GenerationId>, limit: usize) -> Result<Vec<Owned>> {
        let unfinished = self.readers.read(move |db| generations::unfinished(db, after, limit)).await?;
        Ok(unfinished.into_iter().map(|generation| Owned { generation, claim: Claim::SOLE }).collect())
    }

    async fn job_is_claimed(&self, provider: &str, account: &str, job: &str, besides: GenerationId) -> Result<bool> {
        let (provider, account, job) = (provider.to_owned(), account.to_owned(), job.to_owned());
        self.readers.read(move |db| apply::job_is_claimed(db, (&provider, &account, &job), besides)).await
    }

    async fn lost_submits(&self, model: &str, brief: &str, besides: GenerationId) -> Result<u64> {
        let asked = rules::asked(model, brief);
        self.readers.read(move |db| count(db, sql::generation::COUNT_SUBMITTING, params![asked, besides.id()])).await
    }

    async fn generation(&self, tenant: &TenantId, id: GenerationId) -> Result<Option<Generation>> {
        let tenant = tenant.clone();
        self.readers.read(move |db| generations::of_tenant(db, &tenant, id)).await
    }

    async fn generations(
        &self,
        tenant: &TenantId,
        filter: &GenerationFilter,
        page: Page<GenerationId>,
    ) -> Result<Vec<Generation>> {
        let (tenant, filter) = (tenant.clone(), filter.clone());
        self.readers.read(move |db| generations::listed(db, &tenant, &filter, &page)).await
    }

    async fn history(&self, id: GenerationId, page: Page<u64>) -> Result<Vec<HistoryEvent>> {
        self.readers.read(move |db| generations::history(db, id, &page)).await
    }

    async fn delete_generation(&self, tenant: &TenantId, id: GenerationId) -> std::result::Result<(), DeleteError> {
        let tenant = tenant.clone();
        self.writer.write(move |work| generations::delete(&work.db, &tenant, id)).await
    }

    async fn create_session(&self, tenant: &TenantId, id: &SessionId, now: Timestamp) -> Result<Session> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.writer.write(move |work| sessions::create(&work.db, &tenant, &id, now)).await
    }

    async fn session(&self, tenant: &TenantId, id: &SessionId) -> Result<Option<Session>> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.readers.read(move |db| sessions::find(db, &tenant, &id)).await
    }

    async fn sessions(&self, tenant: &TenantId, page: Page<(Timestamp, SessionId)>) -> Result<Vec<Session>> {
        let tenant = tenant.clone();
        self.readers.read(move |db| sessions::listed(db, &tenant, &page)).await
    }

    async fn delete_session(&self, tenant: &TenantId, id: &SessionId) -> Result<bool> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.writer.write(move |work| sessions::delete(&work.db, &tenant, &id)).await
    }

    async fn messages(&self, tenant: &TenantId, id: &SessionId, page: Page<u64>) -> Result<Vec<(u64, Message)>> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.readers.read(move |db| sessions::messages(db, &tenant, &id, &page)).await
    }

    async fn add_artifact(&self, tenant: &TenantId, artifact: &Artifact) -> Result<()> {
        let (tenant, artifact) = (tenant.clone(), artifact.clone());
        self.writer.write(move |work| artifacts::insert(&work.db, &tenant, &artifact)).await
    }

    async fn artifact(&self, tenant: &TenantId, id: &ArtifactId) -> Result<Option<Artifact>> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.readers.read(move |db| artifacts::of_tenant(db, &tenant, &id)).await
    }

    async fn artifacts(
        &self,
        tenant: &TenantId,
        filter: &ArtifactFilter,
        page: Page<(Timestamp, ArtifactId)>,
    ) -> Result<Vec<Artifact>> {
        let (tenant, filter) = (tenant.clone(), filter.clone());
        self.readers.read(move |db| artifacts::listed(db, &tenant, &filter, &page)).await
    }

    async fn delete_artifact(&self, tenant: &TenantId, id: &ArtifactId) -> Result<ControlFlow<(), Option<BlobKey>>> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.writer.write(move |work| artifacts::delete(&work.db, &tenant, &id)).await
    }

    async fn unreferenced(&self, keys: Vec<BlobKey>) -> Result<Vec<BlobKey>> {
        self.readers.read(move |db| artifacts::unreferenced(db, keys)).await
    }

    async fn due_callbacks(&self, claim: CallbackClaim) -> Result<Vec<DueCallback>> {
        self.writer.write(move |work| callbacks::claim(&work.db, &claim)).await
    }

    async fn callback_tried(&self, id: GenerationId, claimed_until: Timestamp, after: &Callback) -> Result<bool> {
        let after = after.clone();
        self.writer.write(move |work| callbacks::tried(&work.db, id, claimed_until, &after)).await
    }

    async fn redeliver(
        &self,
        tenant: &TenantId,
        id: GenerationId,
        now: Timestamp,
    ) -> std::result::Result<Callback, RedeliverError> {
        let tenant = tenant.clone();
        self.writer.write(move |work| callbacks::redeliver(&work.db, &tenant, id, now)).await
    }

    async fn callback(&self, tenant: &TenantId, id: GenerationId) -> Result<Option<Callback>> {
        let tenant = tenant.clone();
        self.readers.read(move |db| callbacks::of_tenant(db, &tenant, id)).await
    }

    async fn expire_generations(&self, before: Timestamp, limit: usize, now: Timestamp) -> Result<Expired> {
        self.writer.write(move |work| retention::expire_generations(&work.db, before, limit, now)).await
    }

    async fn expire_artifacts(&self, before: Timestamp, limit: usize) -> Result<Expired> {
        self.writer.write(move |work| retention::expire_artifacts(&work.db, before, limit)).await
    }

    async fn add_quote(&self, tenant: &TenantId, quote: &Quote) -> Result<()> {
        let (tenant, quote) = (tenant.clone(), quote.clone());
        self.writer.write(move |work| money::add_quote(&work.db, &tenant, &quote)).await
    }

    async fn quote(&self, tenant: &TenantId, id: QuoteId) -> Result<Option<Quote>> {
        let tenant = tenant.clone();
        self.readers.read(move |db| Ok(money::quote(db, &tenant, id)?.map(|(quote, _)| quote))).await
    }

    async fn usage(
        &self,
        tenant: &TenantId,
        filter: &UsageFilter,
        by: &[UsageKey],
        page: Page<u64>,
    ) -> Result<Vec<UsageRow>> {
        let (tenant, filter, by) = (tenant.clone(), filter.clone(), by.to_vec());
        self.readers.read(move |db| money::usage(db, &tenant, &filter, &by, &page)).await
    }

    async fn ledger(&self, tenant: &TenantId, filter: &LedgerFilter, page: Page<u64>) -> Result<Vec<Entry>> {
        let (tenant, filter) = (tenant.clone(), filter.clone());
        self.readers.read(move |db| money::ledger(db, &tenant, &filter, &page)).await
    }

    async fn record_chat(&self, chat: &ChatRecord, turns: Vec<Message>) -> Result<()> {
        self.record_chats(vec![(chat.clone(), turns)]).await
    }

    async fn record_chats(&self, chats: Vec<(ChatRecord, Vec<Message>)>) -> Result<()> {
        self.writer.write(move |work| chats.iter().try_for_each(|(chat, turns)| chats::record(work, chat, turns))).await
    }

    async fn standings(&self, spender: Spender<'_>, now: Timestamp) -> Result<Vec<Standing>> {
        let budgets = self.budgets.clone();
        let (tenant, session, labels) = (spender.tenant.clone(), spender.session.cloned(), spender.labels.clone());
        let read = move |db: &rusqlite::Connection| {
            let spender = Spender { tenant: &tenant, session: session.as_ref(), labels: &labels };
            money::standings(db, &budgets, &spender, now)
        };
        self.readers.read(read).await
    }

    async fn forget_money(&self, before: Timestamp, now: Timestamp) -> Result<()> {
        self.writer.write(move |work| money::forget(work, before, now)).await
    }

    async fn expire_request_ids(&self, before: Timestamp) -> Result<u64> {
        self.writer
            .write(move |work| {
                execute(&work.db, sql::request_id::EXPIRE, [before.as_microsecond(), MAX_EXPIRED]).map(|n| n as u64)
            })
            .await
    }

    async fn heartbeat(&self, now: Timestamp) -> Result<()> {
        self.writer.write(move |work| execute(&work.db, sql::health::HEARTBEAT, [now.as_microsecond()]).map(drop)).await
    }
    // Dropping the store does the same, but blocks.
    async fn close(&self) {
        self.writer.close().await;
        self.readers.close();
    }
}
