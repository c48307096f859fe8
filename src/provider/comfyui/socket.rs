//! Progress by websocket, without a task of its own: a poll reads what came since the last one.
//!
//! A running job's socket is kept between polls, so nothing is missed while it is being asked after; whichever process polls opens its
//! own, and the job's state never depends on one. The server sends a job's messages only to the client that the order named, and forgets
//! a client whose second socket outlives its first: a socket that stays silent is therefore dropped, and the next poll opens another.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use reqwest::{Client, Upgraded};
use serde_json::Value;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};
use url::Url;

use super::seen::Seen;

/// Longest wait for a socket, and then for the first word about the job.
const OPENING: Duration = Duration::from_secs(2);
const FIRST_WORD: Duration = Duration::from_millis(500);
/// A socket that is not asked for this long is of a job that nobody asks after here any more.
const UNUSED: Duration = Duration::from_secs(120);
/// A socket of a running job that tells nothing for this long may have been forgotten by the server.
const SILENT: Duration = Duration::from_secs(60);
/// Sockets kept; the server works on one job at a time, so there are few.
const MOST_SOCKETS: usize = 16;
/// Frames read by one poll, and bytes of one: a preview picture may be among them.
const MOST_FRAMES: usize = 10_000;
const MOST_FRAME_BYTES: usize = 16 << 20;

/// How far a running job is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Glance {
    /// 0 to 99.
    pub(super) percent: Option<u8>,
    /// The node at work.
    pub(super) phase: Option<String>,
}

/// The sockets of running jobs.
pub(super) struct Sockets {
    client: Client,
    headers: HeaderMap,
    kept: Mutex<HashMap<String, Kept>>,
}

struct Kept {
    socket: WebSocketStream<Upgraded>,
    seen: Seen,
    heard_at: Instant,
    used_at: Instant,
}

impl Sockets {
    /// `client` speaks HTTP/1.1; `headers` carry the key.
    pub(super) fn new(client: Client, headers: HeaderMap) -> Self {
        Self { client, headers, kept: Mutex::default() }
    }

    /// What is known of a running job. Never an error: without a socket there is no progress to tell, and the queue still says the state.
    pub(super) async fn glance(&self, base: &Url, job: &str, client_id: &str, graph: &Value) -> Glance {
        let kept = self.take(job);
        let mut kept = match kept {
            Some(kept) => kept,
            None => match timeout(OPENING, self.open(base, client_id)).await {
                Ok(Some(socket)) => {
                    let now = Instant::now();
                    let mut kept = Kept { socket, seen: Seen::default(), heard_at: now, used_at: now };
                    // Whoever asks only once should learn something, too.
                    let _ = timeout(FIRST_WORD, kept.hear_one(job)).await;
                    kept
                }
                Ok(None) | Err(_) => return Glance::default(),
            },
        };
        let is_open = kept.hear_all(job);
        let glance = Glance { percent: kept.seen.percent(graph), phase: kept.seen.phase(graph) };
        if is_open && kept.heard_at.elapsed() < SILENT {
            self.keep(job, kept);
        }
        glance
    }

    /// The job is over.
    pub(super) fn forget(&self, job: &str) {
        self.kept().remove(job);
    }

    fn take(&self, job: &str) -> Option<Kept> {
        let mut kept = self.kept();
        kept.retain(|_, kept| kept.used_at.elapsed() < UNUSED);
        kept.remove(job)
    }

    fn keep(&self, job: &str, mut socket: Kept) {
        socket.used_at = Instant::now();
        let mut kept = self.kept();
        if kept.len() < MOST_SOCKETS {
            kept.insert(job.to_owned(), socket);
        }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        // No code panics while it holds the lock, so a poisoned one still guards whole data.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self, base: &Url, client_id: &str) -> Option<WebSocketStream<Upgraded>> {
        let mut url = Url::parse(&format!("{}/ws", base.as_str().trim_end_matches('/'))).ok()?;
        url.query_pairs_mut().append_pair("clientId", client_id);
        let key = generate_key();
        let request = self.client.get(url).headers(self.headers.clone());
        let request = request.header(CONNECTION, HeaderValue::from_static("Upgrade"));
        let request = request.header(UPGRADE, HeaderValue::from_static("websocket"));
        let request = request.header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        let response = request.header(SEC_WEBSOCKET_KEY, &key).send().await.ok()?;
        let accepted =
            response.headers().get(SEC_WEBSOCKET_ACCEPT)?.as_bytes() == derive_accept_key(key.as_bytes()).as_bytes();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS || !accepted {
            return None;
        }
        let upgraded = response.upgrade().await.ok()?;
        let config =
            WebSocketConfig::default().max_message_size(Some(MOST_FRAME_BYTES)).max_frame_size(Some(MOST_FRAME_BYTES));
        Some(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await)
    }
}

impl Kept {
    /// Waits for the first word about the job.
    async fn hear_one(&mut self, job: &str) {
        while let Some(Ok(message)) = self.socket.next().await {
            if self.hear(job, &message) {
                return;
            }
        }
    }

    /// Reads whatever has come; false once the socket is closed.
    fn hear_all(&mut self, job: &str) -> bool {
        for _ in 0..MOST_FRAMES {
            match self.socket.next().now_or_never() {
                Some(Some(Ok(message))) => drop(self.hear(job, &message)),
                Some(Some(Err(_)) | None) => return false,
                None => return true,
            }
        }
        true
    }

    fn hear(&mut self, job: &str, message: &Message) -> bool {
        // Previews and texts of nodes come as binary frames.
        let is_ours = message.is_text() && message.to_text().is_ok_and(|text| self.seen.hear(job, text));
        if is_ours {
            self.heard_at = Instant::now();
        }
        is_ours
    }
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sockets({})", self.kept().len())
    }
}
