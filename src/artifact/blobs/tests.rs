//! What is special about a folder. What holds for every store is in `tests/e2e/objects/contract.rs`.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::domain::names::AttemptId;

fn key() -> BlobKey {
    BlobKey::fresh(AttemptId::fresh(), 0)
}

#[tokio::test]
async fn a_folder_may_hold_files_that_are_no_blobs() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("blobs");
    let blobs = Blobs::local(&root).unwrap();
    let (key, source) = (key(), dir.path().join("source"));
    fs::write(&source, "bytes").unwrap();
    blobs.put_file(&key, &source).await.unwrap();
    assert!(!source.exists(), "the folder takes the file itself");
    fs::write(root.join("notes.txt"), "not a blob").unwrap();
    let listed: Vec<Listed> = blobs.list().try_collect().await.unwrap();
    assert_eq!(listed.iter().map(|listed| &listed.key).collect::<Vec<_>>(), [&key]);
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

#[tokio::test]
async fn blobs_of_an_older_version_are_read_listed_and_deleted_where_they_are() {
    let dir = TempDir::new().unwrap();
    let old: BlobKey = "0199f3a2-7c1e-7d60-a9fb-0f0b3f8f2f11/0/0199f3a27c207a41b1d2c4f0a5e6d7c8".parse().unwrap();
    let file = dir.path().join(old.as_str());
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "old bytes").unwrap();
    let blobs = Blobs::local(dir.path()).unwrap();
    assert!(blobs.exists(&old).await.unwrap());
    let bytes: Vec<Bytes> = blobs.open(&old, 4..9).await.unwrap().try_collect().await.unwrap();
    assert_eq!(bytes, ["bytes"]);
    let listed: Vec<Listed> = blobs.list().try_collect().await.unwrap();
    assert_eq!(listed.iter().map(|listed| &listed.key).collect::<Vec<_>>(), [&old]);
    blobs.delete(&old).await.unwrap();
    assert!(!file.exists());
}

#[tokio::test]
async fn a_folder_that_goes_away_is_made_again() {
    let dir = TempDir::new().unwrap();
    let (root, source) = (dir.path().join("blobs"), dir.path().join("source"));
    let blobs = Blobs::local(&root).unwrap();
    for _ in 0..2 {
        let key = key();
        fs::write(&source, "bytes").unwrap();
        blobs.put_file(&key, &source).await.unwrap();
        assert!(blobs.exists(&key).await.unwrap());
        fs::remove_dir_all(root.join(key.as_str()).parent().unwrap()).unwrap();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_on_another_file_system_is_copied() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new_in("/dev/shm").unwrap());
    let (blobs, key, source) = (Blobs::local(dir.path()).unwrap(), key(), other.path().join("source"));
    fs::write(&source, "bytes").unwrap();
    blobs.put_file(&key, &source).await.unwrap();
    assert_eq!(fs::read_to_string(dir.path().join(key.as_str())).unwrap(), "bytes");
}

#[cfg(unix)]
#[tokio::test]
async fn a_blob_that_is_written_in_place_is_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = TempDir::new().unwrap();
    let blobs = Blobs::local(dir.path()).unwrap();
    let (folder, key) = (blobs.folder().unwrap(), key());
    folder.write(&key, b"bytes", folder.place().await.unwrap()).unwrap().wait().await.unwrap();
    assert_eq!(fs::metadata(folder.path(&key)).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_folder_is_named_by_its_url_and_signs_nothing() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("with space");
    let blobs = Blobs::at(&Url::from_directory_path(&root).unwrap(), &[]).unwrap();
    assert!(root.is_dir());
    blobs.check().await.unwrap();
    let served = Served { media_type: "video/mp4", disposition: "inline" };
    assert_eq!(blobs.link(&key(), Duration::from_secs(60), served).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let variables =
        [("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let blobs = Blobs::at(&Url::parse("s3://films").unwrap(), &variables).unwrap();
    let Err(Error::Failed(told)) = blobs.check().await else { panic!("it answered") };
    assert_eq!(told.to_string(), "the object store did not answer within 15 s");
}
