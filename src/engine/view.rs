//! A generation as somebody sees it: the record with what is computed when it is read.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::domain::generation::Generation;

/// A generation as of now.
#[derive(Debug, Clone)]
pub struct View {
    /// The record.
    pub generation: Arc<Generation>,
    /// The record of the generation whose job it shares: its state and progress are this one's too while both are unfinished.
    pub leader: Option<Arc<Generation>>,
    /// Place in the provider's queue, from 1.
    pub queue_position: Option<u32>,
    /// When it will probably end.
    pub eta: Option<Timestamp>,
    /// How long what is unknown is asked for.
    pub unresolved_for: Duration,
}
