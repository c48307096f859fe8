//! Cards and providers in words.

use std::{collections::BTreeMap, time::Duration};

use super::{kind, values};
use crate::{
    domain::{
        card::{ExpectedTime, InputSpec, ModelCard, OptionSpec, Size, SizeSpec},
        catalog::ProviderEntry,
        names::{ProviderId, RouteName},
        order::{InputRole, OptionName, OptionValue},
        price::{Price, PriceUnit},
        route::{Route, Strategy},
    },
    engine::ProviderState,
    pb::v1,
};

/// A card of a provider, as callers read it.
pub(in crate::door) fn model(provider: &ProviderId, entry: &ProviderEntry, card: &ModelCard) -> v1::Model {
    let size = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
    v1::Model {
        name: format!("{provider}/{}", card.name),
        kind: kind(card.kind).into(),
        title: card.title.clone(),
        prompt_characters: Some(v1::IntRange { minimum: size(card.prompt.min), maximum: size(card.prompt.max) }),
        options: card.options.iter().map(option).chain(card.size.iter().flat_map(sides)).collect(),
        inputs: card.inputs.iter().map(|(role, spec)| input(*role, spec)).collect(),
        price: card.price.as_ref().map(price),
        expected_time: card.expected_time(&card.defaults()).map(values::duration),
        end_of_life: card.end_of_life.map(|day| day.to_string()).unwrap_or_default(),
        source: card.source.clone(),
        available: entry.missing.is_none(),
        aliases: card.aliases.clone(),
        modes: card.modes().into_iter().map(str::to_owned).collect(),
        measured_time: None,
        ready: entry.missing.is_none(),
        provider_options: card.provider_options.clone(),
        expected_times: card.expected_when.iter().map(expected_time).collect(),
        chat: None,
    }
}

/// A provider with what was seen of it lately.
pub(in crate::door) fn provider(state: &ProviderState) -> v1::Provider {
    let health = match state.up {
        None => v1::ProviderHealth::Unknown,
        Some(true) => v1::ProviderHealth::Up,
        Some(false) => v1::ProviderHealth::Down,
    };
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    v1::Provider {
        name: state.id.to_string(),
        configured: state.missing.is_none(),
        how_to_configure: state.missing.clone().unwrap_or_default(),
        health: health.into(),
        n_running: count(state.n_running),
        n_queued: count(state.n_queued),
        concurrency: count(state.concurrency),
        resting_until_time: state.resting_until.map(values::timestamp),
        n_recent_answered: state.n_recent_answered,
        n_recent_failed: state.n_recent_failed,
        submits_per_minute: state.rate.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX)).unwrap_or_default(),
        n_keys_usable: count(state.keys.0),
        n_keys: count(state.keys.1),
    }
}

/// A route, as callers read it.
pub(in crate::door) fn route(name: &RouteName, route: &Route) -> v1::Route {
    let strategy = match route.strategy {
        Strategy::Ordered => v1::RouteStrategy::Ordered,
        Strategy::Cheapest => v1::RouteStrategy::Cheapest,
        Strategy::Fastest => v1::RouteStrategy::Fastest,
    };
    let models = route.models.iter().map(ToString::to_string).collect();
    v1::Route { name: name.id().to_owned(), strategy: strategy.into(), models }
}

/// What a model costs.
pub(in crate::door) fn price(price: &Price) -> v1::Price {
    v1::Price {
        unit: price_unit(price.unit).into(),
        micro_usd: price.micro_usd.0,
        per: price.per.get().into(),
        base_micro_usd: price.base.0,
        step: price.step.unwrap_or_default(),
        variants: price
            .when
            .iter()
            .map(|variant| v1::PriceVariant { options: words(&variant.options), micro_usd: variant.micro_usd.0 })
            .collect(),
    }
}

fn expected_time(expected: &ExpectedTime) -> v1::ExpectedTime {
    let time = Duration::try_from_secs_f64(expected.seconds).ok();
    v1::ExpectedTime { options: words(&expected.options), expected_time: time.map(values::duration) }
}

fn words(options: &BTreeMap<OptionName, OptionValue>) -> BTreeMap<String, String> {
    options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn option((name, spec): (&OptionName, &OptionSpec)) -> v1::ModelOption {
    v1::ModelOption {
        field: name.to_string(),
        allowed: spec.allowed(),
        default_value: spec.default.as_ref().map(ToString::to_string).unwrap_or_default(),
        values: spec.one_of.iter().map(ToString::to_string).collect(),
        minimum: spec.min,
        maximum: spec.max,
    }
}

/// Width and height of a card that takes them as one.
fn sides(size: &SizeSpec) -> [v1::ModelOption; 2] {
    let side = |name: OptionName, of: fn(&Size) -> u32| v1::ModelOption {
        field: name.to_string(),
        allowed: format!("width and height together: {}", size.allowed()),
        default_value: size.default.map(|size| of(&size).to_string()).unwrap_or_default(),
        values: size.one_of.iter().map(|size| of(size).to_string()).collect(),
        minimum: size.min_side.map(f64::from),
        maximum: size.max_side.map(f64::from),
    };
    [side(OptionName::Width, |size| size.width), side(OptionName::Height, |size| size.height)]
}

fn input(role: InputRole, spec: &InputSpec) -> v1::ModelInput {
    v1::ModelInput {
        role: role.to_string(),
        required: spec.required,
        maximum: u32::try_from(spec.max).unwrap_or(u32::MAX),
    }
}

fn price_unit(unit: PriceUnit) -> v1::PriceUnit {
    match unit {
        PriceUnit::OutputSecond => v1::PriceUnit::OutputSecond,
        PriceUnit::Output => v1::PriceUnit::Output,
        PriceUnit::ComputeSecond => v1::PriceUnit::ComputeSecond,
        PriceUnit::Character => v1::PriceUnit::Character,
        PriceUnit::Megapixel => v1::PriceUnit::Megapixel,
        PriceUnit::Token => v1::PriceUnit::Token,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_told_in_words() {
        let card: ModelCard = toml::from_str(
            r#"
            name = "minimax/video-01"
            kind = "video"
            expected_seconds = 90.5
            end_of_life = "2027-01-31"
            price = { unit = "output", micro_usd = 500_000 }
            [options.duration]
            one_of = [5, 10]
            default = 5
            [options.guidance]
            min = 0
            max = 1.5
            [inputs.first_frame]
            field = "image"
            required = true
            "#,
        )
        .unwrap();
        let entry = ProviderEntry { missing: Some("set X".to_owned()), open: true, ..ProviderEntry::default() };
        let shown = model(&ProviderId::from_id("replicate").unwrap(), &entry, &card);
        assert_eq!(shown.name, "replicate/minimax/video-01");
        let options: Vec<_> =
            shown.options.iter().map(|o| (o.field.as_str(), o.allowed.as_str(), o.default_value.as_str())).collect();
        assert_eq!(options, [("duration", "5, 10", "5"), ("guidance", "0 to 1.5", "")]);
        let inputs = v1::ModelInput { role: "INPUT_ROLE_FIRST_FRAME".to_owned(), required: true, maximum: 1 };
        assert_eq!(shown.inputs, [inputs]);
        assert_eq!((shown.end_of_life.as_str(), shown.available), ("2027-01-31", false));
        assert_eq!(shown.expected_time, Some(prost_types::Duration { seconds: 90, nanos: 500_000_000 }));
        assert_eq!(shown.price.unwrap().micro_usd, 500_000);
    }
}
