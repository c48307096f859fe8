//! The adapter against recorded answers, and against a scripted server on this machine.

mod calls;
mod cards;
mod faults;
mod golden;
mod links;
mod webhooks;

use crate::provider::tests::server;

use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use super::{REPLICATE, Replicate, ReplicateSettings, VENDOR};
use crate::{
    domain::artifact::Kind,
    provider::{
        contract, id_of,
        port::{Order, Ticket},
    },
};

const TOKEN: &str = "r8_very_secret_token";
const JOB: &str = "abcdefghijklmnopqrstuvwxyz";

fn replicate(base: &Url) -> Replicate {
    replicate_with(base, Duration::from_secs(30), Duration::from_secs(30))
}

fn replicate_with(base: &Url, timeout: Duration, download_timeout: Duration) -> Replicate {
    let api_token = SecretString::from(TOKEN);
    Replicate::new(ReplicateSettings {
        api_token,
        webhook_secret: None,
        base_url: base.clone(),
        timeout,
        download_timeout,
        id: id_of(REPLICATE).unwrap(),
        cards: VENDOR.all_cards(Vec::new()).unwrap(),
    })
    .unwrap()
}

fn order(replicate: &Replicate, model: &str) -> Order {
    let card = replicate.cards.iter().find(|card| card.name == model).cloned();
    Order { model: model.to_owned(), card, ..contract::order(replicate, Kind::Video) }
}

fn ticket() -> Ticket {
    Ticket { account: "a".to_owned(), job: JOB.to_owned(), data: Value::Null }
}

fn fixture(name: &str) -> Vec<u8> {
    let file = if name.contains('.') { name.to_owned() } else { format!("{name}.json") };
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/replicate").join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
