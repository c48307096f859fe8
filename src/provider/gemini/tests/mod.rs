//! The adapter against recorded answers, and against a scripted server on this machine.

mod cards;
mod golden;
mod jobs;
mod orders;

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use super::{GEMINI, Gemini, VENDOR, gemini};
use crate::{
    domain::artifact::Kind,
    provider::{
        contract, id_of,
        port::{Order, Ticket},
        values::{self, Values},
        vendor::Build,
    },
};

const KEY: &str = "AIza-very-secret-key";
const OMNI: &str = "gemini-omni-1.1-flash";
const IMAGE: &str = "gemini-3.1-flash-image";
const VEO: &str = "veo-3.1-generate-preview";

fn adapter(base: &Url) -> Gemini {
    let mut values = Values::default();
    values.insert("api_key", values::Value::Secret(SecretString::from(KEY)));
    values.insert("base_url", values::Value::Url(base.clone()));
    values.insert("api_revision", values::Value::Text("2026-05-20".to_owned()));
    let build = Build {
        id: id_of(GEMINI).unwrap(),
        account: "0123456789abcdef".to_owned(),
        values,
        cards: VENDOR.all_cards(Vec::new()).unwrap(),
        chat_cards: Vec::new(),
        timeout: Duration::from_secs(30),
        download_timeout: Duration::from_secs(30),
        home: None,
    };
    gemini(build).unwrap().unwrap()
}

fn order(gemini: &Gemini, model: &str) -> Order {
    let card = gemini.cards.iter().find(|card| card.name == model).map(Arc::clone);
    let kind = card.as_ref().map_or(Kind::Image, |card| card.kind);
    Order { kind, model: model.to_owned(), card, ..contract::order(gemini, Kind::Image) }
}

fn ticket(data: Value) -> Ticket {
    Ticket { account: "a".to_owned(), job: "v1_abc".to_owned(), data }
}

#[expect(clippy::needless_pass_by_value, reason = "a test's literal")]
fn interaction(status: &str, content: Value) -> Value {
    json!({ "id": "v1_abc", "object": "interaction", "status": status,
        "steps": [{ "type": "user_input" }, { "type": "model_output", "content": content }] })
}
