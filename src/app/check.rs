//! What is wrong with providers, routes, cards and the default model, told without starting a server.

use crate::{
    config::{Config, Problem},
    domain::{
        catalog::{Catalog, SAMPLE},
        names::ModelName,
    },
    provider::{port::Provider as _, registry::Registry},
};

/// Every problem that would keep [`super::start`] from starting, and what would let it start only to refuse orders. Asks no provider.
pub fn check(config: &Config) -> Vec<Problem> {
    let (parts, mut problems) = super::providers(config);
    if let Some((registry, catalog)) = &parts {
        problems.extend(missing_samples(registry));
        problems.extend(default_without_key(config, catalog));
    }
    problems
}

/// One problem for each kind that the sample provider has a model and no file for.
fn missing_samples(registry: &Registry) -> Vec<Problem> {
    let sample = registry.configured().filter(|provider| provider.id().id() == SAMPLE);
    let missing = sample.flat_map(|sample| sample.models().iter().filter_map(|card| sample.ready(card.kind).err()));
    let fix = "put a file of that kind there, or unset FILMGATE_SAMPLE_DIR";
    missing.map(|why| super::problem("sample_dir", &why, fix)).collect()
}

/// The model that was asked for stands, so that every request without a model would be refused.
fn default_without_key(config: &Config, catalog: &Catalog) -> Option<Problem> {
    let model: ModelName = config.jobs.default_model.as_ref()?.parse().ok()?;
    let how = catalog.providers.get(&model.provider)?.missing.as_ref()?;
    let message = format!("names {model}, but {} has no key here", model.provider.id());
    Some(super::problem("default_model", &message, how))
}
