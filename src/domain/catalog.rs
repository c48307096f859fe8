//! What can be ordered here: the cards of every provider, the routes, and which providers have their credentials.

mod chat;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

pub use self::chat::{ChatNeeds, Talker};

use serde_json::{Map, Value};

use super::{
    artifact::Kind,
    card::ModelCard,
    chat::ChatCard,
    names::{ModelName, ProviderId, RouteName},
    order::{Candidate, InputRole, Mode, Options, Violation},
    route::{NoOutlook, Outlook, Route, Strategy},
};

/// Most models that a refusal names.
const MOST_NAMES: usize = 100;

/// Most models that one of several complaints names: all of them travel in a header.
const MOST_EXAMPLES: usize = 20;

/// The provider that needs no key and whose outputs are stand-ins.
pub const SAMPLE: &str = "sample";

/// What can be ordered here.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Every provider that this build knows.
    pub providers: BTreeMap<ProviderId, ProviderEntry>,
    /// Named lists of models, those that are built in among them.
    pub routes: BTreeMap<RouteName, Route>,
    /// The model of a request that names none, for each kind.
    pub defaults: BTreeMap<Kind, ModelName>,
    /// The language model of a chat that names none.
    pub default_chat: Option<ModelName>,
    /// What is known of models and providers just now.
    pub outlook: Arc<dyn Outlook>,
}

impl Default for Catalog {
    fn default() -> Self {
        let (providers, routes, defaults) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { providers, routes, defaults, default_chat: None, outlook: Arc::new(NoOutlook) }
    }
}

/// A provider of the catalog.
#[derive(Debug, Clone, Default)]
pub struct ProviderEntry {
    /// Its cards.
    pub cards: Vec<Arc<ModelCard>>,
    /// What to set to configure it; absent if it is configured.
    pub missing: Option<String>,
    /// True if it serves models that have no card.
    pub open: bool,
    /// The cards of its language models.
    pub chat_cards: Vec<Arc<ChatCard>>,
    /// True if it talks with language models that have no card.
    pub open_chat: bool,
}

/// How a request names its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Not at all.
    Default,
    /// By name.
    Model(ModelName),
    /// By a name or alias that says no provider.
    Named(String),
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
    /// The models of the quote that it is made with, in its order; none without one.
    pub quoted: &'a [ModelName],
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

/// The models that a request names, and the field that names them.
struct Chosen<'a> {
    route: Cow<'a, Route>,
    field: &'static str,
}

impl Catalog {
    /// The card of a model, by name or alias.
    pub fn card(&self, model: &ModelName) -> Option<&Arc<ModelCard>> {
        let entry = self.providers.get(&model.provider)?;
        entry.cards.iter().find(|card| card.name == model.name || card.aliases.contains(&model.name))
    }

    /// The model of this kind (of any without one) that has the name or alias `text`: `provider/name`, or a name alone, which stands for the
    /// first provider that has it, those that are configured here before the others and the sample after all.
    pub fn named(&self, text: &str, kind: Option<Kind>) -> Option<ModelName> {
        let fits = |card: &ModelCard| kind.is_none_or(|kind| card.kind == kind);
        let has =
            |card: &ModelCard| fits(card) && (card.name == text || card.aliases.iter().any(|alias| alias == text));
        let mut providers: Vec<_> = self.providers.iter().collect();
        providers.sort_by_key(|(id, entry)| (entry.missing.is_some(), id.id() == SAMPLE));
        let alone = || {
            let found = providers.iter().find_map(|(id, entry)| Some((id, entry.cards.iter().find(|card| has(card))?)));
            found.map(|(id, card)| ModelName { provider: (*id).clone(), name: card.name.clone() })
        };
        let full = text.parse::<ModelName>().ok().filter(|model| self.providers.contains_key(&model.provider));
        full.or_else(alone)
    }

    /// The models a request may be tried at, in order; never empty.
    pub fn candidates(&self, asked: &Asked<'_>) -> Result<Vec<Candidate>, NoCandidate> {
        let Chosen { route, field } = self.chosen(asked)?;
        let mut candidates = Vec::new();
        let mut refusals = Vec::new();
        for model in &route.models {
            match self.candidate(model, field, asked) {
                Ok(candidate) => candidates.push(Candidate { listed: candidates.len(), ..candidate }),
                Err(refusal) => refusals.push((self.makes_other(model, asked.kind), refusal)),
            }
        }
        if candidates.is_empty() {
            // Of a route with models of several kinds, what is wrong with those that make something else is no news.
            let told = refusals.into_iter().min_by_key(|(makes_other, _)| *makes_other);
            let none = || NoCandidate::Violations(vec![Violation::new(field, "names no model")]);
            return Err(told.map_or_else(none, |(_, refusal)| refusal));
        }
        route.arrange(&mut candidates, asked.quoted, &*self.outlook);
        if asked.fallback_to_sample
            && let Some(stand_in) = self.stand_in(asked)
        {
            candidates.push(stand_in);
        }
        Ok(candidates)
    }

    fn chosen(&self, asked: &Asked<'_>) -> Result<Chosen<'_>, NoCandidate> {
        let one = |model: ModelName, field| {
            let route = Cow::Owned(Route::new(Strategy::Ordered, vec![model]));
            Ok(Chosen { route, field })
        };
        match asked.choice {
            // What looks like a provider may be the first part of a model's own name.
            Choice::Model(model) => {
                let named = self.named(&model.to_string(), Some(asked.kind));
                one(named.unwrap_or_else(|| model.clone()), "model")
            }
            Choice::Named(text) => {
                let named = self.named(text, Some(asked.kind)).or_else(|| self.named(text, None));
                let model = named.ok_or_else(|| self.unknown_name(text, asked.kind))?;
                one(model, "model")
            }
            Choice::Default => match self.defaults.get(&asked.kind) {
                Some(model) => one(model.clone(), "model"),
                None => Err(refused("model", format!("must be set: there is no default model for {}", asked.kind))),
            },
            Choice::Route(name, field) => match self.routes.get(name) {
                Some(route) => Ok(Chosen { route: Cow::Borrowed(route), field }),
                None => {
                    let known: Vec<&str> = self.routes.keys().map(RouteName::id).collect();
                    let known = if known.is_empty() { "none is configured".to_owned() } else { known.join(", ") };
                    Err(unknown(field, format!("no route {name} is configured; allowed: {known}")))
                }
            },
        }
    }

    /// Whether a model certainly makes something else.
    fn makes_other(&self, model: &ModelName, kind: Kind) -> bool {
        self.card(model).is_some_and(|card| card.kind != kind)
    }

    /// Which names there are instead, short ones before full ones.
    fn unknown_name(&self, text: &str, kind: Kind) -> NoCandidate {
        let usable = self.providers.iter().filter(|(_, entry)| entry.missing.is_none());
        let cards = usable.flat_map(|(id, entry)| entry.cards.iter().map(move |card| (id, card)));
        let cards: Vec<_> = cards.filter(|(_, card)| card.kind == kind).collect();
        let aliases = cards.iter().flat_map(|(_, card)| card.aliases.iter().cloned());
        let full = cards.iter().map(|(id, card)| format!("{id}/{}", card.name));
        let mut known: Vec<String> = aliases.chain(full).collect();
        known.dedup();
        let n_more = known.len().saturating_sub(MOST_NAMES);
        known.truncate(MOST_NAMES);
        let more = if n_more > 0 { format!(" and {n_more} more, see ListModels") } else { String::new() };
        unknown("model", format!("unsupported model {text:?}; supported for {kind}: {}{more}", known.join(", ")))
    }

    fn candidate(&self, model: &ModelName, field: &str, asked: &Asked<'_>) -> Result<Candidate, NoCandidate> {
        let Some(entry) = self.providers.get(&model.provider) else {
            let known: Vec<&str> = self.providers.keys().map(ProviderId::id).collect();
            return Err(unknown(field, format!("unknown provider {}; allowed: {}", model.provider, known.join(", "))));
        };
        if let Some(how) = &entry.missing {
            return Err(NoCandidate::NotConfigured { provider: model.provider.clone(), how: how.clone() });
        }
        let Some(card) = self.card(model) else {
            return if entry.open { undescribed(model, asked) } else { Err(unknown_model(model, field, entry)) };
        };
        if card.kind != asked.kind {
            return Err(refused(field, format!("{model} makes {}, not {}", card.kind, asked.kind)));
        }
        let resolved = card
            .resolve(asked.prompt, asked.options, asked.provider_options, asked.inputs, asked.mode)
            .map_err(|violations| NoCandidate::Violations(self.with_who_takes_it(violations, card, asked.inputs)))?;
        Ok(Candidate {
            // An alias becomes the one name, so that the cache and the ledger know one model.
            model: ModelName { provider: model.provider.clone(), name: card.name.clone() },
            estimate: card.estimate(&resolved.options, asked.prompt, asked.inputs),
            price: card.price.clone(),
            expected_time: card.expected_time(&resolved.options),
            options: resolved.options,
            provider_options: asked.provider_options.clone(),
            adjustments: resolved.adjustments,
            listed: 0,
            digest: String::new(),
            stand_in: false,
        })
    }

    /// Violations about roles that the card does not have, each with the models of the same kind that have it.
    fn with_who_takes_it(&self, mut all: Vec<Violation>, card: &ModelCard, inputs: &[InputRole]) -> Vec<Violation> {
        for (index, role) in inputs.iter().enumerate().filter(|(_, role)| !card.inputs.contains_key(role)) {
            let field = format!("inputs[{index}].role");
            let Some(violation) = all.iter_mut().find(|violation| violation.field == field) else { continue };
            let takes = |other: &&Arc<ModelCard>| other.kind == card.kind && other.inputs.contains_key(role);
            let usable = self.providers.iter().filter(|(id, entry)| entry.missing.is_none() && id.id() != SAMPLE);
            let names = usable.flat_map(|(id, entry)| {
                entry.cards.iter().filter(takes).map(move |other| format!("{id}/{}", other.name))
            });
            let names: Vec<String> = names.collect();
            let (some, others) = names.split_at(names.len().min(MOST_EXAMPLES));
            let more = if others.is_empty() { "" } else { " and others, see ListModels" };
            if !some.is_empty() {
                let description = &violation.description;
                violation.description = format!("{description}. Models that take it: {}{more}", some.join(", "));
            }
        }
        all
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
            listed: usize::MAX,
            digest: String::new(),
            stand_in: true,
        })
    }
}

fn refused(field: &str, why: String) -> NoCandidate {
    NoCandidate::Violations(vec![Violation::new(field, why)])
}

/// Nothing here has the name that `field` says.
fn unknown(field: &str, why: String) -> NoCandidate {
    NoCandidate::Violations(vec![Violation::unknown(field, why)])
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
        listed: 0,
        digest: String::new(),
        stand_in: false,
    })
}

fn unknown_model(model: &ModelName, field: &str, entry: &ProviderEntry) -> NoCandidate {
    let known: Vec<&str> = entry.cards.iter().map(|card| card.name.as_str()).collect();
    unknown(field, format!("unknown model {model}; {} serves: {}", model.provider, known.join(", ")))
}
