use std::collections::BTreeSet;

use serde_json::{Map, json};
use url::Url;

use super::adapter;

use crate::{
    domain::{
        card::ModelCard,
        money::Usage,
        order::{InputRole, Mode, OptionName, OptionValue, Options},
    },
    provider::{
        gemini::VENDOR,
        tests::{
            fields::all_arrive,
            server::{Asked, Reply},
        },
    },
};

fn card(name: &str) -> ModelCard {
    let cards = VENDOR.all_cards(Vec::new()).unwrap();
    cards.iter().find(|card| card.name == name || card.aliases.iter().any(|it| it == name)).unwrap().as_ref().clone()
}

fn options(resolution: &str, seconds: Option<i64>) -> Options {
    let mut options = Options::from([(OptionName::Resolution, OptionValue::Text(resolution.to_owned()))]);
    options.extend(seconds.map(|seconds| (OptionName::Duration, OptionValue::Int(seconds))));
    options
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
        assert!(!card.title.is_empty() && !card.source.is_empty(), "{}", card.name);
        assert!(["content", "interactions", "veo"].contains(&card.adapter["api"].as_str().unwrap()));
    }
}

#[test]
fn prices_follow_the_size() {
    let check = |name: &str, options: Options, expected: i64| {
        let card = card(name);
        let fit = card.resolve("a fox", &options, &Map::new(), &[], Mode::Strict).unwrap();
        assert_eq!(card.estimate(&fit.options, "a fox", &[]).unwrap().0, expected, "{name} {options:?}");
    };
    check("nano-banana", Options::new(), 39_000);
    check("nano-banana-2", Options::new(), 67_000);
    check("nano-banana-2", options("512", None), 45_000);
    check("nano-banana-2", options("4K", None), 151_000);
    check("nano-banana-pro", options("2K", None), 134_000);
    check("nano-banana-pro", options("4K", None), 240_000);
    check("gemini-3.1-flash-lite-image", Options::new(), 33_600);
    // Tokens of video: 5792 a second at 720p, $17.50 a million.
    check("gemini-omni", options("720p", Some(6)), 608_160);
    check("gemini-omni", options("360p", Some(10)), 337_925);
    check("gemini-omni", options("2160p", Some(3)), 912_240);
}

#[test]
fn what_was_used_is_settled_by_the_tokens_that_are_told() {
    let usage = Usage { tokens: Some(34_752.0), output_seconds: Some(6.0), ..Usage::default() };
    let settled = card("gemini-omni").price.unwrap().of(&usage, &options("720p", Some(6))).unwrap();
    assert_eq!(settled.0, 608_160);
}

#[test]
fn what_does_not_go_together_is_refused() {
    let check = |name: &str, options: Options, inputs: &[InputRole], fits: bool| {
        let fit = card(name).resolve("a fox", &options, &Map::new(), inputs, Mode::Strict);
        assert_eq!(fit.is_ok(), fits, "{name} {options:?} {inputs:?} {fit:?}");
    };
    use InputRole::{FirstFrame, LastFrame, Reference, Source};
    let veo = "veo-3.1-generate-preview";
    check(veo, options("1080p", Some(8)), &[], true);
    check(veo, options("1080p", Some(6)), &[], false);
    check(veo, options("2160p", Some(4)), &[], false);
    check(veo, options("720p", Some(4)), &[FirstFrame, LastFrame], true);
    check(veo, options("720p", Some(4)), &[LastFrame], false);
    check(veo, options("720p", Some(4)), &[Reference], false);
    check("gemini-omni", Options::new(), &[Source, Reference], false);
    check("gemini-omni", options("720p", Some(11)), &[], false);
    check("nano-banana", options("2K", None), &[], false);
}

#[tokio::test]
async fn every_field_of_every_card_arrives() {
    let answer = |_: &Asked| Reply::json(200, &json!({ "id": "v1_abc", "name": "models/m/operations/o" }));
    assert!(all_arrive(|base: &Url| adapter(base), answer).await > 40);
}
