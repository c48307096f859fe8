use serde_json::from_slice;

use super::{super::map, ARK, ark, fixture};
use crate::{
    domain::{artifact::Kind, failure::Charged, money::Usage},
    provider::{
        contract,
        error::{Effect, ErrorKind, ProviderError},
        id_of,
        port::{Progress, RemoteOutput, Status},
        tests::{conversations::are_heard_as_they_say, failures::mean_what_they_say},
    },
};

fn read(name: &str) -> Result<Progress, ProviderError> {
    map::progress(&id_of(ARK).unwrap(), &from_slice(&fixture(name)).unwrap())
}

fn file(output: &RemoteOutput) -> String {
    match output {
        RemoteOutput::Link(url) => url.path().rsplit('/').next().unwrap().to_owned(),
        RemoteOutput::Inline(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn films(progress: &Progress) -> Vec<String> {
    let Status::Done(outputs) = &progress.status else { panic!("{progress:?} is not done") };
    outputs.iter().map(file).collect()
}

#[test]
fn a_task_on_its_way_shows_where_it_is() {
    let waiting = read("queued").unwrap();
    assert!(matches!(waiting.status, Status::Waiting));
    assert_eq!((waiting.phase.as_deref(), waiting.percent), (Some("queued"), None));
    for name in ["running_odd", "unknown_status"] {
        let progress = read(name).unwrap();
        assert!(matches!(progress.status, Status::Running), "{name}");
        assert_eq!(progress.usage, Usage::default(), "{name}");
    }
}

#[test]
fn a_film_is_counted_by_its_tokens_however_they_are_written() {
    let used = |tokens, seconds, audio| Usage {
        tokens: Some(tokens),
        output_seconds: Some(seconds),
        outputs: Some(1),
        audio,
        ..Usage::default()
    };
    for name in ["succeeded", "succeeded_odd_numbers"] {
        let progress = read(name).unwrap();
        assert_eq!(films(&progress), ["clip.mp4"], "{name}");
        assert_eq!(progress.usage, used(108_900.0, 5.0, Some(false)), "{name}");
    }
    let progress = read("succeeded_frames").unwrap();
    assert_eq!(films(&progress), ["film.mp4"]);
    assert_eq!(progress.usage, used(41.0, 121.0 / 24.0, Some(false)));
}

#[test]
fn without_a_film_nothing_can_be_had_and_a_stopped_task_costs_nothing() {
    let error = read("succeeded_without_film").unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::NoOutput, Effect::None));
    assert!(matches!(read("cancelled").unwrap().status, Status::Cancelled(Charged::No)));
}

#[test]
fn of_pictures_those_that_were_made_are_given_and_counted() {
    let base = "http://127.0.0.1:9/api/v3".parse().unwrap();
    let order = contract::order(&ark(&base), Kind::Image);
    let read = |name| map::pictures(&id_of(ARK).unwrap(), from_slice(&fixture(name)).unwrap(), &order, &[]).unwrap();
    let (outputs, usage) = read("pictures");
    assert_eq!(outputs.iter().map(file).collect::<Vec<_>>(), ["0.jpeg", "2.jpeg"]);
    let megapixels = f64::from(2048 * 2048 + 1024 * 2048) / 1e6;
    let expected = Usage { outputs: Some(2), tokens: Some(24_576.0), megapixels: Some(megapixels), ..Usage::default() };
    assert_eq!(usage, expected);
    let (outputs, usage) = read("pictures_inline");
    assert_eq!(outputs.iter().map(file).collect::<Vec<_>>(), ["a picture"]);
    assert_eq!((usage.outputs, usage.tokens, usage.megapixels), (Some(1), Some(16_384.0), None));
}

#[tokio::test]
async fn every_failure_on_file_means_what_it_says() {
    assert!(mean_what_they_say("ark", ark, |_| None).await >= 30);
}

#[tokio::test]
async fn every_conversation_on_file_is_heard_as_it_says() {
    assert!(are_heard_as_they_say("ark", ark).await >= 10);
}

#[test]
fn a_film_is_found_in_odd_but_legal_places() {
    for content in [
        serde_json::json!([{ "video_url": "https://h.example/clip.mp4" }]),
        serde_json::json!({ "video_url": { "url": "https://h.example/clip.mp4" }, "new": null }),
    ] {
        let task = serde_json::json!({ "id": "cgt-1", "status": "SUCCEEDED", "content": content, "error": {} });
        let progress = map::progress(&id_of(ARK).unwrap(), &serde_json::from_value(task).unwrap()).unwrap();
        assert_eq!(films(&progress), ["clip.mp4"]);
    }
}
