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
