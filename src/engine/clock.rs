//! The time, from one place, so that tests can let it pass.

use jiff::Timestamp;
use tokio::time::Instant;

/// Where the engine's time comes from.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The system's wall clock.
    System,
    /// This time, moving on with tokio's clock: paused when that is paused.
    Tokio {
        /// The time at `started`.
        origin: Timestamp,
        /// When it was `origin`.
        started: Instant,
    },
}

impl Clock {
    /// A clock that follows tokio's, starting at the system's time.
    pub fn tokio() -> Self {
        Self::Tokio { origin: Timestamp::now(), started: Instant::now() }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Tokio { origin, started } => origin.checked_add(started.elapsed()).unwrap_or(Timestamp::MAX),
        }
    }

    /// When tokio's clock will be at `at`; now if that has passed.
    pub fn instant(&self, at: Timestamp) -> Instant {
        let ahead = at.duration_since(self.now());
        Instant::now() + std::time::Duration::try_from(ahead).unwrap_or_default()
    }
}
