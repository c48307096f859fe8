//! The adapter as its own documentation describes vendors, against a scripted server on this machine.

mod calls;
mod golden;
mod settings;

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use url::Url;

use super::{Provider, VENDOR};
use crate::{
    domain::{card::ModelCard, names::ProviderId},
    provider::{
        error::SetupError,
        port::{ByteSource, CancelOutcome, Found, Order, Progress, RemoteOutput, Submitted, Ticket},
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
fn build(name: &str, file: &toml::Table, base: &Url) -> Result<Option<Arc<dyn Provider>>, SetupError> {
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
    (VENDOR.build)(Build {
        id: ProviderId::from_id(name).unwrap(),
        account: values.secret("api_key").map(crate::provider::keys::account_of).unwrap_or_default(),
        values,
        cards: cards.into_iter().map(card).collect(),
        timeout: Duration::from_secs(30),
        download_timeout: Duration::from_secs(30),
        home: None,
    })
}

/// An adapter that can be handed to the suites, which want a type.
#[derive(Debug)]
struct Built(Arc<dyn Provider>);

fn provider(name: &str, base: &Url) -> Built {
    with(name, base, |_| {})
}

/// As documented, with changes.
fn with(name: &str, base: &Url, change: impl Fn(&mut toml::Table)) -> Built {
    let mut file = documented(name);
    change(file["providers"][name].as_table_mut().unwrap());
    Built(build(name, &file, base).unwrap().unwrap())
}

#[async_trait::async_trait]
impl Provider for Built {
    fn id(&self) -> &ProviderId {
        self.0.id()
    }
    fn models(&self) -> &[Arc<ModelCard>] {
        self.0.models()
    }
    fn serves_undescribed(&self) -> bool {
        self.0.serves_undescribed()
    }
    async fn submit(&self, order: &Order, key: &super::SubmitKey) -> Result<Submitted, super::ProviderError> {
        self.0.submit(order, key).await
    }
    async fn find(
        &self,
        order: &Order,
        key: &super::SubmitKey,
        sent_at: jiff::Timestamp,
    ) -> Result<Found, super::ProviderError> {
        self.0.find(order, key, sent_at).await
    }
    async fn poll(&self, ticket: &Ticket) -> Result<Progress, super::ProviderError> {
        self.0.poll(ticket).await
    }
    async fn cancel(&self, ticket: &Ticket) -> Result<CancelOutcome, super::ProviderError> {
        self.0.cancel(ticket).await
    }
    async fn open(&self, output: &RemoteOutput, ticket: Option<&Ticket>) -> Result<ByteSource, super::ProviderError> {
        self.0.open(output, ticket).await
    }
}
