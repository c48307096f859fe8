//! Following a job: one adaptive poll loop, and asking the vendor to stop.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::warn;

use super::{
    super::{outputs::Output, retry::PATIENCE},
    Driver, Next, Work,
};
use crate::{
    domain::{
        attempt::Ticket,
        failure::{Charged, FailurePhase},
        generation::{Generation, State},
        life::{Advance, AttemptEvent},
        money::Usage,
    },
    failpoint::{self, Point},
    provider::{
        error::{ErrorKind, ProviderError},
        port::{CancelOutcome, Progress, Status},
    },
};

/// Progress without news of its own is stored at most this often.
const PROGRESS_PACE: Duration = Duration::from_secs(1);
/// How soon a job is asked about after it was told to stop.
const AFTER_CANCEL: Duration = Duration::from_millis(250);

impl Driver {
    pub(super) async fn ask(&mut self, generation: Arc<Generation>, work: &Work) -> Next {
        let Some(ticket) = &work.attempt.ticket else {
            // No such record can be written; if one is read, time ends it.
            return self.wait(&generation, None).await;
        };
        if self.slot.is_none() && !generation.is_unknown() {
            // A job that an earlier process submitted counts as one at work.
            self.slot = self.engine.gate(&work.attempt.model.provider).adopt(&work.attempt.model);
        }
        failpoint::reach(Point::PollBefore);
        let polled = work.provider.poll(ticket).await;
        failpoint::reach(Point::PollAfter);
        match polled {
            Ok(progress) => self.answered(generation, work, ticket, progress).await,
            Err(error) => self.unanswered(generation, work, error).await,
        }
    }

    async fn answered(
        &mut self,
        generation: Arc<Generation>,
        work: &Work,
        ticket: &Ticket,
        progress: Progress,
    ) -> Next {
        self.tries.n_answers += 1;
        let usage = progress.usage;
        match progress.status {
            Status::Failed(failure) => self.failed(work, failure, &usage).await,
            Status::Cancelled(charged) => self.tell_of(work, AttemptEvent::Stopped(charged, usage)).await,
            Status::Done(outputs) => {
                failpoint::reach(Point::TerminalBefore);
                let outputs: Vec<Output> = outputs.into_iter().map(Output::AtVendor).collect();
                self.keep(generation, work, &outputs, &usage).await
            }
            Status::Waiting | Status::Running => {
                (self.tries.n_failed, self.tries.n_silent) = (0, 0);
                let advance = Advance {
                    phase: progress.phase,
                    percent: progress.percent,
                    queue_position: progress.queue_position,
                    log_tail: progress.log_tail,
                };
                let generation = self.tell_progress(generation, work, advance).await?;
                let settings = self.engine.settings();
                let pace = settings.pace.after(self.tries.n_answers, progress.poll_after);
                // An overdue job is asked less and less often, down to every ten minutes.
                let overdue = generation.state == State::Unresolved;
                self.rest(if overdue { settings.backoff.unknown(self.tries.n_answers) } else { pace });
                if generation.cancel_requested_at.is_some() && !self.tries.cancel_asked {
                    return self.ask_to_stop(generation, work, ticket).await;
                }
                Ok(generation)
            }
        }
    }

    async fn ask_to_stop(&mut self, generation: Arc<Generation>, work: &Work, ticket: &Ticket) -> Next {
        match work.provider.cancel(ticket).await {
            Ok(CancelOutcome::Stopped(charged)) => {
                return self.tell_of(work, AttemptEvent::Stopped(charged, Usage::default())).await;
            }
            Ok(CancelOutcome::Requested | CancelOutcome::TooLate) => {
                self.tries.cancel_asked = true;
                self.tries.n_answers = 0;
                self.rest(AFTER_CANCEL);
            }
            Ok(CancelOutcome::Unsupported) => self.tries.cancel_asked = true,
            Err(error) => {
                warn!(generation.name = %self.id, kind = ?error.kind, "asking to stop failed");
                let n_failed = self.count_failure(&error);
                let wait = self.engine.settings().backoff.after(n_failed, error.retry_after);
                return self.wait(&generation, Some(Instant::now() + wait)).await;
            }
        }
        Ok(generation)
    }

    async fn unanswered(&mut self, generation: Arc<Generation>, work: &Work, error: ProviderError) -> Next {
        warn!(generation.name = %self.id, provider.id = %error.provider, kind = ?error.kind, "poll failed");
        if error.kind == ErrorKind::NoOutput {
            let failure = error.to_failure(FailurePhase::Download, Charged::Yes);
            return self.failed(work, failure, &Usage::default()).await;
        }
        let n_failed = self.count_failure(&error);
        let backoff = self.engine.settings().backoff;
        self.rest(match generation.state {
            State::Unresolved => backoff.unknown(n_failed),
            _ => backoff.after(n_failed, error.retry_after),
        });
        let silent = self.tries.n_silent > PATIENCE;
        match error.kind {
            ErrorKind::TicketUnknown => self.tell_of(work, AttemptEvent::TicketForgotten(error.summary)).await,
            _ if silent => self.tell_of(work, AttemptEvent::Silent(error.summary)).await,
            _ => Ok(generation),
        }
    }

    async fn tell_progress(&mut self, generation: Arc<Generation>, work: &Work, advance: Advance) -> Next {
        let same_phase = advance.phase.as_ref().is_none_or(|phase| *phase == generation.phase);
        let recent = self.tries.told_at.is_some_and(|at| at.elapsed() < PROGRESS_PACE);
        if recent && same_phase && generation.state == State::Running {
            return Ok(generation);
        }
        self.tries.told_at = Some(Instant::now());
        self.tell_of(work, AttemptEvent::Progressed(advance)).await
    }
}
