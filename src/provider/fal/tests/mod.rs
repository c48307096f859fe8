//! The adapter against recorded answers, and against a scripted server on this machine.

mod calls;
mod cards;
mod golden;
mod webhooks;

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use super::{FAL, Fal, FalSettings, VENDOR};
use crate::{
    domain::artifact::Kind,
    provider::{
        contract, id_of,
        port::{Order, Ticket},
        tests::server,
    },
};

const KEY: &str = "id:a_very_secret_key";
const JOB: &str = "0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9";
const APP: &str = "fal-ai/kling-video";

fn fal(base: &Url) -> Fal {
    Fal::new(settings(base)).unwrap()
}

fn settings(base: &Url) -> FalSettings {
    let wait = Duration::from_secs(30);
    FalSettings {
        api_key: SecretString::from(KEY),
        base_url: base.clone(),
        rest_url: None,
        api_url: None,
        timeout: wait,
        download_timeout: wait,
        id: id_of(FAL).unwrap(),
        cards: VENDOR.all_cards(Vec::new()).unwrap(),
    }
}

fn order(fal: &Fal, model: &str) -> Order {
    let card = fal.card(model).cloned();
    let kind = card.as_ref().map_or(Kind::Video, |card| card.kind);
    Order { kind, model: model.to_owned(), card, ..contract::order(fal, Kind::Video) }
}

fn ticket(job: &str) -> Ticket {
    Ticket { account: "a".to_owned(), job: job.to_owned(), data: json!({ "kind": "video", "app": APP }) }
}

fn fixture(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fal").join(format!("{name}.json"));
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}
