//! Callbacks as the store hands them out.

use jiff::Timestamp;
use url::Url;

use super::StoreError;
use crate::domain::{
    callback::Callback,
    generation::{Generation, State},
};

/// Asks for callbacks to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackClaim {
    /// Those due at or before this time.
    pub now: Timestamp,
    /// Nobody else is given them before this time, which must be later. A process that dies holds them no longer than that.
    pub until: Timestamp,
    /// None to these hosts, in the form of [`crate::domain::callback::host`].
    pub besides: Vec<String>,
    /// At most so many.
    pub limit: usize,
}

/// A callback that is the claimer's to send.
#[derive(Debug, Clone, PartialEq)]
pub struct DueCallback {
    /// The generation, which has ended.
    pub generation: Generation,
    /// Its `callback_url`.
    pub url: Url,
    /// The callback; its `next_at` is the end of the claim.
    pub callback: Callback,
}

/// Why a callback is not sent again.
#[derive(Debug, thiserror::Error)]
pub enum RedeliverError {
    /// No such generation.
    #[error("no such generation")]
    NotFound,
    /// Nobody is to be called back about it.
    #[error("the generation has no callback")]
    NoCallback,
    /// It has not ended.
    #[error("the generation is {}", .0.as_str())]
    Unfinished(State),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
