//! Which generations are driven by this process: one driver each, which can be told to look again.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{domain::names::GenerationId, store::port::Claim};

/// The drivers at work; a cheap handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Drivers(Arc<Mutex<HashMap<GenerationId, Arc<Driving>>>>);

#[derive(Debug)]
struct Driving {
    claim: Claim,
    nudge: Notify,
}

/// A driver's entry, until dropped.
#[derive(Debug)]
pub(super) struct AtWork {
    drivers: Drivers,
    id: GenerationId,
    driving: Arc<Driving>,
}

impl Drivers {
    /// Enters a driver; nothing if one with this claim is at work already. One with an older claim will find out that it lost it.
    pub(super) fn enter(&self, id: GenerationId, claim: Claim) -> Option<AtWork> {
        let driving = Arc::new(Driving { claim, nudge: Notify::new() });
        match self.lock().entry(id) {
            Entry::Occupied(other) if other.get().claim == claim => return None,
            Entry::Occupied(mut other) => {
                other.insert(Arc::clone(&driving)).nudge.notify_one();
            }
            Entry::Vacant(place) => {
                place.insert(Arc::clone(&driving));
            }
        }
        Some(AtWork { drivers: self.clone(), id, driving })
    }

    /// Has the driver read its record again and ask the provider now; false if none is at work.
    pub(super) fn nudge(&self, id: GenerationId) -> bool {
        self.lock().get(&id).map(|driving| driving.nudge.notify_one()).is_some()
    }

    /// True if a driver is at work.
    #[cfg(test)]
    pub(super) fn drives(&self, id: GenerationId) -> bool {
        self.lock().contains_key(&id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<GenerationId, Arc<Driving>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AtWork {
    /// The claim the driver writes with.
    pub(super) fn claim(&self) -> Claim {
        self.driving.claim
    }

    /// Waits to be nudged. A nudge that came before is not lost.
    pub(super) async fn nudged(&self) {
        self.driving.nudge.notified().await;
    }

    /// Goes on with another generation, whose own driver, if it had one, ends.
    pub(super) fn move_to(&mut self, id: GenerationId, claim: Claim) {
        let driving = Arc::new(Driving { claim, nudge: Notify::new() });
        if let Some(other) = self.drivers.lock().insert(id, Arc::clone(&driving)) {
            other.nudge.notify_one();
        }
        *self = Self { drivers: self.drivers.clone(), id, driving };
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut drivers = self.drivers.lock();
        if drivers.get(&self.id).is_some_and(|driving| Arc::ptr_eq(driving, &self.driving)) {
            drivers.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_claim_has_one_driver_and_a_newer_claim_another() {
        let (drivers, id) = (Drivers::default(), GenerationId::fresh());
        let first = drivers.enter(id, Claim::of(1)).unwrap();
        assert!(drivers.enter(id, Claim::of(1)).is_none());
        let second = drivers.enter(id, Claim::of(2)).unwrap();
        assert!(first.nudged().now_or_never().is_some(), "the older one is told to look");
        drop(first);
        assert!(drivers.drives(id), "the end of the older one is not the end of the newer one");
        drop(second);
        assert!(!drivers.drives(id) && !drivers.nudge(id));
    }

    #[test]
    fn a_nudge_reaches_the_driver_where_it_has_gone() {
        let (drivers, [leader, follower]) = (Drivers::default(), [(); 2].map(|()| GenerationId::fresh()));
        let mut at_work = drivers.enter(leader, Claim::of(1)).unwrap();
        let replaced = drivers.enter(follower, Claim::of(2)).unwrap();
        at_work.move_to(follower, Claim::of(1));
        assert!(replaced.nudged().now_or_never().is_some());
        assert!(!drivers.nudge(leader) && drivers.nudge(follower));
        assert!(at_work.nudged().now_or_never().is_some());
        drop(replaced);
        assert!(drivers.drives(follower));
    }
}
