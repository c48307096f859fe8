use std::collections::BTreeSet;

use serde_json::Map;

use super::*;
use crate::{
    domain::order::{InputRole, Mode, OptionName, OptionValue, Options},
    provider::tests::fields::all_arrive,
};

#[test]
fn every_card_can_be_ordered_as_it_stands() {
    for vendor in [&VENDOR, &AGGREGATOR] {
        let mut names = BTreeSet::new();
        for card in vendor.all_cards(Vec::new()).unwrap() {
            for name in card.aliases.iter().chain([&card.name]) {
                assert!(names.insert(name.clone()), "{name} is named twice");
            }
            let fit = card.resolve("a fox", &Options::new(), &Map::new(), &[], Mode::Strict).unwrap();
            card.resolve("a fox", &fit.options, &Map::new(), &[], Mode::Strict).unwrap();
            assert!(!card.title.is_empty() && !card.source.is_empty(), "{}", card.name);
            let mut fields: Vec<&str> = card.options.iter().map(|(name, spec)| spec.field(*name)).collect();
            fields.extend(card.size.as_ref().and_then(|size| size.field.as_deref()));
            fields.extend(card.provider_options.iter().map(String::as_str));
            fields.push(&card.prompt.field);
            assert_eq!(fields.iter().collect::<BTreeSet<_>>().len(), fields.len(), "{} fills a field twice", card.name);
            // Two roles may share a field only if it is a list.
            let shared = |field: &str| card.inputs.values().filter(|spec| spec.field == field).count() > 1;
            assert!(
                card.inputs.values().all(|spec| !shared(&spec.field) || spec.list || spec.max > 1),
                "{}",
                card.name
            );
        }
    }
}

#[test]
fn what_is_shut_down_says_so() {
    let cards = VENDOR.all_cards(Vec::new()).unwrap();
    let end = |name: &str| cards.iter().find(|card| card.name == name).unwrap().end_of_life.map(|day| day.to_string());
    assert!(
        cards
            .iter()
            .filter(|card| card.kind == Kind::Video)
            .all(|card| end(&card.name).as_deref() == Some("2026-09-24"))
    );
    assert_eq!(end("gpt-image-1").as_deref(), Some("2026-10-23"));
    assert_eq!(end("dall-e-3").as_deref(), Some("2026-05-12"));
    assert_eq!(end("tts-1").as_deref(), Some("2027-01-06"));
    assert_eq!(end("gpt-image-2"), None);
}

#[test]
fn limits_and_prices_are_the_models_own() {
    let cards = VENDOR.all_cards(Vec::new()).unwrap();
    let card = |name: &str| cards.iter().find(|card| card.name == name).unwrap();
    let size = |width, height| {
        Options::from([(OptionName::Width, OptionValue::Int(width)), (OptionName::Height, OptionValue::Int(height))])
    };
    let fits = |name: &str, options: &Options, inputs: &[InputRole]| {
        card(name).resolve("a fox", options, &Map::new(), inputs, Mode::Strict).is_ok()
    };
    assert!(fits("gpt-image-2", &size(3840, 2160), &[]) && !fits("gpt-image-2", &size(1000, 1000), &[]));
    assert!(!fits("gpt-image-1.5", &size(3840, 2160), &[]) && fits("gpt-image-1.5", &size(1536, 1024), &[]));
    assert!(!fits("sora-2", &size(1920, 1080), &[]) && fits("sora-2-pro", &size(1920, 1080), &[]));
    assert!(!fits("gpt-image-2", &Options::new(), &[InputRole::Mask]));
    assert!(fits("gpt-image-2", &Options::new(), &[InputRole::Mask, InputRole::Source]));
    let text = |text: &str| OptionValue::Text(text.to_owned());
    let clear =
        |format| Options::from([(OptionName::Background, text("transparent")), (OptionName::Format, text(format))]);
    assert!(fits("gpt-image-2", &clear("png"), &[]) && !fits("gpt-image-2", &clear("jpeg"), &[]));

    let price = |name: &str, asked: &Options| {
        let fit = card(name).resolve("a fox", asked, &Map::new(), &[], Mode::Strict).unwrap();
        card(name).estimate(&fit.options, "a fox", &[]).map(|price| price.0)
    };
    let mut long = size(1792, 1024);
    long.insert(OptionName::Duration, OptionValue::Int(12));
    assert_eq!(price("sora-2", &Options::new()), Some(400_000));
    assert_eq!(price("sora-2-pro", &long), Some(6_000_000));
    assert_eq!(price("sora-2-pro", &size(1080, 1920)), Some(2_800_000));
    assert_eq!(price("tts-1", &Options::new()), Some(75));
    assert_eq!(price("gpt-image-2", &Options::new()), None);
}

#[test]
fn what_an_aggregator_takes_is_on_its_cards() {
    let cards = AGGREGATOR.all_cards(Vec::new()).unwrap();
    let sora = cards.iter().find(|card| card.name == "sora-2").unwrap();
    let asked = Options::from([
        (OptionName::Duration, OptionValue::Int(20)),
        (OptionName::Style, OptionValue::Text("comic".to_owned())),
    ]);
    let fit = sora.resolve("a fox", &asked, &Map::new(), &[], Mode::Adapt).unwrap();
    assert_eq!(fit.options[&OptionName::Duration], OptionValue::Int(15), "the lower of two that are equally near");
    assert!(sora.aliases.contains(&"sora2".to_owned()));
    let fits = |name: OptionName, value: OptionValue| {
        sora.resolve("a fox", &Options::from([(name, value)]), &Map::new(), &[], Mode::Strict).is_ok()
    };
    let seconds = (1..=30).filter(|seconds| fits(OptionName::Duration, OptionValue::Int(*seconds)));
    assert_eq!(seconds.collect::<Vec<_>>(), [4, 8, 10, 12, 15, 25]);
    for style in ["thanksgiving", "comic", "news", "selfie", "nostalgic", "anime"] {
        assert!(fits(OptionName::Style, OptionValue::Text(style.to_owned())), "{style}");
    }
    assert!(!fits(OptionName::Style, OptionValue::Text("noir".to_owned())));
    let fits_size = |width: i64, height: i64| {
        let size =
            [(OptionName::Width, OptionValue::Int(width)), (OptionName::Height, OptionValue::Int(height))].into();
        sora.resolve("a fox", &size, &Map::new(), &[], Mode::Strict).is_ok()
    };
    for (width, height) in [(720, 1280), (1280, 720), (1024, 1792), (1792, 1024)] {
        assert!(fits_size(width, height), "{width}x{height}");
    }
    assert!(!fits_size(1920, 1080));
}

#[tokio::test]
async fn every_field_of_every_card_arrives() {
    let answer = |_: &Asked| Reply::json(200, &json!({ "id": "j", "data": [] }));
    assert!(all_arrive(openai, answer).await > 100);
    let aggregator = |base: &Url| {
        OpenAi::new(OpenAiSettings { cards: AGGREGATOR.all_cards(Vec::new()).unwrap(), ..settings(base) }).unwrap()
    };
    assert!(all_arrive(aggregator, answer).await > 8);
}
