//! Pauses and rates. Places are counted by the only process there is.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::{
    Result, apply,
    statements::{execute, int, list},
    writer::Work,
};
use crate::{
    domain::{generation::Generation, life::Event, names::GenerationId},
    store::{
        port::{ApplyError, Bound, Intended, Limits},
        rules::{self, Rate},
        sql,
    },
};

pub(super) fn intend(
    work: &mut Work,
    id: GenerationId,
    event: &Event,
    limits: &Limits,
    now: Timestamp,
) -> std::result::Result<Intended, ApplyError> {
    let provider = limits.model.provider.id();
    let paused = first(work, sql::limit::PAUSED, params![provider, now.as_microsecond()])?;
    if let Some(wait) = rules::until(paused, now) {
        return Ok(Intended::Wait(Bound::Provider, Some(wait)));
    }
    let rates = Rate::all(limits);
    for rate in &rates {
        if let Some(wait) = must_wait(work, rate, now)? {
            return Ok(Intended::Wait(rate.bound, Some(wait)));
        }
    }
    let changes = apply::apply(work, id, event, now)?;
    for rate in &rates {
        execute(&work.db, sql::limit::SEND, params![rate.name, now.as_microsecond()])?;
    }
    Ok(Intended::Stored(Box::new(changes)))
}

fn must_wait(work: &Work, rate: &Rate, now: Timestamp) -> Result<Option<Duration>> {
    let since = rules::counted_since(now);
    execute(&work.db, sql::limit::FORGET_SENDS, params![rate.name, since])?;
    let oldest = first(work, sql::limit::SENT, params![rate.name, since, int(rate.most.saturating_sub(1))])?;
    Ok(rules::may_send_after(oldest, now))
}

pub(super) fn pause(work: &Work, provider: &str, until: Timestamp) -> Result<()> {
    execute(&work.db, sql::limit::PAUSE, params![provider, until.as_microsecond()]).map(drop)
}

pub(super) fn latest_successes(db: &rusqlite::Connection, limit: usize) -> Result<Vec<Generation>> {
    list(db, sql::generation::LATEST_SUCCESSES, params![int(limit)])
}

fn first(work: &Work, text: &str, params: impl rusqlite::Params) -> Result<Option<i64>> {
    Ok(work.db.prepare_cached(text)?.query_row(params, |row| row.get(0)).optional()?)
}
