//! SIGKILL again and again, at random moments and at random failpoints, under mixed orders, at a vendor that misbehaves in every way it can: no
//! job is lost, nothing is bought twice.
//!
//! It goes on for five minutes, or for `FILMGATE_TEST_KILL_SECONDS`, in rounds that each have a seed; `FILMGATE_TEST_SEED` begins with the round
//! of that seed. Choices repeat with a seed, the moments of a busy machine do not.

mod audit;
mod weather;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fastrand::Rng;
use filmgate::pb::v1::{CachePolicy, GenerateVideoRequest};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status};

use crate::{
    simulator::Simulator,
    support::server::{Server, Setup, video},
};

/// How long the kills go on unless the environment says otherwise.
const KILL_SECONDS: u64 = 300;
/// A round is short, so that its audit is: who remembers everything for five minutes mostly reads lists.
const N_KILLS: u32 = 20;
const N_ORDERS: usize = 40;
/// Marks orders that must be done soon, of which some are never done.
const SHORT: &str = "[short]";
const PRICED: &str = "replicate/kwaivgi/kling-v1.6-standard";

#[tokio::test]
async fn kills_at_random_moments_lose_no_job_and_buy_none_twice() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut seed = number("FILMGATE_TEST_SEED").unwrap_or(now);
    let end = Instant::now() + Duration::from_secs(number("FILMGATE_TEST_KILL_SECONDS").unwrap_or(KILL_SECONDS));
    while Instant::now() < end {
        // Shown if the test fails; the last one is the one to repeat.
        say(&format!("FILMGATE_TEST_SEED={seed}"));
        let mut round = Round::begin(seed).await;
        let server = round.kills().await;
        round.audit(server).await;
        seed += 1;
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no settings of its own")]
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

#[expect(clippy::print_stderr, reason = "captured unless the test fails")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// Some lives and deaths on one folder with one vendor.
struct Round {
    random: Rng,
    simulator: Simulator,
    setup: Setup,
    /// What was ordered, each with a request id of its own.
    orders: Vec<GenerateVideoRequest>,
    /// The generation of each order whose answer came.
    names: BTreeMap<usize, String>,
    /// How often a person sent something again.
    n_resubmitted: usize,
}

impl Round {
    async fn begin(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let rules = weather::some(&mut random);
        say(&format!("{rules:?}"));
        let simulator = Simulator::start(&rules);
        simulator.control("settings", json!({ "latency": "60ms" })).await;
        let concurrency = random.usize(1..=8).to_string();
        let setup = Setup::replicate(&simulator.replicate())
            .with("FILMGATE_CONCURRENCY", &concurrency)
            .with("FILMGATE_PROVIDER_TIMEOUT", "300ms");
        Self { random, simulator, setup, orders: Vec::new(), names: BTreeMap::new(), n_resubmitted: 0 }
    }

    /// Lives and dies; then a server that lives on at a healthy vendor.
    async fn kills(&mut self) -> Server {
        for _ in 0..N_KILLS {
            let doomed = armed(self.setup.clone(), &mut self.random);
            // It may come to its point before it is ready.
            let Some(server) = doomed.try_start().await else { continue };
            let longest = if self.random.bool() { 250 } else { 1200 };
            let end = Instant::now() + Duration::from_millis(self.random.u64(5..longest));
            // Whoever waits for an answer in that moment gets none.
            let _ = timeout_at(end, self.live(&server)).await;
            server.kill();
        }
        self.simulator.faults(&[]).await;
        self.setup.start().await
    }

    /// Does this and that until the server is gone.
    async fn live(&mut self, server: &Server) {
        loop {
            let acted = match self.random.u8(0..10) {
                0..=4 if self.orders.len() < N_ORDERS => {
                    let order = self.new_order();
                    self.orders.push(order);
                    self.order(server, self.orders.len() - 1).await
                }
                5..=6 if !self.orders.is_empty() => {
                    let again = self.random.usize(..self.orders.len());
                    self.order(server, again).await
                }
                7 => self.cancel(server).await,
                _ => Ok(()),
            };
            if acted.is_err() {
                return;
            }
            sleep(Duration::from_millis(self.random.u64(1..60))).await;
        }
    }

    fn new_order(&mut self) -> GenerateVideoRequest {
        let n = self.orders.len();
        let order = |prompt: String| GenerateVideoRequest {
            model: PRICED.to_owned(),
            request_id: format!("order-{n}"),
            ..video(&prompt)
        };
        match self.random.u8(0..8) {
            0 => order(format!("shared {}", self.random.u8(0..3))),
            1 => {
                let twin = order(format!("twins {}", self.random.u8(0..2)));
                GenerateVideoRequest { cache: CachePolicy::Bypass.into(), ..twin }
            }
            2 => {
                let limit = Duration::from_millis(self.random.u64(1000..2500));
                GenerateVideoRequest { max_duration: Some(limit.try_into().unwrap()), ..order(format!("{SHORT} {n}")) }
            }
            _ => order(format!("job {n}")),
        }
    }

    /// Orders, perhaps not for the first time: an order has one generation for ever.
    async fn order(&mut self, server: &Server, index: usize) -> Result<(), Gone> {
        match server.order(self.orders[index].clone()).await {
            Ok(generation) => {
                let known = self.names.entry(index).or_insert_with(|| generation.name.clone());
                assert_eq!(*known, generation.name, "order {index} has two generations");
                Ok(())
            }
            Err(status) => Err(gone(&status)),
        }
    }

    async fn cancel(&mut self, server: &Server) -> Result<(), Gone> {
        let names: Vec<&String> = self.names.values().collect();
        let Some(name) = self.random.choice(names) else { return Ok(()) };
        match server.cancel(name).await {
            Ok(_) => Ok(()),
            // It has ended otherwise.
            Err(status) if status.code() == Code::FailedPrecondition => Ok(()),
            Err(status) => Err(gone(&status)),
        }
    }
}

/// The process died.
struct Gone;

/// A call that broke off, as it must when the process dies; nothing else goes wrong.
fn gone(status: &Status) -> Gone {
    assert!(matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled), "{status:?}");
    Gone
}

/// Half of the servers die at a failpoint, if that comes before their time is over anyway.
#[cfg(feature = "failpoints")]
fn armed(setup: Setup, random: &mut Rng) -> Setup {
    if random.bool() {
        return setup;
    }
    let point = random.choice(filmgate::failpoint::Point::ALL).unwrap();
    setup.doomed(point, random.u32(1..=4))
}

#[cfg(not(feature = "failpoints"))]
fn armed(setup: Setup, _: &mut Rng) -> Setup {
    setup
}
