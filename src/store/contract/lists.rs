use super::*;
use crate::{
    domain::{
        artifact::Artifact,
        generation::State,
        names::{ArtifactId, GenerationId},
    },
    store::port::{ArtifactFilter, Direction, GenerationFilter},
};

/// Walks a list in pages of `limit`, each after the last row of the one before.
async fn walk<T, K>(limit: usize, key: impl Fn(&T) -> K, fetch: impl AsyncFn(Page<K>) -> Vec<T>) -> Vec<T> {
    let mut all: Vec<T> = Vec::new();
    loop {
        let rows = fetch(Page { after: all.last().map(&key), limit }).await;
        assert!(rows.len() <= limit);
        if rows.is_empty() {
            return all;
        }
        all.extend(rows);
    }
}

async fn ids(store: &Tested, filter: GenerationFilter) -> Vec<GenerationId> {
    let tenant = TenantId::default_tenant();
    let fetch = async |page| store.generations(&tenant, &filter, page).await.unwrap();
    walk(2, |row: &Generation| row.id, fetch).await.into_iter().map(|row| row.id).collect()
}

pub(in crate::store) async fn generations_are_listed_from_either_end_with_every_filter(store: &Tested) {
    let session = SessionId::fresh();
    let mut made = Vec::new();
    for index in 0..9 {
        let kind = Kind::ALL[index % 2];
        let ask = if index < 4 { Ask::new().within(&session) } else { Ask::new() };
        made.push(Ask { kind, ..ask }.accepted(store).await);
    }
    for generation in &made[..3] {
        succeed(store, generation).await;
    }
    store.apply(made[4].id, Event::CancelRequested, None, START).await.unwrap();
    let of = |indices: &[usize]| indices.iter().rev().map(|&index| made[index].id).collect::<Vec<_>>();

    let all = GenerationFilter::default;
    assert_eq!(ids(store, all()).await, of(&[0, 1, 2, 3, 4, 5, 6, 7, 8]));
    let states = |states: &[State]| GenerationFilter { states: states.to_vec(), ..all() };
    assert_eq!(ids(store, states(&[State::Succeeded])).await, of(&[0, 1, 2]));
    let mixed = [State::Cancelled, State::Queued, State::Succeeded, State::Queued];
    assert_eq!(ids(store, states(&mixed)).await, of(&[0, 1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!(ids(store, states(&[State::Failed])).await, []);
    let in_session = GenerationFilter { session: Some(session.clone()), ..all() };
    assert_eq!(ids(store, in_session.clone()).await, of(&[0, 1, 2, 3]));
    let images = GenerationFilter { kind: Some(Kind::Image), ..all() };
    assert_eq!(ids(store, images).await, of(&[1, 3, 5, 7]));
    let everything = GenerationFilter { kind: Some(Kind::Image), states: vec![State::Succeeded], ..in_session.clone() };
    assert_eq!(ids(store, everything).await, of(&[1]));

    let upwards = |filter| GenerationFilter { direction: Direction::OldestFirst, ..filter };
    for filter in [all(), states(&mixed), in_session] {
        let mut reversed = ids(store, filter.clone()).await;
        reversed.reverse();
        assert_eq!(ids(store, upwards(filter)).await, reversed);
    }
}

pub(in crate::store) async fn unfinished_generations_are_listed_oldest_first(store: &Tested) {
    let mut expected = Vec::new();
    for index in 0..7 {
        let generation = Ask::order(if index < 3 { "d" } else { "e" }).accepted(store).await;
        expected.push(generation.id);
    }
    let ended = Ask::new().accepted(store).await;
    store.apply(ended.id, Event::CancelRequested, None, START).await.unwrap();
    let fetch = async |page: Page<GenerationId>| unfinished(store, page).await;
    let found: Vec<_> = walk(3, |row: &Generation| row.id, fetch).await.iter().map(|row| row.id).collect();
    assert_eq!(found, expected, "those that share a job included");
}

pub(in crate::store) async fn history_is_paged_by_number(store: &Tested) {
    let generation = Ask::new().accepted(store).await;
    succeed(store, &generation).await;
    let fetch = async |page| store.history(generation.id, page).await.unwrap();
    let entries = walk(2, |entry: &HistoryEvent| entry.number, fetch).await;
    assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let fetch = async |page| store.messages(&generation.tenant, &generation.session, page).await.unwrap();
    let messages = walk(2, |(number, _): &(u64, Message)| *number, fetch).await;
    assert_eq!(messages.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3]);
}

pub(in crate::store) async fn sessions_are_listed_newest_first(store: &Tested) {
    let tenant = TenantId::default_tenant();
    let mut made = Vec::new();
    for index in 0..7 {
        // Some are made in the same instant: then their names decide.
        let session = store.create_session(&tenant, &SessionId::fresh(), at(index / 3)).await.unwrap();
        made.push(session);
    }
    made.sort_by(|a, b| (b.created_at, b.id.id()).cmp(&(a.created_at, a.id.id())));
    let fetch = async |page| store.sessions(&tenant, page).await.unwrap();
    let key = |row: &crate::domain::session::Session| (row.created_at, row.id.clone());
    assert_eq!(walk(2, key, fetch).await, made);
}

pub(in crate::store) async fn artifacts_are_listed_newest_first(store: &Tested) {
    let tenant = TenantId::default_tenant();
    let maker = GenerationId::fresh();
    let mut made: Vec<Artifact> = Vec::new();
    for index in 0..7_usize {
        let generation = (index < 4).then_some(maker);
        let id = generation.map_or_else(ArtifactId::fresh, |id| ArtifactId::output(id, index));
        let created_at = at(index as i64 / 3);
        let artifact = Artifact { id, generation, kind: Kind::ALL[index % 2], created_at, ..output(maker) };
        store.add_artifact(&tenant, &artifact).await.unwrap();
        made.push(artifact);
    }
    made.sort_by(|a, b| (b.created_at, b.id.id()).cmp(&(a.created_at, a.id.id())));
    for filter in [
        ArtifactFilter::default(),
        ArtifactFilter { kind: Some(Kind::Image), generation: None },
        ArtifactFilter { kind: None, generation: Some(maker) },
        ArtifactFilter { kind: Some(Kind::Video), generation: Some(maker) },
    ] {
        let fits = |artifact: &&Artifact| {
            filter.kind.is_none_or(|kind| artifact.kind == kind)
                && filter.generation.is_none_or(|id| artifact.generation == Some(id))
        };
        let expected: Vec<Artifact> = made.iter().filter(fits).cloned().collect();
        assert!(expected.len() > 1);
        let fetch = async |page| store.artifacts(&tenant, &filter, page).await.unwrap();
        assert_eq!(walk(2, |row: &Artifact| (row.created_at, row.id.clone()), fetch).await, expected);
    }
}

pub(in crate::store) async fn tenants_do_not_see_each_other(store: &Tested) {
    let generation = Ask::order("d").accepted(store).await;
    let ended = succeed(store, &generation).await.generation;
    let stranger = TenantId::from_id("stranger").unwrap();
    let (session, artifact) = (&ended.session, &ended.artifacts[0].id);

    assert_eq!(store.generation(&stranger, ended.id).await.unwrap(), None);
    assert_eq!(store.generations(&stranger, &GenerationFilter::default(), page(10)).await.unwrap(), []);
    assert_eq!(store.session(&stranger, session).await.unwrap(), None);
    assert_eq!(store.sessions(&stranger, page(10)).await.unwrap(), []);
    assert_eq!(store.messages(&stranger, session, page(10)).await.unwrap(), []);
    assert!(!store.delete_session(&stranger, session).await.unwrap());
    assert_eq!(store.artifact(&stranger, artifact).await.unwrap(), None);
    assert_eq!(store.artifacts(&stranger, &ArtifactFilter::default(), page(10)).await.unwrap(), []);
    assert!(store.delete_artifact(&stranger, artifact).await.unwrap().is_break());
    assert_eq!(store.cached(&stranger, None, "d").await.unwrap(), None);

    let theirs = Ask { tenant: stranger.clone(), ..Ask::new().within(session) }.accepted(store).await;
    assert_eq!(theirs.brief, "", "a session of the same name is another one");
    assert_eq!(store.messages(&stranger, session, page(10)).await.unwrap().len(), 2);
    assert_eq!(texts(store, session).await.len(), 3);
}
