use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{super::VENDOR, replicate};
use crate::{
    domain::{
        artifact::Kind,
        card::ModelCard,
        order::{InputRole, Mode, OptionName, OptionValue, Options},
    },
    provider::{
        port::{InputFile, Order, OrderInput},
        tests::{
            fields::all_arrive,
            server::{Asked, Reply},
        },
    },
};

fn resolved(model: &str, asked: &[(OptionName, OptionValue)], inputs: &[InputRole], mode: Mode) -> (Order, Options) {
    let card = VENDOR.all_cards(Vec::new()).unwrap().into_iter().find(|card| card.name == model).unwrap();
    let asked: Options = asked.iter().cloned().collect();
    let fit = card.resolve("a fox", &asked, &Map::new(), inputs, mode).unwrap();
    let file = InputFile::Bytes { media_type: "image/png".to_owned(), data: Bytes::new() };
    let order = Order {
        kind: card.kind,
        model: model.to_owned(),
        card: Some(card),
        prompt: "a fox".to_owned(),
        options: fit.options.clone(),
        provider_options: Map::new(),
        inputs: inputs.iter().map(|role| OrderInput { role: *role, file: file.clone() }).collect(),
        webhook: None,
    };
    (order, fit.options)
}

#[test]
fn every_card_can_be_ordered_as_it_stands() {
    let cards = VENDOR.all_cards(Vec::new()).unwrap();
    let mut names = BTreeSet::new();
    for card in &cards {
        for name in card.aliases.iter().chain([&card.name]) {
            assert!(names.insert(name.clone()), "{name} is named twice");
        }
        assert!(super::super::Target::of(&card.name).is_some(), "{}", card.name);
        let required: Vec<InputRole> =
            card.inputs.iter().filter(|(_, spec)| spec.required).map(|(role, _)| *role).collect();
        let fit = card.resolve("a fox", &Options::new(), &Map::new(), &required, Mode::Strict).unwrap();
        // A default that its own card refuses would be sent and rejected.
        card.resolve("a fox", &fit.options, &Map::new(), &required, Mode::Strict).unwrap();
        assert!(!card.title.is_empty() && !card.source.is_empty(), "{}", card.name);
        let mut fields: Vec<&str> = card.options.iter().map(|(name, spec)| spec.field(*name)).collect();
        fields.extend(card.inputs.values().map(|spec| spec.field.as_str()));
        fields.extend(card.provider_options.iter().map(String::as_str));
        fields.push(&card.prompt.field);
        assert_eq!(fields.iter().collect::<BTreeSet<_>>().len(), fields.len(), "{} fills a field twice", card.name);
    }
    assert!(cards.iter().filter(|card| card.kind == Kind::Video).count() >= 14);
}

#[test]
fn prices_are_estimated_as_documented() {
    let check = |model, asked: &[(OptionName, OptionValue)], expected: Option<i64>| {
        let (order, options) = resolved(model, asked, &[], Mode::Strict);
        assert_eq!(
            order.card.unwrap().estimate(&options, "a fox", &[]).map(|price| price.0),
            expected,
            "{model} {asked:?}"
        );
    };
    let seconds = |seconds| (OptionName::Duration, OptionValue::Int(seconds));
    check("minimax/hailuo-02", &[], Some(200_000));
    check("google/veo-3.1", &[seconds(8)], Some(1_600_000));
    check("google/veo-3.1", &[seconds(8), (OptionName::Audio, OptionValue::Bool(true))], Some(3_200_000));
    check("kwaivgi/kling-v1.6-standard", &[seconds(10)], Some(500_000));
    check("kwaivgi/kling-v1.6-pro", &[], Some(475_000));
    check("black-forest-labs/flux-schnell", &[(OptionName::Samples, OptionValue::Int(4))], Some(12_000));
    check("minimax/video-01", &[], None);
}

#[test]
fn an_order_is_written_in_the_models_own_fields() {
    let check = |model, asked: &[(OptionName, OptionValue)], inputs: &[InputRole], expected: Value| {
        let (order, _) = resolved(model, asked, inputs, Mode::Adapt);
        let files = (0..inputs.len()).map(|index| json!(format!("file {index}"))).collect();
        assert_eq!(Value::Object(crate::provider::fields::of(&order, files).unwrap()), expected, "{model}");
    };
    check(
        "google/veo-3.1",
        &[(OptionName::Duration, OptionValue::Int(7)), (OptionName::Height, OptionValue::Int(700))],
        &[InputRole::Reference, InputRole::FirstFrame, InputRole::Reference, InputRole::LastFrame],
        json!({
            "prompt": "a fox", "duration": 6, "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": false,
            "reference_images": ["file 0", "file 2"], "image": "file 1", "last_frame": "file 3",
        }),
    );
    check(
        "minimax/hailuo-02",
        &[],
        &[InputRole::FirstFrame, InputRole::LastFrame],
        json!({
            "prompt": "a fox", "duration": 6, "resolution": "1080p",
            "first_frame_image": "file 0", "last_frame_image": "file 1",
        }),
    );
    check(
        "kwaivgi/kling-v1.6-pro",
        &[(OptionName::Guidance, OptionValue::Number(0.25))],
        &[],
        json!({"prompt": "a fox", "duration": 5, "cfg_scale": 0.25}),
    );
}

#[test]
fn a_users_card_takes_the_place_of_ours() {
    let own: ModelCard = toml::from_str("name = \"minimax/video-01\"\nkind = \"video\"\ntitle = \"mine\"").unwrap();
    let new: ModelCard = toml::from_str("name = \"me/mine\"\nkind = \"music\"").unwrap();
    let n_ours = VENDOR.all_cards(Vec::new()).unwrap().len();
    let cards = VENDOR.all_cards(vec![own, new]).unwrap();
    assert_eq!(cards.len(), n_ours + 1);
    let titles: Vec<&str> =
        cards.iter().filter(|card| card.name == "minimax/video-01").map(|card| card.title.as_str()).collect();
    assert_eq!(titles, ["mine"]);
}

#[tokio::test]
async fn every_field_of_every_card_arrives() {
    let answer = |asked: &Asked| match asked.line.as_str() {
        "POST /v1/files" => Reply::json(201, &json!({ "id": "f", "urls": { "get": "https://api.replicate.com/f" } })),
        _ => Reply::json(201, &json!({ "id": "j" })),
    };
    assert!(all_arrive(replicate, answer).await > 50);
}
