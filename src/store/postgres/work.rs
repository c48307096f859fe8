//! One transaction, or one read: statements in, answers out, with as few round trips as the questions allow.
//!
//! Invariants: writes wait in a queue and travel with the next question or the commit; nothing is sent outside the transaction that it belongs
//! to; a connection goes back to the pool only if nobody waits for an answer on it; a commit after a failure is refused, because
//! PostgreSQL would answer it without an error and keep nothing.

use std::{mem, pin::Pin, time::Duration};

use deadpool_postgres::Object;
use futures_util::{
    FutureExt, TryStreamExt,
    future::{BoxFuture, MaybeDone, maybe_done},
    poll,
};
use tokio::time::timeout;

use super::{
    Result,
    error::Unsure,
    statements::{Answer, Statement},
};
use crate::store::port::StoreError;

/// Most statements sent before an answer is waited for: a job that very many share ends in one transaction, and each wait has its bound.
const MAX_SENT: usize = 1_000;

/// How long a transaction may take, here and in the database.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// A process that stops in the middle of a transaction loses it after `idle_in_transaction_session_timeout`; whoever waits for its locks
    /// waits longer than that. `SET LOCAL` because a pooler keeps nothing beyond the transaction.
    begin: &'static str,
    /// Longest wait for an answer, longer than what the database allows itself.
    patience: Duration,
}

impl Limits {
    /// For the work of callers and drivers.
    pub(super) const USUAL: Self = Self {
        begin: "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '3s'; \
            SET LOCAL lock_timeout = '8s'; SET LOCAL statement_timeout = '10s'",
        patience: Duration::from_secs(15),
    };
    /// For what happens once in a run: migrations, and whatever changes all that a process owns.
    pub(super) const LONG: Self = Self {
        begin: "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '10s'; \
            SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = '300s'",
        patience: Duration::from_secs(330),
    };
}

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Each question is a transaction of its own.
    Reading,
    /// The transaction begins with the first question.
    Fresh,
    /// The transaction is open.
    Open,
    /// Something was sent and not answered yet.
    Asking,
    /// The transaction can only be rolled back.
    Failed,
}

/// A connection at work. Dropped without a commit, it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Work {
    /// There until it is dropped.
    client: Option<Object>,
    limits: Limits,
    stage: Stage,
    queue: Vec<Statement>,
}

impl Work {
    /// Begins a transaction with the first question.
    pub(super) fn begin(client: Object, limits: Limits) -> Self {
        Self { client: Some(client), limits, stage: Stage::Fresh, queue: Vec::new() }
    }

    /// For questions that need not see the same moment.
    pub(super) fn read(client: Object) -> Self {
        Self { client: Some(client), limits: Limits::USUAL, stage: Stage::Reading, queue: Vec::new() }
    }

    /// Sends this with the next question or the commit, whose error is also this one's.
    pub(super) fn write(&mut self, statement: Statement) {
        self.queue.push(statement);
    }

    /// Asks; what has been written is sent before it, in the same round trip.
    pub(super) async fn ask(&mut self, question: Statement) -> Result<Answer> {
        let [answer] = self.ask_all([question]).await?;
        Ok(answer)
    }

    /// Asks several questions in one round trip, in this order.
    pub(super) async fn ask_all<const N: usize>(&mut self, questions: [Statement; N]) -> Result<[Answer; N]> {
        self.relieve().await?;
        let mut parts = self.parts();
        parts.extend(questions.into_iter().map(Part::Statement));
        let mut answers = self.send(parts).await?;
        let wanted = answers.split_off(answers.len() - N);
        <[Answer; N]>::try_from(wanted).map_err(|_| StoreError::broken("an answer is missing"))
    }

    /// Runs statements without parameters, such as a migration.
    pub(super) async fn run(&mut self, text: &'static str) -> Result<()> {
        self.relieve().await?;
        let mut parts = self.parts();
        parts.push(Part::Plain(text));
        self.send(parts).await.map(drop)
    }

    /// Makes it durable. If the connection is lost while the answer is waited for, nobody knows whether it is.
    pub(super) async fn commit(mut self) -> Result<()> {
        match self.stage {
            Stage::Fresh if self.queue.is_empty() => return Ok(()),
            Stage::Reading | Stage::Fresh | Stage::Open => {}
            Stage::Asking | Stage::Failed => return Err(StoreError::broken("a commit after a failure")),
        }
        self.relieve().await?;
        let mut parts = self.parts();
        parts.push(Part::Plain("COMMIT"));
        self.send(parts).await?;
        self.stage = Stage::Reading;
        Ok(())
    }

    /// Sends what is too much for one go.
    async fn relieve(&mut self) -> Result<()> {
        while self.queue.len() > MAX_SENT {
            let rest = self.queue.split_off(MAX_SENT);
            let parts = self.parts();
            self.queue = rest;
            self.send(parts).await?;
        }
        Ok(())
    }

    /// What is to be sent before anything else.
    fn parts(&mut self) -> Vec<Part> {
        let begin = (self.stage == Stage::Fresh).then_some(Part::Plain(self.limits.begin));
        begin.into_iter().chain(mem::take(&mut self.queue).into_iter().map(Part::Statement)).collect()
    }

    async fn send(&mut self, parts: Vec<Part>) -> Result<Vec<Answer>> {
        let Some(client) = &self.client else { return Err(StoreError::broken("work without a connection")) };
        let (before, n_parts) = (self.stage, parts.len());
        let commits = matches!(parts.last(), Some(Part::Plain("COMMIT")));
        if before == Stage::Failed {
            return Err(StoreError::broken("a question after a failure"));
        }
        self.stage = Stage::Asking;
        let answers = match timeout(self.limits.patience, exchange(client, &parts)).await {
            Ok(answers) => answers,
            Err(_) if commits => return Err(StoreError::unavailable(Unsure::NoAnswer)),
            Err(_) => return Err(StoreError::unavailable("the database does not answer")),
        };
        match answers {
            Ok(answers) => {
                self.stage = if before == Stage::Reading { Stage::Reading } else { Stage::Open };
                Ok(answers)
            }
            Err((index, error)) => {
                self.stage = if before == Stage::Reading { Stage::Reading } else { Stage::Failed };
                // A statement that the database refused took the transaction with it, whatever was sent behind it.
                let refused = error.as_db_error().is_some() && (index + 1 < n_parts || !commits);
                Err(if commits && !refused { Unsure::judge(error) } else { error.into() })
            }
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        match self.stage {
            Stage::Reading | Stage::Fresh => {}
            // Sent before the connection goes back; nobody needs the answer.
            Stage::Open | Stage::Failed => drop(client.batch_execute("ROLLBACK").now_or_never()),
            // Whoever had it next would wait for answers to questions of others. Without a connection the database rolls back.
            Stage::Asking => drop(Object::take(client)),
        }
    }
}

#[derive(Debug)]
enum Part {
    /// Text without parameters; it may hold several statements.
    Plain(&'static str),
    Statement(Statement),
}

type Answering<'a> = BoxFuture<'a, std::result::Result<Answer, tokio_postgres::Error>>;

/// Sends all parts before the first answer is waited for. The error names the part that it belongs to.
async fn exchange(client: &Object, parts: &[Part]) -> std::result::Result<Vec<Answer>, (usize, tokio_postgres::Error)> {
    let mut sent: Vec<MaybeDone<Answering<'_>>> = Vec::with_capacity(parts.len());
    for part in parts {
        let mut answering = maybe_done(answer(client, part));
        // A message is sent when its future is first polled.
        let _ = poll!(&mut answering);
        sent.push(answering);
    }
    let mut answers = Vec::with_capacity(parts.len());
    for (index, answering) in sent.iter_mut().enumerate() {
        (&mut *answering).await;
        if let Some(answer) = Pin::new(answering).take_output() {
            answers.push(answer.map_err(|error| (index, error))?);
        }
    }
    Ok(answers)
}

fn answer<'a>(client: &'a Object, part: &'a Part) -> Answering<'a> {
    match part {
        Part::Plain(text) => {
            let done = client.batch_execute(text);
            Box::pin(async move { done.await.map(|()| Answer { rows: Vec::new(), n_changed: 0 }) })
        }
        Part::Statement(Statement { text, values }) => Box::pin(async move {
            let values: Vec<_> = values.iter().map(super::statements::Value::parameter).collect();
            let mut stream = Box::pin(client.query_typed_raw(text, values).await?);
            let rows = stream.as_mut().try_collect().await?;
            Ok(Answer { rows, n_changed: stream.rows_affected().unwrap_or(0) })
        }),
    }
}
