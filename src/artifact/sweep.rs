//! Deletes blobs that no artifact refers to: outputs of a replica that lost its claim, of a crash between storing and finishing.

use std::{future, time::Duration};

use futures_util::TryStreamExt;

use super::blobs::{self, Blobs};
use crate::domain::artifact::BlobKey;

/// How old an orphan must be. A blob is stored before the row that refers to it is written, so a young one may be about to get it.
pub const GRACE: Duration = Duration::from_secs(60 * 60);

/// Keys asked about at a time.
const BATCH_KEYS: usize = 500;

/// Why a sweep ended early. Blobs deleted until then stay deleted; the next sweep goes on.
#[derive(Debug, thiserror::Error)]
pub enum SweepError<E> {
    /// The blob store failed.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
    /// Who knows the references did not answer.
    #[error("asking for references failed")]
    References(E),
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blobs that are old enough to be asked about.
    pub n_checked: u64,
    /// Blobs deleted.
    pub n_deleted: u64,
    /// Bytes deleted.
    pub bytes_deleted: u64,
    /// Files of crashed writes that were deleted.
    pub n_leftovers: u64,
}

/// Deletes every blob older than `grace` (usually [`GRACE`]) that `unreferenced` names. It gets up to 500 keys and answers
/// those of them that no row refers to; when in doubt it must fail.
pub async fn sweep<E, F>(
    blobs: &Blobs,
    grace: Duration,
    unreferenced: impl Fn(Vec<BlobKey>) -> F,
) -> Result<Swept, SweepError<E>>
where
    F: Future<Output = Result<Vec<BlobKey>, E>>,
{
    let mut swept = Swept { n_leftovers: blobs.delete_leftovers(grace).await?, ..Swept::default() };
    let mut batches = blobs
        .list()
        .try_filter(|listed| future::ready(listed.age >= grace))
        .try_chunks(BATCH_KEYS)
        .map_err(|error| error.1);
    while let Some(batch) = batches.try_next().await? {
        swept.n_checked += batch.len() as u64;
        let keys = batch.iter().map(|listed| listed.key.clone()).collect();
        let orphans = unreferenced(keys).await.map_err(SweepError::References)?;
        // Only what was listed as old is deleted, whatever the answer names.
        for orphan in batch.iter().filter(|listed| orphans.contains(&listed.key)) {
            blobs.delete(&orphan.key).await?;
            swept.n_deleted += 1;
            swept.bytes_deleted += orphan.size;
        }
    }
    if swept.n_deleted > 0 {
        tracing::info!(n_deleted = swept.n_deleted, bytes = swept.bytes_deleted, "deleted blobs without an artifact");
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs, time::SystemTime};

    use futures_util::future::BoxFuture;
    use tempfile::TempDir;

    use super::*;
    use crate::domain::names::AttemptId;

    struct Fixture {
        dir: TempDir,
        blobs: Blobs,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = TempDir::new().unwrap();
            let blobs = Blobs::local(&dir.path().join("blobs")).unwrap();
            Self { dir, blobs }
        }

        /// Stores a blob of four bytes that was written `age` ago.
        async fn blob(&self, age: Duration) -> BlobKey {
            let key = BlobKey::fresh(AttemptId::fresh(), 0);
            let source = self.dir.path().join("source");
            fs::write(&source, "blob").unwrap();
            self.blobs.put_file(&key, &source).await.unwrap();
            let stored =
                fs::File::options().write(true).open(self.dir.path().join("blobs").join(key.as_str())).unwrap();
            stored.set_modified(SystemTime::now() - age).unwrap();
            key
        }

        async fn keys(&self) -> HashSet<BlobKey> {
            self.blobs.list().map_ok(|listed| listed.key).try_collect().await.unwrap()
        }
    }

    /// Sweeps run in a task of their own, asking a store that answers with boxed futures.
    #[tokio::test]
    async fn a_sweep_can_move_between_threads() {
        fn task<T: Send>(task: T) -> T {
            task
        }
        let fixture = Fixture::new();
        fixture.blob(OLD).await;
        let blobs = fixture.blobs.clone();
        let all = |keys| -> BoxFuture<'_, Result<Vec<BlobKey>, &str>> { Box::pin(future::ready(Ok(keys))) };
        let swept = task(async move { sweep(&blobs, GRACE, all).await }).await.unwrap();
        assert_eq!(swept.n_deleted, 1);
        assert!(fixture.keys().await.is_empty());
    }

    const OLD: Duration = Duration::from_secs(2 * 60 * 60);
    const YOUNG: Duration = Duration::from_secs(10 * 60);

    #[tokio::test]
    async fn only_old_blobs_without_a_reference_are_deleted() {
        let fixture = Fixture::new();
        let kept = fixture.blob(OLD).await;
        let young = fixture.blob(YOUNG).await;
        let orphan = fixture.blob(OLD).await;
        let named = young.clone();
        let swept = sweep(&fixture.blobs, GRACE, |keys| {
            assert!(!keys.contains(&named), "a young blob is not even asked about");
            // An answer that names more than was asked deletes no more than was asked.
            let mut answer: Vec<_> = keys.into_iter().filter(|key| *key != kept).collect();
            answer.push(named.clone());
            future::ready(Ok::<_, &str>(answer))
        })
        .await
        .unwrap();
        assert_eq!(swept, Swept { n_checked: 2, n_deleted: 1, bytes_deleted: 4, n_leftovers: 0 });
        assert_eq!(fixture.keys().await, HashSet::from([kept.clone(), young.clone()]));
        assert!(!fixture.keys().await.contains(&orphan));
    }

    #[tokio::test]
    async fn what_a_crashed_write_left_behind_is_deleted_once_it_is_old() {
        let fixture = Fixture::new();
        let key = fixture.blob(YOUNG).await;
        let stored = fixture.dir.path().join("blobs").join(key.as_str());
        let (old, young) = (stored.with_file_name("0197#1"), stored.with_file_name("0198#2"));
        for (path, age) in [(&old, OLD), (&young, YOUNG)] {
            fs::write(path, "half").unwrap();
            fs::File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
        }
        let swept = sweep(&fixture.blobs, GRACE, |_| async { Ok::<_, &str>(Vec::new()) }).await.unwrap();
        assert_eq!(swept, Swept { n_leftovers: 1, ..Swept::default() });
        assert!(!old.exists() && young.exists() && stored.exists());
    }

    #[tokio::test]
    async fn folders_that_have_long_been_empty_go_with_their_parents_and_no_other_does() {
        fn rest(folder: &std::path::Path) {
            fs::File::open(folder).unwrap().set_modified(SystemTime::now() - OLD).unwrap();
        }
        let fixture = Fixture::new();
        let root = fixture.dir.path().join("blobs");
        let kept = root.join(fixture.blob(OLD).await.as_str());
        let [old, attempt, young, foreign] =
            ["2026-01-02/03", "0199f3a2-7c1e/0", "2026-01-04/05", "lost+found"].map(|folder| root.join(folder));
        for folder in [&old, &attempt, &young, &foreign] {
            fs::create_dir_all(folder).unwrap();
        }
        for folder in [&old, &attempt, &foreign, &kept.parent().unwrap().to_owned()] {
            rest(folder);
            rest(folder.parent().unwrap());
        }
        rest(young.parent().unwrap());
        let keep = || sweep(&fixture.blobs, Duration::ZERO, |_| async { Ok::<_, &str>(Vec::new()) });
        keep().await.unwrap();
        assert!(!old.parent().unwrap().exists() && !attempt.parent().unwrap().exists());
        assert!(young.exists() && foreign.exists() && kept.exists());
        // A process may have used it a moment ago.
        rest(&young);
        keep().await.unwrap();
        assert!(!young.exists());
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_deletes_nothing() {
        let fixture = Fixture::new();
        let key = fixture.blob(OLD).await;
        let result = sweep(&fixture.blobs, GRACE, |_| async { Err::<Vec<BlobKey>, _>("down") }).await;
        assert!(matches!(result, Err(SweepError::References("down"))));
        assert_eq!(fixture.keys().await, HashSet::from([key]));
    }
}
