use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde_json::Map;
use tempfile::TempDir;
use tokio::time;

use super::*;
use crate::{
    artifact::{Blobs, Collector},
    config::DrainConfig,
    domain::{
        artifact::{Kind, Made},
        budget::{Budget, Period, Scope},
        card::ModelCard,
        chat::{ChatCard, ChatPrice},
        failure::{Charged, FailureReason},
        names::{ProviderId, SubmitKey, TenantId},
        session::Role,
    },
    engine::{Backoff, Clock, EngineSettings, Pace, Retention},
    lifecycle::{Exit, LAST_CALL, Shutdown, Signal},
    provider::{
        chat::{ChatEnd, ChatEvent, ChatOrder, ChatStream},
        error::{Effect, ErrorKind},
        guard::Deadlines,
        port::{ByteSource, CancelOutcome, Found, Order, Progress, Provider, RemoteOutput, Submitted, Ticket},
    },
    store::{
        port::{Page, Store, UsageFilter, UsageRow},
        sqlite::Sqlite,
    },
};

const MINUTE: Duration = Duration::from_secs(60);
const TOKENS: TokenUsage = TokenUsage { input: 1_000, cached_input: 0, output: 500, reasoning: 0 };

/// What a scripted model does in one chat.
#[derive(Debug, Clone)]
enum Act {
    Refuses(ErrorKind, Effect),
    /// Does not begin to answer.
    Keeps,
    /// Says these pieces, then ends so, or never.
    Says(Vec<&'static str>, Option<Result<TokenUsage, ErrorKind>>),
}

/// A vendor with one priced and one unpriced model.
#[derive(Debug)]
struct Scripted {
    id: ProviderId,
    cards: Vec<Arc<ChatCard>>,
    acts: Mutex<VecDeque<Act>>,
    orders: Mutex<Vec<ChatOrder>>,
    /// Pieces that were taken from it.
    n_said: Arc<AtomicUsize>,
    /// Answers under way.
    open: Arc<()>,
}

#[async_trait]
impl ChatProvider for Scripted {
    fn chat_models(&self) -> &[Arc<ChatCard>] {
        &self.cards
    }

    async fn chat(&self, order: ChatOrder) -> Result<ChatStream, ProviderError> {
        self.orders.lock().unwrap().push(order);
        let fails = |kind, effect| ProviderError::new(&self.id, kind, effect, "scripted");
        let act = self.acts.lock().unwrap().pop_front().unwrap();
        let (pieces, end) = match act {
            Act::Keeps => std::future::pending().await,
            Act::Refuses(kind, effect) => return Err(fails(kind, effect)),
            Act::Says(pieces, end) => (pieces, end),
        };
        let (n_said, open) = (Arc::clone(&self.n_said), Arc::clone(&self.open));
        let said = stream::iter(pieces).map(move |text| {
            let _under_way = &open;
            n_said.fetch_add(1, Ordering::SeqCst);
            Ok(ChatEvent::Delta(ChatDelta { text: text.to_owned(), ..ChatDelta::default() }))
        });
        let last = end.map(|end| match end {
            Ok(usage) => Ok(ChatEvent::End(ChatEnd { usage: Some(usage), vendor_id: Some("v-1".to_owned()) })),
            Err(kind) => Err(fails(kind, Effect::Maybe)),
        });
        Ok(match last {
            Some(last) => said.chain(stream::iter([last])).boxed(),
            None => said.chain(stream::pending()).boxed(),
        })
    }
}

#[async_trait]
impl Provider for Scripted {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn models(&self) -> &[Arc<ModelCard>] {
        &[]
    }

    fn chat(&self) -> Option<&dyn ChatProvider> {
        Some(self)
    }

    async fn submit(&self, _: &Order, _: &SubmitKey) -> Result<Submitted, ProviderError> {
        std::future::pending().await
    }

    async fn find(&self, _: &Order, _: &SubmitKey, _: Timestamp) -> Result<Found, ProviderError> {
        std::future::pending().await
    }

    async fn poll(&self, _: &Ticket) -> Result<Progress, ProviderError> {
        std::future::pending().await
    }

    async fn cancel(&self, _: &Ticket) -> Result<CancelOutcome, ProviderError> {
        std::future::pending().await
    }

    async fn open(&self, _: &RemoteOutput, _: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
        std::future::pending().await
    }
}

/// A chat with a scripted vendor and a budget of one and a half answers.
struct Stage {
    chat: Chat,
    vendor: Arc<Scripted>,
    store: Arc<dyn Store>,
    shutdown: Shutdown,
    _folder: TempDir,
}

impl Stage {
    fn set(acts: Vec<Act>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let price = ChatPrice { input: MicroUsd(1_000_000), cached_input: None, output: MicroUsd(2_000_000) };
        let card = |name: &str, price| {
            let mut card: ChatCard = toml::from_str(&format!("name = '{name}'\njson_schema = true")).unwrap();
            card.price = price;
            Arc::new(card)
        };
        let vendor = Arc::new(Scripted {
            id: ProviderId::from_id("scripted").unwrap(),
            cards: vec![card("priced", Some(price)), card("unpriced", None)],
            acts: Mutex::new(acts.into()),
            orders: Mutex::default(),
            n_said: Arc::default(),
            open: Arc::default(),
        });
        let budget = Budget {
            name: "small".to_owned(),
            limit: MicroUsd(3_000),
            period: Period::Total,
            tenant: Some(TenantId::from_id("poor").unwrap()),
            scope: Scope::Tenant,
            allow_unpriced: false,
        };
        let budgets = Budgets::from(vec![budget]);
        let store: Arc<dyn Store> = Arc::new(Sqlite::open(&folder.path().join("db"), budgets.clone()).unwrap());
        let provider = Arc::clone(&vendor) as Arc<dyn Provider>;
        let registry = Arc::new(Registry::new([(provider, Deadlines::of(MINUTE, MINUTE))]));
        let blobs = Blobs::local(&folder.path().join("blobs")).unwrap();
        let shutdown = Shutdown::new(DrainConfig { delay: Duration::ZERO, deadline: MINUTE });
        let mut catalog = registry.catalog(BTreeMap::new(), None, &[]);
        catalog.default_chat = "scripted/priced".parse().ok();
        let second = Duration::from_secs(1);
        let engine = Engine::new(crate::engine::Parts {
            store: Arc::clone(&store),
            catalog,
            registry: Arc::clone(&registry),
            collector: Collector::prepare(blobs.clone(), folder.path().join("spool"), 1 << 20).unwrap(),
            blobs,
            tasks: shutdown.tasks(),
            drain: shutdown.drain(),
            metrics: Metrics::new(),
            clock: Clock::System,
            callback_due: Arc::default(),
            settings: EngineSettings {
                max_duration: MINUTE,
                unresolved_for: MINUTE,
                backoff: Backoff { base: second, jitter: 0.0 },
                pace: Pace { first: second, longest: second },
                concurrency: 1,
                limits: BTreeMap::new(),
                max_unfinished: 10,
                system_prompt: None,
                retention: Retention::default(),
                public_url: None,
                lease: Duration::ZERO,
            },
        });
        let (tasks, drain) = (shutdown.tasks(), shutdown.drain());
        let metrics = Metrics::new();
        let chat = Chat::new(Parts { engine, registry, budgets, tasks, drain, metrics });
        Self { chat, vendor, store, shutdown, _folder: folder }
    }

    /// Once everything is written: the sums of the tenant's chats.
    async fn left(self, tenant: &str) -> UsageRow {
        let Self { chat, store, shutdown, .. } = self;
        drop(chat);
        let end = stream::iter([Signal::Terminate]).chain(stream::pending());
        assert_eq!(shutdown.run(end, async {}).await, Exit::Clean);
        let filter = UsageFilter { kind: Some(Made::Text), ..UsageFilter::default() };
        let tenant = TenantId::from_id(tenant).unwrap();
        store.usage(&tenant, &filter, &[], Page { after: None, limit: 1 }).await.unwrap().pop().unwrap_or_default()
    }
}

fn asks(tenant: &str, model: &str) -> ChatRequest {
    let content = vec![AskedPart::Text("hello".to_owned())];
    let (tool_calls, tool_call_id, name) = (Vec::new(), None, None);
    ChatRequest {
        tenant: TenantId::from_id(tenant).unwrap(),
        source: "test".to_owned(),
        model: model.to_owned(),
        session: None,
        messages: vec![AskedMessage { speaker: Speaker::User, content, tool_calls, tool_call_id, name }],
        temperature: None,
        top_p: None,
        max_tokens: None,
        stop: Vec::new(),
        seed: None,
        tools: Vec::new(),
        tool_choice: None,
        parallel_tool_calls: None,
        format: None,
        provider_options: Map::new(),
        labels: BTreeMap::new(),
        trace: None,
        stream: true,
    }
}

fn whole() -> Act {
    Act::Says(vec!["a", "b"], Some(Ok(TOKENS)))
}

async fn hear(chat: &Chat, request: ChatRequest) -> Vec<Result<Said, Error>> {
    chat.begin(request).await.unwrap().events.collect().await
}

#[tokio::test]
async fn a_whole_answer_is_priced_and_recorded() {
    let stage = Stage::set(vec![whole()]);
    let said = hear(&stage.chat, asks("rich", "")).await;
    let Some(Ok(Said::End(end))) = said.last() else { panic!("{said:?}") };
    assert_eq!((said.len(), end.cost, end.provider_chat_id.as_deref()), (3, Some(MicroUsd(2_000)), Some("v-1")));
    let left = stage.left("rich").await;
    assert_eq!((left.n_chats, left.spent.0, left.input_tokens, left.n_unpriced), (1, 2_000, 1_000, 0));
}

#[tokio::test]
async fn an_answer_is_taken_only_as_fast_as_it_is_read_and_dropping_it_ends_it() {
    let stage = Stage::set(vec![Act::Says(vec!["a", "b", "c"], None)]);
    let vendor = Arc::clone(&stage.vendor);
    let mut conversation = stage.chat.begin(asks("rich", "")).await.unwrap();
    assert_eq!(vendor.n_said.load(Ordering::SeqCst), 0);
    conversation.events.next().await.unwrap().unwrap();
    tokio::task::yield_now().await;
    assert_eq!((vendor.n_said.load(Ordering::SeqCst), Arc::strong_count(&vendor.open)), (1, 2));
    drop(conversation);
    assert_eq!(Arc::strong_count(&vendor.open), 1, "the vendor's stream is gone at once");
    let left = stage.left("rich").await;
    assert_eq!((left.n_chats, left.spent.0, left.n_unpriced), (1, 0, 1), "what it cost is not known");
}

#[tokio::test]
async fn a_budget_that_is_used_up_lets_nothing_be_sent() {
    let stage = Stage::set(vec![whole(), whole()]);
    let session = SessionId::fresh();
    for _ in 0..2 {
        // With a session, so that the end is told when the record is written.
        hear(&stage.chat, ChatRequest { session: Some(session.clone()), ..asks("poor", "") }).await;
    }
    let refused = stage.chat.begin(asks("poor", "")).await.unwrap_err();
    assert!(matches!(&refused, Error::Budget(NotAllowed::Over(over)) if over.left.0 == 0), "{refused:?}");
    let refused = stage.chat.begin(asks("poor", "scripted/unpriced")).await.unwrap_err();
    assert!(matches!(&refused, Error::Budget(NotAllowed::Unpriced { .. })), "{refused:?}");
    assert_eq!(stage.vendor.orders.lock().unwrap().len(), 2);
    let left = stage.left("poor").await;
    assert_eq!((left.n_chats, left.spent.0), (2, 4_000), "the last one before may go beyond");
}

#[tokio::test]
async fn a_call_without_effect_leaves_nothing_and_a_lost_answer_leaves_that_nobody_knows() {
    let check = async |act: Act, reason: FailureReason, charged: Charged, n_chats: u64| {
        let stage = Stage::set(vec![act]);
        let error = match stage.chat.begin(asks("rich", "")).await {
            Err(error) => error,
            Ok(conversation) => {
                let said: Vec<_> = conversation.events.collect().await;
                said.into_iter().find_map(Result::err).unwrap()
            }
        };
        let Error::Provider { failure, .. } = error else { panic!("{error:?}") };
        assert_eq!((failure.reason, failure.charged), (reason, charged));
        let left = stage.left("rich").await;
        assert_eq!((left.n_chats, left.n_unpriced, left.spent.0), (n_chats, n_chats, 0));
    };
    let refuses = |kind, effect| Act::Refuses(kind, effect);
    let breaks = |kind| Act::Says(vec!["a"], Some(Err(kind)));
    use FailureReason as R;
    check(refuses(ErrorKind::RateLimited, Effect::None), R::ProviderOverloaded, Charged::No, 0).await;
    check(refuses(ErrorKind::ContentRefused, Effect::None), R::ProviderRefusedContent, Charged::No, 0).await;
    check(refuses(ErrorKind::Timeout, Effect::Maybe), R::ProviderUnreachable, Charged::Unknown, 1).await;
    check(breaks(ErrorKind::Transport), R::ProviderUnreachable, Charged::Unknown, 1).await;
}

#[tokio::test]
async fn a_session_keeps_what_was_said_until_it_broke_off() {
    let stage = Stage::set(vec![Act::Says(vec!["a", "b"], Some(Err(ErrorKind::Transport)))]);
    let session = SessionId::fresh();
    let request = ChatRequest { session: Some(session.clone()), ..asks("rich", "") };
    assert!(matches!(hear(&stage.chat, request).await.last(), Some(Err(_))));
    let store = Arc::clone(&stage.store);
    // Reading works as long as the store is open.
    stage.left("rich").await;
    let tenant = TenantId::from_id("rich").unwrap();
    let turns = store.messages(&tenant, &session, Page { after: None, limit: 9 }).await.unwrap();
    let told: Vec<_> = turns.iter().map(|(_, turn)| (turn.role, turn.text.as_str())).collect();
    assert_eq!(told, [(Role::User, "hello"), (Role::Assistant, "ab")]);
    assert_eq!(turns[1].1.meta["interrupted"], true);
}

#[tokio::test]
async fn what_the_end_of_the_process_cuts_off_may_have_been_charged() {
    for act in [Act::Says(vec!["a"], None), Act::Keeps] {
        let stage = Stage::set(vec![act]);
        // Callers are served: closing waits for them.
        let door = stage.shutdown.drain().open_door();
        let chat = stage.chat.clone();
        let asking = async move {
            let said = match chat.begin(asks("rich", "")).await {
                Ok(conversation) => conversation.events.collect().await,
                Err(error) => vec![Err(error)],
            };
            // The store takes its own time.
            time::resume();
            drop(door);
            said
        };
        time::pause();
        let begun = time::Instant::now();
        let (said, left) = tokio::join!(asking, stage.left("rich"));
        let Some(Err(Error::Provider { failure, retry_after: None })) = said.last() else { panic!("{said:?}") };
        assert_eq!((failure.reason, failure.charged), (FailureReason::ProviderUnreachable, Charged::Unknown));
        assert_eq!((left.n_chats, left.n_unpriced), (1, 1), "it is recorded before the end");
        assert!(begun.elapsed() >= LAST_CALL, "it was let go on for a while");
    }
}

#[tokio::test]
async fn a_better_prompt_is_the_models_and_any_trouble_leaves_the_old_one() {
    let ask = |tenant: &str| PromptRequest {
        tenant: TenantId::from_id(tenant).unwrap(),
        source: "test".to_owned(),
        prompt: "一只狐狸".to_owned(),
        kind: Kind::Video,
        style: None,
        enhance: true,
        model: String::new(),
        language: None,
        labels: BTreeMap::new(),
        trace: None,
    };
    let answers = |text| Act::Says(vec![text], Some(Ok(TOKENS)));
    let stage = Stage::set(vec![
        answers("{\"prompt\":\"一只红狐狸\",\"improvements\":[\"颜色\"]}"),
        answers("no"),
        Act::Refuses(ErrorKind::Overloaded, Effect::None),
        Act::Says(vec!["{"], Some(Err(ErrorKind::Transport))),
    ]);
    let better = stage.chat.optimize(ask("rich")).await;
    assert_eq!(
        (better.prompt.as_str(), better.improvements.len(), better.ended.cost),
        ("一只红狐狸", 1, Some(MicroUsd(2_000)))
    );
    assert_eq!((better.by.unwrap().to_string().as_str(), better.language), ("scripted/priced", Language::Chinese));
    let order = stage.vendor.orders.lock().unwrap()[0].clone();
    assert!(matches!(order.format, Some(ResponseFormat::JsonSchema { strict: Some(true), .. })));
    assert!(format!("{:?}", order.messages[0].content).contains("in Chinese"));
    for why in ["form asked for", "scripted", "scripted"] {
        let same = stage.chat.optimize(ask("rich")).await;
        assert_eq!((same.prompt.as_str(), same.original.as_str()), ("一只狐狸", "一只狐狸"));
        assert!(same.by.clone().unwrap_err().contains(why), "{same:?}");
    }
    assert_eq!(stage.left("rich").await.n_chats, 3);
}
