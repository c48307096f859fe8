//! How long this process may believe that what it owns is still its own.
//!
//! Invariant: by this process's own clock the lease ends no later than by the store's, so whoever trusts it here is never too late there.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The lease on everything that this process owns in a store that others use too. Never over in a store of one process.
#[derive(Debug)]
pub(super) struct Lease {
    term: Option<Duration>,
    state: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    until: Option<Instant>,
    n_lapses: u64,
}

/// Shows that the lease holds. Two that are equal show that it held all the time between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant(u64);

impl Lease {
    /// A lease of this term that was not granted yet; none in a store of one process.
    pub(super) fn new(term: Option<Duration>) -> Self {
        Self { term, state: Mutex::default() }
    }

    /// The store renewed it; it was asked to at `asked_at`. True if it had been over: others may have taken what was ours.
    pub(super) fn renew(&self, asked_at: Instant) -> bool {
        let Some(term) = self.term else { return false };
        let mut held = self.held();
        // What was asked for before the end may have been answered after it.
        let lapsed = held.until.is_some_and(|until| Instant::now() >= until);
        held.until = Some(asked_at + term);
        held.n_lapses += u64::from(lapsed);
        lapsed
    }

    /// Nothing if others may have taken what was ours.
    pub(super) fn grant(&self) -> Option<Grant> {
        let held = self.held();
        let holds = self.term.is_none() || held.until.is_some_and(|until| Instant::now() < until);
        holds.then_some(Grant(held.n_lapses))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert_eq!(lease.grant(), None);
        let asked_at = Instant::now();
        tokio::time::advance(TERM / 2).await;
        assert!(!lease.renew(asked_at), "the first one ends nothing");
        let first = lease.grant().unwrap();
        assert!(!lease.renew(Instant::now()));
        tokio::time::advance(TERM - Duration::from_nanos(1)).await;
        assert_eq!(lease.grant(), Some(first), "it held all the time");
        tokio::time::advance(Duration::from_nanos(1)).await;
        assert_eq!(lease.grant(), None);
        assert!(lease.renew(Instant::now()), "it had been over");
        assert!(lease.grant().is_some_and(|grant| grant != first), "it did not hold all the time");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_takes_anything_in_a_store_of_one_process() {
        let lease = Lease::new(None);
        tokio::time::advance(TERM).await;
        assert!(lease.grant().is_some() && !lease.renew(Instant::now()));
        let usually = Duration::from_secs(5);
        assert_eq!((lease.pace(usually), Lease::new(Some(TERM)).pace(usually)), (usually, TERM / 3));
    }
}
