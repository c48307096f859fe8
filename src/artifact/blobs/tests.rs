use std::fs;

use tempfile::TempDir;

use super::*;
use crate::domain::names::AttemptId;

fn key() -> BlobKey {
    BlobKey::fresh(AttemptId::fresh(), 0)
}

/// Bytes that differ everywhere, so that a shifted read shows.
fn pattern(n_bytes: usize) -> Vec<u8> {
    (0..n_bytes).map(|at| (at % 251) as u8 ^ (at / 65_536) as u8).collect()
}

fn file_with(dir: &TempDir, bytes: &[u8]) -> std::path::PathBuf {
    let path = dir.path().join("source");
    fs::write(&path, bytes).unwrap();
    path
}

async fn read(blobs: &Blobs, key: &BlobKey, range: Range<u64>) -> Result<Vec<u8>, Error> {
    let chunks: Vec<Bytes> = blobs.open(key, range).await?.try_collect().await?;
    assert!(chunks.iter().all(|chunk| chunk.len() as u64 <= CHUNK_BYTES));
    Ok(chunks.concat())
}

#[tokio::test]
async fn what_is_stored_is_read_back_whole_and_by_range() {
    let dir = TempDir::new().unwrap();
    let blobs = Blobs::local(&dir.path().join("blobs")).unwrap();
    // Below one part, exactly one part, and several parts with a rest.
    for n_bytes in [1, 1000, LOCAL_PART_BYTES, 2 * LOCAL_PART_BYTES, 2 * LOCAL_PART_BYTES + 777] {
        let (key, bytes) = (key(), pattern(n_bytes));
        blobs.put_file(&key, &file_with(&dir, &bytes)).await.unwrap();
        assert!(read(&blobs, &key, 0..n_bytes as u64).await.unwrap() == bytes, "{n_bytes}");
        let (from, to) = (n_bytes / 3, n_bytes - n_bytes / 4);
        assert!(read(&blobs, &key, from as u64..to as u64).await.unwrap() == bytes[from..to], "{n_bytes}");
        assert!(read(&blobs, &key, 5..5).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_missing_blob_and_a_range_outside_are_told_apart() {
    let dir = TempDir::new().unwrap();
    let blobs = Blobs::local(dir.path()).unwrap();
    assert!(matches!(read(&blobs, &key(), 0..1).await, Err(Error::NotFound)));
    let key = key();
    let source = TempDir::new().unwrap();
    blobs.put_file(&key, &file_with(&source, b"0123456789")).await.unwrap();
    assert!(matches!(read(&blobs, &key, 5..11).await, Err(Error::OutOfRange)));
    assert!(matches!(read(&blobs, &key, 10..11).await, Err(Error::OutOfRange)));
    assert!(matches!(read(&blobs, &key, 400..500).await, Err(Error::OutOfRange)));
}

#[tokio::test]
async fn deleting_is_idempotent_and_a_reader_in_the_middle_still_gets_all() {
    let dir = TempDir::new().unwrap();
    let blobs = Blobs::local(&dir.path().join("blobs")).unwrap();
    let (key, bytes) = (key(), pattern(3 * LOCAL_PART_BYTES));
    blobs.put_file(&key, &file_with(&dir, &bytes)).await.unwrap();
    let mut chunks = blobs.open(&key, 0..bytes.len() as u64).await.unwrap();
    let mut found = chunks.try_next().await.unwrap().unwrap().to_vec();
    blobs.delete(&key).await.unwrap();
    blobs.delete(&key).await.unwrap();
    while let Some(chunk) = chunks.try_next().await.unwrap() {
        found.extend(chunk);
    }
    assert!(found == bytes);
    assert!(matches!(read(&blobs, &key, 0..1).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_listing_shows_blobs_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("blobs");
    let blobs = Blobs::local(&root).unwrap();
    let key = key();
    blobs.put_file(&key, &file_with(&dir, b"bytes")).await.unwrap();
    fs::write(root.join("notes.txt"), "not a blob").unwrap();
    let listed: Vec<Listed> = blobs.list().try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].key, listed[0].size), (&key, 5));
    assert!(listed[0].age < Duration::from_secs(60));
}

#[tokio::test]
async fn a_failed_put_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("blobs");
    let blobs = Blobs::local(&root).unwrap();
    let key = key();
    assert!(matches!(blobs.put_file(&key, &dir.path().join("missing")).await, Err(Error::Failed(_))));
    // A folder can be opened but not read.
    assert!(matches!(blobs.put_file(&key, dir.path()).await, Err(Error::Failed(_))));
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn a_full_disk_is_told_apart_through_every_wrapping() {
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    assert!(matches!(Error::from(full()), Error::NoSpace));
    assert!(matches!(Error::from(io::Error::from(io::ErrorKind::QuotaExceeded)), Error::NoSpace));
    let wrapped = object_store::Error::Generic { store: "LocalFileSystem", source: full().into() };
    assert!(matches!(Error::from(wrapped), Error::NoSpace));
    let other = object_store::Error::Generic { store: "LocalFileSystem", source: "broken".into() };
    assert!(matches!(Error::from(other), Error::Failed(_)));
}

/// `/dev/full` answers every write as a full disk does.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_write_to_a_full_device_ends_as_no_space() {
    use std::io::Write as _;

    let error = File::options().write(true).open("/dev/full").unwrap().write_all(b"x").unwrap_err();
    assert!(matches!(Error::from(error), Error::NoSpace));
}
