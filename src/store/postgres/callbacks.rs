//! Callbacks as rows.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{
    Result, dialect, generations,
    statements::{Statement, column, int, values},
    work::Work,
};
use crate::{
    domain::{
        callback::{Callback, CallbackError, host},
        generation::Generation,
        names::{GenerationId, TenantId},
    },
    store::{
        port::{CallbackClaim, DueCallback, RedeliverError},
        rows::CallbackRow,
        rules, sql,
    },
};

/// Makes the callback of a generation due, if it has one.
pub(super) fn put(work: &mut Work, generation: &Generation, now: Timestamp) {
    if let Some(url) = &generation.callback_url {
        let values = values![generation.id.id(), host(url), now.as_microsecond()];
        work.write(Statement::shared(sql::callback::PUT, values));
    }
}

pub(super) async fn claim(mut work: Work, claim: &CallbackClaim) -> Result<Vec<DueCallback>> {
    let (now, until) = (claim.now.as_microsecond(), claim.until.as_microsecond());
    let values = values![now, until, rules::listed(&claim.besides), int(claim.limit)];
    let claimed = work.ask(Statement::own(dialect::CLAIM_CALLBACKS, values)).await?;
    let claimed = claimed.rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    let ids: Vec<String> = claimed.iter().map(|row| row.generation.clone()).collect();
    let records = generations::stored(&work.ask(Statement::own(dialect::LOAD_MANY, values![ids])).await?)?;
    work.commit().await?;
    let mut records: HashMap<String, Generation> =
        records.into_iter().map(|record| (record.generation.id.id(), record.generation)).collect();
    let mut due = Vec::with_capacity(claimed.len());
    for row in claimed {
        // Deleting a generation deletes its callback, so it is there.
        if let Some(generation) = records.remove(&row.generation)
            && let Some(url) = generation.callback_url.clone()
        {
            due.push(DueCallback { generation, url, callback: row.callback()? });
        }
    }
    Ok(due)
}

pub(super) async fn tried(
    mut work: Work,
    id: GenerationId,
    claimed_until: Timestamp,
    after: &Callback,
) -> Result<bool> {
    let values = values![
        id.id(),
        claimed_until.as_microsecond(),
        after.state.as_str(),
        i64::from(after.n_tries),
        after.last_status.map(i64::from),
        after.last_error.map(CallbackError::as_str),
        after.next_at.map(Timestamp::as_microsecond),
        after.delivered_at.map(Timestamp::as_microsecond),
    ];
    let n_changed = work.ask(Statement::shared(sql::callback::TRIED, values)).await?.n_changed;
    work.commit().await?;
    Ok(n_changed > 0)
}

pub(super) async fn redeliver(
    mut work: Work,
    tenant: &TenantId,
    id: GenerationId,
    now: Timestamp,
) -> std::result::Result<Callback, RedeliverError> {
    let found = work.ask(Statement::own(dialect::OF_TENANT_LOCKED, values![tenant.id(), id.id()])).await?;
    let generation: Generation = found.find()?.ok_or(RedeliverError::NotFound)?;
    if generation.callback_url.is_none() {
        return Err(RedeliverError::NoCallback);
    }
    if !generation.state.is_terminal() {
        return Err(RedeliverError::Unfinished(generation.state));
    }
    put(&mut work, &generation, now);
    work.commit().await?;
    Ok(Callback::due(now))
}

pub(super) async fn of_tenant(mut work: Work, tenant: &TenantId, id: GenerationId) -> Result<Option<Callback>> {
    let [generation, callback] = work
        .ask_all([
            Statement::shared(sql::generation::FIND, values![tenant.id(), id.id()]),
            Statement::shared(sql::callback::FIND, values![id.id()]),
        ])
        .await?;
    if generation.rows.is_empty() {
        return Ok(None);
    }
    callback.rows.first().map(|row| read(row)?.callback()).transpose()
}

fn read(row: &Row) -> Result<CallbackRow> {
    Ok(CallbackRow {
        generation: column(row, 0)?,
        state: column(row, 1)?,
        n_tries: column(row, 2)?,
        since: column(row, 3)?,
        last_status: column(row, 4)?,
        last_error: column(row, 5)?,
        due_at: column(row, 6)?,
        delivered_at: column(row, 7)?,
    })
}
