use serde_json::{Value, json};
use url::Url;

use super::{OPERATION, ticket, token, vertex, vertex_with};
use crate::{
    domain::{failure::Charged, money::Usage},
    provider::{
        error::{ErrorKind, ProviderError},
        port::{Progress, Provider, RemoteOutput, Status},
        tests::{
            failures::mean_what_they_say,
            server::{Reply, Server},
        },
    },
};

const CLIP: &str = "AAAAGGZ0eXBtcDQyAAAAAG1wNDJpc29t";

async fn polled(operation: Value) -> Result<Progress, ProviderError> {
    let server = Server::start(move |asked| token(asked).unwrap_or_else(|| Reply::json(200, &operation))).await;
    let ticket = ticket(json!({ "seconds": 8, "samples": 2, "audio": true }));
    vertex_with(&server.base, &[]).poll(&ticket).await
}

/// The outputs of a response, as paths of links or numbers of bytes.
async fn outputs(response: Value) -> Vec<String> {
    let progress = polled(json!({ "name": OPERATION, "done": true, "response": response })).await.unwrap();
    let Status::Done(outputs) = progress.status else { panic!("{progress:?}") };
    let shown = |output: &RemoteOutput| match output {
        RemoteOutput::Link(url) => url[url::Position::BeforePath..].to_owned(),
        RemoteOutput::Inline(bytes) => format!("{} bytes", bytes.len()),
    };
    outputs.iter().map(shown).collect()
}

#[tokio::test]
async fn a_video_is_found_wherever_an_answer_has_it() {
    let object = "/storage/v1/b/films/o/a%2Fsample_0.mp4?alt=media";
    let check = async |response: Value, expected: &[&str]| {
        assert_eq!(outputs(response.clone()).await, expected, "{response}");
    };
    let gcs = "gs://films/a/sample_0.mp4";
    check(json!({ "videos": [{ "gcsUri": gcs, "mimeType": "video/mp4" }] }), &[object]).await;
    check(json!({ "predictions": [{ "videoUri": gcs }] }), &[object]).await;
    check(json!({ "predictions": [{ "gcsUri": gcs }] }), &[object]).await;
    check(json!({ "predictions": [gcs] }), &[object]).await;
    check(json!({ "videoUri": gcs }), &[object]).await;
    check(json!({ "gcsUri": gcs }), &[object]).await;
    check(json!(gcs), &[object]).await;
    check(json!({ "videoUri": "https://cdn.example/x.mp4?sig=1" }), &["/x.mp4?sig=1"]).await;
    check(json!({ "videos": [{ "bytesBase64Encoded": CLIP, "mimeType": "video/mp4" }] }), &["24 bytes"]).await;
    check(json!({ "predictions": [{ "bytesBase64Encoded": CLIP }] }), &["24 bytes"]).await;
    check(json!({ "bytesBase64Encoded": CLIP }), &["24 bytes"]).await;
    check(json!({ "generatedSamples": [{ "video": { "uri": gcs } }] }), &[object]).await;
    check(
        json!({ "generatedSamples": [{ "video": { "encodedVideo": CLIP, "encoding": "video/mp4" } }] }),
        &["24 bytes"],
    )
    .await;
    check(json!({ "generatedSamples": [{ "video": { "video": CLIP, "encoding": "video/mp4" } }] }), &["24 bytes"])
        .await;
    check(json!({ "generateVideoResponse": { "generatedSamples": [{ "video": { "uri": gcs } }] } }), &[object]).await;
    // Nulls, further fields, another order, and empty lists before the full one.
    let odd = json!({ "new": { "x": 1 }, "predictions": null, "videos": [],
        "generatedSamples": [{ "extra": null, "video": { "gcsUri": null, "uri": gcs } }] });
    check(odd, &[object]).await;
    let two = json!({ "videos": [{ "gcsUri": gcs }, { "bytesBase64Encoded": CLIP, "gcsUri": "" }] });
    check(two, &[object, "24 bytes"]).await;
}

#[tokio::test]
async fn a_job_at_work_says_nothing_more() {
    for operation in [
        json!({ "name": OPERATION }),
        json!({ "name": OPERATION, "done": false, "metadata": { "@type": "x" } }),
        json!({ "done": null, "response": null, "error": null }),
        json!({}),
    ] {
        let progress = polled(operation.clone()).await.unwrap();
        assert!(matches!(progress.status, Status::Running), "{operation}");
        assert_eq!((progress.percent, progress.usage), (None, Usage::default()));
    }
    for other in [json!({ "name": "projects/other" }), json!([]), json!("x")] {
        assert_eq!(polled(other).await.unwrap_err().kind, ErrorKind::Protocol);
    }
}

#[tokio::test]
async fn only_delivered_videos_count_and_the_filter_says_what_it_took() {
    let reason = "Some videos were filtered out. Support codes: 56562880, 63429089";
    let response = json!({ "raiMediaFilteredCount": 1, "raiMediaFilteredReasons": [reason],
        "videos": [{ "bytesBase64Encoded": CLIP }] });
    let progress = polled(json!({ "done": true, "response": response })).await.unwrap();
    assert!(matches!(&progress.status, Status::Done(outputs) if outputs.len() == 1), "{progress:?}");
    let told = progress.log_tail.unwrap();
    assert!(told.contains("took 1 video(s) (prohibited content, violence)"), "{told}");
    let expected = Usage { outputs: Some(1), output_seconds: Some(8.0), audio: Some(true), ..Usage::default() };
    assert_eq!(progress.usage, expected);
}

#[tokio::test]
async fn a_stopped_operation_is_no_failure() {
    for error in [json!({ "code": 1 }), json!({ "code": 1.0, "message": "x" }), json!({ "status": "CANCELLED" })] {
        let progress = polled(json!({ "done": true, "error": error })).await.unwrap();
        assert!(matches!(progress.status, Status::Cancelled(Charged::No)), "{progress:?}");
    }
}

#[tokio::test]
async fn every_failure_on_file_means_what_it_says() {
    let n_files = mean_what_they_say("vertex", |base: &Url| vertex(base), token).await;
    assert!(n_files >= 30, "{n_files}");
}
