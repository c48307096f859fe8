//! Handing the order over: a place, the intent, the call, the ticket — stored in this order, so that a crash anywhere is understood later.

use std::{sync::Arc, time::Duration};

use tracing::{error, warn};

use super::{
    super::{outputs::NoOrder, plan::Step, retry::PATIENCE},
    Driver, Next, Stop, Tries, Work,
};
use crate::{
    domain::{
        failure::{Charged, Failure, FailurePhase, FailureReason},
        generation::Generation,
        life::{AttemptEvent, Event},
        money::Usage,
        names::SubmitKey,
    },
    failpoint::{self, Point},
    provider::{
        error::{ErrorKind, ProviderError, Verdict},
        port::{Order, Submitted},
    },
};

/// How soon a process whose lease is over looks again whether it may send.
const LEASE_PAUSE: Duration = Duration::from_millis(500);

impl Driver {
    /// Waits for a place at the provider, without losing it to snapshots that change nothing.
    pub(super) async fn queue(&mut self, mut generation: Arc<Generation>, work: &Work) -> Next {
        let gate = self.engine.gate(&work.attempt.model.provider);
        let mut rests = gate.breaker().changes();
        let mut entered = std::pin::pin!(gate.enter(self.id, &work.attempt.model));
        loop {
            if let Some(failure) = self.may_leave(&generation, work) {
                return self.failed(work, failure, &Usage::default()).await;
            }
            tokio::select! {
                biased;
                slot = &mut entered => {
                    self.slot = Some(slot);
                    return Ok(generation);
                }
                // The gate keeps the other end.
                _ = rests.changed() => {}
                now = self.wait(&generation, None) => {
                    generation = now?;
                    if self.plan(&generation) != Step::Submit {
                        return Ok(generation);
                    }
                }
            }
        }
    }

    /// Why a provider that rests need not be waited for: a later model of the route is at one that works. Nothing was sent, so that is safe.
    fn may_leave(&self, generation: &Generation, work: &Work) -> Option<Failure> {
        let provider = &work.attempt.model.provider;
        let outlook = &self.engine.catalog().outlook;
        let later = generation.candidates.iter().skip(work.attempt.candidate + 1);
        let mut others = later.filter(|candidate| !candidate.stand_in);
        self.engine.gate(provider).breaker().resting_until()?;
        others.find(|other| !outlook.rests(&other.model.provider))?;
        let message = format!("{provider} gets no new work now, for its last calls failed");
        let reason = FailureReason::ProviderUnreachable;
        Some(Failure::new(reason, FailurePhase::Submit, Charged::No, message))
    }

    pub(super) async fn submit(&mut self, generation: Arc<Generation>, work: &Work) -> Next {
        let mut order = match self.engine.order(&generation).await {
            Ok(order) => order,
            Err(no_order) => return self.no_order(&generation, work, no_order).await,
        };
        if self.engine.drain().is_finishing() {
            // A place that became free because others leave is no invitation: what is sent now could not be waited for.
            return Err(Stop);
        }
        let Some(grant) = self.engine.lease().grant() else {
            // Another process may be about to send it; the next heartbeat will tell.
            self.rest(LEASE_PAUSE);
            return Ok(generation);
        };
        let key = SubmitKey::fresh();
        failpoint::reach(Point::IntentBefore);
        let intent = Event::Attempt(work.attempt.id, AttemptEvent::Submitting(key));
        let limits = self.engine.limits_of(&work.attempt.model);
        let intended = self.tell_within(intent, Some(&limits)).await?;
        failpoint::reach(Point::IntentAfter);
        let Some(attempt) = intended.open_attempt().filter(|open| open.submit_key == Some(key)).cloned() else {
            // A limit holds it back, or somebody ended it while the intent was on its way: nothing may be sent.
            self.slot = None;
            return Ok(intended);
        };
        if let Some(slot) = &mut self.slot {
            slot.let_others_ask();
        }
        let work = Work { attempt, ..work.clone() };
        if self.engine.lease().grant() != Some(grant) {
            // This process stood still since. Whoever has the job now believes that it was sent; if that is still us, we know better.
            self.rest(LEASE_PAUSE);
            let why = "the process stood still before it was sent".to_owned();
            return self.tell_of(&work, AttemptEvent::Postponed(FailureReason::ProviderUnreachable, why)).await;
        }
        order.webhook = self.engine.webhook_of(&intended);
        let submitted = work.provider.submit(&order, &key).await;
        if let Some(slot) = &mut self.slot {
            slot.was_answered();
        }
        match submitted {
            Ok(Submitted::Pending(ticket)) => {
                self.tries = Tries::default();
                self.rest(self.engine.settings().pace.after(1, None));
                failpoint::reach(Point::TicketBefore);
                let accepted = self.tell_of(&work, AttemptEvent::Accepted(ticket)).await;
                failpoint::reach(Point::TicketAfter);
                accepted
            }
            Ok(Submitted::Done(outputs, usage)) => self.answered_at_once(intended, &work, &outputs, usage).await,
            Err(error) => self.submit_failed(&intended, &work, &order, error).await,
        }
    }

    async fn submit_failed(
        &mut self,
        generation: &Arc<Generation>,
        work: &Work,
        order: &Order,
        error: ProviderError,
    ) -> Next {
        let ProviderError { kind, effect, .. } = error;
        // Here and below the summary stays out of the log: it quotes the vendor, who may quote the prompt. The record has it.
        warn!(generation.name = %self.id, provider.id = %error.provider, ?kind, ?effect, "submit failed");
        match error.verdict() {
            Verdict::AskFirst if kind == ErrorKind::NoJobId => {
                self.look_for(generation, work, order, AttemptEvent::Unnamed(error.summary)).await
            }
            Verdict::AskFirst => self.look_for(generation, work, order, AttemptEvent::AnswerLost(error.summary)).await,
            Verdict::GiveUp => self.refused(work, &error).await,
            Verdict::RetryAfter(wish) => {
                let n_failed = self.count_failure(&error);
                if let Some(wish) = wish {
                    self.engine.pause(&work.attempt.model, wish).await;
                }
                let another = generation.candidates.len() > work.attempt.candidate + 1;
                // A limit passes by itself; a provider that cannot be reached, or one with an alternative, is not waited for forever.
                if self.tries.n_silent > PATIENCE || another && n_failed > PATIENCE {
                    return self.refused(work, &error).await;
                }
                self.rest(self.engine.settings().backoff.after(n_failed, wish));
                // Somebody else may use its place meanwhile, and it asks for one again like all who wait.
                self.slot = None;
                let reason = error.to_failure(FailurePhase::Submit, Charged::No).reason;
                self.tell_of(work, AttemptEvent::Postponed(reason, error.summary)).await
            }
        }
    }

    async fn refused(&mut self, work: &Work, error: &ProviderError) -> Next {
        self.failed(work, error.to_failure(FailurePhase::Submit, error.charged), &Usage::default()).await
    }

    async fn no_order(&mut self, generation: &Arc<Generation>, work: &Work, no_order: NoOrder) -> Next {
        match no_order {
            NoOrder::InputGone(id) => {
                let message = format!("the input {id} was deleted before it was sent");
                let reason = FailureReason::ProviderInvalidOrder;
                let failure = Failure::new(reason, FailurePhase::Submit, Charged::No, message);
                self.failed(work, failure.because_of(Some("inputs".to_owned())), &Usage::default()).await
            }
            NoOrder::Unavailable(why) => {
                error!(generation.name = %self.id, "an input cannot be read now: {why}");
                self.tries.n_failed += 1;
                self.rest(self.engine.settings().backoff.after(self.tries.n_failed, None));
                Ok(Arc::clone(generation))
            }
        }
    }
}
