//! Callbacks as rows.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Result, generations,
    statements::{execute, int, rows},
};
use crate::{
    domain::{
        callback::{Callback, CallbackError, host},
        generation::Generation,
        names::{GenerationId, TenantId},
    },
    store::{
        port::{CallbackClaim, DueCallback, RedeliverError, StoreError},
        rows::CallbackRow,
        rules, sql,
    },
};

/// Makes the callback of a generation due, if it has one.
pub(super) fn put(db: &Connection, generation: &Generation, now: Timestamp) -> Result<()> {
    let Some(url) = &generation.callback_url else { return Ok(()) };
    execute(db, sql::callback::PUT, params![generation.id.id(), host(url), now.as_microsecond()]).map(drop)
}

pub(super) fn claim(db: &Connection, claim: &CallbackClaim) -> Result<Vec<DueCallback>> {
    let (now, until) = (claim.now.as_microsecond(), claim.until.as_microsecond());
    let params = params![now, until, rules::listed(&claim.besides), int(claim.limit)];
    let mut due = Vec::new();
    for stored in rows(db, sql::callback::CLAIM, params, read)? {
        let id = GenerationId::from_id(&stored.generation).map_err(StoreError::broken)?;
        // Deleting a generation deletes its callback, so it is there.
        if let Some(generation) = generations::load(db, id)?
            && let Some(url) = generation.callback_url.clone()
        {
            due.push(DueCallback { generation, url, callback: stored.callback()? });
        }
    }
    Ok(due)
}

pub(super) fn tried(db: &Connection, id: GenerationId, claimed_until: Timestamp, after: &Callback) -> Result<bool> {
    let params = params![
        id.id(),
        claimed_until.as_microsecond(),
        after.state.as_str(),
        after.n_tries,
        after.last_status,
        after.last_error.map(CallbackError::as_str),
        after.next_at.map(Timestamp::as_microsecond),
        after.delivered_at.map(Timestamp::as_microsecond),
    ];
    Ok(execute(db, sql::callback::TRIED, params)? > 0)
}

pub(super) fn redeliver(
    db: &Connection,
    tenant: &TenantId,
    id: GenerationId,
    now: Timestamp,
) -> std::result::Result<Callback, RedeliverError> {
    let generation = generations::of_tenant(db, tenant, id)?.ok_or(RedeliverError::NotFound)?;
    if generation.callback_url.is_none() {
        return Err(RedeliverError::NoCallback);
    }
    if !generation.state.is_terminal() {
        return Err(RedeliverError::Unfinished(generation.state));
    }
    put(db, &generation, now)?;
    Ok(Callback::due(now))
}

pub(super) fn of_tenant(db: &Connection, tenant: &TenantId, id: GenerationId) -> Result<Option<Callback>> {
    if generations::of_tenant(db, tenant, id)?.is_none() {
        return Ok(None);
    }
    let mut statement = db.prepare_cached(sql::callback::FIND)?;
    let stored = statement.query_row([id.id()], read).optional()?;
    stored.map(CallbackRow::callback).transpose()
}

fn read(row: &Row<'_>) -> rusqlite::Result<CallbackRow> {
    Ok(CallbackRow {
        generation: row.get(0)?,
        state: row.get(1)?,
        n_tries: row.get(2)?,
        since: row.get(3)?,
        last_status: row.get(4)?,
        last_error: row.get(5)?,
        due_at: row.get(6)?,
        delivered_at: row.get(7)?,
    })
}
