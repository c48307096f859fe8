//! The steps after the first: each picture of a grid is a task of its own, ordered when the grid is done.
//!
//! Invariants: a step has a mark of its own, and no step is ordered before it was looked for by its mark in a list that reaches back to the grid,
//! which is older than any of its steps. A step whose answer was lost is not ordered again by this process; one that is still missing after a
//! while is given up, and the grid stands for the pictures. A process that begins anew knows of no lost answer, but what an earlier one sent was
//! taken, and is listed, or came to nothing long before.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use crate::provider::{
    error::{Effect, ProviderError, Verdict},
    port::{Progress, RemoteOutput, Status, Ticket},
};

use super::{
    Midjourney,
    body::{self, Action},
    map,
    plan::Plan,
    wire::Task,
};

/// How long a step whose answer was lost may take to show itself.
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
    /// It was sent, and no answer came yet.
    Sent,
    /// It is this task.
    Taken(String),
    /// It will not be.
    Refused,
}

impl Steps {
    fn of(&self, mark: &str) -> Option<(Instant, Step)> {
        self.known().get(mark).cloned()
    }

    fn set(&self, mark: &str, step: Step) {
        let mut known = self.known();
        if known.len() >= MOST
            && let Some(oldest) = known.iter().min_by_key(|(_, (at, _))| *at).map(|(mark, _)| mark.clone())
        {
            known.remove(&oldest);
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
        let is_known = |mark: &String| matches!(self.steps.of(mark), Some((_, Step::Taken(_) | Step::Refused)));
        let listed = if marks.iter().all(is_known) { Vec::new() } else { self.listed().await? };
        let reaches_back = listed.iter().any(|task| task.id.as_deref() == Some(&ticket.job));
        let mut found = Vec::with_capacity(marks.len());
        for (mark, index) in marks.iter().zip(1_u64..) {
            found.push(self.step(ticket, grid, mark, index, &listed, reaches_back).await?);
        }
        self.outcome(plan, grid, &found)
    }

    async fn step(
        &self,
        ticket: &Ticket,
        grid: &Task,
        mark: &str,
        index: u64,
        listed: &[Task],
        reaches_back: bool,
    ) -> Result<Found, ProviderError> {
        if let Some((_, Step::Taken(id))) = self.steps.of(mark) {
            return Ok(Found::Task(Box::new(self.task(&id).await?)));
        }
        if let Some(task) = listed.iter().find(|task| task.state.as_deref() == Some(mark)) {
            if let Some(id) = &task.id {
                self.steps.set(mark, Step::Taken(id.clone()));
            }
            return Ok(Found::Task(Box::new(task.clone())));
        }
        match self.steps.of(mark) {
            Some((at, Step::Sent)) if at.elapsed() < LOST => return Ok(Found::Awaited),
            Some(_) => return Ok(Found::Gone),
            None if !reaches_back => return Ok(Found::Gone),
            None => {}
        }
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
                    return Ok(Found::Gone);
                }
            },
        }
        Ok(Found::Awaited)
    }

    /// The pictures that were made, once no further one can come; the grid if there is none.
    fn outcome(&self, plan: &Plan, grid: &Task, found: &[Found]) -> Result<Progress, ProviderError> {
        let mut outputs: Vec<RemoteOutput> = Vec::new();
        let (mut done, mut is_over) = (0, true);
        for step in found {
            match step {
                Found::Awaited => is_over = false,
                Found::Gone => done += 100,
                Found::Task(task) => {
                    match map::progress(&self.id, task, &Plan { n_pictures: 0, ..plan.clone() })?.status {
                        Status::Done(pictures) => {
                            done += 100;
                            outputs.extend(pictures);
                        }
                        Status::Failed(_) | Status::Cancelled(_) => done += 100,
                        Status::Waiting | Status::Running => {
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
            outputs = map::outputs(&self.id, grid, &Plan { n_pictures: 0, ..plan.clone() })?;
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

/// The part of the whole that a task with steps behind it makes up.
pub(super) fn of_whole(percent: Option<u8>) -> Option<u8> {
    percent.and_then(|percent| u8::try_from(u32::from(percent) * OF_GRID / 100).ok())
}
