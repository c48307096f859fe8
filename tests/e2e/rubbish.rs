//! Hostile input in every field of every call: each is refused in the contract's form, nothing is made, nothing is harmed.

mod calls;
mod orders;
mod uploads;

use std::{collections::BTreeSet, fs};

use filmgate::pb::v1::{ListArtifactsRequest, ListGenerationsRequest, ListSessionsRequest, State};
use tonic::{Code, client::Grpc};
use tonic_prost::ProstCodec;

use crate::support::{
    refusals::refused,
    server::{Server, Setup, video},
};

/// Texts that are no name of anything.
const NO_NAMES: [&str; 12] = [
    "",
    " ",
    "x",
    "/",
    "generations/",
    "generations/../../etc/passwd",
    "artifacts/..",
    "sessions/a/b",
    "generations/0197f0a0-0000-7000-8000-00000000000",
    "generations/0197F0A0-0000-7000-8000-000000000000 ",
    "artifacts/a\u{0}b",
    "sessions/\u{202e}abc",
];

/// Nothing was made or written where it should not be, and the server works.
async fn unharmed(server: &Server, setup: &Setup) {
    let generations = server.generations().await.list_generations(ListGenerationsRequest::default()).await.unwrap();
    assert_eq!(generations.into_inner().generations, []);
    let sessions = server.sessions().await.list_sessions(ListSessionsRequest::default()).await.unwrap();
    assert_eq!(sessions.into_inner().sessions, []);
    let artifacts = server.artifacts().await.list_artifacts(ListArtifactsRequest::default()).await.unwrap();
    assert_eq!(artifacts.into_inner().artifacts, []);

    let names = |folder| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let beside: BTreeSet<String> = ["data", "server.log"].map(str::to_owned).into();
    assert_eq!(names(setup.folder().to_owned()), beside, "something was written outside of the data folder");
    assert_eq!(names(setup.data_dir().join("spool")), BTreeSet::new(), "an upload was left behind");

    let log = setup.log();
    assert!(!log.contains("panicked") && !log.contains("a defect"), "{log}");
    assert_eq!(server.generate(video("still well")).await.unwrap().state(), State::Succeeded);
}

/// Sends these bytes as the message of a call.
async fn raw_call(server: &Server, path: &'static str, message: Vec<u8>) -> tonic::Status {
    let mut grpc = Grpc::new(server.channel().await);
    grpc.ready().await.unwrap();
    // `Raw` writes its bytes as they are, whatever the called method expects.
    let request = tonic::Request::new(Raw(message));
    let path = http::uri::PathAndQuery::from_static(path);
    let answer = grpc.unary(request, path, ProstCodec::<Raw, Raw>::default()).await;
    answer.map(drop).expect_err("rubbish is refused")
}

/// A message that is only bytes.
#[derive(Debug, Clone, Default)]
struct Raw(Vec<u8>);

impl prost::Message for Raw {
    fn encode_raw(&self, buffer: &mut impl prost::bytes::BufMut) {
        buffer.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: prost::encoding::WireType,
        buffer: &mut impl prost::bytes::Buf,
        context: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        prost::encoding::skip_field(wire_type, tag, buffer, context)
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_are_the_callers_mistake() {
    let setup = Setup::sample();
    let server = setup.start().await;
    let not_utf8 = vec![0x0a, 2, 0xff, 0xfe];
    let cut_short = vec![0x0a, 200, 1, b'a'];
    let wrong_type = vec![0x08, 1];
    let nested_too_deep = {
        // options.provider_options as a list in a list in a list ...
        let mut value = Vec::new();
        for _ in 0..200 {
            value = field(6, &field(1, &value));
        }
        field(6, &field(12, &field(1, &field(2, &value))))
    };
    for message in [not_utf8, cut_short, wrong_type, nested_too_deep] {
        let status = raw_call(&server, "/filmgate.v1.GenerationService/GenerateVideo", message).await;
        assert_eq!(
            (refused(&status).code, refused(&status).fields),
            (Code::InvalidArgument, vec!["request".to_owned()])
        );
    }
    let status = raw_call(&server, "/filmgate.v1.GenerationService/GetGeneration", vec![0; 5 << 20]).await;
    assert_eq!(refused(&status).code, Code::InvalidArgument);
    assert!(status.message().contains("UploadArtifact"), "{status:?}");
    unharmed(&server, &setup).await;
}

/// One length-delimited field.
fn field(tag: u32, bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    prost::encoding::bytes::encode(tag, &bytes.to_vec(), &mut encoded);
    encoded
}
