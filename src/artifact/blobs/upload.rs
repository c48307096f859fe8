//! A file into a store that is reached over a connection, one part in memory at a time.

use std::{io, path::Path as FilePath};

use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, path::Path};
use tokio::{fs::File, io::AsyncReadExt};

use super::error::Error;

/// Stores `file` at `path`: in one request if it is shorter than a part, otherwise in parts. A failure leaves nothing behind.
pub(super) async fn upload(
    store: &dyn ObjectStore,
    path: &Path,
    file: &FilePath,
    part_bytes: usize,
) -> Result<(), Error> {
    let mut file = File::open(file).await?;
    file.set_max_buf_size(part_bytes);
    let first = read_part(&mut file, part_bytes).await?;
    if first.len() < part_bytes {
        store.put(path, PutPayload::from(first)).await?;
        return Ok(());
    }
    let mut upload = store.put_multipart(path).await?;
    match put_parts(upload.as_mut(), first, &mut file, part_bytes).await {
        Ok(()) => Ok(()),
        Err(error) => {
            // What was sent is useless; the first error is the one to tell.
            if let Err(abort) = upload.abort().await {
                tracing::debug!(error = %Error::from(abort), "aborting an upload failed");
            }
            Err(error)
        }
    }
}

/// Parts go one after the other: several uploads run beside each other anyway, and each holds one part in memory.
async fn put_parts(
    upload: &mut dyn MultipartUpload,
    first: Bytes,
    file: &mut File,
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

/// The next part, shorter than asked only at the end of the file.
async fn read_part(file: &mut File, part_bytes: usize) -> io::Result<Bytes> {
    let mut part = Vec::with_capacity(part_bytes);
    file.take(part_bytes as u64).read_to_end(&mut part).await?;
    Ok(part.into())
}
