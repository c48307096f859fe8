use std::ops::ControlFlow;

use super::*;
use crate::domain::{generation::State, money::MicroUsd};

pub(in crate::store) async fn a_repeated_order_is_answered_at_once(store: &Tested) {
    let source = Ask::order("d").accepted(store).await;
    let source = succeed(store, &source).await.generation;
    let ask = Ask::order("d");
    let told = store.cached(&ask.tenant, Some(&ask.session), "d").await.unwrap().unwrap();
    assert_eq!(told.id, source.id);
    assert_eq!(store.cached(&ask.tenant, None, "d").await.unwrap().unwrap().id, source.id);

    let hit = ask.accepted(store).await;
    assert_eq!((hit.state, hit.cached_from, hit.sequence), (State::Succeeded, Some(source.id), 2));
    assert_eq!(
        (hit.cost.settled, hit.cost.saved),
        (Some(MicroUsd::ZERO), source.cost.settled.or(source.cost.estimated).unwrap())
    );
    assert_eq!(stored(store, &hit).await, hit);
    assert_eq!(store.artifact(&hit.tenant, &hit.artifacts[0].id).await.unwrap().as_ref(), hit.artifacts.first());
    let history: Vec<(u64, String)> =
        history(store, &hit).await.into_iter().map(|entry| (entry.number, entry.what)).collect();
    assert_eq!(history, [(1, "accepted".to_owned()), (2, "succeeded".to_owned())]);
    let texts = texts(store, &hit.session).await;
    assert_eq!(texts.len(), 3);
    assert_eq!(texts[2], format!("[VIDEO GENERATED] brief={}", hit.prompt));
    assert_eq!(unfinished(store, page(10)).await, []);
}

pub(in crate::store) async fn an_answer_needs_its_artifacts(store: &Tested) {
    let source = Ask::order("d").accepted(store).await;
    let source = succeed(store, &source).await.generation;
    let deleted = store.delete_artifact(&source.tenant, &source.artifacts[0].id).await.unwrap();
    assert_eq!(deleted, ControlFlow::Continue(Some(source.artifacts[0].blob.clone())));
    assert_eq!(store.cached(&source.tenant, None, "d").await.unwrap(), None);
    let second = Ask::order("d").accepted(store).await;
    assert_eq!(second.cached_from, None);

    let second = succeed(store, &second).await.generation;
    store.delete_generation(&second.tenant, second.id).await.unwrap();
    assert_eq!(Ask::order("d").accepted(store).await.cached_from, None);
}

pub(in crate::store) async fn a_later_turn_is_answered_within_its_session_only(store: &Tested) {
    let talk = Ask::new().accepted(store).await;
    let later = Ask::order("d").within(&talk.session).accepted(store).await;
    let later = succeed(store, &later).await.generation;
    assert_eq!(store.cached(&talk.tenant, None, "d").await.unwrap(), None);
    let elsewhere = Ask::order("d").accepted(store).await;
    assert_eq!(elsewhere.cached_from, None, "the result depends on a conversation");
    let again = Ask::order("d").within(&talk.session).accepted(store).await;
    assert_eq!(again.cached_from, Some(later.id));

    let first = succeed(store, &elsewhere).await.generation;
    let again = Ask::order("d").within(&first.session).accepted(store).await;
    assert_eq!(again.cached_from, Some(first.id), "a first turn is remembered in its session too");
    let other = Ask { tenant: TenantId::from_id("other").unwrap(), ..Ask::order("d") }.accepted(store).await;
    assert_eq!(other.cached_from, None);
}

pub(in crate::store) async fn an_answer_from_elsewhere_is_remembered_here(store: &Tested) {
    let source = Ask::order("d").accepted(store).await;
    succeed(store, &source).await;
    let hit = Ask::order("d").accepted(store).await;
    let again = Ask::order("d").within(&hit.session).accepted(store).await;
    assert_eq!((hit.cached_from, again.cached_from), (Some(source.id), Some(source.id)));

    store.delete_session(&hit.tenant, &hit.session).await.unwrap();
    let talk = Ask::new().within(&hit.session).accepted(store).await;
    let later = Ask::order("d").within(&talk.session).accepted(store).await;
    assert_eq!(later.cached_from, None, "a new session of the old name has another conversation");
}

pub(in crate::store) async fn samples_and_bypassed_results_are_not_remembered(store: &Tested) {
    let bypassed = Ask::order("d").policy(CachePolicy::Bypass).accepted(store).await;
    succeed(store, &bypassed).await;
    let sample = Ask::order("d").accepted(store).await;
    assert_eq!(sample.cached_from, None);
    submit(store, &sample, "job").await;
    let mut artifact = output(sample.id);
    artifact.sample = true;
    tell(store, &sample, AttemptEvent::Stored(vec![artifact], Usage::default())).await;
    assert_eq!(store.cached(&sample.tenant, None, "d").await.unwrap(), None);
    assert_eq!(Ask::order("d").accepted(store).await.cached_from, None);
}

pub(in crate::store) async fn a_refreshed_result_replaces_the_remembered_one(store: &Tested) {
    let first = Ask::order("d").accepted(store).await;
    succeed(store, &first).await;
    let fresh = Ask::order("d").policy(CachePolicy::Refresh).accepted(store).await;
    assert_eq!((fresh.state, fresh.cached_from), (State::Queued, None));
    succeed(store, &fresh).await;
    assert_eq!(Ask::order("d").accepted(store).await.cached_from, Some(fresh.id));
    let bypassing = Ask::order("d").policy(CachePolicy::Bypass).accepted(store).await;
    assert_eq!((bypassing.state, bypassing.cached_from), (State::Queued, None));
}

pub(in crate::store) async fn a_forgotten_result_answers_nothing(store: &Tested) {
    let source = Ask::order("d").accepted(store).await;
    succeed(store, &source).await;
    store.forget_cached(&TenantId::from_id("other").unwrap(), source.id).await.unwrap();
    assert!(store.cached(&source.tenant, None, "d").await.unwrap().is_some());
    store.forget_cached(&source.tenant, source.id).await.unwrap();
    assert_eq!(store.cached(&source.tenant, None, "d").await.unwrap(), None);
    assert_eq!(store.cached(&source.tenant, Some(&source.session), "d").await.unwrap(), None);
}
