//! What every place for blobs must do, shown on a folder and on a real S3 server.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use filmgate::{
    artifact::{BlobError, Blobs, GRACE, Listed, sweep},
    domain::{artifact::BlobKey, names::AttemptId},
};
use futures_util::TryStreamExt;
use tempfile::TempDir;

use crate::support::objects::ObjectServer;

/// The size of a part of an upload to a bucket.
const PART: usize = 8 << 20;
const CHUNK: usize = 256 << 10;

async fn check(blobs: &Blobs) {
    let dir = TempDir::new().unwrap();
    blobs.check().await.unwrap();
    a_listing_of_nothing_is_empty(blobs).await;
    what_is_stored_is_read_back_whole_and_by_range(blobs, dir.path()).await;
    what_is_missing_and_a_range_outside_are_told_apart(blobs, dir.path()).await;
    a_listing_shows_keys_sizes_and_ages(blobs, dir.path()).await;
    deleting_is_idempotent_and_a_reader_in_the_middle_still_gets_all(blobs, dir.path()).await;
    young_orphans_are_left_alone(blobs, dir.path()).await;
}

#[tokio::test]
async fn a_folder_keeps_the_contract_of_blobs() {
    let dir = TempDir::new().unwrap();
    check(&Blobs::local(&dir.path().join("blobs")).unwrap()).await;
}

#[tokio::test]
async fn a_bucket_keeps_the_contract_of_blobs() {
    let server = ObjectServer::start().await;
    check(&server.blobs()).await;
    assert_eq!(server.n_uploads().await, 0);
}

#[tokio::test]
async fn a_bucket_below_a_path_with_temporary_keys_keeps_the_contract_of_blobs() {
    check(&ObjectServer::start_below_a_path().await.blobs()).await;
}

#[tokio::test]
async fn an_upload_that_breaks_in_the_middle_leaves_nothing_in_the_bucket() {
    let server = ObjectServer::start().await;
    let (blobs, dir) = (server.blobs(), TempDir::new().unwrap());
    server.refuse_part(2).await;
    let file = dir.path().join("source");
    fs::write(&file, pattern(2 * PART + 777)).unwrap();
    let broken = blobs.put_file(&key(), &file).await;
    assert!(matches!(broken, Err(BlobError::Refused(_))), "{broken:?}");
    assert_eq!((server.n_uploads().await, server.keys().await.len()), (0, 0));
    assert!(file.exists(), "the bytes are still here for another try");
    fs::write(&file, pattern(PART - 1)).unwrap();
    blobs.put_file(&key(), &file).await.unwrap();
}

fn key() -> BlobKey {
    BlobKey::fresh(AttemptId::fresh(), 0)
}

/// Bytes that differ everywhere, so that a shifted read shows.
fn pattern(n_bytes: usize) -> Vec<u8> {
    (0..n_bytes).map(|at| (at % 251) as u8 ^ (at / 65_536) as u8).collect()
}

async fn stored(blobs: &Blobs, dir: &Path, bytes: &[u8]) -> BlobKey {
    let key = key();
    let file: PathBuf = dir.join("source");
    fs::write(&file, bytes).unwrap();
    blobs.put_file(&key, &file).await.unwrap();
    key
}

async fn read(blobs: &Blobs, key: &BlobKey, range: Range<u64>) -> Result<Vec<u8>, BlobError> {
    let chunks: Vec<Bytes> = blobs.open(key, range).await?.try_collect().await?;
    let (last, whole) = chunks.split_last().map_or((0, &[][..]), |(last, whole)| (last.len(), whole));
    assert!(last <= CHUNK && whole.iter().all(|chunk| chunk.len() == CHUNK));
    Ok(chunks.concat())
}

async fn a_listing_of_nothing_is_empty(blobs: &Blobs) {
    assert_eq!(blobs.list().try_collect::<Vec<_>>().await.unwrap(), []);
}

async fn what_is_stored_is_read_back_whole_and_by_range(blobs: &Blobs, dir: &Path) {
    // Below one part, exactly one part, and several parts with a rest.
    for n_bytes in [1, 1000, 3 * CHUNK + 1, PART, 2 * PART + 777] {
        let bytes = pattern(n_bytes);
        let key = stored(blobs, dir, &bytes).await;
        assert!(read(blobs, &key, 0..n_bytes as u64).await.unwrap() == bytes, "{n_bytes}");
        let (from, to) = (n_bytes / 3, n_bytes - n_bytes / 4);
        assert!(read(blobs, &key, from as u64..to as u64).await.unwrap() == bytes[from..to], "{n_bytes}");
        assert!(read(blobs, &key, 5..5).await.unwrap().is_empty());
        blobs.delete(&key).await.unwrap();
    }
}

async fn what_is_missing_and_a_range_outside_are_told_apart(blobs: &Blobs, dir: &Path) {
    let missing = key();
    assert!(matches!(read(blobs, &missing, 0..1).await, Err(BlobError::NotFound)));
    assert!(!blobs.exists(&missing).await.unwrap());
    let key = stored(blobs, dir, b"0123456789").await;
    assert!(blobs.exists(&key).await.unwrap());
    for range in [5..11, 10..11, 400..500] {
        let outside = read(blobs, &key, range.clone()).await;
        assert!(matches!(outside, Err(BlobError::OutOfRange)), "{range:?}: {outside:?}");
    }
    assert!(blobs.put_file(&self::key(), &dir.join("missing")).await.is_err());
    blobs.delete(&key).await.unwrap();
}

async fn a_listing_shows_keys_sizes_and_ages(blobs: &Blobs, dir: &Path) {
    let key = stored(blobs, dir, b"bytes").await;
    let listed: Vec<Listed> = blobs.list().try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].key, listed[0].size), (&key, 5));
    assert!(listed[0].age < Duration::from_secs(60));
    blobs.delete(&key).await.unwrap();
}

async fn deleting_is_idempotent_and_a_reader_in_the_middle_still_gets_all(blobs: &Blobs, dir: &Path) {
    let bytes = pattern(3 * CHUNK);
    let key = stored(blobs, dir, &bytes).await;
    let mut chunks = blobs.open(&key, 0..bytes.len() as u64).await.unwrap();
    let mut found = chunks.try_next().await.unwrap().unwrap().to_vec();
    blobs.delete(&key).await.unwrap();
    blobs.delete(&key).await.unwrap();
    while let Some(chunk) = chunks.try_next().await.unwrap() {
        found.extend(chunk);
    }
    assert!(found == bytes);
    assert!(matches!(read(blobs, &key, 0..1).await, Err(BlobError::NotFound)));
}

async fn young_orphans_are_left_alone(blobs: &Blobs, dir: &Path) {
    let key = stored(blobs, dir, b"on its way to a row").await;
    let all = async |keys| Ok::<_, BlobError>(keys);
    assert_eq!(sweep(blobs, GRACE, all).await.unwrap().n_deleted, 0);
    assert!(blobs.exists(&key).await.unwrap());
    let swept = sweep(blobs, Duration::ZERO, all).await.unwrap();
    assert_eq!((swept.n_deleted, swept.bytes_deleted), (1, 19));
    assert!(!blobs.exists(&key).await.unwrap());
}
