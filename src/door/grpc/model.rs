//! `ModelService`: the catalog and the providers' live state, both in memory.

use tonic::{Request, Response, Status};

use super::{Door, call, caller, span};
use crate::{
    domain::{
        artifact::Made,
        card::ModelCard,
        catalog::{Catalog, ProviderEntry},
        chat::{ChatCard, TokenUsage},
        money::MicroUsd,
        names::{ModelName, ProviderId, RouteName},
        order::{InputRole, OptionName, Violation},
    },
    door::{
        accept,
        pages::Wanted,
        present,
        refusal::{Refusal, Resource, both},
    },
    engine::ProviderState,
    pb::v1::{self, model_service_server::ModelService},
};

#[tonic::async_trait]
impl ModelService for Door {
    async fn list_models(
        &self,
        request: Request<v1::ListModelsRequest>,
    ) -> Result<Response<v1::ListModelsResponse>, Status> {
        call(span("ListModels", &request), async {
            caller(&request)?;
            list_models(self.engine.catalog(), request.get_ref())
        })
        .await
    }

    async fn get_model(&self, request: Request<v1::GetModelRequest>) -> Result<Response<v1::GetModelResponse>, Status> {
        call(span("GetModel", &request), async {
            caller(&request)?;
            Ok(v1::GetModelResponse { model: Some(get_model(self.engine.catalog(), &request.get_ref().name)?) })
        })
        .await
    }

    async fn list_routes(
        &self,
        request: Request<v1::ListRoutesRequest>,
    ) -> Result<Response<v1::ListRoutesResponse>, Status> {
        call(span("ListRoutes", &request), async {
            caller(&request)?;
            list_routes(self.engine.catalog(), request.get_ref())
        })
        .await
    }

    async fn list_providers(
        &self,
        request: Request<v1::ListProvidersRequest>,
    ) -> Result<Response<v1::ListProvidersResponse>, Status> {
        call(span("ListProviders", &request), async {
            caller(&request)?;
            list_providers(self.engine.providers(), request.get_ref())
        })
        .await
    }
}

/// A card with its provider.
struct Row<'a> {
    provider: &'a ProviderId,
    entry: &'a ProviderEntry,
    card: Card<'a>,
}

/// A card of either sort.
#[derive(Clone, Copy)]
enum Card<'a> {
    Media(&'a ModelCard),
    Chat(&'a ChatCard),
}

impl Card<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Media(card) => &card.name,
            Self::Chat(card) => &card.name,
        }
    }

    fn made(&self) -> Made {
        match self {
            Self::Media(card) => Made::Media(card.kind),
            Self::Chat(_) => Made::Text,
        }
    }
}

impl Row<'_> {
    fn key(&self) -> (String, String) {
        (self.provider.id().to_owned(), self.card.name().to_owned())
    }

    /// Whether it has an option, a mode or an input role of this name; a language model has none.
    fn can(&self, capability: &str) -> bool {
        let Card::Media(card) = self.card else { return false };
        let sized = card.size.is_some()
            && [OptionName::Width, OptionName::Height].iter().any(|side| side.as_str() == capability);
        sized
            || card.options.keys().any(|option| option.as_str() == capability)
            || card.modes().contains(&capability)
            || card.inputs.keys().any(|role| role.as_str() == capability)
    }

    /// Whether the price of an order that sets nothing is known and no more than `most`. Of a video from pictures that is one picture, of a
    /// price by character one character, and of a language model one token each way.
    fn costs_at_most(&self, most: MicroUsd) -> bool {
        let price = match self.card {
            Card::Media(card) => {
                let needed: Vec<_> =
                    card.inputs.iter().filter(|(_, input)| input.required).map(|(role, _)| *role).collect();
                card.estimate(&card.defaults(), "x", &needed)
            }
            Card::Chat(card) => {
                card.price.map(|price| price.of(&TokenUsage { input: 1, output: 1, ..TokenUsage::default() }))
            }
        };
        price.is_some_and(|price| price <= most)
    }
}

/// Names of options, modes and input roles; one that nothing in the contract has is a mistake.
fn capabilities(asked: &[String]) -> Result<Vec<String>, Refusal> {
    const MODES: [&str; 8] =
        ["text", "first_frame", "first_and_last_frame", "reference", "source", "mask", "sequence", "audio"];
    let known = |name: &str| {
        OptionName::ALL.iter().any(|option| option.as_str() == name)
            || InputRole::ALL.iter().any(|role| role.as_str() == name)
            || MODES.contains(&name)
    };
    let unknown = asked.iter().enumerate().filter(|(_, name)| !known(name)).map(|(index, _)| {
        Violation::new(
            format!("capabilities[{index}]"),
            format!(
                "is no option such as seed, no input role such as INPUT_ROLE_MASK, and no mode; modes: {}",
                MODES.join(", ")
            ),
        )
    });
    let unknown: Vec<_> = unknown.collect();
    if unknown.is_empty() { Ok(asked.to_vec()) } else { Err(Refusal::Invalid(unknown)) }
}

fn most(micro_usd: Option<i64>) -> Result<Option<MicroUsd>, Refusal> {
    match micro_usd {
        Some(most) if most < 0 => Err(Refusal::field("max_micro_usd", "must not be negative")),
        most => Ok(most.map(MicroUsd)),
    }
}

fn list_models(catalog: &Catalog, request: &v1::ListModelsRequest) -> Result<v1::ListModelsResponse, Refusal> {
    let filters = both(accept::made_filter(request.kind), accept::filter::<ProviderId>(&request.provider, "provider"));
    let filters = both(filters, capabilities(&request.capabilities));
    let filters = both(filters, most(request.max_micro_usd));
    // The page token belongs to this filter too.
    let filters = both(filters, Ok(request.available));
    let (((((kind, provider), capabilities), most), available), wanted) =
        Wanted::<(String, String)>::read("ListModels", filters, request.page_size, &request.page_token)?;
    let mut rows = rows(catalog, kind, provider.as_ref());
    rows.retain(|row| {
        capabilities.iter().all(|wanted| row.can(wanted))
            && most.is_none_or(|most| row.costs_at_most(most))
            && (!available || row.entry.missing.is_none())
    });
    rows.retain(|row| wanted.after().is_none_or(|after| row.key() > *after));
    let (models, next_page_token) =
        wanted.cut(&rows, Row::key, |row| shown(catalog, row.provider, row.entry, row.card));
    Ok(v1::ListModelsResponse { models, next_page_token })
}

/// A card with what is known of the model just now.
fn shown(catalog: &Catalog, provider: &ProviderId, entry: &ProviderEntry, card: Card<'_>) -> v1::Model {
    let model = ModelName { provider: provider.clone(), name: card.name().to_owned() };
    let measured_time = catalog.outlook.usual_time(&model).map(present::duration);
    let ready = entry.missing.is_none() && catalog.outlook.takes_work(&model);
    let shown = match card {
        Card::Media(card) => present::model(provider, entry, card),
        Card::Chat(card) => present::chat_model(provider, entry, card),
    };
    v1::Model { measured_time, ready, ..shown }
}

fn rows<'a>(catalog: &'a Catalog, kind: Option<Made>, provider: Option<&ProviderId>) -> Vec<Row<'a>> {
    let providers = catalog.providers.iter().filter(|(id, _)| provider.is_none_or(|wanted| wanted == *id));
    let cards = providers
        .flat_map(|(provider, entry)| {
            let media = entry.cards.iter().map(|card| Card::Media(card));
            let chat = entry.chat_cards.iter().map(|card| Card::Chat(card));
            media.chain(chat).map(move |card| Row { provider, entry, card })
        })
        .filter(|row| kind.is_none_or(|wanted| wanted == row.card.made()));
    let mut rows: Vec<Row<'_>> = cards.collect();
    rows.sort_by_key(Row::key);
    rows
}

fn get_model(catalog: &Catalog, name: &str) -> Result<v1::Model, Refusal> {
    let model = match catalog.named(name, None).or_else(|| catalog.named_chat(name)) {
        Some(model) => model,
        None => accept::name(name, "name")?,
    };
    let media = || catalog.card(&model).map(|card| (model.clone(), Card::Media(card)));
    let chat = || {
        let model = catalog.named_chat(name)?;
        catalog.chat_card(&model).map(|card| (model.clone(), Card::Chat(card)))
    };
    let found = media().or_else(chat).and_then(|(model, card)| {
        let entry = catalog.providers.get(&model.provider)?;
        Some(shown(catalog, &model.provider, entry, card))
    });
    found.ok_or_else(|| Refusal::NotFound(Resource::Model, model.to_string()))
}

fn list_routes(catalog: &Catalog, request: &v1::ListRoutesRequest) -> Result<v1::ListRoutesResponse, Refusal> {
    let ((), wanted) = Wanted::<String>::read("ListRoutes", Ok(()), request.page_size, &request.page_token)?;
    let after = |name: &RouteName| wanted.after().is_none_or(|after| name.id() > after.as_str());
    let routes: Vec<_> = catalog.routes.iter().filter(|(name, _)| after(name)).collect();
    let (routes, next_page_token) =
        wanted.cut(&routes, |(name, _)| name.id().to_owned(), |(name, route)| present::route(name, route));
    Ok(v1::ListRoutesResponse { routes, next_page_token })
}

fn list_providers(
    mut providers: Vec<ProviderState>,
    request: &v1::ListProvidersRequest,
) -> Result<v1::ListProvidersResponse, Refusal> {
    let ((), wanted) = Wanted::<String>::read("ListProviders", Ok(()), request.page_size, &request.page_token)?;
    providers.retain(|provider| wanted.after().is_none_or(|after| provider.id.id() > after.as_str()));
    providers.sort_by(|one, other| one.id.cmp(&other.id));
    let (providers, next_page_token) =
        wanted.cut(&providers, |provider| provider.id.id().to_owned(), present::provider);
    Ok(v1::ListProvidersResponse { providers, next_page_token })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::route::{Route, Strategy};

    fn catalog() -> Catalog {
        let entry = |cards: &[&str]| {
            let cards = cards.iter().map(|toml| Arc::new(toml::from_str(toml).unwrap())).collect();
            ProviderEntry { cards, ..ProviderEntry::default() }
        };
        let id = |id| ProviderId::from_id(id).unwrap();
        let fal = entry(&["name = 'z'\nkind = 'video'\naliases = ['zed']", "name = 'a'\nkind = 'image'"]);
        let sample = entry(&["name = 's'\nkind = 'video'"]);
        let providers = [(id("sample"), sample), (id("fal"), fal)].into();
        Catalog { providers, ..Catalog::default() }
    }

    fn names(response: &v1::ListModelsResponse) -> Vec<&str> {
        response.models.iter().map(|model| model.name.as_str()).collect()
    }

    #[test]
    fn models_come_by_provider_and_name_page_by_page() {
        let mut request = v1::ListModelsRequest { page_size: 2, ..Default::default() };
        let first = list_models(&catalog(), &request).unwrap();
        assert_eq!(names(&first), ["fal/a", "fal/z"]);
        request.page_token.clone_from(&first.next_page_token);
        let second = list_models(&catalog(), &request).unwrap();
        assert_eq!((names(&second), second.next_page_token.as_str()), (vec!["sample/s"], ""));
        request.kind = v1::Kind::Video.into();
        assert!(list_models(&catalog(), &request).is_err(), "the token belongs to other filters");
    }

    #[test]
    fn filters_choose_models() {
        let list = |kind: v1::Kind, provider: &str| {
            let request =
                v1::ListModelsRequest { kind: kind.into(), provider: provider.to_owned(), ..Default::default() };
            list_models(&catalog(), &request).map(|response| names(&response).join(" "))
        };
        assert_eq!(list(v1::Kind::Video, "").unwrap(), "fal/z sample/s");
        assert_eq!(list(v1::Kind::Video, "fal").unwrap(), "fal/z");
        assert_eq!(list(v1::Kind::Music, "").unwrap(), "");
        assert_eq!(list(v1::Kind::Unspecified, "unknown").unwrap(), "");
        assert!(list(v1::Kind::Unspecified, "NO SUCH").is_err());
    }

    #[test]
    fn models_are_chosen_by_what_they_can_do_and_cost() {
        let mut catalog = catalog();
        let cards = [
            "name = 'a'\nkind = 'image'\nprice = { unit = 'output', micro_usd = 3000 }\n[options.seed]\n[inputs.mask]",
            "name = 'b'\nkind = 'video'\nprice = { unit = 'output_second', micro_usd = 100 }\n[options.duration]\ndefault = 5\n\
             [inputs.first_frame]\n[inputs.last_frame]",
        ];
        let cards = cards.map(|toml| Arc::new(toml::from_str(toml).unwrap())).to_vec();
        let entry = ProviderEntry { cards, missing: Some("set KEY".to_owned()), ..ProviderEntry::default() };
        catalog.providers.insert(ProviderId::from_id("acme").unwrap(), entry);
        let list = |capabilities: &[&str], max_micro_usd, available| {
            let capabilities = capabilities.iter().map(|name| (*name).to_owned()).collect();
            let request = v1::ListModelsRequest { capabilities, max_micro_usd, available, ..Default::default() };
            list_models(&catalog, &request).map(|response| names(&response).join(" "))
        };
        assert_eq!(list(&["seed"], None, false).unwrap(), "acme/a");
        assert_eq!(list(&["seed", "INPUT_ROLE_MASK"], None, false).unwrap(), "acme/a");
        assert_eq!(list(&["first_and_last_frame"], None, false).unwrap(), "acme/b");
        assert_eq!(list(&["seed", "duration"], None, false).unwrap(), "");
        assert_eq!(list(&[], Some(3000), false).unwrap(), "acme/a acme/b");
        assert_eq!(list(&[], Some(499), false).unwrap(), "");
        assert_eq!(list(&["text"], None, true).unwrap(), "fal/a fal/z sample/s");
        let Err(Refusal::Invalid(wrong)) = list(&["seed", "magic"], Some(-1), false) else { panic!("accepted") };
        let fields: Vec<_> = wrong.iter().map(|wrong| wrong.field.as_str()).collect();
        assert_eq!(fields, ["capabilities[1]", "max_micro_usd"]);
    }

    #[test]
    fn a_model_is_found_by_name_or_alias() {
        assert_eq!(get_model(&catalog(), "fal/zed").unwrap().name, "fal/z");
        assert!(
            matches!(get_model(&catalog(), "fal/x"), Err(Refusal::NotFound(Resource::Model, name)) if name == "fal/x")
        );
        assert!(matches!(get_model(&catalog(), "rubbish"), Err(Refusal::Invalid(_))));
    }

    #[test]
    fn routes_come_by_name() {
        let mut catalog = catalog();
        let route = |strategy| Route::new(strategy, vec!["fal/z".parse().unwrap(), "sample/s".parse().unwrap()]);
        let name = |name| RouteName::from_id(name).unwrap();
        catalog.routes =
            [(name("quality"), route(Strategy::Cheapest)), (name("fast"), route(Strategy::Fastest))].into();
        let mut request = v1::ListRoutesRequest { page_size: 1, ..Default::default() };
        let first = list_routes(&catalog, &request).unwrap();
        let models = vec!["fal/z".to_owned(), "sample/s".to_owned()];
        let fast = v1::Route { name: "fast".to_owned(), strategy: v1::RouteStrategy::Fastest.into(), models };
        assert_eq!(first.routes, [fast]);
        request.page_token = first.next_page_token;
        let second = list_routes(&catalog, &request).unwrap();
        assert_eq!((second.routes[0].name.as_str(), second.next_page_token.as_str()), ("quality", ""));
        assert_eq!(second.routes[0].strategy(), v1::RouteStrategy::Cheapest);
    }

    #[test]
    fn providers_come_by_name() {
        let state = |id: &str| ProviderState {
            id: ProviderId::from_id(id).unwrap(),
            missing: None,
            up: None,
            n_running: 1,
            n_queued: 2,
            concurrency: 3,
            resting_until: None,
            n_recent_answered: 0,
            n_recent_failed: 0,
            rate: None,
            keys: (1, 1),
        };
        let mut request = v1::ListProvidersRequest { page_size: 1, ..Default::default() };
        let first = list_providers(vec![state("b"), state("a")], &request).unwrap();
        assert_eq!(first.providers[0].name, "a");
        request.page_token = first.next_page_token;
        let second = list_providers(vec![state("b"), state("a")], &request).unwrap();
        assert_eq!((second.providers[0].name.as_str(), second.next_page_token.as_str()), ("b", ""));
    }
}
