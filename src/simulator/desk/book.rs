//! The stored jobs: found by id at once, listed by time, and bounded.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;

use super::{job::Job, life::Pace};

/// Input bytes kept over all jobs; beyond that old ones are dropped although their number would do.
const MAX_INPUT_BYTES: usize = 512 << 20;

/// How many of the oldest jobs are looked at for a finished one to drop; if none is, the oldest goes.
const EVICTION_REACH: usize = 64;

/// All jobs of one vendor.
#[derive(Debug)]
pub(crate) struct Book<D> {
    shelf: Mutex<Shelf<D>>,
}

impl<D> Default for Book<D> {
    fn default() -> Self {
        Self { shelf: Mutex::default() }
    }
}

/// Place in the list: time, then order of creation.
type Place = (Timestamp, u64);

#[derive(Debug)]
struct Shelf<D> {
    by_id: HashMap<String, Arc<Job<D>>>,
    by_time: BTreeMap<Place, (Arc<Job<D>>, usize)>,
    held: BTreeMap<u64, Arc<Job<D>>>,
    input_bytes: usize,
}

impl<D> Default for Shelf<D> {
    fn default() -> Self {
        Self { by_id: HashMap::new(), by_time: BTreeMap::new(), held: BTreeMap::new(), input_bytes: 0 }
    }
}

/// Which part of the list is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Query {
    /// Created after this, exclusively.
    pub(crate) after: Option<Timestamp>,
    /// Created before this, exclusively.
    pub(crate) before: Option<Timestamp>,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) page_size: usize,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// Just older than this place.
    Older(Timestamp, u64),
    /// Just newer than this place.
    Newer(Timestamp, u64),
}

/// A page, newest first.
#[derive(Debug)]
pub(crate) struct Page<D> {
    pub(crate) jobs: Vec<Arc<Job<D>>>,
    pub(crate) next: Option<Cursor>,
    pub(crate) previous: Option<Cursor>,
}

impl<D> Book<D> {
    /// Stores a job whose input came in as `input_bytes`, and drops old ones beyond `limit`.
    pub(crate) fn insert(&self, job: &Arc<Job<D>>, input_bytes: usize, limit: usize) {
        let mut shelf = self.shelf();
        let place = (job.created_at, job.sequence);
        shelf.by_id.insert(job.id.clone(), Arc::clone(job));
        shelf.by_time.insert(place, (Arc::clone(job), input_bytes));
        shelf.input_bytes += input_bytes;
        if job.plan.pace == Pace::Held {
            shelf.held.insert(job.sequence, Arc::clone(job));
        }
        while shelf.by_time.len() > limit || (shelf.input_bytes > MAX_INPUT_BYTES && shelf.by_time.len() > 1) {
            shelf.drop_one();
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Job<D>>> {
        self.shelf().by_id.get(id).cloned()
    }

    pub(crate) fn clear(&self) {
        *self.shelf() = Shelf::default();
    }

    /// Every job, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Job<D>>> {
        self.shelf().by_time.values().map(|(job, _)| Arc::clone(job)).collect()
    }

    /// Takes up to `limit` held jobs out of the queue, oldest first.
    pub(crate) fn take_held(&self, limit: usize) -> Vec<Arc<Job<D>>> {
        let mut shelf = self.shelf();
        std::iter::from_fn(|| shelf.held.pop_first()).take(limit).map(|(_, job)| job).collect()
    }

    /// Takes this one held job out of the queue.
    pub(crate) fn take_held_one(&self, id: &str) -> Option<Arc<Job<D>>> {
        let mut shelf = self.shelf();
        let sequence = shelf.by_id.get(id)?.sequence;
        shelf.held.remove(&sequence)
    }

    pub(crate) fn page(&self, query: Query) -> Page<D> {
        let shelf = self.shelf();
        let mut low = query.after.map_or(Bound::Unbounded, |time| Bound::Excluded((time, u64::MAX)));
        let mut high = query.before.map_or(Bound::Unbounded, |time| Bound::Excluded((time, 0)));
        match query.cursor {
            Some(Cursor::Older(time, sequence)) => high = Bound::Excluded((time, sequence)),
            Some(Cursor::Newer(time, sequence)) => low = Bound::Excluded((time, sequence)),
            None => {}
        }
        if is_empty(low, high) {
            return Page { jobs: Vec::new(), next: None, previous: None };
        }
        let range = shelf.by_time.range((low, high)).map(|(_, (job, _))| Arc::clone(job));
        // One more than a page tells whether there is another.
        let mut jobs: Vec<_> = match query.cursor {
            Some(Cursor::Newer(..)) => range.take(query.page_size + 1).collect(),
            Some(Cursor::Older(..)) | None => range.rev().take(query.page_size + 1).collect(),
        };
        let has_more = jobs.len() > query.page_size;
        jobs.truncate(query.page_size);
        let (has_newer, has_older) = match query.cursor {
            Some(Cursor::Newer(..)) => {
                jobs.reverse();
                (has_more, true)
            }
            Some(Cursor::Older(..)) => (true, has_more),
            None => (false, has_more),
        };
        let edge = |job: Option<&Arc<Job<D>>>| job.map(|found| (found.created_at, found.sequence));
        let next = edge(jobs.last()).filter(|_| has_older).map(|(time, n)| Cursor::Older(time, n));
        let previous = edge(jobs.first()).filter(|_| has_newer).map(|(time, n)| Cursor::Newer(time, n));
        Page { jobs, next, previous }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf<D>> {
        // No code panics while it holds the lock, so a poisoned one still guards whole data.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D> Shelf<D> {
    fn drop_one(&mut self) {
        let finished = self.by_time.iter().take(EVICTION_REACH).find(|(_, (job, _))| job.is_ended());
        let Some(place) = finished.or_else(|| self.by_time.first_key_value()).map(|(place, _)| *place) else { return };
        if let Some((job, input_bytes)) = self.by_time.remove(&place) {
            self.by_id.remove(&job.id);
            self.held.remove(&job.sequence);
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
    pub(crate) fn encode(self) -> String {
        let (direction, time, sequence) = match self {
            Self::Older(time, sequence) => ('n', time, sequence),
            Self::Newer(time, sequence) => ('p', time, sequence),
        };
        URL_SAFE_NO_PAD.encode(format!("{direction}:{}:{sequence}", time.as_nanosecond()))
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
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

    use super::*;
    use crate::simulator::{
        desk::{
            Draft, Received,
            job::Outputs,
            life::{Cancelling, Ending, Plan},
        },
        output::{Media, Native, Shape},
    };

    fn job(sequence: u64, ending: Ending) -> Arc<Job<()>> {
        let plan = Plan {
            boot: Duration::ZERO,
            run: Duration::ZERO,
            ending,
            pace: Pace::Clock,
            cancelling: Cancelling::Honoured,
            deadline: None,
            retention: Duration::MAX,
        };
        let native = Native::One;
        let outputs = Outputs { shape: Shape::Native, native, media: Media::Mp4, n_files: 1, size: 0, expiry: None };
        let draft = Draft {
            id: format!("id{sequence}"),
            model: "acme/clips".to_owned(),
            prompt: format!("prompt {sequence}"),
            received: Received::default(),
            media: Media::Mp4,
            n_files: 1,
            native,
            deadline: None,
            data: (),
        };
        Arc::new(Job::new("acme", sequence, draft, plan, outputs))
    }

    fn book(n: u64) -> (Book<()>, Vec<Arc<Job<()>>>) {
        let book = Book::default();
        let all: Vec<_> = (0..n).map(|sequence| job(sequence, Ending::Succeeded)).collect();
        all.iter().for_each(|job| book.insert(job, 10, 1000));
        (book, all)
    }

    fn sequences(page: &Page<()>) -> Vec<u64> {
        page.jobs.iter().map(|job| job.sequence).collect()
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
    fn a_new_job_does_not_shift_the_next_page() {
        let (book, _) = book(4);
        let first = book.page(Query { page_size: 2, ..Query::default() });
        book.insert(&job(4, Ending::Succeeded), 10, 1000);
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
            book.insert(&job(sequence, ending), 10, 3);
        }
        assert_eq!(sequences(&book.page(Query { page_size: 9, ..Query::default() })), [3, 2, 0]);
        assert!(book.get("id1").is_none() && book.get("id0").is_some());
    }
}
