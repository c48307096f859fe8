//! The driver's patience, in paused time: a scripted vendor, a real store, and the exact waits between calls.

mod answers;
mod clock;
mod keep;
mod quote;
mod standstill;

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::{sync::mpsc, time::Instant};

use super::{Backoff, Clock, Engine, EngineSettings, Pace, Parts, Retention, request::Request};
use crate::{
    artifact::{Blobs, Collector},
    config::DrainConfig,
    domain::{
        artifact::Kind,
        budget::Budgets,
        card::ModelCard,
        failure::{Charged, FailureReason, UnresolvedReason},
        generation::{Generation, State},
        life::tests::drafted,
        money::Usage,
        names::{GenerationId, ModelName, ProviderId, SubmitKey, TenantId},
        order::CachePolicy,
    },
    lifecycle::Shutdown,
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        guard::Deadlines,
        port::{ByteSource, CancelOutcome, Found, Order, Progress, Provider, RemoteOutput, Status, Submitted, Ticket},
        registry::Registry,
    },
    store::{
        port::{Page, Store},
        sqlite::Sqlite,
    },
    telemetry::Metrics,
};

const MODEL: &str = "scripted/model";

/// What the vendor does at one call.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// Takes the order; says that it works.
    Good,
    /// Fails without an effect, wishing to be asked again after this long.
    Bad(ErrorKind, Option<Duration>),
    /// Is done, with an output whose bytes never come.
    Done,
    /// Is done, with an output that comes after so long.
    Brings(&'static [u8], Duration),
    /// Answers the submit with the output itself.
    AtOnce(&'static [u8]),
    /// Hits a defect of ours.
    Defect,
}

use Answer::{AtOnce, Bad, Brings, Defect, Done, Good};

const UNREACHABLE: Answer = Bad(ErrorKind::Transport, None);
const LIMITED: Answer = Bad(ErrorKind::RateLimited, None);

/// A vendor that answers as the test says, then never again, and tells of every call.
#[derive(Debug)]
struct Scripted {
    id: ProviderId,
    submits: Mutex<VecDeque<Answer>>,
    polls: Mutex<VecDeque<Answer>>,
    /// How long the next output takes.
    comes_after: Mutex<Duration>,
    calls: mpsc::UnboundedSender<(&'static str, Instant)>,
}

impl Scripted {
    async fn answer(&self, call: &'static str, script: &Mutex<VecDeque<Answer>>) -> Result<Status, ProviderError> {
        let answer = script.lock().unwrap().pop_front();
        self.calls.send((call, Instant::now())).unwrap();
        match answer {
            None => std::future::pending().await,
            Some(Good) => Ok(Status::Running),
            Some(Done) => Ok(Status::Done(vec![RemoteOutput::Link("https://vendor.example/output".parse().unwrap())])),
            Some(Brings(bytes, wait)) => {
                *self.comes_after.lock().unwrap() = wait;
                Ok(Status::Done(vec![RemoteOutput::Inline(bytes.into())]))
            }
            Some(AtOnce(bytes)) => Ok(Status::Done(vec![RemoteOutput::Inline(bytes.into())])),
            Some(Defect) => panic!("a defect"),
            Some(Bad(kind, wish)) => {
                Err(ProviderError::new(&self.id, kind, Effect::None, "scripted").retry_after(wish))
            }
        }
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

    fn serves_undescribed(&self) -> bool {
        true
    }

    async fn submit(&self, _: &Order, key: &SubmitKey) -> Result<Submitted, ProviderError> {
        if let Status::Done(outputs) = self.answer("submit", &self.submits).await? {
            return Ok(Submitted::Done(outputs, Usage::default()));
        }
        let data = serde_json::Value::Null;
        Ok(Submitted::Pending(Ticket { account: "a".to_owned(), job: key.id().to_owned(), data }))
    }

    async fn find(&self, _: &Order, _: &SubmitKey, _: jiff::Timestamp) -> Result<Found, ProviderError> {
        Ok(Found::Unsupported)
    }

    async fn poll(&self, _: &Ticket) -> Result<Progress, ProviderError> {
        Ok(Progress::of(self.answer("poll", &self.polls).await?))
    }

    async fn cancel(&self, _: &Ticket) -> Result<CancelOutcome, ProviderError> {
        Ok(CancelOutcome::Unsupported)
    }

    async fn open(
        &self,
        output: &RemoteOutput,
        _: Option<&crate::provider::port::Ticket>,
    ) -> Result<ByteSource, ProviderError> {
        let RemoteOutput::Inline(bytes) = output else { return std::future::pending().await };
        let wait = *self.comes_after.lock().unwrap();
        tokio::time::sleep(wait).await;
        Ok(ByteSource::of(bytes.clone()))
    }
}

/// An engine with one generation at a scripted vendor.
struct Stage {
    engine: Engine,
    id: GenerationId,
    calls: mpsc::UnboundedReceiver<(&'static str, Instant)>,
    began: Instant,
    _shutdown: Shutdown,
    _folder: TempDir,
}

impl Stage {
    async fn set(submits: &[Answer], polls: &[Answer]) -> Self {
        Self::set_for(None, submits, polls).await
    }

    async fn set_for(max_duration: Option<Duration>, submits: &[Answer], polls: &[Answer]) -> Self {
        Self::set_by(Clock::tokio(), max_duration, submits, polls).await
    }

    async fn set_by(clock: Clock, max_duration: Option<Duration>, submits: &[Answer], polls: &[Answer]) -> Self {
        let sqlite = |path: &Path| Arc::new(Sqlite::open(path, Budgets::default()).unwrap()) as Arc<dyn Store>;
        Self::set_in(sqlite, Duration::ZERO, clock, max_duration, submits, polls).await
    }

    async fn set_in(
        store: impl FnOnce(&Path) -> Arc<dyn Store>,
        lease: Duration,
        clock: Clock,
        max_duration: Option<Duration>,
        submits: &[Answer],
        polls: &[Answer],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (sender, calls) = mpsc::unbounded_channel();
        let vendor = Scripted {
            id: ProviderId::from_id("scripted").unwrap(),
            submits: Mutex::new(submits.iter().copied().collect()),
            polls: Mutex::new(polls.iter().copied().collect()),
            comes_after: Mutex::default(),
            calls: sender,
        };
        let day = Duration::from_secs(24 * 3600);
        let registry = Arc::new(Registry::new([(Arc::new(vendor) as Arc<dyn Provider>, Deadlines::of(day, day))]));
        let blobs = Blobs::local(&folder.path().join("blobs")).unwrap();
        let second = Duration::from_secs(1);
        let shutdown = Shutdown::new(DrainConfig { delay: Duration::ZERO, deadline: second });
        let engine = Engine::new(Parts {
            store: store(&folder.path().join("db")),
            catalog: registry.catalog(BTreeMap::new(), None, &[]),
            registry,
            collector: Collector::prepare(blobs.clone(), folder.path().join("spool"), 1 << 20).unwrap(),
            blobs,
            tasks: shutdown.tasks(),
            drain: shutdown.drain(),
            metrics: Metrics::new(),
            clock,
            callback_due: Arc::default(),
            settings: EngineSettings {
                max_duration: day / 24,
                unresolved_for: day,
                backoff: Backoff { base: 5 * second, jitter: 0.0 },
                pace: Pace { first: 2 * second, longest: 2 * second },
                concurrency: 1,
                limits: BTreeMap::new(),
                max_unfinished: 10,
                system_prompt: None,
                retention: Retention::default(),
                public_url: None,
                lease,
            },
        });
        let began = Instant::now();
        let id = engine.accept(Request { max_duration, ..request() }).await.unwrap().view.generation.id;
        Self { engine, id, calls, began, _shutdown: shutdown, _folder: folder }
    }

    /// The next `n` calls: which, and the whole seconds since the one before.
    async fn calls(&mut self, n: usize) -> Vec<(&'static str, u64)> {
        let mut calls = Vec::new();
        for _ in 0..n {
            let (call, at) = self.calls.recv().await.unwrap();
            calls.push((call, (at - self.began).as_secs()));
            self.began = at;
        }
        calls
    }

    async fn now(&self) -> Generation {
        self.engine.store().load(self.id).await.unwrap().unwrap().generation
    }

    /// The words of its history.
    async fn history(&self) -> Vec<String> {
        let page = Page { after: None, limit: 100 };
        let entries = self.engine.history(&TenantId::default_tenant(), self.id, page).await.unwrap();
        entries.into_iter().map(|entry| entry.what).collect()
    }

    async fn ended(&self) -> Generation {
        let mut watch = self.engine.watch(&TenantId::default_tenant(), self.id, 0).await.unwrap();
        let mut last = None;
        while let Some(view) = watch.next().await {
            last = Some(view.unwrap().generation);
        }
        last.unwrap().as_ref().clone()
    }
}

fn request() -> Request {
    let mut candidate = drafted(1).candidates.remove(0);
    candidate.model = MODEL.parse::<ModelName>().unwrap();
    Request {
        tenant: TenantId::default_tenant(),
        source: "test".to_owned(),
        kind: Kind::Video,
        request_id: None,
        session: None,
        prompt: "a cat".to_owned(),
        candidates: vec![candidate],
        inputs: Vec::new(),
        cache: CachePolicy::Default,
        quote: None,
        max_duration: None,
        labels: BTreeMap::new(),
        callback_url: None,
        fallback_on_refusal: false,
        trace: None,
    }
}

#[tokio::test(start_paused = true)]
async fn polls_that_fail_wait_5_15_45_45_seconds_and_the_fourth_parks_the_job() {
    let polls = [UNREACHABLE, UNREACHABLE, UNREACHABLE, UNREACHABLE, Good, UNREACHABLE, Good];
    let mut stage = Stage::set(&[Good], &polls).await;
    let calls = stage.calls(5).await;
    assert_eq!(calls, [("submit", 0), ("poll", 2), ("poll", 5), ("poll", 15), ("poll", 45)]);
    // The fifth is only made after the fourth failure was stored.
    assert_eq!(stage.calls(1).await, [("poll", 45)]);
    let history = stage.history().await;
    assert_eq!(history[..4], ["accepted", "submitting", "submitted", "unresolved"], "{history:?}");
    // It answers again: the job goes on as before, and failures are counted anew.
    assert_eq!(stage.calls(2).await, [("poll", 2), ("poll", 5)]);
    assert_eq!(stage.now().await.state, State::Running);
    assert_eq!(stage.history().await[4..], ["answered_again"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_gets_the_latest_snapshot_and_none_in_between() {
    let mut stage = Stage::set(&[Good], &[UNREACHABLE, UNREACHABLE, UNREACHABLE, UNREACHABLE, Good]).await;
    let mut watch = stage.engine.watch(&TenantId::default_tenant(), stage.id, 0).await.unwrap();
    let first = watch.next().await.unwrap().unwrap().generation.sequence;
    stage.calls(7).await;
    let second = watch.next().await.unwrap().unwrap().generation.sequence;
    assert_eq!(second, stage.now().await.sequence);
    assert!(second > first + 1, "{second} after {first}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_polls_never_parks_and_the_vendors_wish_wins() {
    let wish = Bad(ErrorKind::RateLimited, Some(Duration::from_secs(7)));
    let polls = [LIMITED, LIMITED, LIMITED, LIMITED, LIMITED, wish, UNREACHABLE, Good];
    let mut stage = Stage::set(&[Good], &polls).await;
    let waits: Vec<u64> = stage.calls(9).await.into_iter().map(|(_, seconds)| seconds).collect();
    assert_eq!(waits, [0, 2, 5, 15, 45, 45, 45, 7, 45]);
    assert_eq!(stage.history().await, ["accepted", "submitting", "submitted"]);
}

#[tokio::test(start_paused = true)]
async fn silence_is_named_and_the_place_is_free_while_it_lasts() {
    let mut stage = Stage::set(&[Good], &[UNREACHABLE; 4]).await;
    stage.calls(6).await;
    let generation = stage.now().await;
    assert_eq!(generation.unresolved.map(|unresolved| unresolved.reason), Some(UnresolvedReason::ProviderSilent));
    assert_eq!((generation.state, generation.cost.held.0), (State::Unresolved, 70));
    assert_eq!(stage.engine.providers()[0].n_running, 0);
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_cannot_be_reached_is_tried_four_times() {
    let mut stage = Stage::set(&[UNREACHABLE; 4], &[]).await;
    assert_eq!(stage.calls(4).await, [("submit", 0), ("submit", 5), ("submit", 15), ("submit", 45)]);
    let failure = stage.ended().await.failure.unwrap();
    assert_eq!((failure.reason, failure.charged), (FailureReason::ProviderUnreachable, Charged::No));
    assert!(failure.retryable);
}

#[tokio::test(start_paused = true)]
async fn a_limited_submit_is_made_again_and_a_limit_is_no_silence() {
    let submits = [LIMITED, LIMITED, LIMITED, LIMITED, UNREACHABLE, UNREACHABLE, UNREACHABLE, Good];
    let mut stage = Stage::set(&submits, &[Good]).await;
    let waits: Vec<u64> = stage.calls(9).await.into_iter().map(|(_, seconds)| seconds).collect();
    assert_eq!(waits, [0, 5, 15, 45, 45, 45, 45, 45, 2]);
    // Every call had its own stored intent, and was taken back before the next.
    let history = stage.history().await;
    assert_eq!(history.iter().filter(|what| *what == "submitting").count(), 8);
    assert_eq!(history.iter().filter(|what| *what == "postponed").count(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_hurries_one_poll_and_then_the_usual_waits_hold() {
    let mut stage = Stage::set(&[Good], &[Good, LIMITED, LIMITED, LIMITED, Good]).await;
    stage.calls(2).await;
    stage.engine.cancel(&TenantId::default_tenant(), stage.id).await.unwrap();
    let waits: Vec<u64> = stage.calls(4).await.into_iter().map(|(_, seconds)| seconds).collect();
    assert_eq!(waits, [0, 5, 15, 45]);
    assert_eq!(stage.now().await.state, State::Cancelling);
}

#[tokio::test(start_paused = true)]
async fn a_queued_order_whose_vendor_could_not_be_reached_says_so_when_its_time_is_over() {
    let check = async |answer: Answer, expected: FailureReason| {
        let mut stage = Stage::set_for(Some(Duration::from_secs(12)), &[answer; 4], &[]).await;
        stage.calls(2).await;
        let failure = stage.ended().await.failure.unwrap();
        assert_eq!((failure.reason, failure.charged), (expected, Charged::No));
    };
    check(UNREACHABLE, FailureReason::ProviderUnreachable).await;
    check(LIMITED, FailureReason::ProviderOverloaded).await;
}

#[tokio::test(start_paused = true)]
async fn an_overdue_job_is_asked_less_and_less_often_down_to_every_ten_minutes() {
    let mut stage = Stage::set_for(Some(Duration::from_secs(11)), &[Good], &[Good; 12]).await;
    let waits: Vec<u64> = stage.calls(13).await.into_iter().map(|(_, seconds)| seconds).collect();
    assert_eq!(waits, [0, 2, 2, 2, 2, 2, 2, 45, 90, 180, 360, 600, 600]);
    let reason = stage.now().await.unresolved.map(|unresolved| unresolved.reason);
    assert_eq!(reason, Some(UnresolvedReason::DeadlinePassed));
}

#[tokio::test(start_paused = true)]
async fn old_news_does_not_bring_an_ended_generation_back() {
    let stage = Stage::set(&[], &[]).await;
    let running = stage.now().await;
    let ended = Generation { state: State::Failed, sequence: running.sequence + 2, ..running.clone() };
    let late = Generation { sequence: running.sequence + 1, ..running };
    stage.engine.hub().publish(Arc::new(ended));
    stage.engine.hub().publish(Arc::new(late));
    assert_eq!(stage.ended().await.state, State::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_driver_failed_is_soon_driven_again() {
    let mut stage = Stage::set(&[Good], &[Defect, Good, Good]).await;
    stage.engine.recover().await.unwrap();
    assert_eq!(stage.calls(2).await, [("submit", 0), ("poll", 2)]);
    let calls = stage.calls(2).await;
    // Looked at once a minute, and only what two looks in a row have seen is believed.
    assert!(calls[0].0 == "poll" && (55..=65).contains(&calls[0].1), "{calls:?}");
    assert_eq!(calls[1], ("poll", 2));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_handed_over_in_the_middle_of_a_long_download_gets_no_second_driver() {
    let mut stage = Stage::set(&[Good], &[Done]).await;
    stage.engine.recover().await.unwrap();
    let follower = stage.engine.accept(request()).await.unwrap().view.generation.id;
    stage.calls(2).await;
    let mut watch = stage.engine.watch(&TenantId::default_tenant(), stage.id, 0).await.unwrap();
    while watch.next().await.unwrap().unwrap().generation.state != State::Storing {}
    let cancelled = stage.engine.cancel(&TenantId::default_tenant(), stage.id).await.unwrap().generation;
    assert_eq!((cancelled.state, cancelled.successor), (State::Cancelled, Some(follower)));

    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(stage.calls.try_recv().is_err(), "nobody else asks the vendor");
    let drivers = stage.engine.drivers();
    assert!(drivers.drives(stage.id) && !drivers.drives(follower) && drivers.will_drive(follower));
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_asked_for_a_pause_gets_no_other_order_before() {
    let limited = Bad(ErrorKind::RateLimited, Some(Duration::from_secs(40)));
    let mut stage = Stage::set(&[limited, Good, Good], &[]).await;
    assert_eq!(stage.calls(1).await, [("submit", 0)]);
    let other = Request { prompt: "a dog".to_owned(), ..request() };
    stage.engine.accept(other).await.unwrap();
    let calls = stage.calls(1).await;
    assert_eq!(calls, [("submit", 40)]);
}

#[tokio::test(start_paused = true)]
async fn after_five_failures_on_the_way_orders_wait_for_the_rest_to_end() {
    let mut stage = Stage::set(&[UNREACHABLE; 5], &[]).await;
    assert_eq!(stage.calls(4).await, [("submit", 0), ("submit", 5), ("submit", 15), ("submit", 45)]);
    let other = |prompt: &str| Request { prompt: prompt.to_owned(), ..request() };
    stage.engine.accept(other("a dog")).await.unwrap();
    assert_eq!(stage.calls(1).await, [("submit", 0)]);
    assert!(stage.engine.providers()[0].resting_until.is_some());
    let waits = stage.engine.accept(other("a fish")).await.unwrap().view.generation.id;
    tokio::time::sleep(Duration::from_secs(14)).await;
    let view = stage.engine.get(&TenantId::default_tenant(), waits).await.unwrap();
    assert_eq!((view.generation.state, view.queue_position.is_some()), (State::Queued, true));
    assert_eq!(stage.calls(1).await, [("submit", 15)], "one goes first and finds out");
}
