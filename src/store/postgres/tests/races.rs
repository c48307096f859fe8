//! What comes at the same time, to three processes.

use std::collections::HashSet;

use tokio::task::JoinSet;

use super::{super::generations, *};
use crate::{
    domain::{
        failure::FailureReason,
        generation::State,
        life::{
            Applied, AttemptEvent,
            tests::{START, output},
        },
        money::Usage,
        names::{RequestId, SubmitKey},
    },
    store::contract::{Ask, page, stored, submit, succeed, tell, unfinished},
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

/// Until so many transactions wait for a lock.
async fn waiting(url: &str, n: u32) {
    let text = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    while server::psql(url, text) != n.to_string() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_meets_a_hand_over_which_came_unexpectedly_begins_no_second_job() {
    let (url, stores) = stores(["a", "b", "c"]).await;
    let [a, b, c] = stores.each_ref().map(tested);
    let leader = Ask::order("d").accepted(&a).await;
    let follower = Ask::order("d").accepted(&a).await;
    let sent = tell(&a, &leader, AttemptEvent::Submitting(SubmitKey::fresh())).await.generation;
    // It is turned away at the very moment its deadline passes: then it is handed over instead of being asked further.
    let mut turning_away = stores[0].database.transaction(async |work| Ok::<_, StoreError>(work)).await.unwrap();
    let mut row = generations::load_locked(&mut turning_away, sent.id).await.unwrap().unwrap();
    let late = sent.deadline;
    let mut passing = JoinSet::new();
    passing.spawn(async move { b.apply(sent.id, Event::DeadlinePassed, None, late).await });
    waiting(&url, 1).await;
    let mut ordering = JoinSet::new();
    ordering.spawn(async move { Ask::order("d").accepted(&c).await });
    waiting(&url, 2).await;
    let attempt = row.generation.open_attempt().unwrap().id;
    let why = AttemptEvent::Postponed(FailureReason::ProviderOverloaded, "429".to_owned());
    let Applied::Changed(entries) = row.generation.apply(&Event::Attempt(attempt, why), START).unwrap() else {
        panic!("nothing changed")
    };
    generations::save(&mut turning_away, &row, &entries).unwrap();
    turning_away.commit().await.unwrap();
    assert_eq!(passing.join_next().await.unwrap().unwrap().unwrap().generation.successor, Some(follower.id));
    assert_eq!(ordering.join_next().await.unwrap().unwrap().leader, Some(follower.id));
}

#[tokio::test]
async fn a_callback_that_lost_its_generation_is_not_taken_for_another() {
    let (url, [store]) = stores(["a"]).await;
    let store = tested(&store);
    let mut ended = Vec::new();
    for n in 0..3 {
        let url = format!("https://receiver-{n}.example/").parse().ok();
        ended
            .push(succeed(&store, &Ask { callback_url: url, ..Ask::new() }.accepted(&store).await).await.generation.id);
    }
    server::psql(&url, &format!("DELETE FROM filmgate.generations WHERE id = '{}'", ended[0].id()));
    server::psql(&url, &format!("UPDATE filmgate.callbacks SET n_tries = 7 WHERE generation = '{}'", ended[1].id()));
    let now = START + jiff::SignedDuration::from_secs(1);
    let claim = CallbackClaim { now, until: now + jiff::SignedDuration::from_secs(20), besides: Vec::new(), limit: 10 };
    let due = store.due_callbacks(claim).await.unwrap();
    let mut due: Vec<_> = due.into_iter().map(|due| (due.generation.id, due.callback.n_tries)).collect();
    due.sort_unstable();
    assert_eq!(due, [(ended[1], 7), (ended[2], 0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_holds_over_three_processes_while_others_count_it_anew() {
    let url = database().await;
    let stores: [Tested; 3] = [
        Arc::new(open(&url, "a").await),
        Arc::new(open(&url, "b").await),
        Arc::new(open(&POOLER.through(&url), "c").await),
    ];
    let poor = TenantId::from_id("poor").unwrap();
    let mut sending = JoinSet::new();
    for index in 0..300 {
        let (store, ask) = (Arc::clone(&stores[index % 3]), Ask { tenant: poor.clone(), ..Ask::new() });
        sending.spawn(async move {
            match ask.send(&store).await {
                Ok(accepted) => Some(generation(accepted)),
                Err(AcceptError::Budget(_)) => None,
                Err(error) => panic!("{error:?}"),
            }
        });
    }
    for n in 0..3 {
        open(&url, &format!("late {n}")).await;
    }
    let accepted: Vec<Generation> = sending.join_all().await.into_iter().flatten().collect();
    assert_eq!(accepted.len(), 3, "three times 70 is 210");
    // What is counted anew is what was counted along the way.
    let spender = || crate::domain::budget::Spender::of(&accepted[0]);
    let before = stores[0].standings(spender(), START).await.unwrap();
    let after = open(&url, "last").await.standings(spender(), START).await.unwrap();
    assert_eq!((before[0].held.0, before[0].spent.0), (210, 0));
    assert_eq!(before, after);
}
