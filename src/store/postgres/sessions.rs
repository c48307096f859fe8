//! Sessions and their messages as rows.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{
    Result, dialect, locks,
    statements::{Statement, column, from_doc, int, to_doc, unsigned, values},
    work::Work,
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
pub(super) async fn create(mut work: Work, tenant: &TenantId, id: &SessionId, now: Timestamp) -> Result<Session> {
    work.write(locks::session(tenant, id));
    ensure(&mut work, tenant, id, now);
    let found = find_in(&mut work, tenant, id).await?;
    work.commit().await?;
    found.ok_or_else(|| StoreError::broken("a session that was just made is not there"))
}

/// Makes an empty session unless there is one. The caller holds its lock.
pub(super) fn ensure(work: &mut Work, tenant: &TenantId, id: &SessionId, now: Timestamp) {
    work.write(Statement::shared(sql::session::INSERT_NEW, values![tenant.id(), id.id(), now.as_microsecond()]));
}

pub(super) async fn find(mut work: Work, tenant: &TenantId, id: &SessionId) -> Result<Option<Session>> {
    find_in(&mut work, tenant, id).await
}

/// As `find`, within other work.
pub(super) async fn find_in(work: &mut Work, tenant: &TenantId, id: &SessionId) -> Result<Option<Session>> {
    let found = work.ask(Statement::shared(sql::session::FIND, values![tenant.id(), id.id()])).await?;
    found.rows.first().map(from_row).transpose()
}

pub(super) async fn listed(
    mut work: Work,
    tenant: &TenantId,
    page: &Page<(Timestamp, SessionId)>,
) -> Result<Vec<Session>> {
    let mut values = values![tenant.id(), int(page.limit)];
    let text = match &page.after {
        None => sql::session::NEWEST,
        Some((at, id)) => {
            values.extend(values![at.as_microsecond(), id.id()]);
            sql::session::NEWEST_AFTER
        }
    };
    work.ask(Statement::shared(text, values)).await?.rows.iter().map(from_row).collect()
}

/// Deletes a session, its messages, and the cached answers that only its conversation may use.
pub(super) async fn delete(mut work: Work, tenant: &TenantId, id: &SessionId) -> Result<bool> {
    // First the row, which those who append to it change first.
    work.write(locks::session(tenant, id));
    let deleted = work.ask(Statement::shared(sql::session::DELETE, values![tenant.id(), id.id()])).await?;
    work.write(Statement::shared(sql::session::DELETE_MESSAGES, values![tenant.id(), id.id()]));
    work.write(Statement::shared(sql::cached::FORGET_SCOPE, values![tenant.id(), id.id()]));
    work.commit().await?;
    Ok(deleted.n_changed > 0)
}

pub(super) async fn messages(
    mut work: Work,
    tenant: &TenantId,
    id: &SessionId,
    page: &Page<u64>,
) -> Result<Vec<(u64, Message)>> {
    let values = values![tenant.id(), id.id(), int(page.after.unwrap_or_default()), int(page.limit)];
    let found = work.ask(Statement::shared(sql::session::MESSAGES, values)).await?;
    found.rows.iter().map(|row| Ok((unsigned(column(row, 0)?)?, from_doc(column(row, 1)?)?))).collect()
}

/// Asks for the last messages, newest first.
pub(super) fn last_messages(tenant: &TenantId, id: &SessionId, limit: i64) -> Statement {
    Statement::own(dialect::LAST_MESSAGES, values![tenant.id(), id.id(), limit])
}

/// Appends, if the session is there.
pub(super) fn append(
    work: &mut Work,
    tenant: &TenantId,
    id: &SessionId,
    messages: &[Message],
    now: Timestamp,
) -> Result<()> {
    let docs: Vec<String> = messages.iter().map(to_doc).collect::<Result<_>>()?;
    let values = values![tenant.id(), id.id(), int(docs.len()), now.as_microsecond(), docs];
    work.write(Statement::own(dialect::APPEND, values));
    Ok(())
}

fn from_row(row: &Row) -> Result<Session> {
    let time = |index| Timestamp::from_microsecond(column(row, index)?).map_err(StoreError::broken);
    Ok(Session {
        id: SessionId::from_id(column::<String>(row, 0)?).map_err(StoreError::broken)?,
        created_at: time(1)?,
        updated_at: time(2)?,
        n_messages: unsigned(column(row, 3)?)?,
    })
}
