//! Servers, the database and the network between them fail in the middle of work; everything goes on without hands.

use std::{collections::HashMap, sync::Arc, time::Duration};

use filmgate::pb::v1::{GenerateVideoRequest, Generation, State, WatchGenerationRequest};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use super::{Cluster, LEASE, logged, order_jobs, took_over, whole_history};
use crate::{
    simulator::Simulator,
    support::{
        network::Network,
        postgres::Postgres,
        server::{SOON, Server, is_terminal, video},
    },
};

/// Waits until everything about it is known that can be: its end, or that nobody ever bought it though somebody meant to.
pub(super) async fn settled(server: &Server, simulator: &Simulator, name: &str) -> Generation {
    let known =
        server.until(name, |generation| is_terminal(generation) || generation.state() == State::Unresolved).await;
    if is_terminal(&known) {
        return known;
    }
    let made = simulator.predictions().await;
    let bought = made.iter().any(|made| made["input"]["prompt"] == known.brief.as_str());
    if bought { server.end_of(name).await } else { known }
}

#[tokio::test]
async fn a_killed_servers_jobs_are_finished_by_the_others() {
    const N_JOBS: usize = 102;
    let cluster = Cluster::start(&["create:prompt=job 99:hold", "create:latency=300ms"]);
    let [dies, second, third] = cluster.three().await;
    let orders =
        [(&dies, 0), (&second, 1), (&third, 2)].map(|(server, first)| order_jobs(server, (first..N_JOBS).step_by(3)));
    let names = join_all(orders).await;
    let request = WatchGenerationRequest { name: names[0][33].clone(), after_sequence: 0 };
    let mut stream = dies.generations().await.watch_generation(request).await.unwrap().into_inner();
    cluster.reached("creates_effective", 30).await;
    dies.kill();
    cluster.release().await;
    let mut sequence = 0;
    while let Ok(Some(message)) = timeout(SOON, stream.message()).await.expect("the stream breaks") {
        sequence = message.generation.unwrap().sequence;
    }
    let watched_again = second.end_of(&names[0][33]);

    let (ended_again, ended) = tokio::join!(
        watched_again,
        join_all(names.iter().flatten().map(|name| settled(&third, &cluster.simulator, name)))
    );
    assert!(ended_again.sequence > sequence);
    let mut n_bought = 0;
    let bought = cluster.bought().await;
    for generation in ended {
        let times = bought.get(&generation.brief).copied().unwrap_or_default();
        // The intent was stored, and nobody can know that the order was never sent.
        let never_sent = generation.state() == State::Unresolved && times == 0;
        assert!(never_sent || generation.state() == State::Succeeded && times == 1, "{times}: {generation:?}");
        n_bought += times;
        whole_history(&second, &generation.name).await;
    }
    assert_eq!(cluster.simulator.count("creates_received").await, n_bought as u64);
    assert!(n_bought + 5 >= N_JOBS, "at most what was on its way is unknown: {n_bought}");
}

#[tokio::test]
async fn a_server_that_stood_still_cannot_write_what_others_took_and_goes_on() {
    const N_JOBS: usize = 5;
    let cluster = Cluster::start(&["create:hold"]);
    let [stops, second, third] = cluster.three().await;
    let names = order_jobs(&stops, 0..N_JOBS).await;
    for name in &names {
        stops.until(name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    }
    // An order that is on its way to the vendor all the time.
    cluster.simulator.faults(&["create:slow=1s", "create:hold"]).await;
    let on_its_way = second.order(video("on its way")).await.unwrap().name;
    cluster.reached("creates_received", N_JOBS as u64 + 1).await;
    for stopped in [&stops, &second] {
        stopped.signal("-STOP");
    }
    took_over(&third, N_JOBS + 1).await;
    let found = |generation: &Generation| !generation.attempts[0].provider_job_id.is_empty();
    third.until(&on_its_way, found).await;
    for stopped in [&stops, &second] {
        stopped.signal("-CONT");
        logged(stopped, "the lease was over", 1).await;
    }
    // Each driver finds out, by itself or when it is told, and nothing it wants to write is written.
    logged(&stops, "left to another driver", N_JOBS).await;
    logged(&second, "left to another driver", 1).await;

    cluster.release().await;
    for name in names.iter().chain([&on_its_way]) {
        let ended = third.end_of(name).await;
        assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
        assert_eq!(stops.end_of(name).await, ended);
        let history = whole_history(&stops, name).await;
        for once in ["submitting", "submitted", "outputs_ready", "succeeded"] {
            assert_eq!(history.iter().filter(|what| *what == once).count(), 1, "{history:?}");
        }
    }
    cluster.bought_once(N_JOBS + 1).await;
    for server in [&stops, &second, &third] {
        assert!(server.readyz().await.is_success());
        let prompt = format!("afterwards at {}", server.addr());
        assert_eq!(server.generate(video(&prompt)).await.unwrap().state(), State::Succeeded);
    }
}

/// Orders until it is accepted: an answer that says "unavailable" may be asked again with the same request id.
async fn order_at_last(server: &Server, n: usize) -> String {
    let order = || GenerateVideoRequest { request_id: format!("job-{n}"), ..video(&format!("job {n}")) };
    let end = Instant::now() + SOON;
    loop {
        let begun = Instant::now();
        match server.order(order()).await {
            Ok(generation) => return generation.name,
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                assert!(begun.elapsed() < Duration::from_secs(15), "it took {:?} to say so", begun.elapsed());
                assert!(Instant::now() < end, "{status:?}");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[tokio::test]
async fn a_restarted_database_loses_nothing() {
    const N_JOBS: usize = 60;
    let postgres = Arc::new(Postgres::start());
    let cluster = Cluster::start_on(&postgres, &["create:latency=200ms"]);
    let servers = cluster.three().await;
    let mut names = order_jobs(&servers[0], 0..N_JOBS / 2).await;
    cluster.reached("creates_effective", 10).await;
    let more = join_all((N_JOBS / 2..N_JOBS).map(|n| order_at_last(&servers[n % 3], n)));
    // Not on this thread, where the vendor is.
    let restart = tokio::task::spawn_blocking(move || {
        postgres.stop("QUIT");
        postgres.resume();
    });
    let (more, restarted) = tokio::join!(more, restart);
    restarted.unwrap();
    names.extend(more);
    let ended = join_all(names.iter().map(|name| async {
        let name = name.clone();
        // A stream that was open stays open; one that is opened now may be refused.
        loop {
            let request = WatchGenerationRequest { name: name.clone(), after_sequence: 0 };
            let Ok(answer) = servers[1].generations().await.watch_generation(request).await else {
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            let mut stream = answer.into_inner();
            while let Some(message) = timeout(SOON, stream.message()).await.expect("news").unwrap() {
                let generation = message.generation.unwrap();
                if is_terminal(&generation) || generation.state() == State::Unresolved {
                    return generation;
                }
            }
        }
    }));
    let bought = cluster.bought().await;
    for generation in ended.await {
        let times = bought.get(&generation.brief).copied().unwrap_or_default();
        assert!(times <= 1, "{times}: {generation:?}");
    }
    for name in &names {
        let ended = settled(&servers[2], &cluster.simulator, name).await;
        assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
        whole_history(&servers[0], name).await;
    }
    cluster.bought_once(N_JOBS).await;
}

#[tokio::test]
async fn a_server_cut_off_from_the_database_loses_its_jobs_and_comes_back_by_itself() {
    let cluster = Cluster::start(&["create:hold"]);
    let network = Network::to(cluster.postgres_addr()).await;
    let (_, database) = cluster.url.rsplit_once('/').unwrap();
    let cut_off = cluster.setup_at(&format!("postgres://postgres@{}/{database}", network.addr())).start().await;
    let other = cluster.setup().start().await;
    let names = order_jobs(&cut_off, 0..5).await;
    cluster.reached("creates_effective", 5).await;
    for name in &names {
        cut_off.until(name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    }
    let request = WatchGenerationRequest { name: names[0].clone(), after_sequence: 0 };
    let mut stream = cut_off.generations().await.watch_generation(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();

    network.cut();
    let cut_at = Instant::now();
    took_over(&other, names.len()).await;
    assert!(cut_at.elapsed() > LEASE / 2, "not before its lease was over");
    while cut_off.readyz().await.is_success() {
        assert!(cut_at.elapsed() < SOON, "it still calls itself ready");
        sleep(Duration::from_millis(50)).await;
    }
    let refused = timeout(SOON, cut_off.order(video("refused"))).await.expect("an answer").unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    cluster.release().await;
    let mut ended = HashMap::new();
    for name in &names {
        ended.insert(name, other.end_of(name).await);
    }

    network.heal();
    let healed_at = Instant::now();
    while !cut_off.readyz().await.is_success() {
        assert!(healed_at.elapsed() < SOON, "it never is ready again:\n{}", cut_off.setup().log());
        sleep(Duration::from_millis(50)).await;
    }
    // The stream was open all the time.
    let mut last = None;
    while let Some(message) = timeout(SOON, stream.message()).await.expect("news").unwrap() {
        last = message.generation;
    }
    assert_eq!(last.as_ref(), ended.get(&names[0]));
    for name in &names {
        assert_eq!(ended[name].state(), State::Succeeded);
        assert_eq!(cut_off.end_of(name).await, ended[name]);
        assert_eq!(whole_history(&cut_off, name).await.len(), 5);
    }
    assert_eq!(cut_off.generate(video("afterwards")).await.unwrap().state(), State::Succeeded);
    let bought = cluster.bought().await;
    assert!(bought.values().all(|times| *times == 1), "{bought:?}");
}
