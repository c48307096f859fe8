use std::collections::BTreeSet;

use super::*;
use crate::{
    domain::{
        callback::{Callback, CallbackError, CallbackState, Tried},
        generation::State,
        names::GenerationId,
    },
    store::port::{CallbackClaim, DueCallback, RedeliverError},
};

const TO_A: &str = "https://a.example/hook?key=1";
const TO_B: &str = "https://b.example:8443/hook";

fn calling(url: &str) -> Ask {
    Ask { callback_url: Some(url.parse().unwrap()), ..Ask::new() }
}

/// Claims what is due `now` milliseconds after the start, for a second.
async fn claim(store: &Tested, now: i64, besides: &[&str], limit: usize) -> Vec<DueCallback> {
    let besides = besides.iter().map(|host| (*host).to_owned()).collect();
    let claim = CallbackClaim { now: at(now), until: at(now + 1000), besides, limit };
    store.due_callbacks(claim).await.unwrap()
}

fn ids(due: &[DueCallback]) -> BTreeSet<GenerationId> {
    due.iter().map(|due| due.generation.id).collect()
}

async fn callback(store: &Tested, generation: &Generation) -> Option<Callback> {
    store.callback(&generation.tenant, generation.id).await.unwrap()
}

/// Ended, with a callback to A.
async fn ended(store: &Tested) -> Generation {
    let generation = calling(TO_A).accepted(store).await;
    succeed(store, &generation).await.generation
}

pub(in crate::store) async fn an_end_and_its_callback_are_one(store: &Tested) {
    let generation = calling(TO_A).accepted(store).await;
    assert_eq!((callback(store, &generation).await, claim(store, 0, &[], 9).await), (None, Vec::new()));
    let silent = Ask::new().accepted(store).await;
    succeed(store, &silent).await;
    let ended = succeed(store, &generation).await.generation;
    assert_eq!(callback(store, &ended).await, Some(Callback::due(START)));
    let [due] = claim(store, 0, &[], 9).await.try_into().unwrap();
    assert_eq!((due.url.as_str(), &due.generation), (TO_A, &ended));
    let claimed = Callback { next_at: Some(at(1000)), ..Callback::due(START) };
    assert_eq!((&due.callback, callback(store, &ended).await.as_ref()), (&claimed, Some(&claimed)));
    assert_eq!(callback(store, &silent).await, None);
}

pub(in crate::store) async fn every_way_to_end_calls_back(store: &Tested) {
    let first = Ask { digest: Some("d"), ..calling(TO_A) }.accepted(store).await;
    let follower = Ask { digest: Some("d"), ..calling(TO_B) }.accepted(store).await;
    assert_eq!(follower.leader, Some(first.id));
    succeed(store, &first).await;
    let hit = Ask { digest: Some("d"), ..calling(TO_B) }.accepted(store).await;
    assert_eq!(hit.state, State::Succeeded);
    let leaving = Ask { digest: Some("e"), ..calling(TO_A) }.accepted(store).await;
    let promoted = Ask { digest: Some("e"), ..calling(TO_A) }.accepted(store).await;
    store.apply(leaving.id, Event::CancelRequested, None, START).await.unwrap();
    assert_eq!(callback(store, &promoted).await, None, "it goes on with the job");
    let queued = calling(TO_A).accepted(store).await;
    store.apply(queued.id, Event::CancelRequested, None, START).await.unwrap();
    let due = claim(store, 0, &[], 99).await;
    assert_eq!(ids(&due), [first.id, follower.id, hit.id, leaving.id, queued.id].into());
    let to = |id| due.iter().find(|due| due.generation.id == id).unwrap().url.as_str();
    assert_eq!((to(first.id), to(follower.id), to(hit.id)), (TO_A, TO_B, TO_B));
}

pub(in crate::store) async fn a_claimed_callback_is_nobody_elses_until_the_claim_ends(store: &Tested) {
    let generation = ended(store).await;
    let [due] = claim(store, 0, &[], 9).await.try_into().unwrap();
    assert!(claim(store, 999, &[], 9).await.is_empty());
    let [again] = claim(store, 1000, &[], 9).await.try_into().unwrap();
    assert_eq!(again.callback.n_tries, 0);
    let late = due.callback.tried(Tried::Delivered { status: 200 }, at(1001));
    let stored = store.callback_tried(generation.id, due.callback.next_at.unwrap(), &late).await.unwrap();
    assert!(!stored, "its claim has ended");
    assert_eq!(callback(store, &generation).await.as_ref(), Some(&again.callback));
}

pub(in crate::store) async fn many_claimers_share_what_is_due(store: &Tested) {
    let mut expected = BTreeSet::new();
    for _ in 0..20 {
        expected.insert(ended(store).await.id);
    }
    let mut claims = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(store);
        claims.spawn(async move { claim(&store, 0, &[], 5).await });
    }
    let claimed: Vec<GenerationId> = claims.join_all().await.iter().flatten().map(|due| due.generation.id).collect();
    let distinct: BTreeSet<GenerationId> = claimed.iter().copied().collect();
    assert_eq!(claimed.len(), distinct.len(), "none is given out twice");
    let rest = ids(&claim(store, 0, &[], 99).await);
    assert!(rest.is_disjoint(&distinct));
    assert_eq!(&distinct | &rest, expected);
}

pub(in crate::store) async fn a_claim_leaves_busy_hosts_out(store: &Tested) {
    let to_a = ended(store).await;
    let to_b = calling(TO_B).accepted(store).await;
    succeed(store, &to_b).await;
    assert!(claim(store, 0, &["a.example", "b.example:8443"], 9).await.is_empty());
    assert_eq!(ids(&claim(store, 0, &["a.example", "b.example"], 9).await), [to_b.id].into());
    assert_eq!(ids(&claim(store, 0, &["xa.example", "a.exampl"], 9).await), [to_a.id].into());
}

pub(in crate::store) async fn the_longest_due_is_claimed_first(store: &Tested) {
    let [first, second] = [ended(store).await, ended(store).await];
    store.redeliver(&first.tenant, first.id, at(10)).await.unwrap();
    assert_eq!(ids(&claim(store, 20, &[], 1).await), [second.id].into());
    assert_eq!(ids(&claim(store, 20, &[], 1).await), [first.id].into());
}

pub(in crate::store) async fn how_a_try_went_is_kept(store: &Tested) {
    let generation = ended(store).await;
    let [due] = claim(store, 0, &[], 9).await.try_into().unwrap();
    let failed = Tried::Failed { status: Some(500), error: CallbackError::Status, next_at: Some(at(5000)) };
    let after = due.callback.tried(failed, at(10));
    assert!(store.callback_tried(generation.id, at(1000), &after).await.unwrap());
    assert_eq!(callback(store, &generation).await, Some(after));
    assert!(claim(store, 4999, &[], 9).await.is_empty());
    let [due] = claim(store, 5000, &[], 9).await.try_into().unwrap();
    assert_eq!((due.callback.n_tries, due.callback.last_status), (1, Some(500)));
    let after = due.callback.tried(Tried::Delivered { status: 204 }, at(5010));
    assert!(store.callback_tried(generation.id, at(6000), &after).await.unwrap());
    assert_eq!(callback(store, &generation).await, Some(after));
    assert!(claim(store, 1_000_000_000, &[], 9).await.is_empty(), "it was taken");

    let given_up = ended(store).await;
    let [due] = claim(store, 0, &[], 9).await.try_into().unwrap();
    let gone = Tried::Failed { status: None, error: CallbackError::AddressNotAllowed, next_at: None };
    let after = due.callback.tried(gone, at(10));
    assert!(store.callback_tried(given_up.id, at(1000), &after).await.unwrap());
    assert_eq!(callback(store, &given_up).await, Some(after));
    assert!(claim(store, 1_000_000_000, &[], 9).await.is_empty(), "it was given up");
}

pub(in crate::store) async fn a_callback_is_asked_for_again_from_the_beginning(store: &Tested) {
    let generation = ended(store).await;
    let [due] = claim(store, 0, &[], 9).await.try_into().unwrap();
    let after = due.callback.tried(Tried::Delivered { status: 200 }, at(10));
    store.callback_tried(generation.id, at(1000), &after).await.unwrap();
    let again = store.redeliver(&generation.tenant, generation.id, at(2000)).await.unwrap();
    assert_eq!((&again, callback(store, &generation).await.as_ref()), (&Callback::due(at(2000)), Some(&again)));
    let [due] = claim(store, 2000, &[], 9).await.try_into().unwrap();
    // Asked for again while it is under way: what comes of that one says nothing about this one.
    store.redeliver(&generation.tenant, generation.id, at(2500)).await.unwrap();
    let after = due.callback.tried(Tried::Delivered { status: 200 }, at(2600));
    assert!(!store.callback_tried(generation.id, at(3000), &after).await.unwrap());
    assert_eq!(callback(store, &generation).await.unwrap().state, CallbackState::Pending);
}

pub(in crate::store) async fn what_cannot_be_called_back_is_told_apart(store: &Tested) {
    let tenant = TenantId::default_tenant();
    let redeliver = async |id| store.redeliver(&tenant, id, START).await;
    assert!(matches!(redeliver(GenerationId::fresh()).await, Err(RedeliverError::NotFound)));
    let silent = Ask::new().accepted(store).await;
    assert!(matches!(redeliver(silent.id).await, Err(RedeliverError::NoCallback)));
    let open = calling(TO_A).accepted(store).await;
    assert!(matches!(redeliver(open.id).await, Err(RedeliverError::Unfinished(State::Queued))));
    let stranger = TenantId::from_id("stranger").unwrap();
    let ended = succeed(store, &open).await.generation;
    assert!(matches!(store.redeliver(&stranger, ended.id, START).await, Err(RedeliverError::NotFound)));
    assert_eq!(store.callback(&stranger, ended.id).await.unwrap(), None);
}

pub(in crate::store) async fn a_deleted_generation_calls_nobody(store: &Tested) {
    let generation = ended(store).await;
    store.delete_generation(&generation.tenant, generation.id).await.unwrap();
    assert!(claim(store, 1_000_000_000, &[], 9).await.is_empty());
    assert_eq!(callback(store, &generation).await, None);
    let again = store.redeliver(&generation.tenant, generation.id, START).await;
    assert!(matches!(again, Err(RedeliverError::NotFound)));
}
