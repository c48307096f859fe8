//! Stored bytes, in a folder or in a bucket. A blob is written once, and whole and durable when that is reported.

use std::{io, ops::Range, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future, stream, stream::BoxStream};
use jiff::Timestamp;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt,
    local::LocalFileSystem,
    prefix::PrefixStore,
    signer::{SignedUrlOptions, Signer},
};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};
use url::Url;

pub use self::error::Error;
pub(super) use self::{error::is_no_space, local::Folder};
use crate::domain::artifact::BlobKey;

mod bucket;
mod error;
mod leftovers;
mod local;
mod read;
mod sync;
#[cfg(test)]
mod tests;
mod upload;

/// How much of a file is in memory while a folder on another file system takes it.
const LOCAL_PART_BYTES: usize = 1024 * 1024;
/// How much of a file is in memory while a bucket takes it. S3 and its kin accept no part below 5 MiB but the last, and 10 000 parts.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Uploads to a bucket at a time, so that memory is bounded by this many parts; the others wait on the disk.
const N_UPLOADS: usize = 8;
/// Longest wait for a bucket to say whether it is there, or has a blob.
const LOOK_TIME: Duration = Duration::from_secs(15);

/// Where artifacts' bytes are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    part_bytes: usize,
    /// The folder, if it is one; `store` only lists it, deletes there, and copies what comes from another file system.
    folder: Option<Folder>,
    signing: Option<Signing>,
    uploads: Arc<Semaphore>,
}

/// How a bucket's own addresses are signed.
#[derive(Debug, Clone)]
struct Signing {
    signer: Arc<dyn Signer>,
    prefix: object_store::path::Path,
    is_polite: bool,
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

/// How a linked blob should be served, where the bucket can be told so: S3 and Google can, Azure cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served<'a> {
    /// `Content-Type`.
    pub media_type: &'a str,
    /// `Content-Disposition`.
    pub disposition: &'a str,
}

impl Blobs {
    /// Blobs where `url` says: `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`. `variables` are
    /// those that the cloud's own tools read, such as `AWS_REGION`. No bucket is asked yet, see [`Blobs::check`].
    pub fn at(url: &Url, variables: &[(String, String)]) -> Result<Self, Error> {
        if url.scheme() == "file" {
            let folder = url.to_file_path().map_err(|()| Error::Setup("the URL names no folder".to_owned()))?;
            return Self::local(&folder);
        }
        let bucket::Bucket { store, signer, prefix, is_polite } = bucket::open(url, variables)?;
        let store = Arc::new(PrefixStore::new(store, prefix.clone()));
        Ok(Self { signing: Some(Signing { signer, prefix, is_polite }), ..Self::over(store, PART_BYTES) })
    }

    /// Blobs in the folder `dir`, which is made if it is missing. Writes are synced to the disk before they are reported.
    pub fn local(dir: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(dir)?;
        // Empty folders are for the sweep: one that is deleted at any moment could not be remembered as durable.
        let store = LocalFileSystem::new_with_prefix(dir)?.with_fsync(true);
        Ok(Self { folder: Some(Folder::at(dir)), ..Self::over(Arc::new(store), LOCAL_PART_BYTES) })
    }

    /// Blobs in any object store, uploaded in parts of `part_bytes`.
    fn over(store: Arc<dyn ObjectStore>, part_bytes: usize) -> Self {
        Self { store, part_bytes, folder: None, signing: None, uploads: Arc::new(Semaphore::new(N_UPLOADS)) }
    }

    /// Whether the store answers and has the bucket: asks for one of its blobs, for 15 s at most.
    pub async fn check(&self) -> Result<(), Error> {
        in_time(async { self.store.list(None).try_next().await.map(drop) }).await
    }

    /// Stores the bytes of `file` under `key`, durably. A folder on the same file system takes the file itself; otherwise it is copied, one
    /// part in memory at a time. A failure leaves no blob, and leaves `file` where it is.
    pub async fn put_file(&self, key: &BlobKey, file: &Path) -> Result<(), Error> {
        if let Some(folder) = &self.folder {
            let place = folder.place().await?;
            let (folder, blob, file) = (folder.clone(), key.clone(), file.to_owned());
            let taken = spawn_blocking(move || folder.take(&blob, &file, place)).await.map_err(io::Error::other)??;
            if let Some(synced) = taken {
                return Ok(synced.wait().await?);
            }
        }
        let _place = self.uploads.acquire().await.map_err(io::Error::other)?;
        match upload::upload(&*self.store, &location(key), file, self.part_bytes).await {
            // What is not there is the bucket, or the upload that it forgot.
            Err(Error::NotFound) => return Err(Error::NoBucket),
            done => done?,
        }
        if let Some(folder) = &self.folder {
            let (folder, blob) = (folder.clone(), key.clone());
            spawn_blocking(move || folder.sync_names(&blob)).await.map_err(io::Error::other)??;
        }
        Ok(())
    }

    /// Where blobs are files of this machine, if they are.
    pub(super) fn folder(&self) -> Option<&Folder> {
        self.folder.as_ref()
    }

    /// The bytes of `range`, in chunks of 256 KiB; the last may be shorter.
    pub async fn open(
        &self,
        key: &BlobKey,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        if let Some(folder) = self.folder.clone() {
            let key = key.clone();
            return spawn_blocking(move || folder.read(&key, range)).await.map_err(io::Error::other)?;
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
        Ok(read::of_connection(opened.into_stream().map_err(Error::from)))
    }

    /// Whether a blob is there. An error says that nobody knows; a bucket that is gone is one.
    pub async fn exists(&self, key: &BlobKey) -> Result<bool, Error> {
        // The answer to a HEAD has no body to tell a missing bucket from a missing blob.
        let first_byte = GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
        match in_time(self.store.get_opts(&location(key), first_byte)).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes a blob; deleting what is not there succeeds.
    pub async fn delete(&self, key: &BlobKey) -> Result<(), Error> {
        match self.store.delete(&location(key)).await.map_err(Error::from) {
            Ok(()) | Err(Error::NotFound) => Ok(()),
            Err(error) => Err(error),
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

    /// Deletes what crashed puts left behind and nobody wrote to for `grace`; how many files it was. Folders that have been empty for an
    /// hour go with them. Buckets have rules of their own for uploads that were never completed.
    pub async fn delete_leftovers(&self, grace: Duration) -> Result<u64, Error> {
        let Some(folder) = self.folder.clone() else { return Ok(0) };
        Ok(spawn_blocking(move || leftovers::delete(folder.root(), grace)).await.map_err(io::Error::other)??)
    }

    /// An address of the bucket itself under which anybody can read the blob for `ttl`, at most 7 days; none if blobs are in a folder.
    /// It is secret: whoever has it has the bytes. Whether the blob is there is not looked at.
    pub async fn link(&self, key: &BlobKey, ttl: Duration, served: Served<'_>) -> Result<Option<Url>, Error> {
        let Some(signing) = &self.signing else { return Ok(None) };
        let path = signing.prefix.parts().chain(location(key).parts()).collect();
        let mut options = SignedUrlOptions::new();
        if signing.is_polite {
            let Served { media_type, disposition } = served;
            options = options
                .with_query([("response-content-type", media_type), ("response-content-disposition", disposition)]);
        }
        let signed = signing.signer.signed_url_opts(http::Method::GET, &path, ttl, &options);
        in_time(signed).await.map(Some)
    }

    async fn outside(&self, key: &BlobKey, range: &Range<u64>) -> Option<Error> {
        let meta = self.store.head(&location(key)).await.ok()?;
        (range.start >= meta.size).then_some(Error::OutOfRange)
    }
}

async fn in_time<T>(asked: impl Future<Output = object_store::Result<T>>) -> Result<T, Error> {
    match timeout(LOOK_TIME, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => {
            Err(Error::Failed(format!("the object store did not answer within {} s", LOOK_TIME.as_secs()).into()))
        }
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
