//! The bytes of artifacts: over HTTP with ranges, over gRPC from any offset, in and out again.

use std::{fs, path::Path};

use filmgate::pb::v1::{
    Artifact, CachePolicy, DeleteArtifactRequest, DownloadArtifactRequest, GenerateVideoRequest, Input, InputRole,
    ListArtifactsRequest, State, UploadArtifactRequest, UploadHeader, download_artifact_response::Part as Down,
    input::Source, upload_artifact_request::Part as Up,
};
use reqwest::{
    Method, Response, StatusCode,
    header::{
        ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, IF_RANGE, RANGE,
    },
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    simulator::Simulator,
    support::{
        refusals::{not_found, refusal},
        server::{Server, Setup, video},
    },
};

const PICTURE: &[u8] = include_bytes!("../fixtures/media/still.jpg");

async fn ask(server: &Server, method: Method, path: &str, headers: &[(HeaderName, &str)]) -> Response {
    let mut request = reqwest::Client::new().request(method, format!("http://{}{path}", server.addr()));
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    request.send().await.unwrap()
}

fn header(response: &Response, name: HeaderName) -> Option<&str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

/// A server with one finished video, and its bytes.
async fn with_video() -> (Server, Artifact, Vec<u8>) {
    let server = Setup::sample().start().await;
    let artifact = server.generate(video("a cat")).await.unwrap().artifacts.remove(0);
    let bytes = ask(&server, Method::GET, &artifact.http_path, &[]).await.bytes().await.unwrap().to_vec();
    assert_eq!(i64::try_from(bytes.len()).unwrap(), artifact.size_bytes);
    (server, artifact, bytes)
}

#[tokio::test]
async fn http_serves_one_range_and_refuses_what_lies_outside() {
    let (server, artifact, bytes) = with_video().await;
    let size = bytes.len();
    let past = format!("bytes={size}-");
    let over = format!("bytes={}-{}", size - 2, size + 100);
    let all_and_more = format!("bytes=-{}", size + 1);
    for (range, start, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=4-7", 4, 8),
        ("bytes=100-", 100, size),
        ("bytes=-5", size - 5, size),
        (&over, size - 2, size),
        (&all_and_more, 0, size),
    ] {
        let response = ask(&server, Method::GET, &artifact.http_path, &[(RANGE, range)]).await;
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        let expected = format!("bytes {start}-{}/{size}", end - 1);
        assert_eq!(header(&response, CONTENT_RANGE), Some(expected.as_str()), "{range}");
        assert_eq!(header(&response, CONTENT_LENGTH), Some((end - start).to_string().as_str()), "{range}");
        assert_eq!(response.bytes().await.unwrap(), bytes[start..end], "{range}");
    }
    // Several ranges, other units and rubbish: the whole file, as if nothing had been asked.
    for range in ["bytes=0-1,4-5", "pages=1-2", "bytes=b-a", "bytes=5-4", "bytes=", "\t"] {
        let response = ask(&server, Method::GET, &artifact.http_path, &[(RANGE, range)]).await;
        assert_eq!((response.status(), header(&response, CONTENT_RANGE)), (StatusCode::OK, None), "{range}");
        assert_eq!(response.bytes().await.unwrap(), bytes, "{range}");
    }
    for range in [past.as_str(), "bytes=99999999-999999999", "bytes=99999999999999999999-", "bytes=-0"] {
        let response = ask(&server, Method::GET, &artifact.http_path, &[(RANGE, range)]).await;
        assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
        assert_eq!(header(&response, CONTENT_RANGE), Some(format!("bytes */{size}").as_str()), "{range}");
    }
}

#[tokio::test]
async fn http_answers_validators_heads_and_unknown_names() {
    let (server, artifact, bytes) = with_video().await;
    let path = artifact.http_path.as_str();
    let head = ask(&server, Method::HEAD, path, &[]).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(header(&head, CONTENT_LENGTH), Some(bytes.len().to_string().as_str()));
    assert_eq!((header(&head, CONTENT_TYPE), header(&head, ACCEPT_RANGES)), (Some("video/mp4"), Some("bytes")));
    assert_eq!(header(&head, HeaderName::from_static("x-filmgate-sample")), Some("true"));
    let tag = header(&head, ETAG).unwrap().to_owned();
    assert_eq!(tag, format!("\"{}\"", artifact.sha256));
    assert_eq!(head.bytes().await.unwrap(), "");
    // Ranges are of GET alone.
    let part = ask(&server, Method::HEAD, path, &[(RANGE, "bytes=0-3")]).await;
    assert_eq!(
        (part.status(), header(&part, CONTENT_LENGTH)),
        (StatusCode::OK, Some(bytes.len().to_string().as_str()))
    );

    let known = ask(&server, Method::GET, path, &[(IF_NONE_MATCH, &tag)]).await;
    assert_eq!((known.status(), header(&known, ETAG)), (StatusCode::NOT_MODIFIED, Some(tag.as_str())));
    assert_eq!(known.bytes().await.unwrap(), "");
    let other = ask(&server, Method::GET, path, &[(IF_NONE_MATCH, "\"x\"")]).await;
    assert_eq!(other.status(), StatusCode::OK);
    for (known, status) in [(tag.as_str(), StatusCode::PARTIAL_CONTENT), ("\"x\"", StatusCode::OK)] {
        let response = ask(&server, Method::GET, path, &[(IF_RANGE, known), (RANGE, "bytes=1-2")]).await;
        assert_eq!(response.status(), status, "{known}");
    }

    for path in ["/artifacts/nobody", "/artifacts/..%2f..%2fetc%2fpasswd", "/artifacts/%00", "/artifacts/%FF%FE"] {
        let unknown = ask(&server, Method::GET, path, &[]).await;
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND, "{path}");
        let body: Value = unknown.json().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(body["error"]["code"], "ARTIFACT_NOT_FOUND", "{path}");
    }
    let tenant = HeaderName::from_static("x-filmgate-tenant");
    let stranger = ask(&server, Method::GET, path, &[(tenant.clone(), "stranger")]).await;
    assert_eq!(stranger.status(), StatusCode::NOT_FOUND);
    let owner = ask(&server, Method::GET, path, &[(tenant.clone(), "default")]).await;
    assert_eq!(owner.status(), StatusCode::OK);
    let rubbish = ask(&server, Method::GET, path, &[(tenant, "../x")]).await;
    assert_eq!(rubbish.status(), StatusCode::BAD_REQUEST);
    assert_eq!(ask(&server, Method::DELETE, path, &[]).await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

pub(crate) async fn download(server: &Server, name: &str, read_offset: i64, read_limit: i64) -> Vec<u8> {
    let request = DownloadArtifactRequest { name: name.to_owned(), read_offset, read_limit };
    let mut stream = server.artifacts().await.download_artifact(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(matches!(first.part, Some(Down::Artifact(_))), "the facts come first");
    let mut bytes = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        let Some(Down::Chunk(chunk)) = message.part else { panic!("a chunk") };
        assert_eq!(chunk.offset, read_offset + i64::try_from(bytes.len()).unwrap());
        bytes.extend_from_slice(&chunk.data);
    }
    bytes
}

#[tokio::test]
async fn a_download_goes_on_from_any_offset() {
    let (server, artifact, bytes) = with_video().await;
    let size = artifact.size_bytes;
    let mut whole = download(&server, &artifact.name, 0, 1000).await;
    whole.extend(download(&server, &artifact.name, 1000, 0).await);
    assert_eq!(whole, bytes);
    assert_eq!(download(&server, &artifact.name, size - 1, 100).await, bytes[bytes.len() - 1..]);
    assert_eq!(download(&server, &artifact.name, size, 0).await, b"");
}

/// The picture with `n_bytes` more of comments in front.
pub(crate) fn picture(n_bytes: usize) -> Vec<u8> {
    const SEGMENT: usize = 60_000;
    let mut bytes = PICTURE[..2].to_vec();
    for start in (0..n_bytes).step_by(SEGMENT) {
        let len = SEGMENT.min(n_bytes - start);
        bytes.extend([0xff, 0xfe]);
        bytes.extend(u16::try_from(len + 2).unwrap().to_be_bytes());
        bytes.extend(vec![b'x'; len]);
    }
    bytes.extend(&PICTURE[2..]);
    bytes
}

pub(crate) async fn upload(server: &Server, bytes: &[u8]) -> Artifact {
    let header = UploadHeader { media_type: "image/jpeg".to_owned(), sha256: hex::encode(Sha256::digest(bytes)) };
    let parts = bytes.chunks(100_000).map(|chunk| Up::Data(chunk.to_vec().into()));
    let parts: Vec<_> = std::iter::once(Up::Header(header))
        .chain(parts)
        .map(|part| UploadArtifactRequest { part: Some(part) })
        .collect();
    let answer = server.artifacts().await.upload_artifact(tokio_stream::iter(parts)).await;
    answer.unwrap().into_inner().artifact.unwrap()
}

pub(crate) fn from_picture(source: Source) -> GenerateVideoRequest {
    GenerateVideoRequest {
        model: "replicate/kwaivgi/kling-v1.6-standard".to_owned(),
        inputs: vec![Input { role: InputRole::FirstFrame.into(), source: Some(source) }],
        cache: CachePolicy::Bypass.into(),
        ..video("it begins to move")
    }
}

#[tokio::test]
async fn an_upload_becomes_a_first_frame_inline_when_small_and_uploaded_on_when_large() {
    let simulator = Simulator::start(&[]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let small = upload(&server, PICTURE).await;
    assert_eq!((small.media_type.as_str(), small.generation.as_str()), ("image/jpeg", ""));
    let data = Source::Data(PICTURE.into());
    for source in [Source::Artifact(small.name.clone()), data] {
        let made = server.generate(from_picture(source)).await.unwrap();
        assert_eq!(made.state(), State::Succeeded, "{made:?}");
    }
    assert_eq!(simulator.count("files").await, 0);
    let large = upload(&server, &picture(300 << 10)).await;
    let made = server.generate(from_picture(Source::Artifact(large.name.clone()))).await.unwrap();
    assert_eq!(made.state(), State::Succeeded, "{made:?}");
    assert_eq!(simulator.count("files").await, 1);

    let sent = simulator.predictions().await;
    let frames: Vec<&str> = sent.iter().map(|made| made["input"]["start_image"].as_str().unwrap()).collect();
    let n_inline = frames.iter().filter(|frame| frame.starts_with("data:image/jpeg;base64,")).count();
    assert_eq!((frames.len(), n_inline), (3, 2), "{frames:.60?}");
    let uploaded = frames.iter().find(|frame| !frame.starts_with("data:")).unwrap();
    assert!(uploaded.starts_with(&format!("{}/files/", simulator.replicate())), "{uploaded}");

    let request = DeleteArtifactRequest { name: small.name.clone() };
    server.artifacts().await.delete_artifact(request.clone()).await.unwrap();
    let again = server.artifacts().await.delete_artifact(request).await;
    assert_eq!(refusal(again, &"a second delete"), not_found("ARTIFACT_NOT_FOUND"));
    let refused = server.generations().await.generate_video(from_picture(Source::Artifact(small.name))).await;
    assert_eq!(refusal(refused, &"a deleted input").fields, ["inputs[0].artifact"]);
}

pub(crate) fn n_blobs(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { n_blobs(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn bytes_that_two_artifacts_share_go_with_the_last_of_them() {
    let simulator = Simulator::start(&[]);
    let setup = Setup::replicate(&simulator.replicate());
    let server = setup.start().await;
    let session = |prompt| GenerateVideoRequest { session: "sessions/s".to_owned(), ..video(prompt) };
    let first = server.generate(session("a cat")).await.unwrap().artifacts.remove(0);
    let cached = server.generate(session("a cat")).await.unwrap();
    let second = cached.artifacts[0].clone();
    assert!(cached.cached && first.name != second.name && first.sha256 == second.sha256);
    let blobs = setup.data_dir().join("blobs");
    assert_eq!(n_blobs(&blobs), 1);

    let mut artifacts = server.artifacts().await;
    artifacts.delete_artifact(DeleteArtifactRequest { name: first.name.clone() }).await.unwrap();
    let gone = ask(&server, Method::GET, &first.http_path, &[]).await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    let left = download(&server, &second.name, 0, 0).await;
    assert_eq!(hex::encode(Sha256::digest(left)), second.sha256);
    let list = artifacts.list_artifacts(ListArtifactsRequest::default()).await.unwrap().into_inner().artifacts;
    assert_eq!(list.iter().map(|artifact| artifact.name.as_str()).collect::<Vec<_>>(), [second.name.as_str()]);
    artifacts.delete_artifact(DeleteArtifactRequest { name: second.name }).await.unwrap();
    assert_eq!(n_blobs(&blobs), 0);

    // Nobody is served what is gone: the same order is made anew.
    let anew = server.generate(session("a cat")).await.unwrap();
    assert!(!anew.cached && anew.state() == State::Succeeded, "{anew:?}");
    simulator.control("reset", json!({})).await;
}
