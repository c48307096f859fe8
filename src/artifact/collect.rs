//! Takes bytes from anywhere, checks them on the local disk, and only then stores them.
//!
//! Memory does not grow with the file: bytes go to a temporary file while they are hashed, and are looked at there. Whatever ends
//! early takes its temporary file with it.

use std::{
    convert::Infallible,
    fs,
    io::{self, Write},
    mem,
    panic::catch_unwind,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    blobs::{self, Blobs, is_no_space},
    probe::{self, Invalid},
};
use crate::domain::artifact::{BlobKey, Kind, MediaFacts};

/// Arriving bytes are written in batches of this size, each one hop to the blocking pool. A file below it is looked at in the same hop.
const BATCH_BYTES: usize = 1024 * 1024;
/// Longest look at a file; a day of sound takes seconds.
const INSPECT_TIME: Duration = Duration::from_secs(30);

/// Why bytes did not become a blob. `E` is the error of the source; [`Infallible`] once the bytes are here.
#[derive(Debug, thiserror::Error)]
pub enum CollectError<E = Infallible> {
    /// The source broke off; fetching again may help.
    #[error("the bytes did not arrive whole")]
    Source(E),
    /// There are more bytes than one artifact may have.
    #[error("the file is larger than {max} bytes")]
    TooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// The bytes are no whole file of the expected kind.
    #[error(transparent)]
    Invalid(Invalid),
    /// The disk or the quota is full.
    #[error("there is no space left")]
    NoSpace,
    /// Our disk or blob store failed.
    #[error("storing failed")]
    Io(#[source] io::Error),
}

/// Spools, inspects and stores. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Collector {
    blobs: Blobs,
    spool_dir: PathBuf,
    max_bytes: u64,
}

/// Bytes in a temporary file, which is deleted when this is dropped.
#[derive(Debug)]
pub struct Spooled {
    path: TempPath,
    len: u64,
    sha256: String,
    seen: Option<Seen>,
}

/// What a look at the bytes told, whatever kind of file was expected.
type Seen = Result<MediaFacts, Invalid>;

/// A blob that is stored durably.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredBlob {
    /// Where it is.
    pub key: BlobKey,
    /// Bytes.
    pub len: u64,
    /// SHA-256 of the bytes, 64 lower-case hexadecimal digits.
    pub sha256: String,
    seen: Option<Seen>,
}

impl Collector {
    /// A collector over `blobs` that accepts up to `max_bytes` a file.
    ///
    /// Makes `spool_dir` and deletes the files a crashed process left in it; only one process may use the folder. Blocking; called at start.
    pub fn prepare(blobs: Blobs, spool_dir: PathBuf, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(&spool_dir)?;
        for entry in fs::read_dir(&spool_dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { blobs, spool_dir, max_bytes })
    }

    /// Writes `source` to a temporary file while hashing it. It need not survive a crash: the vendor is asked again then.
    ///
    /// `expected_length` is what the source announced; another length is [`Invalid`]. At most 1 MiB and one item of `source` are in memory.
    pub async fn spool<E>(
        &self,
        mut source: impl Stream<Item = Result<Bytes, E>> + Unpin,
        expected_length: Option<u64>,
    ) -> Result<Spooled, CollectError<E>> {
        let too_large = CollectError::TooLarge { max: self.max_bytes };
        if expected_length.is_some_and(|length| length > self.max_bytes) {
            return Err(too_large);
        }
        let dir = self.spool_dir.clone();
        // The file is made with its first batch, so that a small one takes a single hop.
        let mut spool = Spool::planned(dir);
        let (mut batch, mut n_batched, mut len) = (Vec::new(), 0, 0_u64);
        while let Some(item) = source.next().await {
            let bytes = item.map_err(CollectError::Source)?;
            len += bytes.len() as u64;
            if len > self.max_bytes {
                return Err(too_large);
            }
            n_batched += bytes.len();
            batch.push(bytes);
            if n_batched >= BATCH_BYTES {
                let full = mem::take(&mut batch);
                n_batched = 0;
                spool = blocking(move || spool.write(&full)).await?;
            }
        }
        check_length(len, expected_length).map_err(CollectError::Invalid)?;
        blocking(move || spool.write(&batch)?.finish(len)).await
    }

    /// Looks at the bytes: what they are, whether they are whole. Ends within 30 s.
    pub async fn inspect(&self, spooled: &Spooled, expected: Kind) -> Result<MediaFacts, CollectError> {
        inspect(&spooled.path, spooled.len, spooled.seen.as_ref(), expected).await
    }

    /// As [`Collector::inspect`], where the bytes are; none if that is no file of this machine.
    pub async fn inspect_stored(
        &self,
        stored: &StoredBlob,
        expected: Kind,
    ) -> Option<Result<MediaFacts, CollectError>> {
        let path = self.blobs.folder()?.path(&stored.key);
        Some(inspect(&path, stored.len, stored.seen.as_ref(), expected).await)
    }

    /// Hands the bytes over to the blob store under `key`; durable when this returns, and done once.
    ///
    /// After a failure the temporary file is still there until `spooled` is dropped: a full disk costs another try and not the paid bytes.
    pub async fn store(&self, spooled: &Spooled, key: BlobKey) -> Result<StoredBlob, CollectError> {
        self.blobs.put_file(&key, &spooled.path).await?;
        Ok(StoredBlob::of(spooled, key))
    }

    /// Stores bytes that are here already under `key`, whatever they are; durable when this returns.
    ///
    /// In a folder they are written where they stay. A small file is looked at while the disk has it, which takes no time to speak of; the
    /// look at a large one may take long, and what was paid for is to be on record first.
    pub async fn store_bytes(&self, bytes: Bytes, key: BlobKey) -> Result<StoredBlob, CollectError> {
        let len = bytes.len() as u64;
        if len > self.max_bytes {
            return Err(CollectError::TooLarge { max: self.max_bytes });
        }
        check_length(len, None).map_err(CollectError::Invalid)?;
        let Some(folder) = self.blobs.folder().cloned() else {
            let spool = Spool::planned(self.spool_dir.clone());
            let spooled = blocking(move || spool.write(&[bytes])?.finish(len)).await?;
            return self.store(&spooled, key).await;
        };
        let place = folder.place().await?;
        let (stored, synced) = blocking::<_, Infallible>(move || {
            let sha256 = hex::encode(Sha256::digest(&bytes));
            let synced = folder.write(&key, &bytes, place)?;
            let seen = look_if_small(&folder.path(&key), len);
            Ok((StoredBlob { key, len, sha256, seen }, synced))
        })
        .await?;
        synced.wait().await?;
        Ok(stored)
    }

    /// The most bytes one file may have.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }
}

impl Spooled {
    /// Where the bytes are until this is dropped.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes, at least one.
    #[expect(clippy::len_without_is_empty, reason = "nothing is never spooled")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// SHA-256 of the bytes, 64 lower-case hexadecimal digits.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

impl StoredBlob {
    /// The blob at `key`, whose bytes are those of `spooled`.
    pub fn of(spooled: &Spooled, key: BlobKey) -> Self {
        Self { key, len: spooled.len, sha256: spooled.sha256.clone(), seen: spooled.seen.clone() }
    }
}

impl CollectError {
    /// The same error where the source may fail too, so that one `?` serves all three steps.
    pub fn widen<E>(self) -> CollectError<E> {
        match self {
            Self::Source(never) => match never {},
            Self::TooLarge { max } => CollectError::TooLarge { max },
            Self::Invalid(invalid) => CollectError::Invalid(invalid),
            Self::NoSpace => CollectError::NoSpace,
            Self::Io(error) => CollectError::Io(error),
        }
    }
}

impl<E> From<io::Error> for CollectError<E> {
    fn from(error: io::Error) -> Self {
        if is_no_space(&error) { Self::NoSpace } else { Self::Io(error) }
    }
}

impl<E> From<blobs::Error> for CollectError<E> {
    fn from(error: blobs::Error) -> Self {
        match error {
            blobs::Error::NoSpace => Self::NoSpace,
            blobs::Error::Failed(cause) => Self::Io(io::Error::other(cause)),
            error @ (blobs::Error::NotFound
            | blobs::Error::OutOfRange
            | blobs::Error::NoBucket
            | blobs::Error::Refused(_)
            | blobs::Error::Setup(_)) => Self::Io(io::Error::other(error)),
        }
    }
}

async fn inspect(path: &Path, size: u64, seen: Option<&Seen>, expected: Kind) -> Result<MediaFacts, CollectError> {
    let seen = match seen {
        Some(seen) => seen.clone(),
        None => look(path.to_owned()).await?,
    };
    let facts = seen.and_then(|facts| probe::judge(facts, expected)).map_err(CollectError::Invalid)?;
    tracing::debug!(media_type = %facts.media_type, size, "inspected a file");
    Ok(facts)
}

async fn look(path: PathBuf) -> Result<Seen, CollectError> {
    let look = spawn_blocking(move || probe::look(&path));
    let unreadable = |why| Ok(Err(Invalid::Unreadable { why }));
    match timeout(INSPECT_TIME, look).await {
        Ok(Ok(seen)) => Ok(seen),
        // A parser that gave up on hostile bytes has judged them.
        Ok(Err(error)) if error.is_panic() => unreadable("it cannot be understood"),
        Ok(Err(error)) => Err(CollectError::Io(io::Error::other(error))),
        Err(_) => unreadable("looking at it took too long"),
    }
}

/// Looks at a file that is read in no time. None if it is larger, or if a parser gave up: whoever inspects it looks again. Blocking.
fn look_if_small(path: &Path, len: u64) -> Option<Seen> {
    if len > BATCH_BYTES as u64 {
        return None;
    }
    catch_unwind(|| probe::look(path)).ok()
}

fn check_length(len: u64, expected: Option<u64>) -> Result<(), Invalid> {
    match expected {
        Some(expected) if len < expected => Err(Invalid::Truncated { why: "fewer bytes came than were announced" }),
        Some(expected) if len > expected => Err(Invalid::Unreadable { why: "more bytes came than were announced" }),
        Some(_) | None if len == 0 => Err(Invalid::Empty),
        Some(_) | None => Ok(()),
    }
}

/// A temporary file being written, or about to be.
struct Spool {
    dir: PathBuf,
    file: Option<NamedTempFile>,
    hash: Sha256,
}

impl Spool {
    fn planned(dir: PathBuf) -> Self {
        Self { dir, file: None, hash: Sha256::new() }
    }

    fn write(mut self, batch: &[Bytes]) -> io::Result<Self> {
        let mut file = self.file.take().map_or_else(|| NamedTempFile::new_in(&self.dir), Ok)?;
        for bytes in batch {
            self.hash.update(bytes);
            file.as_file_mut().write_all(bytes)?;
        }
        Ok(Self { file: Some(file), ..self })
    }

    fn finish(self, len: u64) -> io::Result<Spooled> {
        let Some(file) = self.file else { return Err(io::ErrorKind::NotFound.into()) };
        let (path, sha256) = (file.into_temp_path(), hex::encode(self.hash.finalize()));
        let seen = look_if_small(&path, len);
        Ok(Spooled { path, len, sha256, seen })
    }
}

/// Runs disk work off the async threads. What it owns is dropped there too, temporary files included.
async fn blocking<T: Send + 'static, E>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, CollectError<E>> {
    Ok(spawn_blocking(work).await.map_err(io::Error::other)??)
}

#[cfg(test)]
mod tests;
