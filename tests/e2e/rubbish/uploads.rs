//! `UploadArtifact`, and inputs whose bytes are no media.

use filmgate::pb::v1::{
    GenerateVideoRequest, Input, ListArtifactsRequest, ListGenerationsRequest, UploadArtifactRequest, UploadHeader,
    input::Source, upload_artifact_request::Part,
};
use tonic::Code;

use super::unharmed;
use crate::support::{
    refusals::{invalid, refusal},
    server::{Setup, video},
};

const PICTURE: &[u8] = include_bytes!("../../fixtures/media/still.jpg");

fn header(media_type: &str, sha256: &str) -> Option<Part> {
    Some(Part::Header(UploadHeader { media_type: media_type.to_owned(), sha256: sha256.to_owned() }))
}

fn data(bytes: &[u8]) -> Option<Part> {
    Some(Part::Data(bytes.to_vec().into()))
}

#[tokio::test]
async fn broken_uploads_are_refused_and_leave_nothing() {
    let setup = Setup::sample().with("FILMGATE_MAX_ARTIFACT_BYTES", "8388608");
    let server = setup.start().await;
    let mut artifacts = server.artifacts().await;
    let cases: Vec<(&[&str], Vec<Option<Part>>)> = vec![
        (&["header"], vec![]),
        (&["header"], vec![None]),
        (&["header"], vec![data(PICTURE)]),
        (&["header"], vec![header("", ""), header("", ""), data(PICTURE)]),
        (&["header"], vec![header("", ""), data(PICTURE), header("", "")]),
        (&["data"], vec![header("", "")]),
        (&["data"], vec![header("", ""), data(b"")]),
        (&["data"], vec![header("", ""), None]),
        (&["data"], vec![header("", ""), data(&vec![0; (3 << 20) + 1])]),
        (&["header.media_type", "header.sha256"], vec![header("a picture", "xyz"), data(PICTURE)]),
        (&["header.media_type"], vec![header(&"a/".repeat(1000), ""), data(PICTURE)]),
        (&["header.media_type"], vec![header("video/mp4", ""), data(PICTURE)]),
        (&["header.sha256"], vec![header("", &"0".repeat(64)), data(PICTURE)]),
        (&["data"], vec![header("", ""), data(b"#!/bin/sh\necho no media\n")]),
        (&["data"], vec![header("", ""), data(&PICTURE[..20])]),
        (&["data"], vec![header("", ""), data(b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>")]),
    ];
    for (fields, parts) in cases {
        let about: String = format!("{fields:?} {parts:?}").chars().take(200).collect();
        let parts = parts.into_iter().map(|part| UploadArtifactRequest { part }).collect::<Vec<_>>();
        let answer = artifacts.upload_artifact(tokio_stream::iter(parts)).await;
        assert_eq!(refusal(answer, &about), invalid(fields), "{about}");
    }
    let large = std::iter::once(header("", "")).chain((0..4).map(|_| data(&vec![7; 3 << 20])));
    let large: Vec<_> = large.map(|part| UploadArtifactRequest { part }).collect();
    let refused = refusal(artifacts.upload_artifact(tokio_stream::iter(large)).await, &"large");
    assert_eq!((refused.code, refused.reason.as_str()), (Code::ResourceExhausted, "UPLOAD_TOO_LARGE"));
    let huge =
        vec![UploadArtifactRequest { part: header("", "") }, UploadArtifactRequest { part: data(&vec![7; 5 << 20]) }];
    let refused = refusal(artifacts.upload_artifact(tokio_stream::iter(huge)).await, &"huge");
    assert_eq!(refused, invalid(&["request"]));
    unharmed(&server, &setup).await;
}

#[tokio::test]
async fn inputs_that_are_no_pictures_or_belong_to_nobody_are_named() {
    // A provider that takes a first frame, and nobody there: nothing may be asked of it.
    let setup = Setup::replicate("http://127.0.0.1:9/v1");
    let server = setup.start().await;
    let order = |source: Source| GenerateVideoRequest {
        model: "replicate/kwaivgi/kling-v1.6-standard".to_owned(),
        inputs: vec![Input { role: 1, source: Some(source) }],
        ..video("a cat")
    };
    for (field, source) in [
        ("inputs[0].artifact", Source::Artifact("artifacts/nobody".to_owned())),
        ("inputs[0].data", Source::Data(b"no picture at all"[..].into())),
        ("inputs[0].uri", Source::Uri("data:text/html,<script>".to_owned())),
    ] {
        let refused = refusal(server.generations().await.generate_video(order(source)).await, &field);
        assert_eq!(refused, invalid(&[field]));
    }
    let list = server.generations().await.list_generations(ListGenerationsRequest::default()).await.unwrap();
    assert!(list.into_inner().generations.is_empty());
    let list = server.artifacts().await.list_artifacts(ListArtifactsRequest::default()).await.unwrap();
    assert!(list.into_inner().artifacts.is_empty());
}
