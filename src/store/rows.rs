//! Rows that are no documents, read alike by every store.

use jiff::Timestamp;

use super::port::StoreError;
use crate::domain::callback::{Callback, CallbackError, CallbackState};

/// A row of `callbacks`, in the order of the catalogue's columns.
#[derive(Debug)]
pub(super) struct CallbackRow {
    pub(super) generation: String,
    pub(super) state: String,
    pub(super) n_tries: i64,
    pub(super) since: i64,
    pub(super) last_status: Option<i64>,
    pub(super) last_error: Option<String>,
    pub(super) due_at: Option<i64>,
    pub(super) delivered_at: Option<i64>,
}

impl CallbackRow {
    pub(super) fn callback(self) -> Result<Callback, StoreError> {
        let time = |at: i64| Timestamp::from_microsecond(at).map_err(StoreError::broken);
        let unknown = || StoreError::broken("a callback has an unknown word");
        Ok(Callback {
            state: CallbackState::from_word(&self.state).ok_or_else(unknown)?,
            n_tries: u32::try_from(self.n_tries).map_err(StoreError::broken)?,
            since: time(self.since)?,
            last_status: self.last_status.map(u16::try_from).transpose().map_err(StoreError::broken)?,
            last_error: self.last_error.map(|word| CallbackError::from_word(&word).ok_or_else(unknown)).transpose()?,
            next_at: self.due_at.map(time).transpose()?,
            delivered_at: self.delivered_at.map(time).transpose()?,
        })
    }
}
