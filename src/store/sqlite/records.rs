//! The records that the writer knows, so that it need not read and parse one before each event.
//!
//! Only one connection writes the database, and only [`super::generations`] writes unfinished generations. So what it has written last is what
//! the open transaction would read.

use std::{collections::HashMap, sync::Arc};

use crate::domain::{generation::Generation, names::GenerationId};

/// Most records. Some kilobytes each.
const MOST: usize = 4096;

/// Unfinished generations as they were written last. What has ended is deleted or expires by other ways, and is never among them.
#[derive(Debug, Default)]
pub(super) struct Records {
    known: HashMap<GenerationId, Arc<Generation>>,
    /// The current write has changed something here.
    is_changed: bool,
}

impl Records {
    /// The record as it is in the open transaction, if it is known.
    pub(super) fn get(&self, id: GenerationId) -> Option<Arc<Generation>> {
        self.known.get(&id).cloned()
    }

    /// It was written so.
    pub(super) fn put(&mut self, generation: &Generation) {
        self.is_changed = true;
        if generation.state.is_terminal() {
            self.known.remove(&generation.id);
            return;
        }
        if self.known.len() >= MOST && !self.known.contains_key(&generation.id) {
            // Those at work are soon known again.
            self.known.clear();
        }
        self.known.insert(generation.id, Arc::new(generation.clone()));
    }

    /// A write begins.
    pub(super) fn begin(&mut self) {
        self.is_changed = false;
    }

    /// The write that began last is undone.
    pub(super) fn undo(&mut self) {
        if self.is_changed {
            self.forget();
        }
    }

    /// The transaction is undone, or may be: nothing is known any more.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{generation::State, life::tests::drafted};

    #[test]
    fn no_more_are_known_than_there_is_room_for_and_none_that_has_ended() {
        let mut records = Records::default();
        let mut first = drafted(1);
        records.put(&first);
        for _ in 1..MOST {
            records.put(&Generation { id: GenerationId::fresh(), ..first.clone() });
        }
        first.sequence += 1;
        records.put(&first);
        assert_eq!(records.known.len(), MOST, "one that is known takes no further room");
        assert_eq!(records.get(first.id).as_deref(), Some(&first));
        let next = drafted(1);
        records.put(&next);
        assert_eq!((records.known.len(), records.get(first.id)), (1, None));
        records.put(&Generation { state: State::Failed, ..next.clone() });
        assert_eq!(records.get(next.id), None);
    }
}
