//! What orders would cost.

use super::{adjustment, models::price, values::duration};
use crate::{
    domain::{catalog::Catalog, money::MicroUsd},
    door::accept::ToEstimate,
    pb::v1,
};

/// The orders with their prices, and the sum if all are known.
pub(in crate::door) fn estimates(catalog: &Catalog, orders: &[ToEstimate]) -> v1::EstimateCostResponse {
    let sums: Vec<Option<i64>> = orders.iter().map(sum).collect();
    let add = |total: i64, sum: &Option<i64>| Some(total.saturating_add((*sum)?));
    v1::EstimateCostResponse {
        total_micro_usd: sums.iter().try_fold(0, add),
        estimates: orders.iter().zip(sums).map(|(order, sum)| estimate(catalog, order, sum)).collect(),
    }
}

/// Of all `count`.
fn sum(order: &ToEstimate) -> Option<i64> {
    let MicroUsd(each) = order.first.estimate?;
    Some(each.saturating_mul(order.count.into()))
}

fn estimate(catalog: &Catalog, order: &ToEstimate, sum: Option<i64>) -> v1::Estimate {
    let candidate = &order.first;
    let usage = catalog.card(&candidate.model).map(|card| {
        let usage = card.expected_usage(&candidate.options, &order.prompt, &order.inputs);
        candidate.price.as_ref().and_then(|price| price.units(&usage))
    });
    v1::Estimate {
        model: candidate.model.to_string(),
        estimated_micro_usd: sum,
        adjustments: candidate.adjustments.iter().map(adjustment).collect(),
        expected_time: candidate.expected_time.map(duration),
        quote: String::new(),
        quote_expire_time: None,
        price: candidate.price.as_ref().map(price),
        units: usage.flatten().map(|units| units * f64::from(order.count)),
    }
}
