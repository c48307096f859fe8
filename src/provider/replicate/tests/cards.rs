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
    resolved_with("a fox", model, asked, inputs, mode)
}

fn resolved_with(
    prompt: &str,
    model: &str,
    asked: &[(OptionName, OptionValue)],
    inputs: &[InputRole],
    mode: Mode,
) -> (Order, Options) {
    let card = VENDOR.all_cards(Vec::new()).unwrap().into_iter().find(|card| card.name == model).unwrap();
    let asked: Options = asked.iter().cloned().collect();
    let fit = card.resolve(prompt, &asked, &Map::new(), inputs, mode).unwrap();
    let file = InputFile::Bytes { media_type: "image/png".to_owned(), data: Bytes::new() };
    let order = Order {
        kind: card.kind,
        model: model.to_owned(),
        card: Some(card),
        prompt: prompt.to_owned(),
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
    check("black-forest-labs/flux-dev", &[], Some(25_000));
    check("google/veo-3.1-fast", &[seconds(4)], Some(600_000));
    check("minimax/video-01", &[], None);
    let price = |model, inputs: &[InputRole]| {
        let (order, options) = resolved(model, &[], inputs, Mode::Strict);
        order.card.unwrap().estimate(&options, "", inputs).map(|price| price.0)
    };
    assert_eq!(price("philz1337x/clarity-upscaler", &[InputRole::Source]), Some(16_000));
    assert_eq!(price("fofr/skyreels-2", &[InputRole::Sequence; 3]), Some(600_000));
}

#[test]
fn pictures_are_shown_one_after_the_other_and_a_pair_needs_no_prompt() {
    let written = |model: &str, inputs: &[InputRole]| {
        let (order, _) = resolved_with("", model, &[], inputs, Mode::Strict);
        let files = (0..inputs.len()).map(|index| json!(format!("file {index}"))).collect();
        Value::Object(crate::provider::fields::of(&order, files).unwrap())
    };
    assert_eq!(
        written("fofr/skyreels-2", &[InputRole::Sequence; 3]),
        json!({"image_urls": ["file 0", "file 1", "file 2"]})
    );
    let pair = [InputRole::FirstFrame, InputRole::LastFrame];
    assert_eq!(written("google/veo-3.1", &pair)["prompt"], "Smooth transition between images");
    assert_eq!(
        written("minimax/hailuo-02", &pair),
        json!({
            "prompt": "smooth cinematic transition between images", "duration": 6, "resolution": "1080p",
            "prompt_optimizer": true, "first_frame_image": "file 0", "last_frame_image": "file 1",
        })
    );
}

#[test]
fn sound_is_ordered_in_the_models_own_fields() {
    let text = |text: &str| OptionValue::Text(text.to_owned());
    let (order, _) = resolved(
        "minimax/speech-02-hd",
        &[(OptionName::Language, text("de")), (OptionName::Voice, text("Calm_Woman"))],
        &[],
        Mode::Strict,
    );
    assert_eq!(
        Value::Object(crate::provider::fields::of(&order, Vec::new()).unwrap()),
        json!({"text": "a fox", "language_boost": "German", "voice_id": "Calm_Woman", "audio_format": "mp3"})
    );
    let (order, _) = resolved("meta/musicgen", &[(OptionName::Duration, OptionValue::Int(45))], &[], Mode::Adapt);
    assert_eq!(
        Value::Object(crate::provider::fields::of(&order, Vec::new()).unwrap()),
        json!({"prompt": "a fox", "duration": 30, "output_format": "mp3", "model_version": "stereo-large"})
    );
    let Some(super::super::Target::Version(version)) = super::super::Target::of_order(&order) else {
        panic!("by name")
    };
    assert!(version.starts_with("671ac645"));
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
        &[InputRole::FirstFrame, InputRole::LastFrame],
        json!({
            "prompt": "a fox", "duration": 6, "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": false,
            "image": "file 0", "last_frame": "file 1",
        }),
    );
    check(
        "google/veo-3.1",
        &[(OptionName::Duration, OptionValue::Int(4)), (OptionName::Resolution, OptionValue::Text("720p".to_owned()))],
        &[InputRole::Reference, InputRole::FirstFrame, InputRole::Reference],
        json!({
            "prompt": "a fox", "duration": 8, "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": false,
            "reference_images": ["file 0", "file 2"], "image": "file 1",
        }),
    );
    check(
        "minimax/hailuo-02",
        &[],
        &[InputRole::FirstFrame, InputRole::LastFrame],
        json!({
            "prompt": "a fox", "duration": 6, "resolution": "1080p", "prompt_optimizer": true,
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
fn a_length_between_those_of_veo_is_refused_or_taken_down_and_told() {
    let card = VENDOR.all_cards(Vec::new()).unwrap().into_iter().find(|card| card.name == "google/veo-3.1").unwrap();
    for (asked, used) in [(3, 4), (5, 4), (7, 6), (9, 8), (60, 8)] {
        let options = Options::from([(OptionName::Duration, OptionValue::Int(asked))]);
        let refused = card.resolve("a fox", &options, &Map::new(), &[], Mode::Strict).unwrap_err();
        assert_eq!(refused[0].field, "options.duration");
        assert!(refused[0].description.contains("4, 6, 8"), "{refused:?}");
        let fit = card.resolve("a fox", &options, &Map::new(), &[], Mode::Adapt).unwrap();
        assert_eq!(fit.options[&OptionName::Duration], OptionValue::Int(used));
        let told = &fit.adjustments[0];
        assert_eq!((told.asked.as_str(), told.used.as_str()), (&*asked.to_string(), &*used.to_string()));
    }
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
