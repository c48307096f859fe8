//! A thousand cuts at random moments, of single streams and of whole connections, with servers killed between: whoever comes back always
//! sees the end, and never anything older than before.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use filmgate::pb::v1::{
    GenerateVideoRequest, Generation, State, WatchGenerationRequest, generation_service_client::GenerationServiceClient,
};
use futures_util::{Stream, StreamExt, future::join_all};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use crate::{
    simulator::Simulator,
    support::{
        proxy::Proxy,
        server::{Server, Setup, is_terminal, video},
    },
};

const N_CUTS: usize = 1000;
/// One in each round.
const N_KILLS: u64 = 5;
const N_JOBS: usize = 6;
const WATCHERS_OF_EACH: usize = 5;
/// Longer than a round ever takes.
const ROUND: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_thousand_cuts_and_kills_between_hide_no_end_and_show_nothing_twice() {
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
    let simulator = Simulator::start(&["get:every=3:unknown_status=thinking"]);
    simulator.control("settings", json!({ "latency": "2s" })).await;
    let mut server = Setup::replicate(&simulator.replicate()).start().await;
    let proxy = Proxy::to(server.addr()).await;
    let n_cuts = AtomicUsize::new(0);
    let mut n_rounds = 0;
    while n_cuts.load(Ordering::Relaxed) < N_CUTS || n_rounds < N_KILLS {
        let orders: Vec<GenerateVideoRequest> = (0..N_JOBS).map(|n| order(n_rounds, n)).collect();
        let mut ends = Vec::new();
        for order in orders.iter().cycle().take(N_JOBS * WATCHERS_OF_EACH) {
            let watcher = Watcher::new(&proxy, order.clone(), random.u64(..));
            ends.push(watcher.watch_to_the_end(&n_cuts));
        }
        let chaos = chaos(server, &proxy, &mut random, &orders);
        let round = Box::pin(async { tokio::join!(join_all(ends), chaos) });
        let ends;
        (ends, server) =
            timeout(ROUND, round).await.unwrap_or_else(|_| panic!("seed {seed}: somebody never saw the end"));
        check_ends(&server, &ends).await;
        n_rounds += 1;
    }
    assert_eq!(simulator.count("creates_received").await, n_rounds * N_JOBS as u64, "seed {seed}");
}

fn order(round: u64, n: usize) -> GenerateVideoRequest {
    let request_id = format!("{round}-{n}");
    GenerateVideoRequest { request_id, ..video(&format!("job {n} of round {round}")) }
}

/// Cuts all connections now and then, and kills the server once, when no order is on its way to the vendor: that one would be unknown, rightly.
async fn chaos(
    mut server: Server,
    proxy: &Proxy,
    random: &mut fastrand::Rng,
    orders: &[GenerateVideoRequest],
) -> Server {
    for _ in 0..random.usize(1..4) {
        sleep(Duration::from_millis(random.u64(10..200))).await;
        proxy.cut();
    }
    let mut names = Vec::new();
    for order in orders {
        names.push(server.order(order.clone()).await.unwrap().name);
    }
    for name in &names {
        server.until(name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    }
    sleep(Duration::from_millis(random.u64(0..1500))).await;
    server = server.kill().start().await;
    proxy.lay_to(server.addr());
    for _ in 0..random.usize(1..4) {
        sleep(Duration::from_millis(random.u64(10..200))).await;
        proxy.cut();
    }
    server
}

/// All who watched the same saw the same end, and the history that led to it has no gap.
async fn check_ends(server: &Server, ends: &[Generation]) {
    for (index, ended) in ends.iter().enumerate() {
        assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
        assert_eq!(ended, &ends[index % N_JOBS]);
    }
    for ended in &ends[..N_JOBS] {
        let events = server.events(&ended.name).await;
        let numbers: Vec<i64> = events.iter().map(|event| event.number).collect();
        assert_eq!(numbers, (1..=i64::try_from(events.len()).unwrap()).collect::<Vec<_>>());
        assert!(events.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "{events:?}");
        assert_eq!(events.last().unwrap().sequence, ended.sequence);
    }
}

/// Somebody who wants to see a job's end, over a bad line.
struct Watcher {
    client: GenerationServiceClient<Channel>,
    order: GenerateVideoRequest,
    random: fastrand::Rng,
    last: Option<Generation>,
    /// There is a stream that can be cut.
    attached: bool,
}

impl Watcher {
    fn new(proxy: &Proxy, order: GenerateVideoRequest, seed: u64) -> Self {
        let channel = Endpoint::from_shared(format!("http://{}", proxy.addr())).unwrap().connect_lazy();
        let client = GenerationServiceClient::new(channel);
        Self { client, order, random: fastrand::Rng::with_seed(seed), last: None, attached: false }
    }

    async fn watch_to_the_end(mut self, n_cuts: &AtomicUsize) -> Generation {
        loop {
            let patience = Instant::now() + Duration::from_millis(self.random.u64(1..150));
            let ended = tokio::select! {
                ended = self.attend() => ended,
                () = sleep_until(patience) => None,
            };
            if let Some(ended) = ended {
                return ended;
            }
            n_cuts.fetch_add(usize::from(std::mem::take(&mut self.attached)), Ordering::Relaxed);
            // A client that finds nobody waits before it tries again.
            sleep(Duration::from_millis(self.random.u64(0..10))).await;
        }
    }

    /// Follows the stream until the end, or until it breaks.
    async fn attend(&mut self) -> Option<Generation> {
        let mut stream = match self.attach().await {
            Ok(stream) => stream,
            Err(status) => {
                assert_cut(&status);
                return None;
            }
        };
        self.attached = true;
        while let Some(message) = stream.next().await {
            let generation = match message {
                Ok(generation) => generation,
                Err(status) => {
                    assert_cut(&status);
                    return None;
                }
            };
            if let Some(last) = &self.last {
                assert!(generation.sequence >= last.sequence, "{generation:?} after {last:?}");
                assert_eq!(generation.name, last.name);
            }
            let ended = is_terminal(&generation);
            self.last = Some(generation.clone());
            if ended {
                return Some(generation);
            }
        }
        panic!("a stream ended as if the job had: {:?}", self.last);
    }

    /// By name from where it left off; or, as if even the name was lost, by the same order again.
    async fn attach(&mut self) -> Result<impl Stream<Item = Result<Generation, Status>> + use<>, Status> {
        match &self.last {
            Some(last) if self.random.bool() => {
                let request = WatchGenerationRequest { name: last.name.clone(), after_sequence: last.sequence };
                let stream = self.client.watch_generation(request).await?.into_inner();
                Ok(stream.map(|message| message.map(|message| message.generation.unwrap())).left_stream())
            }
            Some(_) | None => {
                let stream = self.client.generate_video(self.order.clone()).await?.into_inner();
                Ok(stream.map(|message| message.map(|message| message.generation.unwrap())).right_stream())
            }
        }
    }
}

/// A broken line, and no word of the server, which has nothing to refuse here.
fn assert_cut(status: &Status) {
    assert!(status.get_details_error_info().is_none(), "refused: {status:?}");
}
