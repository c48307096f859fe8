//! Rows that are no documents, read alike by every store.

use jiff::Timestamp;

use super::port::StoreError;
use crate::domain::{
    callback::{Callback, CallbackError, CallbackState},
    ledger::{Account, Cause, Entry, Movement, Reason},
    money::MicroUsd,
    names::{ChatId, GenerationId, ModelName, SessionId},
};

/// A value of a statement that is put together for both stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Int(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// A row of `ledger`, in the order of the catalogue's columns.
#[derive(Debug)]
pub(super) struct LedgerRow {
    pub(super) number: i64,
    pub(super) at: i64,
    pub(super) generation: String,
    pub(super) session: String,
    pub(super) model: String,
    pub(super) since: i64,
    pub(super) reason: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) amount: i64,
    pub(super) chat: String,
}

impl LedgerRow {
    pub(super) fn entry(self) -> Result<Entry, StoreError> {
        let time = |at: i64| Timestamp::from_microsecond(at).map_err(StoreError::broken);
        let unknown = || StoreError::broken("a movement has an unknown word");
        let account = |word: &str| Account::from_word(word).ok_or_else(unknown);
        let cause = if self.chat.is_empty() {
            Cause::Generation(GenerationId::from_id(&self.generation).map_err(StoreError::broken)?)
        } else {
            Cause::Chat(ChatId::from_id(&self.chat).map_err(StoreError::broken)?)
        };
        let session = Some(self.session).filter(|session| !session.is_empty());
        Ok(Entry {
            number: u64::try_from(self.number).map_err(StoreError::broken)?,
            at: time(self.at)?,
            cause,
            session: session.map(SessionId::from_id).transpose().map_err(StoreError::broken)?,
            movement: Movement {
                model: self.model.parse::<ModelName>().map_err(StoreError::broken)?,
                since: time(self.since)?,
                reason: Reason::from_word(&self.reason).ok_or_else(unknown)?,
                from: account(&self.from)?,
                to: account(&self.to)?,
                amount: MicroUsd(self.amount),
            },
        })
    }
}

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
