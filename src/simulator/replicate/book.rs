//! The stored predictions: found by id at once, listed by time, and bounded.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;

use super::prediction::Prediction;

/// Input bytes kept over all predictions; beyond that old ones are dropped although their number would do.
const MAX_INPUT_BYTES: usize = 512 << 20;

/// How many of the oldest predictions are looked at for a finished one to drop; if none is, the oldest goes.
const EVICTION_REACH: usize = 64;

/// All predictions of one simulated account.
#[derive(Debug, Default)]
pub(super) struct Book {
    shelf: Mutex<Shelf>,
}

/// Place in the list: time, then order of creation.
type Place = (Timestamp, u64);

#[derive(Debug, Default)]
struct Shelf {
    by_id: HashMap<String, Arc<Prediction>>,
    by_time: BTreeMap<Place, (Arc<Prediction>, usize)>,
    held: BTreeMap<u64, Arc<Prediction>>,
    input_bytes: usize,
}

/// Which part of the list is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Query {
    /// Created after this, exclusively.
    pub(super) after: Option<Timestamp>,
    /// Created before this, exclusively.
    pub(super) before: Option<Timestamp>,
    pub(super) cursor: Option<Cursor>,
    pub(super) page_size: usize,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cursor {
    /// Just older than this place.
    Older(Timestamp, u64),
    /// Just newer than this place.
    Newer(Timestamp, u64),
}

/// A page, newest first.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) predictions: Vec<Arc<Prediction>>,
    pub(super) next: Option<Cursor>,
    pub(super) previous: Option<Cursor>,
}

impl Book {
    /// Stores a prediction whose input came in as `input_bytes`, and drops old ones beyond `limit`.
    pub(super) fn insert(&self, prediction: &Arc<Prediction>, input_bytes: usize, limit: usize) {
        let mut shelf = self.shelf();
        let place = (prediction.created_at, prediction.sequence);
        shelf.by_id.insert(prediction.id.clone(), Arc::clone(prediction));
        shelf.by_time.insert(place, (Arc::clone(prediction), input_bytes));
        shelf.input_bytes += input_bytes;
        if prediction.plan.pace == super::life::Pace::Held {
            shelf.held.insert(prediction.sequence, Arc::clone(prediction));
        }
        while shelf.by_time.len() > limit || (shelf.input_bytes > MAX_INPUT_BYTES && shelf.by_time.len() > 1) {
            shelf.drop_one();
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Prediction>> {
        self.shelf().by_id.get(id).cloned()
    }

    pub(super) fn clear(&self) {
        *self.shelf() = Shelf::default();
    }

    /// Every prediction, oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Prediction>> {
        self.shelf().by_time.values().map(|(prediction, _)| Arc::clone(prediction)).collect()
    }

    /// Takes up to `limit` held predictions out of the queue, oldest first.
    pub(super) fn take_held(&self, limit: usize) -> Vec<Arc<Prediction>> {
        let mut shelf = self.shelf();
        std::iter::from_fn(|| shelf.held.pop_first()).take(limit).map(|(_, prediction)| prediction).collect()
    }

    /// Takes this one held prediction out of the queue.
    pub(super) fn take_held_one(&self, id: &str) -> Option<Arc<Prediction>> {
        let mut shelf = self.shelf();
        let sequence = shelf.by_id.get(id)?.sequence;
        shelf.held.remove(&sequence)
    }

    pub(super) fn page(&self, query: Query) -> Page {
        let shelf = self.shelf();
        let mut low = query.after.map_or(Bound::Unbounded, |time| Bound::Excluded((time, u64::MAX)));
        let mut high = query.before.map_or(Bound::Unbounded, |time| Bound::Excluded((time, 0)));
        match query.cursor {
            Some(Cursor::Older(time, sequence)) => high = Bound::Excluded((time, sequence)),
            Some(Cursor::Newer(time, sequence)) => low = Bound::Excluded((time, sequence)),
            None => {}
        }
        if is_empty(low, high) {
            return Page { predictions: Vec::new(), next: None, previous: None };
        }
        let range = shelf.by_time.range((low, high)).map(|(_, (prediction, _))| Arc::clone(prediction));
        // One more than a page tells whether there is another.
        let mut predictions: Vec<_> = match query.cursor {
            Some(Cursor::Newer(..)) => range.take(query.page_size + 1).collect(),
            Some(Cursor::Older(..)) | None => range.rev().take(query.page_size + 1).collect(),
        };
        let has_more = predictions.len() > query.page_size;
        predictions.truncate(query.page_size);
        let (has_newer, has_older) = match query.cursor {
            Some(Cursor::Newer(..)) => {
                predictions.reverse();
                (has_more, true)
            }
            Some(Cursor::Older(..)) => (true, has_more),
            None => (false, has_more),
        };
        let edge = |prediction: Option<&Arc<Prediction>>| prediction.map(|found| (found.created_at, found.sequence));
        let next = edge(predictions.last()).filter(|_| has_older).map(|(time, n)| Cursor::Older(time, n));
        let previous = edge(predictions.first()).filter(|_| has_newer).map(|(time, n)| Cursor::Newer(time, n));
        Page { predictions, next, previous }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // No code panics while it holds the lock, so a poisoned one still guards whole data.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn drop_one(&mut self) {
        let finished = self.by_time.iter().take(EVICTION_REACH).find(|(_, (prediction, _))| prediction.is_ended());
        let Some(place) = finished.or_else(|| self.by_time.first_key_value()).map(|(place, _)| *place) else { return };
        if let Some((prediction, input_bytes)) = self.by_time.remove(&place) {
            self.by_id.remove(&prediction.id);
            self.held.remove(&prediction.sequence);
            self.input_bytes -= input_bytes;
        }
    }
}

/// A range that the map would refuse to walk.
fn is_empty(low: Bound<Place>, high: Bound<Place>) -> bool {
    match (low, high) {
        (Bound::Excluded(low), Bound::Excluded(high)) => low >= high,
        (Bound::Included(_) | Bound::Unbounded | Bound::Excluded(_), _) => false,
    }
}

impl Cursor {
    /// Opaque text for a link.
    pub(super) fn encode(self) -> String {
        let (direction, time, sequence) = match self {
            Self::Older(time, sequence) => ('n', time, sequence),
            Self::Newer(time, sequence) => ('p', time, sequence),
        };
        URL_SAFE_NO_PAD.encode(format!("{direction}:{}:{sequence}", time.as_nanosecond()))
    }

    pub(super) fn decode(text: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let mut parts = text.split(':');
        let direction = parts.next()?;
        let time = Timestamp::from_nanosecond(parts.next()?.parse().ok()?).ok()?;
        let sequence = parts.next()?.parse().ok()?;
        match direction {
            "n" => Some(Self::Older(time, sequence)),
            "p" => Some(Self::Newer(time, sequence)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Map, json};

    use super::*;
    use crate::simulator::{
        output::{Media, Shape},
        replicate::{
            life::{Cancelling, Ending, Pace, Plan},
            models::Catalogue,
            prediction::{Draft, Outputs},
        },
    };

    fn prediction(sequence: u64, ending: Ending) -> Arc<Prediction> {
        let model = Arc::clone(Catalogue::new(Vec::new()).unwrap().named("minimax/video-01").unwrap());
        let input: Map<_, _> = [("prompt".to_owned(), json!(format!("prompt {sequence}")))].into_iter().collect();
        let plan = Plan {
            boot: Duration::ZERO,
            run: Duration::ZERO,
            ending,
            pace: Pace::Clock,
            cancelling: Cancelling::Honoured,
            deadline: None,
            retention: Duration::MAX,
        };
        let outputs = Outputs { shape: Shape::Native, media: Media::Mp4, n_files: 1, size: 0, expiry: None };
        let id = format!("id{sequence}");
        let draft = Draft { id, sequence, model, input, callback: None, headers: Vec::new(), plan, outputs };
        Arc::new(Prediction::new(draft))
    }

    fn book(n: u64) -> (Book, Vec<Arc<Prediction>>) {
        let book = Book::default();
        let all: Vec<_> = (0..n).map(|sequence| prediction(sequence, Ending::Succeeded)).collect();
        all.iter().for_each(|prediction| book.insert(prediction, 10, 1000));
        (book, all)
    }

    fn sequences(page: &Page) -> Vec<u64> {
        page.predictions.iter().map(|prediction| prediction.sequence).collect()
    }

    #[test]
    fn pages_run_from_the_newest_to_the_oldest_and_back() {
        let (book, _) = book(7);
        let page = |cursor| book.page(Query { cursor, page_size: 3, ..Query::default() });
        let first = page(None);
        assert_eq!(sequences(&first), [6, 5, 4]);
        assert_eq!(first.previous, None);
        let second = page(first.next);
        assert_eq!(sequences(&second), [3, 2, 1]);
        let third = page(second.next);
        assert_eq!(sequences(&third), [0]);
        assert_eq!(third.next, None);
        assert_eq!(sequences(&page(third.previous)), [3, 2, 1]);
        let back = page(second.previous);
        assert_eq!(sequences(&back), [6, 5, 4]);
        assert_eq!(back.previous, None);
    }

    #[test]
    fn a_new_prediction_does_not_shift_the_next_page() {
        let (book, _) = book(4);
        let first = book.page(Query { page_size: 2, ..Query::default() });
        book.insert(&prediction(4, Ending::Succeeded), 10, 1000);
        let second = book.page(Query { cursor: first.next, page_size: 2, ..Query::default() });
        assert_eq!(sequences(&second), [1, 0]);
    }

    #[test]
    fn times_bound_the_list_exclusively() {
        let (book, all) = book(5);
        let time = |n: usize| Some(all[n].created_at);
        let page = |after, before| book.page(Query { after, before, cursor: None, page_size: 10 });
        assert_eq!(sequences(&page(time(1), None)), [4, 3, 2]);
        assert_eq!(sequences(&page(None, time(2))), [1, 0]);
        assert_eq!(sequences(&page(time(0), time(3))), [2, 1]);
        assert_eq!(sequences(&page(time(3), time(0))), [] as [u64; 0]);
    }

    #[test]
    fn a_cursor_survives_its_text() {
        let cursor = Cursor::Older(Timestamp::now(), 7);
        assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        assert_eq!(Cursor::decode("nonsense"), None);
    }

    #[test]
    fn beyond_the_limit_the_oldest_finished_one_goes() {
        let book = Book::default();
        let endings = [Ending::StuckProcessing, Ending::Succeeded, Ending::Succeeded, Ending::Succeeded];
        for (sequence, ending) in (0..).zip(endings) {
            book.insert(&prediction(sequence, ending), 10, 3);
        }
        assert_eq!(sequences(&book.page(Query { page_size: 9, ..Query::default() })), [3, 2, 0]);
        assert!(book.get("id1").is_none() && book.get("id0").is_some());
    }
}
