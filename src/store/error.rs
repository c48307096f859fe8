//! What goes wrong with every store alike.

use std::error::Error;

use super::port::StoreError;

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer filmgate has changed the tables since: what this one would write might be misunderstood, or lost.
    #[error(
        "its tables are of version {found}, and this filmgate knows versions up to {known} only; \
         start the newer filmgate again, or restore a copy from before it was started"
    )]
    Newer {
        /// The version of the tables.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// It failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

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

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::broken(error)
    }
}
