use std::collections::BTreeSet;

use serde_json::{Map, json};
use url::Url;

use super::{OPERATION, token, vertex};

use crate::{
    domain::order::{InputRole, Mode, OptionName, OptionValue, Options},
    provider::{
        tests::{
            fields::all_arrive,
            server::{Asked, Reply},
        },
        vertex::VENDOR,
    },
};

fn text(text: &str) -> OptionValue {
    OptionValue::Text(text.to_owned())
}

#[test]
fn every_card_can_be_ordered_as_it_stands() {
    let mut names = BTreeSet::new();
    for card in VENDOR.all_cards(Vec::new()).unwrap() {
        for name in card.aliases.iter().chain([&card.name]) {
            assert!(names.insert(name.clone()), "{name} is named twice");
        }
        let fit = card.resolve("a fox", &Options::new(), &Map::new(), &[], Mode::Strict).unwrap();
        card.resolve("a fox", &fit.options, &Map::new(), &[], Mode::Strict).unwrap();
        assert!(!card.title.is_empty() && !card.source.is_empty() && card.price.is_some(), "{}", card.name);
    }
}

#[test]
fn prices_follow_seconds_resolution_and_sound() {
    let check = |model: &str, seconds: i64, resolution: &str, audio: bool, expected: i64| {
        let card = VENDOR.all_cards(Vec::new()).unwrap().into_iter().find(|card| card.name == model).unwrap();
        let asked = Options::from([
            (OptionName::Duration, OptionValue::Int(seconds)),
            (OptionName::Resolution, text(resolution)),
            (OptionName::Audio, OptionValue::Bool(audio)),
        ]);
        let fit = card.resolve("a fox", &asked, &Map::new(), &[], Mode::Strict).unwrap();
        let price = card.estimate(&fit.options, "a fox", &[]).unwrap();
        assert_eq!(price.0, expected, "{model} {seconds} {resolution} {audio}");
    };
    check("veo-3.1-generate-001", 8, "720p", false, 1_600_000);
    check("veo-3.1-generate-001", 8, "1080p", true, 3_200_000);
    check("veo-3.1-generate-001", 8, "2160p", true, 4_800_000);
    check("veo-3.1-generate-001", 4, "2160p", false, 1_600_000);
    check("veo-3.1-fast-generate-001", 8, "720p", true, 800_000);
    check("veo-3.1-fast-generate-001", 8, "720p", false, 640_000);
    check("veo-3.1-fast-generate-001", 8, "1080p", true, 960_000);
    check("veo-3.1-fast-generate-001", 8, "1080p", false, 800_000);
    check("veo-3.1-fast-generate-001", 8, "2160p", true, 2_400_000);
    check("veo-3.1-fast-generate-001", 8, "2160p", false, 2_000_000);
    check("veo-3.1-lite-generate-001", 8, "720p", true, 400_000);
    check("veo-3.1-lite-generate-001", 8, "720p", false, 240_000);
    check("veo-3.1-lite-generate-001", 8, "1080p", true, 640_000);
    check("veo-3.1-lite-generate-001", 8, "1080p", false, 400_000);
    check("veo-3.0-generate-001", 8, "1080p", true, 3_200_000);
    check("veo-3.0-fast-generate-001", 8, "1080p", false, 800_000);
}

#[test]
fn five_seconds_are_refused_or_become_four_and_it_is_told() {
    let card = VENDOR.all_cards(Vec::new()).unwrap().remove(0);
    for (asked, used) in [(5, 4), (7, 6), (9, 8), (1, 4)] {
        let options = Options::from([(OptionName::Duration, OptionValue::Int(asked))]);
        let refused = card.resolve("a fox", &options, &Map::new(), &[], Mode::Strict).unwrap_err();
        assert_eq!(refused[0].field, "options.duration");
        assert!(refused[0].description.contains("4, 6, 8"), "{refused:?}");
        let fit = card.resolve("a fox", &options, &Map::new(), &[], Mode::Adapt).unwrap();
        assert_eq!(fit.options[&OptionName::Duration], OptionValue::Int(used));
        assert_eq!(
            (fit.adjustments[0].asked.as_str(), fit.adjustments[0].used.as_str()),
            (&*asked.to_string(), &*used.to_string())
        );
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let card = VENDOR.all_cards(Vec::new()).unwrap().remove(0);
    let check = |seconds: i64, inputs: &[InputRole], fits: bool| {
        let options = Options::from([(OptionName::Duration, OptionValue::Int(seconds))]);
        let fit = card.resolve("a fox", &options, &Map::new(), inputs, Mode::Strict);
        assert_eq!(fit.is_ok(), fits, "{seconds} {inputs:?} {fit:?}");
    };
    use InputRole::{FirstFrame, LastFrame, Reference, Source};
    check(8, &[Reference, Reference, Reference], true);
    check(8, &[Reference; 4], false);
    check(6, &[Reference], false);
    check(8, &[Reference, FirstFrame], false);
    check(6, &[FirstFrame, LastFrame], true);
    check(6, &[LastFrame], false);
    check(8, &[Source], true);
    check(8, &[Source, FirstFrame], false);
}

#[tokio::test]
async fn every_field_of_every_card_arrives() {
    let answer = |asked: &Asked| token(asked).unwrap_or_else(|| Reply::json(200, &json!({ "name": OPERATION })));
    assert!(all_arrive(|base: &Url| vertex(base), answer).await > 40);
}
