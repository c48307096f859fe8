//! Every flag lands in its field, and every field has a flag.

use std::collections::BTreeSet;

use clap::{Args as _, FromArgMatches as _};
use prost_reflect::Kind;
use serde_json::{Value, json};

use super::*;
use crate::cli::{
    exit::Exit,
    generate::options::{ImageFlags, MusicFlags, SpeechFlags, VideoFlags},
    json,
};

fn request<F: Flags>(flags: &[&str], inputs: Vec<Input>) -> Result<Order, Failure> {
    let command = OrderArgs::<F>::augment_args(clap::Command::new("generate"));
    let matches = command.try_get_matches_from([&["generate"], flags].concat()).expect("valid flags");
    OrderArgs::<F>::from_arg_matches(&matches).expect("valid flags").request("a fox".to_owned(), inputs)
}

fn video(flags: &[&str], inputs: Vec<Input>) -> Result<v1::GenerateVideoRequest, Failure> {
    match request::<VideoFlags>(flags, inputs)? {
        Order::Video(request) => Ok(request),
        other => panic!("{other:?}"),
    }
}

/// The order in the canonical JSON form, which names fields as the contract does.
fn order<F: Flags>(flags: &[&str]) -> Value {
    let of = |value: Result<Value, Failure>| value.expect("JSON");
    match request::<F>(flags, Vec::new()).expect("a valid order") {
        Order::Video(request) => of(json::of(&request)),
        Order::Image(request) => of(json::of(&request)),
        Order::Speech(request) => of(json::of(&request)),
        Order::Music(request) => of(json::of(&request)),
    }
}

type Row = (&'static [&'static str], &'static str, Value);

/// What each flag sets: flags, path of the field in JSON, value. Inputs are told apart below.
fn common() -> Vec<Row> {
    vec![
        (&[], "/prompt", json!("a fox")),
        (&["--quote", "quotes/1"], "/quote", json!("quotes/1")),
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
        (&["--option", "a=1", "--option", "b=\"x\""], "/options/providerOptions", json!({ "a": 1.0, "b": "x" })),
        (&["--seed", "7"], "/options/seed", json!("7")),
    ]
}

fn drawn() -> Vec<Row> {
    vec![
        (&["--width", "512"], "/options/width", json!(512)),
        (&["--height", "288"], "/options/height", json!(288)),
        (&["--aspect-ratio", "16:9"], "/options/aspectRatio", json!("16:9")),
        (&["--resolution", "720p"], "/options/resolution", json!("720p")),
        (&["--style", "anime"], "/options/style", json!("anime")),
    ]
}

fn sampled() -> Vec<Row> {
    vec![
        (&["--steps", "20"], "/options/steps", json!(20)),
        (&["--samples", "2"], "/options/samples", json!(2)),
        (&["--guidance", "6.5"], "/options/guidance", json!(6.5)),
        (&["--negative-prompt", "rain"], "/options/negativePrompt", json!("rain")),
    ]
}

fn of_video() -> Vec<Row> {
    let own: Vec<Row> = vec![
        (&["--duration", "2.5s"], "/options/duration", json!("2.500s")),
        (&["--fps", "24"], "/options/fps", json!(24)),
        (&["--audio"], "/options/audio", json!(true)),
        (&["--no-audio"], "/options/audio", json!(false)),
        (&["--audio", "--no-audio"], "/options/audio", json!(false)),
        (&["--motion", "0.5"], "/options/motion", json!(0.5)),
        (&["--camera", "pan"], "/options/camera", json!("pan")),
    ];
    [common(), drawn(), sampled(), own].concat()
}

fn of_image() -> Vec<Row> {
    let own: Vec<Row> = vec![
        (&["--image-quality", "high"], "/options/quality", json!("high")),
        (&["--strength", "0.5"], "/options/strength", json!(0.5)),
        (&["--background", "opaque"], "/options/background", json!("opaque")),
        (&["--format", "png"], "/options/format", json!("png")),
    ];
    [common(), drawn(), sampled(), own].concat()
}

fn of_speech() -> Vec<Row> {
    let own: Vec<Row> = vec![
        (&["--voice", "alloy"], "/options/voice", json!("alloy")),
        (&["--language", "pt-BR"], "/options/language", json!("pt-BR")),
        (&["--speed", "1.5"], "/options/speed", json!(1.5)),
        (&["--format", "mp3"], "/options/format", json!("mp3")),
        (&["--instructions", "softly"], "/options/instructions", json!("softly")),
    ];
    [common(), own].concat()
}

fn of_music() -> Vec<Row> {
    let own: Vec<Row> = vec![
        (&["--duration", "30"], "/options/duration", json!("30s")),
        (&["--lyrics", "la la"], "/options/lyrics", json!("la la")),
        (&["--instrumental"], "/options/instrumental", json!(true)),
        (&["--no-instrumental"], "/options/instrumental", json!(false)),
        (&["--format", "wav"], "/options/format", json!("wav")),
    ];
    [common(), sampled(), own].concat()
}

/// Each flag of a kind lands in its field and nowhere else, and each field of the kind's messages has a flag.
fn check<F: Flags>(kind: &str, table: &[Row]) {
    let without = order::<F>(&["--request-id", "r0"]);
    for (flags, path, expected) in table {
        let id: &[&str] = if *path == "/requestId" { &[] } else { &["--request-id", "r0"] };
        let mut order = order::<F>(&[flags, id].concat());
        assert_eq!(order.pointer(path), Some(expected), "{kind} {flags:?}");
        // Putting the field back must leave the order that no flag gives.
        let (parent, key) = path.rsplit_once('/').unwrap();
        let fields = order.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
        match without.pointer(path) {
            Some(default) => fields.insert(key.to_owned(), default.clone()),
            None => fields.remove(key),
        };
        assert_eq!(order, without, "{kind} {flags:?} sets something else too");
    }
    let mut fields = BTreeSet::new();
    for (message, prefix) in [(format!("Generate{kind}Request"), "/"), (format!("{kind}Options"), "/options/")] {
        let descriptor = json::pool().unwrap().get_message_by_name(&format!("filmgate.v1.{message}")).unwrap();
        // `options` stands for the fields of its own message; `inputs` are resolved before the order is made.
        let own = descriptor.fields().filter(|field| !["options", "inputs"].contains(&field.name()));
        fields.extend(own.map(|field| format!("{prefix}{}", field.json_name())));
    }
    let covered: BTreeSet<String> = table.iter().map(|(_, path, _)| (*path).to_owned()).collect();
    assert_eq!(covered, fields, "{kind}");
}

#[test]
fn every_flag_lands_in_its_field_and_every_field_of_the_contract_has_a_flag() {
    check::<VideoFlags>("Video", &of_video());
    check::<ImageFlags>("Image", &of_image());
    check::<SpeechFlags>("Speech", &of_speech());
    check::<MusicFlags>("Music", &of_music());
}

#[test]
fn every_value_of_the_enums_has_a_word() {
    let words = of_video();
    let descriptor = json::pool().unwrap().get_message_by_name("filmgate.v1.GenerateVideoRequest").unwrap();
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
    assert_eq!(video(&[], vec![input.clone()]).unwrap().inputs, [input]);
}

#[test]
fn an_order_always_has_a_fresh_request_id() {
    let [first, second] = [(); 2].map(|()| video(&[], Vec::new()).unwrap().request_id);
    assert_ne!(first, second);
    assert!(uuid::Uuid::parse_str(&first).is_ok());
}

#[test]
fn model_route_and_quality_exclude_each_other() {
    let command = OrderArgs::<VideoFlags>::augment_args(clap::Command::new("generate"));
    let both = command.try_get_matches_from(["generate", "--model", "a/b", "--route", "fast"]);
    assert_eq!(both.unwrap_err().kind(), clap::error::ErrorKind::ArgumentConflict);
}

#[test]
fn a_key_given_twice_is_refused() {
    for flags in [["--label", "a=1", "--label", "a=2"], ["--option", "a=1", "--option", "a=2"]] {
        assert_eq!(video(&flags, Vec::new()).unwrap_err().exit, Exit::Usage);
    }
}
