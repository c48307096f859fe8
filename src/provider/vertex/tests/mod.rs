//! The adapter against recorded answers, and against a scripted server on this machine.

mod cards;
mod golden;
mod jobs;
mod orders;
mod tokens;

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use super::{VENDOR, VERTEX, Vertex, setup};
use crate::{
    domain::artifact::Kind,
    provider::{
        contract, id_of,
        port::{Order, Ticket},
        tests::server::{Asked, Reply},
        values::{self, Values},
        vendor::Build,
    },
};

pub(super) const REFRESH_TOKEN: &str = "1//very-secret-refresh-token";
pub(super) const FAST: &str = "veo-3.1-fast-generate-001";
pub(super) const OPERATION: &str =
    "projects/p1/locations/us-central1/publishers/google/models/veo-3.1-generate-001/operations/op1";

/// A person's credentials whose tokens come from this server.
fn person(base: &Url) -> Value {
    json!({
        "type": "authorized_user", "client_id": "c1", "client_secret": "s1", "refresh_token": REFRESH_TOKEN,
        "token_uri": base.join("/token").unwrap(), "quota_project_id": "q1",
    })
}

/// What it is built from at this server, with further settings.
fn build(base: &Url, credentials: &str, more: &[(&'static str, &str)]) -> Build {
    let mut values = Values::default();
    values.insert("project", values::Value::Text("p1".to_owned()));
    values.insert("base_url", values::Value::Url(base.clone()));
    values.insert("storage_api", values::Value::Url(base.join("/").unwrap()));
    values.insert("service_account_key", values::Value::Secret(SecretString::from(credentials)));
    for (key, value) in more {
        values.insert(key, values::Value::Text((*value).to_owned()));
    }
    Build {
        id: id_of(VERTEX).unwrap(),
        account: String::new(),
        values,
        cards: VENDOR.all_cards(Vec::new()).unwrap(),
        chat_cards: Vec::new(),
        timeout: Duration::from_secs(30),
        download_timeout: Duration::from_secs(30),
        home: None,
    }
}

fn vertex(base: &Url) -> Vertex {
    vertex_with(base, &[])
}

fn vertex_with(base: &Url, more: &[(&'static str, &str)]) -> Vertex {
    setup::vertex(build(base, &person(base).to_string(), more)).unwrap().unwrap()
}

/// The answer to a request for a token.
fn token(asked: &Asked) -> Option<Reply> {
    let granted = json!({ "access_token": "ya29.very-secret", "expires_in": 3599, "token_type": "Bearer" });
    (asked.line == "POST /token").then(|| Reply::json(200, &granted))
}

fn order(vertex: &Vertex, model: &str) -> Order {
    let card = vertex.cards.iter().find(|card| card.name == model).map(Arc::clone);
    Order { model: model.to_owned(), card, ..contract::order(vertex, Kind::Video) }
}

fn ticket(data: Value) -> Ticket {
    Ticket { account: "a".to_owned(), job: OPERATION.to_owned(), data }
}
