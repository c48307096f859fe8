//! A bounded number of generations at work at one provider; the rest wait in order and know their place.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use crate::domain::names::GenerationId;

const MINUTE: Duration = Duration::from_secs(60);

/// The places at one provider.
#[derive(Debug)]
pub(super) struct Gate {
    places: Arc<Semaphore>,
    n_places: usize,
    rate: Option<Rate>,
    queue: Mutex<Queue>,
}

/// At most so many jobs handed over in any minute.
#[derive(Debug)]
struct Rate {
    most: usize,
    /// When the latest were, at most `most` of them. Who waits for the minute to pass holds the lock, so all wait in order.
    latest: tokio::sync::Mutex<VecDeque<Instant>>,
}

impl Rate {
    /// Waits until one more may be handed over, and counts it. Dropping the future counts nothing.
    async fn pass(&self) {
        let mut latest = self.latest.lock().await;
        if latest.len() >= self.most
            && let Some(oldest) = latest.front()
        {
            sleep_until(*oldest + MINUTE).await;
            latest.pop_front();
        }
        latest.push_back(Instant::now());
    }
}

/// A place at a provider, until dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    by_number: BTreeMap<u64, GenerationId>,
    numbers: HashMap<GenerationId, u64>,
}

impl Gate {
    /// A gate with this many places, through which at most `rate` go in a minute.
    pub(super) fn new(n_places: usize, rate: Option<usize>) -> Self {
        let n_places = n_places.clamp(1, Semaphore::MAX_PERMITS);
        let rate = rate.map(|most| Rate { most: most.max(1), latest: tokio::sync::Mutex::default() });
        Self { places: Arc::new(Semaphore::new(n_places)), n_places, rate, queue: Mutex::default() }
    }

    /// Waits for a place and for the rate, first come first served. Dropping the future leaves the queue.
    pub(super) async fn enter(&self, id: GenerationId) -> Slot {
        let _queued = self.join(id);
        match Arc::clone(&self.places).acquire_owned().await {
            Ok(permit) => {
                if let Some(rate) = &self.rate {
                    rate.pass().await;
                }
                Slot { _permit: permit }
            }
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// A place for a job that is at the provider already, if one is free: it goes on in either case.
    pub(super) fn adopt(&self) -> Option<Slot> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(|permit| Slot { _permit: permit })
    }

    /// Place in the queue, from 1.
    pub(super) fn position(&self, id: GenerationId) -> Option<u32> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let number = *queue.numbers.get(&id)?;
        u32::try_from(queue.by_number.range(..=number).count()).ok()
    }

    /// How many wait.
    pub(super) fn n_queued(&self) -> usize {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).numbers.len()
    }

    /// How many are at work.
    pub(super) fn n_running(&self) -> usize {
        self.n_places - self.places.available_permits().min(self.n_places)
    }

    /// Most that may be at work.
    pub(super) fn n_places(&self) -> usize {
        self.n_places
    }

    fn join(&self, id: GenerationId) -> Queued<'_> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let number = queue.next;
        queue.next += 1;
        queue.by_number.insert(number, id);
        queue.numbers.insert(id, number);
        Queued { gate: self, number }
    }
}

struct Queued<'a> {
    gate: &'a Gate,
    number: u64,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let mut queue = self.gate.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = queue.by_number.remove(&self.number) {
            queue.numbers.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_queue_moves_up_as_places_are_freed() {
        let gate = Gate::new(1, None);
        let [first, second, third] = [(); 3].map(|()| GenerationId::fresh());
        let slot = gate.enter(first).await;
        let mut waits_second = Box::pin(gate.enter(second));
        let mut waits_third = Box::pin(gate.enter(third));
        assert!((&mut waits_second).now_or_never().is_none() && (&mut waits_third).now_or_never().is_none());
        assert_eq!((gate.position(first), gate.position(second), gate.position(third)), (None, Some(1), Some(2)));
        drop(slot);
        let _slot = waits_second.await;
        assert_eq!((gate.position(second), gate.position(third)), (None, Some(1)));
        assert_eq!((gate.n_running(), gate.n_queued()), (1, 1));
        drop(waits_third);
        assert_eq!(gate.n_queued(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_go_through_in_a_minute_than_the_rate_allows() {
        let gate = Gate::new(10, Some(2));
        let began = Instant::now();
        for seconds in [0, 0, 60, 60, 120, 120] {
            drop(gate.enter(GenerationId::fresh()).await);
            assert_eq!(began.elapsed().as_secs(), seconds);
        }
        let mut waits = Box::pin(gate.enter(GenerationId::fresh()));
        assert!((&mut waits).now_or_never().is_none(), "both of this minute are gone");
        drop(waits);
        assert_eq!(gate.n_queued(), 0);
    }

    #[test]
    fn a_job_already_at_the_provider_takes_a_place_only_if_one_is_free() {
        let gate = Gate::new(1, None);
        let adopted = gate.adopt();
        assert!(adopted.is_some() && gate.adopt().is_none());
    }
}
