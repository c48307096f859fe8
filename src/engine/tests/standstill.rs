//! A store that others use too, and that fails this process at the worst moment: it stands still for longer than its lease, exactly between a
//! stored intent and the call that it is about; or the store goes away before it has read what it owns.

use std::ops::ControlFlow;

use jiff::Timestamp;

use super::*;
use crate::{
    domain::{
        artifact::{Artifact, BlobKey},
        budget::{Spender, Standing},
        callback::Callback,
        chat::ChatRecord,
        generation::HistoryEvent,
        ledger::Entry,
        life::{AttemptEvent, Event},
        names::{ArtifactId, QuoteId, SessionId},
        quote::Quote,
        session::{Message, Session},
    },
    store::port::{
        AcceptError, Acceptance, Accepted, ApplyError, ArtifactFilter, CallbackClaim, Changes, Claim, DeleteError,
        Draft, DueCallback, Expired, GenerationFilter, LedgerFilter, Loaded, Owned, RedeliverError, Store, StoreError,
        UsageFilter, UsageKey, UsageRow,
    },
};

type Result<T> = std::result::Result<T, StoreError>;

/// A store that others may use too, in which it is `LEASE` and a second later as soon as the first intent is stored, unless it `stood` before.
#[derive(Debug)]
struct Standstill {
    inner: Sqlite,
    stood: Mutex<bool>,
    /// How often it cannot say what this process owns.
    n_away: Mutex<u32>,
}

impl Standstill {
    fn is_away(&self) -> bool {
        let mut n_away = self.n_away.lock().unwrap();
        let is_away = *n_away > 0;
        *n_away = n_away.saturating_sub(1);
        is_away
    }
}

const LEASE: Duration = Duration::from_secs(9);

macro_rules! passed_on {
    ($($method:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Store for Standstill {
            fn is_shared(&self) -> bool {
                true
            }

            async fn apply(
                &self,
                id: GenerationId,
                event: Event,
                claim: Option<Claim>,
                now: Timestamp,
            ) -> std::result::Result<Changes, ApplyError> {
                let is_intent = matches!(event, Event::Attempt(_, AttemptEvent::Submitting(_)));
                let changes = self.inner.apply(id, event, claim, now).await?;
                let stands_still = is_intent && !std::mem::replace(&mut *self.stood.lock().unwrap(), is_intent);
                if stands_still {
                    tokio::time::advance(LEASE + Duration::from_secs(1)).await;
                }
                Ok(changes)
            }

            async fn owned(&self, after: Option<GenerationId>, limit: usize) -> Result<Vec<Owned>> {
                if self.is_away() {
                    return Err(StoreError::Unavailable("away".into()));
                }
                self.inner.owned(after, limit).await
            }

            $(async fn $method(&self, $($argument: $kind),*) -> $answer {
                self.inner.$method($($argument),*).await
            })*
        }
    };
}

passed_on! {
    accept(acceptance: Acceptance, draft: Box<dyn Draft>) -> std::result::Result<Accepted, AcceptError>;
    cached(tenant: &TenantId, session: Option<&SessionId>, digest: &str) -> Result<Option<Generation>>;
    forget_cached(tenant: &TenantId, generation: GenerationId) -> Result<()>;
    load(id: GenerationId) -> Result<Option<Loaded>>;
    job_is_claimed(provider: &str, account: &str, job: &str, besides: GenerationId) -> Result<bool>;
    lost_submits(model: &str, brief: &str, besides: GenerationId) -> Result<u64>;
    generation(tenant: &TenantId, id: GenerationId) -> Result<Option<Generation>>;
    generations(tenant: &TenantId, filter: &GenerationFilter, page: Page<GenerationId>) -> Result<Vec<Generation>>;
    history(id: GenerationId, page: Page<u64>) -> Result<Vec<HistoryEvent>>;
    delete_generation(tenant: &TenantId, id: GenerationId) -> std::result::Result<(), DeleteError>;
    create_session(tenant: &TenantId, id: &SessionId, now: Timestamp) -> Result<Session>;
    session(tenant: &TenantId, id: &SessionId) -> Result<Option<Session>>;
    sessions(tenant: &TenantId, page: Page<(Timestamp, SessionId)>) -> Result<Vec<Session>>;
    delete_session(tenant: &TenantId, id: &SessionId) -> Result<bool>;
    messages(tenant: &TenantId, id: &SessionId, page: Page<u64>) -> Result<Vec<(u64, Message)>>;
    add_artifact(tenant: &TenantId, artifact: &Artifact) -> Result<()>;
    artifact(tenant: &TenantId, id: &ArtifactId) -> Result<Option<Artifact>>;
    artifacts(tenant: &TenantId, filter: &ArtifactFilter, page: Page<(Timestamp, ArtifactId)>) -> Result<Vec<Artifact>>;
    delete_artifact(tenant: &TenantId, id: &ArtifactId) -> Result<ControlFlow<(), Option<BlobKey>>>;
    unreferenced(keys: Vec<BlobKey>) -> Result<Vec<BlobKey>>;
    due_callbacks(claim: CallbackClaim) -> Result<Vec<DueCallback>>;
    callback_tried(id: GenerationId, claimed_until: Timestamp, after: &Callback) -> Result<bool>;
    redeliver(tenant: &TenantId, id: GenerationId, now: Timestamp) -> std::result::Result<Callback, RedeliverError>;
    callback(tenant: &TenantId, id: GenerationId) -> Result<Option<Callback>>;
    expire_generations(before: Timestamp, limit: usize, now: Timestamp) -> Result<Expired>;
    expire_artifacts(before: Timestamp, limit: usize) -> Result<Expired>;
    add_quote(tenant: &TenantId, quote: &Quote) -> Result<()>;
    quote(tenant: &TenantId, id: QuoteId) -> Result<Option<Quote>>;
    usage(tenant: &TenantId, filter: &UsageFilter, by: &[UsageKey], page: Page<u64>) -> Result<Vec<UsageRow>>;
    record_chat(chat: &ChatRecord, turns: Vec<Message>) -> Result<()>;
    ledger(tenant: &TenantId, filter: &LedgerFilter, page: Page<u64>) -> Result<Vec<Entry>>;
    standings(spender: Spender<'_>, now: Timestamp) -> Result<Vec<Standing>>;
    forget_money(before: Timestamp, now: Timestamp) -> Result<()>;
    expire_request_ids(before: Timestamp) -> Result<u64>;
    heartbeat(now: Timestamp) -> Result<()>;
    close() -> ();
}

#[tokio::test(start_paused = true)]
async fn an_order_is_not_sent_once_others_may_believe_that_it_was() {
    let open = |path: &std::path::Path| {
        let inner = Sqlite::open(path, Budgets::default()).unwrap();
        Arc::new(Standstill { inner, stood: Mutex::default(), n_away: Mutex::default() }) as Arc<dyn Store>
    };
    let mut stage = Stage::set_in(open, LEASE, Clock::tokio(), None, &[Good], &[Good]).await;
    // Before its first heartbeat it is not even meant to be sent.
    tokio::time::sleep(LEASE).await;
    assert_eq!(stage.history().await, ["accepted"]);
    stage.engine.start_housekeeping().await;
    assert_eq!(stage.calls(1).await[0].0, "submit");
    stage.calls(1).await;
    assert_eq!(stage.history().await, ["accepted", "submitting", "postponed", "submitting", "submitted"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_process_owns_is_taken_up_once_a_store_that_went_away_at_the_start_is_back() {
    let open = |path: &std::path::Path| {
        let inner = Sqlite::open(path, Budgets::default()).unwrap();
        Arc::new(Standstill { inner, stood: Mutex::new(true), n_away: Mutex::new(3) }) as Arc<dyn Store>
    };
    let mut stage = Stage::set_in(open, LEASE, Clock::tokio(), None, &[Good], &[Defect, Good, Good]).await;
    stage.engine.start_housekeeping().await;
    stage.calls(2).await;
    // Its driver has failed, as if by the end of the process.
    stage.engine.recover().await.unwrap();
    assert_eq!(stage.calls(2).await, [("poll", 2), ("poll", 2)]);
}
