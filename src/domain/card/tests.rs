use serde_json::{Map, Value};

use super::*;
use crate::domain::order::Mode;

fn card() -> ModelCard {
    toml::from_str(
        r#"
        name = "veo"
        kind = "video"
        provider_options = ["enhance"]
        price = { unit = "output_second", micro_usd = 200_000, when = [{ options = { audio = true }, micro_usd = 400_000 }] }
        [prompt]
        max = 10
        [options.duration]
        one_of = [4, 6, 8]
        default = 8
        [options.aspect_ratio]
        one_of = ["16:9", "9:16"]
        [options.height]
        field = "resolution"
        format = "{}p"
        one_of = [720, 1080]
        [options.guidance]
        min = 0
        max = 1
        [inputs.first_frame]
        field = "image"
        "#,
    )
    .unwrap()
}

fn options(pairs: &[(OptionName, OptionValue)]) -> Options {
    pairs.iter().cloned().collect()
}

fn provider_options(json: &Value) -> Map<String, Value> {
    json.as_object().unwrap().clone()
}

#[test]
fn defaults_of_the_card_fill_what_was_not_asked() {
    let resolved = card().resolve("a", &Options::new(), &Map::new(), &[], Mode::Strict).unwrap();
    assert_eq!(resolved.options, options(&[(OptionName::Duration, OptionValue::Int(8))]));
    assert_eq!(card().estimate(&resolved.options, "a", &[]).unwrap().0, 1_600_000);
}

#[test]
fn strict_names_every_field_that_does_not_fit_with_the_allowed_values() {
    let asked = options(&[
        (OptionName::Duration, OptionValue::Int(7)),
        (OptionName::Seed, OptionValue::Int(1)),
        (OptionName::Guidance, OptionValue::Number(1.5)),
    ]);
    let roles = [InputRole::LastFrame, InputRole::FirstFrame, InputRole::FirstFrame];
    let extra = provider_options(&serde_json::json!({"foo": 1, "prompt": "x", "enhance": true}));
    let violations = card().resolve("01234567890", &asked, &extra, &roles, Mode::Strict).unwrap_err();
    let fields: Vec<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "prompt",
            "inputs[0].role",
            "inputs[2].role",
            "options.provider_options.foo",
            "options.provider_options.prompt",
            "options.duration",
            "options.guidance",
            "options.seed",
        ]
    );
    assert!(violations[5].description.contains("4, 6, 8"), "{}", violations[5].description);
}

#[test]
fn adapt_takes_the_nearest_value_and_reports_it() {
    let check = |name, asked: OptionValue, used: Option<OptionValue>| {
        let resolved = card().resolve("a", &options(&[(name, asked.clone())]), &Map::new(), &[], Mode::Adapt).unwrap();
        assert_eq!(resolved.adjustments.len(), 1, "{asked}");
        assert_eq!(resolved.options.get(&name), used.as_ref(), "{asked}");
    };
    check(OptionName::Duration, OptionValue::Int(5), Some(OptionValue::Int(4)));
    check(OptionName::Duration, OptionValue::Int(7), Some(OptionValue::Int(6)));
    check(OptionName::Duration, OptionValue::Int(30), Some(OptionValue::Int(8)));
    check(OptionName::AspectRatio, OptionValue::Text("4:3".into()), Some(OptionValue::Text("16:9".into())));
    check(OptionName::AspectRatio, OptionValue::Text("1:2".into()), Some(OptionValue::Text("9:16".into())));
    check(OptionName::Guidance, OptionValue::Number(1.5), Some(OptionValue::Int(1)));
    check(OptionName::Seed, OptionValue::Int(3), None);
}

#[test]
fn a_provider_option_takes_the_place_of_a_default_but_not_of_an_asked_option() {
    let extra = provider_options(&serde_json::json!({"duration": 6}));
    let resolved = card().resolve("a", &Options::new(), &extra, &[], Mode::Strict).unwrap();
    assert_eq!(resolved.options, Options::new());
    let asked = options(&[(OptionName::Duration, OptionValue::Int(4))]);
    assert!(card().resolve("a", &asked, &extra, &[], Mode::Strict).is_err());
}

#[test]
fn an_option_is_written_as_the_provider_takes_it() {
    let card = card();
    let spec = &card.options[&OptionName::Height];
    assert_eq!(spec.field(OptionName::Height), "resolution");
    assert_eq!(spec.written(&OptionValue::Int(720)), Value::from("720p"));
}
