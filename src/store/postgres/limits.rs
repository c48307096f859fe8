//! Limits that all processes keep together: whoever sends to a provider with a limit counts under its lock, and the intent is stored before the
//! lock is gone. Times are those of the database, because the clocks of processes differ.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Postgres, Result, apply, dialect, locks,
    statements::{Statement, int, values},
    work::Work,
};
use crate::{
    domain::{generation::Generation, life::Event, names::GenerationId},
    store::{
        port::{ApplyError, Bound, Claim, Intended, Limit, Limits, StoreError},
        rules::{self, Rate},
        sql,
    },
};

pub(super) async fn intend(
    store: &Postgres,
    mut work: Work,
    (id, event, claim): (GenerationId, &Event, Option<Claim>),
    limits: &Limits,
    now: Timestamp,
) -> std::result::Result<Intended, ApplyError> {
    let provider = limits.model.provider.id();
    let is_limited = |limit: Limit| limit != Limit::default();
    if is_limited(limits.of_provider) || is_limited(limits.of_model) {
        // One lock for all of its models, so that the order of locks is no question.
        work.write(locks::provider(provider));
    }
    let [clock, paused] = work
        .ask_all([
            Statement::own(dialect::CLOCK, values![]),
            Statement::shared(sql::limit::PAUSED, values![provider, 0]),
        ])
        .await?;
    let clock = Timestamp::from_microsecond(clock.number()?).map_err(StoreError::broken)?;
    if let Some(wait) = rules::until(paused.first()?, clock) {
        return Ok(Intended::Wait(Bound::Provider, Some(wait)));
    }
    if let Some(bound) = has_no_place(&mut work, limits).await? {
        return Ok(Intended::Wait(bound, None));
    }
    let rates = Rate::all(limits);
    for rate in &rates {
        if let Some(wait) = must_wait(&mut work, rate, clock).await? {
            return Ok(Intended::Wait(rate.bound, Some(wait)));
        }
    }
    for rate in rates {
        work.write(Statement::shared(sql::limit::SEND, values![rate.name, clock.as_microsecond()]));
    }
    apply::apply(store, work, id, event, claim, now).await.map(Box::new).map(Intended::Stored)
}

/// Whose places are all taken, by jobs of all processes.
async fn has_no_place(work: &mut Work, limits: &Limits) -> Result<Option<Bound>> {
    let model = limits.model.to_string();
    let provider = limits.model.provider.id();
    for (most, bound, count) in [
        (limits.of_provider.concurrency, Bound::Provider, Statement::own(dialect::AT_PROVIDER, values![provider])),
        (limits.of_model.concurrency, Bound::Model, Statement::own(dialect::AT_MODEL, values![provider, model])),
    ] {
        if let Some(most) = most
            && work.ask(count).await?.count()? >= most
        {
            return Ok(Some(bound));
        }
    }
    Ok(None)
}

async fn must_wait(work: &mut Work, rate: &Rate, now: Timestamp) -> Result<Option<Duration>> {
    let since = rules::counted_since(now);
    work.write(Statement::shared(sql::limit::FORGET_SENDS, values![rate.name.as_str(), since]));
    let values = values![rate.name.as_str(), since, int(rate.most.saturating_sub(1))];
    let oldest = work.ask(Statement::shared(sql::limit::SENT, values)).await?;
    Ok(rules::may_send_after(oldest.first()?, now))
}

/// `until` by the clock of this process; stored by that of the database.
pub(super) async fn pause(mut work: Work, provider: &str, wait: Duration) -> Result<()> {
    work.write(Statement::own(dialect::PAUSE, values![provider, int(wait.as_micros())]));
    work.commit().await
}

pub(super) async fn latest_successes(mut work: Work, limit: usize) -> Result<Vec<Generation>> {
    work.ask(Statement::shared(sql::generation::LATEST_SUCCESSES, values![int(limit)])).await?.list()
}
