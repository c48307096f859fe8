//! SIGKILL again and again at random moments, under load, at a vendor that misbehaves: no job is lost, nothing is bought twice.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use filmgate::pb::v1::{GenerateVideoRequest, State};
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    simulator::Simulator,
    support::server::{Setup, is_terminal, video},
};

const N_JOBS: usize = 30;
const N_KILLS: usize = 15;
const FAULTS: [&str; 7] = [
    "create:chance=0.1:drop",
    "create:chance=0.1:drop,effect=after",
    "create:chance=0.1:status=500,effect=after",
    "create:chance=0.1:slow=100ms",
    "get:chance=0.1:status=500",
    "list:chance=0.3:drop",
    "download:chance=0.2:drop",
];

#[tokio::test]
async fn kills_at_random_moments_lose_no_job_and_buy_none_twice() {
    #[expect(clippy::disallowed_methods, reason = "a test has no settings of its own")]
    let given = std::env::var("FILMGATE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed: u64 = given.unwrap_or(now);
    // Shown if the test fails; FILMGATE_TEST_SEED repeats it.
    #[expect(clippy::print_stderr, reason = "captured unless the test fails")]
    {
        eprintln!("seed {seed}");
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let simulator = Simulator::start(&FAULTS);
    simulator.control("settings", json!({ "latency": "60ms" })).await;
    let order = |n: usize| GenerateVideoRequest { request_id: format!("job-{n}"), ..video(&format!("job {n}")) };

    let mut names: BTreeMap<usize, String> = BTreeMap::new();
    let mut server = Setup::replicate(&simulator.replicate()).with("FILMGATE_CONCURRENCY", "8").start().await;
    for round in 1..=N_KILLS {
        let end = Instant::now() + Duration::from_millis(random.u64(5..150));
        let so_far = (round * N_JOBS).div_ceil(N_KILLS);
        {
            // Those whose answer the last kill took are ordered again with the same request id.
            let missing = (0..so_far).filter(|n| !names.contains_key(n)).collect::<Vec<_>>();
            let ask = async |n: usize| (n, server.order(order(n)).await);
            let mut orders: FuturesUnordered<_> = missing.into_iter().map(ask).collect();
            while let Some((n, answer)) = tokio::select! {
                answer = orders.next() => answer,
                () = sleep_until(end) => None,
            } {
                names.insert(n, answer.unwrap().name);
            }
        }
        sleep_until(end).await;
        server = server.kill().start().await;
    }
    for n in 0..N_JOBS {
        let name = server.order(order(n)).await.unwrap().name;
        assert_eq!(names.entry(n).or_insert_with(|| name.clone()), &name, "job {n} has two generations");
    }

    // A healthy vendor again: everything that can be known comes to its end.
    simulator.faults(&[]).await;
    let settled = Instant::now() + Duration::from_secs(30);
    let mut n_intents = 0;
    for name in names.values() {
        let generation = loop {
            let generation = server.get(name).await;
            if is_terminal(&generation) || generation.state() == State::Unresolved {
                break generation;
            }
            assert!(Instant::now() < settled, "seed {seed}: {generation:?}");
            sleep(Duration::from_millis(10)).await;
        };
        assert_ne!(generation.state(), State::Failed, "seed {seed}: {generation:?}");
        let history = server.history(name).await;
        n_intents += history.iter().filter(|what| *what == "submitting").count() as u64;
    }
    assert!(simulator.count("creates_received").await <= n_intents, "seed {seed}");
    let mut jobs: BTreeMap<String, u32> = BTreeMap::new();
    for made in simulator.predictions().await {
        *jobs.entry(made["input"]["prompt"].to_string()).or_default() += 1;
    }
    assert!(jobs.values().all(|n| *n == 1), "seed {seed}: {jobs:?}");
}
