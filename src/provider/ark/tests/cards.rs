use std::collections::BTreeSet;

use serde_json::{Map, json};

use super::{FILM, PICTURE, VENDOR, ark};
use crate::{
    domain::{
        artifact::Kind,
        card::ModelCard,
        money::Usage,
        order::{InputRole, Mode, OptionName, OptionValue, Options},
    },
    provider::tests::{fields::all_arrive, server::Reply},
};

fn card(name: &str) -> std::sync::Arc<ModelCard> {
    let cards = VENDOR.all_cards(Vec::new()).unwrap();
    cards.into_iter().find(|card| card.name == name || card.aliases.iter().any(|alias| alias == name)).unwrap()
}

fn text(text: &str) -> OptionValue {
    OptionValue::Text(text.to_owned())
}

fn is_refused(name: &str, asked: &[(OptionName, OptionValue)], inputs: &[InputRole]) -> bool {
    let asked: Options = asked.iter().cloned().collect();
    card(name).resolve("a fox", &asked, &Map::new(), inputs, Mode::Strict).is_err()
}

#[test]
fn every_card_can_be_ordered_as_it_stands_and_has_names_of_its_own() {
    let mut names = BTreeSet::new();
    let cards = VENDOR.all_cards(Vec::new()).unwrap();
    for card in &cards {
        for name in card.aliases.iter().chain([&card.name]) {
            assert!(names.insert(name.clone()), "{name} is named twice");
        }
        let inputs: &[InputRole] = match card.name.as_str() {
            name if name.contains("lite-i2v") => &[InputRole::FirstFrame],
            name if name.contains("seededit") => &[InputRole::Source],
            _ => &[],
        };
        let fit = card.resolve("a fox", &Options::new(), &Map::new(), inputs, Mode::Strict).unwrap();
        card.resolve("a fox", &fit.options, &Map::new(), inputs, Mode::Strict).unwrap();
        assert!(card.source.contains("2026-11") && !card.title.is_empty(), "{}", card.name);
    }
    let n_of = |kind| cards.iter().filter(|card| card.kind == kind).count();
    assert_eq!((n_of(Kind::Video), n_of(Kind::Image)), (10, 6));
}

#[tokio::test]
async fn every_field_of_every_card_arrives() {
    assert!(all_arrive(ark, |_| Reply::json(200, &json!({ "id": "cgt-1" }))).await > 90);
}

#[test]
fn frames_and_references_are_never_mixed() {
    use InputRole::{Audio, FirstFrame, LastFrame, Reference, Source};
    let both = "doubao-seedance-2-0-260128";
    for inputs in [&[FirstFrame, Reference][..], &[LastFrame], &[FirstFrame, Audio], &[FirstFrame, Source]] {
        assert!(is_refused(both, &[], inputs), "{inputs:?}");
    }
    for inputs in [&[FirstFrame, LastFrame][..], &[Reference, Reference, Source, Audio], &[]] {
        assert!(!is_refused(both, &[], inputs), "{inputs:?}");
    }
    assert!(is_refused("doubao-seedance-1-0-lite-i2v-250428", &[], &[]));
    assert!(is_refused("doubao-seedance-1-0-lite-i2v-250428", &[(OptionName::Camera, text("fixed"))], &[Reference]));
}

#[test]
fn what_a_model_ignores_is_not_on_its_card() {
    let ignored = [
        (OptionName::Seed, OptionValue::Int(1)),
        (OptionName::Guidance, OptionValue::Int(5)),
        (OptionName::Steps, OptionValue::Int(20)),
        (OptionName::NegativePrompt, text("rain")),
    ];
    for option in ignored {
        for model in ["doubao-seedream-4-0-250828", "doubao-seedream-4-5-251128", "doubao-seedream-5-0-260128"] {
            assert!(is_refused(model, std::slice::from_ref(&option), &[]), "{model} {option:?}");
        }
    }
    let third = "doubao-seedream-3-0-t2i-250415";
    assert!(!is_refused(
        third,
        &[(OptionName::Seed, OptionValue::Int(1)), (OptionName::Guidance, OptionValue::Int(5))],
        &[]
    ));
    assert!(is_refused("doubao-seedance-1-0-pro-250528", &[(OptionName::Audio, OptionValue::Bool(true))], &[]));
}

#[test]
fn a_size_is_a_class_or_a_pair_never_both() {
    let pair =
        |width, height| [(OptionName::Width, OptionValue::Int(width)), (OptionName::Height, OptionValue::Int(height))];
    let class = (OptionName::Resolution, text("2K"));
    assert!(!is_refused(PICTURE, std::slice::from_ref(&class), &[]));
    assert!(!is_refused(PICTURE, &pair(1920, 1080), &[]));
    assert!(is_refused("doubao-seedream-4-5-251128", &pair(1920, 1080), &[]), "too small for it");
    let [width, height] = pair(1920, 1080);
    assert!(is_refused(PICTURE, &[class, width, height], &[]));
}

#[test]
fn a_film_is_estimated_by_the_formula_and_settled_by_its_tokens() {
    let price = |name: &str, asked: &[(OptionName, OptionValue)], tokens: f64| {
        let card = card(name);
        let asked: Options = asked.iter().cloned().collect();
        let options = card.resolve("a fox", &asked, &Map::new(), &[], Mode::Strict).unwrap().options;
        let used = Usage { tokens: Some(tokens), ..Usage::default() };
        let settled = card.price.as_ref().unwrap().of(&used, &options).unwrap().0;
        (card.estimate(&options, "a fox", &[]).unwrap().0, settled)
    };
    let audio = (OptionName::Audio, OptionValue::Bool(true));
    let large = (OptionName::Resolution, text("1080p"));
    // 5 s of 1280x720 are 108 000 tokens; one frame more was told by a real one.
    assert_eq!(price(FILM, &[], 108_900.0), (129_600, 130_680));
    assert_eq!(price(FILM, std::slice::from_ref(&audio), 108_900.0), (259_200, 261_360));
    assert_eq!(price("seedance-1.5-pro-flex", &[], 108_900.0).1, 65_340);
    assert_eq!(price(FILM, &[audio, large.clone()], 245_025.0), (583_200, 588_060));
    assert_eq!(price("seedance-1.0-pro", &[large], 244_800.0), (538_560, 538_560));
    assert!(card("seedance-2.5").price.is_none(), "known in yuan only");
    let pictures = [(OptionName::Samples, OptionValue::Int(3))];
    let options =
        card("seedream-4.5").resolve("a fox", &pictures.into(), &Map::new(), &[], Mode::Strict).unwrap().options;
    assert_eq!(card("seedream-4.5").estimate(&options, "a fox", &[]).unwrap().0, 120_000);
}
