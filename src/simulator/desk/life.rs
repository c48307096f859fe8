//! How far a job is, as a pure function of time: no timer and no task moves it.
//!
//! All times are measured from the job's creation.

use std::{fmt::Write as _, time::Duration};

/// What was decided for a job when it was made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Time in `starting`.
    pub(crate) boot: Duration,
    /// Time in `processing`, unless `pace` says otherwise.
    pub(crate) run: Duration,
    pub(crate) ending: Ending,
    pub(crate) pace: Pace,
    pub(crate) cancelling: Cancelling,
    /// The caller's `Cancel-After`.
    pub(crate) deadline: Option<Duration>,
    /// From the end until the data is removed.
    pub(crate) retention: Duration,
}

/// How a job ends if nobody interferes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Succeeded,
    Failed(String),
    /// Stopped by the vendor while running.
    Canceled,
    /// Given up by the vendor before it ran.
    Aborted,
    /// Never leaves `starting`.
    StuckStarting,
    /// Never leaves `processing`.
    StuckProcessing,
}

/// What moves a job on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Clock,
    /// Waits in `processing` until released, then ends at once.
    Held,
}

/// What a cancel request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelling {
    Honoured,
    Ignored,
}

/// What happened to a job from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    pub(crate) canceled: Option<Duration>,
    pub(crate) released: Option<Duration>,
}

/// Where a job is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stage {
    Starting,
    /// `done` is between 0 and 1.
    Processing {
        done: f64,
    },
    Ended(End),
}

/// How and when a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) at: Duration,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Succeeded,
    Failed(String),
    Canceled,
    Aborted,
}

impl Stage {
    /// The status in the words of Replicate, which are also those of the control side.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Processing { .. } => "processing",
            Self::Ended(End { outcome, .. }) => match outcome {
                Outcome::Succeeded => "succeeded",
                Outcome::Failed(_) => "failed",
                Outcome::Canceled => "canceled",
                Outcome::Aborted => "aborted",
            },
        }
    }
}

impl Plan {
    /// Where the job is after `elapsed`.
    pub(crate) fn stage(&self, marks: Marks, elapsed: Duration) -> Stage {
        if let Some(end) = self.end(marks)
            && elapsed >= end.at
        {
            return Stage::Ended(end);
        }
        if elapsed < self.boot || self.ending == Ending::StuckStarting {
            return Stage::Starting;
        }
        let done = match self.pace {
            Pace::Clock if self.run > Duration::ZERO => (elapsed - self.boot).div_duration_f64(self.run).min(0.95),
            Pace::Clock | Pace::Held => 0.5,
        };
        Stage::Processing { done }
    }

    /// The job's end, if it is known by now to have one. A cancel counts only before the job ended by itself.
    pub(crate) fn end(&self, marks: Marks) -> Option<End> {
        let natural = self.natural_end(marks);
        let deadline = self.deadline.map(|at| {
            let starting = at < self.boot || self.ending == Ending::StuckStarting;
            End { at, outcome: if starting { Outcome::Aborted } else { Outcome::Canceled } }
        });
        let canceled = match self.cancelling {
            Cancelling::Honoured => marks.canceled.map(|at| End { at, outcome: Outcome::Canceled }),
            Cancelling::Ignored => None,
        };
        // The job's own end comes first in the list, so that it wins a tie.
        [natural, canceled, deadline].into_iter().flatten().min_by_key(|end| end.at)
    }

    fn natural_end(&self, marks: Marks) -> Option<End> {
        let outcome = match &self.ending {
            Ending::Succeeded => Outcome::Succeeded,
            Ending::Failed(text) => Outcome::Failed(text.clone()),
            Ending::Canceled => Outcome::Canceled,
            Ending::Aborted => return Some(End { at: self.boot, outcome: Outcome::Aborted }),
            Ending::StuckStarting | Ending::StuckProcessing => return None,
        };
        let at = match self.pace {
            Pace::Clock => self.boot + self.run,
            Pace::Held => marks.released?.max(self.boot),
        };
        Some(End { at, outcome })
    }

    /// When the job began to run, if it has by `elapsed`.
    pub(crate) fn started(&self, marks: Marks, elapsed: Duration) -> Option<Duration> {
        match self.stage(marks, elapsed) {
            Stage::Starting => None,
            Stage::Processing { .. } => Some(self.boot),
            Stage::Ended(End { outcome: Outcome::Aborted, .. }) => None,
            Stage::Ended(end) => {
                let ran = end.at >= self.boot && self.ending != Ending::StuckStarting;
                ran.then_some(self.boot)
            }
        }
    }

    /// The log at this stage: one progress line per step so far, of twenty.
    pub(crate) fn logs(&self, stage: &Stage) -> String {
        let done = match stage {
            Stage::Starting => return String::new(),
            Stage::Processing { done } => *done,
            Stage::Ended(End { outcome: Outcome::Succeeded, .. }) => 1.0,
            Stage::Ended(End { outcome: Outcome::Aborted, .. }) => return String::new(),
            Stage::Ended(end @ End { outcome: Outcome::Failed(_) | Outcome::Canceled, .. }) => {
                let ran = end.at.saturating_sub(self.boot);
                if self.run > ran { ran.div_duration_f64(self.run) } else { 0.5 }
            }
        };
        progress_lines(done, self.run)
    }
}

const STEPS: u32 = 20;

/// The lines of the usual Python progress bar, which vendors' clients parse.
fn progress_lines(done: f64, run: Duration) -> String {
    let mut logs = String::from("Running inference...\n");
    let reached = (1..=STEPS).take_while(|step| f64::from(*step) <= done * f64::from(STEPS));
    for step in std::iter::once(0).chain(reached) {
        let bar: String = (0..10).map(|cell| if cell * 2 < step { '█' } else { ' ' }).collect();
        let spent = run.mul_f64(f64::from(step) / f64::from(STEPS)).as_secs();
        let percent = step * 100 / STEPS;
        // Writing to a String cannot fail.
        let _ = writeln!(logs, "{percent:3}%|{bar}| {step}/{STEPS} [{:02}:{:02}]", spent / 60, spent % 60);
    }
    logs
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn plan() -> Plan {
        Plan {
            boot: SECOND,
            run: 10 * SECOND,
            ending: Ending::Succeeded,
            pace: Pace::Clock,
            cancelling: Cancelling::Honoured,
            deadline: None,
            retention: 3600 * SECOND,
        }
    }

    fn ended(at: Duration, outcome: Outcome) -> Stage {
        Stage::Ended(End { at, outcome })
    }

    #[test]
    fn a_job_starts_runs_and_succeeds() {
        let check = |elapsed, expected| assert_eq!(plan().stage(Marks::default(), elapsed), expected);
        check(Duration::ZERO, Stage::Starting);
        check(6 * SECOND, Stage::Processing { done: 0.5 });
        check(11 * SECOND, ended(11 * SECOND, Outcome::Succeeded));
        check(99 * SECOND, ended(11 * SECOND, Outcome::Succeeded));
    }

    #[test]
    fn logs_only_grow_and_end_at_a_hundred_percent() {
        let logs = |seconds: u32| plan().logs(&plan().stage(Marks::default(), seconds * SECOND));
        assert_eq!(logs(0), "");
        for second in 1..11 {
            assert!(logs(second + 1).starts_with(&logs(second)), "at {second} s");
        }
        assert!(logs(11).contains("100%|██████████| 20/20"), "{}", logs(11));
        assert!(logs(6).trim_end().ends_with("50%|█████     | 10/20 [00:05]"), "{}", logs(6));
    }

    #[test]
    fn a_cancel_ends_a_running_job_but_not_a_finished_one() {
        let canceled = |at| Marks { canceled: Some(at), released: None };
        assert_eq!(plan().stage(canceled(3 * SECOND), 20 * SECOND), ended(3 * SECOND, Outcome::Canceled));
        assert_eq!(plan().stage(canceled(12 * SECOND), 20 * SECOND), ended(11 * SECOND, Outcome::Succeeded));
        let deaf = Plan { cancelling: Cancelling::Ignored, ..plan() };
        assert_eq!(deaf.stage(canceled(3 * SECOND), 20 * SECOND), ended(11 * SECOND, Outcome::Succeeded));
    }

    #[test]
    fn a_deadline_aborts_before_the_start_and_cancels_after_it() {
        let check = |plan: &Plan, expected| assert_eq!(plan.stage(Marks::default(), 60 * SECOND), expected);
        check(&Plan { deadline: Some(5 * SECOND), ..plan() }, ended(5 * SECOND, Outcome::Canceled));
        let stuck = Plan { deadline: Some(5 * SECOND), ending: Ending::StuckStarting, ..plan() };
        check(&stuck, ended(5 * SECOND, Outcome::Aborted));
        assert_eq!(stuck.started(Marks::default(), 60 * SECOND), None);
    }

    #[test]
    fn a_held_job_waits_for_its_release() {
        let held = Plan { pace: Pace::Held, boot: Duration::ZERO, ..plan() };
        assert_eq!(held.stage(Marks::default(), 9999 * SECOND), Stage::Processing { done: 0.5 });
        let released = Marks { canceled: None, released: Some(40 * SECOND) };
        assert_eq!(held.stage(released, 40 * SECOND), ended(40 * SECOND, Outcome::Succeeded));
    }

    #[test]
    fn a_stuck_job_never_ends_unless_canceled() {
        let stuck = Plan { ending: Ending::StuckProcessing, ..plan() };
        assert_eq!(stuck.stage(Marks::default(), 9999 * SECOND), Stage::Processing { done: 0.95 });
        assert_eq!(stuck.end(Marks::default()), None);
        let canceled = Marks { canceled: Some(20 * SECOND), released: None };
        assert_eq!(stuck.stage(canceled, 20 * SECOND), ended(20 * SECOND, Outcome::Canceled));
    }
}
