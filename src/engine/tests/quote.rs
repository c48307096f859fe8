//! Quotes: issued for what a request resolves to, used by the same request, refused to any other.

use super::*;
use crate::{
    domain::{
        money::MicroUsd,
        order::{OptionName, OptionValue},
        quote::{NoQuote, Quote},
    },
    engine::Error,
};

const HOUR: Duration = Duration::from_hours(1);

/// Another order than the one that the stage began with.
fn priced(micros: i64) -> Request {
    let mut request = Request { prompt: "a quoted cat".to_owned(), cache: CachePolicy::Bypass, ..request() };
    request.candidates[0].estimate = Some(MicroUsd(micros));
    request.candidates[0].options.insert(OptionName::Seed, OptionValue::Int(7));
    request
}

fn with(quote: &Quote, mut request: Request) -> Request {
    request.quote = Some(quote.id);
    request
}

async fn refused(stage: &Stage, request: Request) -> NoQuote {
    match stage.engine.accept(request).await {
        Err(Error::Quote(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_quote_holds_for_the_same_order_though_its_price_has_changed() {
    let stage = Stage::set(&[Good], &[]).await;
    let quote = stage.engine.issue_quote(priced(50), HOUR).await.unwrap();
    assert_eq!(quote.price, MicroUsd(50));
    let generation = stage.engine.accept(with(&quote, priced(90))).await.unwrap().view.generation;
    let cost = &generation.cost;
    assert_eq!((cost.quoted, cost.held, cost.estimated), (Some(MicroUsd(50)), MicroUsd(50), Some(MicroUsd(90))));
    assert_eq!(refused(&stage, with(&quote, priced(50))).await, NoQuote::Used);
}

#[tokio::test(start_paused = true)]
async fn another_order_is_refused_by_its_first_field_that_differs() {
    let stage = Stage::set(&[Good], &[]).await;
    let quote = stage.engine.issue_quote(priced(50), HOUR).await.unwrap();
    type Change = fn(&mut Request);
    let changes: [(&str, Change); 6] = [
        ("prompt", |request| request.prompt = "a dog".to_owned()),
        ("model", |request| request.candidates.push(request.candidates[0].clone())),
        ("kind", |request| request.kind = Kind::Image),
        ("options.seed", |request| drop(request.candidates[0].options.insert(OptionName::Seed, OptionValue::Int(8)))),
        ("options.provider_options", |request| {
            request.candidates[0].provider_options.insert("x".to_owned(), serde_json::json!(1));
        }),
        ("fallback_on_refusal", |request| request.fallback_on_refusal = true),
    ];
    for (field, change) in changes {
        let mut request = with(&quote, priced(50));
        change(&mut request);
        assert_eq!(refused(&stage, request).await, NoQuote::Mismatch { field: field.to_owned() });
    }
    let elsewhere = Request { tenant: TenantId::from_id("acme").unwrap(), ..with(&quote, priced(50)) };
    assert_eq!(refused(&stage, elsewhere).await, NoQuote::NotFound);
    tokio::time::sleep(HOUR).await;
    assert_eq!(refused(&stage, with(&quote, priced(50))).await, NoQuote::Expired(quote.expires_at));
}

#[tokio::test(start_paused = true)]
async fn what_has_no_price_is_not_quoted() {
    let stage = Stage::set(&[Good], &[]).await;
    let mut request = priced(50);
    let mut unpriced = request.candidates[0].clone();
    unpriced.estimate = None;
    request.candidates.push(unpriced);
    let told = stage.engine.issue_quote(request, HOUR).await;
    assert!(matches!(&told, Err(Error::PriceUnknown { model }) if model.to_string() == MODEL), "{told:?}");
}
