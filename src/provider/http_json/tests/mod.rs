//! The adapter as its own documentation describes vendors, against a scripted server on this machine.

mod calls;
mod golden;
mod settings;

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use url::Url;

use super::{HttpJson, VENDOR};
use crate::{
    domain::{card::ModelCard, names::ProviderId},
    provider::{
        error::SetupError,
        http::inputs::Inputs,
        port::{CancelOutcome, Found, Order, Provider, Submitted, Ticket},
        vendor::{Build, Shape, Value, Values},
    },
};

const KEY: &str = "a very secret key";

/// The settings that the documentation shows, by the provider's name.
fn documented(name: &str) -> toml::Table {
    let text = include_str!("../README.md");
    let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut tables = blocks.map(|block| toml::from_str::<toml::Table>(block).unwrap());
    tables.find(|table| table["providers"].get(name).is_some()).unwrap()
}

/// A provider of a file's table and cards, with this base address.
fn build(name: &str, file: &toml::Table, base: &Url) -> Result<Option<HttpJson>, SetupError> {
    let table = file["providers"][name].as_table().unwrap();
    let mut values = Values::default();
    values.insert("base_url", Value::Url(base.clone()));
    for setting in VENDOR.settings {
        match (setting.shape, table.get(setting.key)) {
            (Shape::Nested, Some(value)) => values.insert(setting.key, Value::Nested(value.clone())),
            (Shape::Secrets, Some(_)) => values.insert(setting.key, Value::Secret(SecretString::from(KEY))),
            _ => {}
        }
    }
    let cards = file.get("models").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let card = |card: toml::Value| {
        let mut card = card.as_table().unwrap().clone();
        card.remove("provider");
        Arc::new(card.try_into::<ModelCard>().unwrap())
    };
    HttpJson::of(Build {
        id: ProviderId::from_id(name).unwrap(),
        account: values.secret("api_key").map(crate::provider::keys::account_of).unwrap_or_default(),
        values,
        cards: cards.into_iter().map(card).collect(),
        chat_cards: Vec::new(),
        timeout: Duration::from_secs(30),
        download_timeout: Duration::from_secs(30),
        home: None,
    })
}

fn provider(name: &str, base: &Url) -> HttpJson {
    with(name, base, |_| {})
}

/// As documented, with changes.
fn with(name: &str, base: &Url, change: impl Fn(&mut toml::Table)) -> HttpJson {
    let mut file = documented(name);
    change(file["providers"][name].as_table_mut().unwrap());
    let built = build(name, &file, base).unwrap().unwrap();
    HttpJson { inputs: Inputs::admitting(&built.id, "127.0.0.1"), ..built }
}
