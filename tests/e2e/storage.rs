//! A disk that takes nothing more: calls are refused and say so, nothing is lost, and space alone mends it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use filmgate::pb::v1::State;
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    simulator::Simulator,
    support::server::{SOON, Server, Setup, video},
};

/// What keeps a server from writing.
enum Disk {
    /// A file system of its own, which this file fills.
    Small { folder: PathBuf, filler: PathBuf },
    /// Without the right to mount one: files of the server's process that may not grow beyond this many bytes.
    Limit,
}

impl Disk {
    /// A small one at `folder`.
    fn at(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs"];
        match Command::new("mount").args(mount).arg(folder).output() {
            Ok(done) if done.status.success() => {
                Self::Small { folder: folder.to_owned(), filler: folder.join("filler") }
            }
            Ok(_) | Err(_) => Self::Limit,
        }
    }

    /// From now on nothing more can be written.
    fn fill(&self, server: &Server) {
        match self {
            Self::Small { filler, .. } => {
                // Ends with an error when the disk is full, which is the purpose; small blocks leave no gap.
                let mut full = Command::new("dd");
                full.args(["if=/dev/zero", "bs=4k"]).arg(format!("of={}", filler.display()));
                assert!(!full.output().unwrap().status.success());
            }
            Self::Limit => limit(server, "1024"),
        }
    }

    /// There is space again.
    fn free(&self, server: &Server) {
        match self {
            Self::Small { filler, .. } => fs::remove_file(filler).unwrap(),
            Self::Limit => limit(server, "unlimited"),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Small { folder, .. } = self {
            // Lazily: a server that a failed test left behind may still use it.
            let _ = Command::new("umount").arg("-l").arg(folder).status();
        }
    }
}

/// Sets how large a file of the server's process may become. Only the soft limit, so that it can be raised again.
fn limit(server: &Server, bytes: &str) {
    let limit = format!("--fsize={bytes}:");
    let done = Command::new("prlimit").args(["--pid", &server.pid().to_string(), &limit]).status();
    assert!(done.unwrap().success(), "prlimit of util-linux is needed");
}

async fn readiness(server: &Server, expected: StatusCode) {
    let reached = async {
        while server.readyz().await != expected {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, reached).await.expect("readiness follows the disk");
}

fn assert_unavailable(status: &Status) {
    let details = status.get_error_details();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(details.error_info().unwrap().reason, "STORE_UNAVAILABLE");
    assert!(details.retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
}

#[tokio::test]
async fn a_full_disk_refuses_orders_keeps_jobs_and_heals_when_there_is_space() {
    let simulator = Simulator::start(&["create:hold"]);
    let setup = Setup::replicate(&simulator.replicate());
    let disk = Disk::at(&setup.data_dir());
    let server = setup.start().await;
    let held = server.order(video("before")).await.unwrap();
    server.until(&held.name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;

    disk.fill(&server);
    // What fits into pages that the database has already may still be taken; soon nothing is.
    let refused = async {
        for n in 0.. {
            if let Err(status) = server.order(video(&format!("while full {n}"))).await {
                return (n, status);
            }
        }
        unreachable!("orders are taken without end");
    };
    let (n_taken, refused) = timeout(SOON, refused).await.expect("a full disk takes no order");
    assert_unavailable(&refused);
    readiness(&server, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(server.get(&held.name).await.state(), State::Running, "what is stored can be read");
    simulator.control("release", json!({})).await;

    simulator.faults(&[]).await;
    disk.free(&server);
    readiness(&server, StatusCode::OK).await;
    let done = server.end_of(&held.name).await;
    assert_eq!(done.state(), State::Succeeded, "{done:?}");
    for n in 0..n_taken {
        let again = server.generate(video(&format!("while full {n}"))).await.unwrap();
        assert_eq!(again.state(), State::Succeeded, "{again:?}");
    }
    assert_eq!(server.generate(video("after")).await.unwrap().state(), State::Succeeded);
    assert_eq!(server.stop().await, Some(0));
}

#[tokio::test]
async fn an_output_that_finds_no_space_is_stored_when_there_is_some() {
    // Larger than the disk's slack and smaller than the disk.
    let simulator = Simulator::start(&["create:size=6000000"]);
    let setup = Setup::replicate(&simulator.replicate());
    let disk = Disk::at(&setup.data_dir());
    let server = setup.start().await;
    simulator.faults(&["create:hold", "create:size=6000000"]).await;
    let held = server.order(video("large")).await.unwrap();
    server.until(&held.name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    disk.fill(&server);
    simulator.control("release", json!({})).await;
    while simulator.count("downloads").await == 0 && server.readyz().await.is_success() {
        sleep(Duration::from_millis(20)).await;
    }
    disk.free(&server);
    let done = server.end_of(&held.name).await;
    assert_eq!(done.state(), State::Succeeded, "{done:?}");
    assert!(done.artifacts[0].size_bytes >= 6_000_000);
    assert_eq!(simulator.count("creates_received").await, 1);
    assert_eq!(server.stop().await, Some(0));
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_used_is_named_with_the_setting_to_change() {
    let setup = Setup::sample().with_file("file", "").with("FILMGATE_DATA_DIR", "file/data");
    let output = setup.command().args(["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(errors.contains("file/data") && errors.contains("FILMGATE_DATA_DIR"), "{errors}");
}
