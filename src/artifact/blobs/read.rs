//! Bytes in chunks of one size, whoever they come from: the receiver's pace decides how much is in memory.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt, stream, stream::BoxStream};
use tokio::task::spawn_blocking;

use super::error::Error;

/// A chunk is small enough that it is still in the processor's cache when it is sent, and large enough that calls cost little beside it.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

/// The `range` of a file. Reads ahead nothing.
pub(super) fn of_file(file: File, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Error>> {
    stream::try_unfold(
        (Chunks { file: Arc::new(file), sent: Default::default() }, range),
        async |(mut chunks, range)| {
            if range.is_empty() {
                return Ok(None);
            }
            let n_bytes = (range.end - range.start).min(CHUNK_BYTES as u64);
            let chunk = chunks.next(range.start, usize::try_from(n_bytes).unwrap_or(CHUNK_BYTES)).await?;
            Ok(Some((chunk, (chunks, range.start + n_bytes..range.end))))
        },
    )
    .boxed()
}

/// A file that is read chunk by chunk.
struct Chunks {
    file: Arc<File>,
    /// The last two, older one first: a receiver takes the next while the last is on its way. What it let go of is used again.
    sent: [Bytes; 2],
}

impl Chunks {
    async fn next(&mut self, at: u64, n_bytes: usize) -> io::Result<Bytes> {
        let mut chunk = std::mem::take(&mut self.sent[0]).try_into_mut().unwrap_or_default();
        chunk.resize(n_bytes, 0);
        // What the system has in memory is copied at once; only what must come from the disk is worth a hop to the blocking pool.
        let n_read = cached::read_at(&self.file, &mut chunk, at);
        if n_read < n_bytes {
            let file = Arc::clone(&self.file);
            let rest = spawn_blocking(move || {
                read_exact_at(&file, &mut chunk[n_read..], at + n_read as u64)?;
                io::Result::Ok(chunk)
            });
            chunk = rest.await.map_err(io::Error::other)??;
        }
        let chunk = chunk.freeze();
        self.sent[0] = chunk.clone();
        self.sent.swap(0, 1);
        Ok(chunk)
    }
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

/// Fills `into` with the bytes from `at` on. Blocking.
pub(super) fn read_exact_at(mut file: &File, into: &mut [u8], at: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(into)
}

/// Reading what needs no disk.
#[cfg(target_os = "linux")]
mod cached {
    use std::{fs::File, io::IoSliceMut};

    use rustix::io::{ReadWriteFlags, preadv2};

    /// How many of the bytes were in memory, and are now in `into`; 0 also where the file system cannot tell.
    pub(super) fn read_at(file: &File, into: &mut [u8], at: u64) -> usize {
        preadv2(file, &mut [IoSliceMut::new(into)], at, ReadWriteFlags::NOWAIT).unwrap_or(0)
    }
}

#[cfg(not(target_os = "linux"))]
mod cached {
    /// Nobody can tell what is in memory.
    pub(super) fn read_at(_: &std::fs::File, _: &mut [u8], _: u64) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn a_file_comes_whole_whatever_the_receiver_keeps_and_one_cut_short_is_no_end() {
        let bytes: Vec<u8> = (0..5 * CHUNK_BYTES + 777).map(|at| (at % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let read = |range: Range<usize>| of_file(file.try_clone().unwrap(), range.start as u64..range.end as u64);
        // One receiver keeps every chunk, the other lets go of each, whose memory then holds the next.
        let kept: Vec<Bytes> = read(3..bytes.len()).try_collect().await.unwrap();
        assert!(kept.concat() == bytes[3..]);
        let mut copied = Vec::new();
        let mut chunks = read(3..bytes.len());
        while let Some(chunk) = chunks.try_next().await.unwrap() {
            copied.extend_from_slice(&chunk);
        }
        assert!(copied == bytes[3..]);
        let short = read(0..bytes.len() + 1).try_collect::<Vec<_>>().await;
        assert!(matches!(short, Err(Error::Failed(_))), "{short:?}");
    }

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
