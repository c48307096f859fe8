//! The vendor is done: its outputs become ours before anybody hears of a success.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::{error, warn};

use super::{
    super::outputs::{Output, Trouble, measured},
    Driver, Next, Stop, Work,
};
use crate::{
    artifact::GRACE,
    domain::{
        artifact::Artifact,
        attempt::AttemptStage,
        failure::{Charged, Failure, FailurePhase, FailureReason},
        generation::{Generation, State},
        life::AttemptEvent,
        money::Usage,
    },
    failpoint::{self, Point},
    provider::error::{ErrorKind, ProviderError},
};

/// What takes longer than this to fetch or to look at is shown as being stored. What is quicker is told together with the end, which saves a
/// write; a death before that has a job asked about again.
pub(super) const QUICK: Duration = Duration::from_millis(250);
/// How often an invalid output is opened again before it is believed.
const N_REOPENED: u32 = 2;

/// How fetching went.
enum Fetched {
    /// All outputs are ours.
    All,
    /// One is not.
    Not(Trouble),
    /// Somebody else has ended the attempt.
    Overtaken,
}

impl Driver {
    /// Keeps the outputs of a finished job. After passing trouble the job is polled again for fresh links.
    pub(super) async fn keep(
        &mut self,
        mut generation: Arc<Generation>,
        work: &Work,
        outputs: &[Output],
        usage: &Usage,
    ) -> Next {
        let mut kept = std::mem::take(&mut self.tries.kept);
        // What was stored long ago without a row may be swept at any time: it is fetched again.
        let oldest = self.engine.now().checked_sub(GRACE / 2).unwrap_or_default();
        if kept.iter().any(|artifact| artifact.created_at < oldest) {
            kept.clear();
        }
        match self.fetch(&mut generation, work, outputs, &mut kept).await? {
            Fetched::All => self.kept(&generation, work, kept, usage).await,
            Fetched::Not(trouble) => {
                self.tries.kept = kept;
                // From here on it may take long, and however it ends: the job was done.
                if !self.show_storing(&mut generation, work).await? {
                    return Ok(generation);
                }
                self.not_kept(generation, work, trouble, usage).await
            }
            Fetched::Overtaken => Ok(generation),
        }
    }

    /// All outputs are ours.
    pub(super) async fn kept(
        &mut self,
        generation: &Generation,
        work: &Work,
        kept: Vec<Artifact>,
        usage: &Usage,
    ) -> Next {
        let usage = measured(usage, generation, &kept);
        failpoint::reach(Point::SettleBefore);
        self.tell_of(work, AttemptEvent::Stored(kept, usage)).await
    }

    /// Fetches what `kept` lacks, for as long as the job is ours: that may take minutes.
    async fn fetch(
        &mut self,
        generation: &mut Arc<Generation>,
        work: &Work,
        outputs: &[Output],
        kept: &mut Vec<Artifact>,
    ) -> Result<Fetched, Stop> {
        // Of what is unknown or cancelled somebody may want to know at once that it is done.
        if generation.state != State::Running && !self.show_storing(generation, work).await? {
            return Ok(Fetched::Overtaken);
        }
        let (engine, begun) = (self.engine.clone(), Arc::clone(generation));
        let drain = engine.drain().clone();
        let mut fetching = pin!(engine.keep_outputs(&begun, work.attempt.id, &*work.provider, outputs, kept));
        let mut quick = pin!(sleep(QUICK));
        let mut is_shown = generation.is_storing();
        loop {
            tokio::select! {
                outcome = &mut fetching => return Ok(outcome.map_or_else(Fetched::Not, |()| Fetched::All)),
                () = &mut quick, if !is_shown => {
                    is_shown = true;
                    if !self.show_storing(generation, work).await? {
                        return Ok(Fetched::Overtaken);
                    }
                }
                () = self.at_work.nudged() => if !self.is_ours().await { return Err(Stop) },
                () = drain.finishing() => return Err(Stop),
            }
        }
    }

    /// Shows that the provider is done, if that is not known yet. False if somebody else has ended the attempt.
    async fn show_storing(&mut self, generation: &mut Arc<Generation>, work: &Work) -> Result<bool, Stop> {
        if !generation.is_storing() {
            *generation = self.tell_of(work, AttemptEvent::OutputsReady).await?;
            failpoint::reach(Point::TerminalAfter);
        }
        Ok(generation.open_attempt().is_some_and(|open| open.id == work.attempt.id))
    }

    /// True if the same output broke off after the same number of bytes each time it was opened: no bad connection does that, so the
    /// announced length is wrong.
    fn breaks_off_here_always(&mut self, error: &ProviderError, received: u64) -> bool {
        let broken = matches!(error.kind, ErrorKind::Transport | ErrorKind::Timeout) && received > 0;
        let index = self.tries.kept.len();
        let n_before = match self.tries.broke_off {
            Some((at, bytes, n)) if (at, bytes) == (index, received) => n,
            Some(_) | None => 0,
        };
        self.tries.broke_off = broken.then_some((index, received, n_before + 1));
        broken && n_before >= N_REOPENED
    }

    /// True if there is no job that could be asked for a fresh address.
    fn is_out_of_reach(&self, work: &Work, error: &ProviderError) -> bool {
        let has_no_job = work.attempt.stage == AttemptStage::Answered;
        has_no_job && error.kind == ErrorKind::LinkExpired && self.tries.n_invalid >= N_REOPENED
    }

    async fn not_kept(&mut self, generation: Arc<Generation>, work: &Work, trouble: Trouble, usage: &Usage) -> Next {
        let (n, wish) = match trouble {
            Trouble::Invalid(why) if self.tries.n_invalid >= N_REOPENED => {
                let failure = paid(FailureReason::ArtifactInvalid, FailurePhase::Store, why.to_string());
                return self.failed(work, failure, usage).await;
            }
            Trouble::Fetch { error, received } if self.breaks_off_here_always(&error, received) => {
                let why =
                    format!("an output broke off after {received} bytes each time, short of its announced length");
                return self.failed(work, paid(FailureReason::ArtifactInvalid, FailurePhase::Store, why), usage).await;
            }
            Trouble::Invalid(why) => {
                warn!(generation.name = %self.id, %why, "an output is invalid, opening it again");
                self.tries.n_invalid += 1;
                (self.tries.n_invalid, None)
            }
            Trouble::TooLarge { max } => {
                let message = format!("an output is larger than {max} bytes");
                return self
                    .failed(work, paid(FailureReason::ArtifactTooLarge, FailurePhase::Store, message), usage)
                    .await;
            }
            Trouble::Fetch { error, .. } if error.kind == ErrorKind::Protocol && self.tries.n_invalid >= N_REOPENED => {
                return self.failed(work, error.to_failure(FailurePhase::Download, Charged::Yes), usage).await;
            }
            Trouble::Fetch { error, .. } if self.is_out_of_reach(work, &error) => {
                let message = "the address of an output came to its end, and nobody can be asked for another";
                return self
                    .failed(work, paid(FailureReason::ArtifactLost, FailurePhase::Download, message), usage)
                    .await;
            }
            Trouble::Gone => {
                let message = "an output that was stored is gone";
                return self.failed(work, paid(FailureReason::ArtifactLost, FailurePhase::Store, message), usage).await;
            }
            Trouble::Fetch { error, .. } => {
                // A link that may not be followed is as good as an invalid output: fresh ones are asked for, but not for ever.
                self.tries.n_invalid += u32::from(matches!(error.kind, ErrorKind::Protocol | ErrorKind::LinkExpired));
                warn!(generation.name = %self.id, kind = ?error.kind, "fetching an output failed");
                self.tries.n_failed += 1;
                (self.tries.n_failed, error.retry_after)
            }
            Trouble::Storage(why) => {
                error!(generation.name = %self.id, "an output cannot be stored now: {why}");
                self.tries.n_failed += 1;
                (self.tries.n_failed, None)
            }
        };
        self.rest(self.engine.settings().backoff.after(n, wish));
        Ok(generation)
    }
}

pub(super) fn paid(reason: FailureReason, phase: FailurePhase, message: impl Into<String>) -> Failure {
    Failure::new(reason, phase, Charged::Yes, message)
}
