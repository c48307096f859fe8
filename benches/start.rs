//! Starts: from the start of the process to its first good answer from `/readyz`; what it costs when it has nothing to do; and how soon unfinished
//! jobs are asked about after the process was killed, by itself or by another on the same database.
//! Run: `cargo bench --bench start [-- FINISHED UNFINISHED]`.

mod support;

use std::time::Duration;

use anyhow::{Result, ensure};
use support::{
    Bar, Report, argument,
    database::{Database, ask},
    load::{UNFINISHED, connections, none_left, order},
    mib, ms,
    process::{Home, Process},
};
use tokio::time::{Instant, sleep};

/// Starts of each kind; the median counts.
const STARTS: usize = 9;
/// Longest time that a benchmark orders.
const ORDERING: Duration = Duration::from_secs(60);
/// How long servers do nothing.
const STANDSTILL: Duration = Duration::from_secs(10);
/// After this time without a sign of life a server's jobs are taken over.
const LEASE: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<()> {
    let (n_finished, n_unfinished) = (argument(0, 1000), argument(1, 10_000));
    let report = Report::new(
        format!("start: median of {STARTS} to the first good answer from /readyz"),
        &["", "ms", "slowest ms", "idle RSS MiB"],
    );
    let empty = starts(&report, "empty folder", async || Home::new()).await?;
    report.verdict("cold start, empty folder", empty.0, " ms", Bar::AtMost(100.0));
    report.verdict("idle memory", empty.1, " MiB", Bar::AtMost(30.0));
    let finished = with_finished(&report, n_finished).await?;
    report.verdict(format!("start with {n_finished} finished generations"), finished, " ms", Bar::AtMost(100.0));
    let database = Database::start()?;
    standstill(&database).await?;
    deaths(n_unfinished, &database).await
}

/// Median milliseconds, and MiB when idle.
async fn starts(report: &Report, name: &str, home: impl AsyncFn() -> Result<Home>) -> Result<(f64, f64)> {
    let mut times = Vec::new();
    let mut idle = 0;
    for _ in 0..STARTS {
        let home = home().await?;
        let (server, time) = home.serve().await?;
        times.push(time);
        sleep(Duration::from_millis(300)).await;
        idle = idle.max(server.rss()?);
    }
    Ok(started(report, name, times, idle))
}

fn started(report: &Report, name: &str, mut times: Vec<Duration>, idle: u64) -> (f64, f64) {
    times.sort_unstable();
    let median = times[times.len() / 2];
    report.row(&[name.to_owned(), ms(median), ms(times[times.len() - 1]), mib(idle)]);
    (median.as_secs_f64() * 1e3, idle as f64 / f64::from(1 << 20))
}

async fn with_finished(report: &Report, n: u64) -> Result<f64> {
    let simulator = Process::simulator(&["--latency", "0s"]).await?;
    let home = Home::new()?.with_replicate(simulator.replicate()).with("FILMGATE_POLL_INTERVAL", "50ms");
    let (server, _) = home.serve().await?;
    let channels = connections(server.addr, 8).await?;
    order(&channels, 16, n, ORDERING).await?;
    ensure!(none_left(&channels[0], &UNFINISHED).await?, "the jobs did not end");
    server.kill()?;
    let mut times = Vec::new();
    let mut idle = 0;
    for _ in 0..STARTS {
        let (server, time) = home.serve().await?;
        times.push(time);
        sleep(Duration::from_millis(300)).await;
        idle = idle.max(server.rss()?);
        server.kill()?;
    }
    Ok(started(report, &format!("{n} finished generations"), times, idle).0)
}

/// What servers cost that have nothing to do: each asks a shared database twice a second what others changed.
async fn standstill(database: &Database) -> Result<()> {
    let title = format!("standstill: CPU time a second of doing nothing, over {STANDSTILL:?}");
    let report = Report::new(title, &["", "ms a server", "database ms", "RSS MiB each"]);
    let artifacts = tempfile::tempdir()?;
    let url = database.url();
    let shared = || anyhow::Ok(Home::new()?.with_database(&url, artifacts.path(), LEASE));
    idle(&report, "one, SQLite", &[Home::new()?], database).await?;
    idle(&report, "one, PostgreSQL", &[shared()?], database).await?;
    idle(&report, "three, one PostgreSQL", &[shared()?, shared()?, shared()?], database).await
}

async fn idle(report: &Report, name: &str, homes: &[Home], database: &Database) -> Result<()> {
    let mut servers = Vec::new();
    for home in homes {
        servers.push(home.serve().await?.0);
    }
    sleep(Duration::from_secs(3)).await;
    let cpu = || anyhow::Ok((servers.iter().map(Process::cpu).sum::<Result<Duration>>()?, database.cpu()?));
    let before = cpu()?;
    sleep(STANDSTILL).await;
    let after = cpu()?;
    let a_second = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3 / STANDSTILL.as_secs_f64());
    let each = (after.0 - before.0) / u32::try_from(servers.len())?;
    let most = servers.iter().map(Process::rss).collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or_default();
    report.row(&[name.to_owned(), a_second(each), a_second(after.1.saturating_sub(before.1)), mib(most)]);
    Ok(())
}

/// A server killed with jobs at the vendor and started again; on a shared database also with another that takes them over.
async fn deaths(n: u64, database: &Database) -> Result<()> {
    let headings = ["", "ready ms", "all polled s", "sent again", "RSS MiB"];
    let report = Report::new(format!("SIGKILL with {n} unfinished jobs, to the first poll of all"), &headings);
    let artifacts = tempfile::tempdir()?;
    let (url, other) = (database.url(), database.url());
    let folder = artifacts.path();
    let on = |url| move |home: Home| home.with_database(url, folder, LEASE);
    let sqlite = Unfinished::order(n, |home| home).await?.start_again(&report, "SQLite, started again").await?;
    let postgres = Unfinished::order(n, on(&url)).await?.start_again(&report, "PostgreSQL, started again").await?;
    let taken = Unfinished::order(n, on(&other)).await?.take_over(&report, &other).await?;
    report.verdict("SQLite, started again", sqlite.0, " s", Bar::AtMost(5.0));
    report.verdict("PostgreSQL, started again", postgres.0, " s", Bar::AtMost(5.0));
    report.verdict("taken over, from the end of the lease", taken.0, " s", Bar::AtMost(5.0));
    report.verdict("orders sent again", (sqlite.1 + postgres.1 + taken.1) as f64, "", Bar::AtMost(0.0));
    Ok(())
}

/// A server whose jobs the vendor holds.
struct Unfinished {
    simulator: Process,
    http: reqwest::Client,
    home: Home,
    server: Process,
    n: u64,
}

impl Unfinished {
    /// Orders up to `n`, and waits until each is at the vendor.
    async fn order(n: u64, on: impl Fn(Home) -> Home) -> Result<Self> {
        let http = reqwest::Client::new();
        let simulator = Process::simulator(&["--fault", "create:hold"]).await?;
        let home = on(Home::new()?.with_replicate(simulator.replicate()));
        // So long that each job is asked about once, after the server's death.
        let home = home.with("FILMGATE_POLL_INTERVAL", "10m").with("FILMGATE_POLL_INTERVAL_MAX", "10m");
        let (server, _) = home.serve().await?;
        let channels = connections(server.addr, 8).await?;
        let n = order(&channels, 16, n, ORDERING).await?.len() as u64;
        let start = Instant::now();
        while simulator.counts(&http).await?.creates < n {
            ensure!(start.elapsed() < ORDERING, "not every order reached the vendor");
            sleep(Duration::from_millis(50)).await;
        }
        // The last tickets are stored.
        sleep(Duration::from_secs(1)).await;
        let counts = simulator.counts(&http).await?;
        ensure!(counts.gets == 0 && counts.creates == n, "the jobs were not left as planned: {counts:?}");
        Ok(Self { simulator, http, home, server, n })
    }

    /// Seconds from the start of the server on the same folder.
    async fn start_again(self, report: &Report, name: &str) -> Result<(f64, u64)> {
        let Self { simulator, http, home, server, n } = self;
        server.kill()?;
        let start = Instant::now();
        let (server, ready) = home.serve().await?;
        let (time, sent_again) = all_polled(&simulator, &http, n, start).await?;
        report.row(&[name.to_owned(), ms(ready), format!("{time:.2}"), sent_again.to_string(), mib(server.rss()?)]);
        Ok((time, sent_again))
    }

    /// Seconds from the end of the server's lease, until another that was there before its death has asked about all.
    async fn take_over(self, report: &Report, url: &str) -> Result<(f64, u64)> {
        let Self { simulator, http, home, server, n } = self;
        let (other, ready) = home.beside()?.serve().await?;
        let mine = format!("ended = 0 AND owner = '{}'", home.name()?);
        ensure!(ask(url, &format!("SELECT count(*) FROM filmgate.generations WHERE {mine}")) == n.to_string());
        server.kill()?;
        let left = format!(
            "SELECT extract(epoch FROM lease_until - clock_timestamp()) FROM filmgate.processes WHERE id = '{}'",
            home.name()?
        );
        let end = Instant::now() + Duration::try_from_secs_f64(ask(url, &left).parse()?)?;
        let (time, sent_again) = all_polled(&simulator, &http, n, end).await?;
        let name = "PostgreSQL, taken over by another".to_owned();
        report.row(&[name, ms(ready), format!("{time:.2}"), sent_again.to_string(), mib(other.rss()?)]);
        Ok((time, sent_again))
    }
}

/// Waits until each of `n` jobs was asked about: seconds since `start`, and how many orders the vendor got beyond those.
async fn all_polled(simulator: &Process, http: &reqwest::Client, n: u64, start: Instant) -> Result<(f64, u64)> {
    let patience = Instant::now() + ORDERING;
    while simulator.counts(http).await?.gets < n {
        ensure!(Instant::now() < patience, "not every job was polled");
        sleep(Duration::from_millis(20)).await;
    }
    let time = start.elapsed().as_secs_f64();
    let (least, _) = simulator.least_asked(http).await?;
    ensure!(least >= 1, "a job was not polled while another was polled twice");
    Ok((time, simulator.counts(http).await?.creates - n))
}
