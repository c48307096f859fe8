//! Ctrl-C, and coming back.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
    time::timeout,
};

use super::{files, run};
use crate::{
    simulator::Simulator,
    support::server::{SOON, Setup},
};

async fn interrupt(pid: u32) {
    assert!(Command::new("kill").args(["-INT", &pid.to_string()]).status().await.unwrap().success());
}

#[tokio::test]
async fn ctrl_c_leaves_the_job_and_watch_takes_it_up_with_one_create() {
    let simulator = Simulator::start(&["create:hold"]);
    let setup = Setup::replicate(&simulator.replicate());
    let mut command = Command::from(setup.command());
    command.args(["--json", "generate", "A long way", "-o", "way.mp4"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let name = loop {
        let line = timeout(SOON, lines.next_line()).await.expect("a snapshot in time").unwrap().expect("it goes on");
        let snapshot: serde_json::Value = serde_json::from_str(&line).unwrap();
        if snapshot["attempts"][0]["providerJobId"].is_string() {
            break snapshot["name"].as_str().unwrap().to_owned();
        }
    };
    interrupt(child.id().unwrap()).await;
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
    let status = timeout(SOON, child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(130), "{err}");
    assert!(err.contains(&format!("filmgate watch {name}")), "{err}");
    assert!(files(&setup).is_empty(), "no half of a file stays");

    simulator.control("release", serde_json::json!({})).await;
    let watched = run(&setup, &["watch", &name]).await.ok();
    assert!(watched.out.contains("filmgate download"), "{watched:?}");
    run(&setup, &["download", &name, "-o", "way.mp4"]).await.ok();
    assert_eq!((files(&setup).len(), simulator.count("creates_received").await), (1, 1));
}

#[tokio::test]
async fn a_command_whose_borrowed_server_ends_goes_on_by_itself() {
    let simulator = Simulator::start(&["create:hold"]);
    let setup = Setup::replicate(&simulator.replicate());
    let server = setup.start().await;
    let order = server.order(crate::support::server::video("handed on")).await.unwrap();
    server.until(&order.name, |running| !running.attempts[0].provider_job_id.is_empty()).await;
    let mut command = Command::from(setup.command());
    command.args(["--json", "watch", &order.name]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    timeout(SOON, lines.next_line()).await.expect("a snapshot in time").unwrap().expect("it goes on");
    drop(server.kill());
    simulator.control("release", serde_json::json!({})).await;
    let status = timeout(SOON.min(Duration::from_secs(30)), child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn commands_at_once_on_one_folder_share_it_and_all_succeed() {
    let simulator = Simulator::start(&[]);
    let setup = Setup::replicate(&simulator.replicate());
    let prompts = ["one", "two", "three", "four"];
    let commands = prompts.map(async |prompt| run(&setup, &["--json", "generate", prompt]).await);
    for ran in futures_util::future::join_all(commands).await {
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    assert_eq!((files(&setup).len(), simulator.count("creates_received").await), (4, 4));
}
