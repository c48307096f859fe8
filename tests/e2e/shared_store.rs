//! Records in a real PostgreSQL.

use filmgate::pb::v1::State;

use crate::support::{
    postgres::SHARED,
    server::{Setup, video},
};

#[tokio::test]
async fn what_a_killed_process_left_in_the_database_is_finished_by_the_next_one() {
    let setup = Setup::sample().with("FILMGATE_DATABASE_URL", &SHARED.database());
    let slow = setup.clone().with("FILMGATE_SAMPLE_LATENCY", "1h").start().await;
    let left = slow.order(video("a fox")).await.unwrap();
    slow.until(&left.name, |generation| generation.state() == State::Running).await;
    slow.kill();
    assert!(!setup.data_dir().join("filmgate.db").exists(), "the data folder holds no records");

    let server = setup.start().await;
    assert_eq!(server.end_of(&left.name).await.state(), State::Succeeded);
    assert_eq!(server.stop().await, Some(0));
    let server = setup.start().await;
    assert_eq!(server.get(&left.name).await.state(), State::Succeeded);
}

fn run(setup: &Setup, command: &str) -> (Option<i32>, String) {
    let output = setup.command().arg(command).output().unwrap();
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code(), told)
}

#[test]
fn check_tells_of_the_database_without_changing_it() {
    let url = SHARED.database();
    let setup = Setup::sample().with("FILMGATE_DATABASE_URL", &url).with("FILMGATE_LISTEN", "127.0.0.1:0");
    let (code, told) = run(&setup, "check");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("PostgreSQL 1") && told.contains("without tables yet"), "{told}");
}

#[test]
fn a_database_that_cannot_be_used_is_told_with_its_setting_and_without_its_password() {
    let listen = |setup: Setup| setup.with("FILMGATE_LISTEN", "127.0.0.1:0");
    let refused = listen(Setup::sample().with("FILMGATE_DATABASE_URL", "postgres://user:s3cret@127.0.0.1:1/films"));
    let strange = listen(Setup::sample().with("FILMGATE_DATABASE_URL", "mysql://user:s3cret@127.0.0.1:1/films"));
    for (setup, expected) in [(refused, "127.0.0.1:1/films"), (strange, "postgres://user:password@host")] {
        for command in ["check", "serve"] {
            let (code, told) = run(&setup, command);
            assert!(code.is_some_and(|code| code != 0), "{told}");
            assert!(told.contains("FILMGATE_DATABASE_URL") && told.contains(expected), "{told}");
            assert!(!told.contains("s3cret"), "{told}");
        }
    }
}
