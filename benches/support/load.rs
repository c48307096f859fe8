//! Load: many calls at once over a few connections.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Result;
use filmgate::pb::v1::{
    GenerateVideoRequest, ListGenerationsRequest, State, generation_service_client::GenerationServiceClient,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::transport::{Channel, Endpoint};

/// What a round of calls came to.
#[derive(Debug)]
pub(crate) struct Round {
    /// Calls a second.
    pub(crate) rate: f64,
    /// Every wait, shortest first.
    waits: Vec<Duration>,
}

impl Round {
    /// Puts rounds together: the median rate, all waits.
    pub(crate) fn sum(mut rounds: Vec<Self>) -> Self {
        rounds.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let rate = rounds.get(rounds.len() / 2).map_or(0.0, |round| round.rate);
        let mut waits: Vec<Duration> = rounds.into_iter().flat_map(|round| round.waits).collect();
        waits.sort_unstable();
        Self { rate, waits }
    }

    /// The wait that this part of the calls did not exceed.
    pub(crate) fn quantile(&self, part: f64) -> Duration {
        let index = (self.waits.len() as f64 * part) as usize;
        self.waits.get(index.min(self.waits.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// Calls in all.
    pub(crate) fn n_calls(&self) -> usize {
        self.waits.len()
    }
}

/// This many connections.
pub(crate) async fn connections(addr: SocketAddr, n: usize) -> Result<Vec<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))?.tcp_nodelay(true);
    // What still comes on a stream that was hung up counts as an error of the client's own; by default 1024 of them end the connection.
    let endpoint = endpoint.http2_max_local_error_reset_streams(None);
    let mut channels = Vec::with_capacity(n);
    for _ in 0..n {
        channels.push(endpoint.connect().await?);
    }
    Ok(channels)
}

/// Runs `call` over and over, this many at once on each of `peers`, for `time`.
pub(crate) async fn round<P, F>(
    peers: &[P],
    n_each: usize,
    time: Duration,
    call: impl Fn(P) -> F + Clone + Send + 'static,
) -> Result<Round>
where
    P: Clone + Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for peer in peers.iter().flat_map(|peer| std::iter::repeat_n(peer, n_each)) {
        let (peer, call) = (peer.clone(), call.clone());
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while start.elapsed() < time {
                let asked = Instant::now();
                call(peer.clone()).await?;
                waits.push(asked.elapsed());
            }
            anyhow::Ok(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(done) = tasks.join_next().await {
        waits.append(&mut done??);
    }
    Ok(Round { rate: waits.len() as f64 / start.elapsed().as_secs_f64(), waits })
}

/// Orders up to `n` videos of distinct prompts, for at most `time`, each until its first snapshot; their names.
pub(crate) async fn order(channels: &[Channel], n_each: usize, n: u64, time: Duration) -> Result<Vec<String>> {
    static PROMPTS: AtomicU64 = AtomicU64::new(0);
    let start = Instant::now();
    let end = PROMPTS.load(Ordering::Relaxed) + n;
    let mut tasks = JoinSet::new();
    for channel in channels.iter().flat_map(|channel| std::iter::repeat_n(channel, n_each)) {
        let mut client = GenerationServiceClient::new(channel.clone());
        tasks.spawn(async move {
            let mut names = Vec::new();
            while start.elapsed() < time {
                let number = PROMPTS.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    break;
                }
                let prompt =
                    format!("take {number}: a lighthouse in a storm, waves as high as houses, seen from a small boat");
                let request = GenerateVideoRequest { prompt, ..GenerateVideoRequest::default() };
                let mut stream = client.generate_video(request).await?.into_inner();
                names.extend(stream.message().await?.and_then(|message| message.generation).map(|known| known.name));
            }
            anyhow::Ok(names)
        });
    }
    let mut names = Vec::new();
    while let Some(done) = tasks.join_next().await {
        names.append(&mut done??);
    }
    PROMPTS.fetch_max(end, Ordering::Relaxed);
    Ok(names)
}

/// Waits until no generation is left in any of these states, at most a minute; false if some are.
pub(crate) async fn none_left(channel: &Channel, states: &[State]) -> Result<bool> {
    let mut client = GenerationServiceClient::new(channel.clone());
    let states: Vec<i32> = states.iter().map(|state| *state as i32).collect();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        let request =
            ListGenerationsRequest { states: states.clone(), page_size: 1, ..ListGenerationsRequest::default() };
        if client.list_generations(request).await?.into_inner().generations.is_empty() {
            return Ok(true);
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(false)
}

/// Every state that is not an end.
pub(crate) const UNFINISHED: [State; 5] =
    [State::Queued, State::Running, State::Storing, State::Cancelling, State::Unresolved];
