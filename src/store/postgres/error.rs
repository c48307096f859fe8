//! Which failures of PostgreSQL pass and which are defects, and after which of them the work may begin anew.

use std::{error::Error, io};

use deadpool_postgres::PoolError;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::store::{
    OpenError,
    port::{ApplyError, StoreError},
};

/// Whether a commit was done is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsure {
    /// The connection was lost.
    #[error("the connection was lost during the commit, which may have been done")]
    Lost(#[source] tokio_postgres::Error),
    /// It took too long.
    #[error("the commit is not answered and may yet be done")]
    NoAnswer,
}

impl Unsure {
    /// What an error of a commit says.
    pub(super) fn judge(error: tokio_postgres::Error) -> StoreError {
        // The database gives these words instead of a commit.
        let refused = error.code().is_some_and(is_conflict);
        if refused { error.into() } else { StoreError::unavailable(Self::Lost(error)) }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        // What is no word of the database is the network's, or the driver's about the connection: values and columns are ours to check.
        let passes = error.as_db_error().is_none_or(passes);
        if passes { Self::unavailable(error) } else { Self::broken(error) }
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Timeout(_) => Self::unavailable("no connection to the database became free in time"),
            PoolError::Closed => Self::unavailable("the store is closed"),
            PoolError::Backend(error) => error.into(),
            error @ (PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_)) => Self::broken(error),
        }
    }
}

/// True if the work has left nothing behind and may well succeed when it is done again: it was in the way of other work, or its
/// connection was lost before the commit was sent.
pub(super) fn may_begin_anew(error: &(dyn Error + 'static)) -> bool {
    cause(error).is_some_and(|cause| match cause.as_db_error() {
        Some(told) => is_conflict(told.code()) || is_fatal(told),
        None => true,
    })
}

/// True if a database that cannot be opened is only away: stopped, starting, full, or behind a broken network. What it says of names, passwords and
/// rights, and a certificate that does not fit, is there tomorrow too.
pub(super) fn is_away(error: &OpenError) -> bool {
    let OpenError::Store(error @ StoreError::Unavailable(_)) = error else { return false };
    let Some(cause) = cause(error) else { return true };
    match (cause.as_db_error(), cause.source()) {
        (Some(told), _) => is_trouble(told.code()),
        (None, Some(source)) => {
            source.downcast_ref::<io::Error>().is_some_and(|network| network.kind() != io::ErrorKind::InvalidData)
        }
        (None, None) => cause.is_closed(),
    }
}

/// What an event's failure means: an update that finds its generation under another claim divides by zero.
pub(super) fn of_event(error: ApplyError) -> ApplyError {
    let is_lost = cause(&error).is_some_and(|cause| cause.code() == Some(&SqlState::DIVISION_BY_ZERO));
    if is_lost { ApplyError::Lost } else { error }
}

/// The driver's error behind one of the port.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a tokio_postgres::Error> {
    error.source()?.downcast_ref()
}

fn is_conflict(code: &SqlState) -> bool {
    [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE].contains(code)
}

/// The connection ends with it: a restart, an idle transaction, a pooler without servers.
fn is_fatal(error: &DbError) -> bool {
    matches!(error.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
}

fn passes(error: &DbError) -> bool {
    const CODES: [SqlState; 8] = [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        // Our own limits on the time of a statement and of the wait for a lock.
        SqlState::QUERY_CANCELED,
        SqlState::LOCK_NOT_AVAILABLE,
        // A standby, before or after it takes over.
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::INSUFFICIENT_PRIVILEGE,
        SqlState::IN_FAILED_SQL_TRANSACTION,
        // Poolers tell their own troubles by it.
        SqlState::INTERNAL_ERROR,
    ];
    let code = error.code();
    is_fatal(error) || CODES.contains(code) || is_trouble(code)
}

/// Connections; resources such as disk and memory; intervention of an operator; trouble outside such as an I/O error.
fn is_trouble(code: &SqlState) -> bool {
    ["08", "53", "57", "58"].iter().any(|class| code.code().starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_connections_and_commits_are_told_apart() {
        let broken = StoreError::broken("nonsense");
        assert!(!may_begin_anew(&broken));
        let unsure = StoreError::unavailable(Unsure::NoAnswer);
        assert!(!may_begin_anew(&unsure), "it may have been done");
    }
}
