//! A vendor's desk: takes calls under the fault rules, keeps the jobs, hands out files and calls back.
//!
//! A vendor brings its paths, its words and its own data of a job (`D`); everything else is here.

mod book;
mod call;
mod chat;
mod counts;
mod delivery;
mod job;
mod life;
mod post;
mod received;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use self::{
    book::Book,
    job::{Expiry, Outputs},
    life::{Cancelling, Ending, Pace, Plan},
};
pub(crate) use self::{
    book::{Cursor, Query},
    call::{Call, Dialect, Instead, Origin, Refusal},
    counts::Counts,
    job::Job,
    life::{End, Outcome, Stage},
    post::Letter,
    received::Received,
};
use super::{
    World,
    fault::{JobFault, Operation, Subject},
    output::{Media, Native, Shape},
    settings::Settings,
    vendor::Ledger,
};

/// Jobs with callbacks that are followed at the same time; further ones are not called back.
const MAX_FOLLOWED: usize = 20_000;

/// Callbacks in flight at the same time.
const MAX_POSTING: usize = 256;

/// One vendor's desk; `D` is what the vendor itself wants to remember of a job.
#[derive(Debug)]
pub(crate) struct Desk<D> {
    pub(crate) world: Arc<World>,
    dialect: &'static Dialect,
    pub(crate) counts: Counts,
    pub(crate) book: Book<D>,
    chats: chat::Log,
    sequence: AtomicU64,
    callers: Arc<Semaphore>,
    posting: Semaphore,
}

/// What a new job is made of.
#[derive(Debug)]
pub(crate) struct Draft<D> {
    /// The vendor's id of it; [`World::new_id`] gives a fresh one.
    pub(crate) id: String,
    pub(crate) model: String,
    /// For `prompt=` in fault rules.
    pub(crate) prompt: String,
    pub(crate) received: Received,
    pub(crate) media: Media,
    /// Files that a success hands out.
    pub(crate) n_files: u64,
    /// How the output is mentioned if neither setting nor fault says otherwise; only [`Job::output`] looks at it.
    pub(crate) native: Native,
    /// The job is stopped when it is this old.
    pub(crate) deadline: Option<Duration>,
    pub(crate) data: D,
}

impl<D> Desk<D> {
    pub(crate) fn new(world: &Arc<World>, dialect: &'static Dialect) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            dialect,
            counts: Counts::default(),
            book: Book::default(),
            chats: chat::Log::default(),
            sequence: AtomicU64::new(0),
            callers: Arc::new(Semaphore::new(MAX_FOLLOWED)),
            posting: Semaphore::new(MAX_POSTING),
        })
    }

    /// Counts a call that is about no job yet, judges it, and lets its delay pass.
    ///
    /// # Errors
    /// The answer that a fault gives instead; the call is to have no effect.
    pub(crate) async fn call(&self, operation: Operation, subject: Subject<'_>) -> Result<Call, Instead> {
        self.counts.add(operation);
        self.begin(operation, subject).await
    }

    /// As [`Desk::call`], about the job with this id.
    ///
    /// # Errors
    /// The answer that a fault gives instead, or the vendor's 404 for a job it does not know.
    pub(crate) async fn call_about(&self, operation: Operation, id: &str) -> Result<(Call, Arc<Job<D>>), Instead> {
        self.counts.add(operation);
        let job = self.book.get(id);
        let nth_of_job = job.as_ref().map_or(0, |job| job.tally.add(operation));
        let subject = job.as_ref().map(|job| job.subject(nth_of_job)).unwrap_or_default();
        let call = self.begin(operation, subject).await?;
        match job {
            Some(job) => Ok((call, job)),
            None => Err(call.unknown()),
        }
    }

    /// Makes a job that lives as settings and the call's faults say, and keeps it.
    pub(crate) fn make(&self, call: &Call, draft: Draft<D>) -> Arc<Job<D>> {
        let settings = self.world.settings();
        let (plan, outputs) = decide(&draft, &settings, &call.faults().job);
        let n_bytes = draft.received.n_bytes;
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let job = Arc::new(Job::new(self.dialect.name, sequence, draft, plan, outputs));
        self.book.insert(&job, n_bytes, settings.max_predictions);
        self.counts.creates_effective.fetch_add(1, Ordering::Relaxed);
        job
    }

    /// Waits for the job's end, as a synchronous vendor does before it answers.
    ///
    /// # Errors
    /// The simulator stops meanwhile; the connection is then closed.
    pub(crate) async fn outcome(&self, job: &Job<D>) -> Result<Outcome, Instead> {
        let ended = self.world.stop.run_until_cancelled(job.ended_within(Duration::MAX)).await;
        ended.flatten().map(|end| end.outcome).ok_or_else(Instead::severed)
    }

    async fn begin(&self, operation: Operation, subject: Subject<'_>) -> Result<Call, Instead> {
        let faults = self.world.judge(operation, Subject { vendor: self.dialect.name, ..subject });
        Call::begin(&self.world, self.dialect, faults).await
    }
}

impl<D> Ledger for Desk<D> {
    fn name(&self) -> &'static str {
        self.dialect.name
    }

    fn counts(&self) -> Map<String, Value> {
        self.counts.page()
    }

    fn tallies(&self) -> Map<String, Value> {
        self.book.all().into_iter().map(|job| (job.id.clone(), job.tally.page())).collect()
    }

    fn jobs(&self) -> Vec<Value> {
        let page = |job: Arc<Job<D>>| {
            let mut page = json!({
                "id": job.id,
                "model": job.model,
                "prompt": job.prompt,
                "status": job.stage().word(),
                "created_at": format!("{:.3}", job.created_at),
                "counts": job.tally.page(),
            });
            job.received.describe(&mut page);
            page
        };
        self.book.all().into_iter().map(page).collect()
    }

    fn chats(&self) -> Vec<Value> {
        self.chats.page()
    }

    fn release(&self, id: Option<&str>, limit: usize) -> usize {
        let released: Vec<Arc<Job<D>>> = match id {
            Some(id) => self.book.take_held_one(id).into_iter().collect(),
            None => self.book.take_held(limit),
        };
        released.iter().for_each(|job| job.release());
        released.len()
    }

    fn clear(&self) {
        self.book.clear();
        self.chats.clear();
        self.counts.reset();
    }
}

/// How the new job will live, and what it hands out.
fn decide<D>(draft: &Draft<D>, settings: &Settings, faults: &[JobFault]) -> (Plan, Outputs) {
    let mut latency = settings.latency;
    let mut plan = Plan {
        boot: Duration::ZERO,
        run: Duration::ZERO,
        ending: Ending::Succeeded,
        pace: if settings.hold { Pace::Held } else { Pace::Clock },
        cancelling: Cancelling::Honoured,
        deadline: draft.deadline,
        retention: settings.retention,
    };
    let mut shape = settings.output.clone();
    let (mut size, mut expiry) = (0, None);
    for fault in faults {
        match fault {
            JobFault::Failed(text) => plan.ending = Ending::Failed(text.clone()),
            JobFault::Canceled => plan.ending = Ending::Canceled,
            JobFault::Aborted => plan.ending = Ending::Aborted,
            JobFault::StuckStarting => plan.ending = Ending::StuckStarting,
            JobFault::StuckProcessing => plan.ending = Ending::StuckProcessing,
            JobFault::Uncancellable => plan.cancelling = Cancelling::Ignored,
            JobFault::Hold => plan.pace = Pace::Held,
            JobFault::Latency(chosen) => latency = *chosen,
            JobFault::Retention(chosen) => plan.retention = *chosen,
            JobFault::Output(chosen) => shape = chosen.clone(),
            JobFault::Size(bytes) => size = *bytes,
            JobFault::Expires { fetches, status } => {
                expiry = Some(Expiry { fetches: *fetches, status: *status });
            }
        }
    }
    let usual = (latency / 4).min(Duration::from_millis(500));
    plan.boot = match plan.pace {
        // A test that holds jobs wants to see them in `processing` without waiting.
        Pace::Held => Duration::ZERO,
        Pace::Clock => settings.boot.unwrap_or(usual).min(latency),
    };
    plan.run = latency - plan.boot;
    let media = if shape == Shape::Webm && draft.media == Media::Mp4 { Media::Webm } else { draft.media };
    (plan, Outputs { shape, native: draft.native, media, n_files: draft.n_files, size, expiry })
}
