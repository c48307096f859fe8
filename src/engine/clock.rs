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
    /// As [`Clock::Tokio`] from its start, but somebody sets it: so many seconds ahead.
    #[cfg(test)]
    Set(Timestamp, Instant, &'static std::sync::atomic::AtomicI64),
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
            #[cfg(test)]
            Self::Set(origin, started, ahead) => {
                let ahead = jiff::SignedDuration::from_secs(ahead.load(std::sync::atomic::Ordering::Relaxed));
                *origin + started.elapsed() + ahead
            }
        }
    }

    /// The time at `instant` of tokio's clock; now if that has passed.
    pub fn timestamp(&self, instant: Instant) -> Timestamp {
        self.now().checked_add(instant.saturating_duration_since(Instant::now())).unwrap_or(Timestamp::MAX)
    }

    /// When tokio's clock will be at `at`; now if that has passed.
    pub fn instant(&self, at: Timestamp) -> Instant {
        let ahead = at.duration_since(self.now());
        Instant::now() + std::time::Duration::try_from(ahead).unwrap_or_default()
    }
}
