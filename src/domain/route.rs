//! Routes: names that stand for several models, and in which order an order is tried at them.

use std::{cmp::Reverse, fmt, time::Duration};

use super::{
    card::ModelCard,
    names::{ModelName, ProviderId},
    order::Candidate,
};

/// In which order a route's models are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// As the settings have them.
    #[default]
    Ordered,
    /// The lowest estimate of the order first, unknown prices last.
    Cheapest,
    /// The shortest usual time first, unknown times last.
    Fastest,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Self; 3] = [Self::Ordered, Self::Cheapest, Self::Fastest];

    /// The word in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Cheapest => "cheapest",
            Self::Fastest => "fastest",
        }
    }

    /// Of the word in the settings.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == word)
    }
}

/// A named list of models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// In which order they are tried.
    pub strategy: Strategy,
    /// The models, in the order of the settings.
    pub models: Vec<ModelName>,
    /// Most of them that one order is tried at.
    pub most: usize,
}

/// How many models one order is tried at by a route that is built in: nobody chose them, so a failure is told rather than paid for in patience.
const MOST_OF_BUILT_IN: usize = 3;

impl Route {
    /// Of the settings: all of its models may be tried.
    pub fn new(strategy: Strategy, models: Vec<ModelName>) -> Self {
        Self { strategy, models, most: usize::MAX }
    }

    /// What `fast` means when the settings do not say: the fastest of these models.
    pub fn fast<'a>(cards: impl IntoIterator<Item = (ModelName, &'a ModelCard)>) -> Self {
        let models = cards.into_iter().map(|(model, _)| model).collect();
        Self { strategy: Strategy::Fastest, models, most: MOST_OF_BUILT_IN }
    }

    /// What `quality` means when the settings do not say: of these models the dearest first, for vendors price what is better higher. The price is
    /// that of an ordinary output of each; models without one come last.
    pub fn quality<'a>(cards: impl IntoIterator<Item = (ModelName, &'a ModelCard)>) -> Self {
        let price = |card: &ModelCard| card.estimate(&card.defaults(), ORDINARY_PROMPT, &[]).map(|price| price.0);
        let mut priced: Vec<_> = cards.into_iter().map(|(model, card)| (Reverse(price(card)), model)).collect();
        priced.sort();
        let models = priced.into_iter().map(|(_, model)| model).collect();
        Self { strategy: Strategy::Ordered, models, most: MOST_OF_BUILT_IN }
    }

    /// Puts the candidates of an order, which come in the order of the settings, into the order in which they are tried. Those whose provider
    /// takes no work just now go to the end, and not away.
    ///
    /// `quoted` are the models of a quote that the order is made with: if it is for as many of these candidates as would be tried now, they
    /// are tried, and in its order, for the quote is for that and its price is settled.
    pub(super) fn arrange(&self, candidates: &mut Vec<Candidate>, quoted: &[ModelName], outlook: &dyn Outlook) {
        let is_among = |model: &ModelName| candidates.iter().any(|candidate| candidate.model == *model);
        if quoted.len() == candidates.len().min(self.most) && quoted.iter().all(is_among) {
            candidates.retain(|candidate| quoted.contains(&candidate.model));
            candidates.sort_by_key(|candidate| quoted.iter().position(|model| *model == candidate.model));
            return candidates.truncate(self.most);
        }
        let usual = |candidate: &Candidate| outlook.usual_time(&candidate.model).or(candidate.expected_time);
        // Sorting is stable, so equals stay as the settings have them.
        match self.strategy {
            Strategy::Ordered => {}
            Strategy::Cheapest => {
                candidates.sort_by_key(|candidate| candidate.estimate.map_or(i64::MAX, |estimate| estimate.0));
            }
            Strategy::Fastest => {
                candidates.sort_by_key(|candidate| usual(candidate).unwrap_or(Duration::MAX));
            }
        }
        candidates.sort_by_key(|candidate| outlook.rests(&candidate.model.provider));
        candidates.truncate(self.most);
    }
}

/// For prices by the character.
const ORDINARY_PROMPT: &str = "A red fox in fresh snow looks up, then runs towards the camera.";

/// What is known of models and providers just now.
pub trait Outlook: fmt::Debug + Send + Sync {
    /// Median time of a model's last successes here; none before there were enough.
    fn usual_time(&self, model: &ModelName) -> Option<Duration>;

    /// Whether a provider takes no new work just now.
    fn rests(&self, provider: &ProviderId) -> bool;

    /// False while new work for a model has to wait.
    fn takes_work(&self, model: &ModelName) -> bool;
}

/// Knows nothing: where nothing runs yet.
#[derive(Debug)]
pub struct NoOutlook;

impl Outlook for NoOutlook {
    fn usual_time(&self, _: &ModelName) -> Option<Duration> {
        None
    }

    fn rests(&self, _: &ProviderId) -> bool {
        false
    }

    fn takes_work(&self, _: &ModelName) -> bool {
        true
    }
}

/// Whether a route that is built in has this model on this day: it is still served.
pub fn is_served(card: &ModelCard, today: jiff::civil::Date) -> bool {
    card.end_of_life.is_none_or(|last| last >= today)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::domain::{life::tests::drafted, money::MicroUsd};

    #[derive(Debug, Default)]
    struct Seen {
        times: BTreeMap<ModelName, Duration>,
        resting: BTreeSet<ProviderId>,
    }

    impl Outlook for Seen {
        fn usual_time(&self, model: &ModelName) -> Option<Duration> {
            self.times.get(model).copied()
        }

        fn rests(&self, provider: &ProviderId) -> bool {
            self.resting.contains(provider)
        }

        fn takes_work(&self, model: &ModelName) -> bool {
            !self.rests(&model.provider)
        }
    }

    fn candidate(model: &str, estimate: Option<i64>, seconds: Option<u64>) -> Candidate {
        Candidate {
            model: model.parse().unwrap(),
            estimate: estimate.map(MicroUsd),
            expected_time: seconds.map(Duration::from_secs),
            ..drafted(1).candidates.remove(0)
        }
    }

    fn arranged(strategy: Strategy, outlook: &Seen) -> String {
        with_quote(&Route::new(strategy, Vec::new()), "", outlook)
    }

    fn with_quote(route: &Route, quoted: &str, outlook: &Seen) -> String {
        let mut candidates = vec![
            candidate("a/unknown", None, None),
            candidate("a/dear", Some(900), Some(30)),
            candidate("b/cheap", Some(100), Some(90)),
            candidate("c/cheap-too", Some(100), Some(60)),
        ];
        let quoted: Vec<ModelName> = quoted.split_whitespace().map(|model| model.parse().unwrap()).collect();
        route.arrange(&mut candidates, &quoted, outlook);
        let names: Vec<String> = candidates.iter().map(|candidate| candidate.model.to_string()).collect();
        names.join(" ")
    }

    #[test]
    fn each_strategy_has_its_order_with_the_unknown_last_and_ties_as_listed() {
        let seen = Seen::default();
        assert_eq!(arranged(Strategy::Ordered, &seen), "a/unknown a/dear b/cheap c/cheap-too");
        assert_eq!(arranged(Strategy::Cheapest, &seen), "b/cheap c/cheap-too a/dear a/unknown");
        assert_eq!(arranged(Strategy::Fastest, &seen), "a/dear c/cheap-too b/cheap a/unknown");
    }

    #[test]
    fn what_was_measured_goes_before_what_the_card_expects() {
        let mut seen = Seen::default();
        seen.times.insert("b/cheap".parse().unwrap(), Duration::from_secs(5));
        seen.times.insert("a/unknown".parse().unwrap(), Duration::from_secs(45));
        assert_eq!(arranged(Strategy::Fastest, &seen), "b/cheap a/dear a/unknown c/cheap-too");
    }

    #[test]
    fn models_of_a_resting_provider_go_to_the_end_in_order() {
        let resting = [ProviderId::from_id("a").unwrap()].into();
        let seen = Seen { resting, ..Seen::default() };
        assert_eq!(arranged(Strategy::Ordered, &seen), "b/cheap c/cheap-too a/unknown a/dear");
        assert_eq!(arranged(Strategy::Fastest, &seen), "c/cheap-too b/cheap a/dear a/unknown");
    }

    #[test]
    fn a_quote_of_the_route_binds_its_models_and_their_order() {
        let resting = [ProviderId::from_id("a").unwrap()].into();
        let seen = Seen { resting, ..Seen::default() };
        let whole = Route::new(Strategy::Cheapest, Vec::new());
        let two = Route { most: 2, ..whole.clone() };
        let quoted = "a/dear c/cheap-too a/unknown b/cheap";
        assert_eq!(with_quote(&whole, quoted, &seen), quoted);
        assert_eq!(with_quote(&two, "a/dear a/unknown", &seen), "a/dear a/unknown");
        // Of something else: the route's own order, which the quote then does not fit.
        let own = "b/cheap c/cheap-too";
        assert_eq!(with_quote(&two, "a/dear", &seen), own);
        assert_eq!(with_quote(&two, "a/dear x/other", &seen), own);
    }

    #[test]
    fn the_built_in_routes_prefer_speed_and_what_vendors_price_higher() {
        let card = |name: &str, price: &str| -> (ModelName, ModelCard) {
            let card = toml::from_str(&format!("name = '{name}'\nkind = 'image'\n{price}")).unwrap();
            (format!("a/{name}").parse().unwrap(), card)
        };
        let cards = [
            card("free", ""),
            card("plain", "price = { unit = 'output', micro_usd = 10 }"),
            card("pro", "price = { unit = 'output', micro_usd = 500 }"),
        ];
        let listed = || cards.iter().map(|(name, card)| (name.clone(), card));
        let quality = Route::quality(listed());
        let names: Vec<String> = quality.models.iter().map(ToString::to_string).collect();
        assert_eq!((quality.strategy, names.join(" ").as_str()), (Strategy::Ordered, "a/pro a/plain a/free"));
        assert_eq!((Route::fast(listed()).strategy, quality.most), (Strategy::Fastest, MOST_OF_BUILT_IN));
    }
}
