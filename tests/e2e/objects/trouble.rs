//! A bucket that cannot be used: at the start that is told with the fix, later it is waited for.

use std::{fs, time::Duration};

use filmgate::pb::v1::State;
use serde_json::json;
use tokio::time::sleep;

use super::at_vendor;
use crate::{
    files::download,
    simulator::Simulator,
    support::{
        objects::{KEY_ID, ObjectServer, SECRET, TOKEN},
        server::{Server, Setup, video},
    },
};

/// Waits until storing has failed at least once.
async fn has_failed(server: &Server) {
    while !server.setup().log().contains("an output cannot be stored now") {
        sleep(Duration::from_millis(20)).await;
    }
}

/// After trouble: the only job is done, paid once, and its bytes are there.
async fn recovers(simulator: &Simulator, server: &Server, name: &str) {
    let done = server.end_of(name).await;
    assert_eq!(done.state(), State::Succeeded, "{done:?}");
    let bytes = download(server, &done.artifacts[0].name, 0, 0).await;
    assert_eq!(i64::try_from(bytes.len()).unwrap(), done.artifacts[0].size_bytes);
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn a_success_waits_for_a_bucket_that_is_gone() {
    let objects = ObjectServer::start().await;
    let (simulator, server, held) = at_vendor(&objects).await;
    objects.drop_bucket().await;
    simulator.control("release", json!({})).await;
    has_failed(&server).await;
    assert_eq!(server.get(&held.name).await.state(), State::Storing);
    assert!(server.setup().log().contains("there is no such bucket"), "{}", server.setup().log());
    objects.make_bucket().await;
    recovers(&simulator, &server, &held.name).await;
}

#[tokio::test]
async fn a_success_waits_for_an_object_server_that_is_down() {
    let objects = ObjectServer::start_below_a_path().await;
    let (simulator, server, held) = at_vendor(&objects).await;
    let down = objects.kill().await;
    simulator.control("release", json!({})).await;
    has_failed(&server).await;
    assert_eq!(server.get(&held.name).await.state(), State::Storing);
    let objects = down.start().await;
    recovers(&simulator, &server, &held.name).await;
    assert_eq!(objects.keys().await.len(), 1);
    assert!(!server.setup().log().contains(SECRET) && !server.setup().log().contains(TOKEN));
}

#[tokio::test]
async fn a_cached_answer_stands_while_the_bucket_cannot_be_asked() {
    let objects = ObjectServer::start().await;
    let simulator = Simulator::start(&[]);
    let server = objects.keeps(Setup::replicate(&simulator.replicate())).start().await;
    let order = || filmgate::pb::v1::GenerateVideoRequest { session: "sessions/s".to_owned(), ..video("a fox") };
    assert_eq!(server.generate(order()).await.unwrap().state(), State::Succeeded);
    objects.drop_bucket().await;
    let again = server.generate(order()).await.unwrap();
    assert!(again.cached, "{again:?}");
    assert_eq!(simulator.count("creates_received").await, 1);
}

/// What `filmgate serve` and `filmgate check` say about settings that cannot work, which must be the same.
fn refused(setup: &Setup) -> String {
    let output = setup.command().args(["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(9), "{told}");
    let checked = setup.command().args(["check", "--listen", "127.0.0.1:0"]).output().unwrap();
    let found = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(9), "{found}");
    for text in [&told, &found] {
        assert!(text.contains("FILMGATE_ARTIFACTS_URL"), "{text}");
        assert!(!text.contains(SECRET) && !text.contains("not-the-key") && !text.contains(TOKEN), "{text}");
    }
    // In the check it is on a line of its own.
    let fix = found.lines().find_map(|line| line.strip_prefix("  fix: ")).unwrap();
    assert!(told.contains(fix), "{told}\n{found}");
    told
}

#[tokio::test]
async fn a_start_that_cannot_reach_its_bucket_says_what_to_set() {
    let objects = ObjectServer::start_below_a_path().await;
    let good = objects.keeps(Setup::sample());
    for (name, value, expected) in [
        ("FILMGATE_ARTIFACTS_URL", "s3://no-such-bucket", ["s3://no-such-bucket", "make the bucket"]),
        ("FILMGATE_ARTIFACTS_URL", "ftp://films", ["ftp://films", "s3://bucket/prefix"]),
        ("AWS_SECRET_ACCESS_KEY", "not-the-key", ["SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"]),
        ("AWS_ACCESS_KEY_ID", "AKIANOBODY", ["InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"]),
        ("AWS_SESSION_TOKEN", "not-the-key", ["InvalidToken", "AWS_SESSION_TOKEN"]),
        ("AWS_SECRET_ACCESS_KEY", "", ["SecretAccessKey", "AWS_SECRET_ACCESS_KEY"]),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", ["refused", "AWS_ENDPOINT_URL"]),
    ] {
        let told = refused(&good.clone().with(name, value));
        assert!(expected.iter().all(|text| told.contains(text)), "{name}={value}: {told}");
    }
}

#[tokio::test]
async fn a_check_tells_where_artifacts_go_and_no_key() {
    let objects = ObjectServer::start().await;
    let setup = objects.keeps(Setup::sample());
    let output = setup.command().args(["check", "--listen", "127.0.0.1:0"]).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && told.contains("s3://films/made/here"), "{told}");
    assert!(!told.contains(SECRET) && !told.contains(KEY_ID), "{told}");
}

#[tokio::test]
async fn artifacts_may_be_in_a_folder_of_another_place() {
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = elsewhere.path().join("with space");
    let url = reqwest::Url::from_directory_path(&folder).unwrap();
    let server = Setup::sample().with("FILMGATE_ARTIFACTS_URL", url.as_str()).start().await;
    let made = server.generate(video("a fox")).await.unwrap();
    assert_eq!(server.bytes(&made).await.bytes().await.unwrap().len() as i64, made.artifacts[0].size_bytes);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert!(!server.setup().data_dir().join("blobs").exists());
}
