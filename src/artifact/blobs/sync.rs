//! Makes files durable together: whoever comes first syncs for all who come in the meantime.
//!
//! Invariants: a file is reported as durable only after it and every name on the way to it was synced; the trouble of one file is told to
//! that file's owner alone, that of a folder to all who put a file there; nobody holds a thread while another one syncs.

use std::{
    collections::HashMap,
    fs::File,
    io, mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::spawn_blocking,
    time::Instant,
};

/// Files on their way at a time, each of which is open; more wait for a place.
const N_PLACES: usize = 256;
/// How long a folder counts as durable. An empty one is deleted after a longer rest only, see `leftovers`: one that counts is still the
/// one that was synced, also where several processes share the disk.
pub(super) const KNOWN_FOR: Duration = Duration::from_secs(30 * 60);
/// Most folders that are remembered; there is one an hour.
const MAX_KNOWN: usize = 64;

/// Those who wait for the disk. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Syncs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    places: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Asked>,
    /// Somebody syncs, and will look at who waits afterwards.
    is_led: bool,
    /// Folders whose own names are durable, and since when. One that is merely there may be of a process that was killed before it synced.
    known: HashMap<PathBuf, Instant>,
}

/// A file whose name is in place.
#[derive(Debug)]
struct Asked {
    file: File,
    folder: PathBuf,
    answer: oneshot::Sender<io::Result<()>>,
    _place: Place,
}

/// The right to bring one file.
#[derive(Debug)]
pub(in crate::artifact) struct Place(
    #[expect(dead_code, reason = "held until the file is synced")] OwnedSemaphorePermit,
);

/// A file that will be durable.
#[derive(Debug)]
#[must_use]
pub(in crate::artifact) struct Synced(oneshot::Receiver<io::Result<()>>);

impl Synced {
    /// Until the file is durable, or it is known that it will not be.
    pub(in crate::artifact) async fn wait(self) -> io::Result<()> {
        self.0.await.map_err(io::Error::other)?
    }
}

impl Syncs {
    /// For the files below `root`.
    pub(super) fn below(root: &Path) -> Self {
        let (root, places) = (root.to_owned(), Arc::new(Semaphore::new(N_PLACES)));
        Self(Arc::new(Inner { root, places, state: Mutex::default() }))
    }

    /// A place, once there is one.
    pub(super) async fn place(&self) -> io::Result<Place> {
        Arc::clone(&self.0.places).acquire_owned().await.map(Place).map_err(io::Error::other)
    }

    /// Syncs `file`, which lies in `folder`, unless somebody is syncing and will do it next. Blocking, within a runtime.
    pub(super) fn sync(&self, file: File, folder: &Path, place: Place) -> Synced {
        let (answer, answered) = oneshot::channel();
        let mut state = self.0.state();
        state.waiting.push(Asked { file, folder: folder.to_owned(), answer, _place: place });
        let leads = !mem::replace(&mut state.is_led, true);
        drop(state);
        if leads {
            lead(&self.0);
        }
        Synced(answered)
    }

    /// Makes the names in `folder` durable, and those on the way to it. Blocking.
    pub(super) fn sync_names(&self, folder: &Path) -> io::Result<()> {
        self.0.sync_names(folder)
    }

    /// `folder` is made anew: its name is not durable.
    pub(super) fn forget(&self, folder: &Path) {
        self.0.state().known.remove(folder);
    }
}

/// Syncs for all who wait. Those who came in the meantime get a thread of their own: the first one's owner has other things to do.
fn lead(inner: &Arc<Inner>) {
    let round = mem::take(&mut inner.state().waiting);
    inner.sync(round);
    let mut state = inner.state();
    state.is_led = !state.waiting.is_empty();
    if state.is_led {
        drop(state);
        let inner = Arc::clone(inner);
        spawn_blocking(move || lead(&inner));
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// First the files, then each folder once: a file system with a journal writes it for all with the first of them.
    fn sync(&self, round: Vec<Asked>) {
        let written: Vec<_> = round.into_iter().map(|asked| (asked.file.sync_all(), asked)).collect();
        let mut folders = HashMap::new();
        for (written, asked) in written {
            let done = written.and_then(|()| {
                let synced = folders.entry(asked.folder).or_insert_with_key(|folder| self.sync_names(folder));
                synced.as_ref().copied().map_err(copy)
            });
            // Who asked may have hung up; what is stored then has no record and is swept.
            asked.answer.send(done).ok();
        }
    }

    /// Makes the names in `folder` durable, and its own if that is not known.
    fn sync_names(&self, folder: &Path) -> io::Result<()> {
        let now = Instant::now();
        sync_folder(folder)?;
        if self.state().known.get(folder).is_some_and(|since| now.duration_since(*since) < KNOWN_FOR) {
            return Ok(());
        }
        folder.ancestors().skip(1).take_while(|dir| dir.starts_with(&self.root)).try_for_each(sync_folder)?;
        let known = &mut self.state().known;
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(folder.to_owned(), now);
        Ok(())
    }
}

/// The same error for another one who must know.
fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// Makes the names in a folder durable, where a folder can be opened at all.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// Files that came while somebody was syncing.
    async fn waiting(syncs: &Syncs, files: &[(&Path, &Path)]) -> Vec<Synced> {
        syncs.0.state().is_led = true;
        let mut asked = Vec::new();
        for (file, folder) in files {
            asked.push(syncs.sync(File::open(file).unwrap(), folder, syncs.place().await.unwrap()));
        }
        asked
    }

    async fn lead(syncs: &Syncs) {
        let inner = Arc::clone(&syncs.0);
        spawn_blocking(move || super::lead(&inner)).await.unwrap();
    }

    fn is_known(syncs: &Syncs, folder: &Path) -> bool {
        syncs.0.state().known.contains_key(folder)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn all_who_wait_are_answered_at_once_and_the_trouble_of_one_is_its_own() {
        let root = TempDir::new().unwrap();
        let (folder, gone) = (root.path().join("day"), root.path().join("gone"));
        fs::create_dir(&folder).unwrap();
        let file = folder.join("file");
        fs::write(&file, "bytes").unwrap();
        let syncs = Syncs::below(root.path());
        // A device of this kind cannot be synced.
        let bad = Path::new("/dev/null");
        let files = [(&*file, &*folder), (bad, &*folder), (&*file, &*gone), (&*file, &*folder), (&*file, &*gone)];
        let asked = waiting(&syncs, &files).await;
        assert_eq!(syncs.0.places.available_permits(), N_PLACES - 5);
        lead(&syncs).await;
        let mut answers = Vec::new();
        for synced in asked {
            answers.push(synced.wait().await.map_err(|error| error.kind()));
        }
        let (invalid, missing) = (Err(io::ErrorKind::InvalidInput), Err(io::ErrorKind::NotFound));
        assert_eq!(answers, [Ok(()), invalid, missing, Ok(()), missing]);
        assert!(is_known(&syncs, &folder) && !is_known(&syncs, &gone));
        assert_eq!(syncs.0.places.available_permits(), N_PLACES);
        assert!(!syncs.0.state().is_led, "the next one leads again");
        let alone = syncs.sync(File::open(&file).unwrap(), &folder, syncs.place().await.unwrap());
        alone.wait().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_counts_as_durable_for_a_while_and_not_once_it_is_made_anew() {
        let root = TempDir::new().unwrap();
        let folder = root.path().join("day/hour");
        fs::create_dir_all(&folder).unwrap();
        let syncs = Syncs::below(root.path());
        let since = |syncs: &Syncs| syncs.0.state().known.get(&folder).copied();
        let sync = || syncs.sync_names(&folder).unwrap();
        sync();
        let first = since(&syncs).unwrap();
        tokio::time::advance(KNOWN_FOR / 2).await;
        sync();
        assert_eq!(since(&syncs), Some(first), "it was known");
        tokio::time::advance(KNOWN_FOR / 2).await;
        sync();
        assert_eq!(since(&syncs), Some(first + KNOWN_FOR));
        syncs.forget(&folder);
        assert_eq!(since(&syncs), None);
    }
}
