use super::*;
use crate::{
    domain::{
        artifact::Artifact,
        generation::State,
        life::Refused,
        names::{ArtifactId, GenerationId},
        order::{Input, InputRole, InputSource},
    },
    store::port::{ApplyError, ArtifactFilter, Expired, GenerationFilter},
};

/// Long after all that happens in a test.
fn later() -> Timestamp {
    at(3_600_000)
}

async fn expire_generations(store: &Tested) -> Expired {
    store.expire_generations(later(), 100, later()).await.unwrap()
}

async fn expire_artifacts(store: &Tested) -> Expired {
    store.expire_artifacts(later(), 100).await.unwrap()
}

/// Cancelled at once, at this time.
async fn cancelled(store: &Tested, at: Timestamp) -> GenerationId {
    let id = Ask::new().accepted(store).await.id;
    store.apply(id, Event::CancelRequested, None, at).await.unwrap();
    id
}

/// An upload of its own blob.
async fn upload(store: &Tested) -> Artifact {
    let upload = Artifact { id: ArtifactId::fresh(), generation: None, ..output(GenerationId::fresh()) };
    store.add_artifact(&TenantId::default_tenant(), &upload).await.unwrap();
    upload
}

/// An order that starts from an artifact.
struct StartingFrom(ArtifactId);

impl StartingFrom {
    async fn accepted(self, store: &Tested) -> Generation {
        let Ask { tenant, session, request, max_unfinished, now, .. } = Ask::new();
        let acceptance = Acceptance { tenant, session, request, quote: None, max_unfinished, now };
        match store.accept(acceptance, Box::new(self)).await.unwrap() {
            Accepted::New(generation, _) => *generation,
            Accepted::Replayed(generation) => panic!("replayed {}", generation.id),
        }
    }
}

impl Draft for StartingFrom {
    fn generation(&self, earlier: &[Message]) -> (Generation, Vec<Message>) {
        let (mut generation, messages) = Ask::new().generation(earlier);
        let input = |role| Input { role, source: InputSource::Artifact(self.0.clone()) };
        generation.inputs = vec![input(InputRole::FirstFrame), input(InputRole::LastFrame)];
        (generation, messages)
    }
}

pub(in crate::store) async fn an_expired_generation_is_a_tombstone_that_stays_readable(store: &Tested) {
    let request = Some((RequestId::from_id("r").unwrap(), vec![("prompt".to_owned(), "a".to_owned())]));
    let ask = Ask { request, ..Ask::order("d") };
    let accepted = ask.clone().accepted(store).await;
    let whole = succeed(store, &accepted).await.generation;
    let (tenant, blob) = (&whole.tenant, whole.artifacts[0].blob.clone());
    assert_eq!(expire_generations(store).await, Expired { n: 1, blobs: vec![blob] });

    let left = store.generation(tenant, whole.id).await.unwrap().unwrap();
    assert_eq!((left.state, left.expired_at, left.sequence), (State::Succeeded, Some(later()), whole.sequence + 1));
    assert_eq!((left.ended_at, left.created_at, &left.cost), (whole.ended_at, whole.created_at, &whole.cost));
    assert_eq!((left.prompt.as_str(), left.brief.as_str(), left.artifacts.len()), ("", "", 0));
    assert_eq!(left.attempts.len(), 1);
    assert_eq!(store.load(whole.id).await.unwrap().map(|loaded| loaded.generation).as_ref(), Some(&left));
    match ask.send(store).await.unwrap() {
        Accepted::Replayed(replayed) => assert_eq!(*replayed, left),
        Accepted::New(..) => panic!("bought again after it expired"),
    }

    assert_eq!(store.generations(tenant, &GenerationFilter::default(), page(10)).await.unwrap(), []);
    assert_eq!(store.artifact(tenant, &whole.artifacts[0].id).await.unwrap(), None);
    assert_eq!(history(store, &whole).await, []);
    assert_eq!(store.cached(tenant, None, "d").await.unwrap(), None);
    assert_eq!(Ask::order("d").accepted(store).await.cached_from, None);
    assert_eq!(expire_generations(store).await, Expired::default(), "once is enough");
}

pub(in crate::store) async fn an_expired_generation_is_ended_and_can_be_deleted(store: &Tested) {
    let id = cancelled(store, START).await;
    let ended = succeed(store, &Ask::new().accepted(store).await).await.generation;
    assert_eq!(expire_generations(store).await.n, 2);
    assert_eq!(
        store.apply(id, Event::CancelRequested, None, later()).await.unwrap().generation.state,
        State::Cancelled
    );
    match store.apply(ended.id, Event::CancelRequested, None, later()).await {
        Err(ApplyError::Refused { reason: Refused::Ended(State::Succeeded), .. }) => {}
        answer => panic!("{answer:?}"),
    }
    store.delete_generation(&ended.tenant, ended.id).await.unwrap();
    assert_eq!(store.generation(&ended.tenant, ended.id).await.unwrap(), None);
    assert_eq!(expire_generations(store).await, Expired::default(), "a deleted one has nothing left to expire");
}

pub(in crate::store) async fn only_what_ended_before_expires_first_ended_first(store: &Tested) {
    let unfinished = Ask { now: at(-1000), ..Ask::new() }.accepted(store).await;
    let [third, first, second] =
        [cancelled(store, at(30)).await, cancelled(store, at(10)).await, cancelled(store, at(20)).await];
    let expired = async || {
        let mut expired = Vec::new();
        for id in [first, second, third] {
            expired.push(store.load(id).await.unwrap().unwrap().generation.expired_at.is_some());
        }
        expired
    };
    assert_eq!(store.expire_generations(at(10), 100, later()).await.unwrap().n, 0, "it ended then, not before");
    assert_eq!(store.expire_generations(at(25), 1, later()).await.unwrap().n, 1);
    assert_eq!(expired().await, [true, false, false]);
    assert_eq!(store.expire_generations(at(25), 100, later()).await.unwrap().n, 1);
    assert_eq!(expired().await, [true, true, false]);
    assert_eq!(expire_generations(store).await.n, 1);
    assert_eq!(stored(store, &unfinished).await, unfinished, "whatever its age");
    assert_eq!(super::unfinished(store, super::page(10)).await, [unfinished]);
}

pub(in crate::store) async fn shared_bytes_live_as_long_as_the_last_that_shares_them(store: &Tested) {
    let source = Ask::order("d").accepted(store).await;
    let source = succeed(store, &source).await.generation;
    let hit = Ask { now: later(), ..Ask::order("d") }.accepted(store).await;
    assert_eq!(hit.cached_from, Some(source.id));
    assert_eq!(expire_generations(store).await, Expired { n: 1, blobs: Vec::new() });
    assert_eq!(store.artifact(&hit.tenant, &hit.artifacts[0].id).await.unwrap().as_ref(), hit.artifacts.first());

    let after = later() + SignedDuration::from_secs(1);
    let expired = store.expire_generations(after, 100, after).await.unwrap();
    assert_eq!(expired, Expired { n: 1, blobs: vec![source.artifacts[0].blob.clone()] });
}

pub(in crate::store) async fn an_expired_artifact_is_gone_and_answers_no_order(store: &Tested) {
    let made = succeed(store, &Ask::order("d").accepted(store).await).await.generation;
    let brought = upload(store).await;
    let blobs = |expired: Expired| {
        let mut blobs = expired.blobs;
        blobs.sort();
        blobs
    };
    assert_eq!(store.expire_artifacts(START, 100).await.unwrap(), Expired::default(), "they were stored then");
    let mut expected = vec![made.artifacts[0].blob.clone(), brought.blob];
    expected.sort();
    assert_eq!(blobs(expire_artifacts(store).await), expected);
    assert_eq!(store.artifacts(&made.tenant, &ArtifactFilter::default(), page(10)).await.unwrap(), []);
    assert_eq!(store.cached(&made.tenant, None, "d").await.unwrap(), None);
    assert_eq!(Ask::order("d").accepted(store).await.cached_from, None);
    assert_eq!(stored(store, &made).await, made, "the generation itself is kept");
    assert_eq!(expire_generations(store).await.n, 1);
}

pub(in crate::store) async fn artifacts_expire_in_batches(store: &Tested) {
    for _ in 0..5 {
        upload(store).await;
    }
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let expired = store.expire_artifacts(later(), 2).await.unwrap();
        assert_eq!(expired.n, expired.blobs.len());
        sizes.push(expired.n);
    }
    assert_eq!(sizes, [2, 2, 1]);
}

pub(in crate::store) async fn what_an_unfinished_generation_starts_from_is_kept(store: &Tested) {
    let brought = upload(store).await;
    let source = succeed(store, &Ask::new().accepted(store).await).await.generation;
    let from_upload = StartingFrom(brought.id.clone()).accepted(store).await;
    let from_output = StartingFrom(source.artifacts[0].id.clone()).accepted(store).await;
    assert_eq!(expire_artifacts(store).await, Expired::default());
    assert_eq!(expire_generations(store).await, Expired::default(), "it goes with its outputs or not at all");
    assert_eq!(stored(store, &source).await, source);

    store.apply(from_upload.id, Event::CancelRequested, None, START).await.unwrap();
    assert_eq!(expire_artifacts(store).await, Expired { n: 1, blobs: vec![brought.blob] });
    succeed(store, &from_output).await;
    assert_eq!(expire_generations(store).await.n, 3);
    assert_eq!(store.artifact(&source.tenant, &source.artifacts[0].id).await.unwrap(), None);
}
