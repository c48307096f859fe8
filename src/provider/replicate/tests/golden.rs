use proptest::prelude::*;
use serde_json::{Value, json};

use super::{super::map, fixture, replicate};
use crate::{
    domain::{
        artifact::Kind,
        failure::{Charged, FailureReason},
        money::Usage,
        names::ProviderId,
    },
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        port::{Progress, RemoteOutput, Status},
        replicate::{
            REPLICATE,
            output::{self, View},
            wire::Prediction,
        },
        tests::failures::mean_what_they_say,
    },
};

const CLIP: &[u8] = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom";
const VIEW: View = View { kind: Some(Kind::Video), plain_http: false };

fn read(name: &str) -> Result<Progress, ProviderError> {
    let prediction: Prediction = serde_json::from_slice(&fixture(name)).unwrap();
    map::progress(&ProviderId::from_id("replicate").unwrap(), &prediction, VIEW)
}

/// The names of the files that came as links, in order, and the bytes of those that came within.
fn files(name: &str) -> Vec<String> {
    let Status::Done(outputs) = read(name).unwrap().status else { panic!("{name} is not done") };
    let name = |output: &RemoteOutput| match output {
        RemoteOutput::Link(url) => url.path_segments().unwrap().next_back().unwrap().to_owned(),
        RemoteOutput::Inline(bytes) if bytes == CLIP => "the clip".to_owned(),
        RemoteOutput::Inline(bytes) => format!("{} other bytes", bytes.len()),
    };
    outputs.iter().map(name).collect()
}

#[test]
fn a_job_on_its_way_shows_where_it_is() {
    let progress = read("starting").unwrap();
    assert!(matches!(progress.status, Status::Waiting));
    assert_eq!((progress.phase.as_deref(), progress.percent, progress.log_tail), (Some("starting"), None, None));

    let progress = read("processing").unwrap();
    assert!(matches!(progress.status, Status::Running));
    assert_eq!((progress.phase.as_deref(), progress.percent), (Some("processing"), Some(45)));
    assert!(progress.log_tail.unwrap().ends_with("still here\n"));
}

#[test]
fn missing_odd_and_new_fields_are_no_error() {
    for name in ["processing_sparse", "processing_odd", "unknown_status"] {
        let progress = read(name).unwrap();
        assert!(matches!(progress.status, Status::Running), "{name}");
        assert_eq!(progress.usage, Usage::default(), "{name}");
    }
    assert_eq!(read("unknown_status").unwrap().phase.as_deref(), Some("warming_up"));
}

#[test]
fn every_shape_of_output_gives_its_files() {
    let check = |name: &str, expected: &[&str]| assert_eq!(files(name), expected, "{name}");
    check("succeeded_string", &["out.mp4"]);
    check("succeeded_list", &["out-0.mp4", "out-1.mp4"]);
    check("succeeded_nested", &["nested.mp4"]);
    for key in ["url", "output_url", "download_url", "file", "artifact", "data", "video", "image", "audio"] {
        check(&format!("succeeded_key_{key}"), &["out.mp4"]);
    }
    check("succeeded_synonyms", &["out.mp4"]);
    check("succeeded_video_and_preview", &["out.mp4"]);
    for name in ["succeeded_data_uri", "succeeded_base64", "succeeded_base64_unpadded"] {
        check(name, &["the clip"]);
    }
}

#[test]
fn of_an_object_the_ordered_kind_counts_and_else_everything() {
    let prediction: Prediction = serde_json::from_slice(&fixture("succeeded_video_and_preview")).unwrap();
    let count = |kind| output::files(&prediction.output, View { kind, plain_http: false }).len();
    assert_eq!(count(Some(Kind::Image)), 1);
    assert_eq!(count(Some(Kind::Speech)), 1);
    assert_eq!(count(None), 3);
}

#[test]
fn a_plain_address_counts_only_where_it_is_allowed() {
    let output = json!(["http://h.example/a.mp4", "https://h.example/a.mp4", "https://h.example/a.mp4", "https:"]);
    let count = |plain_http| output::files(&output, View { kind: None, plain_http }).len();
    assert_eq!((count(false), count(true)), (1, 2));
}

#[test]
fn bottomless_nesting_ends() {
    let mut output = json!("https://h.example/a.mp4");
    for _ in 0..100 {
        output = json!([output]);
    }
    assert_eq!(output::files(&output, VIEW).len(), 0);
    assert!(output::shape(&output).len() < 2000);
}

#[test]
fn usage_is_read_however_the_numbers_are_written() {
    let expected = |output_seconds, audio| Usage {
        output_seconds: Some(output_seconds),
        outputs: Some(1),
        compute_seconds: Some(182.5),
        audio,
        ..Usage::default()
    };
    assert_eq!(read("succeeded_string").unwrap().usage, expected(10.042, Some(true)));
    assert_eq!(read("succeeded_odd_numbers").unwrap().usage, expected(10.0, None));
    // Where the vendor counts nothing, the files are counted.
    assert_eq!(read("succeeded_list").unwrap().usage.outputs, Some(2));
}

#[test]
fn nothing_to_download_is_told_with_the_shape_of_what_came() {
    let check = |name: &str, expected: &str| {
        let error = read(name).unwrap_err();
        assert_eq!((error.kind, error.effect), (ErrorKind::NoOutput, Effect::None), "{name}");
        assert_eq!(error.summary, expected, "{name}");
    };
    check("succeeded_null", "succeeded with nothing to download: null");
    check(
        "succeeded_removed",
        "succeeded, but its outputs were deleted before they were fetched: the retention of one hour has passed",
    );
    check(
        "succeeded_text",
        "succeeded with nothing to download: \
         list of 3 [string \"a fox \", string \"is an animal that lives in the woods an…\", string \"https\"]",
    );
    check(
        "succeeded_captions",
        "succeeded with nothing to download: \
         {captions: list of 1 [string \"https is not a link\"], none: null, ok: bool, score: number}",
    );
}

#[test]
fn a_shape_is_short_and_shows_no_signature() {
    let output = json!({"a": "http://h.example/a.mp4?sig=secret", "list": vec!["x".repeat(100); 1000]});
    let shape = output::shape(&output);
    assert_eq!(shape.chars().count(), 500);
    assert!(shape.starts_with("{a: string \"http://h.example/a.mp4\", list: list of 1000 ["), "{shape}");
}

#[test]
fn a_failure_is_classified_by_what_the_vendor_says() {
    use FailureReason::{ProviderJobFailed as Failed, ProviderRefusedContent as Refused};
    let check = |name: &str, reason, retryable, start: &str| {
        let Status::Failed(failure) = read(name).unwrap().status else { panic!("{name} has not failed") };
        assert_eq!((failure.reason, failure.retryable, failure.charged), (reason, retryable, Charged::No), "{name}");
        assert!(failure.message.starts_with(start), "{name}: {}", failure.message);
        assert_eq!(failure.provider.as_ref().map(ProviderId::id), Some("replicate"));
    };
    check("failed_sensitive", Refused, false, "Prediction failed: Async");
    check("failed_nsfw", Refused, false, "NSFW content");
    check("failed_interrupted", Failed, true, "Prediction interrupted");
    check("failed_director", Failed, true, "Director: unexpected error");
    check("failed_memory", Failed, false, "CUDA out of memory (E1001)");
    check("failed_silent", Failed, false, "failed without saying why");
    check("failed_object", Failed, false, "{\"code\":7}");
    check("failed_telling", Failed, false, "cannot fetch https://bucket.example/in.png for prompt '[…]'");
}

#[tokio::test]
async fn every_failure_on_file_means_what_it_says() {
    let n_failures = mean_what_they_say(REPLICATE, replicate, |_| None).await;
    assert!(n_failures >= 11, "{n_failures}");
}

#[test]
fn what_a_cancelled_job_cost_is_said_only_if_it_is_known() {
    let check = |name: &str, expected| {
        let Status::Cancelled(charged) = read(name).unwrap().status else { panic!("{name} is not cancelled") };
        assert_eq!(charged, expected, "{name}");
    };
    check("canceled", Charged::Unknown);
    check("canceled_unstarted", Charged::No);
    check("canceled_made", Charged::Yes);
    check("aborted", Charged::No);
}

#[test]
fn the_last_progress_bar_of_a_log_counts() {
    let percent = |logs: &str| {
        let prediction: Prediction =
            serde_json::from_value(json!({"id": "a", "status": "processing", "logs": logs})).unwrap();
        let progress = map::progress(&ProviderId::from_id("r").unwrap(), &prediction, VIEW).unwrap();
        (progress.percent, progress.log_tail.map(|tail| tail.len()))
    };
    assert_eq!(percent("100%|██████████| 20/20 [00:20<00:00]").0, Some(100));
    assert_eq!(percent(" 7%|▋| 1/14\nsaved 50% of time | a/b").0, Some(7));
    assert_eq!(percent("999%|█| 1/2").0, Some(100));
    assert_eq!(percent("half way: 50% | 3"), (None, Some(17)));
    // The tail starts at a character.
    assert_eq!(percent(&"ä".repeat(4001)).1, Some(4096));
    assert_eq!(percent(&format!("{}x", "ä".repeat(4001))).1, Some(4095));
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("https://h.example/a?sig=s".to_owned()),
        Just("data:video/mp4;base64,AAAA".to_owned()),
        Just("E005 50%|█| 1/2".to_owned()),
        ".{0,60}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let key = prop_oneof![Just("url".to_owned()), Just("data".to_owned()), Just("video".to_owned()), ".{0,8}"];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_a_prediction_holds_is_read_without_a_panic_and_told_in_short(
        output in any_json(), error in any_json(), logs in any_json(), metrics in any_json(), input in any_json(),
        status in prop_oneof![Just("succeeded"), Just("failed"), Just("canceled"), Just("processing")],
    ) {
        let body = json!({
            "id": "a", "status": status, "output": output, "error": error, "logs": logs, "metrics": metrics,
            "input": input,
        });
        let prediction: Prediction = serde_json::from_value(body).unwrap();
        match map::progress(&ProviderId::from_id("r").unwrap(), &prediction, VIEW) {
            Ok(Progress { status: Status::Failed(failure), .. }) => {
                prop_assert!(failure.message.chars().count() <= 500);
                prop_assert!(!failure.message.contains("?sig="), "{}", failure.message);
            }
            Ok(Progress { status: Status::Done(files), .. }) => prop_assert!(!files.is_empty()),
            Ok(Progress { status: Status::Waiting | Status::Running | Status::Cancelled(_), .. }) => {}
            Err(error) => {
                prop_assert_eq!(error.kind, ErrorKind::NoOutput);
                prop_assert!(error.summary.chars().count() <= 500);
                prop_assert!(!error.summary.contains("?sig="), "{}", error.summary);
            }
        }
    }
}
