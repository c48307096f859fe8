//! The accept loop: HTTP/1.1 and HTTP/2 without TLS (h2c) on one port.
//!
//! An own loop, because neither axum's nor tonic's server lets one set all of: HTTP/2 windows and streams, timers, a cap on connections,
//! and an end that is bounded also when a peer never closes.

mod awaiting;
mod peer;

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, response::Response};
use http::Version;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};
use tracing::{debug, warn};

use self::{
    awaiting::{Awaiting, UnderWay},
    peer::Peer,
};
use super::patience::Mark;
use crate::lifecycle::{Drain, LAST_CALL, OnFailure, OnShutdown, Policy, Tasks};

/// A connection's task ends with its connection; a failure in it is its caller's alone.
const CONNECTION: Policy = Policy { on_shutdown: OnShutdown::Wait, on_failure: OnFailure::Log };

/// Streams open on one HTTP/2 connection. Hyper's 200 would make a client with many watches open many connections.
const MAX_CONCURRENT_STREAMS: u32 = 2000;
/// How much a peer may send ahead. Fixed, not adaptive: an adaptive window starts at 64 KiB, and h2 lets small messages that nobody has read
/// yet take half of it, counted generously. Some 130 requests at once on one connection would then end it with `ENHANCE_YOUR_CALM`.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// An idle HTTP/2 peer is asked for a sign of life this often, and given up without an answer.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// What is served: it answers every request, one way or another.
pub trait App:
    Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<A> App for A where
    A: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
{
}

/// Bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections; beyond it new ones wait in the operating system's queue.
    pub max_connections: usize,
    /// Longest time an HTTP/1.1 peer may take to send a request's head, idle time between requests included.
    pub header_read_timeout: Duration,
    /// Longest time for which a peer may take nothing of an answer, as no reader pauses for.
    pub write_timeout: Duration,
    /// From closing on, calls under way may take this long before their connection is cut.
    pub close_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            header_read_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(120),
            close_within: LAST_CALL + Duration::from_secs(2),
        }
    }
}

/// Serves `app` until the doors close and its connections have ended, or been cut.
///
/// Closing stops accepting, then lets every connection finish what it is doing (HTTP/2 peers are told by GOAWAY) for
/// [`Limits::close_within`].
pub async fn serve<A: App>(listener: TcpListener, app: A, drain: Drain, tasks: &Tasks, limits: Limits) {
    let _door = drain.open_door();
    let graceful = GracefulShutdown::new();
    let cut = CancellationToken::new();
    let _cut_on_drop = cut.clone().drop_guard();

    let acceptor = Acceptor { listener, free: Arc::new(Semaphore::new(limits.max_connections)) };
    let builder = connection_builder(limits);
    let closing = drain.closing();
    tokio::pin!(closing);
    loop {
        let (stream, slot) = tokio::select! {
            biased;
            () = &mut closing => break,
            accepted = acceptor.accept() => accepted,
        };
        let connection = Connection { stream, drain: drain.clone(), cut: cut.clone(), _slot: slot };
        tasks.spawn(
            "connection",
            CONNECTION,
            connection.serve(builder.clone(), app.clone(), graceful.watcher(), limits),
        );
    }
    // Closes the port, so that peers are refused at once and go elsewhere.
    drop(acceptor);
    if time::timeout(limits.close_within, graceful.shutdown()).await.is_err() {
        warn!("cutting connections whose calls did not end in time");
    }
}

fn connection_builder(limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_timeout)
        // A peer that has said all it has to say still wants its answer.
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

/// One peer. Its place is free again when this is dropped.
struct Connection {
    stream: TcpStream,
    drain: Drain,
    cut: CancellationToken,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve<A: App>(self, builder: auto::Builder<TokioExecutor>, app: A, watcher: Watcher, limits: Limits) {
        // Small messages must not wait for the peer's acknowledgement of the one before.
        if let Err(error) = self.stream.set_nodelay(true) {
            debug!(%error, "no TCP_NODELAY");
        }
        // Hyper's timers start only once the protocol is known, so a silent peer would keep its place for ever.
        tokio::select! {
            () = self.drain.closing() => return,
            spoken = time::timeout(limits.header_read_timeout, protocol_is_clear(&self.stream)) => match spoken {
                Ok(Ok(())) => (),
                Ok(Err(error)) => return debug!(%error, "connection lost before its first byte"),
                Err(_) => return debug!("peer said nothing"),
            },
        }
        let unread = Mark::default();
        let call = UnderWay::default();
        let answered = call.clone();
        let peer = Peer::new(self.stream, unread.clone(), Awaiting::new(call.clone()), limits.write_timeout);
        // On HTTP/2 a stream ends by itself; only on HTTP/1.1 an unread body is in the way of everything.
        let service = app.map_request(move |mut request: Request<Incoming>| {
            if request.version() < Version::HTTP_2 {
                request.extensions_mut().insert(unread.clone());
            }
            // HTTP/1.0 knows no interim answers.
            if request.version() == Version::HTTP_11 {
                call.begin();
            }
            request.map(Body::new)
        });
        let service = service.map_response(move |response| {
            answered.end();
            response
        });
        let connection = builder.serve_connection(TokioIo::new(peer), TowerToHyperService::new(service)).into_owned();
        match self.cut.run_until_cancelled(watcher.watch(connection)).await {
            Some(Ok(())) | None => (),
            Some(Err(error)) => debug!(error, "connection ended early"),
        }
    }
}

/// Returns once the bytes received, which stay unread, are the whole HTTP/2 preface or differ from it.
async fn protocol_is_clear(stream: &TcpStream) -> io::Result<()> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // A preface comes in one packet; only a peer that dribbles is looked at again.
    const LOOK_AGAIN: Duration = Duration::from_millis(20);
    let mut start = [0; PREFACE.len()];
    loop {
        let n_bytes = stream.peek(&mut start).await?;
        if n_bytes == 0 || n_bytes == PREFACE.len() || !PREFACE.starts_with(&start[..n_bytes]) {
            return Ok(());
        }
        time::sleep(LOOK_AGAIN).await;
    }
}

struct Acceptor {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

impl Acceptor {
    /// The next peer and its place. Safe to drop at any time.
    async fn accept(&self) -> (TcpStream, OwnedSemaphorePermit) {
        // The semaphore is never closed, so an error cannot be; waiting for ever would be the right answer to it.
        let Ok(slot) = Arc::clone(&self.free).acquire_owned().await else { std::future::pending().await };
        let mut n_failures = 0;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, slot),
                Err(error) => {
                    let pause = pause_after(&error, n_failures);
                    n_failures += 1;
                    if !pause.is_zero() {
                        warn!(%error, ?pause, "cannot accept connections");
                    }
                    time::sleep(pause).await;
                }
            }
        }
    }
}

/// Errors of one peer's making need no pause. Others (no file descriptors, no memory) last, and without a pause would take a whole core.
fn pause_after(error: &io::Error, n_failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(1);
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    match error.kind() {
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted => Duration::ZERO,
        _ => FIRST.saturating_mul(1 << n_failures.min(10)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests;
