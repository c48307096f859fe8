//! What can be ordered here: the cards of every provider, the routes, and which providers have their credentials.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use super::{
    artifact::Kind,
    card::ModelCard,
    names::{ModelName, ProviderId, RouteName},
    order::{Candidate, InputRole, Mode, Options, Violation},
};

/// The provider that needs no key and whose outputs are stand-ins.
pub const SAMPLE: &str = "sample";

/// What can be ordered here.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Every provider that this build knows.
    pub providers: BTreeMap<ProviderId, ProviderEntry>,
    /// Named lists of models.
    pub routes: BTreeMap<RouteName, Vec<ModelName>>,
    /// The model of a request that names none, for each kind.
    pub defaults: BTreeMap<Kind, ModelName>,
}

/// A provider of the catalog.
#[derive(Debug, Clone)]
pub struct ProviderEntry {
    /// Its cards.
    pub cards: Vec<Arc<ModelCard>>,
    /// What to set to configure it; absent if it is configured.
    pub missing: Option<String>,
    /// True if it serves models that have no card.
    pub open: bool,
}

/// How a request names its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Not at all.
    Default,
    /// By name.
    Model(ModelName),
    /// By a route, and the request field that named it.
    Route(RouteName, &'static str),
}

/// What of a request decides about its models.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// What to make.
    pub kind: Kind,
    /// How the model is named.
    pub choice: &'a Choice,
    /// The prompt, trimmed.
    pub prompt: &'a str,
    /// Options the caller set.
    pub options: &'a Options,
    /// Passed on as it is.
    pub provider_options: &'a Map<String, Value>,
    /// Roles of the inputs in order.
    pub inputs: &'a [InputRole],
    /// What to do with fields a model cannot honour.
    pub mode: Mode,
    /// Whether the sample may stand in at the end.
    pub fallback_to_sample: bool,
}

/// Why no model was found for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoCandidate {
    /// Fields are wrong, or no model can honour them.
    Violations(Vec<Violation>),
    /// The named provider has no credentials here.
    NotConfigured {
        /// The provider.
        provider: ProviderId,
        /// What to set.
        how: String,
    },
}

impl Catalog {
    /// The card of a model, by name or alias.
    pub fn card(&self, model: &ModelName) -> Option<&Arc<ModelCard>> {
        let entry = self.providers.get(&model.provider)?;
        entry.cards.iter().find(|card| card.name == model.name || card.aliases.contains(&model.name))
    }

    /// The models a request may be tried at, in order; never empty.
    pub fn candidates(&self, asked: &Asked<'_>) -> Result<Vec<Candidate>, NoCandidate> {
        let (models, field) = self.chosen(asked)?;
        let mut candidates = Vec::new();
        let mut first_refusal = None;
        for model in &models {
            match self.candidate(model, field, asked) {
                Ok(candidate) => candidates.push(candidate),
                Err(refusal) => {
                    first_refusal.get_or_insert(refusal);
                }
            }
        }
        if candidates.is_empty() {
            let none = || NoCandidate::Violations(vec![Violation::new(field, "names no model")]);
            return Err(first_refusal.unwrap_or_else(none));
        }
        if asked.fallback_to_sample
            && let Some(stand_in) = self.stand_in(asked)
        {
            candidates.push(stand_in);
        }
        Ok(candidates)
    }

    fn chosen(&self, asked: &Asked<'_>) -> Result<(Vec<ModelName>, &'static str), NoCandidate> {
        match asked.choice {
            Choice::Model(model) => Ok((vec![model.clone()], "model")),
            Choice::Default => match self.defaults.get(&asked.kind) {
                Some(model) => Ok((vec![model.clone()], "model")),
                None => Err(NoCandidate::Violations(vec![Violation::new(
                    "model",
                    format!("must be set: there is no default model for {}", asked.kind),
                )])),
            },
            Choice::Route(route, field) => match self.routes.get(route) {
                Some(models) => Ok((models.clone(), field)),
                None => {
                    let known: Vec<&str> = self.routes.keys().map(RouteName::id).collect();
                    let known = if known.is_empty() { "none is configured".to_owned() } else { known.join(", ") };
                    Err(NoCandidate::Violations(vec![Violation::new(
                        *field,
                        format!("no route {route} is configured; allowed: {known}"),
                    )]))
                }
            },
        }
    }

    fn candidate(&self, model: &ModelName, field: &str, asked: &Asked<'_>) -> Result<Candidate, NoCandidate> {
        let Some(entry) = self.providers.get(&model.provider) else {
            let known: Vec<&str> = self.providers.keys().map(ProviderId::id).collect();
            let why = format!("unknown provider {}; allowed: {}", model.provider, known.join(", "));
            return Err(NoCandidate::Violations(vec![Violation::new(field, why)]));
        };
        if let Some(how) = &entry.missing {
            return Err(NoCandidate::NotConfigured { provider: model.provider.clone(), how: how.clone() });
        }
        let Some(card) = self.card(model) else {
            return if entry.open { undescribed(model, asked) } else { Err(unknown_model(model, field, entry)) };
        };
        if card.kind != asked.kind {
            let why = format!("{model} makes {}, not {}", card.kind, asked.kind);
            return Err(NoCandidate::Violations(vec![Violation::new(field, why)]));
        }
        let resolved = card
            .resolve(asked.prompt, asked.options, asked.provider_options, asked.inputs, asked.mode)
            .map_err(NoCandidate::Violations)?;
        Ok(Candidate {
            // An alias becomes the one name, so that the cache and the ledger know one model.
            model: ModelName { provider: model.provider.clone(), name: card.name.clone() },
            estimate: card.estimate(&resolved.options, asked.prompt, asked.inputs),
            price: card.price.clone(),
            expected_time: card.expected_time(&resolved.options),
            options: resolved.options,
            provider_options: asked.provider_options.clone(),
            adjustments: resolved.adjustments,
            stand_in: false,
        })
    }

    /// The sample in place of a failed model: whatever was asked, it serves its file, so it adapts to everything.
    fn stand_in(&self, asked: &Asked<'_>) -> Option<Candidate> {
        let (provider, entry) = self.providers.iter().find(|(id, _)| id.id() == SAMPLE)?;
        let card = entry.cards.iter().find(|card| card.kind == asked.kind)?;
        let resolved = card.resolve("sample", &Options::new(), &Map::new(), &[], Mode::Adapt).ok()?;
        Some(Candidate {
            model: ModelName { provider: provider.clone(), name: card.name.clone() },
            estimate: card.estimate(&resolved.options, asked.prompt, asked.inputs),
            price: card.price.clone(),
            expected_time: card.expected_time(&resolved.options),
            options: resolved.options,
            provider_options: Map::new(),
            adjustments: Vec::new(),
            stand_in: true,
        })
    }
}

/// A model that nobody described takes the prompt and the provider's own options; a typed option would be a guess.
fn undescribed(model: &ModelName, asked: &Asked<'_>) -> Result<Candidate, NoCandidate> {
    let why = |what: &str| {
        format!(
            "{model} has no card, so it takes the prompt and provider_options only; set {what} there, or add a card"
        )
    };
    let mut violations: Vec<Violation> =
        asked.options.keys().map(|name| Violation::new(format!("options.{name}"), why(name.as_str()))).collect();
    let inputs = asked.inputs.iter().enumerate();
    violations.extend(inputs.map(|(index, _)| Violation::new(format!("inputs[{index}]"), why("the file's URL"))));
    if asked.provider_options.contains_key("prompt") {
        violations.push(Violation::new("options.provider_options.prompt", "is filled from the request's prompt"));
    }
    if !violations.is_empty() {
        return Err(NoCandidate::Violations(violations));
    }
    Ok(Candidate {
        model: model.clone(),
        options: Options::new(),
        provider_options: asked.provider_options.clone(),
        adjustments: Vec::new(),
        estimate: None,
        price: None,
        expected_time: None,
        stand_in: false,
    })
}

fn unknown_model(model: &ModelName, field: &str, entry: &ProviderEntry) -> NoCandidate {
    let known: Vec<&str> = entry.cards.iter().map(|card| card.name.as_str()).collect();
    let why = format!("unknown model {model}; {} serves: {}", model.provider, known.join(", "));
    NoCandidate::Violations(vec![Violation::new(field, why)])
}
