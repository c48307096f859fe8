//! Outputs that come with the submit answer exist nowhere else: they are stored durably before anything else. What can be looked at quickly is
//! recorded with the end; what cannot is recorded first, and then looked at.

use std::sync::Arc;

use tokio::time::timeout;
use tracing::error;

use super::{
    super::outputs::{Output, Trouble},
    Driver, Next, Work,
    keep::{QUICK, paid},
};
use crate::{
    domain::{
        artifact::Artifact,
        attempt::{AnsweredOutput, SubmitAnswer},
        failure::{FailurePhase, FailureReason},
        generation::Generation,
        life::AttemptEvent,
        money::Usage,
    },
    failpoint::{self, Point},
    provider::port::RemoteOutput,
};

impl Driver {
    /// Stores what came, for as long as it takes: there is no job to come back to. A crash before that is a lost answer.
    pub(super) async fn answered_at_once(
        &mut self,
        mut generation: Arc<Generation>,
        work: &Work,
        outputs: &[RemoteOutput],
        usage: Usage,
    ) -> Next {
        let mut saved = Vec::with_capacity(outputs.len());
        loop {
            let fresh = &mut self.tries.fresh;
            let reason_and_message = match self.engine.save_answer(work.attempt.id, outputs, &mut saved, fresh).await {
                Ok(()) if saved.is_empty() => {
                    (FailureReason::NoDownloadableOutput, "the answer to the order holds no output".to_owned())
                }
                Ok(()) => {
                    failpoint::reach(Point::AnswerBefore);
                    if let Some(kept) = self.look_quickly(&generation, work, &saved).await {
                        return self.kept(&generation, work, kept, &usage).await;
                    }
                    let answered = AttemptEvent::Answered(SubmitAnswer { outputs: saved, usage });
                    let answered = self.tell_of(work, answered).await;
                    failpoint::reach(Point::AnswerAfter);
                    return answered;
                }
                Err(Trouble::Invalid(why)) => (FailureReason::ArtifactInvalid, why.to_string()),
                Err(Trouble::TooLarge { max }) => {
                    (FailureReason::ArtifactTooLarge, format!("an output is larger than {max} bytes"))
                }
                Err(trouble @ (Trouble::Storage(_) | Trouble::Gone | Trouble::Fetch { .. })) => {
                    error!(generation.name = %self.id, ?trouble, "an output cannot be stored now");
                    self.tries.n_failed += 1;
                    self.rest(self.engine.settings().backoff.after(self.tries.n_failed, None));
                    generation = self.wait(&generation, self.tries.not_before).await?;
                    let is_open = generation.open_attempt().is_some_and(|open| open.id == work.attempt.id);
                    if !is_open {
                        return Ok(generation);
                    }
                    if self.engine.now() < generation.deadline {
                        continue;
                    }
                    (FailureReason::ArtifactLost, "the outputs of the answer could not be stored in time".to_owned())
                }
            };
            let (reason, message) = reason_and_message;
            return self.failed(work, paid(reason, FailurePhase::Store, message), &usage).await;
        }
    }

    /// Makes artifacts of what came with the answer, also after a crash.
    pub(super) async fn keep_answer(&mut self, generation: Arc<Generation>, work: &Work) -> Next {
        let Some(answer) = &work.attempt.answer else {
            // No such record can be written; if one is read, time ends it.
            return self.wait(&generation, None).await;
        };
        let outputs: Vec<Output> = answer.outputs.iter().map(|answered| self.output(answered)).collect();
        self.keep(generation, work, &outputs, &answer.usage).await
    }

    /// The artifacts of an answer that is all stored, if making them needs no more than a quick look. Until they are recorded a death is a lost answer.
    async fn look_quickly(
        &mut self,
        generation: &Generation,
        work: &Work,
        saved: &[AnsweredOutput],
    ) -> Option<Vec<Artifact>> {
        let outputs: Vec<Output> = saved.iter().map(|answered| self.output(answered)).collect();
        if !outputs.iter().all(|output| matches!(output, Output::Fresh(_))) {
            return None;
        }
        let mut kept = Vec::with_capacity(outputs.len());
        let looking = self.engine.keep_outputs(generation, work.attempt.id, &*work.provider, &outputs, &mut kept);
        if let Ok(Ok(())) = timeout(QUICK, looking).await {
            return Some(kept);
        }
        // The rest is for when the answer is recorded; what is wrong with it will be found again.
        self.tries.kept = kept;
        None
    }

    fn output(&self, answered: &AnsweredOutput) -> Output {
        match answered {
            AnsweredOutput::Blob { key, size } => match self.tries.fresh.iter().find(|stored| stored.key == *key) {
                Some(stored) => Output::Fresh(stored.clone()),
                None => Output::Ours { key: key.clone(), size: *size },
            },
            AnsweredOutput::Link(url) => Output::AtVendor(RemoteOutput::Link(url.clone())),
        }
    }
}
