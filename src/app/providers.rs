//! The providers with their credentials, routes, cards and the default model: put together, and judged without starting a server.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    config::{Config, Problem},
    domain::{
        artifact::Kind,
        card::ModelCard,
        catalog::{Catalog, SAMPLE},
        names::{ModelName, ProviderId, RouteName},
    },
    provider::{
        guard::Deadlines,
        port::Provider,
        registry::{Missing, Registry},
        replicate::{self, Replicate, ReplicateSettings},
        sample::Sample,
    },
};

/// The providers with their credentials, and what can be ordered from them; absent only if there is a problem.
pub(super) fn providers(config: &Config) -> (Option<(Registry, Catalog)>, Vec<Problem>) {
    let mut problems = Vec::new();
    let cards = own_cards(config, replicate::REPLICATE, &mut problems);
    let routes = routes(config, &mut problems);
    let explicit = config.jobs.default_model.as_ref().map(|model| model.parse::<ModelName>()).transpose();
    let explicit = explicit.map_err(|error| problem("default_model", &error, "name a model as PROVIDER/NAME"));
    let explicit = explicit.unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let (registry, usual) = match registry(config, cards) {
        Ok(made) => made,
        Err(problem) => {
            problems.push(problem);
            return (None, problems);
        }
    };
    let catalog = registry.catalog(routes, explicit.as_ref(), &[usual]);
    let of_routes = catalog.routes.iter().flat_map(|(route, models)| {
        let setting = format!("routes.{}", route.id());
        models.iter().map(move |model| (setting.clone(), model))
    });
    let named = of_routes.chain(explicit.iter().map(|model| ("default_model".to_owned(), model)));
    problems.extend(named.filter_map(|(setting, model)| unknown(&catalog, setting, model)));
    (Some((registry, catalog)), problems)
}

/// Every provider, and Replicate's model for a request that names none.
fn registry(config: &Config, cards: Vec<ModelCard>) -> Result<(Registry, ModelName), Problem> {
    let deadlines = Deadlines::of(config.jobs.provider_timeout, config.artifacts.download_timeout);
    let sample = Sample::new(config.sample.dir.clone(), config.sample.latency)
        .map_err(|error| problem("sample_dir", &error, "name a folder with the sample files, or unset it"))?;
    let mut configured: Vec<(Arc<dyn Provider>, Deadlines)> = vec![(Arc::new(sample), deadlines)];

    let id = ProviderId::from_id(replicate::REPLICATE).map_err(|error| problem("replicate", &error, ""))?;
    let missing = match &config.replicate.api_token {
        Some(api_token) => {
            let settings = ReplicateSettings {
                api_token: api_token.clone(),
                webhook_secret: config.replicate.webhook_secret.clone(),
                base_url: config.replicate.base_url.clone(),
                timeout: config.jobs.provider_timeout,
                download_timeout: config.artifacts.download_timeout,
                cards,
            };
            let replicate = Replicate::new(settings)
                .map_err(|error| problem("replicate", &error, "correct the settings of [replicate]"))?;
            configured.push((Arc::new(replicate), deadlines));
            None
        }
        None => {
            let cards = replicate::cards(cards).map_err(|error| problem("models", &error, "correct the card"))?;
            Some(Missing { cards, how: replicate::HOW_TO_CONFIGURE.to_owned() })
        }
    };
    let mut registry = Registry::new(configured);
    if let Some(missing) = missing {
        registry = registry.without(id.clone(), missing);
    }
    let usual = ModelName::new(id, config.replicate.model.clone())
        .map_err(|error| problem("replicate.model", &error, "name a model as OWNER/NAME"))?;
    Ok((registry, usual))
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

fn routes(config: &Config, problems: &mut Vec<Problem>) -> BTreeMap<RouteName, Vec<ModelName>> {
    let fix = "write routes as NAME = [\"PROVIDER/NAME\", …]";
    let mut routes = BTreeMap::new();
    for (route, models) in &config.routes {
        let name = RouteName::from_id(route.as_str());
        let models: Result<Vec<ModelName>, _> = models.iter().map(|model| model.parse()).collect();
        match (name, models) {
            (Ok(name), Ok(models)) => drop(routes.insert(name, models)),
            (Err(error), _) => problems.push(problem(&format!("routes.{route}"), &error, fix)),
            (_, Err(error)) => problems.push(problem(&format!("routes.{route}"), &error, fix)),
        }
    }
    routes
}

/// The user's cards of one provider: `[[models]]` with `provider` beside the card's own fields.
fn own_cards(config: &Config, provider: &str, problems: &mut Vec<Problem>) -> Vec<ModelCard> {
    let fix = "compare it with a card of `filmgate models --json`; `provider` and `name` are needed";
    let mut cards = Vec::new();
    for (index, card) in config.models.iter().enumerate() {
        match own_card(card, provider) {
            Ok(card) => cards.push(card),
            Err(message) => problems.push(problem(&format!("models[{index}]"), &message, fix)),
        }
    }
    cards
}

fn own_card(card: &toml::Value, provider: &str) -> Result<ModelCard, String> {
    let mut card = card.as_table().cloned().ok_or_else(|| "is no table".to_owned())?;
    match card.remove("provider") {
        Some(toml::Value::String(of)) if of == provider => {
            card.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
        }
        Some(toml::Value::String(of)) => Err(format!("provider {of} takes no cards; allowed: {provider}")),
        _ => Err("has no provider".to_owned()),
    }
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
