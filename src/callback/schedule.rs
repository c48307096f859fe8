//! What an answer means, and when a callback is tried again. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::callback::{Callback, CallbackError, Tried};

/// The waits between tries, in units of the first: with 5 s these are 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, and then 10 h again.
const WAITS: [u32; 6] = [1, 60, 360, 1440, 3600, 7200];
/// How long a callback is tried. The last try is at the end of it.
const PATIENCE: Duration = Duration::from_hours(24);
/// Largest part of a wait that is added at random, so that what failed together does not come back together.
const JITTER: f64 = 0.2;
const GONE: u16 = 410;

/// What came of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was answered.
    Status {
        /// The HTTP status.
        status: u16,
        /// When the receiver wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It was not.
    None(CallbackError),
}

/// What `answer` at `now` means for the callback. `base` is the first wait; `luck`, from 0 to 1, how much of the jitter is added.
pub(super) fn judge(answer: Answer, callback: &Callback, now: Timestamp, base: Duration, luck: f64) -> Tried {
    let (status, error, wish) = match answer {
        Answer::Status { status: status @ 200..=299, .. } => return Tried::Delivered { status },
        Answer::Status { status: GONE, .. } => {
            return Tried::Failed { status: Some(GONE), error: CallbackError::Status, next_at: None };
        }
        Answer::Status { status, retry_after } => (Some(status), CallbackError::Status, retry_after),
        Answer::None(error) => (None, error, None),
    };
    let units = usize::try_from(callback.n_tries).ok().and_then(|n_before| WAITS.get(n_before)).unwrap_or(&WAITS[5]);
    let usual = base.saturating_mul(*units).min(PATIENCE).mul_f64(1.0 + JITTER * luck);
    // A receiver may ask for more time, not for more calls.
    let wait = wish.map_or(usual, |wish| wish.clamp(usual, PATIENCE.max(usual)));
    let end = callback.since.checked_add(PATIENCE).unwrap_or(Timestamp::MAX);
    let next_at = (now < end).then(|| now.checked_add(wait).unwrap_or(end).min(end));
    Tried::Failed { status, error, next_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(5);
    const START: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn refused(status: u16, retry_after: Option<u64>) -> Answer {
        Answer::Status { status, retry_after: retry_after.map(Duration::from_secs) }
    }

    /// The minutes after the end at which a callback is tried that everybody answers like this.
    fn tries(answer: Answer, luck: f64) -> Vec<i64> {
        let (mut callback, mut now, mut at) = (Callback::due(START), START, vec![0]);
        loop {
            callback = callback.tried(judge(answer, &callback, now, BASE, luck), now);
            match callback.next_at {
                Some(next) => now = next,
                None => return at,
            }
            at.push(now.duration_since(START).as_mins());
        }
    }

    #[test]
    fn it_is_tried_ever_more_seldom_for_a_day() {
        let day = 24 * 60;
        assert_eq!(tries(refused(500, None), 0.0), [0, 0, 5, 35, 155, 455, 1055, day]);
        assert_eq!(tries(Answer::None(CallbackError::Timeout), 1.0), [0, 0, 6, 42, 186, 546, 1266, day]);
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_but_not_for_more_calls() {
        let wait =
            |answer, n_tries| match judge(answer, &Callback { n_tries, ..Callback::due(START) }, START, BASE, 0.0) {
                Tried::Failed { next_at: Some(next), .. } => next.duration_since(START).as_secs(),
                other => panic!("{other:?}"),
            };
        assert_eq!(wait(refused(503, Some(60)), 0), 60);
        assert_eq!(wait(refused(429, Some(1)), 1), 300);
        assert_eq!(wait(refused(429, Some(10_000_000)), 0), 24 * 3600);
    }

    #[test]
    fn only_2xx_delivers_and_only_410_gives_up_at_once() {
        let callback = Callback::due(START);
        let judged = |status| judge(refused(status, None), &callback, START, BASE, 0.0);
        for status in [200, 204, 299] {
            assert_eq!(judged(status), Tried::Delivered { status });
        }
        for status in [301, 308, 400, 404, 429, 500] {
            assert!(matches!(judged(status), Tried::Failed { next_at: Some(_), .. }), "{status}");
        }
        assert!(matches!(judged(410), Tried::Failed { status: Some(410), next_at: None, .. }));
    }

    #[test]
    fn an_absurd_base_still_ends_within_the_day() {
        let tried = judge(refused(500, None), &Callback::due(START), START, Duration::MAX, 1.0);
        let Tried::Failed { next_at: Some(next), .. } = tried else { panic!("{tried:?}") };
        assert_eq!(next.duration_since(START).as_hours(), 24);
    }
}
