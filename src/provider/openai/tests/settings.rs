use super::*;
use crate::{
    domain::card::ModelCard,
    provider::{
        port::Provider,
        vendor::{Build, Value as Set, Values},
    },
};

fn build(key: Option<&str>, base: &str) -> Option<std::sync::Arc<dyn Provider>> {
    let mut values = Values::default();
    values.insert("base_url", Set::Url(base.parse().unwrap()));
    if let Some(key) = key {
        values.insert("api_key", Set::Secret(SecretString::from(key)));
    }
    let build = Build {
        id: id_of("mine").unwrap(),
        account: String::new(),
        values,
        cards: VENDOR.all_cards(Vec::new()).unwrap(),
        chat_cards: Vec::new(),
        timeout: Duration::from_secs(1),
        download_timeout: Duration::from_secs(1),
        home: None,
    };
    (VENDOR.build)(build).unwrap()
}

#[tokio::test]
async fn openai_needs_a_key_and_a_server_of_ones_own_does_not() {
    assert!(build(None, "https://api.openai.com/v1").is_none());
    assert!(build(None, "https://api.openai.com/v1/").is_none());
    let own = build(None, "http://127.0.0.1:8091/v1").unwrap();
    assert_eq!(own.id().id(), "mine");
    assert!(own.ready(Kind::Image).is_ok() && own.ready(Kind::Music).is_err());
    assert!(build(Some("sk-1"), "https://api.openai.com/v1").is_some());
}

#[tokio::test]
async fn a_card_with_another_form_of_body_is_a_slip() {
    let base: Url = "http://127.0.0.1:1/v1".parse().unwrap();
    let card: ModelCard = toml::from_str("name = \"x\"\nkind = \"video\"\nadapter = { body = \"xml\" }").unwrap();
    let error = OpenAi::new(OpenAiSettings { cards: vec![card.into()], ..settings(&base) }).unwrap_err();
    assert!(error.to_string().contains("multipart, json or mixed"), "{error}");
}
