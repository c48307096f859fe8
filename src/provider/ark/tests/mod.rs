//! The adapter against recorded answers, and against a scripted server on this machine.

mod calls;
mod cards;
mod golden;

use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use super::{ARK, Ark, VENDOR};
use crate::provider::{
    id_of,
    keys::account_of,
    port::Ticket,
    vendor::{Build, Values},
};

const KEY: &str = "ark-very-secret-key";
const JOB: &str = "cgt-20260514101521-nk5ct";
const FILM: &str = "doubao-seedance-1-5-pro-251215";
const PICTURE: &str = "doubao-seedream-4-0-250828";

fn ark(base: &Url) -> Ark {
    let key = SecretString::from(KEY);
    let build = Build {
        id: id_of(ARK).unwrap(),
        account: account_of(&key),
        values: Values::default(),
        cards: VENDOR.all_cards(Vec::new()).unwrap(),
        chat_cards: Vec::new(),
        timeout: Duration::from_secs(30),
        download_timeout: Duration::from_secs(30),
        home: None,
    };
    Ark::new(build, key, base.clone()).unwrap()
}

fn ticket() -> Ticket {
    Ticket { account: "a".to_owned(), job: JOB.to_owned(), data: Value::Null }
}

fn fixture(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ark").join(format!("{name}.json"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
