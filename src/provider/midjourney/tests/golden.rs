use std::collections::BTreeSet;

use serde_json::{Map, json};

use super::{
    super::{map, plan::Plan},
    MIDJOURNEY, VENDOR, fixture, midjourney,
};
use crate::{
    domain::{
        artifact::Kind,
        failure::Charged,
        order::{InputRole, Mode, Options},
    },
    provider::{
        error::{ErrorKind, ProviderError},
        id_of,
        port::{Progress, RemoteOutput, Status},
        tests::{failures::mean_what_they_say, fields::all_arrive, server::Reply},
    },
};

fn read(name: &str, kind: Kind, n_pictures: u8) -> Result<Progress, ProviderError> {
    let plan = Plan { mark: "m".to_owned(), kind, n_pictures, n_before: Some(3) };
    map::progress(&id_of(MIDJOURNEY).unwrap(), &serde_json::from_slice(&fixture(name)).unwrap(), &plan)
}

fn files(name: &str, kind: Kind, n_pictures: u8) -> Vec<String> {
    let progress = read(name, kind, n_pictures).unwrap();
    let Status::Done(outputs) = progress.status else { panic!("{name} is not done") };
    assert_eq!(progress.usage.outputs, u32::try_from(outputs.len()).ok());
    let file = |output: &RemoteOutput| match output {
        RemoteOutput::Link(url) => url.path().rsplit('/').next().unwrap().to_owned(),
        RemoteOutput::Inline(_) => panic!("{name} has a file within"),
    };
    outputs.iter().map(file).collect()
}

#[test]
fn a_task_on_its_way_shows_where_it_is() {
    for (name, percent, waits, place) in [
        ("not_start", None, true, Some(3)),
        ("waiting_words", None, true, Some(3)),
        ("in_progress", Some(46), false, None),
        ("unknown_status", Some(46), false, None),
    ] {
        let progress = read(name, Kind::Image, 0).unwrap();
        assert_eq!((progress.percent, progress.queue_position), (percent, place), "{name}");
        assert_eq!(matches!(progress.status, Status::Waiting), waits, "{name}");
        assert!(waits || matches!(progress.status, Status::Running), "{name}");
    }
}

#[test]
fn outputs_are_read_from_wherever_the_lineages_put_them() {
    assert_eq!(files("grid", Kind::Image, 0), ["grid.png"]);
    assert_eq!(files("four", Kind::Image, 0), ["grid.png"]);
    assert_eq!(files("four", Kind::Image, 3), ["0_0.png", "0_1.png", "0_2.png"]);
    assert_eq!(files("films", Kind::Video, 0), ["0_0.mp4", "0_1.mp4"]);
    assert_eq!(files("film_in_image_url", Kind::Video, 0), ["0_0.mp4"]);
    assert_eq!(read("nothing", Kind::Image, 0).unwrap_err().kind, ErrorKind::NoOutput);
}

#[test]
fn a_stopped_task_is_told_by_its_status_or_its_words() {
    for name in ["cancelled", "cancelled_by_admin"] {
        assert!(matches!(read(name, Kind::Image, 0).unwrap().status, Status::Cancelled(Charged::Unknown)), "{name}");
    }
}

#[tokio::test]
async fn every_failure_on_file_means_what_it_says() {
    assert!(mean_what_they_say("midjourney", midjourney, |_| None).await >= 20);
}

#[tokio::test]
async fn every_field_of_every_card_arrives() {
    let answer = |_: &_| Reply::json(200, &json!({ "code": 1, "description": "", "result": "1", "properties": {} }));
    assert!(all_arrive(midjourney, answer).await > 25);
}

#[test]
fn every_card_can_be_ordered_as_it_stands() {
    let mut names = BTreeSet::new();
    for card in VENDOR.all_cards(Vec::new()).unwrap() {
        for name in card.aliases.iter().chain([&card.name]) {
            assert!(names.insert(name.clone()), "{name} is named twice");
        }
        let required: Vec<InputRole> =
            card.inputs.iter().filter(|(_, spec)| spec.required).map(|(role, _)| *role).collect();
        let prompt = if card.prompt.max == 0 { "" } else { "a fox" };
        card.resolve(prompt, &Options::new(), &Map::new(), &required, Mode::Strict).unwrap();
        assert!(card.price.is_none() && !card.source.is_empty(), "{}", card.name);
    }
}
