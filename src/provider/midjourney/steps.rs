//! The steps after the first: each picture of a grid is a task of its own, ordered when the grid is done.
//!
//! Invariants: a step has a mark of its own, and is ordered only by a process that followed the order since before its grid was done, so that nobody
//! else can have ordered it. That a step is in no list proves nothing: lists are short, lag, or are missing altogether. So a process that finds a
//! finished grid it knows nothing of takes the steps that show themselves by their marks, and orders none; a step whose answer was lost is awaited
//! in the same way. What does not show itself for a while is given up, and the grid stands for the pictures.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use crate::provider::{
    error::{Effect, ErrorKind, ProviderError, Verdict},
    port::{Progress, RemoteOutput, Status, Ticket},
};

use super::{
    Midjourney,
    body::{self, Action},
    map,
    plan::Plan,
    wire::Task,
};

/// How long a step that may have been ordered may take to show itself, and how long after it last asked a process still knows that nobody else did.
const LOST: Duration = Duration::from_secs(60);
/// Steps remembered.
const MOST: usize = 4096;
/// How much of the whole is done with the grid, in percent.
const OF_GRID: u32 = 80;

/// What is known of steps that this process ordered, by their marks.
#[derive(Debug, Default)]
pub(super) struct Steps(Mutex<HashMap<String, (Instant, Step)>>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Of an order: this process follows it since before its grid was done.
    Followed,
    /// It was sent, or may have been, and no answer came yet.
    Sent,
    /// It is this task.
    Taken(String),
    /// It will not be; of an order, none of its steps will.
    Refused,
}

impl Steps {
    fn of(&self, mark: &str) -> Option<(Instant, Step)> {
        self.known().get(mark).cloned()
    }

    /// From now on this process may order the steps of the order that is known by `mark`, as no other can have.
    pub(super) fn follow(&self, mark: &str) {
        if !matches!(self.of(mark), Some((_, Step::Refused))) {
            self.set(mark, Step::Followed);
        }
    }

    /// No further step of the order that is known by `mark` will be ordered.
    pub(super) fn stop(&self, mark: &str) {
        self.set(mark, Step::Refused);
    }

    fn is_followed(&self, mark: &str) -> bool {
        matches!(self.of(mark), Some((at, Step::Followed)) if at.elapsed() < LOST)
    }

    fn set(&self, mark: &str, step: Step) {
        let mut known = self.known();
        if known.len() >= MOST
            && let Some(oldest) = known.iter().min_by_key(|(_, (at, _))| *at).map(|(mark, _)| mark.clone())
        {
            known.remove(&oldest);
            // Of an order whose steps are not all known it is not known either which may still be ordered.
            known.remove(order_of(&oldest));
        }
        known.insert(mark.to_owned(), (Instant::now(), step));
    }

    fn forget(&self, mark: &str) {
        self.known().remove(mark);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, (Instant, Step)>> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of one step now.
#[derive(Debug)]
enum Found {
    Task(Box<Task>),
    /// It will show itself.
    Awaited,
    /// It will not be.
    Gone,
}

impl Midjourney {
    /// The pictures of a finished `grid`, one task each: orders those that are missing, and says how far they are.
    pub(super) async fn pictures(&self, ticket: &Ticket, plan: &Plan, grid: &Task) -> Result<Progress, ProviderError> {
        let marks: Vec<String> = (1..=plan.n_pictures).map(|index| format!("{}/U{index}", plan.mark)).collect();
        let is_followed = self.steps.is_followed(&plan.mark);
        if is_followed {
            self.steps.follow(&plan.mark);
        }
        let must_show_itself = |mark: &String| match self.steps.of(mark) {
            Some((_, Step::Taken(_) | Step::Refused)) => false,
            Some((_, Step::Sent | Step::Followed)) => true,
            None => !is_followed,
        };
        let listed =
            if marks.iter().any(must_show_itself) { self.listed().await?.unwrap_or_default() } else { Vec::new() };
        let mut found = Vec::with_capacity(marks.len());
        for (mark, index) in marks.iter().zip(1_u64..) {
            found.push(match self.seen(mark, &listed).await? {
                Some(found) => found,
                None if is_followed => self.order_step(ticket, grid, mark, index).await,
                None if matches!(self.steps.of(&plan.mark), Some((_, Step::Refused))) => Found::Gone,
                None => {
                    self.steps.set(mark, Step::Sent);
                    Found::Awaited
                }
            });
        }
        self.outcome(plan, grid, &found)
    }

    /// What is known of a step; nothing if this process has not heard of it.
    async fn seen(&self, mark: &str, listed: &[Task]) -> Result<Option<Found>, ProviderError> {
        let known = self.steps.of(mark);
        if let Some((at, Step::Taken(id))) = &known {
            return match self.task(id).await {
                Ok(task) => Ok(Some(Found::Task(Box::new(task)))),
                // It was forgotten, or is not written down yet. The order's own task is known all the same.
                Err(error) if error.kind == ErrorKind::TicketUnknown => Ok(Some(awaited_since(*at))),
                Err(error) => Err(error),
            };
        }
        if let Some(task) = listed.iter().find(|task| task.state.as_deref() == Some(mark)) {
            if let Some(id) = &task.id {
                self.steps.set(mark, Step::Taken(id.clone()));
            }
            return Ok(Some(Found::Task(Box::new(task.clone()))));
        }
        Ok(known.map(|(at, step)| if step == Step::Sent { awaited_since(at) } else { Found::Gone }))
    }

    async fn order_step(&self, ticket: &Ticket, grid: &Task, mark: &str, index: u64) -> Found {
        let (path, mut body) = body::of_action(grid, &ticket.job, Action::Upscale, index);
        body.insert("state".to_owned(), Value::from(mark));
        self.steps.set(mark, Step::Sent);
        match self.submitted(path, &body, &[]).await {
            Ok((id, _)) => self.steps.set(mark, Step::Taken(id)),
            Err(error) if error.effect == Effect::Maybe => {}
            Err(error) => match error.verdict() {
                // It certainly was not taken: it is ordered again with the next question.
                Verdict::RetryAfter(_) | Verdict::AskFirst => self.steps.forget(mark),
                Verdict::GiveUp => {
                    self.steps.set(mark, Step::Refused);
                    return Found::Gone;
                }
            },
        }
        Found::Awaited
    }

    /// The pictures that were made, once no further one can come; the grid if there is none.
    fn outcome(&self, plan: &Plan, grid: &Task, found: &[Found]) -> Result<Progress, ProviderError> {
        let mut outputs: Vec<RemoteOutput> = Vec::new();
        let (mut done, mut is_over) = (0, true);
        let single = Plan { n_pictures: 0, ..plan.clone() };
        for step in found {
            match step {
                Found::Awaited => is_over = false,
                Found::Gone => done += 100,
                Found::Task(task) => {
                    match map::progress(&self.id, task, &single).map(|progress| progress.status) {
                        Ok(Status::Done(pictures)) => {
                            done += 100;
                            outputs.extend(pictures);
                        }
                        // One that shows no picture takes the others nothing.
                        Ok(Status::Failed(_) | Status::Cancelled(_)) | Err(_) => done += 100,
                        Ok(Status::Waiting | Status::Running) => {
                            done += u32::from(task.percent().unwrap_or(0));
                            is_over = false;
                        }
                    }
                }
            }
        }
        let n_steps = u32::try_from(found.len()).unwrap_or(1).max(1);
        if !is_over {
            let percent = OF_GRID + done / n_steps * (99 - OF_GRID) / 100;
            let phase = Some("UPSCALE".to_owned());
            return Ok(Progress { phase, percent: u8::try_from(percent).ok(), ..Progress::of(Status::Running) });
        }
        if outputs.is_empty() {
            outputs = map::outputs(&self.id, grid, &single)?;
        }
        let mut progress = Progress::of(Status::Done(Vec::new()));
        progress.usage.outputs = u32::try_from(outputs.len()).ok();
        Ok(Progress { status: Status::Done(outputs), percent: Some(100), ..progress })
    }

    /// Says yes to a task that asks whether it is meant so, as it was ordered. As long as it asks, no yes was heard.
    pub(super) async fn confirm(&self, ticket: &Ticket, plan: &Plan, task: &Task) -> Result<(), ProviderError> {
        let mark = format!("{}/modal", plan.mark);
        if self.steps.of(&mark).is_some_and(|(at, _)| at.elapsed() < LOST) {
            return Ok(());
        }
        let prompt = task.prompt.as_deref().unwrap_or_default();
        let body = [("taskId", ticket.job.as_str()), ("prompt", prompt)];
        let body = body.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
        self.steps.set(&mark, Step::Sent);
        self.submitted("modal", &body, &[prompt]).await.map(drop)
    }
}

/// The mark of the order that a step's mark belongs to.
fn order_of(mark: &str) -> &str {
    mark.split_once('/').map_or(mark, |(order, _)| order)
}

fn awaited_since(at: Instant) -> Found {
    if at.elapsed() < LOST { Found::Awaited } else { Found::Gone }
}

/// The part of the whole that a task with steps behind it makes up.
pub(super) fn of_whole(percent: Option<u8>) -> Option<u8> {
    percent.and_then(|percent| u8::try_from(u32::from(percent) * OF_GRID / 100).ok())
}
