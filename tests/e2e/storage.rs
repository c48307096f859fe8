//! A disk that takes nothing more: calls are refused and say so, nothing is lost, and space alone mends it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use filmgate::pb::v1::{
    CreateSessionRequest, State, UploadArtifactRequest, UploadHeader, input::Source, upload_artifact_request::Part,
};
use reqwest::StatusCode;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    files::{from_picture, n_blobs, picture},
    simulator::Simulator,
    support::{
        proxy::Proxy,
        server::{SOON, Server, Setup, video},
    },
};

/// What keeps a server from writing.
enum Disk {
    /// A small file system of its own, which this file fills.
    Small { folder: PathBuf, filler: PathBuf },
    /// No file of the server's process may grow beyond some bytes.
    Limit,
}

impl Disk {
    /// A file system at `folder`, if this process has the right to mount one.
    fn small(folder: &Path) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs"];
        let done = Command::new("mount").args(mount).arg(folder).output().ok()?;
        done.status.success().then(|| Self::Small { folder: folder.to_owned(), filler: folder.join("filler") })
    }

    /// From now on nothing large can be written, nothing at all soon.
    fn fill(&self, server: &Server) {
        match self {
            Self::Small { filler, .. } => {
                // Ends with an error when the disk is full, which is the purpose; small blocks leave no gap.
                let mut full = Command::new("dd");
                full.args(["if=/dev/zero", "bs=4k"]).arg(format!("of={}", filler.display()));
                assert!(!full.output().unwrap().status.success());
            }
            Self::Limit => limit(server, "262144"),
        }
    }

    /// As `fill`, but there is room for some records.
    fn fill_nearly(&self, server: &Server) {
        match self {
            Self::Small { filler, .. } => {
                self.fill(server);
                let filled = fs::File::options().write(true).open(filler).unwrap();
                filled.set_len(filled.metadata().unwrap().len() - (2 << 20)).unwrap();
            }
            Self::Limit => limit(server, "2097152"),
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
pub(crate) fn limit(server: &Server, bytes: &str) {
    let limit = format!("--fsize={bytes}:");
    let done = Command::new("prlimit").args(["--pid", &server.pid().to_string(), &limit]).status();
    assert!(done.unwrap().success(), "prlimit of util-linux is needed");
}

/// Runs a check on every sort of disk that can be full here, each with a simulator of its own that has these rules.
async fn on_every_disk(rules: &[&str], check: impl AsyncFn(&Simulator, &Setup, &Disk)) {
    let run = async |limited: bool| {
        let simulator = Simulator::start(rules);
        let setup = Setup::replicate(&simulator.replicate());
        let disk = if limited { Some(Disk::Limit) } else { Disk::small(&setup.data_dir()) };
        if let Some(disk) = disk {
            check(&simulator, &setup, &disk).await;
        }
    };
    tokio::join!(Box::pin(run(false)), Box::pin(run(true)));
}

async fn readiness(server: &Server, expected: StatusCode) {
    let reached = async {
        while server.readyz().await != expected {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let log = || server.setup().log();
    // The pulse is felt every five seconds, and its record is the smallest of all.
    timeout(2 * SOON, reached).await.unwrap_or_else(|_| panic!("never {expected}:\n{}", log()));
}

/// Fills the disk to the last record: what fits into pages that the database has already may still be taken. How many orders were.
async fn fill_up(server: &Server, disk: &Disk) -> usize {
    disk.fill(server);
    let refused = async {
        let mut n_taken = 0;
        let refused = loop {
            match server.order(video(&format!("while full {n_taken}"))).await {
                Ok(_) => n_taken += 1,
                Err(refused) => break refused,
            }
        };
        // The smallest record there is.
        let mut sessions = server.sessions().await;
        while sessions.create_session(CreateSessionRequest::default()).await.is_ok() {}
        (n_taken, refused)
    };
    let (n_taken, refused) = timeout(SOON, refused).await.expect("a full disk takes nothing");
    assert_unavailable(&refused);
    n_taken
}

fn assert_unavailable(status: &Status) {
    let details = status.get_error_details();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(details.error_info().unwrap().reason, "STORE_UNAVAILABLE");
    assert!(details.retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
}

pub(crate) async fn until_logged(setup: &Setup, words: &str) {
    let logged = async {
        while !setup.log().contains(words) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, logged).await.unwrap_or_else(|_| panic!("never logged {words:?}:\n{}", setup.log()));
}

/// Orders a video and waits until the vendor has its job.
async fn at_vendor(server: &Server, prompt: &str) -> String {
    let name = server.order(video(prompt)).await.unwrap().name;
    server.until(&name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    name
}

#[tokio::test]
async fn a_full_disk_refuses_orders_keeps_jobs_and_heals_when_there_is_space() {
    on_every_disk(&["create:hold"], async |simulator, setup, disk| {
        let server = setup.start().await;
        let held = at_vendor(&server, "before").await;
        let n_taken = fill_up(&server, disk).await;
        readiness(&server, StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!(server.get(&held).await.state(), State::Running, "what is stored can be read");
        let large = picture(600 << 10);
        let header = UploadHeader { media_type: "image/jpeg".to_owned(), sha256: String::new() };
        let parts = [Part::Header(header), Part::Data(large.clone().into())];
        let parts = parts.map(|part| UploadArtifactRequest { part: Some(part) });
        let refused = server.artifacts().await.upload_artifact(tokio_stream::iter(parts)).await;
        assert_unavailable(&refused.unwrap_err());
        assert_unavailable(&server.order(from_picture(Source::Data(large.into()))).await.unwrap_err());
        simulator.control("release", json!({})).await;

        simulator.faults(&[]).await;
        disk.free(&server);
        readiness(&server, StatusCode::OK).await;
        simulator.control("release", json!({})).await;
        let done = server.end_of(&held).await;
        assert_eq!(done.state(), State::Succeeded, "{done:?}");
        for n in 0..n_taken {
            let again = server.generate(video(&format!("while full {n}"))).await.unwrap();
            assert_eq!(again.state(), State::Succeeded, "{again:?}");
            assert!(again.cached || again.coalesced, "what was taken is there: {again:?}");
        }
        assert_eq!(server.generate(video("after")).await.unwrap().state(), State::Succeeded);
        assert_eq!(server.stop().await, Some(0));
    })
    .await;
}

#[tokio::test]
async fn an_output_that_finds_no_space_is_stored_when_there_is_some() {
    on_every_disk(&["create:hold", "create:size=6000000"], async |simulator, setup, disk| {
        let server = setup.start().await;
        let held = at_vendor(&server, "large").await;
        disk.fill_nearly(&server);
        simulator.control("release", json!({})).await;
        // It is fetched again and again, and the rest of the service goes on.
        let fetched = async {
            while simulator.count("downloads").await < 3 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, fetched).await.expect("it is fetched");
        let waiting = server.get(&held).await;
        assert_eq!((waiting.state(), waiting.artifacts.len()), (State::Storing, 0), "{waiting:?}");
        assert_eq!(server.readyz().await, StatusCode::OK);
        disk.free(&server);
        let done = server.end_of(&held).await;
        assert_eq!(done.state(), State::Succeeded, "{done:?}");
        let bytes = server.bytes(&done).await.bytes().await.unwrap();
        assert_eq!(hex::encode(Sha256::digest(&bytes)), done.artifacts[0].sha256);
        assert!(bytes.len() >= 6_000_000);
        assert_eq!((simulator.count("creates_received").await, n_blobs(&setup.data_dir().join("blobs"))), (1, 1));
        assert_eq!(n_blobs(&setup.data_dir().join("spool")), 0);
        assert_eq!(server.stop().await, Some(0));
    })
    .await;
}

#[tokio::test]
async fn an_end_that_finds_no_space_is_stored_when_there_is_some() {
    on_every_disk(&["create:hold"], async |simulator, setup, disk| {
        let server = setup.start().await;
        let held = at_vendor(&server, "ends on a full disk").await;
        fill_up(&server, disk).await;
        simulator.control("release", json!({})).await;
        until_logged(setup, "what happened cannot be stored now").await;
        assert_eq!(server.get(&held).await.state(), State::Running);
        simulator.faults(&[]).await;
        disk.free(&server);
        let done = server.end_of(&held).await;
        assert_eq!(done.state(), State::Succeeded, "{done:?}");
        assert_eq!(server.history(&held).await, ["accepted", "submitting", "submitted", "outputs_ready", "succeeded"]);
    })
    .await;
}

/// A job that the vendor has taken, and whose ticket cannot be stored.
async fn paid_and_full(setup: &Setup, simulator: &Simulator, disk: &Disk) -> (Server, Proxy, String) {
    let base_url = simulator.replicate();
    let vendor = base_url.split('/').nth(2).unwrap();
    let proxy = Proxy::to(vendor.parse().unwrap()).await;
    let base_url = base_url.replace(vendor, &proxy.addr().to_string());
    let server = setup.clone().with("FILMGATE_REPLICATE_BASE_URL", &base_url).start().await;
    proxy.hold_answers(true);
    let paid = server.order(video("paid")).await.unwrap().name;
    while simulator.count("creates_effective").await == 0 {
        tokio::task::yield_now().await;
    }
    fill_up(&server, disk).await;
    proxy.hold_answers(false);
    until_logged(setup, "what happened cannot be stored now").await;
    let waiting = server.get(&paid).await;
    assert_eq!((waiting.state(), waiting.attempts[0].provider_job_id.as_str()), (State::Running, ""), "{waiting:?}");
    (server, proxy, paid)
}

/// How often the vendor was made to do this.
async fn n_jobs(simulator: &Simulator, prompt: &str) -> usize {
    let made = simulator.predictions().await;
    made.iter().filter(|made| made["input"]["prompt"].as_str().unwrap().starts_with(prompt)).count()
}

#[tokio::test]
async fn a_ticket_that_finds_no_space_is_stored_when_there_is_some_and_the_job_is_bought_once() {
    on_every_disk(&[], async |simulator, setup, disk| {
        let (server, _proxy, paid) = paid_and_full(setup, simulator, disk).await;
        disk.free(&server);
        let done = server.end_of(&paid).await;
        assert_eq!(done.state(), State::Succeeded, "{done:?}");
        assert_eq!(server.history(&paid).await, ["accepted", "submitting", "submitted", "outputs_ready", "succeeded"]);
        assert_eq!(n_jobs(simulator, "paid").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_ticket_that_was_lost_with_its_process_on_a_full_disk_is_found_again() {
    on_every_disk(&[], async |simulator, setup, disk| {
        let (server, _proxy, paid) = paid_and_full(setup, simulator, disk).await;
        let setup = server.kill();
        if let Disk::Small { filler, .. } = disk {
            fs::remove_file(filler).unwrap();
        }
        let server = setup.start().await;
        let done = server.end_of(&paid).await;
        assert_eq!(done.state(), State::Succeeded, "{done:?}");
        assert_eq!(n_jobs(simulator, "paid").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_starts_on_a_full_disk_says_so_and_is_ready_when_there_is_space() {
    on_every_disk(&[], async |simulator, setup, disk| {
        // The other sort of disk knows nothing of a process that does not run yet.
        let Disk::Small { filler, .. } = disk else { return };
        let (server, _proxy, paid) = paid_and_full(setup, simulator, disk).await;
        let setup = server.kill();

        let told = setup.command().arg("check").output().unwrap();
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(told.contains("problem: data_dir") && told.contains("fix: make space there"), "{told}");

        let freed = async {
            until_logged(&setup, "so commands need --server").await;
            fs::remove_file(filler).unwrap();
        };
        let (server, ()) = tokio::join!(setup.start(), freed);
        let done = server.end_of(&paid).await;
        assert_eq!(done.state(), State::Succeeded, "{done:?}");
        assert_eq!(n_jobs(simulator, "paid").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_used_is_named_with_the_setting_to_change() {
    let setup = Setup::sample().with_file("file", "").with("FILMGATE_DATA_DIR", "file/data");
    let output = setup.command().args(["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(errors.contains("file/data") && errors.contains("FILMGATE_DATA_DIR"), "{errors}");
}
