use std::{collections::BTreeMap, fs};

use super::*;
use crate::{
    domain::{
        artifact::Kind,
        card::ModelCard,
        order::{InputRole, OptionName, OptionValue},
    },
    provider::{
        comfyui::workflow::{Slot, Workflow},
        port::Provider,
    },
};

#[expect(clippy::needless_pass_by_value, reason = "a test's literal")]
fn workflow(inputs: Json) -> Result<Workflow, String> {
    Workflow::read(json!({ "1": { "class_type": "SaveImage", "inputs": inputs } }).to_string().as_bytes())
}

#[test]
fn a_value_keeps_its_type_where_it_stands_alone() {
    let workflow = workflow(json!({
        "a": "{{steps}}", "b": "step {{steps}} of {{ prompt }}!", "c": "{{guidance|7.5}}", "d": "{{audio|true}}",
        "e": "{{negative_prompt|}}", "f": ["2", 0], "g": "{ {not one} }", "h": "{{option.mode|fast}}", "i": 5,
    }));
    let values = BTreeMap::from([
        (Slot::Option(OptionName::Steps), json!(20)),
        (Slot::Prompt, json!("a {{steps}} fox")),
        (Slot::Own("mode".to_owned()), json!({ "x": 1 })),
    ]);
    let expected = json!({
        "a": 20, "b": "step 20 of a {{steps}} fox!", "c": 7.5, "d": true, "e": "", "f": ["2", 0], "g": "{ {not one} }",
        "h": { "x": 1 }, "i": 5,
    });
    assert_eq!(workflow.unwrap().filled(&values).unwrap()["1"]["inputs"], expected);
}

#[test]
fn what_is_no_workflow_is_told() {
    let check = |text: &str, expected: &str| {
        let why = Workflow::read(text.as_bytes()).unwrap_err();
        assert!(why.contains(expected), "{why}");
    };
    check("", "is no JSON");
    check("[]", "no JSON object");
    check("{}", "has no nodes");
    check(r#"{"nodes": [], "links": []}"#, "Export (API)");
    check(r#"{"3": {"class_type": "KSampler"}}"#, "node 3 has no class_type or no inputs");
    for unknown in ["{{sed}}", "{{input.face}}", "{{input.mask.0}}", "{{x.y}}", "{{option.}}"] {
        let why = workflow(json!({ "a": unknown })).unwrap_err();
        assert!(why.contains(unknown) && why.contains("frames_4n1") && why.contains("first_frame"), "{why}");
    }
}

#[test]
fn a_card_is_completed_from_the_workflow() {
    let base = Url::parse("http://127.0.0.1:8188").unwrap();
    let comfyui = comfyui(&base);
    let card = |name: &str| comfyui.models().iter().find(|card| card.name == name).unwrap().clone();
    let still = card("still");
    assert_eq!((still.kind, still.prompt.max > 0), (Kind::Image, true));
    assert_eq!(still.options[&OptionName::Steps].default, Some(OptionValue::Int(20)));
    assert_eq!(still.options[&OptionName::Seed].default, None);
    assert_eq!(still.provider_options, ["checkpoint"]);
    let clip = card("clip");
    assert_eq!((clip.kind, clip.options.len()), (Kind::Video, 6));
    assert!(clip.inputs[&InputRole::FirstFrame].required && clip.expected_seconds.is_some());
    let sound = Workflow::read(br#"{"1": {"class_type": "SaveAudioMP3", "inputs": {}}}"#).unwrap();
    assert_eq!(sound.kind(), Kind::Music);
    let card = toml::from_str("name = 'm'\nkind = 'music'").unwrap();
    assert_eq!(sound.complete(card).unwrap().prompt.max, 0);
}

#[test]
fn a_card_that_promises_too_much_and_a_place_that_may_stay_empty_are_told() {
    let check = |inputs: Json, card: &str, expected: &str| {
        let card: ModelCard = toml::from_str(&format!("name = 'm'\nkind = 'image'\n{card}")).unwrap();
        let why = workflow(inputs).unwrap().complete(card).unwrap_err();
        assert!(why.contains(expected), "{why}");
    };
    check(json!({}), "options = { steps = {} }", "has no {{steps}}");
    check(json!({ "a": "{{width|1}}" }), "size = { one_of = ['8x8'] }", "has no {{height}}");
    check(json!({}), "inputs = { mask = {} }", "has no {{input.mask.1}}");
    check(json!({}), "provider_options = ['x']", "has no {{option.x}}");
    check(json!({}), "fixed = { x = 1 }", "fixed values into the workflow");
    check(json!({ "a": "{{steps}}" }), "", "{{steps|VALUE}}");
    check(json!({ "a": "{{frames}}" }), "", "{{duration|VALUE}}");
    check(json!({ "a": "{{option.x}}" }), "", "{{option.x|VALUE}}");
    check(json!({ "a": "{{input.mask}}" }), "inputs = { mask = {} }", "make the input required");
    check(json!({ "a": "{{width}}{{height}}" }), "size = { one_of = ['8x8'] }", "size a default");
}

#[test]
fn a_folder_with_a_slip_is_told_with_the_file() {
    let base = Url::parse("http://127.0.0.1:8188").unwrap();
    let folder = tempfile::tempdir().unwrap();
    assert!(of_folder(folder.path(), &base).unwrap().is_none(), "nothing is there yet");
    let why = |file: &str, text: &str| {
        fs::write(folder.path().join(file), text).unwrap();
        of_folder(folder.path(), &base).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(why("a.json", "{}").contains("a.json has no nodes"));
    assert_eq!(why("a.json", r#"{"1": {"class_type": "SaveImage", "inputs": {}}}"#), "");
    assert!(why("a.toml", "knd = 'image'").contains("a.toml: unknown field `knd`"));
    assert!(why("a.toml", "= 1").contains("a.toml"));
    let none = of_folder(&folder.path().join("none"), &base).unwrap_err();
    assert!(none.to_string().contains("cannot be read"), "{none}");
}
