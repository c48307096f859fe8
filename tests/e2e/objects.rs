//! Artifacts in a bucket of a real S3 server.

mod contract;
mod links;
mod trouble;

use std::{fs, path::Path, time::Duration};

use filmgate::pb::v1::{
    DeleteArtifactRequest, Generation, State, UploadArtifactRequest, UploadHeader, upload_artifact_request::Part,
};
use reqwest::{StatusCode, header::RANGE};
use sha2::{Digest, Sha256};
use tokio::time::{sleep, timeout};

use crate::{
    files::download,
    simulator::Simulator,
    support::{
        objects::ObjectServer,
        server::{SOON, Server, Setup, video},
    },
};

/// A server with one finished video in the bucket.
async fn with_video(objects: &ObjectServer) -> (Server, Generation) {
    let server = objects.keeps(Setup::sample()).start().await;
    let made = server.generate(video("a fox")).await.unwrap();
    assert_eq!(made.state(), State::Succeeded, "{made:?}");
    (server, made)
}

fn n_files(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, |entries| entries.count())
}

#[tokio::test]
async fn a_video_is_in_the_bucket_is_served_from_there_and_goes_with_its_artifact() {
    let objects = ObjectServer::start_below_a_path().await;
    let (server, made) = with_video(&objects).await;
    let artifact = &made.artifacts[0];
    let keys = objects.keys().await;
    assert!(keys.len() == 1 && keys[0].starts_with("made/here/"), "{keys:?}");
    let data = server.setup().data_dir();
    assert_eq!((n_files(&data.join("blobs")), n_files(&data.join("spool"))), (0, 0));

    let whole = download(&server, &artifact.name, 0, 0).await;
    assert_eq!(hex::encode(Sha256::digest(&whole)), artifact.sha256);
    assert_eq!(download(&server, &artifact.name, 1000, 77).await, whole[1000..1077]);
    assert_eq!(server.bytes(&made).await.bytes().await.unwrap(), whole);
    let url = format!("http://{}{}", server.addr(), artifact.http_path);
    let part = reqwest::Client::new().get(&url).header(RANGE, "bytes=5-9").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.unwrap(), whole[5..10]);

    let request = DeleteArtifactRequest { name: artifact.name.clone() };
    server.artifacts().await.delete_artifact(request).await.unwrap();
    assert_eq!(objects.keys().await, <[&str; 0]>::default());
    assert_eq!(reqwest::get(&url).await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_sweep_takes_old_orphans_and_nothing_else() {
    let objects = ObjectServer::start().await;
    let (server, _) = with_video(&objects).await;
    let kept = objects.keys().await;
    let orphan = filmgate::domain::artifact::BlobKey::fresh(filmgate::domain::names::AttemptId::fresh(), 0);
    let file = server.setup().folder().join("orphan");
    fs::write(&file, "what a killed replica left behind").unwrap();
    objects.blobs().put_file(&orphan, &file).await.unwrap();
    objects.age(Duration::from_secs(2 * 3600)).await;
    let young = filmgate::domain::artifact::BlobKey::fresh(filmgate::domain::names::AttemptId::fresh(), 0);
    objects.blobs().put_file(&young, &file).await.unwrap();
    assert_eq!(objects.keys().await.len(), 3);

    // A server sweeps when it starts.
    let server = server.kill().start().await;
    let swept = async {
        while objects.keys().await.len() == 3 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, swept).await.expect("the sweep comes");
    let mut expected = vec![kept[0].clone(), format!("made/here/{young}")];
    expected.sort();
    assert_eq!(objects.keys().await, expected);
    assert_eq!(server.stop().await, Some(0));
}

/// Most memory that the process ever had, in bytes.
fn peak(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// A sound JPEG of about this size: a picture behind many comments.
fn picture(n_bytes: usize) -> Vec<u8> {
    const PICTURE: &[u8] = include_bytes!("../fixtures/media/still.jpg");
    const SEGMENT: usize = 60_000;
    let mut bytes = PICTURE[..2].to_vec();
    while bytes.len() < n_bytes {
        bytes.extend([0xff, 0xfe]);
        bytes.extend(u16::try_from(SEGMENT + 2).unwrap().to_be_bytes());
        bytes.extend((0..SEGMENT).map(|at| (at % 251) as u8));
    }
    bytes.extend(&PICTURE[2..]);
    bytes
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_large_upload_goes_in_parts_and_memory_does_not_grow_with_it() {
    const SIZE: usize = 100 << 20;
    let objects = ObjectServer::start().await;
    let server = objects.keeps(Setup::sample()).start().await;
    let bytes = picture(SIZE);
    let before = peak(&server);
    let header = UploadHeader { media_type: String::new(), sha256: hex::encode(Sha256::digest(&bytes)) };
    let chunks: Vec<_> = bytes.chunks(1 << 20).map(|chunk| Part::Data(chunk.to_vec().into())).collect();
    let parts = std::iter::once(Part::Header(header)).chain(chunks);
    let parts = tokio_stream::iter(parts.map(|part| UploadArtifactRequest { part: Some(part) }));
    let stored = server.artifacts().await.upload_artifact(parts).await.unwrap().into_inner().artifact.unwrap();
    let back = download(&server, &stored.name, 0, 0).await;
    assert!(back == bytes);
    let grown = peak(&server).saturating_sub(before);
    assert!(grown < SIZE as u64 / 2, "{grown} bytes more");
    assert_eq!(objects.n_uploads().await, 0);
}

/// A server at a simulated vendor, whose jobs end when the simulator is told.
async fn at_vendor(objects: &ObjectServer) -> (Simulator, Server, Generation) {
    let simulator = Simulator::start(&["create:hold"]);
    let server = objects.keeps(Setup::replicate(&simulator.replicate())).start().await;
    let held = server.order(video("a fox")).await.unwrap();
    server.until(&held.name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    (simulator, server, held)
}
