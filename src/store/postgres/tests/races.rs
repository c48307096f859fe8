//! What comes at the same time, to three processes.

use std::collections::HashSet;

use tokio::task::JoinSet;

use super::*;
use crate::{
    domain::{
        generation::State,
        life::{
            AttemptEvent,
            tests::{START, output},
        },
        money::Usage,
        names::RequestId,
    },
    store::contract::{Ask, page, stored, submit, succeed, unfinished},
};

/// Two directly, one through a pooler.
async fn three() -> [Tested; 3] {
    let url = database().await;
    let pooled = POOLER.through(&url);
    [Arc::new(open(&url, "a").await), Arc::new(open(&url, "b").await), Arc::new(open(&pooled, "c").await)]
}

/// Sends all at the same time, to each store in turn.
async fn spread(stores: &[Tested; 3], asks: impl Iterator<Item = Ask>) -> Vec<Accepted> {
    let mut sending = JoinSet::new();
    for (index, ask) in asks.enumerate() {
        let store = Arc::clone(&stores[index % stores.len()]);
        sending.spawn(async move { ask.send(&store).await.unwrap() });
    }
    sending.join_all().await
}

fn generation(accepted: Accepted) -> Generation {
    match accepted {
        Accepted::New(generation, _) | Accepted::Replayed(generation) => *generation,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_id_makes_one_generation_on_three_stores() {
    let stores = three().await;
    let request = Some((RequestId::from_id("r").unwrap(), vec![("prompt".to_owned(), "a".to_owned())]));
    let answers = spread(&stores, (0..100).map(|_| Ask { request: request.clone(), ..Ask::new() })).await;
    let n_new = answers.iter().filter(|answer| matches!(answer, Accepted::New(..))).count();
    let ids: HashSet<_> = answers.into_iter().map(|answer| generation(answer).id).collect();
    assert_eq!((n_new, ids.len()), (1, 1));
    let listed = stores[0].generations(&TenantId::default_tenant(), &GenerationFilter::default(), page(10)).await;
    assert_eq!(listed.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identical_orders_have_one_leader_on_three_stores() {
    let stores = three().await;
    let orders = spread(&stores, (0..500).map(|_| Ask::order("d"))).await;
    let orders: Vec<Generation> = orders.into_iter().map(generation).collect();
    let leaders: Vec<_> = orders.iter().filter(|order| order.leader.is_none()).collect();
    assert_eq!(leaders.len(), 1);
    let changes = succeed(&stores[2], leaders[0]).await;
    assert_eq!(changes.others.len(), 499);
    for store in &stores {
        assert_eq!(unfinished(store, page(10)).await, []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_meet_the_end_of_their_leader_have_its_result() {
    let stores = three().await;
    let leader = Ask::order("d").accepted(&stores[0]).await;
    submit(&stores[0], &leader, "job").await;
    let stored_output = Event::Attempt(
        leader.open_attempt().unwrap().id,
        AttemptEvent::Stored(vec![output(leader.id)], Usage::default()),
    );
    let (ended, orders) = tokio::join!(
        stores[0].apply(leader.id, stored_output, None, START),
        spread(&stores, (0..60).map(|_| Ask::order("d")))
    );
    assert_eq!(ended.unwrap().generation.state, State::Succeeded);
    for order in orders.into_iter().map(generation) {
        assert_eq!(stored(&stores[1], &order).await.state, State::Succeeded, "it would be bought a second time");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_meet_a_hand_over_begin_no_second_job() {
    let stores = three().await;
    let first = Ask::order("d").accepted(&stores[0]).await;
    Ask::order("d").accepted(&stores[0]).await;
    submit(&stores[0], &first, "job").await;
    let mut cancelling = JoinSet::new();
    let canceller = Arc::clone(&stores[1]);
    cancelling.spawn(async move {
        // Whoever leads now, ten times over; there is always another to hand over to.
        let mut leader = first.id;
        for _ in 0..10 {
            let cancelled = canceller.apply(leader, Event::CancelRequested, None, START).await.unwrap().generation;
            assert_eq!(cancelled.state, State::Cancelled);
            leader = cancelled.successor.unwrap();
            Ask::order("d").accepted(&canceller).await;
        }
        leader
    });
    let orders = spread(&stores, (0..60).map(|_| Ask::order("d"))).await;
    let leader = cancelling.join_next().await.unwrap().unwrap();
    for order in orders.into_iter().map(generation) {
        let order = stored(&stores[2], &order).await;
        let shares = order.id == leader || order.leader == Some(leader) || order.successor.is_some();
        assert!(shares, "{} leads a second job", order.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_and_a_deletion_agree_about_the_bytes() {
    let stores = three().await;
    let mut n_hits = 0;
    for _ in 0..20 {
        let source = Ask::order("d").accepted(&stores[0]).await;
        let source = succeed(&stores[0], &source).await.generation;
        let artifact = &source.artifacts[0];
        let (order, deleted) =
            tokio::join!(Ask::order("d").accepted(&stores[1]), stores[2].delete_artifact(&source.tenant, &artifact.id));
        let is_hit = order.cached_from == Some(source.id);
        n_hits += usize::from(is_hit);
        let expected = if is_hit { None } else { Some(artifact.blob.clone()) };
        assert_eq!(deleted.unwrap(), ControlFlow::Continue(expected), "hit: {is_hit}");
        if is_hit {
            stores[0].delete_generation(&order.tenant, order.id).await.unwrap();
        } else {
            stores[0].apply(order.id, Event::CancelRequested, None, START).await.unwrap();
        }
    }
    assert!(n_hits <= 20);
}
