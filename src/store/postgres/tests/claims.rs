//! Owners, claims, leases and hints.

use std::collections::HashSet;

use tokio::task::JoinSet;

use super::{
    super::{
        dialect, error,
        generations::{self, Stored},
        sessions,
        statements::{Statement, values},
        work::Work,
    },
    *,
};
use crate::{
    domain::{
        failure::FailureReason,
        generation::State,
        life::{AttemptEvent, tests::START},
        names::SubmitKey,
    },
    store::contract::{Ask, at, page, stored, submit, succeed, tell, ticket},
};

/// Accepts and tells the claim.
async fn accepted(store: &Arc<Postgres>, ask: Ask) -> Owned {
    match ask.send(&tested(store)).await.unwrap() {
        Accepted::New(generation, claim) => Owned { generation: *generation, claim },
        Accepted::Replayed(generation) => panic!("replayed {}", generation.id),
    }
}

fn submitting(generation: &Generation) -> Event {
    Event::Attempt(generation.open_attempt().unwrap().id, AttemptEvent::Submitting(SubmitKey::fresh()))
}

async fn drive(store: &Postgres, owned: &Owned) -> std::result::Result<Changes, ApplyError> {
    store.apply(owned.generation.id, submitting(&owned.generation), Some(owned.claim), START).await
}

fn is_lost<T>(answer: &std::result::Result<T, ApplyError>) -> bool {
    matches!(answer, Err(ApplyError::Lost))
}

async fn claim(store: &Postgres, generation: &Generation) -> Option<Claim> {
    store.load(generation.id).await.unwrap().unwrap().claim
}

/// As if the process had not been heard of for longer than its lease.
fn end_lease(url: &str, process: &str) {
    let text = "UPDATE filmgate.processes SET lease_until = clock_timestamp() - interval '1 ms' WHERE id =";
    server::psql(url, &format!("{text} '{process}'"));
}

fn ids(owned: &[Owned]) -> Vec<GenerationId> {
    owned.iter().map(|owned| owned.generation.id).collect()
}

#[tokio::test]
async fn a_generation_belongs_to_the_process_that_accepted_it() {
    let (_, [a, b]) = stores(["a", "b"]).await;
    let owned = accepted(&a, Ask::new()).await;
    assert_eq!(claim(&a, &owned.generation).await, Some(owned.claim));
    assert_eq!(claim(&b, &owned.generation).await, None);
    assert_eq!(a.owned(None, 10).await.unwrap(), std::slice::from_ref(&owned));
    assert_eq!(b.owned(None, 10).await.unwrap(), []);

    let wrong = Owned { claim: Claim::of(owned.claim.fence() + 1), ..owned.clone() };
    assert!(is_lost(&drive(&a, &wrong).await));
    assert!(is_lost(&drive(&b, &owned).await), "a claim is worth nothing elsewhere");
    assert_eq!(stored(&tested(&a), &owned.generation).await, owned.generation);
    drive(&a, &owned).await.unwrap();
    let cancelled = b.apply(owned.generation.id, Event::CancelRequested, None, START).await.unwrap();
    assert_eq!(cancelled.generation.state, State::Cancelling, "a caller needs no claim");
}

#[tokio::test]
async fn no_update_of_a_generation_passes_without_its_claim() {
    let (_, [a]) = stores(["a"]).await;
    let owned = accepted(&a, Ask::new()).await;
    let stale = Stored {
        generation: Generation { phase: "stale".into(), ..owned.generation.clone() },
        owner: "a".into(),
        fence: owned.claim.fence() - 1,
        deleted: false,
    };
    let elsewhere = Stored { owner: "b".into(), fence: owned.claim.fence(), ..stale.clone() };
    for wrong in [stale, elsewhere] {
        let updates: [fn(&mut Work, &Stored) -> Result<()>; 3] = [
            |work, wrong| generations::save(work, wrong, &[]),
            |work, wrong| generations::save_keys(work, wrong),
            |work, wrong| {
                generations::give_claim(work, &mut wrong.clone(), wrong);
                Ok(())
            },
        ];
        for update in updates {
            let written = a
                .database
                .transaction(async |mut work| {
                    update(&mut work, &wrong)?;
                    sessions::ensure(&mut work, &owned.generation.tenant, &SessionId::from_id("left").unwrap(), START);
                    Ok::<_, ApplyError>(work.commit().await?)
                })
                .await;
            assert!(is_lost(&written.map_err(error::of_event)));
        }
    }
    assert_eq!(stored(&tested(&a), &owned.generation).await, owned.generation);
    let left = a.session(&owned.generation.tenant, &SessionId::from_id("left").unwrap()).await.unwrap();
    assert_eq!(left, None, "what was sent behind it is undone with it");
}

#[tokio::test]
async fn what_a_lost_process_drove_is_taken_over_and_it_cannot_write_any_more() {
    let (url, [a, b]) = stores(["a", "b"]).await;
    let [first, second] = [accepted(&a, Ask::new()).await, accepted(&a, Ask::new()).await];
    let ended = accepted(&a, Ask::new()).await;
    succeed(&tested(&a), &ended.generation).await;
    assert_eq!(b.take_over(10).await.unwrap(), [], "its lease holds");

    end_lease(&url, "a");
    let taken = b.take_over(1).await.unwrap();
    assert_eq!(ids(&taken), [first.generation.id], "the oldest first");
    assert_ne!(taken[0].claim, first.claim);
    assert!(is_lost(&drive(&a, &first).await));
    drive(&a, &second).await.unwrap();
    assert_eq!(ids(&b.take_over(10).await.unwrap()), [second.generation.id]);
    assert_eq!(b.take_over(10).await.unwrap(), []);
    drive(&b, &taken[0]).await.unwrap();
    assert_eq!(claim(&a, &ended.generation).await, Some(ended.claim), "an end keeps its owner");

    a.heartbeat(START).await.unwrap();
    assert_eq!(a.owned(None, 10).await.unwrap(), [], "coming back gives nothing back");
}

#[tokio::test]
async fn the_clock_of_a_process_does_not_decide_about_its_lease() {
    let url = database().await;
    let lease = Duration::from_secs(1);
    let a = Arc::new(open_for(&url, "a", lease).await);
    let b = open(&url, "b").await;
    let owned = accepted(&a, Ask::new()).await;
    for wrong in [Timestamp::MIN, Timestamp::MAX] {
        a.heartbeat(wrong).await.unwrap();
        assert_eq!(b.take_over(10).await.unwrap(), [], "{wrong}");
    }
    let began = tokio::time::Instant::now();
    a.heartbeat(START).await.unwrap();
    let taken = loop {
        let taken = b.take_over(10).await.unwrap();
        if !taken.is_empty() {
            break taken;
        }
        assert!(began.elapsed() < lease * 10, "never taken over");
    };
    assert!(began.elapsed() >= lease);
    assert_eq!(ids(&taken), [owned.generation.id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_to_take_over_gives_each_generation_to_one_process() {
    let (url, [gone]) = stores(["gone"]).await;
    let mut left = HashSet::new();
    for _ in 0..100 {
        left.insert(accepted(&gone, Ask::new()).await.generation.id);
    }
    end_lease(&url, "gone");
    let mut taking = JoinSet::new();
    for index in 0..8 {
        let store = open(&url, &format!("taker {index}")).await;
        taking.spawn(async move {
            let mut all = Vec::new();
            loop {
                let taken = store.take_over(7).await.unwrap();
                // What another one holds just now becomes its own.
                if taken.is_empty() {
                    return all;
                }
                all.extend(taken);
            }
        });
    }
    let taken: Vec<Owned> = taking.join_all().await.into_iter().flatten().collect();
    assert_eq!(taken.len(), left.len());
    assert_eq!(taken.iter().map(|owned| owned.generation.id).collect::<HashSet<_>>(), left);
    let fences: HashSet<i64> = taken.iter().map(|owned| owned.claim.fence()).collect();
    assert_eq!(fences.len(), taken.len(), "no two claims are the same");
}

#[tokio::test]
async fn what_several_left_is_taken_over_together_up_to_the_limit() {
    let (url, [a, b, c]) = stores(["a", "b", "c"]).await;
    let of_b = [accepted(&b, Ask::new()).await, accepted(&b, Ask::new()).await];
    let of_a = [accepted(&a, Ask::new()).await, accepted(&a, Ask::new()).await];
    end_lease(&url, "a");
    end_lease(&url, "b");
    let taken = c.take_over(3).await.unwrap();
    assert_eq!(
        ids(&taken),
        [&of_b[..1], &of_a[..]].concat().iter().map(|owned| owned.generation.id).collect::<Vec<_>>()
    );
    assert_eq!(ids(&c.take_over(3).await.unwrap()), [of_b[1].generation.id]);
}

#[tokio::test]
async fn leaving_gives_up_everything_at_once() {
    let (_, [a, b]) = stores(["a", "b"]).await;
    let owned = accepted(&a, Ask::new()).await;
    b.apply(owned.generation.id, Event::CancelRequested, None, START).await.unwrap();
    let owned = accepted(&a, Ask::new()).await;
    a.leave().await.unwrap();
    assert!(is_lost(&drive(&a, &owned).await));
    // One that slipped in while it left is found as well.
    let late = accepted(&a, Ask::new()).await;
    assert_eq!(ids(&b.take_over(10).await.unwrap()), [owned.generation.id, late.generation.id]);
    assert_eq!(a.hints().await.unwrap(), []);
}

#[tokio::test]
async fn a_process_that_starts_again_has_its_own_under_new_claims() {
    let (url, [before]) = stores(["a"]).await;
    let owned = accepted(&before, Ask::new()).await;
    let again = open(&url, "a").await;
    let found = again.owned(None, 10).await.unwrap();
    assert_eq!(found[0].generation, owned.generation);
    assert!(is_lost(&drive(&before, &owned).await), "what is left of the earlier run cannot write");
    drive(&again, &found[0]).await.unwrap();
}

#[tokio::test]
async fn what_waits_for_a_place_elsewhere_is_taken_oldest_first() {
    let (url, [a, b]) = stores(["a", "b"]).await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(accepted(&a, Ask::new()).await);
    }
    let follower = accepted(&a, Ask::order("d")).await;
    let follower = [follower, accepted(&a, Ask::order("d")).await];
    let at_work = accepted(&a, Ask::new()).await;
    drive(&a, &at_work).await.unwrap();
    let turned_away = accepted(&a, Ask::new()).await;
    tell(&tested(&a), &turned_away.generation, AttemptEvent::Submitting(SubmitKey::fresh())).await;
    let busy = AttemptEvent::Postponed(FailureReason::ProviderOverloaded, "busy".into());
    let state = tell(&tested(&a), &turned_away.generation, busy).await.generation.state;
    assert_eq!(state, State::Queued);
    a.hints().await.unwrap();

    assert_eq!(b.take_waiting("sample", START, 10).await.unwrap(), [], "they have only begun to wait");
    assert_eq!(b.take_waiting("another", at(1), 10).await.unwrap(), []);
    assert_eq!(a.take_waiting("sample", at(1), 10).await.unwrap(), [], "one's own are no news");
    let taken = b.take_waiting("sample", at(1), 2).await.unwrap();
    assert_eq!(ids(&taken), ids(&waiting[..2]));
    assert!(is_lost(&drive(&a, &waiting[0]).await));
    drive(&b, &taken[0]).await.unwrap();
    let told = a.hints().await.unwrap();
    assert_eq!(
        told.iter().map(|told| (told.generation.id, told.claim)).collect::<Vec<_>>(),
        [(waiting[0].generation.id, None), (waiting[1].generation.id, None)]
    );

    let rest = b.take_waiting("sample", at(1), 10).await.unwrap();
    assert_eq!(
        ids(&rest),
        [waiting[2].generation.id, follower[0].generation.id],
        "the leader waits, its follower does not"
    );
    // What a lost process left is taken over whole, not piece by piece.
    accepted(&a, Ask::new()).await;
    end_lease(&url, "a");
    assert_eq!(b.take_waiting("sample", at(1), 10).await.unwrap(), []);
}

#[tokio::test]
async fn an_owner_is_told_once_of_what_others_changed() {
    let (_, [a, b]) = stores(["a", "b"]).await;
    let owned = accepted(&a, Ask::new()).await;
    drive(&a, &owned).await.unwrap();
    assert_eq!(
        (a.hints().await.unwrap(), b.hints().await.unwrap()),
        (vec![], vec![]),
        "what one does oneself is no news"
    );

    let changed = b.apply(owned.generation.id, Event::CancelRequested, None, START).await.unwrap().generation;
    assert_eq!(b.hints().await.unwrap(), []);
    assert_eq!(a.hints().await.unwrap(), [Loaded { generation: changed.clone(), claim: Some(owned.claim) }]);
    assert_eq!(a.hints().await.unwrap(), []);
    a.hint(owned.generation.id).await.unwrap();
    assert_eq!(a.hints().await.unwrap(), []);
    for _ in 0..2 {
        b.hint(owned.generation.id).await.unwrap();
    }
    assert_eq!(a.hints().await.unwrap(), [Loaded { generation: changed, claim: Some(owned.claim) }]);
    b.hint(GenerationId::fresh()).await.unwrap();
}

#[tokio::test]
async fn a_hint_is_not_lost_to_a_reader_that_comes_before_the_change() {
    let (_, [a, b]) = stores(["a", "b"]).await;
    let owned = accepted(&a, Ask::new()).await;
    b.hint(owned.generation.id).await.unwrap();
    // A change under way, which finds the earlier hint still there.
    let mut change = b.database.transaction(async |work| Ok::<_, StoreError>(work)).await.unwrap();
    let id = owned.generation.id.id();
    change.ask(Statement::own(dialect::LOAD_LOCKED, values![id.as_str()])).await.unwrap();
    change.ask(Statement::own(dialect::HINT, values!["a", id])).await.unwrap();
    assert_eq!(a.hints().await.unwrap(), [], "it would see the generation as it was");
    change.commit().await.unwrap();
    assert_eq!(a.hints().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_job_that_is_handed_over_keeps_its_driver() {
    let (_, [a, b, c]) = stores(["a", "b", "c"]).await;
    let leader = accepted(&a, Ask::order("d")).await;
    let next = accepted(&b, Ask::order("d")).await;
    let last = accepted(&c, Ask::order("d")).await;
    drive(&a, &leader).await.unwrap();
    c.apply(leader.generation.id, Event::CancelRequested, None, START).await.unwrap();

    assert_eq!(claim(&a, &next.generation).await, Some(leader.claim), "the claim goes with the job");
    assert_eq!(claim(&b, &next.generation).await, None);
    assert_eq!(claim(&c, &last.generation).await, Some(last.claim));
    let told = |hints: Vec<Loaded>| hints.into_iter().map(|told| (told.generation.id, told.claim)).collect::<Vec<_>>();
    assert_eq!(
        told(a.hints().await.unwrap()),
        [(leader.generation.id, Some(leader.claim)), (next.generation.id, Some(leader.claim))]
    );
    assert_eq!(told(b.hints().await.unwrap()), [(next.generation.id, None)]);
    assert_eq!(told(c.hints().await.unwrap()), [], "it did that itself");

    // The driver knows the leader only.
    let attempt = leader.generation.open_attempt().unwrap().id;
    let taken = Event::Attempt(attempt, AttemptEvent::Accepted(ticket("job")));
    assert!(is_lost(&b.apply(next.generation.id, taken.clone(), Some(next.claim), START).await));
    let changes = a.apply(leader.generation.id, taken, Some(leader.claim), START).await.unwrap();
    assert_eq!((changes.generation.id, changes.generation.state), (next.generation.id, State::Running));
}

#[tokio::test]
async fn owners_of_followers_are_told_of_the_end() {
    let (_, [a, b]) = stores(["a", "b"]).await;
    let leader = accepted(&a, Ask::order("d")).await;
    let follower = accepted(&b, Ask::order("d")).await;
    succeed(&tested(&a), &leader.generation).await;
    let told = b.hints().await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].generation.id, told[0].generation.state), (follower.generation.id, State::Succeeded));
}

#[tokio::test]
async fn what_is_newer_than_known_is_found_however_much_is_known() {
    let (_, [a, b]) = stores(["a", "b"]).await;
    let mut known: Vec<(GenerationId, u64)> = (0..1500).map(|_| (GenerationId::fresh(), 1)).collect();
    let [first, second] = [accepted(&a, Ask::new()).await, accepted(&a, Ask::new()).await];
    known.insert(0, (first.generation.id, 1));
    known.push((second.generation.id, 1));
    assert_eq!(b.newer(&known).await.unwrap(), []);
    let [one, two] =
        [submit(&tested(&a), &first.generation, "1").await, submit(&tested(&a), &second.generation, "2").await];
    assert_eq!(b.newer(&known).await.unwrap(), [one.clone(), two]);
    assert_eq!(b.newer(&[(one.id, one.sequence)]).await.unwrap(), []);
}

#[tokio::test]
async fn processes_that_are_long_gone_are_forgotten() {
    let (url, [a, b]) = stores(["a", "b"]).await;
    let owned = accepted(&b, Ask::new()).await;
    a.hint(owned.generation.id).await.unwrap();
    let known = || server::psql(&url, "SELECT string_agg(id, ',' ORDER BY id) FROM filmgate.processes");
    let long_ago = "UPDATE filmgate.processes SET lease_until = clock_timestamp() - interval '25 hours' WHERE id = 'b'";
    server::psql(&url, long_ago);
    assert_eq!(ids(&a.take_over(10).await.unwrap()), [owned.generation.id]);
    assert_eq!(known(), "a,b");
    a.take_over(10).await.unwrap();
    assert_eq!(known(), "a");
    assert_eq!(server::psql(&url, "SELECT count(*) FROM filmgate.hints"), "0");
    assert_eq!(tested(&a).owned(None, page::<()>(10).limit).await.unwrap().len(), 1);
}
