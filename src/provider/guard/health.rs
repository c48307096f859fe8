//! What calls and answers say of a vendor: whether it is up, and whether it should rest.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use super::Op;
use crate::provider::{
    breaker::{Breaker, Outcome, Purpose},
    error::{ErrorKind, ProviderError},
};

/// What is known of a vendor.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// What the last telling answer says; a number, so that it is read without a lock.
    seen: AtomicU8,
    /// Whether it gets new work.
    pub(super) breaker: Arc<Breaker>,
}

/// Nothing was seen yet while it is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Up = 1,
    Down = 2,
}

impl Health {
    /// Whether it answered when it was last asked; nothing if it has not been.
    pub(super) fn is_up(&self) -> Option<bool> {
        let seen = self.seen.load(Ordering::Relaxed);
        [(Seen::Up, true), (Seen::Down, false)]
            .into_iter()
            .find(|(known, _)| *known as u8 == seen)
            .map(|(_, is_up)| is_up)
    }

    /// A call ended, or an answer under way has begun or ended, so or with an error.
    pub(super) fn note(&self, op: Op, error: Option<&ProviderError>) {
        if error.is_some_and(|error| error.is_of_input) {
            return;
        }
        // Outputs often lie elsewhere and expire; that says nothing about the vendor.
        let purpose = match op {
            Op::Submit | Op::Chat => Purpose::Order,
            Op::Find | Op::Poll | Op::Cancel => Purpose::Question,
            Op::Open => return,
        };
        self.breaker.note(purpose, error.map_or(Outcome::Answered, |error| outcome(error.kind)));
        if let Some(seen) = error.map_or(Some(Seen::Up), |error| seen_after(error.kind)) {
            self.seen.store(seen as u8, Ordering::Relaxed);
        }
    }
}

/// What an error says about the way to the vendor.
fn outcome(kind: ErrorKind) -> Outcome {
    match kind {
        ErrorKind::Overloaded | ErrorKind::Timeout | ErrorKind::Transport => Outcome::Failed,
        ErrorKind::InvalidOrder
        | ErrorKind::ModelNotFound
        | ErrorKind::ContentRefused
        | ErrorKind::Unauthenticated
        | ErrorKind::OutOfCredit
        | ErrorKind::RateLimited
        | ErrorKind::TicketUnknown
        | ErrorKind::NoJobId
        | ErrorKind::LinkExpired
        | ErrorKind::NoOutput
        | ErrorKind::Protocol => Outcome::Answered,
    }
}

/// What an error says about the vendor's health, if anything.
fn seen_after(kind: ErrorKind) -> Option<Seen> {
    match kind {
        ErrorKind::Unauthenticated
        | ErrorKind::OutOfCredit
        | ErrorKind::Overloaded
        | ErrorKind::Timeout
        | ErrorKind::Transport => Some(Seen::Down),
        ErrorKind::InvalidOrder
        | ErrorKind::ModelNotFound
        | ErrorKind::ContentRefused
        | ErrorKind::RateLimited
        | ErrorKind::TicketUnknown
        | ErrorKind::NoOutput => Some(Seen::Up),
        ErrorKind::NoJobId | ErrorKind::LinkExpired | ErrorKind::Protocol => None,
    }
}
