//! Waiting for the end of what was ordered, for calls that answer with the outputs themselves.
//!
//! Whoever hangs up leaves the job running. The SDKs send the call again then, and after most errors: the same body attaches to the same job while
//! it is in flight and finds its result afterwards, so what is said here only has to keep them from asking in vain.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use tokio::time::timeout;
use tracing::{Span, field};

use super::{Door, names::Names, problem::Problem};
use crate::{
    domain::generation::{Generation, State},
    door::{accept::Ordering, caller::Caller, refusal::Refusal},
    engine::{Watch, error::Error, view::View},
};

/// The generation that an answer comes from, `generations/{id}`.
pub(super) const GENERATION: HeaderName = HeaderName::from_static("x-filmgate-generation");

/// At its deadline a generation ends or is said to be unresolved; only what is being stored then may take longer, and is waited for so much more.
const GRACE: Duration = Duration::from_secs(60);

/// What was ordered by a call that waits for it.
#[derive(Debug)]
pub(super) struct Made {
    watch: Watch,
    accepted: Arc<Generation>,
    names: Names,
    repeats_are_free: bool,
    patience: Duration,
}

impl Door {
    /// As [`Door::order`], for a caller that waits for the outputs.
    pub(super) async fn make<R: Ordering>(&self, caller: Caller, request: R, names: Names) -> Result<Made, Problem> {
        let repeats_are_free = request.repeats_are_free();
        let admitted = self.order(caller, request, |field| names.of(field)).await?;
        let accepted = Arc::clone(&admitted.view.generation);
        Span::current().record("generation.name", field::display(&accepted.id));
        let left = accepted.deadline.duration_since(self.engine.now());
        let patience = Duration::try_from(left).unwrap_or_default() + GRACE;
        let watch = self.engine.watch_admitted(&admitted).await;
        let watch = watch.map_err(|error| again(refused(error, &accepted), repeats_are_free))?;
        Ok(Made { watch, accepted, names, repeats_are_free, patience })
    }
}

impl Made {
    /// The name of the generation, as a header.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.accepted.id.to_string()).ok()
    }

    /// The generation when it has succeeded; what to tell the caller if it ends otherwise, or is not known to end.
    pub(super) async fn end(mut self) -> Result<Arc<Generation>, Problem> {
        let waited = timeout(self.patience, self.watched()).await;
        let ended = waited.unwrap_or_else(|_| {
            let id = self.accepted.id;
            Err(Problem::unresolved(format!(
                "{id} has not ended in time and goes on. Sending the same call again waits for it further."
            )))
        });
        ended.map_err(|problem| again(problem, self.repeats_are_free))
    }

    async fn watched(&mut self) -> Result<Arc<Generation>, Problem> {
        loop {
            match self.watch.next().await {
                Some(Ok(view)) => {
                    if let Some(ended) = self.ended(view) {
                        return ended;
                    }
                }
                Some(Err(error)) => return Err(refused(error, &self.accepted)),
                None => return Err(refused(Error::GenerationNotFound, &self.accepted)),
            }
        }
    }

    /// What there is to tell; nothing as long as it goes on.
    fn ended(&self, View { generation, leader, .. }: View) -> Option<Result<Arc<Generation>, Problem>> {
        let id = generation.id;
        match generation.state {
            State::Succeeded => Some(Ok(generation)),
            State::Failed => Some(Err(match &generation.failure {
                Some(failure) => Problem::failed(failure, |field| self.names.of(field)),
                None => Problem::unresolved(format!("{id} failed, and why is not known.")),
            })),
            State::Cancelled => Some(Err(Problem::conflict("generation_cancelled", format!("{id} was cancelled.")))),
            State::Unresolved => Some(Err(unresolved(&generation))),
            State::Queued | State::Running | State::Storing | State::Cancelling => {
                // Its job is another one's, of which the same is unknown.
                let job = leader.filter(|leader| leader.state == State::Unresolved)?;
                Some(Err(unresolved(&job)))
            }
        }
    }
}

/// A paid order whose end is not known: whoever sends another one may pay twice.
fn unresolved(generation: &Generation) -> Problem {
    let why = generation.unresolved.as_ref().map(|unknown| format!(": {}", unknown.message)).unwrap_or_default();
    Problem::unresolved(format!(
        "What became of {} at its provider is not known{why}. It is asked after further, and a late result is kept: the same call sent again \
         attaches to it.",
        generation.id
    ))
}

fn refused(error: Error, generation: &Generation) -> Problem {
    Refusal::about(&generation.id)(error).into()
}

/// An order whose repetition would be another one must not be sent again by a program.
fn again(problem: Problem, repeats_are_free: bool) -> Problem {
    if repeats_are_free { problem } else { problem.never_again() }
}
