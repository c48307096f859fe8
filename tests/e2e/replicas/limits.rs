use super::*;

#[tokio::test]
async fn servers_keep_a_vendors_limits_together() {
    const N_JOBS: usize = 6;
    let cluster = Cluster::start(&["create:hold"]);
    let setup = || cluster.setup().with("FILMGATE_REPLICATE_CONCURRENCY", "2");
    let (one, other) = (setup(), setup());
    let (one, other) = tokio::join!(one.start(), other.start());
    let mut names = order_jobs(&one, 0..N_JOBS / 2).await;
    names.extend(order_jobs(&other, N_JOBS / 2..N_JOBS).await);
    cluster.reached("creates_effective", 2).await;
    // Long enough for both to ask the store for a place several times.
    sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.simulator.count("creates_received").await, 2);
    let states = join_all(names.iter().map(|name| one.get(name))).await;
    let n_waiting = states.iter().filter(|generation| generation.state() == State::Queued).count();
    assert_eq!(n_waiting, N_JOBS - 2, "{states:?}");

    cluster.release().await;
    for name in &names {
        assert_eq!(other.end_of(name).await.state(), State::Succeeded);
    }
    cluster.bought_once(N_JOBS).await;
}

#[tokio::test]
async fn a_pause_that_one_server_was_asked_for_is_kept_by_the_others() {
    let cluster = Cluster::start(&["create:first=1:status=429,retry_after_header=3"]);
    let [one, other, _third] = cluster.three().await;
    let first = one.order(video("turned away")).await.unwrap();
    cluster.reached("creates_received", 1).await;
    one.until(&first.name, |generation| generation.phase.contains("try again")).await;
    let began = Instant::now();
    let second = other.generate(video("not sent yet")).await.unwrap();
    assert_eq!((second.state(), began.elapsed() >= Duration::from_secs(2)), (State::Succeeded, true));
    assert_eq!(one.end_of(&first.name).await.state(), State::Succeeded);
    assert_eq!(cluster.simulator.count("creates_received").await, 3);
}
