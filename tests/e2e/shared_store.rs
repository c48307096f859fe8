//! Records in a real PostgreSQL.

use std::{
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use filmgate::pb::v1::State;
use tokio::time::{Instant, sleep};

use crate::support::{
    postgres::{Postgres, SHARED},
    server::{SOON, Setup, video},
};

const WAITS: &str = "cannot start yet; waiting for the database";

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

#[tokio::test]
async fn a_database_that_cannot_be_used_is_told_with_its_setting_and_without_its_password() {
    let strange = Setup::sample().with("FILMGATE_DATABASE_URL", "mysql://user:s3cret@127.0.0.1:1/films");
    let missing = format!("postgres://postgres:s3cret@127.0.0.1:{}/no_such_films", SHARED.port());
    let missing = Setup::sample().with("FILMGATE_DATABASE_URL", &missing);
    for (setup, expected) in [(strange, "postgres://user:password@host"), (missing, "no_such_films")] {
        let setup = setup.with("FILMGATE_LISTEN", "127.0.0.1:0");
        for command in ["check", "serve"] {
            let (code, told) = run(&setup, command);
            assert!(code.is_some_and(|code| code != 0), "{told}");
            assert!(told.contains("FILMGATE_DATABASE_URL") && told.contains(expected), "{told}");
            assert!(!told.contains("s3cret"), "{told}");
        }
    }

    let away = Setup::sample().with("FILMGATE_DATABASE_URL", "postgres://user:s3cret@127.0.0.1:1/films");
    let (code, told) = run(&away, "check");
    assert!(code.is_some_and(|code| code != 0), "{told}");
    let mut waiting = Waiting::start(&away).await;
    let told = told + &away.log();
    assert_eq!(told.matches("FILMGATE_DATABASE_URL").count(), 2, "{told}");
    assert!(told.matches("127.0.0.1:1/films").count() >= 2 && !told.contains("s3cret"), "{told}");
    assert!(waiting.end().await.success(), "{}", away.log());
}

#[tokio::test]
async fn a_server_waits_for_a_database_that_is_away_when_it_starts() {
    let postgres = Postgres::start();
    let setup = Setup::sample().with("FILMGATE_DATABASE_URL", &postgres.database());
    postgres.stop("QUIT");
    let back = async {
        logged(&setup, WAITS).await;
        postgres.resume();
    };
    let (server, ()) = tokio::join!(setup.start(), back);
    assert_eq!(server.generate(video("a fox")).await.unwrap().state(), State::Succeeded);
    assert_eq!(setup.log().matches(WAITS).count(), 1, "it is told once:\n{}", setup.log());
}

async fn logged(setup: &Setup, text: &str) {
    let end = Instant::now() + SOON;
    while !setup.log().contains(text) {
        assert!(Instant::now() < end, "{text} is not in the log:\n{}", setup.log());
        sleep(Duration::from_millis(10)).await;
    }
}

/// A server that waits for its database. Dropping it kills it.
struct Waiting(Child);

impl Waiting {
    async fn start(setup: &Setup) -> Self {
        let log = std::fs::File::create(setup.log_file()).unwrap();
        let mut command = setup.command();
        command.args(["serve", "--listen", "127.0.0.1:0"]).stderr(log);
        let waiting = Self(command.spawn().unwrap());
        logged(setup, WAITS).await;
        waiting
    }

    /// SIGTERM; how it ended.
    async fn end(&mut self) -> ExitStatus {
        assert!(Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap().success());
        let end = Instant::now() + SOON;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
