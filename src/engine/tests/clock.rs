//! A wall clock that somebody sets, hours back and forth: tokio's goes on, and so does the work.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use super::*;
use crate::{
    artifact::GRACE,
    domain::{
        artifact::{Artifact, BlobKey},
        life::tests::output,
        names::AttemptId,
    },
    engine::Watch,
};

const HOUR: i64 = 3600;

/// A clock and by how many seconds it is ahead.
fn clock() -> (Clock, &'static AtomicI64) {
    let ahead: &'static AtomicI64 = Box::leak(Box::default());
    (Clock::Set(Timestamp::now(), Instant::now(), ahead), ahead)
}

/// At a vendor that takes the order and says that it works, as often as it is asked.
async fn working(max_duration: Duration) -> (Stage, &'static AtomicI64) {
    let (clock, ahead) = clock();
    (Stage::set_by(clock, Some(max_duration), &[Good], &[Good; 20_000]).await, ahead)
}

/// How often its history tells of this.
async fn n_told(stage: &Stage, what: &str) -> usize {
    stage.history().await.iter().filter(|told| *told == what).count()
}

/// All snapshots to the end: neither their numbers nor their times go back.
async fn watched(mut watch: Watch) -> Vec<Arc<Generation>> {
    let mut seen: Vec<Arc<Generation>> = Vec::new();
    while let Some(view) = watch.next().await {
        let view = view.unwrap();
        if let Some(last) = seen.last() {
            let now = &view.generation;
            assert!(now.sequence >= last.sequence && now.updated_at >= last.updated_at, "{now:?} after {last:?}");
        }
        assert!(view.eta.is_none_or(|eta| eta > view.generation.created_at));
        seen.push(view.generation);
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_delays_no_poll_and_makes_nothing_older() {
    let (mut stage, ahead) = working(Duration::from_hours(1)).await;
    assert_eq!(stage.calls(3).await, [("submit", 0), ("poll", 2), ("poll", 2)]);
    let before = stage.now().await;
    ahead.store(-5 * HOUR, Ordering::Relaxed);
    assert_eq!(stage.calls(3).await, [("poll", 2); 3]);
    stage.engine.cancel(&TenantId::default_tenant(), stage.id).await.unwrap();
    let after = stage.now().await;
    assert_eq!((after.state, after.sequence), (State::Cancelling, before.sequence + 1));
    assert!(after.updated_at >= before.updated_at, "{} before {}", after.updated_at, before.updated_at);
    let page = Page { after: None, limit: 100 };
    let history = stage.engine.history(&TenantId::default_tenant(), stage.id, page).await.unwrap();
    assert!(history.is_sorted_by_key(|entry| entry.at), "{history:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_passes_once_however_often_the_clock_is_set() {
    let (mut stage, ahead) = working(Duration::from_hours(1)).await;
    stage.calls(3).await;
    for hours in [2, 0, 3, -3, 0] {
        ahead.store(hours * HOUR, Ordering::Relaxed);
        stage.calls(5).await;
        assert_eq!(stage.now().await.state, State::Unresolved, "{hours}");
    }
    // Past its true deadline too.
    tokio::time::sleep(Duration::from_hours(2)).await;
    assert_eq!(stage.history().await, ["accepted", "submitting", "submitted", "unresolved"]);

    // It is given up once, at the end of the day as the clock has it.
    ahead.store(30 * HOUR, Ordering::Relaxed);
    let ended = stage.ended().await;
    ahead.store(-30 * HOUR, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_hours(100)).await;
    assert_eq!(stage.now().await, ended);
    assert_eq!((ended.state, ended.cost.held.0), (State::Failed, 0));
    assert_eq!(ended.failure.as_ref().map(|failure| failure.charged), Some(Charged::Unknown));
    assert!(ended.ended_at >= Some(ended.created_at));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_place_waits_on_and_ends_at_its_deadline() {
    let (mut stage, ahead) = working(Duration::from_hours(24)).await;
    stage.calls(2).await;
    let queued = Request { max_duration: Some(Duration::from_hours(10)), cache: CachePolicy::Bypass, ..request() };
    let queued = stage.engine.accept(queued).await.unwrap().view.generation;
    for (n, hours) in [-5, 5, -9, 9, -1, 0].into_iter().enumerate() {
        ahead.store(hours * HOUR, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_mins(7)).await;
        let now = stage.engine.store().load(queued.id).await.unwrap().unwrap().generation;
        assert_eq!(now.state, State::Queued, "after {n}");
    }
    let watch = stage.engine.watch(&TenantId::default_tenant(), queued.id, 0).await.unwrap();
    let ended = watched(watch).await.pop().unwrap();
    let reason = ended.failure.as_ref().map(|failure| (failure.reason, failure.charged));
    assert_eq!(reason, Some((FailureReason::DeadlineExceeded, Charged::No)));
    let late = ended.ended_at.unwrap().duration_since(queued.deadline);
    // The clock is looked at every hour at the latest.
    assert!((SignedDuration::ZERO..=SignedDuration::from_hours(1)).contains(&late), "{late}");
}

#[tokio::test(start_paused = true)]
async fn any_settings_of_the_clock_lose_nothing_and_send_nothing_twice() {
    for seed in 0..10 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut stage, ahead) = working(Duration::from_hours(random.u64(1..12))).await;
        let watch = stage.engine.watch(&TenantId::default_tenant(), stage.id, 0).await.unwrap();
        let mut watching = JoinSet::new();
        watching.spawn(watched(watch));
        let mut n_submits = 0;
        for _ in 0..30 {
            ahead.store(random.i64(-6 * HOUR..6 * HOUR), Ordering::Relaxed);
            // Every call comes: a job that nobody asks about any more would leave the test waiting.
            n_submits += stage.calls(random.usize(1..4)).await.iter().filter(|(call, _)| *call == "submit").count();
        }
        assert_eq!(n_submits, 1, "seed {seed}");
        assert!(n_told(&stage, "unresolved").await <= 1, "seed {seed}: {:?}", stage.history().await);
        ahead.store(40 * HOUR, Ordering::Relaxed);
        let seen = watching.join_next().await.unwrap().unwrap();
        let n_ends = seen.iter().filter(|generation| generation.state.is_terminal()).count();
        assert_eq!((n_ends, seen.last().unwrap().state), (1, State::Failed), "seed {seed}");
        assert_eq!(n_told(&stage, "failed").await, 1, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_ahead_makes_no_blob_an_old_orphan_at_once() {
    let (clock, ahead) = clock();
    let stage = Stage::set_by(clock, None, &[], &[]).await;
    stage.engine.start_housekeeping().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    // Stored just now, of a job whose row is about to be written: by the new time it is hours old.
    let key = BlobKey::fresh(AttemptId::fresh(), 0);
    let (blobs, source) = (stage.engine.blobs(), stage._folder.path().join("source"));
    std::fs::write(&source, "blob").unwrap();
    blobs.put_file(&key, &source).await.unwrap();
    let stored =
        std::fs::File::options().write(true).open(stage._folder.path().join("blobs").join(key.as_str())).unwrap();
    stored.set_modified(std::time::SystemTime::now() - 2 * GRACE).unwrap();
    ahead.store(2 * HOUR, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert!(blobs.exists(&key).await.unwrap());
    // An hour later it is an orphan after all. Its file goes on a thread of its own, so real time must pass too.
    while blobs.exists(&key).await.unwrap() {
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_an_outage_held_up_comes_before_the_sweep() {
    let stage = Stage::set(&[], &[]).await;
    let (blobs, source) = (stage.engine.blobs(), stage._folder.path().join("source"));
    let [late, orphan] = [(); 2].map(|()| BlobKey::fresh(AttemptId::fresh(), 0));
    for key in [&late, &orphan] {
        std::fs::write(&source, "blob").unwrap();
        blobs.put_file(key, &source).await.unwrap();
        let stored = stage._folder.path().join("blobs").join(key.as_str());
        let file = std::fs::File::options().write(true).open(stored).unwrap();
        file.set_modified(std::time::SystemTime::now() - 2 * GRACE).unwrap();
    }
    // It sweeps when it starts, perhaps because the store is back.
    stage.engine.start_housekeeping().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let artifact = Artifact { blob: late.clone(), generation: None, ..output(stage.id) };
    let (store, runtime) = (Arc::clone(stage.engine.store()), tokio::runtime::Handle::current());
    // Where tokio's clock waits for it.
    let told = move || runtime.block_on(store.add_artifact(&TenantId::default_tenant(), &artifact));
    tokio::task::spawn_blocking(told).await.unwrap().unwrap();
    while blobs.exists(&orphan).await.unwrap() {
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(blobs.exists(&late).await.unwrap(), "paid for, and lost");
}
