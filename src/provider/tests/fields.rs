//! Every option, size and input of every card changes what is sent, and its value is in it: nothing is dropped in silence.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use url::Url;

use super::server::{Asked, Reply, Server};
use crate::{
    domain::{
        artifact::Kind,
        card::{ModelCard, Size, SizeSpec},
        names::SubmitKey,
        order::{InputRole, Mode, OptionName, OptionValue, Options},
    },
    provider::port::{InputFile, Order, OrderInput, Provider},
};

const PICTURE: &[u8] = include_bytes!("../../simulator/still.png");
const SOUND: &[u8] = include_bytes!("../../simulator/tone.mp3");
const CLIP: &[u8] = include_bytes!("../../simulator/clip.mp4");

/// Checks every card of the adapter that `build` makes for a base address. `answer` is what the vendor says to each call; how the submit ends
/// does not matter. Says how many fields there were.
pub(in crate::provider) async fn all_arrive<P: Provider>(
    build: impl Fn(&Url) -> P,
    answer: fn(&Asked) -> Reply,
) -> usize {
    let server = Server::start(answer).await;
    let provider = build(&server.base);
    let mut n_fields = 0;
    if let Some(card) = provider.models().first() {
        // What is asked once for all orders, such as a token, belongs to none of them.
        sent(&server, &provider, card, &Options::new(), &required(card)).await;
    }
    for card in provider.models() {
        let required = required(card);
        let plain = sent(&server, &provider, card, &Options::new(), &required).await;
        let again = sent(&server, &provider, card, &Options::new(), &required).await;
        assert!(plain == again, "{}: the same order is not sent in the same way", card.name);
        for (name, values) in options(card) {
            // The default is sent in any case.
            let mut arrived = values.is_empty();
            for value in values {
                let asked = Options::from([(name, value.clone())]);
                let Some(inputs) = fitting(card, &asked) else { continue };
                let plain = sent(&server, &provider, card, &Options::new(), &inputs).await;
                let with = sent(&server, &provider, card, &asked, &inputs).await;
                let written = card.options.get(&name).map_or_else(|| value.to_json(), |spec| spec.written(&value));
                let written = written.as_str().map_or_else(|| written.to_string(), str::to_owned);
                let escaped = Value::from(written.as_str()).to_string();
                assert!(with != plain, "{}: {name} = {value} is dropped", card.name);
                let is_there = with.contains(&written) || with.contains(escaped.trim_matches('"'));
                assert!(is_there, "{}: {name} = {value} is not sent as {written}", card.name);
                arrived = true;
            }
            assert!(arrived, "{}: no order can have {name}", card.name);
            n_fields += 1;
        }
        for size in sizes(card) {
            let asked = size.options().into();
            let inputs = fitting(card, &asked).unwrap_or_else(|| panic!("{}: no order can have {size}", card.name));
            let plain = sent(&server, &provider, card, &Options::new(), &inputs).await;
            let with = sent(&server, &provider, card, &asked, &inputs).await;
            assert!(with != plain, "{}: the size {size} is dropped", card.name);
            n_fields += 1;
        }
        for &role in card.inputs.keys() {
            let inputs = with_role(card, role);
            let with = sent(&server, &provider, card, &Options::new(), &inputs).await;
            let without: Vec<InputRole> = inputs.iter().copied().filter(|other| *other != role).collect();
            let plain = sent(&server, &provider, card, &Options::new(), &without).await;
            assert!(with != plain, "{}: {role} is dropped", card.name);
            n_fields += 1;
        }
    }
    n_fields
}

/// Everything that is sent for an order, in one text.
async fn sent(
    server: &Server,
    provider: &dyn Provider,
    card: &Arc<ModelCard>,
    asked: &Options,
    inputs: &[InputRole],
) -> String {
    let prompt = if card.prompt.max == 0 { "" } else { "a fox in the snow" };
    let resolved = card.resolve(prompt, asked, &Map::new(), inputs, Mode::Adapt);
    let options = resolved.map(|resolved| resolved.options).unwrap_or_default();
    let order = Order {
        kind: card.kind,
        model: card.name.clone(),
        card: Some(Arc::clone(card)),
        prompt: prompt.to_owned(),
        options,
        provider_options: Map::new(),
        inputs: inputs.iter().map(|role| input(card, *role)).collect(),
        webhook: None,
    };
    let key: SubmitKey = SubmitKey::from_id("00000000-0000-4000-8000-000000000000").unwrap();
    let n_before = server.asked().len();
    // Whether the vendor's answer makes sense is not asked here.
    drop(provider.submit(&order, &key).await);
    let asked = server.asked().split_off(n_before);
    asked.iter().map(text).collect::<Vec<_>>().join("\n")
}

/// A call without what is drawn by chance.
fn text(asked: &Asked) -> String {
    let body = String::from_utf8_lossy(&asked.body).into_owned();
    let boundary = asked.content_type.split_once("boundary=").map(|(_, boundary)| boundary.trim_matches('"'));
    format!("{}\n{}", asked.line, boundary.map_or_else(|| body.clone(), |boundary| body.replace(boundary, "BOUNDARY")))
}

fn input(card: &ModelCard, role: InputRole) -> OrderInput {
    let media = card.inputs.get(&role).and_then(|spec| spec.media.first()).map(String::as_str);
    let usual = match (role, card.kind) {
        (InputRole::Audio, _) | (InputRole::Reference, Kind::Speech | Kind::Music) => "audio/mpeg",
        _ => "image/png",
    };
    let media_type = media.unwrap_or(usual).to_owned();
    let data = match media_type.split('/').next() {
        Some("audio") => SOUND,
        Some("video") => CLIP,
        _ => PICTURE,
    };
    OrderInput { role, file: InputFile::Bytes { media_type, data: Bytes::from_static(data) } }
}

/// Values other than the default that each option takes.
fn options(card: &ModelCard) -> Vec<(OptionName, Vec<OptionValue>)> {
    let values = |(&name, spec): (&OptionName, &crate::domain::card::OptionSpec)| {
        let usual = usual(name);
        let mut values: Vec<OptionValue> = if !spec.one_of.is_empty() {
            spec.one_of.clone()
        } else if usual.as_f64().is_some() {
            [spec.min, spec.max, usual.as_f64()].into_iter().flatten().map(OptionValue::number).collect()
        } else {
            vec![usual]
        };
        values.retain(|value| Some(value) != spec.default.as_ref() && fits(spec, value));
        (name, values)
    };
    card.options.iter().map(values).collect()
}

fn fits(spec: &crate::domain::card::OptionSpec, value: &OptionValue) -> bool {
    let number = value.as_f64();
    number.is_none_or(|number| spec.min.is_none_or(|min| number >= min) && spec.max.is_none_or(|max| number <= max))
}

fn usual(name: OptionName) -> OptionValue {
    let text = |text: &str| OptionValue::Text(text.to_owned());
    match name {
        OptionName::Duration => OptionValue::Int(7),
        OptionName::Fps => OptionValue::Int(24),
        OptionName::Width | OptionName::Height => OptionValue::Int(704),
        OptionName::AspectRatio => text("4:3"),
        OptionName::Steps => OptionValue::Int(23),
        OptionName::Samples => OptionValue::Int(2),
        OptionName::Guidance => OptionValue::Number(0.625),
        OptionName::Seed => OptionValue::Int(123_457),
        OptionName::NegativePrompt => text("no rain"),
        OptionName::Audio | OptionName::Instrumental => OptionValue::Bool(true),
        OptionName::Resolution => text("720p"),
        OptionName::Motion | OptionName::Strength => OptionValue::Number(0.375),
        OptionName::Camera => text("pan"),
        OptionName::Style => text("anime"),
        OptionName::Quality => text("high"),
        OptionName::Background => text("opaque"),
        OptionName::Format => text("png"),
        OptionName::Voice => text("Rachel"),
        OptionName::Language => text("pt"),
        OptionName::Speed => OptionValue::Number(1.125),
        OptionName::Instructions => text("calmly"),
        OptionName::Lyrics => text("la la la la"),
    }
}

fn sizes(card: &ModelCard) -> Vec<Size> {
    let Some(SizeSpec { one_of, default, .. }) = &card.size else { return Vec::new() };
    let some = [Size { width: 1024, height: 768 }];
    let all = if one_of.is_empty() { some.to_vec() } else { one_of.clone() };
    let fits = |size: &Size| {
        let resolved = card.resolve("a fox", &size.options().into(), &Map::new(), &[], Mode::Adapt);
        resolved.is_ok_and(|resolved| Size::of(&resolved.options) == Some(*size))
    };
    all.into_iter().filter(|size| Some(*size) != *default && fits(size)).collect()
}

/// Inputs with which an order can have exactly these options; none if it cannot.
fn fitting(card: &ModelCard, asked: &Options) -> Option<Vec<InputRole>> {
    let honoured = |inputs: &[InputRole]| {
        let prompt = if card.prompt.max == 0 { "" } else { "a fox in the snow" };
        card.resolve(prompt, asked, &Map::new(), inputs, Mode::Strict).is_ok()
    };
    let sets = std::iter::once(required(card)).chain(card.inputs.keys().map(|role| with_role(card, *role)));
    sets.into_iter().find(|inputs| honoured(inputs))
}

fn required(card: &ModelCard) -> Vec<InputRole> {
    card.inputs.iter().filter(|(_, spec)| spec.required).map(|(role, _)| *role).collect()
}

/// The fewest inputs, one of them in this role, that an order can have.
fn with_role(card: &ModelCard, role: InputRole) -> Vec<InputRole> {
    let fits = |inputs: &[InputRole]| {
        let prompt = if card.prompt.max == 0 { "" } else { "a fox in the snow" };
        card.resolve(prompt, &Options::new(), &Map::new(), inputs, Mode::Strict).is_ok()
    };
    let required: Vec<InputRole> = required(card).into_iter().filter(|other| *other != role).collect();
    let others = card.inputs.keys().copied().filter(|other| *other != role);
    let mut sets = vec![Vec::new()];
    sets.extend(others.map(|other| vec![other]));
    let with = |extra: Vec<InputRole>| required.iter().copied().chain(extra).chain([role]).collect::<Vec<_>>();
    let found = sets.into_iter().map(with).find(|inputs| fits(inputs));
    found.unwrap_or_else(|| panic!("{}: no order can have {role}", card.name))
}
