//! Which failures of SQLite pass and which are defects.

use std::error::Error;

use rusqlite::ErrorCode;

use crate::store::port::StoreError;

impl StoreError {
    /// It cannot be used now, for this reason.
    pub(super) fn unavailable(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(why.into())
    }

    /// It holds or was told nonsense.
    pub(super) fn broken(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Broken(why.into())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if passes(&error) { Self::unavailable(error) } else { Self::broken(error) }
    }
}

impl From<refinery::Error> for StoreError {
    fn from(error: refinery::Error) -> Self {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<rusqlite::Error>());
        if cause.is_some_and(passes) { Self::unavailable(error) } else { Self::broken(error) }
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::broken(error)
    }
}

fn passes(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
                | ErrorCode::OperationAborted
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}
