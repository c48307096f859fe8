//! Whole video jobs: ordered over gRPC, submitted, polled, downloaded, probed, stored and recorded, beside the same vendor calls made directly.
//! Client, server and simulated vendor share the cores. Run: `cargo bench --bench lifecycles [-- JOBS SECONDS]`.

mod support;

use std::time::Duration;

use anyhow::{Result, ensure};
use filmgate::pb::v1::State;
use support::{
    Bar, Report, argument,
    load::{UNFINISHED, connections, none_left, order, round},
    mib,
    process::{Home, Process},
    simulator::direct,
};
use tokio::time::Instant;

const CONNECTIONS: usize = 8;
const AT_ONCE: usize = 32;

#[tokio::main]
async fn main() -> Result<()> {
    let (n_jobs, time) = (argument(0, 10_000), Duration::from_secs(argument(1, 20)));
    let simulator = Process::simulator(&["--latency", "0s"]).await?;
    let home = Home::new()?.with_replicate(simulator.replicate()).with("FILMGATE_POLL_INTERVAL", "50ms");
    let (server, _) = home.serve().await?;
    let channels = connections(server.addr, CONNECTIONS).await?;
    order(&channels, AT_ONCE, 300, time).await?;
    ensure!(none_left(&channels[0], &UNFINISHED).await?, "warming up did not end");

    let title = format!("lifecycles: up to {n_jobs} videos in {time:?} of orders, vendor latency 0");
    let report = Report::new(title, &["", "jobs/s", "vendor CPU µs", "CPU µs a job", "peak RSS MiB"]);
    let peer = {
        let (http, base) = (reqwest::Client::new(), simulator.replicate());
        let cpu = simulator.cpu()?;
        let measured =
            round(&[(http, base)], CONNECTIONS * AT_ONCE, time.min(Duration::from_secs(5)), async |(http, base)| {
                direct(&http, &base).await
            })
            .await?;
        let vendor = (simulator.cpu()? - cpu).as_secs_f64() * 1e6 / measured.n_calls() as f64;
        let row = ["the vendor directly".to_owned(), format!("{:.0}", measured.rate), format!("{vendor:.0}")];
        report.row(&[&row[..], &["-".to_owned(), "-".to_owned()]].concat());
        measured.rate
    };

    let (start, cpu, vendor) = (Instant::now(), server.cpu()?, simulator.cpu()?);
    let n_ordered = order(&channels, AT_ONCE, n_jobs, time).await?.len() as f64;
    let ordered = start.elapsed();
    ensure!(none_left(&channels[0], &UNFINISHED).await?, "the jobs did not end");
    let rate = n_ordered / start.elapsed().as_secs_f64();
    ensure!(none_left(&channels[0], &[State::Failed, State::Cancelled]).await?, "some jobs failed");
    report.row(&[
        "filmgate, from order to success".to_owned(),
        format!("{rate:.0}"),
        format!("{:.0}", (simulator.cpu()? - vendor).as_secs_f64() * 1e6 / n_ordered),
        format!("{:.0}", (server.cpu()? - cpu).as_secs_f64() * 1e6 / n_ordered),
        mib(server.peak_rss()?),
    ]);
    report.note(format!("{:.0} of {n_ordered} orders a second accepted durably", n_ordered / ordered.as_secs_f64()));
    report.note(format!("filmgate / direct: {:.2} of its jobs a second", rate / peer));
    report.verdict("jobs a second on this machine", rate, "", Bar::AtLeast(1000.0));
    Ok(())
}
