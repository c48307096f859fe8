//! The life of one generation, from whatever state it is found in to its end: ask `plan` what is next, do it, store what came of it.
//!
//! Invariants: what is told to the store comes before what depends on it (intent before submit, ticket before the first poll); a submit is sent
//! at most once for each stored intent; one driver polls a job however many watch it; every wait ends with a change, a time or the shutdown.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, error, warn};

use super::{
    Engine,
    gate::Slot,
    outputs::{NoOrder, Trouble, measured},
    plan::{Step, plan},
    retry::PATIENCE,
};
use crate::{
    domain::{
        artifact::Artifact,
        attempt::{Attempt, Ticket},
        failure::{Charged, Failure, FailurePhase, FailureReason},
        generation::{Generation, State},
        life::{Advance, AttemptEvent, Event},
        money::Usage,
        names::{AttemptId, GenerationId, SubmitKey},
    },
    provider::{
        error::{ErrorKind, ProviderError, Verdict},
        port::{CancelOutcome, Found, Job, Order, Progress, Provider, RemoteOutput, Status, Submitted},
    },
    store::port::ApplyError,
};

/// A vendor's clock may be this much behind ours.
const CLOCK_SKEW: Duration = Duration::from_secs(5);
/// Progress without news of its own is stored at most this often.
const PROGRESS_PACE: Duration = Duration::from_secs(1);
/// The first wait when the store cannot be written.
const STORE_PAUSE: Duration = Duration::from_millis(250);

/// Why a driver stops before the end: the process ends, or another driver has the job.
#[derive(Debug)]
pub(super) struct Stop;

type Next = Result<Arc<Generation>, Stop>;

/// Drives a generation until it has ended or the process ends.
pub(super) async fn drive(engine: Engine, generation: Arc<Generation>) {
    let own = engine.hub().subscribe(Arc::clone(&generation));
    let mut driver = Driver { engine, own, id: generation.id, slot: None, attempt: None, tries: Tries::default() };
    if let Err(Stop) = driver.run(generation).await {
        debug!(generation.name = %driver.id, "left to another driver");
    }
}

struct Driver {
    engine: Engine,
    own: watch::Receiver<Arc<Generation>>,
    id: GenerationId,
    slot: Option<Slot>,
    attempt: Option<AttemptId>,
    tries: Tries,
}

/// What is remembered of the current attempt besides its record; a new process starts without it.
#[derive(Default)]
struct Tries {
    /// When the next call is due; at once when absent.
    not_before: Option<Instant>,
    /// Failures of the same kind of call in a row.
    n_failed: u32,
    /// Answers to polls.
    n_answers: u32,
    /// Outputs that turned out invalid.
    n_invalid: u32,
    /// The vendor was asked to stop.
    cancel_asked: bool,
    /// Outputs that are stored already.
    kept: Vec<Artifact>,
    /// When progress was last stored.
    told_at: Option<Instant>,
}

impl Driver {
    async fn run(&mut self, mut generation: Arc<Generation>) -> Result<(), Stop> {
        loop {
            self.settle_in(&generation);
            let now = self.engine.now();
            generation = match plan(&generation, now, self.engine.settings().unresolved_for) {
                Step::Done => match generation.successor {
                    Some(successor) => self.move_to(successor).await?,
                    None => return Ok(()),
                },
                Step::Follow => self.follow(&generation).await?,
                Step::PassDeadline => self.tell(Event::DeadlinePassed).await?,
                Step::GiveUp => self.tell(Event::GaveUp).await?,
                Step::Submit => self.submit(generation).await?,
                Step::Find => self.find(generation).await?,
                Step::Ask => self.ask(generation).await?,
            };
        }
    }

    /// Forgets what belonged to an earlier attempt, and frees the place of a job nobody knows the end of.
    fn settle_in(&mut self, generation: &Generation) {
        let attempt = generation.open_attempt().map(|attempt| attempt.id);
        if attempt != self.attempt {
            self.attempt = attempt;
            self.slot = None;
            self.tries = Tries::default();
        }
        if generation.state == State::Unresolved {
            self.slot = None;
        }
    }

    async fn follow(&mut self, generation: &Arc<Generation>) -> Next {
        let now = self.wait(generation, None).await?;
        let promoted = now.leader.is_none() && !now.state.is_terminal();
        // The leader's driver brings the job along.
        if promoted { Err(Stop) } else { Ok(now) }
    }

    async fn submit(&mut self, generation: Arc<Generation>) -> Next {
        if let Some(at) = self.tries.not_before.filter(|at| *at > Instant::now()) {
            return self.wait(&generation, Some(at)).await;
        }
        let Some((attempt, provider)) = self.at_work(&generation) else { return self.no_provider(&generation).await };
        if self.slot.is_none() {
            return self.queue(generation, &attempt).await;
        }
        let order = match self.engine.order(&generation).await {
            Ok(order) => order,
            Err(no_order) => return self.no_order(&generation, &attempt, no_order).await,
        };
        let key = SubmitKey::fresh();
        let intended = self.tell_attempt(&attempt, AttemptEvent::Submitting(key)).await?;
        if intended.open_attempt().is_none_or(|open| open.submit_key != Some(key)) {
            return Ok(intended);
        }
        match provider.submit(&order, &key).await {
            Ok(Submitted::Pending(ticket)) => {
                self.tries = Tries::default();
                self.tries.not_before = Some(Instant::now() + self.engine.settings().pace.after(1, None));
                self.tell_attempt(&attempt, AttemptEvent::Accepted(ticket)).await
            }
            Ok(Submitted::Done(outputs, usage)) => {
                self.keep_answer(intended, &attempt, &*provider, &outputs, &usage).await
            }
            Err(error) => self.submit_failed(intended, &attempt, &order, error).await,
        }
    }

    /// Waits for a place at the provider without losing it to snapshots that change nothing.
    async fn queue(&mut self, generation: Arc<Generation>, attempt: &Attempt) -> Next {
        let gate = self.engine.gate(&attempt.model.provider);
        let mut entered = std::pin::pin!(gate.enter(self.id));
        let mut generation = generation;
        loop {
            tokio::select! {
                biased;
                slot = &mut entered => {
                    self.slot = Some(slot);
                    return Ok(generation);
                }
                now = self.wait(&generation, None) => {
                    generation = now?;
                    if plan(&generation, self.engine.now(), self.engine.settings().unresolved_for) != Step::Submit {
                        return Ok(generation);
                    }
                }
            }
        }
    }

    async fn submit_failed(
        &mut self,
        generation: Arc<Generation>,
        attempt: &Attempt,
        order: &Order,
        error: ProviderError,
    ) -> Next {
        warn!(generation.name = %self.id, provider.id = %error.provider, kind = ?error.kind, effect = ?error.effect, "submit failed: {error}");
        match error.verdict() {
            Verdict::AskFirst => self.look_for(&generation, attempt, order, &error.summary).await,
            Verdict::GiveUp => {
                self.failed(attempt, error.to_failure(FailurePhase::Submit, Charged::No), &Usage::default()).await
            }
            Verdict::RetryAfter(wish) => {
                self.tries.n_failed += 1;
                let unreachable = matches!(error.kind, ErrorKind::Transport | ErrorKind::Timeout);
                let another = generation.candidates.len() > attempt.candidate + 1;
                // A limit passes by itself; a provider that cannot be reached, or one with an alternative, is not waited for forever.
                if self.tries.n_failed > PATIENCE && (unreachable || another) {
                    return self
                        .failed(attempt, error.to_failure(FailurePhase::Submit, Charged::No), &Usage::default())
                        .await;
                }
                let wait = self.engine.settings().backoff.after(self.tries.n_failed, wish);
                self.tries.not_before = Some(Instant::now() + wait);
                self.tell_attempt(attempt, AttemptEvent::Postponed(error.summary)).await
            }
        }
    }

    /// A submit was sent and its answer is missing: by an earlier process, or longer ago than this one remembers.
    async fn find(&mut self, generation: Arc<Generation>) -> Next {
        if let Some(at) = self.tries.not_before.filter(|at| *at > Instant::now()) {
            return self.wait(&generation, Some(at)).await;
        }
        let Some((attempt, _)) = self.at_work(&generation) else { return self.no_provider(&generation).await };
        match self.engine.order(&generation).await {
            Ok(order) => self.look_for(&generation, &attempt, &order, "the answer of the submit call was lost").await,
            // Without its inputs the order cannot be compared; it stays unknown.
            Err(NoOrder::InputGone(_) | NoOrder::Unavailable(_)) => {
                self.not_found(&attempt, "the answer of the submit call was lost").await
            }
        }
    }

    async fn look_for(&mut self, generation: &Arc<Generation>, attempt: &Attempt, order: &Order, why: &str) -> Next {
        let (Some(key), Some(sent_at)) = (
            attempt.submit_key.or(generation.open_attempt().and_then(|a| a.submit_key)),
            generation.open_attempt().and_then(|a| a.submit_at),
        ) else {
            return self.not_found(attempt, why).await;
        };
        let Some(provider) = self.engine.provider(&attempt.model.provider) else {
            return self.not_found(attempt, why).await;
        };
        let found = provider.find(order, &key, sent_at).await;
        let ticket = match found {
            Ok(Found::Candidates(jobs)) => self.adoptable(generation, attempt, jobs, sent_at).await,
            Ok(Found::Unsupported) => None,
            Err(error) => {
                debug!(generation.name = %self.id, "looking for a lost job failed: {error}");
                None
            }
        };
        match ticket {
            Some(ticket) => {
                self.tries = Tries::default();
                self.tell_attempt(attempt, AttemptEvent::Accepted(ticket)).await
            }
            None => self.not_found(attempt, why).await,
        }
    }

    /// The job that is certainly ours: the one with our mark, or the only unclaimed one if no other lost order could have made it.
    async fn adoptable(
        &self,
        generation: &Generation,
        attempt: &Attempt,
        jobs: Vec<Job>,
        sent_at: jiff::Timestamp,
    ) -> Option<Ticket> {
        let provider = attempt.model.provider.id();
        let earliest = sent_at.checked_sub(CLOCK_SKEW).unwrap_or(sent_at);
        let mut unclaimed = Vec::new();
        for job in jobs.into_iter().filter(|job| job.created_at >= earliest) {
            // A store that cannot answer decides nothing.
            if !self
                .engine
                .store()
                .job_is_claimed(provider, &job.ticket.account, &job.ticket.job, self.id)
                .await
                .ok()?
            {
                unclaimed.push(job);
            }
        }
        if let Some(marked) = unclaimed.iter().position(|job| job.exact) {
            return Some(unclaimed.swap_remove(marked).ticket);
        }
        let alone =
            self.engine.store().lost_submits(&attempt.model.to_string(), &generation.brief, self.id).await.ok()? == 0;
        if alone && unclaimed.len() == 1 { unclaimed.pop().map(|job| job.ticket) } else { None }
    }

    async fn not_found(&mut self, attempt: &Attempt, why: &str) -> Next {
        self.tries.n_failed += 1;
        self.tries.not_before = Some(Instant::now() + self.engine.settings().backoff.unknown(self.tries.n_failed));
        self.tell_attempt(attempt, AttemptEvent::AnswerLost(why.to_owned())).await
    }

    async fn ask(&mut self, generation: Arc<Generation>) -> Next {
        let cancel_now = generation.cancel_requested_at.is_some() && !self.tries.cancel_asked;
        if let Some(at) = self.tries.not_before.filter(|at| *at > Instant::now() && !cancel_now) {
            return self.wait(&generation, Some(at)).await;
        }
        let Some((attempt, provider)) = self.at_work(&generation) else { return self.no_provider(&generation).await };
        let Some(ticket) = attempt.ticket.clone() else {
            return self.not_found(&attempt, "the ticket is missing").await;
        };
        if self.slot.is_none() && generation.state != State::Unresolved {
            self.slot = self.engine.gate(&attempt.model.provider).adopt();
        }
        match provider.poll(&ticket).await {
            Ok(progress) => self.answered(generation, &attempt, &ticket, &*provider, progress).await,
            Err(error) => self.unanswered(generation, &attempt, error).await,
        }
    }

    async fn answered(
        &mut self,
        generation: Arc<Generation>,
        attempt: &Attempt,
        ticket: &Ticket,
        provider: &dyn Provider,
        progress: Progress,
    ) -> Next {
        self.tries.n_answers += 1;
        let usage = progress.usage;
        match progress.status {
            Status::Done(outputs) => {
                let generation = self.tell_attempt(attempt, AttemptEvent::OutputsReady).await?;
                if generation.open_attempt().is_none() {
                    return Ok(generation);
                }
                self.keep(generation, attempt, provider, &outputs, &usage).await
            }
            Status::Failed(failure) => self.failed(attempt, failure.at(&attempt.model.provider), &usage).await,
            Status::Cancelled(charged) => self.tell_attempt(attempt, AttemptEvent::Stopped(charged, usage)).await,
            Status::Waiting | Status::Running => {
                self.tries.n_failed = 0;
                let unknown = generation.state == State::Unresolved;
                let settings = self.engine.settings();
                let pace = settings.pace.after(self.tries.n_answers, progress.poll_after);
                // An overdue job is asked less and less often, down to every ten minutes.
                let wait = if unknown { pace.max(settings.backoff.unknown(self.tries.n_answers)) } else { pace };
                self.tries.not_before = Some(Instant::now() + wait);
                let advance = Advance { phase: progress.phase, percent: progress.percent, log_tail: progress.log_tail };
                let generation = self.tell_progress(generation, attempt, advance).await?;
                if generation.cancel_requested_at.is_some() && !self.tries.cancel_asked {
                    return self.ask_to_stop(generation, attempt, ticket, provider).await;
                }
                Ok(generation)
            }
        }
    }

    async fn ask_to_stop(
        &mut self,
        generation: Arc<Generation>,
        attempt: &Attempt,
        ticket: &Ticket,
        provider: &dyn Provider,
    ) -> Next {
        match provider.cancel(ticket).await {
            Ok(CancelOutcome::Stopped(charged)) => {
                self.tell_attempt(attempt, AttemptEvent::Stopped(charged, Usage::default())).await
            }
            Ok(CancelOutcome::Requested | CancelOutcome::TooLate) => {
                self.tries.cancel_asked = true;
                self.tries.n_answers = 0;
                self.tries.not_before =
                    Some(Instant::now() + self.engine.settings().pace.after(1, Some(Duration::from_millis(250))));
                Ok(generation)
            }
            Ok(CancelOutcome::Unsupported) => {
                self.tries.cancel_asked = true;
                Ok(generation)
            }
            Err(error) => {
                warn!(generation.name = %self.id, "asking to stop failed: {error}");
                self.tries.n_failed += 1;
                let wait = self.engine.settings().backoff.after(self.tries.n_failed, error.retry_after);
                self.wait(&generation, Some(Instant::now() + wait)).await
            }
        }
    }

    async fn unanswered(&mut self, generation: Arc<Generation>, attempt: &Attempt, error: ProviderError) -> Next {
        warn!(generation.name = %self.id, provider.id = %error.provider, kind = ?error.kind, "poll failed: {error}");
        if error.kind == ErrorKind::NoOutput {
            return self
                .failed(attempt, error.to_failure(FailurePhase::Download, Charged::Yes), &Usage::default())
                .await;
        }
        let backoff = self.engine.settings().backoff;
        let limited = error.kind == ErrorKind::RateLimited;
        self.tries.n_failed += 1;
        let unknown = generation.state == State::Unresolved;
        let wait = if unknown {
            backoff.unknown(self.tries.n_failed)
        } else {
            backoff.after(self.tries.n_failed, error.retry_after)
        };
        self.tries.not_before = Some(Instant::now() + wait);
        if error.kind == ErrorKind::TicketUnknown {
            return self.tell_attempt(attempt, AttemptEvent::TicketForgotten(error.summary)).await;
        }
        if self.tries.n_failed > PATIENCE && !limited {
            return self.tell_attempt(attempt, AttemptEvent::Silent(error.summary)).await;
        }
        Ok(generation)
    }

    /// Keeps the outputs of a finished job. On passing trouble the job is polled again for fresh links.
    async fn keep(
        &mut self,
        generation: Arc<Generation>,
        attempt: &Attempt,
        provider: &dyn Provider,
        outputs: &[RemoteOutput],
        usage: &Usage,
    ) -> Next {
        let mut kept = std::mem::take(&mut self.tries.kept);
        let drain = self.engine.drain().clone();
        let outcome = tokio::select! {
            outcome = self.engine.keep_outputs(&generation, attempt.id, provider, outputs, &mut kept) => outcome,
            () = drain.finishing() => return Err(Stop),
        };
        let trouble = match outcome {
            Ok(()) => {
                let usage = measured(usage, &generation, &kept);
                return self.tell_attempt(attempt, AttemptEvent::Stored(kept, usage)).await;
            }
            Err(trouble) => trouble,
        };
        self.tries.kept = kept;
        let failure = |reason, phase, message: String| {
            Failure::new(reason, phase, Charged::Yes, message).at(&attempt.model.provider)
        };
        let (n, wish) = match trouble {
            Trouble::Invalid(why) if self.tries.n_invalid >= 2 => {
                return self
                    .failed(
                        attempt,
                        failure(FailureReason::ArtifactInvalid, FailurePhase::Store, why.to_string()),
                        usage,
                    )
                    .await;
            }
            Trouble::Invalid(why) => {
                warn!(generation.name = %self.id, %why, "an output is invalid, opening it again");
                self.tries.n_invalid += 1;
                (1, None)
            }
            Trouble::TooLarge { max } => {
                let message = format!("an output is larger than {max} bytes");
                return self
                    .failed(attempt, failure(FailureReason::ArtifactTooLarge, FailurePhase::Store, message), usage)
                    .await;
            }
            Trouble::Fetch(error) => {
                warn!(generation.name = %self.id, kind = ?error.kind, "fetching an output failed: {error}");
                self.tries.n_failed += 1;
                (self.tries.n_failed, error.retry_after)
            }
            Trouble::Storage(why) => {
                error!(generation.name = %self.id, "an output cannot be stored now: {why}");
                self.tries.n_failed += 1;
                (self.tries.n_failed, None)
            }
        };
        self.tries.not_before = Some(Instant::now() + self.engine.settings().backoff.after(n, wish));
        Ok(generation)
    }

    /// Keeps outputs that came with the submit answer: there is no job to come back to, so it goes on until they are stored or time is up.
    async fn keep_answer(
        &mut self,
        generation: Arc<Generation>,
        attempt: &Attempt,
        provider: &dyn Provider,
        outputs: &[RemoteOutput],
        usage: &Usage,
    ) -> Next {
        let mut generation = generation;
        loop {
            generation = self.keep(generation, attempt, provider, outputs, usage).await?;
            let settled = generation.open_attempt().is_none_or(|open| open.id != attempt.id);
            let overdue = self.engine.now() >= generation.deadline;
            if settled {
                return Ok(generation);
            }
            if overdue {
                let message = "the outputs of the submit answer could not be stored in time";
                let failure = Failure::new(FailureReason::ArtifactLost, FailurePhase::Download, Charged::Yes, message);
                return self.failed(attempt, failure.at(&attempt.model.provider), usage).await;
            }
            generation = self.wait(&generation, self.tries.not_before).await?;
        }
    }

    async fn no_order(&mut self, generation: &Arc<Generation>, attempt: &Attempt, no_order: NoOrder) -> Next {
        match no_order {
            NoOrder::InputGone(id) => {
                let message = format!("the input {id} was deleted before it was sent");
                let failure =
                    Failure::new(FailureReason::ProviderInvalidOrder, FailurePhase::Submit, Charged::No, message);
                self.failed(attempt, failure.because_of(Some("inputs".to_owned())), &Usage::default()).await
            }
            NoOrder::Unavailable(why) => {
                error!(generation.name = %self.id, "an input cannot be read now: {why}");
                self.tries.n_failed += 1;
                let wait = self.engine.settings().backoff.after(self.tries.n_failed, None);
                self.wait(generation, Some(Instant::now() + wait)).await
            }
        }
    }

    /// The provider lost its credentials since the generation was accepted: it waits for them, as long as its deadlines allow.
    async fn no_provider(&mut self, generation: &Arc<Generation>) -> Next {
        warn!(generation.name = %self.id, "its provider is not configured any more; waiting");
        self.wait(generation, None).await
    }

    async fn failed(&mut self, attempt: &Attempt, failure: Failure, usage: &Usage) -> Next {
        self.tell_attempt(attempt, AttemptEvent::Failed(failure, usage.clone())).await
    }

    async fn tell_progress(&mut self, generation: Arc<Generation>, attempt: &Attempt, advance: Advance) -> Next {
        let same_phase = advance.phase.as_ref().is_none_or(|phase| *phase == generation.phase);
        let recent = self.tries.told_at.is_some_and(|at| at.elapsed() < PROGRESS_PACE);
        if recent && same_phase && generation.state == State::Running {
            return Ok(generation);
        }
        self.tries.told_at = Some(Instant::now());
        self.tell_attempt(attempt, AttemptEvent::Progressed(advance)).await
    }

    async fn tell_attempt(&mut self, attempt: &Attempt, event: AttemptEvent) -> Next {
        self.tell(Event::Attempt(attempt.id, event)).await
    }

    /// Tells the store until it has heard: what happened at a vendor must not be lost because our disk was busy.
    async fn tell(&mut self, event: Event) -> Next {
        let mut pause = STORE_PAUSE;
        loop {
            match self.engine.apply(self.id, event.clone()).await {
                Ok(generation) => {
                    if generation.id != self.id {
                        self.become_driver_of(&generation);
                    }
                    return Ok(generation);
                }
                Err(ApplyError::NotFound) => return Err(Stop),
                Err(ApplyError::Refused { reason, generation }) => {
                    debug!(generation.name = %self.id, %reason, "an event came too late");
                    sleep(Duration::from_millis(10)).await;
                    return Ok(Arc::from(generation));
                }
                Err(ApplyError::Store(error)) => {
                    error!(generation.name = %self.id, error = ?error, "what happened cannot be stored now");
                    let drain = self.engine.drain().clone();
                    tokio::select! {
                        () = sleep(pause) => pause = (pause * 2).min(Duration::from_secs(10)),
                        () = drain.finishing() => return Err(Stop),
                    }
                }
            }
        }
    }

    /// Goes on with the generation that took the job over.
    async fn move_to(&mut self, successor: GenerationId) -> Next {
        match self.engine.store().load(successor).await {
            Ok(Some(generation)) => {
                let generation = Arc::new(generation);
                self.become_driver_of(&generation);
                Ok(generation)
            }
            Ok(None) => Err(Stop),
            Err(error) => {
                error!(generation.name = %successor, error = ?error, "cannot be read now");
                sleep(STORE_PAUSE).await;
                Ok(Arc::clone(&self.own.borrow()))
            }
        }
    }

    fn become_driver_of(&mut self, generation: &Arc<Generation>) {
        self.id = generation.id;
        self.own = self.engine.hub().subscribe(Arc::clone(generation));
    }

    fn at_work(&self, generation: &Generation) -> Option<(Attempt, Arc<dyn Provider>)> {
        let attempt = generation.open_attempt()?.clone();
        let provider = self.engine.provider(&attempt.model.provider)?;
        Some((attempt, provider))
    }

    /// Until `until`, the generation's next time limit, or a change by somebody else; the newest record.
    async fn wait(&mut self, generation: &Arc<Generation>, until: Option<Instant>) -> Next {
        let unresolved_for = self.engine.settings().unresolved_for;
        let limit = match generation.state {
            State::Queued | State::Running => Some(generation.deadline),
            State::Storing | State::Cancelling | State::Unresolved => generation.give_up_at(unresolved_for),
            State::Succeeded | State::Failed | State::Cancelled => return Ok(Arc::clone(generation)),
        };
        let clock = self.engine.clock();
        let limit = limit.map(|limit| clock.instant(limit));
        // Looked at again every hour at the latest, for the wall clock may be set while tokio's goes on.
        let at_latest = Instant::now() + Duration::from_secs(3600);
        let until = [until, limit].into_iter().flatten().fold(at_latest, Instant::min);
        let drain = self.engine.drain().clone();
        if self.own.borrow().sequence <= generation.sequence {
            tokio::select! {
                changed = self.own.changed() => if changed.is_err() { sleep_until(until).await },
                () = sleep_until(until) => {}
                () = drain.finishing() => return Err(Stop),
            }
        }
        let shown = Arc::clone(&self.own.borrow_and_update());
        Ok(if shown.sequence >= generation.sequence { shown } else { Arc::clone(generation) })
    }
}
