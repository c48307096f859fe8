//! What bounds the work at a provider, as far as it must hold for all processes and after a restart.

use std::time::Duration;

use super::Changes;
use crate::domain::names::ModelName;

/// How long a send counts against a rate.
pub const RATE_OVER: Duration = Duration::from_mins(1);

/// Bounds of one provider or model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limit {
    /// Most jobs at work at once; unlimited when absent.
    pub concurrency: Option<u64>,
    /// Most orders sent in any minute; unlimited when absent.
    pub rate: Option<u64>,
}

/// What must hold when an order is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The model it goes to.
    pub model: ModelName,
    /// Of its provider.
    pub of_provider: Limit,
    /// Of the model alone.
    pub of_model: Limit,
}

/// Whose limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The provider's, or it asked for a pause.
    Provider,
    /// The model's.
    Model,
}

/// What became of an intent to submit.
#[derive(Debug, Clone)]
pub enum Intended {
    /// It is stored: the order may be sent.
    Stored(Box<Changes>),
    /// A limit is reached and nothing changed; it will not be otherwise for so long. Without a time somebody else's job must end first.
    Wait(Bound, Option<Duration>),
}
