//! The one writer: a thread that runs many writes in one transaction, so that they share one flush to the disk.
//!
//! Invariants: a write is answered only after its transaction is durable; a refused write leaves nothing behind and does not disturb its
//! neighbours; if the commit fails, every write of the batch is refused, also those that had been refused for what a neighbour wrote; a caller
//! that is told that it waited too long is told the truth: its write never runs.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::Connection;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use super::{Result, records::Records};
use crate::{domain::budget::Budgets, store::port::StoreError};

/// Most writes in one transaction.
const MAX_BATCH: usize = 256;
/// While many write, a transaction waits for company: what shares its pages and its flush costs a fraction. It waits on for as long as each such
/// time brings somebody.
const COMPANY: Duration = Duration::from_micros(500);
/// It waits so many times at most.
const WAITS: usize = 10;
/// So many are company enough to wait no further; as many as in the transaction before are worth one wait all the same.
const ENOUGH: usize = 32;
/// They are many from so many in the transaction before on; whoever writes alone never waits.
const MANY: usize = 4;
/// Most writes that wait for the next transaction; more callers wait for a place.
const QUEUE: usize = 1024;
/// How long a caller waits for its turn.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The handle of the writer. Dropping it lets the queued writes finish and waits for the thread.
#[derive(Debug)]
pub(super) struct Writer {
    // Dropped before `thread`: the closed queue is what ends the thread.
    queue: mpsc::Sender<Message>,
    thread: Thread,
}

/// What a write works on.
#[derive(Debug)]
pub(super) struct Work {
    /// The connection, in a transaction.
    pub(super) db: Connection,
    /// How many generations are unfinished. A count over the rows would cost each acceptance more the more there are.
    pub(super) unfinished: u64,
    /// Records that need not be read.
    pub(super) records: Records,
    /// What may be spent.
    pub(super) budgets: Budgets,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(work: Work) -> Result<Self> {
        let (queue, messages) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(work, messages))
            .map_err(StoreError::unavailable)?;
        Ok(Self { queue, thread: Thread(Mutex::new(Some(thread))) })
    }

    /// Runs `write` in a transaction of its own kind: all of it or nothing. If its turn does not
    /// come in time it is refused and never runs; once it runs, its end is waited for. If the caller goes away first, it may or may not have run.
    pub(super) async fn write<T, E, F>(&self, write: F) -> std::result::Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Work) -> std::result::Result<T, E> + Send + 'static,
    {
        let deadline = Instant::now() + PATIENCE;
        let (answer, answered) = oneshot::channel();
        let turn = Turn::default();
        let asking = Asking(turn.clone());
        let job = Box::new(Asked { write: Some(write), result: None, turn, answer });
        let place = match self.queue.try_reserve() {
            Ok(place) => place,
            Err(mpsc::error::TrySendError::Full(())) => timeout_at(deadline, self.queue.reserve())
                .await
                .map_err(|_| StoreError::unavailable("too many writes are waiting"))?
                .map_err(|_| closed())?,
            Err(mpsc::error::TrySendError::Closed(())) => return Err(closed().into()),
        };
        place.send(Message::Write(job));
        let mut answered = pin!(wait(answered));
        let answer = match timeout_at(deadline, answered.as_mut()).await {
            Ok(answer) => answer,
            Err(_) if asking.0.abandon() => {
                return Err(StoreError::unavailable(format!("no turn within {PATIENCE:?}")).into());
            }
            // It runs and may well be kept: only its answer tells.
            Err(_) => answered.await,
        };
        answer.unwrap_or_else(|| Err(closed().into()))
    }

    /// Lets the queued writes finish and ends the thread. Later writes are refused.
    pub(super) async fn close(&self) {
        if self.queue.send(Message::Stop).await.is_err() {
            return;
        }
        if let Some(thread) = self.thread.take() {
            // The thread catches the panics of writes and has no result.
            tokio::task::spawn_blocking(|| thread.join().ok()).await.ok();
        }
    }
}

#[cfg(not(test))]
async fn wait<T>(answered: oneshot::Receiver<T>) -> Option<T> {
    answered.await.ok()
}

/// A paused test clock would run ahead while a plain thread works, and every timeout pass at once; a blocking task holds it.
#[cfg(test)]
async fn wait<T: Send + 'static>(answered: oneshot::Receiver<T>) -> Option<T> {
    tokio::task::spawn_blocking(|| answered.blocking_recv().ok()).await.ok().flatten()
}

fn closed() -> StoreError {
    StoreError::unavailable("the store is closed")
}

enum Message {
    Write(Box<dyn Job>),
    Stop,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write(_) => "Write",
            Self::Stop => "Stop",
        })
    }
}

/// Joined when dropped.
#[derive(Debug)]
struct Thread(Mutex<Option<JoinHandle<()>>>);

impl Thread {
    fn take(&self) -> Option<JoinHandle<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(thread) = self.take() {
            thread.join().ok();
        }
    }
}

/// Who decides about a write: the thread by starting it, or the caller by giving it up. Whoever comes first, once and for all.
#[derive(Debug, Clone, Default)]
struct Turn(Arc<AtomicU8>);

impl Turn {
    const WAITING: u8 = 0;
    const STARTED: u8 = 1;
    const ABANDONED: u8 = 2;

    /// True if the write is to run now.
    fn start(&self) -> bool {
        self.decide(Self::STARTED)
    }

    /// True if the write will never run.
    fn abandon(&self) -> bool {
        self.decide(Self::ABANDONED)
    }

    fn decide(&self, to: u8) -> bool {
        // Nothing else is published through it: the write goes by the queue, its result by the answer.
        self.0.compare_exchange(Self::WAITING, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// A caller that waits. One that goes away gives its write up, if that has not started.
struct Asking(Turn);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// A write whose types are hidden.
trait Job: Send {
    /// Runs it; true if what it wrote is to be kept.
    fn run(&mut self, work: &mut Work) -> bool;
    /// Tells the caller what became of it, or that the commit failed.
    fn answer(self: Box<Self>, failure: Option<&str>);
}

struct Asked<F, T, E> {
    write: Option<F>,
    result: Option<std::result::Result<T, E>>,
    turn: Turn,
    answer: oneshot::Sender<std::result::Result<T, E>>,
}

impl<F, T, E> Job for Asked<F, T, E>
where
    T: Send,
    E: From<StoreError> + Send,
    F: FnOnce(&mut Work) -> std::result::Result<T, E> + Send,
{
    fn run(&mut self, work: &mut Work) -> bool {
        // Nobody waits any more: its caller was told that the store is unavailable, or has hung up.
        let Some(write) = self.write.take().filter(|_| self.turn.start()) else { return false };
        // A defect in one write must not end the thread that all others need; the savepoint undoes what it did.
        let result = catch_unwind(AssertUnwindSafe(|| write(work)))
            .unwrap_or_else(|_| Err(StoreError::broken("a write panicked").into()));
        self.result.insert(result).is_ok()
    }

    fn answer(self: Box<Self>, failure: Option<&str>) {
        let result = match failure {
            None => self.result,
            Some(why) => Some(Err(StoreError::unavailable(why).into())),
        };
        if let Some(result) = result {
            self.answer.send(result).ok();
        }
    }
}

fn run(mut work: Work, mut messages: mpsc::Receiver<Message>) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    let mut n_before = 0;
    while let Some(first) = messages.blocking_recv() {
        take(Some(first), &mut messages, &mut batch);
        if n_before >= MANY {
            wait_for_company(n_before, &mut messages, &mut batch);
        }
        n_before = batch.len();
        commit(&mut work, &mut batch);
    }
}

/// Adds to the batch what comes within 5 ms, as long as more of it comes and not enough is there.
fn wait_for_company(n_before: usize, messages: &mut mpsc::Receiver<Message>, batch: &mut Vec<Box<dyn Job>>) {
    let mut wanted = n_before.max(ENOUGH);
    for _ in 0..WAITS {
        let n = batch.len();
        if n >= wanted {
            return;
        }
        thread::sleep(COMPANY);
        take(None, messages, batch);
        if batch.len() == n {
            return;
        }
        wanted = ENOUGH;
    }
}

/// Adds `first` and what waits to the batch.
fn take(first: Option<Message>, messages: &mut mpsc::Receiver<Message>, batch: &mut Vec<Box<dyn Job>>) {
    let mut next = first;
    loop {
        match next {
            Some(Message::Write(job)) => batch.push(job),
            // What is queued is still done; then the queue is at its end.
            Some(Message::Stop) => messages.close(),
            None => {}
        }
        if batch.len() >= MAX_BATCH {
            return;
        }
        let Ok(message) = messages.try_recv() else { return };
        next = Some(message);
    }
}

fn commit(work: &mut Work, batch: &mut Vec<Box<dyn Job>>) {
    let unfinished = work.unfinished;
    let failure = transaction(work, batch).err().map(|error| error.to_string());
    if failure.is_some() {
        work.unfinished = unfinished;
        work.records.forget();
        // SQLite has rolled back itself after some errors; if this fails too, the next BEGIN tells.
        if !work.db.is_autocommit() {
            statement(work, "ROLLBACK").ok();
        }
    }
    for job in batch.drain(..) {
        job.answer(failure.as_deref());
    }
}

fn transaction(work: &mut Work, batch: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
    statement(work, "BEGIN IMMEDIATE")?;
    for job in batch {
        let unfinished = work.unfinished;
        work.records.begin();
        statement(work, "SAVEPOINT write")?;
        if !job.run(work) {
            work.unfinished = unfinished;
            work.records.undo();
            statement(work, "ROLLBACK TO write")?;
        }
        // If SQLite rolled everything back within the write, this fails and with it the batch.
        statement(work, "RELEASE write")?;
    }
    statement(work, "COMMIT")
}

fn statement(work: &Work, text: &str) -> rusqlite::Result<()> {
    work.db.prepare_cached(text)?.execute(()).map(drop)
}
