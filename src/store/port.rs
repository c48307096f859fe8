//! The port: what the engine and the doors ask of a store.
//!
//! A store may be shared by several processes. Each generation that has not ended is driven by one of them, its owner; the owner's [`Claim`] is
//! checked in the transaction of every write of a driver, so that a process which lost a generation cannot write it any more.

use std::{fmt, ops::ControlFlow};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

pub use self::{
    callbacks::{CallbackClaim, DueCallback, RedeliverError},
    limits::{Bound, Intended, Limit, Limits, RATE_OVER},
    money::{LedgerFilter, MAX_USAGE_KEYS, UsageFilter, UsageKey, UsageRow},
};
use crate::domain::{
    artifact::{Artifact, BlobKey, Kind},
    budget::{NotAllowed, Spender, Standing},
    callback::Callback,
    chat::ChatRecord,
    generation::{CacheKey, Generation, HistoryEvent, State},
    ledger::Entry,
    life::{Event, Refused},
    names::{ArtifactId, GenerationId, QuoteId, RequestId, SessionId, TenantId},
    quote::{NoQuote, Quote},
    session::{Message, Session},
};

mod callbacks;
mod limits;
mod money;

/// Transactions of chats that a store of many connections has at a time.
const CHATS_AT_ONCE: usize = 16;

/// A store. Names are looked up within a tenant: another tenant's things do not exist.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Accepts a request, in one transaction and in this order: attach to the same `request_id`; refuse above `max_unfinished`; make the session
    /// if it is new and read its last messages; let `draft` make the generation of them; answer it from the cache; or let it share an identical job
    /// in flight; take the money that it needs from the budgets, and the quote; append the session's messages.
    ///
    /// `draft` must be quick and pure: a store may run many acceptances in one transaction.
    async fn accept(&self, acceptance: Acceptance, draft: Box<dyn Draft>) -> Result<Accepted, AcceptError>;

    /// The earlier generation that `accept` would answer from, so that the presence of its bytes can be checked first.
    async fn cached(
        &self,
        tenant: &TenantId,
        session: Option<&SessionId>,
        digest: &str,
    ) -> Result<Option<Generation>, StoreError>;

    /// Forgets every cached answer by this generation, also those that name it in other sessions.
    async fn forget_cached(&self, tenant: &TenantId, generation: GenerationId) -> Result<(), StoreError>;

    /// Applies an event. When the generation handed its job over, an event of an attempt goes to the successor, also if the
    /// generation has been deleted since. When it ended: its session gets
    /// its closing message, its outputs become artifacts and, if its policy says so, a cached answer, its callback falls due, and the generations that share its job end
    /// with it, all in the same transaction. A ticket for a job that another generation's open attempt holds is refused. A cancel, or a deadline passed while queued, of a generation whose job others share hands the job over, and the claim with it.
    ///
    /// The ledger has every movement of money from the same transaction. A next model that a budget does not allow is not tried; a resubmit that it
    /// does not allow is refused.
    ///
    /// A driver tells its claim, and is refused with [`ApplyError::Lost`] if that is not the one of the generation that the event goes to. A caller has none.
    async fn apply(
        &self,
        id: GenerationId,
        event: Event,
        claim: Option<Claim>,
        now: Timestamp,
    ) -> Result<Changes, ApplyError>;

    /// Applies the intent to submit, as [`Store::apply`] does, unless a limit is reached or the provider's pause is not over: all of it in one
    /// transaction, so that the processes of a shared store never have more at a provider together than the limits say, and never send faster. In
    /// a store of one process that process itself counts its places. Rates and pauses outlive a restart.
    async fn intend(
        &self,
        id: GenerationId,
        event: Event,
        claim: Option<Claim>,
        _limits: &Limits,
        now: Timestamp,
    ) -> Result<Intended, ApplyError> {
        self.apply(id, event, claim, now).await.map(Box::new).map(Intended::Stored)
    }

    /// Keeps every order from this provider until then; a pause that ends later stays.
    async fn pause(&self, _provider: &str, _until: Timestamp, _now: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    /// The latest that succeeded, of all tenants, the newest first; without deleted and expired ones.
    async fn latest_successes(&self, _limit: usize) -> Result<Vec<Generation>, StoreError> {
        Ok(Vec::new())
    }

    /// A generation of any tenant; for the engine only. A deleted one exists here as long as it tells where its job went; an expired one as its tombstone.
    async fn load(&self, id: GenerationId) -> Result<Option<Loaded>, StoreError>;

    /// The oldest `limit` unfinished generations created after `after` that this process owns, for recovery.
    async fn owned(&self, after: Option<GenerationId>, limit: usize) -> Result<Vec<Owned>, StoreError>;

    /// True if an attempt of another generation than `besides` holds a ticket for this job, or ever held one: a job that somebody else
    /// has paid for is never adopted as a lost one, also when it has ended.
    async fn job_is_claimed(
        &self,
        provider: &str,
        account: &str,
        job: &str,
        besides: GenerationId,
    ) -> Result<bool, StoreError>;

    /// How many open attempts other than of `besides` have an intent without a ticket for this model and brief, for the rule of the only candidate.
    async fn lost_submits(&self, model: &str, brief: &str, besides: GenerationId) -> Result<u64, StoreError>;

    /// A generation of the tenant; deleted ones do not exist, of expired ones there is the tombstone.
    async fn generation(&self, tenant: &TenantId, id: GenerationId) -> Result<Option<Generation>, StoreError>;

    /// Generations, newest first, without deleted and expired ones.
    async fn generations(
        &self,
        tenant: &TenantId,
        filter: &GenerationFilter,
        page: Page<GenerationId>,
    ) -> Result<Vec<Generation>, StoreError>;

    /// The history of a generation, oldest first; the key of a page is the last number seen.
    async fn history(&self, id: GenerationId, page: Page<u64>) -> Result<Vec<HistoryEvent>, StoreError>;

    /// Deletes an ended generation and its artifacts. A tombstone stays: its request id keeps answering.
    async fn delete_generation(&self, tenant: &TenantId, id: GenerationId) -> Result<(), DeleteError>;

    /// Makes an empty session; one that is there already stays as it is.
    async fn create_session(&self, tenant: &TenantId, id: &SessionId, now: Timestamp) -> Result<Session, StoreError>;

    /// A session.
    async fn session(&self, tenant: &TenantId, id: &SessionId) -> Result<Option<Session>, StoreError>;

    /// Sessions, newest first; the key of a page is the last row's `(created_at, id)`.
    async fn sessions(&self, tenant: &TenantId, page: Page<(Timestamp, SessionId)>)
    -> Result<Vec<Session>, StoreError>;

    /// Deletes a session with its messages; false if there is none.
    async fn delete_session(&self, tenant: &TenantId, id: &SessionId) -> Result<bool, StoreError>;

    /// Messages with their numbers from 1, oldest first; the key of a page is the last number seen.
    async fn messages(
        &self,
        tenant: &TenantId,
        id: &SessionId,
        page: Page<u64>,
    ) -> Result<Vec<(u64, Message)>, StoreError>;

    /// Stores an upload's record.
    async fn add_artifact(&self, tenant: &TenantId, artifact: &Artifact) -> Result<(), StoreError>;

    /// An artifact.
    async fn artifact(&self, tenant: &TenantId, id: &ArtifactId) -> Result<Option<Artifact>, StoreError>;

    /// Artifacts, newest first; the key of a page is the last row's `(created_at, id)`.
    async fn artifacts(
        &self,
        tenant: &TenantId,
        filter: &ArtifactFilter,
        page: Page<(Timestamp, ArtifactId)>,
    ) -> Result<Vec<Artifact>, StoreError>;

    /// Deletes an artifact; the blob to delete, if no other artifact refers to it, or nothing if there is none.
    async fn delete_artifact(
        &self,
        tenant: &TenantId,
        id: &ArtifactId,
    ) -> Result<ControlFlow<(), Option<BlobKey>>, StoreError>;

    /// Those of `keys` that no artifact refers to.
    async fn unreferenced(&self, keys: Vec<BlobKey>) -> Result<Vec<BlobKey>, StoreError>;

    /// Claims callbacks that are due, the longest due first in no strict order. One that a dead process had claimed is given out again once its claim has
    /// ended, so each is sent at least once.
    async fn due_callbacks(&self, claim: CallbackClaim) -> Result<Vec<DueCallback>, StoreError>;

    /// Stores how a claimed callback is after a try, unless its claim has ended and it is somebody else's, or was asked for again: then false.
    async fn callback_tried(
        &self,
        id: GenerationId,
        claimed_until: Timestamp,
        after: &Callback,
    ) -> Result<bool, StoreError>;

    /// Makes the callback of an ended generation due now, however it went before, with its count of tries at zero.
    async fn redeliver(&self, tenant: &TenantId, id: GenerationId, now: Timestamp) -> Result<Callback, RedeliverError>;

    /// The callback of a generation that has ended; none if it has not, or has no callback.
    async fn callback(&self, tenant: &TenantId, id: GenerationId) -> Result<Option<Callback>, StoreError>;

    /// Makes tombstones of the `limit` generations that ended first, if that was before `before`, and deletes their artifacts. One with an
    /// output that an unfinished generation starts from stays whole until that has ended.
    async fn expire_generations(&self, before: Timestamp, limit: usize, now: Timestamp) -> Result<Expired, StoreError>;

    /// Deletes the `limit` oldest artifacts that were stored before `before`, uploads and outputs, and that no unfinished generation starts
    /// from. The generations that made them stay as they are.
    async fn expire_artifacts(&self, before: Timestamp, limit: usize) -> Result<Expired, StoreError>;

    /// Stores a quote of a tenant.
    async fn add_quote(&self, tenant: &TenantId, quote: &Quote) -> Result<(), StoreError>;

    /// A quote of a tenant, used or over or not; none once it is forgotten.
    async fn quote(&self, tenant: &TenantId, id: QuoteId) -> Result<Option<Quote>, StoreError>;

    /// Sums of the tenant's generations and chats by what they have in common, at most three keys, in the order of the keys; the key of a page is the number of rows
    /// already seen.
    async fn usage(
        &self,
        tenant: &TenantId,
        filter: &UsageFilter,
        by: &[UsageKey],
        page: Page<u64>,
    ) -> Result<Vec<UsageRow>, StoreError>;

    /// Movements of the tenant's money, newest first; the key of a page is the last number seen.
    async fn ledger(&self, tenant: &TenantId, filter: &LedgerFilter, page: Page<u64>)
    -> Result<Vec<Entry>, StoreError>;

    /// Writes what stays of a chat, in one transaction: its record, the movement of its cost, what that takes of budgets, and its turns in its
    /// session, which is made if it is new. Nothing happens if the record is there already, so that it can be repeated.
    async fn record_chat(&self, chat: &ChatRecord, turns: Vec<Message>) -> Result<(), StoreError>;

    /// As [`Store::record_chat`] for each; after an error it is not known which were written. A store may use one transaction for all.
    async fn record_chats(&self, chats: Vec<(ChatRecord, Vec<Message>)>) -> Result<(), StoreError> {
        let record = async |(chat, turns): (ChatRecord, Vec<Message>)| self.record_chat(&chat, turns).await;
        stream::iter(chats).map(Ok).try_for_each_concurrent(CHATS_AT_ONCE, record).await
    }

    /// How the budgets stand that concern a spender.
    async fn standings(&self, spender: Spender<'_>, now: Timestamp) -> Result<Vec<Standing>, StoreError>;

    /// Forgets quotes that ended before `before`, and how budgets stood in periods that are over by `now`.
    async fn forget_money(&self, before: Timestamp, now: Timestamp) -> Result<(), StoreError>;

    /// Forgets request ids older than `before`, at most 10 000 a call.
    async fn expire_request_ids(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// Proves that writing works, and renews this process's lease if the store is shared.
    async fn heartbeat(&self, now: Timestamp) -> Result<(), StoreError>;

    /// Whether other processes may use it at the same time. The methods below are for such stores; a store of one process has nothing to tell.
    fn is_shared(&self) -> bool {
        false
    }

    /// Makes this process the owner of at most `limit` unfinished generations whose owner is gone: its lease is over, or it has left.
    async fn take_over(&self, _limit: usize) -> Result<Vec<Owned>, StoreError> {
        Ok(Vec::new())
    }

    /// Makes this process the owner of at most `limit` generations that wait for a place at `provider` at another process since before `before`,
    /// oldest first, so that a process with free places shares the work. One that the provider turned away stays where that is remembered.
    async fn take_waiting(&self, _provider: &str, _before: Timestamp, _limit: usize) -> Result<Vec<Owned>, StoreError> {
        Ok(Vec::new())
    }

    /// What others changed of generations that this process owns, or took from it, since it last asked. Each is told once.
    async fn hints(&self) -> Result<Vec<Loaded>, StoreError> {
        Ok(Vec::new())
    }

    /// Has the owner of the generation told by `hints`, if that is another process.
    async fn hint(&self, _id: GenerationId) -> Result<(), StoreError> {
        Ok(())
    }

    /// Those of `known` whose sequence is higher now, at most 1 000 at a time.
    async fn newer(&self, _known: &[(GenerationId, u64)]) -> Result<Vec<Generation>, StoreError> {
        Ok(Vec::new())
    }

    /// Gives up all that this process owns, so that others need not wait for the end of its lease.
    async fn leave(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Finishes what was asked for and refuses what comes later as unavailable.
    async fn close(&self);
}

/// A driver's right to write a generation: no two owners, one after the other or at once, have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim(i64);

impl Claim {
    /// The only one, in a store of one process.
    pub const SOLE: Self = Self(0);

    /// Of its number in the store.
    pub fn of(fence: i64) -> Self {
        Self(fence)
    }

    /// Its number in the store.
    pub fn fence(self) -> i64 {
        self.0
    }
}

/// A generation that this process owns.
#[derive(Debug, Clone, PartialEq)]
pub struct Owned {
    /// The generation.
    pub generation: Generation,
    /// The right to drive it.
    pub claim: Claim,
}

/// A generation as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The generation.
    pub generation: Generation,
    /// The right to drive it, if this process owns it.
    pub claim: Option<Claim>,
}

/// What an acceptance needs besides the generation itself.
#[derive(Debug, Clone)]
pub struct Acceptance {
    /// Whose it is.
    pub tenant: TenantId,
    /// The session, perhaps new.
    pub session: SessionId,
    /// The caller's key and the request as it was sent.
    pub request: Option<(RequestId, SentRequest)>,
    /// The quote it is to be made with, and the order as that knows it.
    pub quote: Option<(QuoteId, SentRequest)>,
    /// Refuse when this many generations are unfinished.
    pub max_unfinished: u64,
    /// The time of acceptance.
    pub now: Timestamp,
}

/// A request as it was sent, field by field in the contract's order: name and canonical value, bytes as their SHA-256.
pub type SentRequest = Vec<(String, String)>;

/// Makes the generation once the session's last messages are known: queued, with one open attempt, `sequence` 1 and no history. The store
/// records that it was accepted. Its cache key is of a first turn if there are no earlier messages.
pub trait Draft: Send + Sync {
    /// The generation with its user and assistant messages, given the session's last messages (at most 6, oldest first). Called again if the
    /// store had to begin anew; only what the last call made is stored.
    fn generation(&self, earlier: &[Message]) -> (Generation, Vec<Message>);
}

/// What became of an acceptance.
#[derive(Debug)]
pub enum Accepted {
    /// It is stored; it may be answered from the cache already, or share another's job. This process owns it.
    New(Box<Generation>, Claim),
    /// The request id was known: the generation of the first such request, as it is now.
    Replayed(Box<Generation>),
}

/// Why an acceptance was refused.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The request id was used for a different request.
    #[error("the request id was used for a request with another {field}")]
    RequestIdReused {
        /// The first field that differs.
        field: String,
    },
    /// Too many generations are unfinished.
    #[error("{unfinished} generations are unfinished")]
    QueueFull {
        /// How many.
        unfinished: u64,
    },
    /// A budget does not allow it.
    #[error(transparent)]
    Budget(#[from] NotAllowed),
    /// Its quote does not hold.
    #[error(transparent)]
    Quote(#[from] NoQuote),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an event changed. The first is the generation that the event went to.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The generation after the event: the successor, if the event went there.
    pub generation: Generation,
    /// Others that changed with it: followers that ended, or the one that took over and those that follow it now.
    pub others: Vec<Generation>,
}

/// Why an event was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// No such generation.
    #[error("no such generation")]
    NotFound,
    /// The state machine refused it; the generation as it is.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: Refused,
        /// The generation as it is.
        generation: Box<Generation>,
    },
    /// A budget does not allow it to be sent again.
    #[error(transparent)]
    Budget(#[from] NotAllowed),
    /// The claim is not the generation's any more: another process drives it.
    #[error("another process drives the generation")]
    Lost,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a generation was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// No such generation.
    #[error("no such generation")]
    NotFound,
    /// It has not ended.
    #[error("the generation is {}", .0.as_str())]
    Unfinished(State),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be read or written now: a full disk, a lost database. Trying later may help.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What was read makes no sense, or a statement is wrong: a defect.
    #[error("the store is broken")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What expired at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expired {
    /// How many generations or artifacts; fewer than the limit if no more have to now.
    pub n: usize,
    /// The blobs to delete: those that no artifact refers to any more. Some may be gone already.
    pub blobs: Vec<BlobKey>,
}

/// Which generations to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GenerationFilter {
    /// Only these states; empty for all.
    pub states: Vec<State>,
    /// Only this session's.
    pub session: Option<SessionId>,
    /// Only this kind.
    pub kind: Option<Kind>,
    /// Which end of the list comes first.
    pub direction: Direction,
}

/// Which end of a list comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// The newest.
    #[default]
    NewestFirst,
    /// The oldest.
    OldestFirst,
}

/// Which artifacts to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArtifactFilter {
    /// Only this kind.
    pub kind: Option<Kind>,
    /// Only outputs of this generation.
    pub generation: Option<GenerationId>,
}

/// A page by keyset: rows after `after`, at most `limit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<K> {
    /// The last row already seen.
    pub after: Option<K>,
    /// Most rows.
    pub limit: usize,
}

/// The cache row a finished generation leaves, if its result may be used again: never a sample, never a partial result.
pub fn cacheable(generation: &Generation) -> Option<&CacheKey> {
    let whole = generation.state == State::Succeeded && !generation.artifacts.is_empty() && !generation.is_sample();
    generation.cache_key.as_ref().filter(|_| whole && generation.cached_from.is_none())
}
