//! The providers with their credentials, routes, cards and the default model: put together, and judged without starting a server.

use std::{collections::BTreeMap, sync::Arc};

use secrecy::SecretString;

use crate::{
    config::{Config, Problem, RouteConfig, VendorConfig},
    domain::{
        artifact::Kind,
        card::ModelCard,
        catalog::{Catalog, SAMPLE},
        chat::ChatCard,
        names::{ModelName, ProviderId, RouteName},
        route::{Route, Strategy},
    },
    engine::ProviderLimits,
    provider::{
        guard::Deadlines,
        keys::{Keyed, account_of, with_keys},
        port::Provider,
        registry::{Missing, Registry},
        sample::Sample,
        vendor::{Build, Values},
    },
    store::port::Limit,
};

/// The providers with their credentials, and what can be ordered from them; absent only if there is a problem.
pub(super) fn providers(config: &Config) -> (Option<(Registry, Catalog)>, Vec<Problem>) {
    let mut problems = Vec::new();
    let cards = own_cards(config, &mut problems);
    let explicit = config.jobs.default_model.as_ref().map(|model| model.parse::<ModelName>()).transpose();
    let explicit = explicit.map_err(|error| problem("default_model", &error, "name a model as PROVIDER/NAME"));
    let explicit = explicit.unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let (registry, usual) = match registry(config, cards) {
        Ok(made) => made,
        Err(more) => {
            problems.extend(more);
            return (None, problems);
        }
    };
    let mut catalog = registry.catalog(BTreeMap::new(), explicit.as_ref(), &usual);
    catalog.default_chat = default_chat(config, &catalog, &mut problems);
    let routes = routes(config, &catalog, &mut problems);
    catalog.routes.extend(routes);
    problems.extend(config.limits.keys().filter_map(|text| {
        let setting = format!("limits.{text:?}");
        match limited(text, &catalog) {
            Some(model) => unknown(&catalog, setting, &model),
            None => {
                Some(problem(&setting, &"names a model that no provider has", "name one that `filmgate models` lists"))
            }
        }
    }));
    problems.extend(explicit.iter().filter_map(|model| unknown(&catalog, "default_model".to_owned(), model)));
    (Some((registry, catalog)), problems)
}

/// The language model of a chat that names none: that of the settings, else the first of the first configured vendor that has one, else the
/// sample's.
fn default_chat(config: &Config, catalog: &Catalog, problems: &mut Vec<Problem>) -> Option<ModelName> {
    const SETTING: &str = "default_chat_model";
    if let Some(text) = &config.jobs.default_chat_model {
        let named =
            text.parse::<ModelName>().map_err(|error| problem(SETTING, &error, "name a model as PROVIDER/NAME"));
        return match named {
            Ok(model) => {
                problems.extend(unknown_chat(catalog, &model));
                Some(model)
            }
            Err(problem) => {
                problems.push(problem);
                None
            }
        };
    }
    let ids = config.vendors.iter().map(|vendor| vendor.id.as_str()).chain([SAMPLE]);
    ids.filter_map(|id| catalog.providers.iter().find(|(provider, _)| provider.id() == id)).find_map(|(id, entry)| {
        let card = entry.chat_cards.first().filter(|_| entry.missing.is_none())?;
        ModelName::new(id.clone(), card.name.clone()).ok()
    })
}

fn unknown_chat(catalog: &Catalog, model: &ModelName) -> Option<Problem> {
    let message = match catalog.providers.get(&model.provider) {
        None => {
            let known: Vec<&str> = catalog.providers.keys().map(ProviderId::id).collect();
            format!("names {model}, but there is no such provider; there are: {}", known.join(", "))
        }
        Some(entry) if !entry.open_chat && entry.missing.is_none() && entry.chat_card(&model.name).is_none() => {
            format!("names {model}, which {} does not have as a language model", model.provider.id())
        }
        Some(_) => return None,
    };
    let fix = "name one that `filmgate models --kind text` lists".to_owned();
    Some(Problem { setting: "default_chat_model".to_owned(), message, fix })
}

/// The user's cards, by the provider they belong to.
type OwnCards = BTreeMap<String, Own>;

/// The user's cards of one provider.
#[derive(Default)]
struct Own {
    cards: Vec<ModelCard>,
    chat_cards: Vec<ChatCard>,
}

/// A card of the user's.
enum OwnCard {
    Model(Box<ModelCard>),
    Chat(ChatCard),
}

/// Every provider, and their models for a request that names none, in order of preference.
fn registry(config: &Config, mut cards: OwnCards) -> Result<(Registry, Vec<ModelName>), Vec<Problem>> {
    let call = config.jobs.provider_timeout;
    let sample = Sample::new(config.sample.dir.clone(), config.sample.latency)
        .map_err(|error| vec![problem("sample_dir", &error, "name a folder with the sample files, or unset it")])?;
    let mut problems = Vec::new();
    let mut configured: Vec<(Arc<dyn Provider>, Deadlines)> =
        vec![(Arc::new(sample), Deadlines::of(call, config.artifacts.download_timeout))];
    let (mut missing, mut usual) = (Vec::new(), Vec::new());
    for settings in &config.vendors {
        match vendor(config, settings, cards.remove(&settings.id).unwrap_or_default()) {
            Ok(Vendor { id, made, preferred }) => {
                usual.extend(preferred);
                match made {
                    Ok(provider) => configured.push(provider),
                    Err(without) => missing.push((id, without)),
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    // What is not worth another try yet is not worth another order.
    let registry = Registry::new(configured).resting_for(config.jobs.retry_base.saturating_mul(3));
    let registry = missing.into_iter().fold(registry, |registry, (id, missing)| registry.without(id, missing));
    Ok((registry, usual))
}

/// What became of one vendor's settings.
struct Vendor {
    id: ProviderId,
    made: Result<(Arc<dyn Provider>, Deadlines), Missing>,
    preferred: Vec<ModelName>,
}

fn vendor(config: &Config, settings: &VendorConfig, own: Own) -> Result<Vendor, Problem> {
    let VendorConfig { id, table, vendor, values } = settings;
    let fix = format!("correct the settings of [{table}]");
    let id = ProviderId::from_id(id.as_str()).map_err(|error| problem(table, &error, &fix))?;
    let model = values.text("model");
    let preferred = model.into_iter().chain(vendor.usual.iter().copied());
    let preferred: Result<Vec<ModelName>, _> = preferred.map(|name| ModelName::new(id.clone(), name)).collect();
    let preferred = preferred
        .map_err(|error| problem(&format!("{table}.model"), &error, "name a model as the provider names it"))?;

    let card_problem = |error| problem("models", &error, "correct the card");
    let cards = vendor.all_cards(own.cards).map_err(card_problem)?;
    let chat_cards = vendor.all_chat_cards(own.chat_cards).map_err(card_problem)?;
    let timeout = values.time("timeout").unwrap_or(config.jobs.provider_timeout);
    let download_timeout = config.artifacts.download_timeout;
    let mut keyed = Vec::new();
    for values in values.clone().one_key_each() {
        let account = key_of(settings, &values).map(account_of).unwrap_or_default();
        let build = Build {
            id: id.clone(),
            account: account.clone(),
            values,
            cards: cards.clone(),
            chat_cards: chat_cards.clone(),
            timeout,
            download_timeout,
            home: config.home.clone(),
        };
        let built = (vendor.build)(build).map_err(|error| problem(table, &error, &fix))?;
        keyed.extend(built.map(|provider| Keyed { account, provider }));
    }
    let made = match with_keys(keyed) {
        Some(provider) => Ok((provider, Deadlines::of(timeout, download_timeout))),
        None => Err(Missing { cards, chat_cards, how: vendor.how_to_configure.to_owned() }),
    };
    Ok(Vendor { id, made, preferred })
}

/// The key that an adapter is built with, if it has one.
fn key_of<'a>(settings: &VendorConfig, values: &'a Values) -> Option<&'a SecretString> {
    settings.vendor.settings.iter().filter(|it| it.shape.is_key()).find_map(|key| values.secret(key.key))
}

fn problem(setting: &str, error: &dyn std::fmt::Display, fix: &str) -> Problem {
    Problem { setting: setting.to_owned(), message: error.to_string(), fix: fix.to_owned() }
}

/// A model that no request could be sent to is a slip of the pen, best told now. Credentials may still come.
fn unknown(catalog: &Catalog, setting: String, model: &ModelName) -> Option<Problem> {
    let message = match catalog.providers.get(&model.provider) {
        None => {
            let known: Vec<&str> = catalog.providers.keys().map(ProviderId::id).collect();
            format!("names {model}, but there is no such provider; there are: {}", known.join(", "))
        }
        Some(provider) if !provider.open && provider.missing.is_none() && catalog.card(model).is_none() => {
            format!("names {model}, which {} does not have", model.provider.id())
        }
        Some(_) => return None,
    };
    Some(Problem { setting, message, fix: "name one that `filmgate models` lists".to_owned() })
}

/// The routes of the settings, their models by full name. An alias stands for the first configured provider that has it, of whatever kind.
fn routes(config: &Config, catalog: &Catalog, problems: &mut Vec<Problem>) -> BTreeMap<RouteName, Route> {
    let mut routes = BTreeMap::new();
    for (name, RouteConfig { strategy, models }) in &config.routes {
        let setting = format!("routes.{name}");
        let named = |text: &String| {
            let full = || text.parse::<ModelName>().ok();
            catalog.named(text, None).or_else(full).ok_or_else(|| format!("names {text}, which no provider has"))
        };
        let models: Result<Vec<ModelName>, String> = models.iter().map(named).collect();
        let named = RouteName::from_id(name.as_str()).map_err(|error| error.to_string());
        match named.and_then(|name| Ok((name, models?))) {
            Ok((name, models)) => {
                problems.extend(models.iter().filter_map(|model| unknown(catalog, setting.clone(), model)));
                let strategy = Strategy::of(strategy).unwrap_or_default();
                routes.insert(name, Route::new(strategy, models));
            }
            Err(message) => {
                let fix = "name models that `filmgate models` lists";
                problems.push(Problem { setting, message, fix: fix.to_owned() });
            }
        }
    }
    routes
}

/// The bounds of single providers and models, which all processes on one store keep together; `concurrency` for all is of each process. An alias stands for the model that a request by it would go to.
pub(super) fn limits(config: &Config, catalog: &Catalog) -> BTreeMap<ProviderId, ProviderLimits> {
    let mut limits: BTreeMap<ProviderId, ProviderLimits> = BTreeMap::new();
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    for id in catalog.providers.keys() {
        let of_vendor = |key: &str| config.vendor(id.id()).and_then(|vendor| vendor.values.count(key)).map(count);
        let of_provider = Limit { concurrency: of_vendor("concurrency"), rate: of_vendor("rate") };
        limits.insert(id.clone(), ProviderLimits { of_provider, of_models: BTreeMap::new() });
    }
    for (text, limit) in &config.limits {
        if let Some(model) = limited(text, catalog)
            && let Some(limits) = limits.get_mut(&model.provider)
        {
            let name = catalog.card(&model).map_or(model.name, |card| card.name.clone());
            limits.of_models.insert(name, Limit { concurrency: limit.concurrency, rate: limit.rate });
        }
    }
    limits
}

fn limited(text: &str, catalog: &Catalog) -> Option<ModelName> {
    catalog.named(text, None).or_else(|| text.parse().ok())
}

/// The kind of language models, on cards.
const TEXT: &str = "text";

/// The user's cards: `[[models]]` with `provider` beside the card's own fields.
fn own_cards(config: &Config, problems: &mut Vec<Problem>) -> OwnCards {
    let fix = "compare it with a card of `filmgate models --json`; `provider` and `name` are needed";
    let mut cards = OwnCards::new();
    for (index, card) in config.models.iter().enumerate() {
        match own_card(card, config) {
            Ok((provider, OwnCard::Model(card))) => cards.entry(provider).or_default().cards.push(*card),
            Ok((provider, OwnCard::Chat(card))) => cards.entry(provider).or_default().chat_cards.push(card),
            Err(message) => problems.push(problem(&format!("models[{index}]"), &message, fix)),
        }
    }
    cards
}

fn own_card(card: &toml::Value, config: &Config) -> Result<(String, OwnCard), String> {
    let mut card = card.as_table().cloned().ok_or_else(|| "is no table".to_owned())?;
    let Some(toml::Value::String(provider)) = card.remove("provider") else {
        return Err("has no provider".to_owned());
    };
    if config.vendor(&provider).is_none() {
        let known: Vec<&str> = config.vendors.iter().map(|vendor| vendor.id.as_str()).collect();
        return Err(format!("provider {provider} takes no cards; allowed: {}", known.join(", ")));
    }
    let message = |error: toml::de::Error| error.message().to_owned();
    let card = if card.get("kind").and_then(toml::Value::as_str) == Some(TEXT) {
        card.remove("kind");
        OwnCard::Chat(card.try_into().map_err(message)?)
    } else {
        OwnCard::Model(Box::new(card.try_into().map_err(message)?))
    };
    Ok((provider, card))
}

/// The providers besides the sample that could be built, by id.
pub(super) fn configured(config: &Config) -> Vec<String> {
    let (parts, _) = providers(config);
    let ids =
        parts.iter().flat_map(|(registry, _)| registry.configured()).map(|provider| provider.id().id().to_owned());
    ids.filter(|id| id != SAMPLE).collect()
}

/// Every problem that would keep [`super::start`] from starting, and what would let it start only to refuse orders. Asks no provider.
pub(super) fn check(config: &Config) -> Vec<Problem> {
    let (parts, mut problems) = providers(config);
    if let Some((registry, catalog)) = &parts {
        problems.extend(missing_samples(registry));
        problems.extend(default_without_key(config, catalog));
    }
    problems
}

/// The sample provider has no file of the one kind that is served.
fn missing_samples(registry: &Registry) -> Vec<Problem> {
    let sample = registry.configured().filter(|provider| provider.id().id() == SAMPLE);
    let missing = sample.filter_map(|sample| sample.ready(Kind::Video).err());
    let fix = "put a video there, or unset FILMGATE_SAMPLE_DIR";
    missing.map(|why| problem("sample_dir", &why, fix)).collect()
}

/// The model that was asked for stands, so that every request without a model would be refused.
fn default_without_key(config: &Config, catalog: &Catalog) -> Option<Problem> {
    let model: ModelName = config.jobs.default_model.as_ref()?.parse().ok()?;
    let how = catalog.providers.get(&model.provider)?.missing.as_ref()?;
    let message = format!("names {model}, but {} has no key here", model.provider.id());
    Some(problem("default_model", &message, how))
}

#[cfg(test)]
mod tests;
