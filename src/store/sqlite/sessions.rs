//! Sessions and their messages as rows.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Result,
    statements::{execute, from_doc, int, rows, to_doc},
};
use crate::{
    domain::{
        names::{SessionId, TenantId},
        session::{Message, Session},
    },
    store::{
        port::{Page, StoreError},
        sql,
    },
};

/// Makes an empty session, or finds the one that has this name.
pub(super) fn create(db: &Connection, tenant: &TenantId, id: &SessionId, now: Timestamp) -> Result<Session> {
    let n_made = execute(db, sql::session::INSERT_NEW, params![tenant.id(), id.id(), now.as_microsecond()])?;
    if n_made > 0 {
        // As it would be read back: microseconds.
        let now = Timestamp::from_microsecond(now.as_microsecond()).map_err(StoreError::broken)?;
        return Ok(Session { id: id.clone(), created_at: now, updated_at: now, n_messages: 0 });
    }
    find(db, tenant, id)?.ok_or_else(|| StoreError::broken("a session that was just made is not there"))
}

pub(super) fn find(db: &Connection, tenant: &TenantId, id: &SessionId) -> Result<Option<Session>> {
    let mut statement = db.prepare_cached(sql::session::FIND)?;
    statement.query_row(params![tenant.id(), id.id()], columns).optional()?.map(from_columns).transpose()
}

pub(super) fn listed(db: &Connection, tenant: &TenantId, page: &Page<(Timestamp, SessionId)>) -> Result<Vec<Session>> {
    let limit = int(page.limit);
    let found = match &page.after {
        None => rows(db, sql::session::NEWEST, params![tenant.id(), limit], columns)?,
        Some((at, id)) => {
            let params = params![tenant.id(), limit, at.as_microsecond(), id.id()];
            rows(db, sql::session::NEWEST_AFTER, params, columns)?
        }
    };
    found.into_iter().map(from_columns).collect()
}

/// Deletes a session, its messages, and the cached answers that only its conversation may use.
pub(super) fn delete(db: &Connection, tenant: &TenantId, id: &SessionId) -> Result<bool> {
    execute(db, sql::session::DELETE_MESSAGES, params![tenant.id(), id.id()])?;
    execute(db, sql::cached::FORGET_SCOPE, params![tenant.id(), id.id()])?;
    Ok(execute(db, sql::session::DELETE, params![tenant.id(), id.id()])? > 0)
}

/// The last `limit` messages, oldest first.
pub(super) fn last_messages(db: &Connection, tenant: &TenantId, session: &Session, limit: u64) -> Result<Vec<Message>> {
    let after = session.n_messages.saturating_sub(limit);
    let found = messages(db, tenant, &session.id, &Page { after: Some(after), limit: usize::MAX })?;
    Ok(found.into_iter().map(|(_, message)| message).collect())
}

pub(super) fn messages(
    db: &Connection,
    tenant: &TenantId,
    id: &SessionId,
    page: &Page<u64>,
) -> Result<Vec<(u64, Message)>> {
    let params = params![tenant.id(), id.id(), int(page.after.unwrap_or_default()), int(page.limit)];
    let found = rows(db, sql::session::MESSAGES, params, |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    found.into_iter().map(|(number, doc): (i64, _)| Ok((count(number)?, from_doc(&doc)?))).collect()
}

/// Appends to a session that is there.
pub(super) fn append(
    db: &Connection,
    tenant: &TenantId,
    session: &mut Session,
    messages: &[Message],
    now: Timestamp,
) -> Result<()> {
    for message in messages {
        session.n_messages += 1;
        let number = int(session.n_messages);
        execute(db, sql::session::INSERT_MESSAGE, params![tenant.id(), session.id.id(), number, to_doc(message)?])?;
    }
    session.updated_at = now.max(session.updated_at);
    let params = params![tenant.id(), session.id.id(), int(session.n_messages), session.updated_at.as_microsecond()];
    execute(db, sql::session::GROW, params).map(drop)
}

type Columns = (String, i64, i64, i64);

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn from_columns((id, created_at, updated_at, n_messages): Columns) -> Result<Session> {
    Ok(Session {
        id: SessionId::from_id(id).map_err(StoreError::broken)?,
        created_at: Timestamp::from_microsecond(created_at).map_err(StoreError::broken)?,
        updated_at: Timestamp::from_microsecond(updated_at).map_err(StoreError::broken)?,
        n_messages: count(n_messages)?,
    })
}

fn count(n: i64) -> Result<u64> {
    u64::try_from(n).map_err(StoreError::broken)
}
