//! The adapter against recorded answers, against a scripted server, and its small machine of steps.

mod calls;
mod golden;
mod steps;

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::{MIDJOURNEY, Midjourney, VENDOR};
use crate::{
    domain::artifact::Kind,
    provider::{
        contract, id_of,
        port::{Order, Ticket},
        vendor::{Build, Value, Values},
    },
};

const SECRET: &str = "mj-very-secret";
const JOB: &str = "1788500000000123";

fn midjourney(base: &Url) -> Midjourney {
    let mut values = Values::default();
    values.insert("api_secret", Value::Secret(SecretString::from(SECRET)));
    let build = Build {
        id: id_of(MIDJOURNEY).unwrap(),
        account: String::new(),
        values,
        cards: VENDOR.all_cards(Vec::new()).unwrap(),
        chat_cards: Vec::new(),
        timeout: Duration::from_secs(30),
        download_timeout: Duration::from_secs(30),
        home: None,
    };
    Midjourney::new(build, base.clone()).unwrap()
}

fn order(midjourney: &Midjourney, model: &str) -> Order {
    let card = midjourney.cards.iter().find(|card| card.name == model).cloned().unwrap();
    let prompt = if card.prompt.max == 0 { String::new() } else { "a fox in the snow".to_owned() };
    let kind = card.kind;
    Order { model: model.to_owned(), kind, card: Some(card), prompt, ..contract::order(midjourney, Kind::Image) }
}

fn ticket() -> Ticket {
    Ticket { account: "open".to_owned(), job: JOB.to_owned(), data: serde_json::Value::Null }
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/midjourney");
    let path = folder.join(format!("{name}.json"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
