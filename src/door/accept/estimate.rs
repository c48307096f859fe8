//! Orders whose price is asked for: read like those that are placed, but for what plays no part in a price.

use std::time::Duration;

use super::{Ordered, Ordering, Prompt, Violations, made, read, values};
use crate::{
    callback::Targets,
    domain::{
        catalog::Catalog,
        order::{Candidate, InputRole, Violation},
        price::PriceUnit,
    },
    door::{caller::Caller, refusal::Refusal},
    engine::request::Request,
    pb::v1::{self, order_to_estimate::Order},
};

/// Most orders of one request, and most of one kind of them.
const MAX_ORDERS: usize = 100;
const MAX_COUNT: u32 = 10_000;
/// Shortest and longest life of a quote.
const MIN_TTL: Duration = Duration::from_secs(1);
const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Lengths of the prompts that stand in for one that is left out: most models take one of them.
const STAND_INS: [usize; 3] = [1, 12, 100];

/// An order to estimate.
#[derive(Debug)]
pub(in crate::door) struct ToEstimate {
    /// The prompt, trimmed; perhaps empty.
    pub(in crate::door) prompt: String,
    /// The model that it would be tried at first.
    pub(in crate::door) first: Candidate,
    /// Roles of the inputs in order.
    pub(in crate::door) inputs: Vec<InputRole>,
    /// How many such orders.
    pub(in crate::door) count: u32,
    /// The whole request, if a quote is asked for.
    pub(in crate::door) request: Option<Request>,
}

/// Orders to estimate, and how long quotes for them are to bind.
#[derive(Debug)]
pub(in crate::door) struct ToEstimates {
    /// The orders.
    pub(in crate::door) orders: Vec<ToEstimate>,
    /// None if no quotes are asked for.
    pub(in crate::door) quote_ttl: Option<Duration>,
}

/// The orders, or all that is wrong with any of them.
pub(in crate::door) fn estimates(
    request: v1::EstimateCostRequest,
    caller: &Caller,
    catalog: &Catalog,
    targets: &Targets,
) -> Result<ToEstimates, Refusal> {
    let mut violations = Violations::default();
    let n_orders = request.orders.len();
    if !(1..=MAX_ORDERS).contains(&n_orders) {
        return Err(Refusal::field("orders", format!("has {n_orders} orders; needs 1 to {MAX_ORDERS}")));
    }
    let quote_ttl = request.quote_ttl.as_ref().and_then(|ttl| ttl_of(ttl, &mut violations));
    // A wrong time is no reason to read the orders less strictly.
    let quoting = request.quote_ttl.as_ref().map(|_| caller);
    let mut orders = Vec::with_capacity(n_orders);
    for (index, order) in request.orders.into_iter().enumerate() {
        let path = format!("orders[{index}]");
        let count = order.count.unwrap_or(1);
        if count > MAX_COUNT {
            violations.add(format!("{path}.count"), format!("must be from 0 to {MAX_COUNT}"));
        } else if quoting.is_some() && count != 1 {
            violations.add(format!("{path}.count"), "must be 1: a quote is for one order");
        }
        let (kind, ordered) = match order.order {
            Some(Order::Video(request)) => ("video", request.ordered()),
            Some(Order::Image(request)) => ("image", request.ordered()),
            Some(Order::Speech(request)) => ("speech", request.ordered()),
            Some(Order::Music(request)) => ("music", request.ordered()),
            None => {
                violations.add(path, "needs one of video, image, speech and music");
                continue;
            }
        };
        match one(ordered, count, quoting, catalog, targets) {
            Ok(order) => orders.push(order),
            Err(Refusal::Invalid(wrong)) => {
                let of_order =
                    |wrong: Violation| Violation { field: format!("{path}.{kind}.{}", wrong.field), ..wrong };
                violations.0.extend(wrong.into_iter().map(of_order));
            }
            Err(refusal) => return Err(refusal),
        }
    }
    violations.none()?;
    Ok(ToEstimates { orders, quote_ttl })
}

fn ttl_of(ttl: &prost_types::Duration, violations: &mut Violations) -> Option<Duration> {
    const FIELD: &str = "quote_ttl";
    let ttl = values::duration(ttl, FIELD, violations)?;
    if !(MIN_TTL..=MAX_TTL).contains(&ttl) {
        violations.add(FIELD, "must be from 1 s to 24 h");
    }
    Some(ttl)
}

fn one(
    mut ordered: Ordered,
    count: u32,
    quoting: Option<&Caller>,
    catalog: &Catalog,
    targets: &Targets,
) -> Result<ToEstimate, Refusal> {
    // These play no part in a price, not even when they are wrong.
    ordered.request_id.clear();
    ordered.callback_url.clear();
    ordered.labels.clear();
    ordered.quote.clear();
    let (kind, fallback_on_refusal) = (ordered.kind, ordered.fallback_on_refusal);
    let need = if quoting.is_some() { Prompt::Needed } else { Prompt::Optional };
    let read = read(ordered, &[], catalog, targets, need)?;
    let (prompt, inputs) = (read.prompt.clone(), read.inputs.iter().map(|input| input.role).collect());
    let Some(first) = read.candidates.first().cloned() else {
        return Err(Refusal::field("model", "names no model"));
    };
    if prompt.is_empty() && depends_on_prompt(catalog, &first) {
        return Err(Refusal::field("prompt", format!("must not be blank: the price of {} depends on it", first.model)));
    }
    let request = quoting.map(|caller| made(kind, caller.clone(), fallback_on_refusal, read));
    Ok(ToEstimate { prompt, first, inputs, count, request })
}

/// Whether the prompt decides about the price. One that may be left out is the model's own then, and costs what it costs.
fn depends_on_prompt(catalog: &Catalog, candidate: &Candidate) -> bool {
    let by_character = candidate.price.as_ref().is_some_and(|price| price.unit == PriceUnit::Character);
    by_character && catalog.card(&candidate.model).is_some_and(|card| card.prompt.max > 0)
}

/// Prompts to try in the place of one that is left out, beginning with none.
pub(super) fn stand_ins() -> impl Iterator<Item = String> {
    [0].into_iter().chain(STAND_INS).map(|n_chars| "x".repeat(n_chars))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{card::ModelCard, catalog::ProviderEntry, names::ProviderId},
        door::accept::tests::{caller, catalog},
    };

    fn model(catalog: &mut Catalog, card: &str) {
        let card: ModelCard = toml::from_str(card).unwrap();
        let entry: &mut ProviderEntry = catalog.providers.get_mut(&ProviderId::from_id("replicate").unwrap()).unwrap();
        entry.cards.push(card.into());
    }

    fn estimate(orders: Vec<v1::OrderToEstimate>) -> Result<Vec<ToEstimate>, Vec<String>> {
        let mut catalog = catalog();
        model(
            &mut catalog,
            "name = 'tts'\nkind = 'speech'\nprompt = { min = 5 }\nprice = { unit = 'character', micro_usd = 15 }",
        );
        model(&mut catalog, "name = 'still'\nkind = 'image'\nprice = { unit = 'output', micro_usd = 3000 }");
        let request = v1::EstimateCostRequest { orders, quote_ttl: None };
        estimates(request, &caller(), &catalog, &Targets::default()).map(|read| read.orders).map_err(|refusal| {
            match refusal {
                Refusal::Invalid(violations) => violations.into_iter().map(|violation| violation.field).collect(),
                other => panic!("{other:?}"),
            }
        })
    }

    fn speech(prompt: &str) -> v1::OrderToEstimate {
        let request = v1::GenerateSpeechRequest {
            prompt: prompt.to_owned(),
            model: "replicate/tts".to_owned(),
            ..Default::default()
        };
        v1::OrderToEstimate { order: Some(Order::Speech(request)), count: None }
    }

    fn image(count: u32, change: impl FnOnce(&mut v1::GenerateImageRequest)) -> v1::OrderToEstimate {
        let mut request = v1::GenerateImageRequest { model: "replicate/still".to_owned(), ..Default::default() };
        change(&mut request);
        v1::OrderToEstimate { order: Some(Order::Image(request)), count: Some(count) }
    }

    #[test]
    fn a_prompt_may_be_left_out_unless_the_price_depends_on_it() {
        let orders = estimate(vec![image(3, |_| {}), speech("Hello, world.")]).unwrap();
        assert_eq!((orders[0].count, orders[0].first.estimate.unwrap().0), (3, 3000));
        assert_eq!((orders[1].count, orders[1].first.estimate.unwrap().0), (1, 13 * 15));
        assert_eq!(orders[0].prompt, "");
        assert_eq!(estimate(vec![speech(" ")]).unwrap_err(), ["orders[0].speech.prompt"]);
        assert_eq!(estimate(vec![speech("Hi")]).unwrap_err(), ["orders[0].speech.prompt"]);
    }

    #[test]
    fn what_plays_no_part_in_a_price_is_not_looked_at() {
        let order = image(0, |request| {
            request.request_id = "ä".to_owned();
            request.callback_url = "no address".to_owned();
            request.labels = [(String::new(), String::new())].into();
        });
        assert_eq!(estimate(vec![order]).unwrap()[0].count, 0);
    }

    #[test]
    fn what_is_wrong_with_any_order_is_told_with_its_path() {
        let wrong = |request: &mut v1::GenerateImageRequest| request.mode = 9;
        let none = v1::OrderToEstimate { order: None, count: None };
        let orders = vec![image(10_001, wrong), none, image(1, |request| request.options = Some(quality("best")))];
        let fields = ["orders[0].count", "orders[0].image.mode", "orders[1]", "orders[2].image.options.quality"];
        assert_eq!(estimate(orders).unwrap_err(), fields);
        assert_eq!(estimate(Vec::new()).unwrap_err(), ["orders"]);
        assert_eq!(estimate((0..101).map(|_| image(1, |_| {})).collect()).unwrap_err(), ["orders"]);
    }

    fn quality(word: &str) -> v1::ImageOptions {
        v1::ImageOptions { quality: word.to_owned(), ..Default::default() }
    }

    fn quoted(seconds: i64, order: v1::OrderToEstimate) -> Result<ToEstimates, Vec<String>> {
        let quote_ttl = Some(prost_types::Duration { seconds, nanos: 0 });
        let request = v1::EstimateCostRequest { orders: vec![order], quote_ttl };
        let mut catalog = catalog();
        model(&mut catalog, "name = 'still'\nkind = 'image'\nprice = { unit = 'output', micro_usd = 3000 }");
        estimates(request, &caller(), &catalog, &Targets::default()).map_err(|refusal| match refusal {
            Refusal::Invalid(violations) => violations.into_iter().map(|violation| violation.field).collect(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_quote_is_for_one_whole_order_and_for_a_time() {
        let fox = || image(1, |request| request.prompt = "a fox".to_owned());
        let read = quoted(60, fox()).unwrap();
        assert_eq!(read.quote_ttl, Some(Duration::from_secs(60)));
        assert_eq!(read.orders[0].request.as_ref().unwrap().prompt, "a fox");
        assert_eq!(quoted(0, fox()).unwrap_err(), ["quote_ttl"]);
        assert_eq!(quoted(24 * 3600 + 1, fox()).unwrap_err(), ["quote_ttl"]);
        assert_eq!(quoted(60, image(1, |_| {})).unwrap_err(), ["orders[0].image.prompt"]);
        assert_eq!(quoted(60, v1::OrderToEstimate { count: Some(2), ..fox() }).unwrap_err(), ["orders[0].count"]);
    }
}
