//! Which callback is sent next: at most so many at once, and at most a few to one host, so that a slow receiver keeps nobody else waiting.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use crate::{domain::callback::host, store::port::DueCallback};

/// Most calls at once.
const PLACES: usize = 32;
/// Most calls of one host at once.
const PLACES_OF_HOST: usize = 4;

/// What is being sent and what waits for it.
#[derive(Debug, Default)]
pub(super) struct Desk {
    n_out: usize,
    /// Calls under way by host.
    out: BTreeMap<String, usize>,
    /// Claimed, and waiting for a place at their host. A host with one here is not claimed for, so these are few.
    waiting: VecDeque<DueCallback>,
}

impl Desk {
    /// How many more may be claimed.
    pub(super) fn n_free(&self) -> usize {
        PLACES - self.n_out
    }

    /// Hosts for which nothing more is to be claimed now.
    pub(super) fn busy(&self) -> Vec<String> {
        let full = self.out.iter().filter(|(_, n_out)| **n_out >= PLACES_OF_HOST).map(|(host, _)| host.clone());
        let mut busy: Vec<String> = full.chain(self.waiting.iter().map(|due| host(&due.url).to_owned())).collect();
        busy.sort_unstable();
        busy.dedup();
        busy
    }

    /// Takes in what was claimed.
    pub(super) fn add(&mut self, due: Vec<DueCallback>) {
        self.waiting.extend(due);
    }

    /// The next one to be sent, if any has a place. One whose claim ends before `enough` is left to whoever claims it next.
    pub(super) fn next(&mut self, enough: Timestamp) -> Option<DueCallback> {
        if self.n_free() == 0 {
            return None;
        }
        self.waiting.retain(|due| due.callback.next_at.is_some_and(|until| until >= enough));
        let has_place = |due: &DueCallback| self.out.get(host(&due.url)).is_none_or(|n_out| *n_out < PLACES_OF_HOST);
        let index = self.waiting.iter().position(has_place)?;
        let due = self.waiting.remove(index)?;
        *self.out.entry(host(&due.url).to_owned()).or_default() += 1;
        self.n_out += 1;
        Some(due)
    }

    /// A call of this host has ended.
    pub(super) fn done(&mut self, host: &str) {
        self.n_out = self.n_out.saturating_sub(1);
        if let Some(n_out) = self.out.get_mut(host) {
            *n_out -= 1;
            if *n_out == 0 {
                self.out.remove(host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        callback::Callback,
        life::tests::{START, drafted},
    };

    fn due(host: &str, n: usize) -> Vec<DueCallback> {
        let url = format!("https://{host}/").parse().unwrap();
        vec![DueCallback { generation: drafted(1), url, callback: Callback::due(START) }; n]
    }

    fn taken(desk: &mut Desk) -> Vec<String> {
        std::iter::from_fn(|| desk.next(START)).map(|due| host(&due.url).to_owned()).collect()
    }

    #[test]
    fn a_host_has_four_places_and_the_rest_waits_for_them() {
        let mut desk = Desk::default();
        desk.add(due("a", 6));
        desk.add(due("b", 1));
        assert_eq!(taken(&mut desk), ["a", "a", "a", "a", "b"]);
        assert_eq!((desk.busy(), desk.n_free()), (vec!["a".to_owned()], PLACES - 5));
        desk.done("a");
        assert_eq!(taken(&mut desk), ["a"]);
        desk.done("a");
        desk.done("a");
        assert_eq!(taken(&mut desk), ["a"]);
        assert!(desk.busy().is_empty(), "it has a place and nothing waits for it");
    }

    #[test]
    fn there_are_so_many_places_and_no_more() {
        let mut desk = Desk::default();
        for n in 0..PLACES {
            desk.add(due(&format!("host-{n}"), 2));
        }
        assert_eq!((taken(&mut desk).len(), desk.n_free()), (PLACES, 0));
        assert_eq!(desk.busy().len(), PLACES / 2, "what waits keeps its host from being claimed for");
    }

    #[test]
    fn what_cannot_be_sent_within_its_claim_is_left_to_the_next() {
        let mut desk = Desk::default();
        desk.add(due("a", 1));
        assert_eq!(desk.next(START + std::time::Duration::from_secs(1)), None);
        assert!(desk.busy().is_empty());
    }
}
