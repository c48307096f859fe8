//! A vendor that only these tests have: what its descriptor declares is all that settings need.

use std::sync::Arc;

use super::*;
use crate::provider::{
    error::SetupError,
    replicate::{Replicate, ReplicateSettings},
    vendor::{Build, Built, Setting, Shape, Value, Vendor},
};

pub(in crate::config) const MADE_UP: [&Vendor; 2] = [&ACME, &TEMPLATE];

const ACME: Vendor = Vendor {
    id: "acme-films",
    title: "Acme",
    settings: &[
        Setting::new("keys", Shape::Secrets, "KEY,...", "Keys of {}").env(&["ACME_KEYS", "ACME_KEY"]),
        Setting::new("upscale", Shape::Flag, "BOOL", "Whether {} makes it larger"),
        Setting::new("region", Shape::Form("eu or us", |text| ["eu", "us"].contains(&text)), "REGION", "Where")
            .or("eu"),
        Setting::new("credentials", Shape::Path, "FILE", "A file").env(&["ACME_CREDENTIALS"]),
        Setting::new("submit", Shape::Nested, "TABLE", "How a job is handed over"),
        Setting::TIMEOUT.or("5m"),
    ],
    how_to_configure: "set ACME_KEYS",
    cards: "[[model]]\nname = \"film\"\nkind = \"video\"\ntitle = \"Film\"\n[[model]]\nname = \"still\"\nkind = \"image\"\ntitle = \"Still\"\n",
    usual: &["film", "still"],
    is_template: false,
    calls_https_only: false,
    build,
};

const TEMPLATE: Vendor = Vendor { id: "acme-http", title: "Any", cards: "", usual: &[], is_template: true, ..ACME };

fn build(build: Build) -> Built {
    let Some(key) = build.values.secret("keys") else { return Ok(None) };
    let base_url = build.values.url("base_url").cloned();
    let adapter = Replicate::new(ReplicateSettings {
        api_token: key.clone(),
        webhook_secret: None,
        base_url: base_url.ok_or_else(|| SetupError::new(&build.id, "base_url is not set"))?,
        timeout: build.timeout,
        download_timeout: build.download_timeout,
        id: build.id,
        cards: build.cards,
    })?;
    Ok(Some(Arc::new(adapter)))
}

/// The keys of a vendor.
pub(super) fn keys(config: &Config, id: &str) -> Vec<String> {
    let values = config.vendor(id).unwrap().values.iter();
    let keys = values.filter_map(|(_, value)| match value {
        Value::Secrets(keys) => Some(keys.iter().map(|key| key.expose_secret().to_owned()).collect()),
        _ => None,
    });
    keys.flat_map(|keys: Vec<String>| keys).collect()
}

#[test]
fn a_vendor_has_flags_variables_and_a_table_by_its_descriptor_alone() {
    let file =
        "[acme-films]\nmodel = \"file\"\nconcurrency = 1\nrate = 2\nupscale = true\nbase_url = \"http://a.example\"";
    let case = case().file(file).env("FILMGATE_ACME_FILMS_MODEL", "variable").env("FILMGATE_ACME_FILMS_RATE", "3");
    let config = case.env("ACME_CREDENTIALS", "/c.json").flag("--acme-films-rate=4").config();
    let values = &config.vendor("acme-films").unwrap().values;
    assert_eq!(
        (values.text("model"), values.count("concurrency"), values.count("rate")),
        (Some("variable"), Some(1), Some(4))
    );
    assert_eq!((values.text("region"), values.time("timeout")), (Some("eu"), Some(Duration::from_mins(5))));
    assert_eq!(values.url("base_url").unwrap().host_str(), Some("a.example"));
    assert_eq!(values.path("credentials"), Some(Path::new("/c.json")));
    assert!(values.flag("upscale") && config.warnings.is_empty(), "{:?}", config.warnings);
    // A getter of another shape finds nothing.
    assert_eq!((values.count("region"), values.text("keys")), (None, None));
}

#[test]
fn several_keys_are_read_from_one_value_and_never_shown() {
    let config = case().env("ACME_KEY", &format!(" {TOKEN}_1, {TOKEN}_2,")).config();
    assert_eq!(keys(&config, "acme-films"), [format!("{TOKEN}_1"), format!("{TOKEN}_2")]);
    assert!(!format!("{config:?}").contains(TOKEN));
    let values = config.vendor("acme-films").unwrap().values.clone().one_key_each();
    let each: Vec<_> = values.iter().map(|values| values.secret("keys").unwrap().expose_secret()).collect();
    assert_eq!(each, [format!("{TOKEN}_1"), format!("{TOKEN}_2")]);
    for wrong in [format!("{TOKEN},{TOKEN} x"), ",".to_owned()] {
        let problems = case().env("ACME_KEYS", &wrong).problems();
        assert!(problems[0].starts_with("acme-films.keys (--acme-films-keys, ACME_KEYS, ACME_KEY): holds a blank"));
        assert!(problems.len() == 1 && !problems[0].contains(TOKEN), "{problems:?}");
    }
}

#[test]
fn what_is_wrong_with_a_vendor_is_told_with_its_names_and_what_is_allowed() {
    let wrong = case().env("FILMGATE_ACME_FILMS_REGION", "moon").env("FILMGATE_ACME_FILMS_UPSCALE", "2");
    let problems = wrong.env("FILMGATE_ACME_FILMS_TIMEOUT", "0s").problems().join("\n");
    for expected in [
        "acme-films.region (--acme-films-region, FILMGATE_ACME_FILMS_REGION): is \"moon\" but must be eu or us",
        "acme-films.upscale (--acme-films-upscale, FILMGATE_ACME_FILMS_UPSCALE): is \"2\" but must be true or false",
        "acme-films.timeout (--acme-films-timeout, FILMGATE_ACME_FILMS_TIMEOUT): is \"0s\" but must be a time above zero",
    ] {
        assert!(problems.contains(expected), "{problems}");
    }
    for (file, expected) in [
        (
            "[acme-films]\nmodel = \"a\"\nregoin = \"eu\"",
            "line 3: unknown field `regoin`, expected one of `keys`, `upscale`",
        ),
        ("\n[acme-film]\nmodel = \"a\"", "line 2: unknown field `acme-film`"),
        ("[acme-film]", "`acme-films`, `providers`"),
        ("[acme-http]", "unknown field `acme-http`"),
        ("acme-films = 3", "line 1: invalid type: integer, expected a table"),
        ("[acme-films]\nrate = [1]", "line 2: invalid type"),
        ("[acme-films]\nkeys = 12", "line 2: invalid type"),
        ("[providers.mine]\nkeys = \"a\"", "line 1: missing field `adapter`, expected one of `replicate`"),
        ("[providers.mine]\nadapter = \"nobody\"", "line 2: unknown adapter, expected one of `replicate`"),
        ("[providers.mine]\nadapter = \"acme-http\"\nx = 1", "line 3: unknown field `x`"),
        ("[providers.replicate]\nadapter = \"replicate\"", "providers.replicate: must be a name"),
        ("[providers.sample]\nadapter = \"replicate\"", "providers.sample: must be a name"),
        ("[providers.Mine]\nadapter = \"replicate\"", "providers.Mine: must be a name"),
        ("[providers.mine]\nadapter = \"acme-http\"\nrate = 0", "providers.mine.rate: is \"0\" but must be"),
    ] {
        let problems = case().file(file).problems();
        assert!(problems.len() == 1 && problems[0].contains(expected), "{file}: {problems:?}");
    }
}

#[test]
fn an_adapter_may_be_there_several_times_under_names_of_the_users_own() {
    let file = "[providers.mine]\nadapter = \"acme-films\"\nkeys = \"not_to_be_seen\"\nregion = \"us\"\n\
                [providers.other]\nadapter = \"acme-http\"\nsubmit = { path = \"/jobs\", key = \"not_to_be_seen\" }";
    let case = case().file(file).env("ACME_KEYS", "usual").env("FILMGATE_ACME_FILMS_REGION", "eu");
    let config = case.config();
    let ids: Vec<&str> = config.vendors.iter().map(|vendor| vendor.id.as_str()).collect();
    assert_eq!(ids[ids.len() - 3..], ["acme-films", "mine", "other"], "after the vendors of the build");
    assert_eq!(
        (keys(&config, "acme-films"), keys(&config, "mine")),
        (vec!["usual".to_owned()], vec!["not_to_be_seen".to_owned()])
    );
    assert_eq!(config.vendor("mine").unwrap().values.text("region"), Some("us"));
    let other = &config.vendor("other").unwrap().values;
    assert_eq!(other.nested("submit").unwrap()["path"].as_str(), Some("/jobs"));
    assert!(other.parsed::<BTreeMap<String, String>>("submit").unwrap().unwrap().contains_key("key"));
    let error = other.parsed::<Vec<String>>("submit").unwrap_err().to_string();
    assert!(error.contains("submit") && !error.contains("seen"), "{error}");
    let settings = Settings::load_file(&case.folder.path().join("filmgate.toml")).unwrap();
    assert!(!format!("{config:?} {settings:?}").contains("not_to_be_seen"));
}
