//! Applying an event: the state machine decides, and everything that follows from its word is written with it.

use jiff::Timestamp;

use super::{
    Postgres, Result,
    ends::Ends,
    generations,
    generations::Stored,
    locks, money,
    owners::Hints,
    statements::{Statement, values},
    work::Work,
};
use crate::{
    domain::{
        attempt::Ticket,
        generation::Generation,
        ledger::movements,
        life::{Applied, AttemptEvent, Event, HandOver, Refused},
        names::GenerationId,
        order::CachePolicy,
    },
    store::{
        port::{ApplyError, Changes, Claim, StoreError},
        rules, sql,
    },
};

pub(super) async fn apply(
    store: &Postgres,
    mut work: Work,
    id: GenerationId,
    event: &Event,
    claim: Option<Claim>,
    now: Timestamp,
) -> std::result::Result<Changes, ApplyError> {
    lock_order(&mut work, id, event).await?;
    let before = target(&mut work, id, event).await?.ok_or(ApplyError::NotFound)?;
    if claim.is_some() && claim != before.claim_of(&store.process) {
        return Err(ApplyError::Lost);
    }
    if let Some(ending) = rules::handing_over(&before.generation, event, now) {
        let followers = generations::followers_locked(&mut work, before.generation.id).await?;
        if !followers.is_empty() {
            return Ok(hand_over(store, work, before, followers, ending, now).await?);
        }
    }
    let mut after = before.clone();
    let mut applied = after.generation.apply(event, now);
    let mut taken = false;
    if rules::begins_attempt(&before.generation, &after.generation) {
        let took = money::take(&mut work, &store.budgets, Some(&before.generation), &after.generation, now).await?;
        match (took, event) {
            (Ok(()), _) => taken = true,
            (Err(refused), Event::Resolved(_)) => return Err(refused.into()),
            (Err(refused), _) => {
                after = before.clone();
                let why = format!("no further model: {refused}");
                applied = after.generation.apply_barred(event, now, Some(&why));
            }
        }
    }
    let entries = match applied {
        Ok(Applied::Changed(entries)) => entries,
        Ok(Applied::Unchanged) => return Ok(Changes { generation: after.generation, others: Vec::new() }),
        Err(reason) => return Err(refused(reason, before)),
    };
    generations::save(&mut work, &after, &entries)?;
    if let Event::Attempt(_, AttemptEvent::Accepted(ticket)) = event
        && !claim_job(&mut work, &after.generation, ticket).await?
    {
        return Err(refused(Refused::WrongState(before.generation.state), before));
    }
    let open = |stored: &Stored| stored.generation.open_attempt().map(|attempt| attempt.id);
    if open(&before) != open(&after) {
        work.write(Statement::shared(sql::job::CLOSE, values![after.generation.id.id()]));
    }
    let ends = after.generation.state.is_terminal() && !before.generation.state.is_terminal();
    let followers = if ends { conclude_all(&mut work, &after.generation, now).await? } else { Vec::new() };
    let mut hints = Hints::default();
    std::iter::once(&after).chain(&followers).for_each(|changed| hints.add(&store.process, changed));
    hints.write(&mut work);
    settle(store, &mut work, &[(&before.generation, &after.generation)], taken, now);
    work.commit().await?;
    let others: Vec<Generation> = followers.into_iter().map(|stored| stored.generation).collect();
    if ends {
        store.unfinished.shrink(1 + others.len() as u64);
    }
    Ok(Changes { generation: after.generation, others })
}

/// Writes what the changes mean for the ledger and, unless it was taken already, for the budgets.
fn settle(store: &Postgres, work: &mut Work, changes: &[(&Generation, &Generation)], taken: bool, now: Timestamp) {
    let moved: Vec<_> = changes.iter().map(|(before, after)| (*after, movements(Some(before), after))).collect();
    for (generation, moved) in &moved {
        money::enter(work, generation, moved, now);
    }
    if !taken {
        money::tell(work, &store.budgets, &moved, now);
    }
}

fn refused(reason: Refused, before: Stored) -> ApplyError {
    ApplyError::Refused { reason, generation: Box::new(before.generation) }
}

/// Whoever may hand a job over locks its order first, as acceptances do: otherwise an order that comes at the same time sees neither the old
/// leader nor the new one, and buys again. Whether it will hand over is not known before its row is locked, and that comes later.
async fn lock_order(work: &mut Work, id: GenerationId, event: &Event) -> Result<()> {
    match event {
        Event::CancelRequested | Event::DeadlinePassed => {}
        Event::Attempt(..) | Event::Learned(..) | Event::GaveUp | Event::Resolved(_) | Event::LeaderEnded(_) => {
            return Ok(());
        }
    }
    let Some(Stored { generation, .. }) = generations::load(work, id).await? else { return Ok(()) };
    if let Some(key) = &generation.cache_key
        && generation.cache == CachePolicy::Default
        && !generation.state.is_terminal()
    {
        work.write(locks::order(&generation.tenant, &key.digest));
    }
    Ok(())
}

/// The generation that the event is for, locked: what is told about an attempt goes where the attempt went, past those that were deleted
/// on its way.
async fn target(work: &mut Work, id: GenerationId, event: &Event) -> Result<Option<Stored>> {
    let follows = match event {
        Event::Attempt(..) | Event::Learned(..) => true,
        Event::CancelRequested | Event::DeadlinePassed | Event::GaveUp | Event::Resolved(_) | Event::LeaderEnded(_) => {
            false
        }
    };
    let mut found = generations::load_locked(work, id).await?;
    if !follows {
        return Ok(found.filter(|found| !found.deleted));
    }
    while let Some(successor) = found.as_ref().and_then(|found| found.generation.successor) {
        found = generations::load_locked(work, successor).await?;
    }
    Ok(found)
}

/// Records whose job it is; false if another generation's open attempt holds it.
async fn claim_job(work: &mut Work, generation: &Generation, ticket: &Ticket) -> Result<bool> {
    let Some(attempt) = generation.open_attempt() else { return Ok(true) };
    let provider = attempt.model.provider.id();
    let values = values![provider, ticket.account.as_str(), ticket.job.as_str(), generation.id.id()];
    Ok(work.ask(Statement::shared(sql::job::CLAIM, values)).await?.n_changed > 0)
}

async fn hand_over(
    store: &Postgres,
    mut work: Work,
    mut leader: Stored,
    mut followers: Vec<Stored>,
    ending: HandOver,
    now: Timestamp,
) -> Result<Changes> {
    let mut hints = Hints::default();
    std::iter::once(&leader).chain(&followers).for_each(|changed| hints.add(&store.process, changed));
    let before = leader.generation.clone();
    let Some((next, rest)) = followers.split_first_mut() else {
        return Err(StoreError::broken("nobody to hand the job over to"));
    };
    let heir = next.generation.clone();
    let ended = leader.generation.hand_over(&mut next.generation, ending, now);
    let (ended, promoted) = ended.map_err(StoreError::broken)?;
    generations::save(&mut work, &leader, &[ended])?;
    generations::save(&mut work, next, &[promoted])?;
    generations::give_claim(&mut work, next, &leader);
    for follower in rest {
        follower.generation.follow(next.generation.id, now);
        generations::save_keys(&mut work, follower)?;
    }
    work.write(Statement::shared(sql::job::HAND_OVER, values![leader.generation.id.id(), next.generation.id.id()]));
    let mut ends = Ends::default();
    ends.add(&leader.generation, now);
    ends.write(&mut work, now)?;
    // It has a new owner, who is told as well as the one before.
    hints.add(&store.process, next);
    hints.write(&mut work);
    settle(store, &mut work, &[(&before, &leader.generation), (&heir, &next.generation)], false, now);
    work.commit().await?;
    store.unfinished.shrink(1);
    Ok(Changes {
        generation: leader.generation,
        others: followers.into_iter().map(|stored| stored.generation).collect(),
    })
}

/// Writes what follows from an end, and ends those that share the job; these are returned.
async fn conclude_all(work: &mut Work, leader: &Generation, now: Timestamp) -> Result<Vec<Stored>> {
    let mut followers = generations::followers_locked(work, leader.id).await?;
    let mut ends = Ends::default();
    ends.add(leader, now);
    let event = Event::LeaderEnded(Box::new(leader.clone()));
    for follower in &mut followers {
        let Applied::Changed(entries) = follower.generation.apply(&event, now).map_err(StoreError::broken)? else {
            continue;
        };
        generations::save(work, follower, &entries)?;
        ends.add(&follower.generation, now);
    }
    ends.write(work, now)?;
    Ok(followers)
}

/// True if another generation has ever held a ticket for the job.
pub(super) async fn job_is_claimed(
    mut work: Work,
    (provider, account, job): (&str, &str, &str),
    besides: GenerationId,
) -> Result<bool> {
    let values = values![provider, account, job, besides.id()];
    Ok(work.ask(Statement::shared(sql::job::CLAIMED, values)).await?.count()? > 0)
}

/// How many others have an intent without a ticket for what was asked.
pub(super) async fn lost_submits(mut work: Work, asked: &str, besides: GenerationId) -> Result<u64> {
    work.ask(Statement::shared(sql::generation::COUNT_SUBMITTING, values![asked, besides.id()])).await?.count()
}
