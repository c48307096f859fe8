//! Bytes in chunks of one size, whoever they come from: the receiver's pace decides how much is in memory.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt, stream, stream::BoxStream};
use tokio::task::spawn_blocking;

use super::error::Error;

/// One hop to the blocking pool a chunk: below 256 KiB the hops dominate, above 1 MiB nothing is gained.
pub(super) const CHUNK_BYTES: usize = 512 * 1024;

/// The `range` of a file. Reads ahead nothing.
pub(super) fn of_file(file: File, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Error>> {
    stream::try_unfold((file, range), |(file, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let read = spawn_blocking(move || read_chunk(file, range)).await.map_err(io::Error::other)??;
        Ok(Some(read))
    })
    .boxed()
}

/// What arrives over a connection, a few kilobytes at a time.
pub(super) fn of_connection(
    arriving: impl Stream<Item = Result<Bytes, Error>> + Send + 'static,
) -> BoxStream<'static, Result<Bytes, Error>> {
    let start = (arriving.fuse().boxed(), BytesMut::new());
    stream::try_unfold(start, |(mut arriving, mut held)| async move {
        while held.len() < CHUNK_BYTES
            && let Some(bytes) = arriving.try_next().await?
        {
            held.extend_from_slice(&bytes);
        }
        let chunk = held.split_to(held.len().min(CHUNK_BYTES)).freeze();
        Ok((!chunk.is_empty()).then_some((chunk, (arriving, held))))
    })
    .boxed()
}

/// The first chunk of `range`, with the file and what is left of the range.
fn read_chunk(mut file: File, range: Range<u64>) -> io::Result<(Bytes, (File, Range<u64>))> {
    let n_bytes = (range.end - range.start).min(CHUNK_BYTES as u64);
    let mut chunk = Vec::with_capacity(CHUNK_BYTES.min(usize::try_from(n_bytes).unwrap_or(CHUNK_BYTES)));
    file.seek(SeekFrom::Start(range.start))?;
    file.by_ref().take(n_bytes).read_to_end(&mut chunk)?;
    if chunk.len() as u64 != n_bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((chunk.into(), (file, range.start + n_bytes..range.end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_pieces_of_a_connection_become_chunks_and_none_is_lost() {
        let bytes: Vec<u8> = (0..2 * CHUNK_BYTES + 777).map(|at| (at % 251) as u8).collect();
        let pieces: Vec<_> = bytes.chunks(16_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let chunks: Vec<Bytes> = of_connection(stream::iter(pieces)).try_collect().await.unwrap();
        assert_eq!(chunks.iter().map(Bytes::len).collect::<Vec<_>>(), [CHUNK_BYTES, CHUNK_BYTES, 777]);
        assert!(chunks.concat() == bytes);
    }

    #[tokio::test]
    async fn a_connection_that_breaks_off_is_no_end() {
        let pieces = [Ok(Bytes::from_static(b"half")), Err(Error::NotFound)];
        let chunks: Vec<_> = of_connection(stream::iter(pieces)).collect().await;
        assert!(matches!(chunks.as_slice(), [Err(Error::NotFound)]));
    }
}
