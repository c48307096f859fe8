//! How many generations are unfinished, roughly.
//!
//! An exact count costs more the more there are, so an acceptance goes by an estimate: the last count, which every heartbeat renews, and what this
//! process has accepted and seen end since. It counts exactly only when the estimate reaches the limit. Others accept at the same
//! time, so the limit may be passed by what all processes accept between two heartbeats.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Result,
    statements::{Statement, values},
    work::Work,
};
use crate::store::sql;

/// A count is good for this long while the queue is full: refusing must be cheap.
const FRESH: Duration = Duration::from_millis(100);

/// The estimate.
#[derive(Debug, Default)]
pub(super) struct Unfinished(Mutex<Estimate>);

#[derive(Debug, Clone, Copy, Default)]
struct Estimate {
    n: u64,
    counted_at: Option<Instant>,
}

impl Unfinished {
    /// Whether there is room for one more below `limit`; else how many there are.
    pub(super) async fn admit(&self, work: &mut Work, limit: u64) -> Result<std::result::Result<(), u64>> {
        let Estimate { mut n, counted_at } = *self.estimate();
        if n >= limit && counted_at.is_none_or(|at| at.elapsed() >= FRESH) {
            n = self.count(work).await?;
        }
        Ok(if n < limit { Ok(()) } else { Err(n) })
    }

    /// Counts exactly.
    pub(super) async fn count(&self, work: &mut Work) -> Result<u64> {
        let n = work.ask(Statement::shared(sql::generation::COUNT_UNFINISHED, values![])).await?.count()?;
        *self.estimate() = Estimate { n, counted_at: Some(Instant::now()) };
        Ok(n)
    }

    /// One more was accepted.
    pub(super) fn grow(&self) {
        self.estimate().n += 1;
    }

    /// So many have ended.
    pub(super) fn shrink(&self, n_ended: u64) {
        let mut estimate = self.estimate();
        estimate.n = estimate.n.saturating_sub(n_ended);
    }

    fn estimate(&self) -> std::sync::MutexGuard<'_, Estimate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
