use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    super::{
        Fal, VENDOR,
        endpoint::{Ways, app_of, is_endpoint, target},
    },
    fal,
    server::{Asked, Reply},
    settings,
};
use crate::{
    domain::{
        artifact::Kind,
        order::{InputRole, Mode, OptionName, OptionValue, Options},
    },
    provider::{
        port::{InputFile, Order, OrderInput},
        tests::fields::all_arrive,
    },
};

fn order(model: &str, asked: &[(OptionName, OptionValue)], inputs: &[InputRole]) -> Order {
    let card = VENDOR.all_cards(Vec::new()).unwrap().into_iter().find(|card| card.name == model).unwrap();
    let asked: Options = asked.iter().cloned().collect();
    let fit = card.resolve("a fox in the snow", &asked, &Map::new(), inputs, Mode::Strict).unwrap();
    let file = InputFile::Url("https://images.example/a.png".parse().unwrap());
    Order {
        kind: card.kind,
        model: model.to_owned(),
        prompt: "a fox in the snow".to_owned(),
        options: fit.options,
        provider_options: Map::new(),
        inputs: inputs.iter().map(|role| OrderInput { role: *role, file: file.clone() }).collect(),
        webhook: None,
        card: Some(card),
    }
}

#[test]
fn every_card_can_be_ordered_as_it_stands() {
    let cards = VENDOR.all_cards(Vec::new()).unwrap();
    let mut names = BTreeSet::new();
    for card in &cards {
        for name in card.aliases.iter().chain([&card.name]) {
            assert!(names.insert(name.clone()), "{name} is named twice");
        }
        Ways::of(card).unwrap_or_else(|why| panic!("{}: {why}", card.name));
        assert!(is_endpoint(&card.name) && !card.title.is_empty() && !card.source.is_empty(), "{}", card.name);
        let required: Vec<InputRole> =
            card.inputs.iter().filter(|(_, spec)| spec.required).map(|(role, _)| *role).collect();
        let fit = card.resolve("a fox in the snow", &Options::new(), &Map::new(), &required, Mode::Strict).unwrap();
        // A default that its own card refuses would be sent and rejected.
        card.resolve("a fox in the snow", &fit.options, &Map::new(), &required, Mode::Strict).unwrap();
    }
    for kind in Kind::ALL {
        assert!(cards.iter().any(|card| card.kind == kind), "{kind}");
    }
}

#[tokio::test]
async fn every_field_of_every_card_arrives() {
    let answer = |_: &Asked| Reply::json(200, &json!({ "request_id": "j" }));
    assert!(all_arrive(fal, answer).await > 200);
}

#[test]
fn inputs_decide_about_the_endpoint_and_its_names() {
    use InputRole::{FirstFrame, LastFrame, Reference};
    let check = |model: &str, inputs: &[InputRole], endpoint: &str, expected: Value| {
        let order = order(model, &[], inputs);
        let target = target(&order).unwrap();
        assert_eq!(target.endpoint, endpoint);
        let files = (0..inputs.len()).map(|index| json!(format!("file {index}"))).collect();
        let body = Value::Object(target.body(&order, files).unwrap());
        let expected = expected.as_object().unwrap();
        assert!(expected.iter().all(|(name, value)| body[name] == *value), "{model}: {body}");
        assert!(body.get("last_frame_url").is_none() || expected.contains_key("last_frame_url"), "{body}");
    };
    let kling = "fal-ai/kling-video/v1.6/pro";
    let negative = "blur, distort, and low quality";
    check(
        kling,
        &[],
        "fal-ai/kling-video/v1.6/pro/text-to-video",
        json!({
            "prompt": "a fox in the snow", "duration": "5", "cfg_scale": 0.5, "negative_prompt": negative,
        }),
    );
    check(kling, &[FirstFrame], "fal-ai/kling-video/v1.6/pro/image-to-video", json!({ "image_url": "file 0" }));
    check(
        kling,
        &[LastFrame, FirstFrame],
        "fal-ai/kling-video/v1.6/pro/image-to-video",
        json!({
            "tail_image_url": "file 0", "image_url": "file 1",
        }),
    );
    check(kling, &[Reference], "fal-ai/kling-video/v1.6/pro/elements", json!({ "input_image_urls": ["file 0"] }));
    let veo = "fal-ai/veo3.1";
    check(veo, &[], veo, json!({ "duration": "8s", "generate_audio": false }));
    check(veo, &[FirstFrame], "fal-ai/veo3.1/image-to-video", json!({ "image_url": "file 0" }));
    check(
        veo,
        &[FirstFrame, LastFrame],
        "fal-ai/veo3.1/first-last-frame-to-video",
        json!({
            "first_frame_url": "file 0", "last_frame_url": "file 1", "image_url": null,
        }),
    );
    check(
        veo,
        &[Reference, Reference],
        "fal-ai/veo3.1/reference-to-video",
        json!({ "image_urls": ["file 0", "file 1"] }),
    );
    let lists = "fal-ai/kling-video/v1.6/pro/elements";
    check(lists, &[Reference], lists, json!({ "input_image_urls": ["file 0"] }));
}

#[test]
fn sizes_times_and_words_are_written_as_fal_wants_them() {
    let body = |model: &str, asked: &[(OptionName, OptionValue)]| {
        let order = order(model, asked, &[]);
        Value::Object(target(&order).unwrap().body(&order, Vec::new()).unwrap())
    };
    let (text, int) = (|text: &str| OptionValue::Text(text.to_owned()), OptionValue::Int);
    let flux = "fal-ai/flux/schnell";
    assert_eq!(body(flux, &[])["image_size"], json!({ "width": 1024, "height": 768 }));
    let sized = body(flux, &[(OptionName::Width, int(640)), (OptionName::Height, int(480))]);
    assert_eq!(sized["image_size"], json!({ "width": 640, "height": 480 }));
    assert_eq!(body(flux, &[(OptionName::AspectRatio, text("9:16"))])["image_size"], json!("portrait_16_9"));
    let music = body("fal-ai/elevenlabs/music", &[(OptionName::Duration, OptionValue::Number(12.5))]);
    assert_eq!(music["music_length_ms"], json!(12_500));
    let speech = body("fal-ai/elevenlabs/tts/multilingual-v2", &[]);
    assert_eq!(speech, json!({ "text": "a fox in the snow", "voice": "Rachel" }));
    let song = body("fal-ai/minimax-music/v2", &[(OptionName::Format, text("flac"))]);
    assert_eq!(song["audio_setting"], json!({ "format": "flac" }));
}

#[test]
fn a_shape_and_a_size_together_are_refused() {
    let card =
        VENDOR.all_cards(Vec::new()).unwrap().into_iter().find(|card| card.name == "fal-ai/flux/schnell").unwrap();
    let asked = Options::from([
        (OptionName::AspectRatio, OptionValue::Text("1:1".to_owned())),
        (OptionName::Width, OptionValue::Int(640)),
        (OptionName::Height, OptionValue::Int(480)),
    ]);
    let refused = card.resolve("a fox", &asked, &Map::new(), &[], Mode::Strict).unwrap_err();
    let fields: Vec<&str> = refused.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["options.width", "options.height"]);
}

#[test]
fn prices_are_estimated_as_documented() {
    let check = |model: &str, asked: &[(OptionName, OptionValue)], expected: Option<i64>| {
        let order = order(model, asked, &[]);
        let price = order.card.unwrap().estimate(&order.options, "a fox", &[]).map(|price| price.0);
        assert_eq!(price, expected, "{model} {asked:?}");
    };
    let int = OptionValue::Int;
    let square = [(OptionName::Width, int(1000)), (OptionName::Height, int(1000)), (OptionName::Samples, int(4))];
    check("fal-ai/flux/schnell", &square, Some(12_000));
    check("fal-ai/flux/schnell", &[], Some(2_360));
    check("fal-ai/veo3", &[(OptionName::Duration, int(6))], Some(2_400_000));
    check("fal-ai/kling-video/v1.6/pro", &[], None);
}

#[test]
fn a_job_is_asked_for_by_owner_and_app() {
    assert_eq!(app_of("fal-ai/kling-video/v1.6/pro/image-to-video"), "fal-ai/kling-video");
    assert_eq!(app_of("workflows/me/mine/fast"), "workflows/me/mine");
    for odd in ["", "flux", "/flux", "a//b", "a/../b", "a/b?c", "a/b c"] {
        assert!(!is_endpoint(odd), "{odd}");
    }
}

#[test]
fn a_broken_adapter_table_ends_the_start_and_names_its_card() {
    let own: crate::domain::card::ModelCard =
        toml::from_str("name = 'me/mine'\nkind = 'video'\nadapter = { endpoint = 'nowhere' }").unwrap();
    let mut settings = settings(&"http://127.0.0.1:1/v1".parse().unwrap());
    settings.cards = VENDOR.all_cards(vec![own]).unwrap();
    let error = Fal::new(settings).unwrap_err();
    assert!(error.to_string().contains("me/mine") && error.to_string().contains("nowhere"), "{error}");
}
