//! Blobs in a folder: files that are taken or written where they stay, and read in one go if they are small.
//!
//! A crash before a blob is reported as stored leaves at worst an unsound file under a key that no record refers to, which the sweep takes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::{StreamExt, future, stream, stream::BoxStream};

use super::{
    error::Error,
    read::{self, CHUNK_BYTES},
    sync::{Place, Synced, Syncs},
};
use crate::domain::artifact::BlobKey;

/// How often a folder is made that a sweep deletes at that moment.
const N_TRIES: usize = 3;

/// The folder of all blobs. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::artifact) struct Folder {
    root: PathBuf,
    syncs: Syncs,
}

impl Folder {
    pub(super) fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), syncs: Syncs::below(root) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The file that a blob is. Whether it is there is not looked at.
    pub(in crate::artifact) fn path(&self, key: &BlobKey) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// What bringing one blob needs; there are so many.
    pub(in crate::artifact) async fn place(&self) -> io::Result<Place> {
        self.syncs.place().await
    }

    /// Writes a new blob, which is whole and durable once the answer is waited for. Blocking, within a runtime.
    pub(in crate::artifact) fn write(&self, key: &BlobKey, bytes: &[u8], place: Place) -> io::Result<Synced> {
        let blob = self.path(key);
        let parent = blob.parent().unwrap_or(&self.root);
        let mut file = self.name_in(parent, || create(&blob))?;
        if let Err(error) = file.write_all(bytes) {
            // Half a blob is of no use, and its space may be what is missing.
            fs::remove_file(&blob).ok();
            return Err(error);
        }
        Ok(self.syncs.sync(file, parent, place))
    }

    /// Moves `file` to where the blob belongs, as [`Folder::write`]; none if it is on another file system. Blocking, within a runtime.
    pub(super) fn take(&self, key: &BlobKey, file: &Path, place: Place) -> io::Result<Option<Synced>> {
        let bytes = File::open(file)?;
        if !bytes.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let blob = self.path(key);
        let parent = blob.parent().unwrap_or(&self.root);
        match self.name_in(parent, || fs::rename(file, &blob)) {
            Ok(()) => Ok(Some(self.syncs.sync(bytes, parent, place))),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the names on the way to a blob durable that was copied to its place and is durable itself: the copy knows nothing of folders
    /// that were there before. Blocking.
    pub(super) fn sync_names(&self, key: &BlobKey) -> io::Result<()> {
        self.syncs.sync_names(self.path(key).parent().unwrap_or(&self.root))
    }

    /// The bytes of `range`, which is not empty: at once if that is one chunk. Blocking.
    pub(super) fn read(
        &self,
        key: &BlobKey,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let file = match File::open(self.path(key)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NotFound),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(Error::NotFound);
        }
        if range.end > metadata.len() {
            return Err(Error::OutOfRange);
        }
        match usize::try_from(range.end - range.start) {
            Ok(n_bytes) if n_bytes <= CHUNK_BYTES => {
                let mut chunk = vec![0; n_bytes];
                read::read_exact_at(&file, &mut chunk, range.start)?;
                Ok(stream::once(future::ready(Ok(chunk.into()))).boxed())
            }
            Ok(_) | Err(_) => Ok(read::of_file(file, range)),
        }
    }

    /// Runs `name`, which makes a name in `folder`, and makes the folder if it is not there.
    fn name_in<T>(&self, folder: &Path, name: impl Fn() -> io::Result<T>) -> io::Result<T> {
        for _ in 0..N_TRIES {
            match name() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.syncs.forget(folder);
                    fs::create_dir_all(folder)?;
                }
                named => return named,
            }
        }
        name()
    }
}

/// A file that was not there before, for this user alone.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
