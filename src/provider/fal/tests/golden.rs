use serde_json::{Value, json};

use super::{
    APP, JOB, fal, fixture,
    server::{Asked, Reply, Server},
};
use crate::{
    domain::{artifact::Kind, failure::Charged},
    provider::{
        error::{ErrorKind, ProviderError},
        fal::FAL,
        port::{Progress, Provider, RemoteOutput, Status, Ticket},
        tests::failures::mean_what_they_say,
    },
};

/// What the adapter makes of a recorded job that was ordered as `kind` of `model`.
async fn read(name: &str, kind: Kind, model: &str) -> Result<Progress, ProviderError> {
    let recorded = fixture(name);
    let server = Server::start(move |asked: &Asked| {
        if asked.line.ends_with("/status?logs=1") {
            return Reply::json(202, &recorded["status"]);
        }
        let result = &recorded["result"];
        let status = result["status"].as_u64().expect("a result is asked for of a job that has ended");
        let reply = Reply::json(u16::try_from(status).unwrap(), &result["body"]);
        let headers = result["headers"].as_object().unwrap();
        headers.iter().fold(reply, |reply, (name, value)| reply.with(name.clone().leak(), value.as_str().unwrap()))
    })
    .await;
    let data = json!({ "kind": kind, "model": model, "app": APP });
    let ticket = Ticket { account: "a".to_owned(), job: JOB.to_owned(), data };
    fal(&server.base).poll(&ticket).await
}

async fn video(name: &str) -> Progress {
    read(name, Kind::Video, "fal-ai/kling-video/v1.6/pro").await.unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn links(progress: &Progress) -> Vec<String> {
    let Status::Done(outputs) = &progress.status else { panic!("{:?} is not done", progress.status) };
    let link = |output: &RemoteOutput| match output {
        RemoteOutput::Link(url) => url.path().rsplit('/').next().unwrap().to_owned(),
        RemoteOutput::Inline(bytes) => format!("{} bytes", bytes.len()),
    };
    outputs.iter().map(link).collect()
}

#[tokio::test]
async fn a_waiting_job_says_its_place_and_a_running_one_its_log() {
    let check = async |name: &str, is_waiting: bool, place: Option<u32>, log: Option<&str>| {
        let progress = video(name).await;
        assert_eq!(matches!(progress.status, Status::Waiting), is_waiting, "{name}");
        assert!(is_waiting || matches!(progress.status, Status::Running), "{name}: {:?}", progress.status);
        assert_eq!((progress.queue_position, progress.log_tail.as_deref()), (place, log), "{name}");
    };
    check("queued", true, Some(5), None).await;
    check("queued_odd", true, Some(3), Some("none yet")).await;
    check("queued_sparse", true, None, None).await;
    check("running", false, None, Some("loading\nstep 3 of 10")).await;
    check("running_sparse", false, None, None).await;
    check("running_odd_logs", false, None, Some("plain\nlast")).await;
    check("unknown_word", false, None, None).await;
    // The status was ahead of the store of results.
    check("too_early", false, None, None).await;
}

#[tokio::test]
async fn outputs_are_found_in_every_shape() {
    let check = async |name: &str, kind: Kind, expected: &[&str]| {
        let progress = read(name, kind, "some/model").await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(links(&progress), expected, "{name}");
        assert_eq!(progress.usage.outputs, u32::try_from(expected.len()).ok(), "{name}");
    };
    check("video", Kind::Video, &["a.mp4"]).await;
    check("video_details", Kind::Video, &["a.mp4"]).await;
    check("video_details", Kind::Image, &["frame.png"]).await;
    check("video_text", Kind::Video, &["a.mp4"]).await;
    check("videos", Kind::Video, &["a.mp4", "b.mp4"]).await;
    check("video_url", Kind::Video, &["a.mp4"]).await;
    check("audio", Kind::Speech, &["a.mp3"]).await;
    check("audio_file", Kind::Music, &["a.wav"]).await;
    check("audio_url", Kind::Music, &["a.wav"]).await;
    check("images", Kind::Image, &["a.jpg", "b.jpg"]).await;
    check("images_unbilled", Kind::Image, &["a.jpg"]).await;
    check("image_inline", Kind::Image, &["8 bytes"]).await;
    check("image_file_data", Kind::Image, &["8 bytes"]).await;
}

#[tokio::test]
async fn what_was_used_is_told_as_far_as_fal_tells_it() {
    let usage = async |name: &str, kind, model: &str| read(name, kind, model).await.unwrap().usage;
    let schnell = "fal-ai/flux/schnell";
    assert_eq!(usage("video", Kind::Video, "m/m").await.compute_seconds, Some(12.5));
    assert_eq!(usage("video_details", Kind::Video, "m/m").await.output_seconds, Some(5.04));
    assert_eq!(usage("audio", Kind::Speech, "m/m").await.output_seconds, Some(3.25));
    // Billed units are megapixels where the price counts these.
    assert_eq!(usage("images", Kind::Image, schnell).await.megapixels, Some(1.572_864));
    let megapixels = usage("images_unbilled", Kind::Image, schnell).await.megapixels.unwrap();
    assert!((megapixels - 0.786_432).abs() < 1e-9);
    assert_eq!(usage("video", Kind::Video, "m/m").await.megapixels, None);
}

#[tokio::test]
async fn a_blacked_out_picture_is_withheld_and_counted() {
    let progress = read("images_one_black", Kind::Image, "fal-ai/flux/schnell").await.unwrap();
    assert_eq!(links(&progress), ["a.jpg"]);
    assert_eq!(progress.usage.outputs, Some(2));
    assert_eq!(progress.log_tail.as_deref(), Some("1 of 2 outputs withheld: the safety checker blacked them out"));
}

#[tokio::test]
async fn nothing_to_download_is_told_by_its_names_alone() {
    let check = async |name: &str, expected: &str| {
        let error = read(name, Kind::Video, "m/m").await.unwrap_err();
        assert_eq!((error.kind, error.summary.as_str()), (ErrorKind::NoOutput, expected), "{name}");
    };
    check("nothing", "completed with nothing to download: an object with seed, video").await;
    check("nothing_text", "completed with nothing to download: a single value").await;
    check("result_gone", "completed, and its result was no longer kept when it was asked for").await;
}

#[tokio::test]
async fn what_a_cancelled_job_cost_is_said_only_if_it_is_known() {
    let check = async |name: &str, expected| {
        let Status::Cancelled(charged) = video(name).await.status else { panic!("{name} is not cancelled") };
        assert_eq!(charged, expected, "{name}");
    };
    check("cancelled_in_queue", Charged::No).await;
    check("cancelled_running", Charged::Unknown).await;
    check("cancelled_billed", Charged::Yes).await;
}

#[tokio::test]
async fn every_failure_on_file_means_what_it_says() {
    // The status of a job named so says that it has ended; what is on file is then its result.
    let prelude = |asked: &Asked| {
        let is_result = asked.line.contains("/requests/result-") && asked.line.ends_with("/status?logs=1");
        let completed = json!({ "status": "COMPLETED", "logs": Value::Null, "metrics": { "inference_time": 1.5 } });
        is_result.then(|| Reply::json(200, &completed))
    };
    let n_failures = mean_what_they_say(FAL, fal, prelude).await;
    assert!(n_failures >= 55, "{n_failures}");
}
