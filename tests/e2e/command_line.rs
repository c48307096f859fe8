//! The binary as people and scripts use it: what it writes, how it exits, and what goes on when it is gone.

mod signals;
mod trouble;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tokio::{process::Command, time::timeout};

use crate::{
    simulator::Simulator,
    support::server::{SOON, Setup},
};

/// How a command ended and what it wrote.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// stdout as one JSON value a line.
    fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

/// Runs the binary to its end.
pub(crate) async fn run(setup: &Setup, args: &[&str]) -> Ran {
    let mut command = Command::from(setup.command());
    let child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).output();
    let output = timeout(SOON, child).await.unwrap_or_else(|_| panic!("{args:?} does not end")).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Names of the files in the folder where commands run, but for the server's own.
fn files(setup: &Setup) -> Vec<PathBuf> {
    let paths = fs::read_dir(setup.folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.filter(|path| path.is_file() && *path != setup.log_file()).collect();
    files.sort();
    files
}

/// Width, height and playing time, as FFmpeg sees them; none where it is not installed.
async fn probed(file: &Path) -> Option<(u64, u64, f64)> {
    let args = ["-v", "error", "-select_streams", "v", "-show_entries", "stream=width,height:format=duration"];
    let output = Command::new("ffprobe").args(args).args(["-of", "json"]).arg(file).output().await.ok()?;
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stream = &found["streams"][0];
    let seconds = found["format"]["duration"].as_str().unwrap().parse().unwrap();
    Some((stream["width"].as_u64().unwrap(), stream["height"].as_u64().unwrap(), seconds))
}

#[tokio::test]
async fn generate_without_a_server_or_a_key_writes_a_playable_sample() {
    let setup = Setup::sample();
    let ran = run(&setup, &["generate", "A calm forest at dawn"]).await.ok();
    assert!(ran.out.contains("SAMPLE") && ran.out.contains("saved "), "{ran:?}");
    let [file] = &files(&setup)[..] else { panic!("{:?}", files(&setup)) };
    assert!(file.to_string_lossy().ends_with("calm-forest-at-dawn.mp4"), "{file:?}");
    assert_eq!(infer::get(&fs::read(file).unwrap()).unwrap().mime_type(), "video/mp4");
    if let Some((width, height, seconds)) = probed(file).await {
        assert_eq!((width, height), (512, 288));
        assert!((seconds - 5.0).abs() < 0.1, "{seconds} s");
    }

    // The next one takes a name of its own; one that is given is replaced.
    run(&setup, &["generate", "A calm forest at dawn"]).await.ok();
    assert_eq!(files(&setup).len(), 2);
    fs::write(setup.folder().join("mine.mp4"), "old").unwrap();
    run(&setup, &["generate", "A calm forest at dawn", "-o", "mine.mp4"]).await.ok();
    assert!(fs::read(setup.folder().join("mine.mp4")).unwrap().len() > 1000);
}

#[tokio::test]
async fn json_lines_are_snapshots_in_the_contracts_form_and_notices_stay_on_stderr() {
    let setup = Setup::sample();
    let ran = run(&setup, &["--json", "generate", "A lake", "-o", "lake.mp4", "--label", "a=b"]).await.ok();
    let pool = prost_reflect::DescriptorPool::decode(filmgate::pb::DESCRIPTOR_SET).unwrap();
    let generation = pool.get_message_by_name("filmgate.v1.Generation").unwrap();
    let snapshots = ran.lines();
    for snapshot in &snapshots {
        // Reading refuses every field that the contract does not have.
        prost_reflect::DynamicMessage::deserialize(generation.clone(), snapshot).unwrap();
    }
    let last = snapshots.last().unwrap();
    assert_eq!((&last["state"], &last["labels"]["a"]), (&"STATE_SUCCEEDED".into(), &"b".into()), "{last}");
    let notices: Vec<Value> = ran.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(notices.iter().any(|notice| notice.to_string().contains("lake.mp4")), "{notices:?}");
}

#[tokio::test]
async fn a_command_uses_the_server_that_owns_the_folder() {
    let simulator = Simulator::start(&[]);
    let setup = Setup::replicate(&simulator.replicate());
    let server = setup.start().await;
    let ran = run(&setup, &["--json", "generate", "A river", "-o", "river.mp4"]).await.ok();
    let name = ran.lines().last().unwrap()["name"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&name).await.name, name);
    // By the server's address alone, from a folder of another's.
    let elsewhere = Setup::sample();
    let address = server.addr().to_string();
    let ran = run(&elsewhere, &["--server", &address, "--json", "get", &name]).await.ok();
    assert_eq!(ran.lines()[0]["name"], name.as_str());
    assert!(!elsewhere.data_dir().exists(), "no server of its own was started");
}

#[tokio::test]
async fn every_other_command_does_what_it_says() {
    let simulator = Simulator::start(&[]);
    let setup = Setup::replicate(&simulator.replicate());
    let server = setup.start().await;
    let made = run(&setup, &["--json", "generate", "A hill", "--session", "talk", "-o", "hill.mp4"]).await.ok();
    let made = made.lines().pop().unwrap();
    let (name, artifact) = (made["name"].as_str().unwrap(), made["artifacts"][0]["name"].as_str().unwrap());
    let json = async |args: &[&str]| run(&setup, &[&["--json"], args].concat()).await.ok().lines();

    assert_eq!(json(&["get", name]).await[0]["state"], "STATE_SUCCEEDED");
    assert_eq!(json(&["list", "--state", "succeeded"]).await[0]["name"], name);
    assert_eq!(json(&["watch", name]).await.last().unwrap()["name"], name);
    assert!(json(&["events", name]).await.len() > 3);
    assert_eq!(json(&["sessions"]).await[0]["name"], "sessions/talk");
    assert_eq!(json(&["history", "talk"]).await.len(), 3);
    let models = json(&["models"]).await;
    assert!(models.iter().any(|model| model["name"] == "sample/video"), "{models:?}");
    let providers = json(&["providers"]).await;
    assert!(providers.iter().any(|provider| provider["name"] == "sample"), "{providers:?}");

    // People get text: of the same, and never empty.
    for args in [
        &["get", name][..],
        &["list"],
        &["watch", name],
        &["events", name],
        &["sessions"],
        &["history", "talk"],
        &["models"],
        &["providers"],
    ] {
        let ran = run(&setup, args).await.ok();
        assert!(!ran.out.trim().is_empty() && serde_json::from_str::<Value>(&ran.out).is_err(), "{args:?} {ran:?}");
    }

    run(&setup, &["download", artifact, "-o", "again.mp4"]).await.ok();
    let read = |file: &str| fs::read(setup.folder().join(file)).unwrap();
    assert_eq!(read("again.mp4"), read("hill.mp4"));
    let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/media/still.jpg");
    let uploaded = json(&["upload", picture]).await;
    assert_eq!(uploaded[0]["mediaType"], "image/jpeg");

    simulator.faults(&["create:hold"]).await;
    let order = server.order(crate::support::server::video("to be cancelled")).await.unwrap();
    server.until(&order.name, |running| !running.attempts[0].provider_job_id.is_empty()).await;
    run(&setup, &["cancel", &order.name]).await.ok();
    let watched = run(&setup, &["watch", &order.name]).await;
    assert_eq!(watched.code, Some(5), "{watched:?}");
    run(&setup, &["delete", &order.name]).await.ok();
    assert_eq!(run(&setup, &["get", &order.name]).await.code, Some(6));
}
