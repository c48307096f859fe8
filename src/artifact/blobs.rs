//! Stored bytes, in a folder now and in any object store later. A blob is written once, and whole and durable when that is reported.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future, stream, stream::BoxStream};
use jiff::Timestamp;
use object_store::{
    GetOptions, GetRange, GetResultPayload, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload,
    local::LocalFileSystem,
};
use tokio::{io::AsyncReadExt, task::spawn_blocking};

use crate::domain::artifact::BlobKey;

mod leftovers;
mod local;

/// How much of a file is in memory while it is stored. A remote store that has a least part size needs its own.
const LOCAL_PART_BYTES: usize = 1024 * 1024;
/// One hop to the blocking pool a chunk: below 256 KiB the hops dominate, above 1 MiB nothing is gained.
const CHUNK_BYTES: u64 = 512 * 1024;

/// Why the blob store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No blob has this key.
    #[error("there is no such blob")]
    NotFound,
    /// The range is not inside the blob.
    #[error("the range is outside of the blob")]
    OutOfRange,
    /// The disk or the quota is full. Nothing was stored; making room and trying again helps.
    #[error("there is no space left for blobs")]
    NoSpace,
    /// Anything else that went wrong below.
    #[error("the blob store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where artifacts' bytes are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    part_bytes: usize,
    /// The folder, if it is one: a crash in the middle of a put leaves a file there that no listing shows.
    folder: Option<PathBuf>,
}

/// A blob seen in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: BlobKey,
    /// Bytes.
    pub size: u64,
    /// Time since it was stored, by the store's clock and ours.
    pub age: Duration,
}

impl Blobs {
    /// Blobs in the folder `dir`, which is made if it is missing. Writes are synced to the disk before they are reported.
    pub fn local(dir: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(dir)?;
        let store = LocalFileSystem::new_with_prefix(dir)?.with_fsync(true).with_automatic_cleanup(true);
        Ok(Self { folder: Some(dir.to_owned()), ..Self::over(Arc::new(store), LOCAL_PART_BYTES) })
    }

    /// Blobs in any object store, uploaded in parts of `part_bytes` (S3 and its kin accept no part below 5 MiB but the last).
    pub fn over(store: Arc<dyn ObjectStore>, part_bytes: usize) -> Self {
        Self { store, part_bytes: part_bytes.max(1), folder: None }
    }

    /// Stores the bytes of `file` under `key`, durably. A folder on the same file system takes the file itself; otherwise it is copied, one
    /// part in memory at a time. A failure leaves no blob, and leaves `file` where it is.
    pub async fn put_file(&self, key: &BlobKey, file: &Path) -> Result<(), Error> {
        if let Some(folder) = &self.folder {
            let (blob, folder, file) = (folder.join(key.as_str()), folder.clone(), file.to_owned());
            let taken = spawn_blocking(move || local::take(&folder, &blob, &file)).await.map_err(io::Error::other)?;
            match taken {
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
                taken => return Ok(taken?),
            }
        }
        self.copy_file(key, file).await
    }

    async fn copy_file(&self, key: &BlobKey, file: &Path) -> Result<(), Error> {
        let mut file = tokio::fs::File::open(file).await?;
        file.set_max_buf_size(self.part_bytes);
        let path = location(key);
        let first = read_part(&mut file, self.part_bytes).await?;
        if first.len() < self.part_bytes {
            self.store.put(&path, PutPayload::from(first)).await?;
            return Ok(());
        }
        let mut upload = self.store.put_multipart(&path).await?;
        match put_parts(upload.as_mut(), first, &mut file, self.part_bytes).await {
            Ok(()) => Ok(()),
            Err(error) => {
                // What was sent is useless; the first error is the one to tell.
                if let Err(abort) = upload.abort().await {
                    tracing::debug!(error = %abort, "aborting an upload failed");
                }
                Err(error)
            }
        }
    }

    /// The bytes of `range`, in chunks of up to 512 KiB for local files.
    pub async fn open(
        &self,
        key: &BlobKey,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let opened = match self.store.get_opts(&location(key), options).await {
            Ok(opened) => opened,
            // Stores name a range that begins past the end differently; only then is the size worth asking for.
            Err(error) => return Err(self.outside(key, &range).await.unwrap_or_else(|| error.into())),
        };
        if opened.range != range {
            return Err(Error::OutOfRange);
        }
        Ok(match opened.payload {
            GetResultPayload::File(file, _) => read_chunks(file, range),
            GetResultPayload::Stream(stream) => stream.map_err(Error::from).boxed(),
        })
    }

    /// Whether a blob is there.
    pub async fn exists(&self, key: &BlobKey) -> Result<bool, Error> {
        match self.store.head(&location(key)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a blob; deleting what is not there succeeds.
    pub async fn delete(&self, key: &BlobKey) -> Result<(), Error> {
        match self.store.delete(&location(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Every blob, in no order. What is not named like a blob is not ours and left out.
    pub fn list(&self) -> BoxStream<'static, Result<Listed, Error>> {
        self.store
            .list(None)
            .map_err(Error::from)
            .try_filter_map(|meta| {
                future::ready(Ok(meta.location.as_ref().parse().ok().map(|key| Listed {
                    key,
                    size: meta.size,
                    age: age(meta.last_modified.timestamp_millis()),
                })))
            })
            .boxed()
    }

    /// Deletes what crashed puts left behind and nobody wrote to for `grace`; how many files it was. Remote stores have rules of
    /// their own for uploads that were never completed.
    pub async fn delete_leftovers(&self, grace: Duration) -> Result<u64, Error> {
        let Some(folder) = self.folder.clone() else { return Ok(0) };
        Ok(spawn_blocking(move || leftovers::delete(&folder, grace)).await.map_err(io::Error::other)??)
    }

    async fn outside(&self, key: &BlobKey, range: &Range<u64>) -> Option<Error> {
        let meta = self.store.head(&location(key)).await.ok()?;
        (range.start >= meta.size).then_some(Error::OutOfRange)
    }
}

fn location(key: &BlobKey) -> object_store::path::Path {
    object_store::path::Path::from(key.as_str())
}

/// A blob from the future has no age.
fn age(stored_ms: i64) -> Duration {
    let ms = Timestamp::now().as_millisecond().saturating_sub(stored_ms);
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

/// The next part, shorter than asked only at the end of the file.
async fn read_part(file: &mut tokio::fs::File, part_bytes: usize) -> io::Result<Bytes> {
    let mut part = Vec::with_capacity(part_bytes);
    file.take(part_bytes as u64).read_to_end(&mut part).await?;
    Ok(part.into())
}

/// Parts go one after the other: the disk is the bottleneck, and the next part waits in the page cache.
async fn put_parts(
    upload: &mut dyn MultipartUpload,
    first: Bytes,
    file: &mut tokio::fs::File,
    part_bytes: usize,
) -> Result<(), Error> {
    let mut part = first;
    while !part.is_empty() {
        upload.put_part(PutPayload::from(part)).await?;
        part = read_part(file, part_bytes).await?;
    }
    upload.complete().await?;
    Ok(())
}

/// Reads ahead nothing: the receiver's pace decides how much is in memory.
fn read_chunks(file: File, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Error>> {
    stream::try_unfold((file, range), |(file, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let read = spawn_blocking(move || read_chunk(file, range)).await.map_err(io::Error::other)??;
        Ok(Some(read))
    })
    .boxed()
}

/// The first chunk of `range`, with the file and what is left of the range.
fn read_chunk(mut file: File, range: Range<u64>) -> io::Result<(Bytes, (File, Range<u64>))> {
    let n_bytes = (range.end - range.start).min(CHUNK_BYTES);
    let mut chunk = Vec::with_capacity(n_bytes as usize);
    file.seek(SeekFrom::Start(range.start))?;
    file.by_ref().take(n_bytes).read_to_end(&mut chunk)?;
    if chunk.len() as u64 != n_bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((chunk.into(), (file, range.start + n_bytes..range.end)))
}

/// Whether an I/O error means that the disk or the quota is full.
pub(super) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if is_no_space(&error) { Self::NoSpace } else { Self::Failed(error.into()) }
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        if let object_store::Error::NotFound { .. } = error {
            return Self::NotFound;
        }
        // The local store wraps the error of the disk in its own.
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(link) = cause {
            if link.downcast_ref().is_some_and(is_no_space) {
                return Self::NoSpace;
            }
            cause = link.source();
        }
        Self::Failed(error.into())
    }
}

#[cfg(test)]
mod tests;
