//! Limits that processes keep together.

use tokio::task::JoinSet;

use super::*;
use crate::{
    domain::{
        life::{AttemptEvent, tests::START},
        names::SubmitKey,
    },
    store::{
        contract::{Ask, tell, ticket},
        port::{Bound, Intended, Limit, Limits},
    },
};

fn limits(of_provider: u64, of_model: Option<u64>) -> Limits {
    let limit = |concurrency| Limit { concurrency, rate: None };
    let model = "sample/model-0".parse().unwrap();
    Limits { model, of_provider: limit(Some(of_provider)), of_model: limit(of_model) }
}

async fn intend(store: &Arc<Postgres>, generation: &Generation, limits: &Limits) -> Intended {
    let event = AttemptEvent::Submitting(SubmitKey::fresh());
    let event = Event::Attempt(generation.open_attempt().unwrap().id, event);
    store.intend(generation.id, event, None, limits, START).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_race_for_places_never_take_more_than_there_are() {
    let (_, [a, b]) = stores(["a", "b"]).await;
    let mut racing = JoinSet::new();
    for index in 0..20 {
        let store = Arc::clone(if index % 2 == 0 { &a } else { &b });
        racing.spawn(async move {
            let generation = Ask::new().accepted(&tested(&store)).await;
            let stored = matches!(intend(&store, &generation, &limits(3, None)).await, Intended::Stored(_));
            (generation, stored)
        });
    }
    let raced = racing.join_all().await;
    let mut sent: Vec<&Generation> = raced.iter().filter(|(_, stored)| *stored).map(|(it, _)| it).collect();
    assert_eq!(sent.len(), 3);
    let waits = &raced.iter().find(|(_, stored)| !stored).unwrap().0;
    assert!(matches!(intend(&b, waits, &limits(3, None)).await, Intended::Wait(Bound::Provider, None)));

    let ends = sent.pop().unwrap();
    tell(&tested(&a), ends, AttemptEvent::Accepted(ticket("j"))).await;
    assert!(matches!(intend(&b, waits, &limits(3, None)).await, Intended::Wait(..)), "it is still at work");
    tell(&tested(&a), ends, AttemptEvent::Silent("gone".to_owned())).await;
    assert!(matches!(intend(&b, waits, &limits(3, None)).await, Intended::Stored(_)), "what is unknown has no place");
}

#[tokio::test]
async fn a_models_own_limit_is_kept_by_all_as_well() {
    let (_, [a, b]) = stores(["a", "b"]).await;
    let [first, second] = [Ask::new().accepted(&tested(&a)).await, Ask::new().accepted(&tested(&b)).await];
    assert!(matches!(intend(&a, &first, &limits(9, Some(1))).await, Intended::Stored(_)));
    assert!(matches!(intend(&b, &second, &limits(9, Some(1))).await, Intended::Wait(Bound::Model, None)));
    let event = AttemptEvent::Postponed(crate::domain::failure::FailureReason::ProviderOverloaded, String::new());
    tell(&tested(&a), &first, event).await;
    assert!(matches!(intend(&b, &second, &limits(9, Some(1))).await, Intended::Stored(_)));
}
