use std::collections::HashSet;

use super::*;
use crate::{
    domain::{
        failure::{Charged, Failure, FailurePhase, FailureReason},
        generation::State,
        money::MicroUsd,
    },
    store::port::ApplyError,
};

pub(in crate::store) async fn identical_orders_in_flight_have_one_leader(store: &Tested) {
    let answers = together(store, (0..200).map(|_| Ask::order("d")).collect()).await;
    let generations: Vec<Generation> = answers
        .into_iter()
        .map(|answer| match answer.unwrap() {
            Accepted::New(generation, _) | Accepted::Replayed(generation) => *generation,
        })
        .collect();
    let (leaders, followers): (Vec<_>, Vec<_>) = generations.iter().partition(|generation| !generation.coalesced);
    assert_eq!((leaders.len(), followers.len()), (1, 199));
    for follower in followers {
        assert_eq!(follower.leader, Some(leaders[0].id));
        assert_eq!((follower.cost.held, follower.attempts.len()), (MicroUsd::ZERO, 0));
    }
    let changes = succeed(store, leaders[0]).await;
    assert_eq!(changes.others.len(), 199);
    assert_eq!(unfinished(store, page(10)).await, []);
}

pub(in crate::store) async fn a_later_turn_is_shared_within_its_session_only(store: &Tested) {
    let first = Ask::order("d").accepted(store).await;
    let again = Ask::order("d").within(&first.session).accepted(store).await;
    assert_eq!(again.leader, Some(first.id), "the same session asked again");
    let talk = Ask::new().accepted(store).await;
    let later = Ask::order("d").within(&talk.session).accepted(store).await;
    assert_eq!(later.leader, None, "a later turn elsewhere depends on its own conversation");
    let fresh = Ask::order("d").accepted(store).await;
    assert_eq!(fresh.leader, Some(first.id), "a first turn follows the one that is a first turn");
    let other = Ask { tenant: TenantId::from_id("other").unwrap(), ..Ask::order("d") }.accepted(store).await;
    assert_eq!(other.leader, None);
}

pub(in crate::store) async fn bypass_and_refresh_share_nothing(store: &Tested) {
    for policy in [CachePolicy::Bypass, CachePolicy::Refresh] {
        Ask::order("d").policy(policy).accepted(store).await;
    }
    let leader = Ask::order("d").accepted(store).await;
    assert_eq!(leader.leader, None, "nobody joins those who asked for a result of their own");
    for policy in [CachePolicy::Bypass, CachePolicy::Refresh] {
        assert_eq!(Ask::order("d").policy(policy).accepted(store).await.leader, None);
    }
    submit(store, &leader, "job").await;
    store.apply(leader.id, Event::CancelRequested, None, START).await.unwrap();
    assert_eq!(Ask::order("d").accepted(store).await.leader, None, "nor those who are being cancelled");
}

pub(in crate::store) async fn followers_end_with_their_leader(store: &Tested) {
    let leader = Ask::order("d").accepted(store).await;
    let follower = Ask::order("d").accepted(store).await;
    let changes = succeed(store, &leader).await;

    assert_eq!(changes.others.len(), 1);
    let ended = stored(store, &follower).await;
    assert_eq!(changes.others[0], ended);
    assert_eq!((ended.id, ended.state, ended.coalesced), (follower.id, State::Succeeded, true));
    assert_eq!(ended.artifacts[0].blob, changes.generation.artifacts[0].blob);
    let artifact = store.artifact(&follower.tenant, &ended.artifacts[0].id).await.unwrap();
    assert_eq!(artifact.as_ref(), ended.artifacts.first());
    for generation in [&leader, &follower] {
        let texts = texts(store, &generation.session).await;
        assert_eq!(texts.len(), 3);
        assert!(texts[2].starts_with("[VIDEO GENERATED]"), "{texts:?}");
    }
}

pub(in crate::store) async fn followers_fail_with_their_leader(store: &Tested) {
    let leader = Ask::order("d").accepted(store).await;
    let follower = Ask::order("d").accepted(store).await;
    submit(store, &leader, "job").await;
    let failure = Failure::new(FailureReason::ProviderJobFailed, FailurePhase::Provider, Charged::Yes, "no");
    tell(store, &leader, AttemptEvent::Failed(failure, Usage::default())).await;
    let ended = stored(store, &follower).await;
    let failure = ended.failure.unwrap();
    assert_eq!((failure.reason, failure.charged), (FailureReason::ProviderJobFailed, Charged::No));
    assert_eq!(unfinished(store, page(10)).await, []);
}

pub(in crate::store) async fn cancelling_a_follower_is_local(store: &Tested) {
    let leader = Ask::order("d").accepted(store).await;
    let follower = Ask::order("d").accepted(store).await;
    let changes = store.apply(follower.id, Event::CancelRequested, None, START).await.unwrap();
    assert_eq!((changes.generation.state, changes.others.len()), (State::Cancelled, 0));
    assert_eq!(stored(store, &leader).await, leader);
    let changes = succeed(store, &leader).await;
    assert_eq!((changes.generation.state, changes.others.len()), (State::Succeeded, 0));
    assert_eq!(stored(store, &follower).await.state, State::Cancelled);
}

pub(in crate::store) async fn cancelling_a_leader_promotes_the_oldest_follower(store: &Tested) {
    let leader = Ask::order("d").accepted(store).await;
    let [oldest, other] = [Ask::order("d").accepted(store).await, Ask::order("d").accepted(store).await];
    submit(store, &leader, "job").await;

    let changes = store.apply(leader.id, Event::CancelRequested, None, START).await.unwrap();
    assert_eq!((changes.generation.state, changes.generation.successor), (State::Cancelled, Some(oldest.id)));
    assert_eq!(changes.others, [stored(store, &oldest).await, stored(store, &other).await]);
    assert_eq!(texts(store, &leader.session).await.last().unwrap(), "[VIDEO CANCELLED]");
    let promoted = stored(store, &oldest).await;
    assert_eq!((promoted.state, promoted.cost.held), (State::Running, leader.cost.held));
    assert_eq!(promoted.open_attempt().unwrap().ticket, Some(ticket("job")));
    let moved = stored(store, &other).await;
    assert_eq!(
        (moved.leader, moved.sequence),
        (Some(oldest.id), other.sequence + 1),
        "who watches it looks elsewhere now"
    );
    assert!(store.job_is_claimed("sample", "account", "job", leader.id).await.unwrap());
    assert!(!store.job_is_claimed("sample", "account", "job", oldest.id).await.unwrap());
    assert_eq!(Ask::order("d").accepted(store).await.leader, Some(oldest.id));

    // Whoever drove the leader goes on telling what happens to the attempt, and stored the output under the leader's name.
    let stored_output = AttemptEvent::Stored(vec![output(leader.id)], Usage::default());
    let changes = tell(store, &leader, stored_output).await;
    assert_eq!((changes.generation.id, changes.generation.state), (oldest.id, State::Succeeded));
    assert_eq!(changes.others.len(), 2);
    let names: HashSet<_> = changes.others.iter().map(|other| other.artifacts[0].id.clone()).collect();
    assert_eq!(names.len(), 2);
    assert_eq!(stored(store, &leader).await.state, State::Cancelled);
    assert_eq!(unfinished(store, page(10)).await, []);
}

pub(in crate::store) async fn a_deadline_passed_while_queued_hands_the_job_over(store: &Tested) {
    let leader = Ask::order("d").accepted(store).await;
    let follower = Ask::order("d").accepted(store).await;
    let early = store.apply(leader.id, Event::DeadlinePassed, None, START).await;
    assert!(matches!(early, Err(ApplyError::Refused { .. })));

    let changes = store.apply(leader.id, Event::DeadlinePassed, None, leader.deadline).await.unwrap();
    let failure = changes.generation.failure.unwrap();
    assert_eq!((failure.reason, failure.charged), (FailureReason::DeadlineExceeded, Charged::No));
    let promoted = stored(store, &follower).await;
    assert_eq!((promoted.state, promoted.leader), (State::Queued, None));
    assert_eq!(promoted.open_attempt().map(|attempt| attempt.id), leader.open_attempt().map(|attempt| attempt.id));
    assert_eq!(succeed(store, &promoted).await.generation.state, State::Succeeded);
}

pub(in crate::store) async fn a_deleted_leader_still_leads_to_its_job(store: &Tested) {
    let leader = Ask::order("d").accepted(store).await;
    let [second, third] = [Ask::order("d").accepted(store).await, Ask::order("d").accepted(store).await];
    tell(store, &leader, AttemptEvent::Submitting(SubmitKey::fresh())).await;
    for (gone, successor) in [(&leader, &second), (&second, &third)] {
        store.apply(gone.id, Event::CancelRequested, None, START).await.unwrap();
        store.delete_generation(&gone.tenant, gone.id).await.unwrap();
        assert_eq!(store.generation(&gone.tenant, gone.id).await.unwrap(), None);
        assert_eq!(stored(store, gone).await.successor, Some(successor.id), "its driver finds out where to go on");
    }

    // The driver was within the submit all the while and knows the leader only.
    let changes = tell(store, &leader, AttemptEvent::Accepted(ticket("job"))).await;
    assert_eq!((changes.generation.id, changes.generation.state), (third.id, State::Running));
    assert_eq!(stored(store, &third).await.open_attempt().unwrap().ticket, Some(ticket("job")));
    let cancelled = store.apply(leader.id, Event::CancelRequested, None, START).await;
    assert!(matches!(cancelled, Err(ApplyError::NotFound)), "for its owner it does not exist: {cancelled:?}");
    assert_eq!(stored(store, &third).await.cancel_requested_at, None);
}

pub(in crate::store) async fn a_deleted_end_of_the_chain_is_not_found(store: &Tested) {
    let leader = Ask::order("d").accepted(store).await;
    let follower = Ask::order("d").accepted(store).await;
    submit(store, &leader, "job").await;
    store.apply(leader.id, Event::CancelRequested, None, START).await.unwrap();
    let stored_output = AttemptEvent::Stored(vec![output(leader.id)], Usage::default());
    tell(store, &leader, stored_output).await;
    store.delete_generation(&follower.tenant, follower.id).await.unwrap();

    let late = Event::Attempt(leader.open_attempt().unwrap().id, AttemptEvent::OutputsReady);
    let late = store.apply(leader.id, late, None, START).await;
    assert!(matches!(late, Err(ApplyError::NotFound)), "{late:?}");
    assert_eq!(store.load(follower.id).await.unwrap(), None);
}
