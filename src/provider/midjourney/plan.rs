//! What an order comes to beyond its first task: kept in the ticket, so that any process can go on with it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    domain::{
        artifact::Kind,
        names::SubmitKey,
        order::{OptionName, OptionValue},
    },
    provider::port::{Order, Ticket},
};

/// What to do with a task, as its ticket remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// What the order is known by, with the number of pictures that it is about.
    pub(super) mark: String,
    /// What was ordered.
    pub(super) kind: Kind,
    /// Pictures of the grid to be had one by one; none for the grid itself.
    pub(super) n_pictures: u8,
    /// Tasks before it when it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) n_before: Option<u32>,
}

impl Plan {
    /// For an order with this key.
    pub(super) fn of(order: &Order, key: SubmitKey) -> Self {
        let splits = order.card.as_ref().is_some_and(|card| card.adapter.contains_key("grid"));
        let n_pictures = match order.options.get(&OptionName::Samples) {
            Some(OptionValue::Int(n)) => u8::try_from((*n).clamp(1, 4)).unwrap_or(4),
            Some(OptionValue::Bool(_) | OptionValue::Number(_) | OptionValue::Text(_)) | None => 4,
        };
        let n_pictures = if splits { n_pictures } else { 0 };
        Self { mark: format!("{}-{n_pictures}", mark_of(key)), kind: order.kind, n_pictures, n_before: None }
    }

    /// As it was stored; of a ticket without one, the task as it is.
    pub(super) fn read(ticket: &Ticket) -> Self {
        let usual = Self { mark: ticket.job.clone(), kind: Kind::Image, n_pictures: 0, n_before: None };
        serde_json::from_value(ticket.data.clone()).unwrap_or(usual)
    }
}

/// What an order is known by. Not the key itself, which is what makes the address of webhooks unguessable.
pub(super) fn mark_of(key: SubmitKey) -> String {
    format!("filmgate-{}", hex::encode(&Sha256::digest(format!("state {}", key.id()))[..16]))
}
