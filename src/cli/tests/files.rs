//! Files in both directions.

use std::fs;

use sha2::{Digest as _, Sha256};

use super::server::{Asked, Script, Scripted, artifact, generation, snapshot};
use crate::{
    cli::Exit,
    pb::v1::{Generation, State, UploadHeader, input::Source},
};

const DATA: &[u8] = b"0123456789abcdef";

/// A server with one artifact, whose downloads break after so many bytes.
async fn holding(breaks: &[usize]) -> Scripted {
    Scripted::start(Script {
        artifacts: [("artifacts/a1".to_owned(), DATA.to_vec())].into(),
        breaks: breaks.iter().copied().collect(),
        ..Script::default()
    })
    .await
}

fn offsets(server: &Scripted) -> Vec<i64> {
    let downloads = server.asked().into_iter().filter_map(|asked| match asked {
        Asked::Download { offset } => Some(offset),
        _ => None,
    });
    downloads.collect()
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clip.mp4");
    let server = holding(&[5, 5, 12]).await;
    let ended = server.run(&["download", "a1", "-o", file.to_str().unwrap()]).await;
    assert_eq!(ended.exit, Exit::Ok, "{ended:?}");
    assert_eq!(fs::read(&file).unwrap(), DATA);
    assert_eq!(offsets(&server), [0, 5, 5, 12]);
    assert_eq!(ended.out, format!("{} (video/mp4, 16 B)\n", file.display()));
    assert!(!folder.path().join("clip.mp4.part").exists());
}

#[tokio::test]
async fn the_part_of_an_earlier_command_is_used() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("clip.mp4.part"), &DATA[..7]).unwrap();
    let file = folder.path().join("clip.mp4");
    let server = holding(&[]).await;
    let ended = server.run(&["download", "artifacts/a1", "-o", file.to_str().unwrap()]).await;
    assert_eq!((ended.exit, offsets(&server)), (Exit::Ok, vec![7]));
    assert_eq!(fs::read(&file).unwrap(), DATA);
}

#[tokio::test]
async fn the_part_of_another_artifact_is_found_out_and_dropped() {
    for other in [b"something".as_slice(), b"something longer than the artifact".as_slice()] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("clip.mp4.part"), other).unwrap();
        let file = folder.path().join("clip.mp4");
        let server = holding(&[]).await;
        let ended = server.run(&["download", "a1", "-o", file.to_str().unwrap()]).await;
        assert_eq!(ended.exit, Exit::Ok, "{ended:?}");
        assert_eq!(fs::read(&file).unwrap(), DATA);
        assert_eq!(offsets(&server), [i64::try_from(other.len()).unwrap(), 0]);
    }
}

#[tokio::test]
async fn damaged_bytes_never_become_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = Generation {
        artifacts: vec![artifact("artifacts/a1", b"0123456789abcdeF")],
        ..generation(1, State::Succeeded)
    };
    let server = holding(&[]).await;
    server.script.lock().unwrap().generations.insert("generations/g1".to_owned(), damaged);
    let ended = server.run(&["download", "g1", "-o", folder.path().to_str().unwrap()]).await;
    assert_eq!(ended.exit, Exit::Internal);
    assert!(ended.err.contains("SHA-256"), "{}", ended.err);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "neither file nor part is left");
}

#[tokio::test]
async fn a_generation_gives_all_its_artifacts() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["artifacts/g1-0", "artifacts/g1-1"];
    let both = Generation {
        artifacts: names.iter().map(|name| artifact(name, name.as_bytes())).collect(),
        ..generation(1, State::Succeeded)
    };
    let server = Scripted::start(Script {
        generations: [(both.name.clone(), both)].into(),
        artifacts: names.map(|name| (name.to_owned(), name.as_bytes().to_vec())).into(),
        ..Script::default()
    })
    .await;
    let ended = server.run(&["download", "g1", "-o", folder.path().to_str().unwrap(), "--json"]).await;
    assert_eq!((ended.exit, ended.json().len()), (Exit::Ok, 2), "{ended:?}");
    for name in names {
        let file = folder.path().join(name.replace("artifacts/", "")).with_extension("mp4");
        assert_eq!(fs::read(file).unwrap(), name.as_bytes());
    }
}

#[tokio::test]
async fn a_name_that_is_neither_artifact_nor_generation_is_not_found() {
    let server = holding(&[]).await;
    assert_eq!(server.run(&["download", "nothing"]).await.exit, Exit::NotFound);
}

#[tokio::test]
async fn an_upload_sends_its_hash_first_and_then_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("first.png");
    let data: Vec<u8> = (0..2_500_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    fs::write(&file, &data).unwrap();
    let server = holding(&[]).await;
    let ended = server.run(&["upload", file.to_str().unwrap(), "--media-type", "image/png"]).await;
    assert_eq!((ended.exit, ended.out.as_str()), (Exit::Ok, "artifacts/u1 (video/mp4, 2.5 MB)\n"));
    let header = UploadHeader { media_type: "image/png".to_owned(), sha256: hex::encode(Sha256::digest(&data)) };
    assert!(server.asked() == [Asked::Upload { header, data }], "the upload differs");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_the_callers_mistake() {
    let server = holding(&[]).await;
    for command in [["upload", "no/such.png"].as_slice(), &["generate", "a fox", "--input", "reference=no/such.png"]] {
        assert_eq!(server.run(command).await.exit, Exit::Usage, "{command:?}");
    }
    assert!(server.asked().is_empty(), "nothing was ordered");
}

#[tokio::test]
async fn inputs_that_do_not_fit_into_an_order_are_uploaded_first() {
    let folder = tempfile::tempdir().unwrap();
    let [small, large] = ["small.png", "large.png"].map(|name| folder.path().join(name));
    fs::write(&small, vec![1; 2_000_000]).unwrap();
    fs::write(&large, vec![2; 2_000_000]).unwrap();
    let server = Scripted::with_streams([vec![snapshot(1, State::Cancelled)]]).await;
    let first = format!("first_frame={}", small.display());
    let last = format!("last_frame={}", large.display());
    let ended = server.run(&["generate", "A red fox", "--input", &first, "--input", &last]).await;
    assert_eq!(ended.exit, Exit::Cancelled, "{ended:?}");
    let asked = server.asked();
    let [Asked::Upload { data, .. }, Asked::Order(order)] = asked.as_slice() else { panic!("not upload, then order") };
    assert_eq!(data.len(), 2_000_000);
    let [first, last] = order.inputs.as_slice() else { panic!("not two inputs") };
    assert!(matches!(&first.source, Some(Source::Data(data)) if data.len() == 2_000_000));
    assert_eq!(last.source, Some(Source::Artifact("artifacts/u1".to_owned())));
}
