//! Which generations are driven by this process: one driver each, which can be told to look again.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{domain::names::GenerationId, store::port::Claim};

/// The drivers at work; a cheap handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Drivers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Table {
    at_work: HashMap<GenerationId, Arc<Driving>>,
    /// Who took a job over, and from whom: the driver of that one goes on with it once it has time to look.
    heirs: HashMap<GenerationId, GenerationId>,
}

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
        match self.lock().at_work.entry(id) {
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

    /// Has the driver read its record again and ask the provider now; false if none is at work, nor will come.
    pub(super) fn nudge(&self, id: GenerationId) -> bool {
        self.lock().driver_of(id).map(|driving| driving.nudge.notify_one()).is_some()
    }

    /// True if a driver is at work.
    pub(super) fn drives(&self, id: GenerationId) -> bool {
        self.lock().at_work.contains_key(&id)
    }

    /// True if a driver is at work, or if one will come with the job that it is still busy with.
    pub(super) fn will_drive(&self, id: GenerationId) -> bool {
        self.lock().driver_of(id).is_some()
    }

    /// Those of `ids` that no driver is at work for.
    pub(super) fn undriven<T>(&self, ids: Vec<(GenerationId, T)>) -> Vec<(GenerationId, T)> {
        let table = self.lock();
        ids.into_iter().filter(|(id, _)| !table.at_work.contains_key(id)).collect()
    }

    /// All that are driven, with their drivers' claims.
    pub(super) fn all(&self) -> Vec<(GenerationId, Claim)> {
        self.lock().at_work.iter().map(|(id, driving)| (*id, driving.claim)).collect()
    }

    /// The job of `from` goes on as `to`: its driver, if one is at work, will come, perhaps only after a long call of the provider.
    pub(super) fn expect(&self, from: GenerationId, to: GenerationId) {
        let mut table = self.lock();
        if table.driver_of(from).is_some() {
            // A job is handed over rarely, so this is the time to forget the heirs whose driver has come or gone.
            let done: Vec<_> = table.heirs.keys().copied().filter(|heir| table.driver_of(*heir).is_none()).collect();
            for heir in done {
                table.heirs.remove(&heir);
            }
            table.heirs.insert(to, from);
        }
    }

    /// Returns once no driver is at work.
    pub(super) async fn gone(&self) {
        loop {
            let emptied = self.0.emptied.notified();
            if self.lock().at_work.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The driver of a generation, or the one that will come.
    fn driver_of(&self, id: GenerationId) -> Option<&Arc<Driving>> {
        let mut id = id;
        loop {
            if let Some(driving) = self.at_work.get(&id) {
                return Some(driving);
            }
            id = *self.heirs.get(&id)?;
        }
    }
}

impl AtWork {
    /// The claim the driver writes with.
    pub(super) fn claim(&self) -> Claim {
        self.driving.claim
    }

    /// False once another driver has come in its place, perhaps with the same claim.
    pub(super) fn is_current(&self) -> bool {
        self.drivers.lock().at_work.get(&self.id).is_some_and(|driving| Arc::ptr_eq(driving, &self.driving))
    }

    /// Waits to be nudged. A nudge that came before is not lost.
    pub(super) async fn nudged(&self) {
        self.driving.nudge.notified().await;
    }

    /// Goes on with another generation, whose own driver, if it had one, ends.
    pub(super) fn move_to(&mut self, id: GenerationId, claim: Claim) {
        let driving = Arc::new(Driving { claim, nudge: Notify::new() });
        if let Some(other) = self.drivers.lock().at_work.insert(id, Arc::clone(&driving)) {
            other.nudge.notify_one();
        }
        *self = Self { drivers: self.drivers.clone(), id, driving };
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut table = self.drivers.lock();
        if table.at_work.get(&self.id).is_some_and(|driving| Arc::ptr_eq(driving, &self.driving)) {
            table.at_work.remove(&self.id);
            if table.at_work.is_empty() {
                self.drivers.0.emptied.notify_waiters();
            }
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
        assert!(!first.is_current() && second.is_current());
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
        assert!(at_work.is_current() && !replaced.is_current());
        assert!(replaced.nudged().now_or_never().is_some());
        assert!(!drivers.nudge(leader) && drivers.nudge(follower));
        assert!(at_work.nudged().now_or_never().is_some());
        drop(replaced);
        assert!(drivers.drives(follower));
    }

    #[test]
    fn a_job_that_was_handed_over_is_driven_also_before_its_driver_comes() {
        let (drivers, [leader, heir, last, other]) = (Drivers::default(), [(); 4].map(|()| GenerationId::fresh()));
        let mut at_work = drivers.enter(leader, Claim::of(1)).unwrap();
        drivers.expect(leader, heir);
        drivers.expect(heir, last);
        drivers.expect(other, GenerationId::fresh());
        assert!(drivers.will_drive(heir) && drivers.will_drive(last) && !drivers.drives(last));
        assert!(drivers.nudge(last) && at_work.nudged().now_or_never().is_some());
        at_work.move_to(last, Claim::of(1));
        assert!(!drivers.will_drive(heir) && drivers.will_drive(last));
        drop(at_work);
        assert!(!drivers.will_drive(last));
    }

    #[tokio::test]
    async fn the_last_to_go_is_noticed() {
        let (drivers, id) = (Drivers::default(), GenerationId::fresh());
        drivers.gone().await;
        let at_work = drivers.enter(id, Claim::SOLE).unwrap();
        let mut gone = std::pin::pin!(drivers.gone());
        assert!((&mut gone).now_or_never().is_none());
        drop(at_work);
        gone.await;
    }
}
