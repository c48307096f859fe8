//! Three servers on one database: the work is shared out, each answers for all, and it does not matter which of them dies.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::unix::fs::symlink,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use filmgate::pb::v1::{Generation, ListProvidersRequest, State, WatchGenerationRequest};
use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    simulator::Simulator,
    support::{
        postgres::{Pooler, Postgres},
        server::{SOON, Server, Setup, video},
    },
};

mod calls;
mod chaos;
mod limits;
mod trouble;

/// Short, so that a test need not wait long for a takeover.
const LEASE: Duration = Duration::from_secs(3);

/// For all tests that do not end it.
static SHARED: LazyLock<Arc<Postgres>> = LazyLock::new(|| Arc::new(Postgres::start()));

/// What servers share: a vendor, a database, and a folder for artifacts.
struct Cluster {
    simulator: Simulator,
    postgres: Arc<Postgres>,
    url: String,
    blobs: TempDir,
}

impl Cluster {
    fn start(faults: &[&str]) -> Self {
        Self::start_on(&SHARED, faults)
    }

    /// With a database of this server.
    fn start_on(postgres: &Arc<Postgres>, faults: &[&str]) -> Self {
        Self {
            simulator: Simulator::start(faults),
            postgres: Arc::clone(postgres),
            url: postgres.database(),
            blobs: tempfile::tempdir().unwrap(),
        }
    }

    /// Where the database server listens.
    fn postgres_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.postgres.port()))
    }

    /// Of one more server.
    fn setup(&self) -> Setup {
        self.setup_at(&self.url)
    }

    /// Of one more server, which reaches the database at this address.
    fn setup_at(&self, url: &str) -> Setup {
        let setup = Setup::replicate(&self.simulator.replicate());
        std::fs::create_dir(setup.data_dir()).unwrap();
        symlink(self.blobs.path(), setup.data_dir().join("blobs")).unwrap();
        setup
            .with("FILMGATE_DATABASE_URL", url)
            .with("FILMGATE_LEASE", &format!("{}ms", LEASE.as_millis()))
            .with("FILMGATE_CONCURRENCY", "5")
            .with("FILMGATE_LOG", "info,filmgate=debug")
    }

    async fn three(&self) -> [Server; 3] {
        start_all([(); 3].map(|()| self.setup())).await
    }

    /// Waits until the vendor was asked so often.
    async fn reached(&self, count: &str, n: u64) {
        let end = Instant::now() + SOON;
        while self.simulator.count(count).await < n {
            assert!(Instant::now() < end, "{count} never was {n}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Lets all jobs at the vendor go on, and those that come.
    async fn release(&self) {
        self.simulator.faults(&[]).await;
        self.simulator.control("release", json!({})).await;
    }

    /// How often each prompt was bought.
    async fn bought(&self) -> BTreeMap<String, usize> {
        let mut bought = BTreeMap::new();
        for made in self.simulator.predictions().await {
            *bought.entry(made["input"]["prompt"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        bought
    }

    /// Checks that so many different orders were bought once each.
    async fn bought_once(&self, n: usize) {
        let bought = self.bought().await;
        assert!(bought.len() == n && bought.values().all(|times| *times == 1), "{bought:?}");
        assert_eq!(self.simulator.count("creates_received").await, n as u64);
    }
}

async fn start_all(setups: [Setup; 3]) -> [Server; 3] {
    let [first, second, third] = &setups;
    let (first, second, third) = tokio::join!(first.start(), second.start(), third.start());
    [first, second, third]
}

/// Orders jobs of different prompts at a server; their names.
async fn order_jobs(server: &Server, numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    let orders = numbers.into_iter().map(|n| async move { server.order(video(&format!("job {n}"))).await });
    join_all(orders).await.into_iter().map(|order| order.unwrap().name).collect()
}

/// Generations at work at Replicate by this server.
async fn n_running(server: &Server) -> u32 {
    let page = server.models().await.list_providers(ListProvidersRequest::default()).await.unwrap().into_inner();
    page.providers.iter().find(|provider| provider.name == "replicate").unwrap().n_running
}

/// Waits until the server's log has this text so often.
async fn logged(server: &Server, text: &str, n: usize) {
    let end = Instant::now() + SOON;
    while server.setup().log().matches(text).count() < n {
        assert!(Instant::now() < end, "{text:?} was not logged {n} times:\n{}", server.setup().log());
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the server has taken so many generations over.
async fn took_over(server: &Server, n: usize) {
    const TOLD: &str = "took over from a process that is gone n_taken=";
    let end = Instant::now() + SOON;
    let taken = |log: &str| -> usize {
        let told = log.split(TOLD).skip(1).map(|rest| rest.split_whitespace().next().unwrap());
        told.map(|n_taken| n_taken.parse::<usize>().unwrap()).sum()
    };
    while taken(&server.setup().log()) < n {
        assert!(Instant::now() < end, "{n} were not taken over:\n{}", server.setup().log());
        sleep(Duration::from_millis(20)).await;
    }
}

/// Checks that history and snapshots have no gaps; the words.
async fn whole_history(server: &Server, name: &str) -> Vec<String> {
    let events = server.events(name).await;
    let numbers: Vec<i64> = events.iter().map(|event| event.number).collect();
    let expected: Vec<i64> = (1..).take(numbers.len()).collect();
    assert_eq!(numbers, expected, "{events:?}");
    assert!(events.is_sorted_by_key(|event| event.sequence), "{events:?}");
    assert!(events.is_sorted_by_key(|event| event.create_time.map(|time| (time.seconds, time.nanos))), "{events:?}");
    events.into_iter().map(|event| event.r#type).collect()
}

/// How long ago the snapshot was made.
fn age(generation: &Generation) -> Duration {
    let made: SystemTime = generation.update_time.unwrap().try_into().unwrap();
    made.elapsed().unwrap_or_default()
}

#[tokio::test]
async fn jobs_sent_to_one_are_shared_out_among_all() {
    const N_JOBS: usize = 60;
    let cluster = Cluster::start(&["create:hold"]);
    let servers = cluster.three().await;
    let names = order_jobs(&servers[0], 0..N_JOBS).await;
    // Five places each, and all of them are used.
    cluster.reached("creates_effective", 15).await;
    for server in &servers {
        assert_eq!(n_running(server).await, 5);
    }
    assert_eq!(cluster.simulator.count("creates_received").await, 15);
    let now = join_all(names.iter().map(|name| servers[0].get(name))).await;
    let queued = now.iter().find(|generation| generation.queue_position == Some(20)).expect("45 wait here");
    let elsewhere = servers[1].get(&queued.name).await;
    assert_eq!((elsewhere.state(), elsewhere.queue_position), (State::Queued, None), "its queue is elsewhere");

    cluster.release().await;
    for name in &names {
        assert_eq!(servers[2].end_of(name).await.state(), State::Succeeded);
        let history = whole_history(&servers[1], name).await;
        assert_eq!(history, ["accepted", "submitting", "submitted", "outputs_ready", "succeeded"]);
    }
    cluster.bought_once(N_JOBS).await;
}

#[tokio::test]
async fn a_watcher_anywhere_sees_each_state_within_a_second() {
    let cluster = Cluster::start(&["create:hold"]);
    let servers = cluster.three().await;
    let name = servers[0].order(video("watched")).await.unwrap().name;
    let watch = async |server: &Server| {
        let request = WatchGenerationRequest { name: name.clone(), after_sequence: 0 };
        server.generations().await.watch_generation(request).await.unwrap().into_inner()
    };
    let mut streams = [watch(&servers[1]).await, watch(&servers[2]).await];
    let mut seen = [0, 0];
    let mut all_see = async |state: State| {
        for (stream, seen) in streams.iter_mut().zip(&mut seen) {
            loop {
                let message = timeout(SOON, stream.message()).await.expect("news").unwrap().expect("no end yet");
                let generation = message.generation.unwrap();
                assert!(generation.sequence >= *seen, "{generation:?}");
                *seen = generation.sequence;
                if generation.state() == state {
                    break assert!(age(&generation) < Duration::from_secs(1), "{:?}: {generation:?}", age(&generation));
                }
            }
        }
    };
    all_see(State::Running).await;
    cluster.simulator.faults(&["get:status=500"]).await;
    all_see(State::Unresolved).await;
    cluster.simulator.faults(&[]).await;
    all_see(State::Running).await;
    cluster.release().await;
    all_see(State::Succeeded).await;
    for stream in &mut streams {
        assert!(stream.message().await.unwrap().is_none(), "the end of the job ends the stream");
    }
    cluster.bought_once(1).await;
}

#[tokio::test]
async fn through_a_pooler_that_keeps_nothing_between_transactions_it_is_the_same() {
    const N_JOBS: usize = 30;
    let cluster = Cluster::start(&["create:hold"]);
    let pooler = Pooler::start(&cluster.postgres);
    let url = pooler.through(&cluster.url);
    let [dies, second, third] = start_all([(); 3].map(|()| cluster.setup_at(&url))).await;
    let names = order_jobs(&dies, 0..N_JOBS).await;
    cluster.reached("creates_effective", 15).await;
    for name in &names {
        // Those at the vendor have their tickets, so that all is known when it dies.
        let placed = |generation: &Generation| {
            generation.state() == State::Queued || !generation.attempts[0].provider_job_id.is_empty()
        };
        second.until(name, placed).await;
    }
    dies.kill();
    cluster.release().await;
    for name in &names {
        assert_eq!(third.end_of(name).await.state(), State::Succeeded);
        assert_eq!(whole_history(&second, name).await.len(), 5);
    }
    cluster.bought_once(N_JOBS).await;
}

#[tokio::test]
async fn a_drained_servers_jobs_are_taken_up_at_once() {
    let cluster = Cluster::start(&["create:hold"]);
    let [leaves, stays] = [cluster.setup().start().await, cluster.setup().start().await];
    let names = order_jobs(&leaves, 0..30).await;
    cluster.reached("creates_effective", 10).await;
    let told = Instant::now();
    assert_eq!(leaves.stop().await, Some(0));
    // Five it had taken before, for its own places.
    took_over(&stays, 25).await;
    assert!(told.elapsed() < LEASE, "nobody waits for the lease to end: {:?}", told.elapsed());
    cluster.release().await;
    for name in &names {
        assert_eq!(stays.end_of(name).await.state(), State::Succeeded);
        assert_eq!(whole_history(&stays, name).await.len(), 5);
    }
    cluster.bought_once(30).await;
}

#[tokio::test]
async fn an_order_on_its_way_stays_with_the_server_that_leaves_until_its_answer_is_stored() {
    let slow = format!("create:slow={}ms", (LEASE + Duration::from_secs(1)).as_millis());
    let cluster = Cluster::start(&[&slow]);
    let leaves = cluster.setup().with("FILMGATE_DRAIN_DEADLINE", "20s").start().await;
    let stays = cluster.setup().start().await;
    let order = leaves.order(video("on its way")).await.unwrap();
    cluster.reached("creates_received", 1).await;
    assert_eq!(leaves.stop().await, Some(0));
    assert_eq!(stays.end_of(&order.name).await.state(), State::Succeeded);
    assert_eq!(cluster.simulator.count("lists").await, 0, "nothing had to be looked for");
    cluster.bought_once(1).await;
}

#[tokio::test]
async fn a_restarted_server_has_its_own_jobs_at_once() {
    let cluster = Cluster::start(&["create:hold"]);
    let [server, other] = [cluster.setup().start().await, cluster.setup().start().await];
    let names = order_jobs(&server, 0..5).await;
    cluster.reached("creates_effective", 5).await;
    let server = server.kill().start().await;
    assert_eq!((n_running(&server).await, n_running(&other).await), (5, 0));
    cluster.release().await;
    for name in &names {
        assert_eq!(other.end_of(name).await.state(), State::Succeeded);
    }
    cluster.bought_once(5).await;
}
