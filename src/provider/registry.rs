//! Which vendors there are: those with their credentials, guarded, and those that only need to be configured.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::domain::{
    artifact::Kind,
    card::ModelCard,
    catalog::{Catalog, ProviderEntry, SAMPLE},
    chat::ChatCard,
    names::{ModelName, ProviderId, RouteName},
    route::{Route, is_served},
};

use super::{
    chat::ChatProvider,
    guard::{Deadlines, Guarded},
    port::Provider,
};

/// Every vendor this build knows.
#[derive(Debug, Default)]
pub struct Registry {
    configured: BTreeMap<ProviderId, Arc<Guarded>>,
    missing: BTreeMap<ProviderId, Missing>,
}

/// A vendor without its credentials.
#[derive(Debug, Clone, Default)]
pub struct Missing {
    /// The cards it would serve.
    pub cards: Vec<Arc<ModelCard>>,
    /// The cards of the language models it would serve.
    pub chat_cards: Vec<Arc<ChatCard>>,
    /// What to set to configure it.
    pub how: String,
}

impl Registry {
    /// With `providers` configured.
    pub fn new(providers: impl IntoIterator<Item = (Arc<dyn Provider>, Deadlines)>) -> Self {
        let guarded = |(provider, deadlines): (Arc<dyn Provider>, _)| {
            (provider.id().clone(), Arc::new(Guarded::new(provider, deadlines)))
        };
        Self { configured: providers.into_iter().map(guarded).collect(), missing: BTreeMap::new() }
    }

    /// Whose vendors rest so long at first when their calls fail.
    #[must_use]
    pub fn resting_for(self, first: Duration) -> Self {
        self.configured.values().for_each(|vendor| vendor.breaker().rest_first_for(first));
        self
    }

    /// And with a vendor that is known and not configured.
    #[must_use]
    pub fn without(mut self, id: ProviderId, missing: Missing) -> Self {
        if !self.configured.contains_key(&id) {
            self.missing.insert(id, missing);
        }
        self
    }

    /// A configured vendor.
    pub fn get(&self, id: &ProviderId) -> Option<&Arc<Guarded>> {
        self.configured.get(id)
    }

    /// Every configured vendor, by id.
    pub fn configured(&self) -> impl Iterator<Item = &Arc<Guarded>> {
        self.configured.values()
    }

    /// What can be ordered.
    ///
    /// The default of each kind is `explicit` for the kind that it makes (video when no card tells), else the first of
    /// `preferred` whose vendor is configured, else the sample. An explicit choice stands even if its vendor is not
    /// configured: it is then refused with what to set, and never served by the sample in silence.
    pub fn catalog(
        &self,
        routes: BTreeMap<RouteName, Route>,
        explicit: Option<&ModelName>,
        preferred: &[ModelName],
    ) -> Catalog {
        let routes = self.built_in().into_iter().chain(routes).collect();
        let mut catalog = Catalog { providers: self.entries(), routes, ..Catalog::default() };
        let kind_of = |model: &ModelName| catalog.card(model).map_or(Kind::Video, |card| card.kind);
        let mut defaults = BTreeMap::new();
        for kind in Kind::ALL {
            let explicit = explicit.filter(|model| kind_of(model) == kind);
            let is_usable = |model: &&ModelName| self.get(&model.provider).is_some() && kind_of(model) == kind;
            let chosen = explicit.or_else(|| preferred.iter().find(is_usable)).cloned();
            if let Some(model) = chosen.or_else(|| self.sample_for(kind)) {
                defaults.insert(kind, model);
            }
        }
        catalog.defaults = defaults;
        catalog
    }

    /// What `fast` and `quality` mean unless the settings say: of every kind the models of the vendors that are configured, without those past
    /// their end of life; the sample's where no vendor has one.
    fn built_in(&self) -> BTreeMap<RouteName, Route> {
        let today = jiff::Zoned::now().date();
        let of = |is_sample: bool, kind: Kind| {
            let vendors = self.configured.iter().filter(move |(id, _)| (id.id() == SAMPLE) == is_sample);
            let cards = vendors.flat_map(|(id, vendor)| vendor.models().iter().map(move |card| (id, &**card)));
            cards.filter(move |(_, card)| card.kind == kind && is_served(card, today)).collect::<Vec<_>>()
        };
        let of_kind = |kind| Some(of(false, kind)).filter(|cards| !cards.is_empty()).unwrap_or_else(|| of(true, kind));
        let cards = || {
            let cards = Kind::ALL.into_iter().flat_map(of_kind);
            cards.map(|(id, card)| (ModelName { provider: id.clone(), name: card.name.clone() }, card))
        };
        let named = |name, route| RouteName::from_id(name).ok().map(|name| (name, route));
        [named("fast", Route::fast(cards())), named("quality", Route::quality(cards()))].into_iter().flatten().collect()
    }

    fn entries(&self) -> BTreeMap<ProviderId, ProviderEntry> {
        let configured = self.configured.iter().map(|(id, provider)| {
            let chat = Provider::chat(&**provider);
            let entry = ProviderEntry {
                cards: provider.models().to_vec(),
                missing: None,
                open: provider.serves_undescribed(),
                chat_cards: chat.map(|chat| chat.chat_models().to_vec()).unwrap_or_default(),
                open_chat: chat.is_some_and(ChatProvider::serves_undescribed_chat),
            };
            (id.clone(), entry)
        });
        let missing = self.missing.iter().map(|(id, missing)| {
            let entry = ProviderEntry {
                cards: missing.cards.clone(),
                missing: Some(missing.how.clone()),
                open: false,
                chat_cards: missing.chat_cards.clone(),
                open_chat: false,
            };
            (id.clone(), entry)
        });
        configured.chain(missing).collect()
    }

    fn sample_for(&self, kind: Kind) -> Option<ModelName> {
        let (id, sample) = self.configured.iter().find(|(id, _)| id.id() == SAMPLE)?;
        let card = sample.models().iter().find(|card| card.kind == kind)?;
        Some(ModelName { provider: id.clone(), name: card.name.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use secrecy::SecretString;

    use super::*;
    use crate::provider::{
        replicate::{self, Replicate, ReplicateSettings},
        sample::Sample,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn name(text: &str) -> ModelName {
        text.parse().unwrap()
    }

    fn sample() -> (Arc<dyn Provider>, Deadlines) {
        (Arc::new(Sample::new(None, SECOND).unwrap()), Deadlines::of(SECOND, SECOND))
    }

    fn with_replicate() -> Registry {
        let replicate = Replicate::new(ReplicateSettings {
            api_token: SecretString::from("secret"),
            webhook_secret: None,
            base_url: "https://api.replicate.com/v1".parse().unwrap(),
            timeout: SECOND,
            download_timeout: SECOND,
            id: ProviderId::from_id(replicate::REPLICATE).unwrap(),
            cards: replicate::VENDOR.all_cards(Vec::new()).unwrap(),
        });
        Registry::new([sample(), (Arc::new(replicate.unwrap()), Deadlines::of(SECOND, SECOND))])
    }

    fn without_replicate() -> Registry {
        let cards = replicate::VENDOR.all_cards(Vec::new()).unwrap();
        let how = replicate::VENDOR.how_to_configure.to_owned();
        let missing = Missing { cards, how, ..Missing::default() };
        Registry::new([sample()]).without(ProviderId::from_id(replicate::REPLICATE).unwrap(), missing)
    }

    #[tokio::test]
    async fn the_default_is_the_explicit_model_then_a_configured_one_then_the_sample() {
        let preferred = [name("replicate/minimax/video-01")];
        let check = |registry: &Registry, explicit: Option<&str>, video: &str, image: &str| {
            let explicit = explicit.map(name);
            let catalog = registry.catalog(BTreeMap::new(), explicit.as_ref(), &preferred);
            assert_eq!(catalog.defaults[&Kind::Video], name(video), "{explicit:?}");
            assert_eq!(catalog.defaults[&Kind::Image], name(image), "{explicit:?}");
            assert_eq!(catalog.defaults[&Kind::Speech], name("sample/speech"));
            assert_eq!(catalog.defaults[&Kind::Music], name("sample/music"));
        };
        let (with, without) = (with_replicate(), without_replicate());
        check(&with, None, "replicate/minimax/video-01", "sample/image");
        check(&without, None, "sample/video", "sample/image");
        check(&with, Some("sample/video"), "sample/video", "sample/image");
        check(&without, Some("replicate/google/veo-3.1"), "replicate/google/veo-3.1", "sample/image");
        check(&with, Some("replicate/me/undescribed"), "replicate/me/undescribed", "sample/image");
        let flux = "replicate/black-forest-labs/flux-schnell";
        check(&with, Some(flux), "replicate/minimax/video-01", flux);
    }

    #[tokio::test]
    async fn a_vendor_without_its_key_is_shown_with_what_to_set() {
        let replicate = ProviderId::from_id(replicate::REPLICATE).unwrap();
        let entry_of =
            |registry: &Registry| registry.catalog(BTreeMap::new(), None, &[]).providers.remove(&replicate).unwrap();
        let (with, without) = (with_replicate(), without_replicate());
        assert!(with.get(&replicate).is_some() && without.get(&replicate).is_none());
        assert_eq!((entry_of(&with).missing, entry_of(&with).open), (None, true));
        assert!(entry_of(&without).missing.unwrap().contains("REPLICATE_API_TOKEN"));
        assert_eq!(entry_of(&with).cards.len(), entry_of(&without).cards.len());
        assert_eq!(with.configured().count(), 2);
    }
}
