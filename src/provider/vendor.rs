//! What a vendor's folder says about itself: its settings, its cards, and how its adapter is built from them.
//!
//! Invariant: whoever reads settings, writes their documentation or puts providers together goes through [`VENDORS`], so
//! that a vendor is one folder and one line here. Nothing else in the house knows a vendor by name.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use serde::Deserialize;

use crate::domain::{card::ModelCard, catalog::SAMPLE, chat::ChatCard, names::ProviderId};

use super::{
    ark, comfyui, error::SetupError, fal, gemini, http_json, midjourney, openai, port::Provider, replicate, vertex,
};

pub use super::values::{Value, Values};

/// Every vendor of this build, in the order in which the model of a request that names none is looked for.
pub const VENDORS: &[&Vendor] = &[
    &replicate::VENDOR,
    &fal::VENDOR,
    &openai::VENDOR,
    &openai::AGGREGATOR,
    &vertex::VENDOR,
    &gemini::VENDOR,
    &ark::VENDOR,
    &midjourney::VENDOR,
    &comfyui::VENDOR,
    &http_json::VENDOR,
];

/// A vendor, as its folder describes it.
pub struct Vendor {
    /// Its id, and the name of its table in the file of settings: a-z, 0-9 and `-`.
    pub id: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// Its settings. Those that every vendor has ([`Setting::COMMON`]) come without being named; one that is named here takes
    /// the place of the common one, for example to give it a default.
    pub settings: &'static [Setting],
    /// What to set to configure it.
    pub how_to_configure: &'static str,
    /// Its cards in TOML: `[[model]]`, and `[[chat]]` of language models, of which the first is its usual one.
    pub cards: &'static str,
    /// Its models for a request that names none, after the one of the setting `model`, best first; one or none for each kind.
    pub usual: &'static [&'static str],
    /// True if it serves nobody by itself, and only as an adapter of `[providers.NAME]`: it has no flags, variables or table.
    pub is_template: bool,
    /// True if it calls back at https addresses only, which is warned of when ours is another.
    pub calls_https_only: bool,
    /// The adapter, or nothing if what it needs is not set. Calls nobody. Is asked once for each key of a [`Shape::Secrets`].
    pub build: fn(Build) -> Built,
}

/// One setting of a vendor.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its key in the vendor's table: a-z and `_`.
    pub key: &'static str,
    /// Its environment variables, the first one wins. None stands for `FILMGATE_{ID}_{KEY}`.
    pub env: &'static [&'static str],
    /// What its value is in one word, for `--help`.
    pub value_name: &'static str,
    /// One sentence; `{}` stands for the vendor's title. The default is added to it.
    pub help: &'static str,
    /// Its default, as it would be written.
    pub default: Option<&'static str>,
    /// What its value must look like.
    pub shape: Shape,
}

/// What the value of a setting must look like.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A key: visible ASCII, never shown.
    Secret,
    /// Keys with commas between, never shown; the adapter is built once for each. One setting of a vendor at most.
    Secrets,
    /// What webhooks are signed with: `whsec_` and base64, never shown.
    WebhookSecret,
    /// Any text that is never shown, judged by the adapter: credentials that are a whole document.
    Credentials,
    /// An http or https address without credentials, query and fragment.
    Url,
    /// Any text.
    Text,
    /// A text of a form in words, and whether a text has it.
    Form(&'static str, fn(&str) -> bool),
    /// A whole number of at least 1.
    Count,
    /// A time above zero.
    Time,
    /// A file or folder, judged by the adapter.
    Path,
    /// `true` or `false`.
    Flag,
    /// Whatever TOML holds, judged by the adapter. In the file only: it has no flag and no variable.
    Nested,
}

impl Shape {
    /// Whether a value is a key of the vendor's account.
    pub fn is_key(self) -> bool {
        matches!(self, Self::Secret | Self::Secrets)
    }

    /// Whether a value is never shown.
    pub fn is_secret(self) -> bool {
        self.is_key() || matches!(self, Self::WebhookSecret | Self::Credentials)
    }
}

impl Setting {
    /// Where the API is.
    pub const BASE_URL: Self = Self::new("base_url", Shape::Url, "URL", "Where {}'s API is");
    /// The model of a request that names none.
    pub const MODEL: Self = Self::new(
        "model",
        Shape::Form("a model's name in visible characters without blanks", is_model),
        "NAME",
        "{}'s model for a request that names none",
    );
    /// Jobs in flight.
    pub const CONCURRENCY: Self =
        Self::new("concurrency", Shape::Count, "COUNT", "Jobs in flight at {}, in place of `concurrency`");
    /// Submits a minute.
    pub const RATE: Self = Self::new("rate", Shape::Count, "COUNT", "Jobs handed to {} in one minute at most");
    /// Longest time of one call.
    pub const TIMEOUT: Self = Self::new(
        "timeout",
        Shape::Time,
        "TIME",
        "Longest time of one call of {}'s API, in place of `provider_timeout`",
    );
    /// What every vendor has.
    pub const COMMON: [Self; 5] = [Self::BASE_URL, Self::MODEL, Self::CONCURRENCY, Self::RATE, Self::TIMEOUT];

    /// A setting without a default, whose variable is named after its key.
    pub const fn new(key: &'static str, shape: Shape, value_name: &'static str, help: &'static str) -> Self {
        Self { key, env: &[], value_name, help, default: None, shape }
    }

    /// With a default.
    #[must_use]
    pub const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// With environment variables of its own, the first one wins.
    #[must_use]
    pub const fn env(self, env: &'static [&'static str]) -> Self {
        Self { env, ..self }
    }
}

/// An adapter, or nothing if what it needs is not set.
pub type Built = Result<Option<Arc<dyn Provider>>, SetupError>;

/// What an adapter is built from.
#[derive(Debug)]
pub struct Build {
    /// Its id: the vendor's, or the name that the user gave this instance. Errors and `Provider::id` say this one.
    pub id: ProviderId,
    /// The fingerprint of the key it is built with, for its tickets; empty without a key.
    pub account: String,
    /// The settings, of the right shape.
    pub values: Values,
    /// All its cards, the user's among them.
    pub cards: Vec<Arc<ModelCard>>,
    /// All cards of its language models, the user's among them.
    pub chat_cards: Vec<Arc<ChatCard>>,
    /// Longest time of one call.
    pub timeout: Duration,
    /// Longest silence of a download, and longest time of an upload.
    pub download_timeout: Duration,
    /// The user's home, where some vendors' own tools leave credentials.
    pub home: Option<PathBuf>,
}

impl Vendor {
    /// The settings in order: its own, then the common ones it does not name.
    pub fn all_settings(&self) -> impl Iterator<Item = Setting> + '_ {
        let is_own = |key| self.settings.iter().any(|own| own.key == key);
        let common = Setting::COMMON.into_iter().filter(move |common| !is_own(common.key));
        self.settings.iter().copied().chain(common)
    }

    /// One of its settings.
    pub fn setting(&self, key: &str) -> Option<Setting> {
        self.all_settings().find(|setting| setting.key == key)
    }

    /// The environment variables of one of its settings.
    pub fn env(&self, setting: &Setting) -> Vec<String> {
        if setting.env.is_empty() {
            let name = format!("FILMGATE_{}_{}", self.id, setting.key);
            return vec![name.to_ascii_uppercase().replace('-', "_")];
        }
        setting.env.iter().map(|&name| name.to_owned()).collect()
    }

    /// What documentation says about one of its settings.
    pub fn help(&self, setting: &Setting) -> String {
        let help = setting.help.replace("{}", self.title);
        match (setting.default, setting.shape) {
            (None, _) => help,
            // Not a link where documentation is rendered.
            (Some(default), Shape::Url) => format!("{help} (default `{default}`)"),
            (Some(default), _) => format!("{help} (default {default})"),
        }
    }

    /// Its cards, with `own` added or in the place of those with the same name.
    ///
    /// # Errors
    /// If the embedded cards cannot be read, which is a mistake of the build.
    pub fn all_cards(&self, own: Vec<ModelCard>) -> Result<Vec<Arc<ModelCard>>, SetupError> {
        let embedded = self.embedded()?.model;
        let is_own = |card: &ModelCard| own.iter().any(|it| it.name == card.name);
        let mut cards: Vec<ModelCard> = embedded.into_iter().filter(|card| !is_own(card)).collect();
        cards.extend(own);
        Ok(cards.into_iter().map(Arc::new).collect())
    }

    /// The cards of its language models, as [`Self::all_cards`].
    ///
    /// # Errors
    /// As there.
    pub fn all_chat_cards(&self, own: Vec<ChatCard>) -> Result<Vec<Arc<ChatCard>>, SetupError> {
        let embedded = self.embedded()?.chat;
        let is_own = |card: &ChatCard| own.iter().any(|it| it.name == card.name);
        let mut cards: Vec<ChatCard> = embedded.into_iter().filter(|card| !is_own(card)).collect();
        cards.extend(own);
        Ok(cards.into_iter().map(Arc::new).collect())
    }

    fn embedded(&self) -> Result<Cards, SetupError> {
        toml::from_str(self.cards)
            .map_err(|error| SetupError::new(self.id, format!("its model cards are broken: {error}")))
    }
}

/// A file of cards.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cards {
    #[serde(default)]
    model: Vec<ModelCard>,
    #[serde(default)]
    chat: Vec<ChatCard>,
}

impl fmt::Debug for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vendor({})", self.id)
    }
}

/// Whether a further instance of an adapter may have this name.
pub fn is_free(name: &str) -> bool {
    ProviderId::from_id(name).is_ok() && name != SAMPLE && VENDORS.iter().all(|vendor| vendor.id != name)
}

fn is_model(text: &str) -> bool {
    text.split('/').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_vendor_describes_itself_without_a_slip() {
        let mut ids = BTreeSet::from([SAMPLE]);
        for vendor in VENDORS {
            assert!(ids.insert(vendor.id), "{vendor:?} is there twice");
            ProviderId::from_id(vendor.id).unwrap();
            assert!(!vendor.title.is_empty() && !vendor.how_to_configure.is_empty(), "{vendor:?}");
            let cards = vendor.all_cards(Vec::new()).unwrap();
            for usual in vendor.usual {
                assert!(cards.iter().any(|card| card.name == *usual), "{vendor:?} has no card of {usual}");
            }
            let mut keys = BTreeSet::new();
            for setting in vendor.all_settings() {
                assert!(keys.insert(setting.key), "{vendor:?} has {} twice", setting.key);
                assert!(setting.key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", setting.key);
                assert!(!setting.shape.is_secret() || setting.default.is_none(), "a secret has no default");
            }
            let keyed = vendor.settings.iter().filter(|setting| matches!(setting.shape, Shape::Secrets));
            assert!(keyed.count() <= 1, "{vendor:?} is built once for each key of one setting");
        }
    }
}
