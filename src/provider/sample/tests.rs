use super::*;
use crate::{
    domain::order::{Mode, Options},
    provider::contract,
};

const LATENCY: Duration = Duration::from_secs(2);

fn sample() -> Sample {
    Sample::new(None, LATENCY).unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_contract_of_every_adapter() {
    let sample = sample();
    for kind in Kind::ALL {
        let order = contract::order(&sample, kind);
        contract::makes_the_bytes(&sample, &order, embedded(kind)).await;
        contract::stops(&sample, &order).await;
        contract::finds_only_its_own(&sample, &order).await;
    }
    contract::knows_no_foreign_job(&sample).await;
}

#[tokio::test(start_paused = true)]
async fn progress_grows_with_time_and_ends_after_the_latency() {
    let sample = sample();
    let ticket = contract::accepted(&sample, &contract::order(&sample, Kind::Video)).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(sample.poll(&ticket).await.unwrap().percent.unwrap());
        tokio::time::advance(LATENCY / 4).await;
    }
    // The ticket's clock ticks in whole milliseconds.
    let is_near = |(seen, expected): (&u8, u8)| seen.abs_diff(expected) <= 1;
    assert!(seen.iter().zip([0, 25, 50, 75]).all(is_near), "{seen:?}");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(matches!(sample.poll(&ticket).await.unwrap().status, Status::Done(_)));
}

#[tokio::test(start_paused = true)]
async fn a_job_goes_on_after_a_restart() {
    let ticket = contract::accepted(&sample(), &contract::order(&sample(), Kind::Video)).await;
    let restarted = sample();
    assert!(matches!(restarted.poll(&ticket).await.unwrap().status, Status::Running));
    // Two adapters read the wall clock at two moments.
    tokio::time::advance(LATENCY + Duration::from_millis(1)).await;
    assert!(matches!(restarted.poll(&ticket).await.unwrap().status, Status::Done(_)));
}

#[tokio::test(start_paused = true)]
async fn the_job_of_a_lost_answer_is_found_exactly() {
    let sample = sample();
    let (order, key) = (contract::order(&sample, Kind::Music), SubmitKey::fresh());
    let Submitted::Pending(ticket) = sample.submit(&order, &key).await.unwrap() else { panic!() };
    let Found::Candidates(jobs) = sample.find(&order, &key, sample.clock.read()).await.unwrap() else { panic!() };
    assert_eq!(jobs.len(), 1);
    assert_eq!((jobs[0].exact, &jobs[0].ticket), (true, &ticket));
}

#[tokio::test(start_paused = true)]
async fn as_many_outputs_come_as_samples_were_asked() {
    let sample = sample();
    let mut order = contract::order(&sample, Kind::Image);
    order.options.insert(OptionName::Samples, OptionValue::Int(3));
    let ticket = contract::accepted(&sample, &order).await;
    tokio::time::advance(LATENCY).await;
    let Status::Done(outputs) = sample.poll(&ticket).await.unwrap().status else { panic!() };
    assert_eq!(outputs.len(), 3);
}

#[tokio::test]
async fn a_folder_takes_the_place_of_the_files_within() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(Some(dir.path().to_owned()), Duration::ZERO).unwrap();
    let order = contract::order(&sample, Kind::Video);
    let why = sample.ready(Kind::Video).unwrap_err();
    assert!(why.contains("sample.mp4") && why.contains("FILMGATE_SAMPLE_DIR"), "{why}");
    assert_eq!(sample.submit(&order, &SubmitKey::fresh()).await.unwrap_err().effect, Effect::None);

    let own = vec![7; 3 * CHUNK + 5];
    std::fs::write(dir.path().join("sample.webm"), &own).unwrap();
    assert_eq!(sample.ready(Kind::Video), Ok(()));
    assert!(sample.ready(Kind::Image).is_err());
    contract::makes_the_bytes(&sample, &order, &own).await;
}

#[tokio::test]
async fn files_outside_of_the_folder_are_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(Some(dir.path().join("inner")), Duration::ZERO).unwrap();
    std::fs::write(dir.path().join("secret"), b"x").unwrap();
    let link = RemoteOutput::Link(Url::from_file_path(dir.path().join("secret")).unwrap());
    assert_eq!(sample.open(&link, None).await.unwrap_err().kind, ErrorKind::Protocol);
}

#[test]
fn the_video_card_takes_every_option_and_fills_in_the_fast_defaults() {
    let sample = sample_without_time();
    let card = sample.iter().find(|card| card.kind == Kind::Video).unwrap();
    let resolved = card.resolve("p", &Options::new(), &serde_json::Map::new(), &[], Mode::Strict).unwrap();
    let expected = [
        (OptionName::Duration, 5),
        (OptionName::Fps, 12),
        (OptionName::Width, 512),
        (OptionName::Height, 288),
        (OptionName::Steps, 20),
        (OptionName::Samples, 1),
        (OptionName::Guidance, 6),
    ];
    let expected: Options = expected.map(|(name, value)| (name, OptionValue::Int(value))).into();
    assert_eq!(resolved.options, expected);
    for name in [OptionName::AspectRatio, OptionName::Seed, OptionName::NegativePrompt, OptionName::Audio] {
        assert!(card.options.contains_key(&name), "{name}");
    }
    assert_eq!(card.estimate(&resolved.options, "a fox", &[]).unwrap().0, 0);
    assert!(card.title.contains("stand-in"));
}

fn sample_without_time() -> Vec<Arc<ModelCard>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { sample().cards })
}
