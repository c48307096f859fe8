//! What lies between a vendor and our server, as a proxy does: it keeps the webhooks that come, and passes them on as they are, changed,
//! late or twice.

use std::sync::Arc;

use axum::{Router, body::Bytes, extract::State, http::Uri};
use reqwest::{Method, Response, StatusCode, header::HeaderMap};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::timeout,
};

use super::server::{SOON, Server, Setup};

/// Below which our server is said to be.
const PREFIX: &str = "/behind/a/proxy";

/// A proxy in front of a server. Dropping it ends it.
pub(crate) struct Relay {
    url: String,
    letters: Mutex<mpsc::Receiver<Letter>>,
    http: reqwest::Client,
    _serving: JoinSet<()>,
}

/// A webhook on its way.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    /// Below the proxy's prefix.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Relay {
    pub(crate) async fn start() -> Self {
        let (sender, letters) = mpsc::channel(1000);
        let router = Router::new().fallback(keep).with_state(Arc::new(sender));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{PREFIX}", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, letters: Mutex::new(letters), http: reqwest::Client::new(), _serving: serving }
    }

    /// Servers with this public address, and Replicate, whose jobs are polled so rarely that a test would not live to see it.
    pub(crate) fn setup(&self, base_url: &str) -> Setup {
        self.before(Setup::replicate(base_url))
    }

    /// The same with any vendor.
    pub(crate) fn before(&self, setup: Setup) -> Setup {
        setup
            .with("FILMGATE_PUBLIC_URL", &self.url)
            .with("FILMGATE_POLL_INTERVAL", "10m")
            .with("FILMGATE_POLL_INTERVAL_MAX", "10m")
            .with("FILMGATE_RETRY_BASE", "10m")
    }

    /// The next webhook of a vendor.
    pub(crate) async fn next(&self) -> Letter {
        timeout(SOON, self.letters.lock().await.recv()).await.expect("a webhook comes").unwrap()
    }

    /// The next webhook about the generation with this id; others are thrown away.
    pub(crate) async fn next_of(&self, id: &str) -> Letter {
        loop {
            let letter = self.next().await;
            if letter.path.contains(id) {
                return letter;
            }
        }
    }

    pub(crate) async fn send(&self, method: Method, letter: &Letter, server: &Server) -> Response {
        let url = format!("http://{}{}", server.addr(), letter.path);
        let request = self.http.request(method, url).headers(letter.headers.clone()).body(letter.body.clone());
        timeout(SOON, request.send()).await.expect("an answer in time").unwrap()
    }

    /// Passes it on; the status of the answer.
    pub(crate) async fn pass(&self, letter: &Letter, server: &Server) -> StatusCode {
        self.send(Method::POST, letter, server).await.status()
    }
}

async fn keep(State(sender): State<Arc<mpsc::Sender<Letter>>>, uri: Uri, mut headers: HeaderMap, body: Bytes) {
    for name in ["host", "content-length"] {
        headers.remove(name);
    }
    let path = uri.path().strip_prefix(PREFIX).expect("the public address has a path").to_owned();
    sender.send(Letter { path, headers, body }).await.unwrap();
}
