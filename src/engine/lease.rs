//! How long this process may believe that what it owns is still its own.
//!
//! Invariant: by this process's own clock the lease ends no later than by the store's, so whoever trusts it here is never too late there.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The lease on everything that this process owns in a store that others use too. Never over in a store of one process.
#[derive(Debug)]
pub(super) struct Lease {
    term: Option<Duration>,
    ends: Mutex<Option<Instant>>,
}

impl Lease {
    /// A lease of this term that was not granted yet; none in a store of one process.
    pub(super) fn new(term: Option<Duration>) -> Self {
        Self { term, ends: Mutex::new(None) }
    }

    /// The store renewed it; it was asked to at `asked_at`. True if it had been over: others may have taken what was ours.
    pub(super) fn renew(&self, asked_at: Instant) -> bool {
        let Some(term) = self.term else { return false };
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        // What was asked for before the end may have been answered after it.
        let was_over = ends.is_some_and(|ends| Instant::now() >= ends);
        *ends = Some(asked_at + term);
        was_over
    }

    /// True if others may have taken what was ours.
    pub(super) fn is_over(&self) -> bool {
        let ends = *self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        self.term.is_some() && ends.is_none_or(|ends| Instant::now() >= ends)
    }

    /// How often it must be renewed, at most every `usually`: two renewals in a row may fail before it is over.
    pub(super) fn pace(&self, usually: Duration) -> Duration {
        self.term.map_or(usually, |term| usually.min(term / 3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(6);

    #[tokio::test(start_paused = true)]
    async fn a_lease_counts_from_when_it_was_asked_for() {
        let lease = Lease::new(Some(TERM));
        assert!(lease.is_over(), "it was not granted yet");
        let asked_at = Instant::now();
        tokio::time::advance(TERM / 2).await;
        assert!(!lease.renew(asked_at), "the first one ends nothing");
        assert!(!lease.is_over());
        tokio::time::advance(TERM / 2).await;
        assert!(lease.is_over());
        assert!(lease.renew(Instant::now()), "it had been over");
        assert!(!lease.is_over() && !lease.renew(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_takes_anything_in_a_store_of_one_process() {
        let lease = Lease::new(None);
        tokio::time::advance(TERM).await;
        assert!(!lease.is_over() && !lease.renew(Instant::now()));
        let usually = Duration::from_secs(5);
        assert_eq!((lease.pace(usually), Lease::new(Some(TERM)).pace(usually)), (usually, TERM / 3));
    }
}
