//! How long to wait before asking again: base, three times, nine times the base, then always nine times; with a little jitter upward.

use std::time::Duration;

/// Consecutive failures on the way to a provider after which a poll gives up for now.
pub(super) const PATIENCE: u32 = 3;

/// The longest wait between two questions about something unknown: some vendors drop outputs after an hour.
pub(super) const LONGEST: Duration = Duration::from_secs(600);

/// What a vendor's own wish is clamped to.
const WISH: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=LONGEST;

/// The waits between repeated calls.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The first wait; 5 s unless set otherwise.
    pub base: Duration,
    /// Largest part of a wait that is added at random, 0 to 1.
    pub jitter: f64,
}

impl Backoff {
    /// The wait after the `n`th failure in a row, from 1: base × 1, 3, 9, 9, … The vendor's wish wins, within bounds.
    pub fn after(&self, n: u32, wish: Option<Duration>) -> Duration {
        let steps = n.clamp(1, PATIENCE) - 1;
        let usual = self.base.saturating_mul(3_u32.pow(steps)).min(LONGEST);
        let wait = wish.map_or(usual, |wish| wish.clamp(*WISH.start(), *WISH.end()));
        wait.mul_f64(1.0 + self.jitter * fastrand::f64())
    }

    /// The wait before the `n`th question, from 1, about something unknown: from the longest usual wait, doubling to ten minutes.
    pub fn unknown(&self, n: u32) -> Duration {
        let first = self.base.saturating_mul(9);
        first.saturating_mul(2_u32.saturating_pow(n.saturating_sub(1).min(16))).min(LONGEST)
    }
}

/// The pace of polling one healthy job: slower with every answer, as the vendor wishes where it says so.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// First wait.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
}

impl Pace {
    /// The wait after the `n`th answer, from 1: a quarter longer each time.
    pub fn after(&self, n: u32, wish: Option<Duration>) -> Duration {
        let grown = self.first.mul_f64(1.25_f64.powi(i32::try_from(n.saturating_sub(1).min(60)).unwrap_or(60)));
        let usual = grown.min(self.longest.max(self.first));
        wish.map_or(usual, |wish| wish.clamp(usual.min(Duration::from_millis(250)), LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Backoff = Backoff { base: Duration::from_secs(5), jitter: 0.0 };

    #[test]
    fn waits_are_5_15_45_and_then_45_seconds() {
        let waits: Vec<u64> = (1..=5).map(|n| EXACT.after(n, None).as_secs()).collect();
        assert_eq!(waits, [5, 15, 45, 45, 45]);
    }

    #[test]
    fn the_vendors_wish_wins_within_bounds() {
        assert_eq!(EXACT.after(1, Some(Duration::from_secs(7))).as_secs(), 7);
        assert_eq!(EXACT.after(1, Some(Duration::from_secs(86_400))), LONGEST);
        assert_eq!(EXACT.after(3, Some(Duration::ZERO)), Duration::from_millis(100));
    }

    #[test]
    fn the_unknown_is_asked_at_least_every_ten_minutes() {
        assert_eq!(EXACT.unknown(1).as_secs(), 45);
        assert!((1..100).all(|n| EXACT.unknown(n) <= LONGEST));
    }

    #[test]
    fn a_job_of_250_seconds_is_polled_at_most_60_times() {
        let pace = Pace { first: Duration::from_secs(1), longest: Duration::from_secs(10) };
        let mut elapsed = Duration::ZERO;
        let mut n_polls = 0;
        while elapsed < Duration::from_secs(250) {
            n_polls += 1;
            elapsed += pace.after(n_polls, None);
        }
        assert!(n_polls <= 60, "{n_polls}");
    }
}
