use super::*;
use crate::{
    domain::{
        failure::{Charged, Failure, FailurePhase, FailureReason},
        generation::State,
        life::{Advance, Refused, Resolution},
        names::{AttemptId, GenerationId},
    },
    store::port::{ApplyError, DeleteError},
};

pub(in crate::store) async fn a_success_leaves_message_artifacts_and_history(store: &Tested) {
    let generation = Ask::new().accepted(store).await;
    let ended = succeed(store, &generation).await.generation;
    assert_eq!(stored(store, &generation).await, ended);
    assert_eq!(store.artifact(&ended.tenant, &ended.artifacts[0].id).await.unwrap().as_ref(), ended.artifacts.first());

    let told = history(store, &generation).await;
    let whats: Vec<&str> = told.iter().map(|entry| entry.what.as_str()).collect();
    assert_eq!(whats, ["accepted", "submitting", "submitted", "outputs_ready", "succeeded"]);
    let numbers: Vec<u64> = told.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert_eq!(told.last().unwrap().sequence, ended.sequence);

    let messages = store.messages(&ended.tenant, &ended.session, page(10)).await.unwrap();
    let (number, closing) = messages.last().unwrap();
    assert_eq!((*number, closing.generation), (3, Some(ended.id)));
    assert_eq!(closing.meta["video"], Value::from(ended.artifacts[0].id.to_string()));
}

pub(in crate::store) async fn outputs_stored_at_once_leave_the_history_of_every_step(store: &Tested) {
    let generation = Ask::new().accepted(store).await;
    tell(store, &generation, AttemptEvent::Submitting(SubmitKey::fresh())).await;
    let stored_at_once = AttemptEvent::Stored(vec![output(generation.id)], Usage::default());
    let ended = tell(store, &generation, stored_at_once).await.generation;
    assert_eq!((ended.state, stored(store, &generation).await), (State::Succeeded, ended.clone()));
    let told = history(store, &generation).await;
    let states: Vec<(u64, &str, State)> =
        told.iter().map(|entry| (entry.number, entry.what.as_str(), entry.state)).collect();
    let expected = [
        (1, "accepted", State::Queued),
        (2, "submitting", State::Running),
        (3, "outputs_ready", State::Storing),
        (4, "succeeded", State::Succeeded),
    ];
    assert_eq!(states, expected);
    assert_eq!(told.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(ended.sequence, 4);
}

pub(in crate::store) async fn an_event_that_says_nothing_new_writes_nothing(store: &Tested) {
    let generation = Ask::new().accepted(store).await;
    submit(store, &generation, "job").await;
    let advance = || AttemptEvent::Progressed(Advance { percent: Some(40), ..Advance::default() });
    let changed = tell(store, &generation, advance()).await.generation;
    let n_entries = history(store, &generation).await.len();
    let repeated = tell(store, &generation, advance()).await.generation;
    assert_eq!(repeated, changed);
    assert_eq!(stored(store, &generation).await, changed);
    assert_eq!(history(store, &generation).await.len(), n_entries, "progress is no history");
}

pub(in crate::store) async fn a_refused_event_tells_the_generation_as_it_is(store: &Tested) {
    let generation = Ask::new().accepted(store).await;
    let stale = Event::Attempt(AttemptId::fresh(), AttemptEvent::OutputsReady);
    match store.apply(generation.id, stale, None, START).await {
        Err(ApplyError::Refused { reason: Refused::StaleAttempt, generation: told }) => assert_eq!(*told, generation),
        other => panic!("{other:?}"),
    }
    let nobody = store.apply(GenerationId::fresh(), Event::CancelRequested, None, START).await;
    assert!(matches!(nobody, Err(ApplyError::NotFound)));
    let ended = succeed(store, &generation).await.generation;
    let late = store.apply(generation.id, Event::CancelRequested, None, START).await;
    assert!(matches!(late, Err(ApplyError::Refused { reason: Refused::Ended(State::Succeeded), .. })));
    assert_eq!(stored(store, &generation).await, ended);
}

pub(in crate::store) async fn a_job_belongs_to_one_generation(store: &Tested) {
    let [owner, other] = [Ask::new().accepted(store).await, Ask::new().accepted(store).await];
    submit(store, &owner, "job").await;
    let submitting = tell(store, &other, AttemptEvent::Submitting(SubmitKey::fresh())).await.generation;
    assert!(store.job_is_claimed("sample", "account", "job", other.id).await.unwrap());
    assert!(!store.job_is_claimed("sample", "account", "job", owner.id).await.unwrap());
    assert!(!store.job_is_claimed("sample", "another account", "job", other.id).await.unwrap());
    assert!(!store.job_is_claimed("another", "account", "job", other.id).await.unwrap());

    let attempt = other.open_attempt().unwrap().id;
    let taken = Event::Attempt(attempt, AttemptEvent::Accepted(ticket("job")));
    match store.apply(other.id, taken, None, START).await {
        Err(ApplyError::Refused { reason: Refused::WrongState(State::Running), generation }) => {
            assert_eq!(*generation, submitting);
        }
        answer => panic!("{answer:?}"),
    }
    assert_eq!(stored(store, &other).await, submitting);
    assert_eq!(tell(store, &other, AttemptEvent::Accepted(ticket("job 2"))).await.generation.state, State::Running);
}

pub(in crate::store) async fn an_ended_job_is_never_adopted_and_may_be_named_again(store: &Tested) {
    let [owner, other] = [Ask::new().accepted(store).await, Ask::new().accepted(store).await];
    submit(store, &owner, "job").await;
    tell(store, &owner, AttemptEvent::Stored(vec![output(owner.id)], Usage::default())).await;
    assert!(store.job_is_claimed("sample", "account", "job", other.id).await.unwrap(), "it was paid for by its owner");
    // A provider that answers with the name of an ended job means it.
    assert_eq!(submit(store, &other, "job").await.state, State::Running);

    tell(store, &other, AttemptEvent::Silent("gone".into())).await;
    let again = store.apply(other.id, Event::Resolved(Resolution::Resubmit), None, START).await.unwrap().generation;
    let third = Ask::new().accepted(store).await;
    assert_eq!(submit(store, &third, "job").await.state, State::Running, "the job of a closed attempt is free");
    assert_eq!(submit(store, &again, "job 2").await.state, State::Running);
}

pub(in crate::store) async fn lost_submits_are_counted_by_model_and_brief(store: &Tested) {
    let [first, second] = [Ask::new().accepted(store).await, Ask::new().accepted(store).await];
    let model = first.candidates[0].model.to_string();
    let count = async |besides| store.lost_submits(&model, "", besides).await.unwrap();
    assert_eq!(count(second.id).await, 0, "nothing was sent");
    for generation in [&first, &second] {
        tell(store, generation, AttemptEvent::Submitting(SubmitKey::fresh())).await;
    }
    tell(store, &first, AttemptEvent::AnswerLost("reset".into())).await;
    assert_eq!((count(second.id).await, count(GenerationId::fresh()).await), (1, 2));
    assert_eq!(store.lost_submits("sample/another", "", second.id).await.unwrap(), 0);
    assert_eq!(store.lost_submits(&model, "another brief", second.id).await.unwrap(), 0);
    tell(store, &first, AttemptEvent::Accepted(ticket("job"))).await;
    assert_eq!(count(second.id).await, 0);
    let failure = Failure::new(FailureReason::ProviderOverloaded, FailurePhase::Submit, Charged::No, "429");
    tell(store, &second, AttemptEvent::Failed(failure, Usage::default())).await;
    assert_eq!(count(first.id).await, 0);
}

pub(in crate::store) async fn only_an_ended_generation_is_deleted(store: &Tested) {
    let generation = Ask::new().accepted(store).await;
    let tenant = &generation.tenant;
    let early = store.delete_generation(tenant, generation.id).await;
    assert!(matches!(early, Err(DeleteError::Unfinished(State::Queued))));
    succeed(store, &generation).await;
    let stranger = store.delete_generation(&TenantId::from_id("other").unwrap(), generation.id).await;
    assert!(matches!(stranger, Err(DeleteError::NotFound)));
    store.delete_generation(tenant, generation.id).await.unwrap();
    assert!(matches!(store.delete_generation(tenant, generation.id).await, Err(DeleteError::NotFound)));
}

pub(in crate::store) async fn a_deleted_generation_leaves_nothing_it_was_told(store: &Tested) {
    let generation = Ask::new().accepted(store).await;
    let ended = succeed(store, &generation).await.generation;
    store.delete_generation(&ended.tenant, ended.id).await.unwrap();
    assert_eq!(store.generation(&ended.tenant, ended.id).await.unwrap(), None);
    assert_eq!(store.load(ended.id).await.unwrap(), None);
    assert_eq!(store.generations(&ended.tenant, &Default::default(), page(10)).await.unwrap(), []);
    assert_eq!(store.artifact(&ended.tenant, &ended.artifacts[0].id).await.unwrap(), None);
    assert_eq!(history(store, &ended).await, []);
    let blob = ended.artifacts[0].blob.clone();
    assert_eq!(store.unreferenced(vec![blob.clone()]).await.unwrap(), [blob]);
    let late = store.apply(ended.id, Event::CancelRequested, None, START).await;
    assert!(matches!(late, Err(ApplyError::NotFound)));
}
