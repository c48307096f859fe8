use std::time::Duration;

use super::*;
use crate::{
    domain::names::ModelName,
    store::port::{Bound, Intended, Limit, Limits},
};

fn limits(of_provider: Limit, of_model: Limit) -> Limits {
    Limits { model: "sample/model-0".parse::<ModelName>().unwrap(), of_provider, of_model }
}

fn rate(most: u64) -> Limit {
    Limit { concurrency: None, rate: Some(most) }
}

async fn intend(store: &Tested, limits: &Limits) -> Intended {
    let generation = Ask::new().accepted(store).await;
    let event = AttemptEvent::Submitting(SubmitKey::fresh());
    let event = Event::Attempt(generation.open_attempt().unwrap().id, event);
    let intended = store.intend(generation.id, event, None, limits, START).await.unwrap();
    let now = stored(store, &generation).await;
    let expected = if matches!(intended, Intended::Stored(_)) { State::Running } else { State::Queued };
    assert_eq!(now.state, expected);
    intended
}

/// For how long it is held back, and by whose limit.
async fn held_back(store: &Tested, limits: &Limits) -> Option<(Bound, Option<Duration>)> {
    match intend(store, limits).await {
        Intended::Stored(_) => None,
        Intended::Wait(bound, wait) => Some((bound, wait)),
    }
}

pub(in crate::store) async fn no_more_are_sent_in_a_minute_than_the_rate_allows(store: &Tested) {
    let two = limits(rate(2), Limit::default());
    assert_eq!(held_back(store, &two).await, None);
    assert_eq!(held_back(store, &two).await, None);
    let (bound, wait) = held_back(store, &two).await.unwrap();
    let wait = wait.unwrap();
    assert!(bound == Bound::Provider && wait > Duration::from_secs(30) && wait <= Duration::from_mins(1), "{wait:?}");
    assert_eq!(held_back(store, &limits(rate(3), Limit::default())).await, None, "a higher rate has room");
    let one_of_model = limits(Limit::default(), rate(1));
    assert_eq!(held_back(store, &one_of_model).await, None, "what is sent to its provider is counted apart");
    assert_eq!(held_back(store, &one_of_model).await.map(|(bound, _)| bound), Some(Bound::Model));
    assert_eq!(held_back(store, &limits(Limit::default(), Limit::default())).await, None);
}

pub(in crate::store) async fn an_order_held_back_counts_against_no_rate(store: &Tested) {
    let both = limits(rate(5), rate(1));
    assert_eq!(held_back(store, &both).await, None);
    for _ in 0..3 {
        assert_eq!(held_back(store, &both).await.map(|(bound, _)| bound), Some(Bound::Model));
    }
    let of_provider = limits(rate(5), Limit::default());
    for _ in 0..4 {
        assert_eq!(held_back(store, &of_provider).await, None);
    }
    assert!(held_back(store, &of_provider).await.is_some());
}

pub(in crate::store) async fn a_pause_keeps_orders_from_its_provider_and_never_becomes_shorter(store: &Tested) {
    let free = limits(Limit::default(), Limit::default());
    store.pause("other", at(30_000), START).await.unwrap();
    assert_eq!(held_back(store, &free).await, None);
    store.pause("sample", at(30_000), START).await.unwrap();
    store.pause("sample", at(1_000), START).await.unwrap();
    let (bound, wait) = held_back(store, &free).await.unwrap();
    let wait = wait.unwrap();
    assert!(bound == Bound::Provider && wait > Duration::from_secs(10) && wait <= Duration::from_secs(30), "{wait:?}");
}

pub(in crate::store) async fn the_latest_successes_are_told_newest_first(store: &Tested) {
    let mut expected = Vec::new();
    for _ in 0..3 {
        let generation = Ask::new().accepted(store).await;
        expected.push(succeed(store, &generation).await.generation.id);
    }
    Ask::new().accepted(store).await;
    let latest = store.latest_successes(10).await.unwrap();
    assert_eq!(latest.len(), 3);
    assert!(latest.is_sorted_by(|newer, older| newer.ended_at >= older.ended_at));
    assert!(latest.iter().all(|generation| expected.contains(&generation.id)));
    assert_eq!(store.latest_successes(2).await.unwrap().len(), 2);
}
