//! Callbacks: what their receivers are sent, and how far they are.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::{Detail, generation, values::timestamp};
use crate::{
    domain::{
        callback::{Callback, CallbackError, CallbackState},
        generation::Generation,
    },
    engine::view::View,
    pb::{json, v1},
};

/// An ended generation as a caller sees it, in the contract's JSON form.
///
/// # Errors
/// The contract's descriptors cannot be read: a defect of the build.
pub fn generation_json(record: Arc<Generation>) -> Result<Value, String> {
    // Nothing of an end depends on when it is looked at.
    let view =
        View { generation: record, leader: None, queue_position: None, eta: None, unresolved_for: Duration::ZERO };
    json::of(&generation(&view, Detail::Full))
}

/// The callback of a generation.
pub(in crate::door) fn callback(record: &Generation, callback: &Callback) -> v1::Callback {
    let url = record.callback_url.clone().map(|mut url| {
        url.set_query(None);
        url.to_string()
    });
    v1::Callback {
        url: url.unwrap_or_default(),
        state: state(callback.state).into(),
        n_tries: i32::try_from(callback.n_tries).unwrap_or(i32::MAX),
        last_status: callback.last_status.map(i32::from),
        last_error: callback.last_error.map_or(v1::CallbackError::Unspecified, error).into(),
        next_time: callback.next_at.map(timestamp),
        delivered_time: callback.delivered_at.map(timestamp),
    }
}

fn state(state: CallbackState) -> v1::CallbackState {
    match state {
        CallbackState::Pending => v1::CallbackState::Pending,
        CallbackState::Delivered => v1::CallbackState::Delivered,
        CallbackState::Failed => v1::CallbackState::Failed,
    }
}

fn error(error: CallbackError) -> v1::CallbackError {
    match error {
        CallbackError::Status => v1::CallbackError::Status,
        CallbackError::Unreachable => v1::CallbackError::Unreachable,
        CallbackError::Timeout => v1::CallbackError::Timeout,
        CallbackError::AddressNotAllowed => v1::CallbackError::AddressNotAllowed,
        CallbackError::NoSecret => v1::CallbackError::NoSecret,
        CallbackError::Internal => v1::CallbackError::Internal,
    }
}
