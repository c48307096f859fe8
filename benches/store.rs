//! How many durable job lifecycles a second each store takes, beside the barest program on the same database: a SQLite thread that commits the same
//! number of rows in the same batches, and 16 connections to PostgreSQL that commit one row at a time.
//! Run: `cargo bench --bench store [-- TASKS SECONDS]`.

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use filmgate::{
    domain::{
        artifact::{Artifact, BlobKey, Kind, MediaFacts},
        attempt::{Attempt, Ticket},
        budget::Budgets,
        generation::{CacheKey, Cost, Generation, State},
        life::{AttemptEvent, Event},
        money::{MicroUsd, Usage},
        names::{ArtifactId, AttemptId, GenerationId, SessionId, SubmitKey, TenantId},
        order::{CachePolicy, Candidate, Options},
        session::{Message, Role},
    },
    store::{
        port::{Acceptance, Accepted, Draft, Store},
        postgres::{Address, Postgres},
        sqlite::Sqlite,
    },
};
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use support::{Report, argument, database::Database, ms};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};
use tokio_postgres::{Client, NoTls, types::Type};

/// Writes of one lifecycle: accept, submitting, ticket, outputs ready, stored.
const WRITES: usize = 5;
/// As many connections as the store on PostgreSQL has.
const CONNECTIONS: usize = 16;

#[tokio::main]
async fn main() -> Result<()> {
    let (n_tasks, time) = (usize::try_from(argument(0, 256))?, Duration::from_secs(argument(1, 5)));
    let folder = tempfile::tempdir()?;
    let database = Database::start()?;
    let title = format!("store: {WRITES} durable writes a lifecycle, {n_tasks} at once, {time:?} each");
    let report = Report::new(title, &["", "lifecycles/s", "writes/s", "p50 ms", "p99 ms"]);

    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&folder.path().join("store.db"), Budgets::default())?);
    let ours = measure(&report, "store, SQLite FULL", n_tasks, time, async || lifecycle(&*store).await).await?;
    let bare = Bare::open(&folder.path().join("bare.db"))?;
    let peer = measure(&report, "bare row, SQLite FULL", n_tasks, time, async || bare.lifecycle().await).await?;
    report.note(format!("store / bare, SQLite: {:.2} of its lifecycles a second", ours / peer));

    let url = database.url();
    let address = Address::parse(&url.as_str().into())?;
    let store: Arc<dyn Store> =
        Arc::new(Postgres::open(&address, "benchmark".to_owned(), Duration::from_mins(10), Budgets::default()).await?);
    let shared = measure(&report, "store, PostgreSQL", n_tasks, time, async || lifecycle(&*store).await).await?;
    let bare = BareShared::open(&url).await?;
    let peer = measure(&report, "bare row, PostgreSQL", n_tasks, time, async || bare.lifecycle().await).await?;
    report.note(format!("store / bare, PostgreSQL: {:.2} of its lifecycles a second", shared / peer));
    report.note(format!("PostgreSQL / SQLite: {:.2} of its lifecycles a second", shared / ours));
    Ok(())
}

/// Lifecycles a second with so many under way.
async fn measure(
    report: &Report,
    name: &str,
    n_tasks: usize,
    time: Duration,
    lifecycle: impl AsyncFn() -> Result<Vec<Duration>>,
) -> Result<f64> {
    let start = Instant::now();
    let run = async || -> Result<Vec<Duration>> {
        let mut waits = Vec::new();
        while start.elapsed() < time {
            waits.extend(lifecycle().await?);
        }
        Ok(waits)
    };
    let waits = try_join_all((0..n_tasks).map(|_| run())).await?;
    let elapsed = start.elapsed().as_secs_f64();
    let mut waits: Vec<Duration> = waits.into_iter().flatten().collect();
    waits.sort_unstable();
    let rate = waits.len() as f64 / WRITES as f64 / elapsed;
    report.row(&[
        name.to_owned(),
        format!("{rate:.0}"),
        format!("{:.0}", rate * WRITES as f64),
        ms(waits[waits.len() / 2]),
        ms(waits[waits.len() * 99 / 100]),
    ]);
    Ok(rate)
}

async fn lifecycle(store: &dyn Store) -> Result<Vec<Duration>> {
    let mut waits = Vec::with_capacity(WRITES);
    let session = SessionId::fresh();
    let acceptance = Acceptance {
        tenant: TenantId::default_tenant(),
        session: session.clone(),
        request: None,
        quote: None,
        max_unfinished: u64::MAX,
        now: Timestamp::now(),
    };
    let start = Instant::now();
    let accepted = store.accept(acceptance, Box::new(Order { session })).await?;
    waits.push(start.elapsed());
    let (Accepted::New(generation, _) | Accepted::Replayed(generation)) = accepted;
    let attempt = generation.attempts[0].id;
    let ticket = Ticket { account: "a".into(), job: attempt.id(), data: serde_json::json!({ "id": attempt.id() }) };
    for event in [
        AttemptEvent::Submitting(SubmitKey::fresh()),
        AttemptEvent::Accepted(ticket),
        AttemptEvent::OutputsReady,
        AttemptEvent::Stored(vec![output(generation.id, attempt)], Usage::default()),
    ] {
        let start = Instant::now();
        store.apply(generation.id, Event::Attempt(attempt, event), None, Timestamp::now()).await?;
        waits.push(start.elapsed());
    }
    Ok(waits)
}

struct Order {
    session: SessionId,
}

impl Draft for Order {
    fn generation(&self, earlier: &[Message]) -> (Generation, Vec<Message>) {
        let now = Timestamp::now();
        let candidate = candidate();
        let id = GenerationId::fresh();
        let attempt = Attempt::new(0, candidate.model.clone(), MicroUsd(250_000), now);
        let prompt = "a lighthouse in a storm, seen from a small boat, waves as high as houses".to_owned();
        let message = |role| Message {
            role,
            text: prompt.clone(),
            meta: serde_json::Map::new(),
            created_at: now,
            generation: Some(id),
            chat: None,
        };
        let messages = vec![message(Role::User), message(Role::Assistant)];
        let generation = Generation {
            id,
            tenant: TenantId::default_tenant(),
            session: self.session.clone(),
            kind: Kind::Video,
            request_id: None,
            brief: prompt.clone(),
            prompt,
            cost: Cost { estimated: candidate.estimate, held: MicroUsd(250_000), ..Cost::default() },
            candidates: vec![candidate],
            inputs: Vec::new(),
            fallback_on_refusal: false,
            labels: BTreeMap::new(),
            callback_url: None,
            cache: CachePolicy::Default,
            cache_key: Some(CacheKey { digest: id.id(), first_turn: earlier.is_empty() }),
            max_duration: Duration::from_secs(1800),
            deadline: now + SignedDuration::from_secs(1800),
            state: State::Queued,
            phase: "queued".into(),
            sequence: 1,
            n_events: 0,
            progress_percent: None,
            provider_logs: String::new(),
            attempts: vec![attempt],
            artifacts: Vec::new(),
            cached_from: None,
            leader: None,
            coalesced: false,
            successor: None,
            failure: None,
            unresolved: None,
            cancel_requested_at: None,
            provider_error: None,
            trace: None,
            created_at: now,
            started_at: None,
            ended_at: None,
            expired_at: None,
            was_sample: false,
            updated_at: now,
        };
        (generation, messages)
    }
}

fn candidate() -> Candidate {
    #[expect(clippy::expect_used, reason = "a constant")]
    let model = "replicate/minimax/video-01".parse().expect("a valid name");
    Candidate {
        model,
        options: Options::new(),
        provider_options: serde_json::Map::new(),
        adjustments: Vec::new(),
        estimate: Some(MicroUsd(500_000)),
        price: None,
        expected_time: Some(Duration::from_secs(200)),
        listed: 0,
        digest: String::new(),
        stand_in: false,
    }
}

fn output(generation: GenerationId, attempt: AttemptId) -> Artifact {
    Artifact {
        id: ArtifactId::output(generation, 0),
        generation: Some(generation),
        kind: Kind::Video,
        facts: MediaFacts {
            media_type: "video/mp4".into(),
            duration: Some(Duration::from_secs(5)),
            width: Some(1280),
            height: Some(720),
            fps: Some(24.0),
            codecs: vec!["h264".into()],
        },
        size: 5_000_000,
        sha256: "0".repeat(64),
        blob: BlobKey::fresh(attempt, 0),
        sample: false,
        created_at: Timestamp::now(),
    }
}

/// The text of a row's insert, and of each update of it.
const PUT: &str =
    "INSERT INTO jobs VALUES ($1, 1, $2) ON CONFLICT (id) DO UPDATE SET n = jobs.n + 1, doc = excluded.doc";

/// The peer: one row inserted and updated four times, as raw as it can be, committed in batches by one thread.
struct Bare {
    queue: mpsc::Sender<(String, oneshot::Sender<()>)>,
}

impl Bare {
    fn open(path: &std::path::Path) -> Result<Self> {
        let db = Connection::open(path)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, n INTEGER NOT NULL, doc TEXT NOT NULL)", ())?;
        let (queue, mut asked) = mpsc::channel::<(String, oneshot::Sender<()>)>(1024);
        std::thread::spawn(move || -> Result<()> {
            let doc = "x".repeat(600);
            let mut answers = Vec::new();
            while let Some(first) = asked.blocking_recv() {
                db.execute_batch("BEGIN IMMEDIATE")?;
                let mut next = Some(first);
                while let Some((id, answer)) = next {
                    db.prepare_cached(PUT)?.execute(params![id, doc])?;
                    answers.push(answer);
                    next = if answers.len() < 256 { asked.try_recv().ok() } else { None };
                }
                db.execute_batch("COMMIT")?;
                for answer in answers.drain(..) {
                    answer.send(()).ok();
                }
            }
            Ok(())
        });
        Ok(Self { queue })
    }

    async fn lifecycle(&self) -> Result<Vec<Duration>> {
        let id = GenerationId::fresh().id();
        let mut waits = Vec::with_capacity(WRITES);
        for _ in 0..WRITES {
            let start = Instant::now();
            let (answer, answered) = oneshot::channel();
            self.queue.send((id.clone(), answer)).await?;
            answered.await?;
            waits.push(start.elapsed());
        }
        Ok(waits)
    }
}

/// The peer of the shared store: the same row, a commit for each write.
struct BareShared {
    clients: mpsc::Sender<Client>,
    free: Mutex<mpsc::Receiver<Client>>,
    _connections: JoinSet<Result<(), tokio_postgres::Error>>,
}

impl BareShared {
    async fn open(url: &str) -> Result<Self> {
        let (clients, free) = mpsc::channel(CONNECTIONS);
        let mut connections = JoinSet::new();
        for n in 0..CONNECTIONS {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            connections.spawn(connection);
            if n == 0 {
                client
                    .batch_execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, n BIGINT NOT NULL, doc TEXT NOT NULL)")
                    .await?;
            }
            clients.send(client).await?;
        }
        Ok(Self { clients, free: free.into(), _connections: connections })
    }

    async fn lifecycle(&self) -> Result<Vec<Duration>> {
        let (id, doc) = (GenerationId::fresh().id(), "x".repeat(600));
        let mut waits = Vec::with_capacity(WRITES);
        for _ in 0..WRITES {
            let start = Instant::now();
            let client = self.free.lock().await.recv().await.context("no connection is left")?;
            client.execute_typed(PUT, &[(&id, Type::TEXT), (&doc, Type::TEXT)]).await?;
            self.clients.send(client).await?;
            waits.push(start.elapsed());
        }
        Ok(waits)
    }
}
