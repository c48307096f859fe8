use std::ops::ControlFlow;

use super::*;
use crate::domain::{
    artifact::{Artifact, BlobKey},
    names::{ArtifactId, AttemptId},
};

pub(in crate::store) async fn a_session_keeps_the_order_of_many_writers(store: &Tested) {
    let session = SessionId::fresh();
    let asks = (0..100).map(|_| Ask::new().within(&session)).collect();
    for answer in together(store, asks).await {
        answer.unwrap();
    }
    let tenant = TenantId::default_tenant();
    let messages = store.messages(&tenant, &session, page(1000)).await.unwrap();
    assert_eq!(messages.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=200).collect::<Vec<_>>());
    for pair in messages.chunks(2) {
        let [(_, user), (_, assistant)] = pair else { panic!("an odd number of messages") };
        assert_eq!((user.role, assistant.role), (Role::User, Role::Assistant));
        assert_eq!(user.generation, assistant.generation);
    }
    let row = store.session(&tenant, &session).await.unwrap().unwrap();
    assert_eq!(row.n_messages, 200);
    assert_eq!(store.sessions(&tenant, page(10)).await.unwrap(), [row]);
}

pub(in crate::store) async fn making_a_session_twice_keeps_it(store: &Tested) {
    let ask = Ask { now: at(1), ..Ask::new() };
    let (tenant, session) = (ask.tenant.clone(), ask.session.clone());
    let made = store.create_session(&tenant, &session, START).await.unwrap();
    assert_eq!((made.created_at, made.updated_at, made.n_messages), (START, START, 0));
    ask.accepted(store).await;
    let again = store.create_session(&tenant, &session, at(2)).await.unwrap();
    assert_eq!((again.created_at, again.updated_at, again.n_messages), (START, at(1), 2));
}

pub(in crate::store) async fn the_time_of_a_session_does_not_go_back(store: &Tested) {
    let ask = Ask { now: at(10), ..Ask::new() };
    let (tenant, session) = (ask.tenant.clone(), ask.session.clone());
    ask.clone().accepted(store).await;
    let earlier = Ask { now: at(5), ..ask }.accepted(store).await;
    let updated_at = async || store.session(&tenant, &session).await.unwrap().unwrap().updated_at;
    assert_eq!(updated_at().await, at(10));
    store.apply(earlier.id, Event::CancelRequested, None, at(7)).await.unwrap();
    assert_eq!(updated_at().await, at(10));
}

pub(in crate::store) async fn a_deleted_session_keeps_its_generations(store: &Tested) {
    let generation = Ask::new().accepted(store).await;
    let (tenant, session) = (&generation.tenant, &generation.session);
    assert!(store.delete_session(tenant, session).await.unwrap());
    assert!(!store.delete_session(tenant, session).await.unwrap());
    succeed(store, &generation).await;
    assert_eq!(store.session(tenant, session).await.unwrap(), None, "an end does not bring its session back");
    assert_eq!(texts(store, session).await, Vec::<String>::new());
    assert!(store.generation(tenant, generation.id).await.unwrap().is_some());
}

pub(in crate::store) async fn a_blob_dies_with_its_last_artifact(store: &Tested) {
    let source = Ask::order("d").accepted(store).await;
    let source = succeed(store, &source).await.generation;
    let hit = Ask::order("d").accepted(store).await;
    let (tenant, blob) = (&source.tenant, source.artifacts[0].blob.clone());
    let orphan = BlobKey::fresh(AttemptId::fresh(), 0);
    assert_eq!(store.unreferenced(vec![blob.clone(), orphan.clone()]).await.unwrap(), [orphan]);

    let delete = async |id: &ArtifactId| store.delete_artifact(tenant, id).await.unwrap();
    assert_eq!(delete(&source.artifacts[0].id).await, ControlFlow::Continue(None), "the other still needs it");
    assert_eq!(delete(&hit.artifacts[0].id).await, ControlFlow::Continue(Some(blob)));
    assert_eq!(delete(&hit.artifacts[0].id).await, ControlFlow::Break(()));

    let upload = Artifact { id: ArtifactId::fresh(), generation: None, ..output(source.id) };
    store.add_artifact(tenant, &upload).await.unwrap();
    assert_eq!(store.artifact(tenant, &upload.id).await.unwrap(), Some(upload));
}

pub(in crate::store) async fn a_heartbeat_writes(store: &Tested) {
    store.heartbeat(START).await.unwrap();
    store.heartbeat(at(1)).await.unwrap();
}
