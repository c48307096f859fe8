//! Starts: from the start of the process to its first good answer from `/readyz`, idle memory, and how soon unfinished jobs are asked about
//! after the process was killed. Run: `cargo bench --bench start [-- FINISHED UNFINISHED]`.

mod support;

use std::time::Duration;

use anyhow::{Result, ensure};
use support::{
    Bar, Report, argument,
    load::{UNFINISHED, connections, none_left, order},
    mib, ms,
    process::{Home, Process},
};
use tokio::time::{Instant, sleep};

/// Starts of each kind; the median counts.
const STARTS: usize = 9;
/// Longest time that a benchmark orders.
const ORDERING: Duration = Duration::from_secs(60);

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
    restart(n_unfinished).await
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

/// Jobs at the vendor, the server killed, and started again.
async fn restart(n: u64) -> Result<()> {
    let http = reqwest::Client::new();
    let simulator = Process::simulator(&["--fault", "create:hold"]).await?;
    let home = Home::new()?.with_replicate(simulator.replicate());
    // So long that each job is asked about once, after the restart.
    let home = home.with("FILMGATE_POLL_INTERVAL", "10m").with("FILMGATE_POLL_INTERVAL_MAX", "10m");
    let (server, _) = home.serve().await?;
    let channels = connections(server.addr, 8).await?;
    let ordered = order(&channels, 16, n, ORDERING).await?.len() as u64;
    let start = Instant::now();
    while simulator.counts(&http).await?.creates < ordered {
        ensure!(start.elapsed() < ORDERING, "not every order reached the vendor");
        sleep(Duration::from_millis(50)).await;
    }
    // The last tickets are stored.
    sleep(Duration::from_secs(1)).await;
    drop(channels);
    server.kill()?;
    let before = simulator.counts(&http).await?;
    ensure!(before.gets == 0 && before.creates == ordered, "the jobs were not left as planned: {before:?}");

    let report =
        Report::new(format!("restart with {ordered} unfinished jobs"), &["", "ready ms", "all polled s", "RSS MiB"]);
    let start = Instant::now();
    let (server, ready) = home.serve().await?;
    while simulator.counts(&http).await?.gets < ordered {
        ensure!(start.elapsed() < ORDERING, "not every job was polled");
        sleep(Duration::from_millis(20)).await;
    }
    let polled = start.elapsed().as_secs_f64();
    let (least, n_jobs) = simulator.least_asked(&http).await?;
    ensure!(least >= 1, "a job was not polled while another was polled twice");
    report.row(&["filmgate".to_owned(), ms(ready), format!("{polled:.2}"), mib(server.rss()?)]);
    report.verdict("to the first poll of all", polled, " s", Bar::AtMost(5.0));
    report.verdict("jobs ordered twice", n_jobs as f64 - ordered as f64, "", Bar::AtMost(0.0));
    Ok(())
}
