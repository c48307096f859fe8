//! Applying an event: the state machine decides, and everything that follows from its word is written with it.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    Result, artifacts, callbacks, generations, money, retention, sessions,
    statements::{count, execute},
    writer::Work,
};
use crate::{
    domain::{
        attempt::Ticket,
        generation::Generation,
        ledger::movements,
        life::{Applied, AttemptEvent, Event, HandOver, Refused},
        names::GenerationId,
        session::closing_message,
    },
    store::{
        port::{ApplyError, Changes, StoreError},
        rules, sql,
    },
};

pub(super) fn apply(
    work: &mut Work,
    id: GenerationId,
    event: &Event,
    now: Timestamp,
) -> std::result::Result<Changes, ApplyError> {
    let before = target(work, id, event)?.ok_or(ApplyError::NotFound)?;
    if let Some(ending) = rules::handing_over(&before, event, now) {
        let followers = generations::followers(&work.db, before.id)?;
        if !followers.is_empty() {
            return Ok(hand_over(work, &before, followers, ending, now)?);
        }
    }
    let mut generation = Generation::clone(&before);
    let mut applied = generation.apply(event, now);
    let begins_attempt = rules::begins_attempt(&before, &generation);
    let mut taken = false;
    if begins_attempt {
        match (money::take(work, Some(&before), &generation, now)?, event) {
            (Ok(()), _) => taken = true,
            (Err(refused), Event::Resolved(_)) => return Err(refused.into()),
            (Err(refused), _) => {
                generation = Generation::clone(&before);
                applied = generation.apply_barred(event, now, Some(&format!("no further model: {refused}")));
            }
        }
    }
    let entries = match applied {
        Ok(Applied::Changed(entries)) => entries,
        Ok(Applied::Unchanged) => return Ok(Changes { generation, others: Vec::new() }),
        Err(reason) => return Err(ApplyError::Refused { reason, generation: Box::new(Arc::unwrap_or_clone(before)) }),
    };
    if let Event::Attempt(_, AttemptEvent::Accepted(ticket)) = event
        && !claim(&work.db, &generation, ticket)?
    {
        let reason = Refused::WrongState(before.state);
        return Err(ApplyError::Refused { reason, generation: Box::new(Arc::unwrap_or_clone(before)) });
    }
    generations::save(work, &before, &generation, &entries)?;
    settle(work, &[(&before, &generation)], taken, now)?;
    let open = |generation: &Generation| generation.open_attempt().map(|attempt| attempt.id);
    if open(&before) != open(&generation) {
        execute(&work.db, sql::job::CLOSE, [generation.id.id()])?;
    }
    let ends = generation.state.is_terminal() && !before.state.is_terminal();
    let others = if ends { conclude_all(work, &generation, now)? } else { Vec::new() };
    Ok(Changes { generation, others })
}

/// Writes what the changes mean for the ledger and, unless it was taken already, for the budgets.
fn settle(work: &Work, changes: &[(&Generation, &Generation)], taken: bool, now: Timestamp) -> Result<()> {
    let moved: Vec<_> = changes.iter().map(|(before, after)| (*after, movements(Some(before), after))).collect();
    for (generation, moved) in &moved {
        money::enter(&work.db, generation, moved, now)?;
    }
    if taken { Ok(()) } else { money::tell(work, &moved, now) }
}

/// True if another generation has ever held a ticket for the job.
pub(super) fn job_is_claimed(
    db: &Connection,
    (provider, account, job): (&str, &str, &str),
    besides: GenerationId,
) -> Result<bool> {
    Ok(count(db, sql::job::CLAIMED, params![provider, account, job, besides.id()])? > 0)
}

/// The generation that the event is for: what is told about an attempt goes where the attempt went, past those that were deleted on its way.
fn target(work: &Work, id: GenerationId, event: &Event) -> Result<Option<Arc<Generation>>> {
    let follows = match event {
        Event::Attempt(..) | Event::Learned(..) => true,
        Event::CancelRequested | Event::DeadlinePassed | Event::GaveUp | Event::Resolved(_) | Event::LeaderEnded(_) => {
            false
        }
    };
    if !follows {
        return generations::load_to_change(work, id);
    }
    let mut generation = generations::load_to_follow_and_change(work, id)?;
    while let Some(successor) = generation.as_ref().and_then(|generation| generation.successor) {
        generation = generations::load_to_follow_and_change(work, successor)?;
    }
    Ok(generation)
}

/// Records whose job it is; false if another generation's open attempt holds it.
fn claim(db: &Connection, generation: &Generation, ticket: &Ticket) -> Result<bool> {
    let Some(attempt) = generation.open_attempt() else { return Ok(true) };
    let params = params![attempt.model.provider.id(), ticket.account, ticket.job, generation.id.id()];
    Ok(execute(db, sql::job::CLAIM, params)? > 0)
}

fn hand_over(
    work: &mut Work,
    before: &Generation,
    followers: Vec<Generation>,
    ending: HandOver,
    now: Timestamp,
) -> Result<Changes> {
    let (mut leader, mut others) = (before.clone(), followers);
    let Some((next, rest)) = others.split_first_mut() else {
        return Err(StoreError::broken("nobody to hand the job over to"));
    };
    let heir = next.clone();
    let (ended, promoted) = leader.hand_over(next, ending, now).map_err(StoreError::broken)?;
    generations::save(work, before, &leader, &[ended])?;
    generations::save(work, &heir, next, &[promoted])?;
    settle(work, &[(before, &leader), (&heir, next)], false, now)?;
    for follower in rest {
        follower.follow(next.id, now);
        generations::save_keys(work, follower, &[])?;
    }
    execute(&work.db, sql::job::HAND_OVER, [leader.id.id(), next.id.id()])?;
    conclude(work, &leader, now)?;
    Ok(Changes { generation: leader, others })
}

/// Writes what follows from an end, and ends those that share the job; these are returned.
fn conclude_all(work: &mut Work, leader: &Generation, now: Timestamp) -> Result<Vec<Generation>> {
    conclude(work, leader, now)?;
    let mut followers = generations::followers(&work.db, leader.id)?;
    if followers.is_empty() {
        return Ok(followers);
    }
    let event = Event::LeaderEnded(Box::new(leader.clone()));
    for follower in &mut followers {
        let Applied::Changed(entries) = follower.apply(&event, now).map_err(StoreError::broken)? else { continue };
        generations::save_keys(work, follower, &entries)?;
        conclude(work, follower, now)?;
    }
    Ok(followers)
}

/// Writes what follows from an end: the session's closing message, the artifacts, the callback, and what the cache remembers.
fn conclude(work: &mut Work, generation: &Generation, now: Timestamp) -> Result<()> {
    let tenant = &generation.tenant;
    work.unfinished = work.unfinished.saturating_sub(1);
    retention::release_inputs(&work.db, generation)?;
    if let Some(message) = closing_message(generation, now)
        && let Some(mut session) = sessions::find(&work.db, tenant, &generation.session)?
    {
        sessions::append(&work.db, tenant, &mut session, &[message], now)?;
    }
    for artifact in &generation.artifacts {
        artifacts::insert(&work.db, tenant, artifact)?;
    }
    callbacks::put(&work.db, generation, now)?;
    if let Some((digests, scopes)) = rules::remembered(generation) {
        for (digest, scope) in digests.into_iter().flat_map(|digest| scopes.iter().map(move |scope| (digest, scope))) {
            execute(&work.db, sql::cached::PUT, params![tenant.id(), digest, scope, generation.id.id()])?;
        }
    }
    Ok(())
}
