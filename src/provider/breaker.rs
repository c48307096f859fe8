//! Whether a vendor gets new work: it rests after calls that failed on the way, and then one order goes first.
//!
//! Invariant: while it rests, and until the first order after that was answered, no other order passes. Questions about jobs never wait here:
//! jobs under way are worth asking after, and asking has its own patience.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// Calls in a row that failed on the way, after which it rests.
const IN_A_ROW: u32 = 5;
/// Of at least so many calls within a minute half failed: it rests as well.
const ENOUGH: u32 = 20;
/// The share is looked at over this long.
const SHARE_OF: Duration = Duration::from_mins(1);
/// Calls are counted over this long, in pieces.
const COUNTED: Duration = Duration::from_mins(5);
const PIECE: Duration = Duration::from_secs(10);
/// The first rest unless told otherwise.
const FIRST: Duration = Duration::from_secs(15);
/// How often a rest that did not help is doubled, and the longest.
const DOUBLINGS: u32 = 5;
const LONGEST: Duration = Duration::from_mins(5);

/// What a call says about its vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answered, whatever it said.
    Answered,
    /// It could not be reached, did not answer in time, or was broken or overloaded.
    Failed,
}

/// What a call was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A new order.
    Order,
    /// Anything about a job.
    Question,
}

/// The breaker of one vendor.
#[derive(Debug)]
pub struct Breaker {
    state: Mutex<State>,
    /// Told with every change of the stage.
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    /// The first rest.
    first: Duration,
    /// Failures in a row.
    n_failed: u32,
    /// Rests in a row that did not help.
    n_rests: u32,
    n_probes: u64,
    /// What was before says nothing about the share.
    judged_from: Instant,
    recent: VecDeque<Piece>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Closed,
    /// It rests until then; the first order after that finds out.
    Open(Instant),
    /// The order of this number is finding out.
    Probing(u64),
}

/// Calls of some seconds.
#[derive(Debug, Clone, Copy)]
struct Piece {
    since: Instant,
    n_answered: u32,
    n_failed: u32,
}

/// The order that finds out whether the vendor works again. Dropped without an answer, it lets the next one do so.
#[derive(Debug)]
pub struct Probe {
    breaker: Arc<Breaker>,
    number: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        let state = State {
            stage: Stage::Closed,
            first: FIRST,
            n_failed: 0,
            n_rests: 0,
            n_probes: 0,
            judged_from: Instant::now(),
            recent: VecDeque::new(),
        };
        Self { state: Mutex::new(state), changes: watch::Sender::new(()) }
    }
}

impl Breaker {
    /// Makes this the first rest; each that does not help is followed by one twice as long, up to 5 minutes.
    pub fn rest_first_for(&self, first: Duration) {
        self.state().first = first;
    }

    /// Until when no order is sent; none if the next one may go.
    pub fn resting_until(&self) -> Option<Instant> {
        match self.state().stage {
            Stage::Open(until) => Some(until).filter(|until| *until > Instant::now()),
            Stage::Closed | Stage::Probing(_) => None,
        }
    }

    /// Waits until an order may go. Who gets a probe is the first after a rest, and keeps it until the order was answered.
    pub async fn pass(self: &Arc<Self>) -> Option<Probe> {
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            let wake_at = match self.try_pass() {
                Ok(probe) => return probe,
                Err(wake_at) => wake_at,
            };
            let woken = async {
                match wake_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = woken => {}
                // The sender is ours and lives as long.
                _ = changes.changed() => {}
            }
        }
    }

    /// Told whenever it begins or ends to hold orders back.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Calls of the last 5 minutes: how many were answered, and how many failed on the way.
    pub fn recent(&self) -> (u32, u32) {
        self.state().count(Instant::now().checked_sub(COUNTED))
    }

    pub(super) fn note(&self, purpose: Purpose, outcome: Outcome) {
        let mut state = self.state();
        state.count_in(outcome);
        let before = state.stage;
        match (outcome, state.stage, purpose) {
            (Outcome::Answered, Stage::Probing(_), Purpose::Order) => {
                (state.stage, state.n_rests, state.n_failed) = (Stage::Closed, 0, 0);
                state.judged_from = Instant::now();
            }
            (Outcome::Answered, _, _) => state.n_failed = 0,
            (Outcome::Failed, Stage::Probing(_), Purpose::Order) => Self::rest(&mut state),
            (Outcome::Failed, Stage::Closed, _) => {
                state.n_failed += 1;
                let minute = Instant::now().checked_sub(SHARE_OF);
                let (n_answered, n_failed) = state.count(minute.max(Some(state.judged_from)));
                if state.n_failed >= IN_A_ROW || n_answered + n_failed >= ENOUGH && n_failed >= n_answered {
                    Self::rest(&mut state);
                }
            }
            (Outcome::Failed, Stage::Open(_) | Stage::Probing(_), _) => {}
        }
        let changed = state.stage != before;
        drop(state);
        if changed {
            self.changes.send_replace(());
        }
    }

    fn rest(state: &mut State) {
        let rest = state.first.saturating_mul(1 << state.n_rests.min(DOUBLINGS)).min(LONGEST);
        state.n_rests += 1;
        state.n_failed = 0;
        state.stage = Stage::Open(Instant::now() + rest);
    }

    /// As [`Self::pass`] without waiting: the error is until when it rests, if that is known.
    pub(super) fn try_pass(self: &Arc<Self>) -> Result<Option<Probe>, Option<Instant>> {
        let mut state = self.state();
        match state.stage {
            Stage::Closed => Ok(None),
            Stage::Probing(_) => Err(None),
            Stage::Open(until) if until > Instant::now() => Err(Some(until)),
            Stage::Open(_) => {
                state.n_probes += 1;
                let number = state.n_probes;
                state.stage = Stage::Probing(number);
                Ok(Some(Probe { breaker: Arc::clone(self), number }))
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count_in(&mut self, outcome: Outcome) {
        let now = Instant::now();
        let is_current = |piece: &&Piece| piece.since + PIECE > now && piece.since >= self.judged_from;
        if self.recent.back().filter(is_current).is_none() {
            self.recent.push_back(Piece { since: now, n_answered: 0, n_failed: 0 });
        }
        while self.recent.front().is_some_and(|piece| piece.since + COUNTED < now) {
            self.recent.pop_front();
        }
        if let Some(piece) = self.recent.back_mut() {
            match outcome {
                Outcome::Answered => piece.n_answered += 1,
                Outcome::Failed => piece.n_failed += 1,
            }
        }
    }

    /// Answered and failed since then; all that are remembered without a time.
    fn count(&self, since: Option<Instant>) -> (u32, u32) {
        let pieces = self.recent.iter().filter(|piece| since.is_none_or(|since| piece.since >= since));
        pieces.fold((0, 0), |(n_answered, n_failed), piece| (n_answered + piece.n_answered, n_failed + piece.n_failed))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        if state.stage == Stage::Probing(self.number) {
            state.stage = Stage::Open(Instant::now());
            drop(state);
            self.breaker.changes.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn failed(breaker: &Breaker, n: u32) {
        (0..n).for_each(|_| breaker.note(Purpose::Question, Outcome::Failed));
    }

    fn answered(breaker: &Breaker, n: u32) {
        (0..n).for_each(|_| breaker.note(Purpose::Question, Outcome::Answered));
    }

    fn passes(breaker: &Arc<Breaker>) -> bool {
        breaker.pass().now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn five_failures_in_a_row_begin_a_rest_and_four_with_an_answer_between_do_not() {
        let breaker = Arc::new(Breaker::default());
        failed(&breaker, 4);
        answered(&breaker, 1);
        failed(&breaker, 4);
        assert!(passes(&breaker) && breaker.resting_until().is_none());
        failed(&breaker, 1);
        assert!(!passes(&breaker));
        assert_eq!(breaker.resting_until(), Some(Instant::now() + FIRST));
        assert_eq!(breaker.recent(), (1, 9));
        tokio::time::advance(COUNTED + PIECE).await;
        assert_eq!(breaker.recent(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_many_calls_failing_begins_a_rest() {
        let breaker = Arc::new(Breaker::default());
        for _ in 0..9 {
            answered(&breaker, 1);
            failed(&breaker, 1);
        }
        answered(&breaker, 1);
        assert!(passes(&breaker), "nineteen are not enough");
        failed(&breaker, 1);
        assert!(!passes(&breaker));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_rest_one_order_goes_first_and_its_answer_decides() {
        let breaker = Arc::new(Breaker::default());
        failed(&breaker, IN_A_ROW);
        let began = Instant::now();
        let probe = breaker.pass().await;
        assert_eq!((probe.is_some(), began.elapsed()), (true, FIRST));
        assert!(!passes(&breaker), "the others wait for its answer");
        answered(&breaker, 3);
        assert!(!passes(&breaker), "an answer about a job decides nothing");
        breaker.note(Purpose::Order, Outcome::Failed);
        drop(probe);
        let again = Instant::now();
        let probe = breaker.pass().await;
        assert_eq!(again.elapsed(), 2 * FIRST);
        breaker.note(Purpose::Order, Outcome::Answered);
        drop(probe);
        assert!(passes(&breaker) && breaker.pass().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_that_was_never_sent_leaves_the_finding_out_to_the_next() {
        let breaker = Arc::new(Breaker::default());
        failed(&breaker, IN_A_ROW);
        let first = breaker.pass().await;
        let mut second = std::pin::pin!(breaker.pass());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert!(second.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn rests_grow_to_five_minutes() {
        let breaker = Arc::new(Breaker::default());
        failed(&breaker, IN_A_ROW);
        let mut rests = Vec::new();
        for _ in 0..7 {
            let began = Instant::now();
            let _probe = breaker.pass().await;
            rests.push(began.elapsed().as_secs());
            breaker.note(Purpose::Order, Outcome::Failed);
        }
        assert_eq!(rests, [15, 30, 60, 120, 240, 300, 300]);
    }
}
