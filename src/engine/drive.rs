//! The life of one generation, from whatever state it is found in to its end: ask `plan` what is next, do it, store what came of it.
//!
//! Invariants: what is told to the store comes before what depends on it (intent before submit, ticket before the first poll); a submit is sent
//! at most once for each stored intent; one driver polls a job however many watch it; every wait ends with a change, a time or the shutdown.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tracing::{Instrument, Span, debug, error, info_span, warn};

use super::{
    Engine,
    drivers::AtWork,
    gate::Slot,
    plan::{Step, plan},
};
use crate::{
    artifact::StoredBlob,
    domain::{
        artifact::Artifact,
        attempt::{Attempt, AttemptStage},
        failure::Failure,
        generation::{Generation, State},
        life::{AttemptEvent, Event},
        money::Usage,
        names::{AttemptId, GenerationId},
    },
    provider::{
        error::{ErrorKind, ProviderError},
        port::Provider,
    },
    store::port::{ApplyError, Claim, Limits, Loaded},
};

mod answer;
mod ask;
mod find;
mod keep;
mod submit;

/// The first wait when the store cannot be written.
const STORE_PAUSE: Duration = Duration::from_millis(250);

/// Why a driver stops before the end: the process ends, or another driver has the job.
#[derive(Debug)]
struct Stop;

/// What every step gives: the newest record.
type Next = Result<Arc<Generation>, Stop>;

/// Drives a generation until it has ended, the process ends, or another process has it. `slot` is its job's place at the provider, if that is
/// there already.
pub(super) async fn drive(engine: Engine, mut generation: Arc<Generation>, at_work: AtWork, slot: Option<Slot>) {
    let follows = generation.leader.is_some();
    if follows {
        // Its leader may have ended, or handed over, between the reading of this record and now.
        match engine.store().load(generation.id).await {
            Ok(Some(now)) => generation = Arc::new(now.generation),
            Ok(None) => return,
            Err(error) => warn!(generation.name = %generation.id, error = ?error, "cannot be read again now"),
        }
    }
    let own = engine.hub().subscribe(Arc::clone(&generation));
    let mut driver = Driver {
        engine,
        own,
        id: generation.id,
        at_work,
        follows,
        slot,
        attempt: None,
        span: Span::none(),
        tries: Tries::default(),
    };
    if let Err(Stop) = driver.run(generation).await {
        debug!(generation.name = %driver.id, "left to another driver");
    }
}

struct Driver {
    engine: Engine,
    own: watch::Receiver<Arc<Generation>>,
    id: GenerationId,
    at_work: AtWork,
    /// It began as one that shares another's job, and never gets one of its own.
    follows: bool,
    slot: Option<Slot>,
    attempt: Option<AttemptId>,
    /// Of the current attempt; the provider's calls are in it.
    span: Span,
    tries: Tries,
}

/// What is remembered of the current attempt besides its record; a new process starts without it.
#[derive(Default)]
struct Tries {
    /// When the next call is due; at once when absent.
    not_before: Option<Instant>,
    /// Failures of the same kind of call in a row.
    n_failed: u32,
    /// The latest of these that were no answer at all: a provider that limits our rate is there.
    n_silent: u32,
    /// Answers to polls.
    n_answers: u32,
    /// Outputs that turned out invalid.
    n_invalid: u32,
    /// Where fetching an output broke off last: its index, the bytes that had come, and how often in a row it was there.
    broke_off: Option<(usize, u64, u32)>,
    /// The vendor was asked to stop.
    cancel_asked: bool,
    /// A wait was cut short for a cancel; once is enough.
    cancel_hurried: bool,
    /// Outputs that came with the answer and are stored, but not looked at.
    fresh: Vec<StoredBlob>,
    /// Outputs that are stored already.
    kept: Vec<Artifact>,
    /// When progress was last stored.
    told_at: Option<Instant>,
}

/// The open attempt with its provider.
#[derive(Clone)]
struct Work {
    attempt: Attempt,
    provider: Arc<dyn Provider>,
}

impl Driver {
    async fn run(&mut self, mut generation: Arc<Generation>) -> Result<(), Stop> {
        loop {
            if self.follows
                && generation.leader.is_none()
                && (!generation.state.is_terminal() || generation.successor.is_some())
            {
                // It was promoted: the leader's driver brings the job along, and goes on with it wherever it goes.
                return Err(Stop);
            }
            self.settle_in(&generation);
            generation = match self.plan(&generation) {
                Step::Done => match generation.successor {
                    Some(successor) => self.move_to(successor).await?,
                    None => return Ok(()),
                },
                Step::Follow => self.follow(&generation).await?,
                Step::PassDeadline => {
                    // From here on it is asked less and less often, beginning with a usual wait.
                    self.tries.n_answers = 0;
                    self.tell(Event::DeadlinePassed).await?
                }
                Step::GiveUp => self.tell(Event::GaveUp).await?,
                work @ (Step::Submit | Step::Find | Step::Keep | Step::Ask) => {
                    let span = self.span.clone();
                    self.work(work, generation).instrument(span).await?
                }
            };
        }
    }

    /// The steps that need a provider, each when it is due.
    async fn work(&mut self, step: Step, generation: Arc<Generation>) -> Next {
        let cancel_now = step == Step::Ask && generation.cancel_requested_at.is_some() && !self.tries.cancel_hurried;
        self.tries.cancel_hurried |= cancel_now;
        if let Some(at) = self.tries.not_before.filter(|at| *at > Instant::now() && !cancel_now) {
            return self.wait(&generation, Some(at)).await;
        }
        let Some(attempt) = generation.open_attempt().cloned() else { return self.wait(&generation, None).await };
        let Some(provider) = self.engine.provider(&attempt.model.provider) else {
            // It lost its credentials since the generation was accepted: wait for them, as long as the deadlines allow.
            warn!(generation.name = %self.id, provider.id = %attempt.model.provider, "not configured any more; waiting");
            return self.wait(&generation, None).await;
        };
        let work = Work { attempt, provider };
        match step {
            Step::Submit if self.slot.is_none() => self.queue(generation, &work).await,
            Step::Submit => self.submit(generation, &work).await,
            Step::Find => self.find(generation, &work).await,
            Step::Keep => self.keep_answer(generation, &work).await,
            Step::Ask | Step::Done | Step::Follow | Step::PassDeadline | Step::GiveUp => {
                self.ask(generation, &work).await
            }
        }
    }

    fn plan(&self, generation: &Generation) -> Step {
        plan(generation, self.engine.now(), self.engine.settings().unresolved_for)
    }

    /// Forgets what belonged to an earlier attempt, and frees the place of a job nobody knows the end of.
    fn settle_in(&mut self, generation: &Generation) {
        if generation.successor.is_some() {
            // The attempt goes on there, with its place and all that is remembered of it.
            return;
        }
        let open = generation.open_attempt();
        let attempt = open.map(|attempt| attempt.id);
        if attempt != self.attempt {
            let earlier = std::mem::replace(&mut self.attempt, attempt);
            self.span = open.map_or_else(Span::none, |open| {
                let number = i64::try_from(generation.attempts.len()).unwrap_or(i64::MAX);
                let (provider, model) = (open.model.provider.id(), open.model.name.as_str());
                info_span!("attempt", attempt.number = number, provider.id = provider, model)
            });
            // The place of the first one may have come with it.
            if earlier.is_some() {
                self.slot = None;
            }
            self.tries = Tries::default();
        }
        if generation.is_unknown() {
            self.slot = None;
        }
    }

    async fn follow(&mut self, generation: &Arc<Generation>) -> Next {
        self.wait(generation, None).await
    }

    async fn failed(&mut self, work: &Work, failure: Failure, usage: &Usage) -> Next {
        self.tell_of(work, AttemptEvent::Failed(failure.at(&work.attempt.model.provider), usage.clone())).await
    }

    async fn tell_of(&mut self, work: &Work, event: AttemptEvent) -> Next {
        self.tell(Event::Attempt(work.attempt.id, event)).await
    }

    /// Tells the store until it has heard: what happened at a vendor must not be lost because our disk was busy.
    async fn tell(&mut self, event: Event) -> Next {
        self.tell_within(event, None).await
    }

    /// As `tell`, for an intent that has limits. If it is held back the record stays as it was.
    async fn tell_within(&mut self, event: Event, limits: Option<&Limits>) -> Next {
        let (mut pause, mut n_failed) = (STORE_PAUSE, 0_u32);
        loop {
            let claim = Some(self.at_work.claim());
            let told = match limits {
                None => self.engine.apply(self.id, event.clone(), claim).await.map(Some),
                Some(limits) => self.engine.intend(self.id, event.clone(), claim, limits).await,
            };
            match told {
                Ok(None) => return Ok(Arc::clone(&self.own.borrow())),
                Ok(Some(generation)) => {
                    if generation.id != self.id {
                        // The claim went with the job.
                        self.become_driver_of(&generation, self.at_work.claim());
                    }
                    return Ok(generation);
                }
                // A driver asks for no resubmit, and a next model that no budget allows is left out by the store itself.
                Err(ApplyError::Lost | ApplyError::Budget(_)) => return Err(Stop),
                // It was deleted; its job may have gone on elsewhere before.
                Err(ApplyError::NotFound) => {
                    let deleted = self.engine.store().load(self.id).await.ok().flatten();
                    return match deleted.and_then(|loaded| loaded.generation.successor) {
                        Some(successor) => self.move_to(successor).await,
                        None => Err(Stop),
                    };
                }
                Err(ApplyError::Refused { reason, generation }) => {
                    debug!(generation.name = %self.id, %reason, "an event came too late");
                    // Somebody else was faster; if the record does not show it yet, asking again at once would not help.
                    sleep(Duration::from_millis(10)).await;
                    let generation: Arc<Generation> = Arc::from(generation);
                    self.engine.hub().publish(Arc::clone(&generation));
                    return Ok(generation);
                }
                Err(ApplyError::Store(error)) => {
                    n_failed += 1;
                    // Thousands of drivers may try for as long as an outage lasts.
                    if n_failed == 1 {
                        error!(generation.name = %self.id, error = ?error, "what happened cannot be stored now");
                    } else {
                        debug!(generation.name = %self.id, n_failed, "what happened cannot be stored yet");
                    }
                    let (drain, mut ready) = (self.engine.drain().clone(), self.engine.readiness());
                    tokio::select! {
                        () = sleep(pause) => pause = (pause * 2).min(Duration::from_secs(10)),
                        // It can be written again, or just not; either way soon told.
                        _ = ready.changed() => {}
                        () = drain.finishing() => return Err(Stop),
                    }
                }
            }
        }
    }

    /// Goes on with the generation that took the job over.
    async fn move_to(&mut self, successor: GenerationId) -> Next {
        match self.engine.store().load(successor).await {
            Ok(Some(Loaded { generation, claim: Some(claim) })) => {
                let generation = Arc::new(generation);
                self.become_driver_of(&generation, claim);
                Ok(generation)
            }
            Ok(Some(Loaded { claim: None, .. }) | None) => Err(Stop),
            Err(error) => {
                error!(generation.name = %successor, error = ?error, "cannot be read now");
                sleep(STORE_PAUSE).await;
                Ok(Arc::clone(&self.own.borrow()))
            }
        }
    }

    fn become_driver_of(&mut self, generation: &Arc<Generation>, claim: Claim) {
        self.id = generation.id;
        self.at_work.move_to(generation.id, claim);
        self.own = self.engine.hub().subscribe(Arc::clone(generation));
    }

    /// Reads the record again, because it was changed elsewhere or the provider has news, and makes the next question to the provider due.
    async fn look_again(&mut self, generation: &Arc<Generation>) -> Next {
        if !self.at_work.is_current() {
            return Err(Stop);
        }
        match self.engine.store().load(self.id).await {
            // Nobody drives what has ended, but this driver may have to go on with its successor.
            Ok(Some(Loaded { generation: now, claim }))
                if claim == Some(self.at_work.claim()) || now.state.is_terminal() =>
            {
                if now.open_attempt().is_some_and(|attempt| attempt.stage != AttemptStage::Waiting) {
                    self.tries.not_before = None;
                }
                let now = Arc::new(now);
                self.engine.hub().publish(Arc::clone(&now));
                Ok(now)
            }
            Ok(Some(_) | None) => Err(Stop),
            Err(error) => {
                warn!(generation.name = %self.id, error = ?error, "cannot be read again now");
                Ok(Arc::clone(generation))
            }
        }
    }

    /// False if another process or driver has the job now. A store that cannot answer decides nothing.
    async fn is_ours(&self) -> bool {
        if !self.at_work.is_current() {
            return false;
        }
        match self.engine.store().load(self.id).await {
            Ok(Some(Loaded { generation, claim })) => {
                claim == Some(self.at_work.claim()) || generation.successor.is_some()
            }
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Counts a failed call; how many failed in a row.
    fn count_failure(&mut self, error: &ProviderError) -> u32 {
        let tries = &mut self.tries;
        tries.n_failed += 1;
        tries.n_silent = if error.kind == ErrorKind::RateLimited { 0 } else { tries.n_silent + 1 };
        tries.n_failed
    }

    /// Makes the next call due after `wait`.
    fn rest(&mut self, wait: Duration) {
        self.tries.not_before = Some(Instant::now() + wait);
    }

    /// Until `until`, the generation's next time limit, or a change by somebody else; the newest record.
    async fn wait(&mut self, generation: &Arc<Generation>, until: Option<Instant>) -> Next {
        let limit = match generation.state {
            State::Queued | State::Running => Some(generation.deadline),
            State::Storing | State::Cancelling | State::Unresolved => {
                generation.give_up_at(self.engine.settings().unresolved_for)
            }
            State::Succeeded | State::Failed | State::Cancelled => return Ok(Arc::clone(generation)),
        };
        let limit = limit.map(|limit| self.engine.clock().instant(limit));
        // Looked at again every hour at the latest, for the wall clock may be set while tokio's goes on.
        let at_latest = Instant::now() + Duration::from_secs(3600);
        let until = [until, limit].into_iter().flatten().fold(at_latest, Instant::min);
        let drain = self.engine.drain().clone();
        if self.own.borrow_and_update().sequence <= generation.sequence {
            tokio::select! {
                changed = self.own.changed() => if changed.is_err() { sleep_until(until).await },
                () = sleep_until(until) => {}
                () = self.at_work.nudged() => return self.look_again(generation).await,
                () = drain.finishing() => return Err(Stop),
            }
        }
        let shown = Arc::clone(&self.own.borrow_and_update());
        Ok(if shown.sequence >= generation.sequence { shown } else { Arc::clone(generation) })
    }
}
