//! From settings to providers, with the vendor that only tests have beside Replicate.

use std::fs;

use super::*;
use crate::config::{Settings, Surroundings};

fn config(file: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("filmgate.toml"), file).unwrap();
    let surroundings = Surroundings {
        folder: folder.path().to_path_buf(),
        data_home: Some(folder.path().to_path_buf()),
        ..Surroundings::default()
    };
    Config::resolve_in(Settings::default(), &surroundings).unwrap()
}

fn made(file: &str) -> (Registry, Catalog) {
    let (parts, problems) = providers(&config(file));
    assert!(problems.is_empty(), "{problems:?}");
    parts.unwrap()
}

fn id(text: &str) -> ProviderId {
    ProviderId::from_id(text).unwrap()
}

const KEYED: &str = "[acme-films]\nkeys = \"one, two\"\nbase_url = \"https://acme.example\"\n";

#[tokio::test]
async fn vendors_without_a_key_are_listed_with_what_to_set() {
    let (registry, catalog) = made("");
    assert_eq!(registry.configured().count(), 1);
    assert_eq!(catalog.providers[&id("acme-films")].missing.as_deref(), Some("set ACME_KEYS"));
    assert!(catalog.providers[&id("replicate")].missing.as_deref().unwrap().contains("REPLICATE_API_TOKEN"));
    assert_eq!(catalog.defaults[&Kind::Video].to_string(), "sample/video");
    assert!(!catalog.providers.contains_key(&id("acme-http")), "what is no provider by itself is not listed");
}

#[tokio::test]
async fn a_vendor_with_its_keys_serves_its_usual_models() {
    let (registry, catalog) = made(KEYED);
    assert!(registry.get(&id("acme-films")).is_some());
    assert_eq!(catalog.defaults[&Kind::Video].to_string(), "acme-films/film");
    assert_eq!(catalog.defaults[&Kind::Image].to_string(), "acme-films/still");
    let (_, catalog) = made(&format!("{KEYED}model = \"own\"\n[replicate]\napi_token = \"x\""));
    assert_eq!(catalog.defaults[&Kind::Video].to_string(), "replicate/minimax/video-01", "by the registry's order");
    assert_eq!(configured(&config(KEYED)), ["acme-films"]);
}

#[tokio::test]
async fn each_instance_of_an_adapter_is_a_provider_with_its_own_cards() {
    let cards = "[[models]]\nprovider = \"mine\"\nname = \"film\"\nkind = \"video\"\ntitle = \"Mine\"\n";
    let table = "[providers.mine]\nadapter = \"acme-films\"\nkeys = \"k\"\nbase_url = \"https://mine.example\"\n";
    let (registry, catalog) = made(&format!("{KEYED}{table}{cards}"));
    assert_eq!(registry.get(&id("mine")).unwrap().id(), &id("mine"));
    let title = |provider: &str| {
        let cards = &catalog.providers[&id(provider)].cards;
        assert_eq!(cards.len(), 2, "an own card takes the place of the one with its name");
        cards.iter().find(|card| card.name == "film").unwrap().title.clone()
    };
    assert_eq!((title("mine"), title("acme-films")), ("Mine".to_owned(), "Film".to_owned()));
}

#[tokio::test]
async fn cards_of_nobody_and_adapters_that_cannot_be_built_are_told() {
    let told = |file: &str| providers(&config(file)).1.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let nobody = told("[[models]]\nprovider = \"nobody\"\nname = \"x\"\nkind = \"video\"");
    assert!(
        nobody.contains("models[0]") && nobody.contains("allowed: replicate, ") && nobody.contains(", acme-films"),
        "{nobody}"
    );
    let unbuilt = told("[acme-films]\nkeys = \"k\"\n[providers.mine]\nadapter = \"acme-http\"\nkeys = \"k\"");
    assert!(unbuilt.contains("acme-films: ") && unbuilt.contains("[providers.mine]"), "every one of them: {unbuilt}");
}
