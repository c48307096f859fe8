use std::fmt::Debug;

use futures_util::{TryStreamExt, stream};
use tempfile::TempDir;

use super::*;
use crate::domain::names::AttemptId;

const MAX: u64 = 3 * 1024 * 1024;

struct Fixture {
    dir: TempDir,
    collector: Collector,
}

impl Fixture {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let blobs = Blobs::local(&dir.path().join("blobs")).unwrap();
        let collector = Collector::prepare(blobs, dir.path().join("spool"), MAX).unwrap();
        Self { dir, collector }
    }

    fn n_spooled(&self) -> usize {
        fs::read_dir(self.dir.path().join("spool")).unwrap().count()
    }

    async fn spool(&self, bytes: &[u8]) -> Result<Spooled, CollectError<&'static str>> {
        self.collector.spool(arriving(bytes), None).await
    }
}

/// Bytes as a connection brings them, a few at a time.
fn arriving(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, &'static str>> + Unpin + use<> {
    let items: Vec<_> = bytes.chunks(10_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(items)
}

fn sample(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("sample_assets").join(name)).unwrap()
}

fn invalid<T: Debug, E: Debug>(result: Result<T, CollectError<E>>) -> Invalid {
    match result {
        Err(CollectError::Invalid(invalid)) => invalid,
        other => panic!("expected invalid bytes, got {other:?}"),
    }
}

#[tokio::test]
async fn good_bytes_become_a_blob_and_leave_no_temporary_file() {
    let fixture = Fixture::new();
    let bytes = sample("sample.mp4");
    let spooled = fixture.collector.spool(arriving(&bytes), Some(bytes.len() as u64)).await.unwrap();
    assert_eq!(spooled.len(), bytes.len() as u64);
    assert_eq!(spooled.sha256(), hex::encode(Sha256::digest(&bytes)));
    assert_eq!(fs::read(spooled.path()).unwrap(), bytes);

    let facts = fixture.collector.inspect(&spooled, Kind::Video).await.unwrap();
    assert_eq!((facts.media_type.as_str(), facts.width, facts.height), ("video/mp4", Some(512), Some(288)));

    let key = BlobKey::fresh(AttemptId::fresh(), 0);
    let stored = fixture.collector.store(&spooled, key.clone()).await.unwrap();
    assert_eq!((&stored.key, stored.len, &stored.sha256), (&key, bytes.len() as u64, &spooled.sha256));
    drop(spooled);
    assert_eq!(fixture.n_spooled(), 0);
    let chunks: Vec<Bytes> =
        fixture.collector.blobs.open(&key, 0..stored.len).await.unwrap().try_collect().await.unwrap();
    assert!(chunks.concat() == bytes);
}

#[tokio::test]
async fn bytes_that_are_here_are_written_where_they_stay_and_judged_later() {
    let fixture = Fixture::new();
    let bytes = sample("sample.mp4");
    let key = BlobKey::fresh(AttemptId::fresh(), 0);
    let store = |bytes: &[u8], key: &BlobKey| fixture.collector.store_bytes(Bytes::copy_from_slice(bytes), key.clone());
    let stored = store(&bytes, &key).await.unwrap();
    let sha256 = hex::encode(Sha256::digest(&bytes));
    assert_eq!((&stored.key, stored.len, &stored.sha256), (&key, bytes.len() as u64, &sha256));
    assert!(fs::read(fixture.dir.path().join("blobs").join(key.as_str())).unwrap() == bytes);
    assert_eq!(fixture.n_spooled(), 0);
    // Another file under the same key would be paid bytes lost.
    assert!(matches!(store(b"other", &key).await, Err(CollectError::Io(_))));
    assert!(fs::read(fixture.dir.path().join("blobs").join(key.as_str())).unwrap() == bytes);

    let facts = fixture.collector.inspect_stored(&stored, Kind::Video).await.unwrap().unwrap();
    assert_eq!((facts.media_type.as_str(), facts.width, facts.height), ("video/mp4", Some(512), Some(288)));
    let wrong = fixture.collector.inspect_stored(&stored, Kind::Image).await.unwrap();
    assert_eq!(invalid(wrong), Invalid::WrongType { found: "video/mp4".to_owned() });

    assert_eq!(invalid(store(b"", &key).await), Invalid::Empty);
    let too_large = store(&vec![0; MAX as usize + 1], &key).await;
    assert!(matches!(too_large, Err(CollectError::TooLarge { max: MAX })));
}

#[tokio::test]
async fn small_bytes_are_looked_at_once_and_large_ones_when_they_are_judged() {
    let fixture = Fixture::new();
    let fresh = || BlobKey::fresh(AttemptId::fresh(), 0);
    let mut small = sample("sample.mp4");
    let mut large = small.clone();
    // What follows the film is in a box of its own, which is skipped.
    let padding = BATCH_BYTES as u32;
    large.extend([&padding.to_be_bytes()[..], b"free"].concat());
    large.resize(small.len() + padding as usize, 0);
    for (bytes, is_seen) in [(small.clone(), true), (large, false)] {
        let stored = fixture.collector.store_bytes(bytes.clone().into(), fresh()).await.unwrap();
        let spooled = fixture.spool(&bytes).await.unwrap();
        assert_eq!((stored.seen.is_some(), spooled.seen.is_some()), (is_seen, is_seen));
        let facts = fixture.collector.inspect_stored(&stored, Kind::Video).await.unwrap().unwrap();
        assert_eq!(facts, fixture.collector.inspect(&spooled, Kind::Video).await.unwrap());
    }
    // Unsound bytes are stored all the same: they are paid for.
    small.truncate(small.len() - 100);
    let stored = fixture.collector.store_bytes(small.into(), fresh()).await.unwrap();
    let cut = fixture.collector.inspect_stored(&stored, Kind::Video).await.unwrap();
    assert!(matches!(invalid(cut), Invalid::Truncated { .. }));
}

#[tokio::test]
async fn many_who_store_at_once_are_all_served() {
    let fixture = Fixture::new();
    let keys: Vec<_> = (0..300).map(|at| BlobKey::fresh(AttemptId::fresh(), at)).collect();
    let stores = keys.iter().map(|key| fixture.collector.store_bytes(key.to_string().into(), key.clone()));
    let stored = futures_util::future::try_join_all(stores).await.unwrap();
    for (stored, key) in stored.iter().zip(&keys) {
        assert_eq!(&stored.key, key);
        assert_eq!(fs::read_to_string(fixture.dir.path().join("blobs").join(key.as_str())).unwrap(), key.as_str());
    }
}

#[tokio::test]
async fn bytes_that_could_not_be_stored_are_kept_for_another_try() {
    let fixture = Fixture::new();
    let spooled = fixture.spool(b"paid for").await.unwrap();
    let key = BlobKey::fresh(AttemptId::fresh(), 0);
    // A file where the blob's folder must be made.
    let day = key.as_str().split('/').next().unwrap();
    let obstacle = fixture.dir.path().join("blobs").join(day);
    fs::write(&obstacle, "").unwrap();
    assert!(matches!(fixture.collector.store(&spooled, key.clone()).await, Err(CollectError::Io(_))));
    let direct = fixture.collector.store_bytes(Bytes::from_static(b"paid for"), key.clone()).await;
    assert!(matches!(direct, Err(CollectError::Io(_))));
    fs::remove_file(&obstacle).unwrap();
    assert_eq!(fixture.collector.store(&spooled, key).await.unwrap().len, 8);
}

#[tokio::test]
async fn bytes_beyond_one_batch_are_hashed_and_written_in_order() {
    let fixture = Fixture::new();
    let bytes: Vec<u8> = (0..MAX as usize - 5).map(|at| (at % 241) as u8).collect();
    let spooled = fixture.spool(&bytes).await.unwrap();
    assert_eq!(spooled.sha256(), hex::encode(Sha256::digest(&bytes)));
    assert!(fs::read(spooled.path()).unwrap() == bytes);
}

#[tokio::test]
async fn nothing_is_not_an_artifact() {
    let fixture = Fixture::new();
    assert_eq!(invalid(fixture.spool(b"").await), Invalid::Empty);
    assert_eq!(fixture.n_spooled(), 0);
}

#[tokio::test]
async fn another_length_than_announced_is_invalid() {
    let fixture = Fixture::new();
    let spool = |announced| fixture.collector.spool(arriving(b"0123456789"), Some(announced));
    assert!(matches!(invalid(spool(11).await), Invalid::Truncated { .. }));
    assert!(matches!(invalid(spool(9).await), Invalid::Unreadable { .. }));
    assert!(spool(10).await.is_ok());
    assert_eq!(fixture.n_spooled(), 0);
}

#[tokio::test]
async fn a_page_and_a_cut_film_are_refused_by_inspection() {
    let fixture = Fixture::new();
    let page = fixture.spool(b"<!doctype html><title>Expired</title>").await.unwrap();
    let result = fixture.collector.inspect(&page, Kind::Video).await;
    assert_eq!(invalid(result), Invalid::WrongType { found: "text/html".to_owned() });

    let bytes = sample("sample.mp4");
    let cut = fixture.spool(&bytes[..bytes.len() - 100]).await.unwrap();
    assert!(matches!(invalid(fixture.collector.inspect(&cut, Kind::Video).await), Invalid::Truncated { .. }));
    drop((page, cut));
    assert_eq!(fixture.n_spooled(), 0);
}

#[tokio::test]
async fn too_many_bytes_are_refused_before_and_while_they_come() {
    let fixture = Fixture::new();
    // The announcement alone is enough: this source would fail if it were asked.
    let unasked = stream::iter([Err("must not be read")]);
    let announced = fixture.collector.spool(unasked, Some(MAX + 1)).await;
    assert!(matches!(announced, Err(CollectError::TooLarge { max: MAX })));

    let endless = stream::repeat_with(|| Ok::<_, &str>(Bytes::from_static(&[7; 65_536])));
    let unannounced = fixture.collector.spool(endless, None).await;
    assert!(matches!(unannounced, Err(CollectError::TooLarge { max: MAX })));
    assert_eq!(fixture.n_spooled(), 0);
}

#[tokio::test]
async fn a_source_that_breaks_off_leaves_no_temporary_file() {
    let fixture = Fixture::new();
    let broken = stream::iter([Ok(Bytes::from(vec![1; 2 * BATCH_BYTES])), Err("connection reset")]);
    let result = fixture.collector.spool(broken, None).await;
    assert!(matches!(result, Err(CollectError::Source("connection reset"))));
    assert_eq!(fixture.n_spooled(), 0);
}

#[tokio::test]
async fn a_spool_that_is_given_up_half_way_leaves_no_temporary_file() {
    let fixture = Fixture::new();
    let stuck = stream::iter([Ok::<_, &str>(Bytes::from(vec![1; 2 * BATCH_BYTES]))]).chain(stream::pending());
    let mut spooling = Box::pin(fixture.collector.spool(stuck, None));
    // Polled until the file is there, then dropped in the middle.
    while fixture.n_spooled() == 0 {
        assert!(futures_util::poll!(&mut spooling).is_pending());
        tokio::task::yield_now().await;
    }
    drop(spooling);
    while fixture.n_spooled() > 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_start_deletes_what_a_crash_left_in_the_spool() {
    let dir = TempDir::new().unwrap();
    let spool = dir.path().join("spool");
    fs::create_dir_all(&spool).unwrap();
    fs::write(spool.join(".tmpLeft"), "left").unwrap();
    fs::write(dir.path().join("other"), "not ours").unwrap();
    Collector::prepare(Blobs::local(&dir.path().join("blobs")).unwrap(), spool.clone(), MAX).unwrap();
    assert_eq!(fs::read_dir(spool).unwrap().count(), 0);
    assert!(dir.path().join("other").exists());
}

#[test]
fn a_full_disk_is_no_fault_of_the_bytes() {
    let full = io::Error::from(io::ErrorKind::StorageFull);
    assert!(matches!(CollectError::<Infallible>::from(full), CollectError::NoSpace));
    assert!(matches!(CollectError::<Infallible>::from(blobs::Error::NoSpace), CollectError::NoSpace));
}
