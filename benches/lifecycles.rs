//! Whole video jobs: ordered over gRPC, submitted, polled, downloaded, probed, stored and recorded, on SQLite, on PostgreSQL and by three servers on
//! one PostgreSQL, beside the same vendor calls made directly. Both stores flush every answer to the disk. Clients, servers, database and
//! simulated vendor share the cores. Run: `cargo bench --bench lifecycles [-- JOBS SECONDS ROUNDS]`.

mod support;

use std::time::Duration;

use anyhow::{Result, ensure};
use filmgate::pb::v1::State;
use support::{
    Bar, Report, argument,
    database::Database,
    load::{UNFINISHED, connections, none_left, order, round},
    median, mib,
    process::{Home, Process},
    simulator::direct,
};
use tokio::time::Instant;
use tonic::transport::Channel;

const CONNECTIONS: usize = 8;
const AT_ONCE: usize = 32;
/// Long enough for a machine with more to do than it can.
const LEASE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let (n_jobs, time, n_rounds) = (argument(0, 10_000), Duration::from_secs(argument(1, 8)), argument(2, 3));
    let simulator = Process::simulator(&["--latency", "0s"]).await?;
    let database = Database::start()?;
    let artifacts = tempfile::tempdir()?;
    let home = || anyhow::Ok(Home::new()?.with_replicate(simulator.replicate()).with("FILMGATE_POLL_INTERVAL", "50ms"));
    let shared = |url: &str| home().map(|home| home.with_database(url, artifacts.path(), LEASE));
    let (alone, together) = (database.url(), database.url());
    let mut systems = [
        System::start("filmgate, SQLite", vec![home()?]).await?,
        System::start("filmgate, PostgreSQL", vec![shared(&alone)?]).await?,
        System::start(
            "three filmgates, one PostgreSQL",
            vec![shared(&together)?, shared(&together)?, shared(&together)?],
        )
        .await?,
    ];

    let mut peer = Vec::new();
    for n in 0..=n_rounds {
        // The first round only warms up.
        let warms_up = n == 0;
        peer.push(vendor_directly(&simulator, time.min(Duration::from_secs(3))).await?);
        for system in &mut systems {
            let (n_jobs, time) = if warms_up { (500, Duration::from_secs(3)) } else { (n_jobs, time) };
            let measured = system.run(n_jobs, time, &simulator, &database).await?;
            if !warms_up {
                system.rounds.push(measured);
            }
        }
    }

    let title = format!(
        "lifecycles: {n_rounds} alternating rounds of up to {n_jobs} videos in {time:?} of orders, vendor latency 0"
    );
    let headings = ["", "jobs/s", "accepted/s", "CPU µs a job", "database µs", "vendor µs", "peak RSS MiB"];
    let report = Report::new(title, &headings);
    let peer = median(peer.split_off(1));
    let absent = || "-".to_owned();
    report.row(&[
        "the vendor directly".to_owned(),
        format!("{peer:.0}"),
        absent(),
        absent(),
        absent(),
        absent(),
        absent(),
    ]);
    let rates = systems.map(|system| system.report(&report));
    let [sqlite, postgres, three] = rates;
    let (sqlite, postgres, three) = (sqlite?, postgres?, three?);
    report.note(format!("SQLite / the vendor directly: {:.2} of its jobs a second", sqlite / peer));
    report.note(format!("PostgreSQL / SQLite: {:.2} of its jobs a second", postgres / sqlite));
    report.note(format!("three servers / one, PostgreSQL: {:.2} of its jobs a second", three / postgres));
    report.verdict("jobs a second on this machine, SQLite", sqlite, "", Bar::AtLeast(1000.0));
    Ok(())
}

/// Jobs a second of a client of the vendor's own.
async fn vendor_directly(simulator: &Process, time: Duration) -> Result<f64> {
    let peer = (reqwest::Client::new(), simulator.replicate());
    let measured = round(&[peer], CONNECTIONS * AT_ONCE, time, async |(http, base)| direct(&http, &base).await).await?;
    Ok(measured.rate)
}

/// Servers that do the same work together.
struct System {
    name: &'static str,
    servers: Vec<Process>,
    channels: Vec<Channel>,
    rounds: Vec<Measured>,
    /// Their folders, as long as they run.
    _homes: Vec<Home>,
}

/// A round.
struct Measured {
    n_jobs: f64,
    rate: f64,
    accepted: f64,
    cpu: Cpu,
}

/// Time on any core.
#[derive(Clone, Copy, Default)]
struct Cpu {
    servers: Duration,
    database: Duration,
    vendor: Duration,
}

impl System {
    async fn start(name: &'static str, homes: Vec<Home>) -> Result<Self> {
        let (mut servers, mut channels) = (Vec::new(), Vec::new());
        for home in &homes {
            let (server, _) = home.serve().await?;
            channels.extend(connections(server.addr, CONNECTIONS / homes.len()).await?);
            servers.push(server);
        }
        Ok(Self { name, servers, channels, rounds: Vec::new(), _homes: homes })
    }

    async fn run(&self, n_jobs: u64, time: Duration, simulator: &Process, database: &Database) -> Result<Measured> {
        let cpu = || -> Result<Cpu> {
            let servers = self.servers.iter().map(Process::cpu).sum::<Result<_>>()?;
            Ok(Cpu { servers, database: database.cpu()?, vendor: simulator.cpu()? })
        };
        let n_each = CONNECTIONS * AT_ONCE / self.channels.len();
        let (start, before) = (Instant::now(), cpu()?);
        let n_jobs = order(&self.channels, n_each, n_jobs, time).await?.len() as f64;
        let ordered = start.elapsed().as_secs_f64();
        ensure!(none_left(&self.channels[0], &UNFINISHED).await?, "the jobs did not end");
        let (elapsed, after) = (start.elapsed().as_secs_f64(), cpu()?);
        ensure!(none_left(&self.channels[0], &[State::Failed, State::Cancelled]).await?, "some jobs failed");
        let cpu = Cpu {
            servers: after.servers - before.servers,
            database: after.database.saturating_sub(before.database),
            vendor: after.vendor - before.vendor,
        };
        Ok(Measured { n_jobs, rate: n_jobs / elapsed, accepted: n_jobs / ordered, cpu })
    }

    /// Jobs a second.
    fn report(self, report: &Report) -> Result<f64> {
        let n_jobs: f64 = self.rounds.iter().map(|round| round.n_jobs).sum();
        let each = |part: fn(&Cpu) -> Duration| {
            let sum: Duration = self.rounds.iter().map(|round| part(&round.cpu)).sum();
            format!("{:.0}", sum.as_secs_f64() * 1e6 / n_jobs)
        };
        let rate = median(self.rounds.iter().map(|round| round.rate).collect());
        let rss = self.servers.iter().map(Process::peak_rss).sum::<Result<_>>()?;
        report.row(&[
            self.name.to_owned(),
            format!("{rate:.0}"),
            format!("{:.0}", median(self.rounds.iter().map(|round| round.accepted).collect())),
            each(|cpu| cpu.servers),
            each(|cpu| cpu.database),
            each(|cpu| cpu.vendor),
            mib(rss),
        ]);
        Ok(rate)
    }
}
