use std::collections::HashSet;

use super::*;
use crate::domain::{generation::State, names::GenerationId};

fn sent(fields: &[(&str, &str)]) -> SentRequest {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with_id(id: &str, fields: &[(&str, &str)]) -> Ask {
    Ask { request: Some((RequestId::from_id(id).unwrap(), sent(fields))), ..Ask::new() }
}

pub(in crate::store) async fn what_is_accepted_is_read_back_the_same(store: &Tested) {
    let generation = Ask::order("d").accepted(store).await;
    assert_eq!((generation.sequence, generation.n_events), (1, 1));
    assert_eq!(stored(store, &generation).await, generation);
    let found = store.generation(&generation.tenant, generation.id).await.unwrap();
    assert_eq!(found, Some(generation.clone()));
    let history = history(store, &generation).await;
    assert_eq!(history.len(), 1);
    assert_eq!((history[0].number, history[0].what.as_str(), history[0].sequence), (1, "accepted", 1));
    assert_eq!(texts(store, &generation.session).await.len(), 2);
    assert_eq!(store.load(GenerationId::fresh()).await.unwrap(), None);
}

pub(in crate::store) async fn one_request_id_makes_one_generation_however_many_race(store: &Tested) {
    let asks = (0..100).map(|_| with_id("r", &[("prompt", "a")])).collect();
    let (mut ids, mut n_new) = (HashSet::new(), 0);
    for answer in together(store, asks).await {
        match answer.unwrap() {
            Accepted::New(generation, _) => {
                n_new += 1;
                ids.insert(generation.id);
            }
            Accepted::Replayed(generation) => {
                ids.insert(generation.id);
            }
        }
    }
    assert_eq!((n_new, ids.len()), (1, 1));
    let tenant = TenantId::default_tenant();
    let listed = store.generations(&tenant, &Default::default(), page(10)).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(store.sessions(&tenant, page(10)).await.unwrap().len(), 1, "a replay leaves no session");
}

pub(in crate::store) async fn a_reused_request_id_names_the_first_field_that_differs(store: &Tested) {
    with_id("r", &[("prompt", "a"), ("model", "m")]).accepted(store).await;
    let other = with_id("r", &[("prompt", "a"), ("model", "n")]).send(store).await;
    assert!(matches!(other, Err(AcceptError::RequestIdReused { field }) if field == "model"));
    let elsewhere = Ask { tenant: TenantId::from_id("other").unwrap(), ..with_id("r", &[("prompt", "b")]) };
    elsewhere.accepted(store).await;
}

pub(in crate::store) async fn a_tombstone_answers_for_its_request_id(store: &Tested) {
    let generation = with_id("r", &[("prompt", "a")]).accepted(store).await;
    store.apply(generation.id, Event::CancelRequested, None, START).await.unwrap();
    store.delete_generation(&generation.tenant, generation.id).await.unwrap();
    match with_id("r", &[("prompt", "a")]).send(store).await.unwrap() {
        Accepted::Replayed(replayed) => {
            assert_eq!((replayed.id, replayed.state), (generation.id, State::Cancelled));
            assert_eq!(replayed.prompt, "");
        }
        Accepted::New(..) => panic!("bought again after its deletion"),
    }
    let other = with_id("r", &[("prompt", "b")]).send(store).await;
    assert!(matches!(other, Err(AcceptError::RequestIdReused { field }) if field == "prompt"));
}

pub(in crate::store) async fn a_tombstone_tells_of_no_artifacts(store: &Tested) {
    let generation = with_id("r", &[("prompt", "a")]).accepted(store).await;
    let ended = succeed(store, &generation).await.generation;
    assert_eq!(ended.artifacts.len(), 1);
    store.delete_generation(&ended.tenant, ended.id).await.unwrap();
    match with_id("r", &[("prompt", "a")]).send(store).await.unwrap() {
        Accepted::Replayed(replayed) => {
            assert_eq!((replayed.id, replayed.state), (ended.id, State::Succeeded));
            assert_eq!(replayed.artifacts, [], "their files are gone");
            assert_eq!(replayed.cost, ended.cost);
        }
        Accepted::New(..) => panic!("bought again after its deletion"),
    }
}

pub(in crate::store) async fn a_full_queue_refuses_until_something_ends(store: &Tested) {
    let limited = |ask: Ask| Ask { max_unfinished: 3, ..ask };
    let first = limited(with_id("r", &[("prompt", "a")])).accepted(store).await;
    for _ in 0..2 {
        limited(Ask::new()).accepted(store).await;
    }
    let late = limited(Ask::new());
    let refused = late.clone().send(store).await;
    assert!(matches!(refused, Err(AcceptError::QueueFull { unfinished: 3 })));
    assert_eq!(store.session(&late.tenant, &late.session).await.unwrap(), None, "a refusal leaves no session");
    let again = limited(with_id("r", &[("prompt", "a")])).send(store).await;
    assert!(matches!(again, Ok(Accepted::Replayed(_))), "a known request is answered however full it is");

    store.apply(first.id, Event::CancelRequested, None, START).await.unwrap();
    late.accepted(store).await;
    assert!(matches!(limited(Ask::new()).send(store).await, Err(AcceptError::QueueFull { unfinished: 3 })));
}

pub(in crate::store) async fn the_draft_is_told_the_last_six_messages(store: &Tested) {
    let session = SessionId::fresh();
    let mut said = Vec::new();
    for _ in 0..5 {
        let generation = Ask::new().within(&session).accepted(store).await;
        let told: Vec<&str> = generation.brief.split(" | ").filter(|text| !text.is_empty()).collect();
        let last: Vec<&String> = said.iter().skip(said.len().saturating_sub(6)).collect();
        assert_eq!(told, last);
        said = texts(store, &session).await;
    }
    assert_eq!(said.len(), 10);
}

pub(in crate::store) async fn old_request_ids_are_forgotten(store: &Tested) {
    let ask = |id: &str, millis| Ask { now: at(millis), ..with_id(id, &[("prompt", "a")]) };
    ask("old", 0).accepted(store).await;
    ask("young", 2000).accepted(store).await;
    assert_eq!(store.expire_request_ids(at(1000)).await.unwrap(), 1);
    ask("old", 3000).accepted(store).await;
    assert!(matches!(ask("young", 3000).send(store).await, Ok(Accepted::Replayed(_))));
}
