//! `/openapi.json`: valid by its own standard, and true.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{process::Command, time::timeout};

use super::{get, post};
use crate::support::server::{SOON, Setup};

/// Longest time that many calls of a slow client may take on a busy machine.
const MANY_CALLS: Duration = Duration::from_secs(300);

/// Whether a script of `tests/python` is content with a server that has made a video.
async fn passes(script: &str, within: Duration) {
    let server = Setup::sample().start().await;
    let order = json!({ "prompt": "a fox" });
    post(&server, "/api/v1/videos:generate", &order).await.text().await.expect("a whole stream");
    #[expect(clippy::disallowed_methods, reason = "a test has no settings of its own")]
    let python = std::env::var("FILMGATE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let mut check = Command::new(python);
    check.arg(script).arg(format!("http://{}", server.addr())).stdin(Stdio::null()).kill_on_drop(true);
    let said = timeout(within, check.output()).await.expect("the check ends").expect("Python starts");
    assert!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
}

#[tokio::test]
async fn the_document_is_valid_and_every_operation_answers_as_it_says() {
    passes("openapi_document.py", SOON).await;
}

#[tokio::test]
async fn calls_made_from_the_document_by_chance_are_answered_as_it_says() {
    passes("openapi_fuzz.py", MANY_CALLS).await;
}

#[tokio::test]
async fn every_field_of_every_request_is_in_the_document() {
    let server = Setup::sample().start().await;
    let document: Value = get(&server, "/openapi.json").await.json().await.unwrap();
    let text = document.to_string();
    let pool = prost_reflect::DescriptorPool::decode(filmgate::pb::DESCRIPTOR_SET).unwrap();
    let ours = pool.services().filter(|service| service.full_name().starts_with("filmgate."));
    for method in ours.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        assert!(text.contains(&format!("\"operationId\":\"{}\"", method.name())), "{}", method.full_name());
        let schema = &document["components"]["schemas"][method.output().name()];
        // Bytes that go out as they are have no schema.
        for field in method.output().fields().filter(|_| method.name() != "DownloadArtifact") {
            assert!(schema["properties"][field.json_name()].is_object(), "{}", field.full_name());
        }
    }
}
