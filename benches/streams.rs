//! Open streams: what one costs in memory, that watchers cost the vendor nothing, and what a message of progress costs, beside a bare tonic
//! stream over a watch channel. Run: `cargo bench --bench streams [-- STREAMS]`.

mod support;

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use filmgate::pb::v1::{
    self,
    generation_service_client::GenerationServiceClient,
    generation_service_server::{GenerationService, GenerationServiceServer},
};
use futures_util::{Stream, StreamExt};
use prost::Message;
use serde_json::json;
use support::{
    Bar, Report, argument,
    load::{connections, order},
    mib,
    process::{Home, Process, peer_asked_for},
    simulator::Counts,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status, transport::Channel, transport::Server};

const CONNECTIONS: usize = 50;
/// Jobs watched; each by a hundredth of the streams.
const JOBS: u64 = 100;
/// How long a job of the progress part runs; the vendor tells of twenty steps.
const LATENCY: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(1500);
/// How long messages and polls are counted.
const WINDOW: Duration = Duration::from_secs(6);
const POLL: &str = "500ms";

#[tokio::main]
async fn main() -> Result<()> {
    if let Some((_, addr)) = peer_asked_for() {
        return bare(addr).await;
    }
    let n = usize::try_from(argument(0, 10_000))?;
    let http = reqwest::Client::new();
    let simulator = Process::simulator(&["--fault", "create:hold"]).await?;
    let home = Home::new()?.with_replicate(simulator.replicate());
    let home = home.with("FILMGATE_POLL_INTERVAL", POLL).with("FILMGATE_POLL_INTERVAL_MAX", POLL);

    let report = Report::new(
        format!("streams: up to {n} over {CONNECTIONS} connections, {JOBS} jobs held by the vendor"),
        &["", "RSS MiB", "KiB a stream", "polls/s"],
    );
    let peer = Process::peer("bare").await?;
    let names: Vec<String> = (0..JOBS).map(|job| job.to_string()).collect();
    memory(&report, "bare tonic", &peer, &names, n, async || Ok(0.0)).await?;

    let (server, _) = home.serve().await?;
    let channels = connections(server.addr, 4).await?;
    let names = order(&channels, 8, JOBS, WINDOW).await?;
    sleep(Duration::from_secs(2)).await;
    let polls = async || polls(&simulator, &http).await;
    let (kib, before, during) = memory(&report, "filmgate", &server, &names, n, polls).await?;
    report.verdict("memory of one of all streams", kib, " KiB", Bar::AtMost(10.0));
    report.verdict("polls a second, watched / unwatched", during / before, "", Bar::AtMost(1.1));

    let report = Report::new(
        format!("progress: {n} streams, each told of a step every {STEP:?}"),
        &["", "messages/s", "bytes each", "CPU µs each"],
    );
    let bare = progress(
        &report,
        "bare tonic",
        &peer,
        Duration::ZERO,
        async || Ok((0..JOBS).map(|job| job.to_string()).collect()),
        n,
    )
    .await?;
    drop(peer);
    control(&simulator, &http, "faults", json!({ "faults": [] })).await?;
    control(&simulator, &http, "settings", json!({ "latency": format!("{}s", LATENCY.as_secs()) })).await?;
    // A fresh server, so that the held jobs are not polled beside the measured ones.
    drop(server);
    let home = Home::new()?.with_replicate(simulator.replicate());
    let (server, _) =
        home.with("FILMGATE_POLL_INTERVAL", POLL).with("FILMGATE_POLL_INTERVAL_MAX", POLL).serve().await?;
    let channels = connections(server.addr, 4).await?;
    let ours = progress(
        &report,
        "filmgate",
        &server,
        Duration::from_secs(4),
        async || order(&channels, 8, JOBS, WINDOW).await,
        n,
    )
    .await?;
    report.verdict("bare tonic / filmgate, CPU a message", bare / ours, "", Bar::AtLeast(0.7));
    Ok(())
}

/// Memory of a tenth of the streams and of all; KiB of one of all, and polls a second without and with them.
async fn memory(
    report: &Report,
    name: &str,
    process: &Process,
    names: &[String],
    n: usize,
    polls: impl AsyncFn() -> Result<f64>,
) -> Result<(f64, f64, f64)> {
    let unwatched = polls().await?;
    let idle = process.rss()?;
    report.row(&[format!("{name}, no stream"), mib(idle), String::new(), format!("{unwatched:.0}")]);
    let channels = connections(process.addr, CONNECTIONS).await?;
    let mut watches = Watches::default();
    let mut kib = 0.0;
    let mut watched = 0.0;
    for n in [n / 10, n] {
        watches.open(&channels, names, n).await?;
        watched = polls().await?;
        let rss = process.rss()?;
        kib = rss.saturating_sub(idle) as f64 / 1024.0 / n as f64;
        report.row(&[format!("{name}, {n} streams"), mib(rss), format!("{kib:.1}"), format!("{watched:.0}")]);
    }
    Ok((kib, unwatched, watched))
}

/// CPU time of one message in µs, without what the jobs cost by themselves, which is measured for `alone` before the streams are opened.
async fn progress(
    report: &Report,
    name: &str,
    process: &Process,
    alone: Duration,
    jobs: impl AsyncFn() -> Result<Vec<String>>,
    n: usize,
) -> Result<f64> {
    let names = jobs().await?;
    sleep(Duration::from_secs(1)).await;
    let before = process.cpu()?;
    sleep(alone).await;
    let base = if alone.is_zero() { 0.0 } else { (process.cpu()? - before).as_secs_f64() / alone.as_secs_f64() };
    let channels = connections(process.addr, CONNECTIONS).await?;
    let mut watches = Watches::default();
    watches.open(&channels, &names, n).await?;
    sleep(Duration::from_secs(1)).await;
    let (start, cpu, n_before, bytes) = (Instant::now(), process.cpu()?, watches.n_seen(), watches.n_bytes());
    sleep(WINDOW).await;
    let (elapsed, n_seen) = (start.elapsed().as_secs_f64(), watches.n_seen() - n_before);
    ensure!(n_seen > 0, "no message came");
    let each = ((process.cpu()? - cpu).as_secs_f64() - base * elapsed) * 1e6 / n_seen as f64;
    report.row(&[
        name.to_owned(),
        format!("{:.0}", n_seen as f64 / elapsed),
        format!("{:.0}", (watches.n_bytes() - bytes) as f64 / n_seen as f64),
        format!("{each:.1}"),
    ]);
    Ok(each)
}

async fn polls(simulator: &Process, http: &reqwest::Client) -> Result<f64> {
    let (start, Counts { gets, .. }) = (Instant::now(), simulator.counts(http).await?);
    sleep(WINDOW / 2).await;
    Ok((simulator.counts(http).await?.gets - gets) as f64 / start.elapsed().as_secs_f64())
}

async fn control(simulator: &Process, http: &reqwest::Client, path: &str, body: serde_json::Value) -> Result<()> {
    let url = format!("http://{}/_control/{path}", simulator.addr);
    http.post(url).json(&body).send().await?.error_for_status()?;
    Ok(())
}

/// Streams that are read by a task each until this is dropped.
#[derive(Default)]
struct Watches {
    tasks: JoinSet<()>,
    seen: Arc<[AtomicU64; 2]>,
}

impl Watches {
    /// Opens streams until there are `n`, and waits for the first message of each.
    async fn open(&mut self, channels: &[Channel], names: &[String], n: usize) -> Result<()> {
        let mut opening = JoinSet::new();
        for index in self.tasks.len()..n {
            let mut client = GenerationServiceClient::new(channels[index % channels.len()].clone());
            let name = names.get(index / channels.len() % names.len()).context("no job to watch")?.clone();
            opening.spawn(async move {
                let request = v1::WatchGenerationRequest { name, after_sequence: 0 };
                let mut stream = client.watch_generation(request).await?.into_inner();
                timeout(Duration::from_secs(30), stream.message()).await??;
                anyhow::Ok(stream)
            });
            // Not more at once than a server would take from so many connections.
            while opening.len() >= 500 {
                self.read(opening.join_next().await.context("none is opening")???);
            }
        }
        while let Some(opened) = opening.join_next().await {
            self.read(opened??);
        }
        Ok(())
    }

    fn read(&mut self, mut stream: tonic::Streaming<v1::WatchGenerationResponse>) {
        let seen = Arc::clone(&self.seen);
        self.tasks.spawn(async move {
            while let Ok(Some(message)) = stream.message().await {
                seen[0].fetch_add(1, Ordering::Relaxed);
                seen[1].fetch_add(message.encoded_len() as u64, Ordering::Relaxed);
            }
        });
    }

    fn n_seen(&self) -> u64 {
        self.seen[0].load(Ordering::Relaxed)
    }

    fn n_bytes(&self) -> u64 {
        self.seen[1].load(Ordering::Relaxed)
    }
}

/// The peer: a watch channel a job, told of a step when the vendor would tell of one, and nothing else.
async fn bare(addr: SocketAddr) -> Result<()> {
    let channels: Vec<_> = (0..JOBS).map(|_| watch::Sender::new(snapshot(0))).collect();
    let service = GenerationServiceServer::new(Bare { channels: channels.clone() });
    let mut ticking = JoinSet::new();
    for (job, channel) in channels.into_iter().enumerate() {
        ticking.spawn(async move {
            // Jobs do not move at the same moment.
            sleep(STEP.mul_f64(job as f64 / JOBS as f64)).await;
            for sequence in 1.. {
                sleep(STEP).await;
                channel.send_replace(snapshot(sequence));
            }
        });
    }
    Ok(Server::builder().add_service(service).serve(addr).await?)
}

/// As large as a snapshot of filmgate's.
fn snapshot(sequence: i64) -> Arc<v1::Generation> {
    let text = "take 1: a lighthouse in a storm, waves as high as houses, seen from a small boat".to_owned();
    Arc::new(v1::Generation {
        name: "generations/0198c5d0-5f2e-7c3a-9d0b-000000000000".to_owned(),
        session: "sessions/0198c5d0-5f2e-7c3a-9d0b-000000000000".to_owned(),
        phase: "processing".to_owned(),
        model: "replicate/minimax/video-01".to_owned(),
        provider_logs: " 50%|█████     | 10/20 [00:05]\n".repeat(10),
        brief: text.clone(),
        spec: Some(v1::generation::Spec::Video(v1::VideoSpec { prompt: text, ..v1::VideoSpec::default() })),
        sequence,
        ..v1::Generation::default()
    })
}

struct Bare {
    channels: Vec<watch::Sender<Arc<v1::Generation>>>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

macro_rules! not_measured {
    ($($method:ident: $request:ident => $response:ident),* $(,)?) => {
        #[tonic::async_trait]
        impl GenerationService for Bare {
            type GenerateVideoStream = Answers<v1::GenerateVideoResponse>;
            type GenerateImageStream = Answers<v1::GenerateImageResponse>;
            type GenerateSpeechStream = Answers<v1::GenerateSpeechResponse>;
            type GenerateMusicStream = Answers<v1::GenerateMusicResponse>;
            type WatchGenerationStream = Answers<v1::WatchGenerationResponse>;

            async fn generate_image(
                &self,
                _: Request<v1::GenerateImageRequest>,
            ) -> Result<Response<Self::GenerateImageStream>, Status> {
                Err(Status::unimplemented("not measured"))
            }

            async fn generate_speech(
                &self,
                _: Request<v1::GenerateSpeechRequest>,
            ) -> Result<Response<Self::GenerateSpeechStream>, Status> {
                Err(Status::unimplemented("not measured"))
            }

            async fn generate_music(
                &self,
                _: Request<v1::GenerateMusicRequest>,
            ) -> Result<Response<Self::GenerateMusicStream>, Status> {
                Err(Status::unimplemented("not measured"))
            }

            async fn watch_generation(
                &self,
                request: Request<v1::WatchGenerationRequest>,
            ) -> Result<Response<Self::WatchGenerationStream>, Status> {
                let job: Option<usize> = request.get_ref().name.parse().ok();
                let channel = job.and_then(|job| self.channels.get(job)).ok_or_else(|| Status::not_found("no such job"))?;
                let snapshots = WatchStream::new(channel.subscribe());
                let answers = snapshots.map(|generation| {
                    Ok(v1::WatchGenerationResponse { generation: Some(v1::Generation::clone(&generation)) })
                });
                Ok(Response::new(Box::pin(answers)))
            }

            async fn generate_video(
                &self,
                _: Request<v1::GenerateVideoRequest>,
            ) -> Result<Response<Self::GenerateVideoStream>, Status> {
                Err(Status::unimplemented("not measured"))
            }

            $(async fn $method(&self, _: Request<v1::$request>) -> Result<Response<v1::$response>, Status> {
                Err(Status::unimplemented("not measured"))
            })*
        }
    };
}

not_measured! {
    estimate_cost: EstimateCostRequest => EstimateCostResponse,
    get_generation: GetGenerationRequest => GetGenerationResponse,
    list_generations: ListGenerationsRequest => ListGenerationsResponse,
    cancel_generation: CancelGenerationRequest => CancelGenerationResponse,
    resolve_generation: ResolveGenerationRequest => ResolveGenerationResponse,
    delete_generation: DeleteGenerationRequest => DeleteGenerationResponse,
    list_generation_events: ListGenerationEventsRequest => ListGenerationEventsResponse,
    redeliver_callback: RedeliverCallbackRequest => RedeliverCallbackResponse,
}
