//! Which failures of SQLite pass and which are defects.

use std::error::Error;

use rusqlite::ErrorCode;

use crate::store::{OpenError, port::StoreError};

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if passes(&error) { Self::unavailable(error) } else { Self::broken(error) }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<refinery::Error> for StoreError {
    fn from(error: refinery::Error) -> Self {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<rusqlite::Error>());
        if cause.is_some_and(passes) { Self::unavailable(error) } else { Self::broken(error) }
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
