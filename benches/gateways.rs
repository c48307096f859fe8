//! Gateways over HTTP in front of one vendor that answers at once: what each adds to a call, how many calls it carries, and its memory.
//! filmgate is the release binary with everything on disk; its peers record nothing, but for one that is no product: the least that a durable
//! gateway can do (`support/durable.rs`), which shows what this machine could carry at most. Callers and vendor are kept on one core, the
//! gateway under measurement on another. Peers that are not installed are left out; `scripts/bench-peers` installs them.
//! Run: `cargo bench --bench gateways [-- SECONDS_A_ROUND ROUNDS] [chat] [images] [videos]`; it needs taskset (`util-linux`).

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures_util::{FutureExt, future::BoxFuture};
use serde_json::json;
use support::{
    Bar, CALLERS, Report, SERVER, argument, durable,
    gateways::{Gateway, IMAGE, INSTALL, LINKED_IMAGE, VIDEO},
    http::{Connection, get, open, post},
    load::{Round, round},
    mib,
    process::{Home, peer_asked_for, stay_on},
    upstream::{self, N_PIECES, VIDEO_BYTES},
};
use tokio::{sync::Mutex, time::sleep};

const CASES: [Case; 5] = [
    Case { group: "chat", title: "chat", n_at_once: 64, call: chat, bars: &[("crabllm", 1.0, Some(1.0))] },
    Case {
        group: "chat",
        title: "streamed chat",
        n_at_once: 64,
        call: streamed_chat,
        bars: &[("crabllm", 1.0, Some(1.0))],
    },
    Case { group: "images", title: "image as base64", n_at_once: 64, call: image, bars: &[("LiteLLM", 10.0, None)] },
    Case { group: "images", title: "image as URL", n_at_once: 64, call: image_url, bars: &[("LiteLLM", 10.0, None)] },
    Case {
        group: "videos",
        title: "video job",
        n_at_once: 256,
        call: video,
        bars: &[("LiteLLM", 20.0, None), ("bare-durable", 0.5, None)],
    },
];
/// Between two looks at a video.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// One kind of call, made by one caller alone and by many at once.
struct Case {
    group: &'static str,
    title: &'static str,
    n_at_once: usize,
    call: Call,
    /// Against which peer: at least so many times its calls a second, at most so many times what it adds to a call.
    bars: &'static [(&'static str, f64, Option<f64>)],
}

type Call = fn(Arc<Gateway>, Arc<Mutex<Connection>>) -> BoxFuture<'static, Result<()>>;

fn main() -> Result<()> {
    if let Some((_, addr)) = peer_asked_for() {
        let [upstream, folder]: [String; 2] =
            std::env::args().skip(3).collect::<Vec<_>>().try_into().ok().context("a vendor and a folder are needed")?;
        return tokio::runtime::Runtime::new()?.block_on(durable::serve(addr, &upstream, folder.into()));
    }
    stay_on(CALLERS)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> Result<()> {
    let (seconds, n_rounds) = (Duration::from_secs(argument(0, 3)), argument(1, 3));
    let words: Vec<String> = std::env::args().skip(1).collect();
    let named: Vec<&Case> = CASES.iter().filter(|case| words.iter().any(|word| word == case.group)).collect();
    let cases = if named.is_empty() { CASES.iter().collect() } else { named };

    let vendor = upstream::start().await?;
    let home = Home::new()?.on_core(SERVER).with_openai(format!("http://{vendor}/v1"));
    let mut gateways = vec![Arc::new(Gateway::direct(vendor)), Arc::new(Gateway::filmgate(&home).await?)];
    gateways.push(Arc::new(Gateway::bare_durable(vendor).await?));
    for peer in [Gateway::crabllm(vendor).await?, Gateway::litellm(vendor).await?, Gateway::portkey(vendor).await?] {
        gateways.extend(peer.map(Arc::new));
    }
    for case in cases {
        let mut measured = Vec::new();
        for gateway in &gateways {
            measured.extend(Measured::new(gateway, case).await?);
        }
        // In turns, so that what else goes on meets all alike.
        for n in 0..=n_rounds {
            for measured in &mut measured {
                measured.run(case, seconds, n > 0).await?;
            }
        }
        report(case, measured)?;
    }
    Ok(())
}

/// A gateway under one kind of call.
struct Measured {
    gateway: Arc<Gateway>,
    alone: Vec<Round>,
    at_once: Vec<Round>,
    /// Of the gateway, while many call at once.
    cpu: Duration,
}

impl Measured {
    /// None if it does not serve such a call, which is said.
    async fn new(gateway: &Arc<Gateway>, case: &Case) -> Result<Option<Self>> {
        let connection = open(gateway.addr, 1).await?.remove(0);
        if let Err(error) = (case.call)(Arc::clone(gateway), connection).await {
            let why: String = format!("{error:#}").chars().take(200).collect();
            Report::new(format!("{}: not served by {}: {why}", case.title, gateway.name), &[]);
            return Ok(None);
        }
        Ok(Some(Self { gateway: Arc::clone(gateway), alone: Vec::new(), at_once: Vec::new(), cpu: Duration::ZERO }))
    }

    async fn run(&mut self, case: &Case, time: Duration, counts: bool) -> Result<()> {
        let alone = self.round(case, 1, time).await?;
        let before = self.cpu()?;
        let at_once = self.round(case, case.n_at_once, time).await?;
        if counts {
            self.cpu += self.cpu()?.saturating_sub(before);
            self.alone.push(alone);
            self.at_once.push(at_once);
        }
        Ok(())
    }

    async fn round(&self, case: &Case, n_at_once: usize, time: Duration) -> Result<Round> {
        let connections = open(self.gateway.addr, n_at_once).await?;
        let (gateway, call) = (Arc::clone(&self.gateway), case.call);
        let round = round(&connections, 1, time, move |connection| call(Arc::clone(&gateway), connection)).await;
        round.with_context(|| self.gateway.name)
    }

    fn cpu(&self) -> Result<Duration> {
        self.gateway.process.as_ref().map_or(Ok(Duration::ZERO), |process| process.cpu())
    }

    fn sum(self) -> Result<Figures> {
        let (alone, at_once) = (Round::sum(self.alone), Round::sum(self.at_once));
        let rss = self.gateway.process.as_ref().map(|process| process.peak_rss()).transpose()?;
        let wait = |part| alone.quantile(part).as_secs_f64() * 1e6;
        let cpu = self.cpu.as_secs_f64() * 1e6 / at_once.n_calls().max(1) as f64;
        Ok(Figures { name: self.gateway.name, p50: wait(0.5), p99: wait(0.99), rate: at_once.rate, cpu, rss })
    }
}

struct Figures {
    name: &'static str,
    /// Of a caller alone, in µs.
    p50: f64,
    p99: f64,
    /// Calls a second of many at once.
    rate: f64,
    /// Of the gateway for each of them, in µs.
    cpu: f64,
    rss: Option<u64>,
}

fn report(case: &Case, measured: Vec<Measured>) -> Result<()> {
    let title = format!("{}: one caller for what is added, {} for calls a second", case.title, case.n_at_once);
    let report = Report::new(title, &["", "p50 added µs", "p99 added µs", "calls/s", "CPU µs each", "peak RSS MiB"]);
    let mut figures = measured.into_iter().map(Measured::sum).collect::<Result<Vec<_>>>()?;
    let (p50, p99) =
        figures.first().filter(|first| first.rss.is_none()).map_or((0.0, 0.0), |first| (first.p50, first.p99));
    for Figures { name, p50: own, p99: own99, rate, cpu, rss } in &mut figures {
        (*own, *own99) = (*own - p50, *own99 - p99);
        let rss = rss.map_or_else(String::new, mib);
        report.row(&[
            (*name).to_owned(),
            format!("{own:.0}"),
            format!("{own99:.0}"),
            format!("{rate:.0}"),
            format!("{cpu:.0}"),
            rss,
        ]);
    }
    let Some(ours) = figures.iter().find(|figures| figures.name == "filmgate") else { return Ok(()) };
    for peer in figures.iter().filter(|figures| figures.rss.is_some() && figures.name != ours.name) {
        let (name, bars) = (peer.name, case.bars.iter().find(|(name, ..)| *name == peer.name));
        let what = format!("filmgate / {name}");
        let (rate, added) = (ours.rate / peer.rate, ours.p50 / peer.p50);
        match bars {
            Some((_, least, _)) => report.verdict(format!("{what}, calls a second"), rate, "", Bar::AtLeast(*least)),
            None => report.note(format!("{what}, calls a second: {rate:.2}")),
        }
        match bars {
            Some((.., Some(most))) => report.verdict(format!("{what}, added p50"), added, "", Bar::AtMost(*most)),
            Some((.., None)) | None => report.note(format!("{what}, added p50: {added:.2}")),
        }
        let memory = ours.rss.unwrap_or_default() as f64 / peer.rss.unwrap_or_default() as f64;
        let cpu = ours.cpu / peer.cpu;
        report
            .note(format!("{what}, added p99: {:.2}; CPU a call: {cpu:.2}; memory: {memory:.2}", ours.p99 / peer.p99));
    }
    for (name, ..) in case.bars.iter().filter(|(name, ..)| !figures.iter().any(|figures| figures.name == *name)) {
        report.note(format!("{name} is not measured; {INSTALL} installs it"));
    }
    Ok(())
}

fn chat(gateway: Arc<Gateway>, connection: Arc<Mutex<Connection>>) -> BoxFuture<'static, Result<()>> {
    async move {
        let request = post("/v1/chat/completions", &gateway.headers, &conversation(&gateway, false));
        let body = connection.lock().await.ask(&request).await?.success()?;
        ensure!(ends_with(&body, b"}") && body.len() > 500, "no completion: {}", String::from_utf8_lossy(&body));
        Ok(())
    }
    .boxed()
}

fn streamed_chat(gateway: Arc<Gateway>, connection: Arc<Mutex<Connection>>) -> BoxFuture<'static, Result<()>> {
    async move {
        let request = post("/v1/chat/completions", &gateway.headers, &conversation(&gateway, true));
        let body = connection.lock().await.ask(&request).await?.success()?;
        let n_pieces = body.windows(4).filter(|part| part == b"word").count();
        ensure!(ends_with(&body, b"data: [DONE]"), "the stream broke off: {}", String::from_utf8_lossy(&body));
        ensure!(n_pieces == N_PIECES, "{n_pieces} pieces of {N_PIECES} came");
        Ok(())
    }
    .boxed()
}

fn conversation(gateway: &Gateway, stream: bool) -> serde_json::Value {
    let rules =
        "You are the author of screenplays. Answer in short sentences, and never name a real person. ".repeat(4);
    let wish = format!("Write scene {}: a lighthouse in a storm, seen from a small boat. ", number()).repeat(4);
    json!({
        "model": gateway.chat_model, "stream": stream, "max_tokens": 256,
        "messages": [{ "role": "system", "content": rules }, { "role": "user", "content": wish }],
    })
}

fn image(gateway: Arc<Gateway>, connection: Arc<Mutex<Connection>>) -> BoxFuture<'static, Result<()>> {
    draw(gateway, connection, json!({ "model": IMAGE }), b"\"b64_json\"").boxed()
}

fn image_url(gateway: Arc<Gateway>, connection: Arc<Mutex<Connection>>) -> BoxFuture<'static, Result<()>> {
    draw(gateway, connection, json!({ "model": LINKED_IMAGE, "response_format": "url" }), b"\"url\"").boxed()
}

async fn draw(
    gateway: Arc<Gateway>,
    connection: Arc<Mutex<Connection>>,
    options: serde_json::Value,
    holds: &'static [u8],
) -> Result<()> {
    let mut body = json!({ "prompt": prompt(), "n": 1, "size": "1024x1024" });
    if let (Some(body), serde_json::Value::Object(options)) = (body.as_object_mut(), options) {
        body.extend(options);
    }
    let request = post("/v1/images/generations", &gateway.headers, &body);
    let body = connection.lock().await.ask(&request).await?.success()?;
    ensure!(body.windows(holds.len()).any(|part| part == holds), "no image: {}", String::from_utf8_lossy(&body));
    Ok(())
}

fn video(gateway: Arc<Gateway>, connection: Arc<Mutex<Connection>>) -> BoxFuture<'static, Result<()>> {
    async move {
        let mut connection = connection.lock().await;
        let order = json!({ "model": VIDEO, "prompt": prompt(), "seconds": "4", "size": "1280x720" });
        let mut video = connection.ask(&post("/v1/videos", &gateway.headers, &order)).await?.json()?;
        let path = format!("/v1/videos/{}", video["id"].as_str().context("no id")?);
        let look = get(&path, &gateway.headers);
        loop {
            match video["status"].as_str() {
                Some("completed") => break,
                Some("queued" | "in_progress") => {}
                _ => anyhow::bail!("it went wrong: {video}"),
            }
            video = connection.ask(&look).await?.json()?;
            if video["status"] != "completed" {
                sleep(LOOK_AGAIN).await;
            }
        }
        let content = connection.ask(&get(&format!("{path}/content"), &gateway.headers)).await?.success()?;
        ensure!(content.len() == VIDEO_BYTES, "{} bytes of {VIDEO_BYTES} came", content.len());
        Ok(())
    }
    .boxed()
}

/// No cache may answer what is measured here.
fn prompt() -> String {
    format!("take {}: a lighthouse in a storm, waves as high as houses, seen from a small boat", number())
}

fn number() -> u64 {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

fn ends_with(body: &[u8], end: &[u8]) -> bool {
    body.trim_ascii_end().ends_with(end)
}
