//! Every flag lands in its field, and every field has a flag.

use std::collections::BTreeSet;

use clap::{Args as _, FromArgMatches as _};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind};
use serde_json::{Value, json};

use super::*;
use crate::cli::{exit::Exit, json};

/// Fields that the contract has but this version must leave empty.
const NOT_SERVED: [&str; 1] = ["quote"];

fn request(flags: &[&str], inputs: Vec<Input>) -> Result<GenerateVideoRequest, Failure> {
    let command = OrderArgs::augment_args(clap::Command::new("generate"));
    let matches = command.try_get_matches_from([&["generate", "a fox"], flags].concat()).expect("valid flags");
    OrderArgs::from_arg_matches(&matches).expect("valid flags").request(inputs)
}

/// The order in the canonical JSON form, which names fields as the contract does.
fn order(flags: &[&str]) -> Value {
    let order = request(flags, Vec::new()).expect("a valid order");
    let descriptor = json::pool().get_message_by_name("filmgate.v1.GenerateVideoRequest").unwrap();
    serde_json::to_value(DynamicMessage::decode(descriptor, order.encode_to_vec().as_slice()).unwrap()).unwrap()
}

/// What each flag sets: flags, path of the field in JSON, value. Inputs are told apart below.
fn table() -> Vec<(&'static [&'static str], &'static str, Value)> {
    vec![
        (&[], "/prompt", json!("a fox")),
        (&["--session", "s1"], "/session", json!("sessions/s1")),
        (&["--model", "replicate/x"], "/model", json!("replicate/x")),
        (&["--route", "cheap"], "/route", json!("cheap")),
        (&["--quality", "fast"], "/quality", json!("QUALITY_FAST")),
        (&["--quality", "quality"], "/quality", json!("QUALITY_QUALITY")),
        (&["--request-id", "r1"], "/requestId", json!("r1")),
        (&["--mode", "strict"], "/mode", json!("MODE_STRICT")),
        (&["--mode", "adapt"], "/mode", json!("MODE_ADAPT")),
        (&["--cache", "default"], "/cache", json!("CACHE_POLICY_DEFAULT")),
        (&["--cache", "bypass"], "/cache", json!("CACHE_POLICY_BYPASS")),
        (&["--cache", "refresh"], "/cache", json!("CACHE_POLICY_REFRESH")),
        (&["--max-duration", "10m"], "/maxDuration", json!("600s")),
        (&["--callback-url", "https://a.example/"], "/callbackUrl", json!("https://a.example/")),
        (&["--label", "team=a", "--label", "n=b=c"], "/labels", json!({ "team": "a", "n": "b=c" })),
        (&["--fallback-to-sample"], "/fallbackToSample", json!(true)),
        (&["--fallback-on-refusal"], "/fallbackOnRefusal", json!(true)),
        (&["--duration", "2.5s"], "/options/duration", json!("2.500s")),
        (&["--fps", "24"], "/options/fps", json!(24)),
        (&["--width", "512"], "/options/width", json!(512)),
        (&["--height", "288"], "/options/height", json!(288)),
        (&["--aspect-ratio", "16:9"], "/options/aspectRatio", json!("16:9")),
        (&["--steps", "20"], "/options/steps", json!(20)),
        (&["--samples", "2"], "/options/samples", json!(2)),
        (&["--guidance", "6.5"], "/options/guidance", json!(6.5)),
        (&["--seed", "7"], "/options/seed", json!("7")),
        (&["--negative-prompt", "rain"], "/options/negativePrompt", json!("rain")),
        (&["--audio"], "/options/audio", json!(true)),
        (&["--no-audio"], "/options/audio", json!(false)),
        (&["--audio", "--no-audio"], "/options/audio", json!(false)),
        (&["--option", "a=1", "--option", "b=\"x\""], "/options/providerOptions", json!({ "a": 1.0, "b": "x" })),
    ]
}

#[test]
fn every_flag_lands_in_its_field_and_nowhere_else() {
    let without = order(&["--request-id", "r0"]);
    for (flags, path, expected) in table() {
        let mut order = order(&[flags, if path == "/requestId" { &[] } else { &["--request-id", "r0"] }].concat());
        assert_eq!(order.pointer(path), Some(&expected), "{flags:?}");
        // Putting the field back must leave the order that no flag gives.
        let (parent, key) = path.rsplit_once('/').unwrap();
        let fields = order.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
        match without.pointer(path) {
            Some(default) => fields.insert(key.to_owned(), default.clone()),
            None => fields.remove(key),
        };
        assert_eq!(order, without, "{flags:?} sets something else too");
    }
}

#[test]
fn every_field_of_the_contract_has_a_flag() {
    let pool = json::pool();
    let order = pool.get_message_by_name("filmgate.v1.GenerateVideoRequest").unwrap();
    assert!(NOT_SERVED.iter().all(|field| order.get_field_by_name(field).is_some()), "a field has left the contract");
    let mut fields = BTreeSet::new();
    for (message, prefix) in [("GenerateVideoRequest", "/"), ("VideoOptions", "/options/")] {
        let descriptor = pool.get_message_by_name(&format!("filmgate.v1.{message}")).unwrap();
        let own = descriptor.fields().filter(|field| !NOT_SERVED.contains(&field.name()));
        // `options` stands for the fields of its own message; `inputs` are resolved before the order is made.
        let own = own.filter(|field| !["options", "inputs"].contains(&field.name()));
        fields.extend(own.map(|field| format!("{prefix}{}", field.json_name())));
    }
    let covered: BTreeSet<String> = table().into_iter().map(|(_, path, _)| path.to_owned()).collect();
    assert_eq!(covered, fields);
}

#[test]
fn every_value_of_the_enums_has_a_word() {
    let words = table();
    let descriptor = json::pool().get_message_by_name("filmgate.v1.GenerateVideoRequest").unwrap();
    for field in descriptor.fields() {
        let Kind::Enum(values) = field.kind() else { continue };
        for value in values.values().filter(|value| value.number() != 0) {
            let word = json!(value.name());
            assert!(words.iter().any(|(_, _, set)| *set == word), "{word} cannot be asked for");
        }
    }
}

#[test]
fn inputs_are_sent_as_resolved() {
    let input = Input {
        role: v1::InputRole::FirstFrame.into(),
        source: Some(v1::input::Source::Artifact("artifacts/1".to_owned())),
    };
    assert_eq!(request(&[], vec![input.clone()]).unwrap().inputs, [input]);
}

#[test]
fn an_order_always_has_a_fresh_request_id() {
    let [first, second] = [(); 2].map(|()| request(&[], Vec::new()).unwrap().request_id);
    assert_ne!(first, second);
    assert!(uuid::Uuid::parse_str(&first).is_ok());
}

#[test]
fn model_route_and_quality_exclude_each_other() {
    let command = OrderArgs::augment_args(clap::Command::new("generate"));
    let both = command.try_get_matches_from(["generate", "a fox", "--model", "a/b", "--route", "fast"]);
    assert_eq!(both.unwrap_err().kind(), clap::error::ErrorKind::ArgumentConflict);
}

#[test]
fn a_key_given_twice_is_refused() {
    for flags in [["--label", "a=1", "--label", "a=2"], ["--option", "a=1", "--option", "a=2"]] {
        assert_eq!(request(&flags, Vec::new()).unwrap_err().exit, Exit::Usage);
    }
}
