//! The adapter against recorded answers, and against a scripted server on this machine.

mod calls;
mod cards;
mod chat;
mod files;
mod golden;
mod inline;
mod settings;

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use super::{AGGREGATOR, OPENAI, OpenAi, OpenAiSettings, VENDOR, Writing};
use crate::{
    domain::artifact::Kind,
    provider::{
        contract, id_of,
        keys::account_of,
        port::{Order, Ticket},
        tests::server::{Asked, Reply, Server},
    },
};

const KEY: &str = "sk-very-secret-key";
const JOB: &str = "video_0a1b2c3d4e5f60718293a4b5c6d7e8f9";

fn settings(base: &Url) -> OpenAiSettings {
    let key = SecretString::from(KEY);
    let mut cards = VENDOR.all_cards(Vec::new()).unwrap();
    cards.extend(AGGREGATOR.all_cards(Vec::new()).unwrap().into_iter().filter(|card| card.name == "veo3"));
    OpenAiSettings {
        id: id_of(OPENAI).unwrap(),
        account: account_of(&key),
        key,
        base: base.clone(),
        payer: Vec::new(),
        writing: Writing::Multipart,
        timeout: Duration::from_secs(30),
        download_timeout: Duration::from_secs(30),
        cards,
        token_limit: None,
        chat_cards: VENDOR.all_chat_cards(Vec::new()).unwrap(),
    }
}

fn openai(base: &Url) -> OpenAi {
    OpenAi::new(settings(base)).unwrap()
}

fn order(openai: &OpenAi, model: &str) -> Order {
    let card = openai.cards.iter().find(|card| card.name == model).cloned();
    let kind = card.as_ref().map_or(Kind::Video, |card| card.kind);
    Order { kind, model: model.to_owned(), card, ..contract::order(openai, kind) }
}

fn ticket() -> Ticket {
    Ticket { account: "a".to_owned(), job: JOB.to_owned(), data: json!({ "kind": "video" }) }
}

fn video(status: &str) -> Value {
    json!({
        "id": JOB, "object": "video", "model": "sora-2", "status": status, "progress": 0, "created_at": 1_700_000_000,
        "completed_at": null, "expires_at": null, "prompt": "a fox in the snow", "seconds": "4", "size": "720x1280",
        "remixed_from_video_id": null, "error": null,
    })
}

/// The parts of a form as text: each one's headers and content.
fn form(asked: &Asked) -> Vec<String> {
    let boundary = asked.content_type.split_once("boundary=").unwrap().1.to_owned();
    let text = String::from_utf8_lossy(&asked.body).into_owned();
    let boundary = format!("--{boundary}");
    let parts = text.split(&boundary).skip(1).filter(|part| !part.starts_with("--"));
    parts.map(|part| part.trim().replace("\r\n", "\n")).collect()
}

/// The part of this name.
fn part(asked: &Asked, name: &str) -> Option<String> {
    let wanted = format!("name=\"{name}\"");
    form(asked).into_iter().find(|part| part.lines().next().unwrap_or_default().contains(&wanted))
}

/// The content of the text part of this name.
fn text(asked: &Asked, name: &str) -> Option<String> {
    part(asked, name)?.split_once("\n\n").map(|(_, content)| content.to_owned())
}
