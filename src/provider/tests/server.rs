//! A server that answers as the test says and remembers what it was asked.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    response::Response,
    serve::ListenerExt,
};
use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpListener;
use url::Url;

/// What the server was asked.
#[derive(Debug, Clone)]
pub(in crate::provider) struct Asked {
    /// Method, path and query, for example `GET /v1/predictions/x`.
    pub(in crate::provider) line: String,
    /// The server's own address as the caller knows it.
    pub(in crate::provider) host: String,
    /// The key that came with it.
    pub(in crate::provider) authorization: Option<String>,
    /// Media type of the body.
    pub(in crate::provider) content_type: String,
    /// The body.
    pub(in crate::provider) body: Bytes,
}

impl Asked {
    pub(in crate::provider) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What the server answers.
#[derive(Debug, Clone)]
pub(in crate::provider) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Reply {
    pub(in crate::provider) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub(in crate::provider) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, body.to_string()).with("content-type", "application/json")
    }

    pub(in crate::provider) fn with(mut self, header: &'static str, value: impl fmt::Display) -> Self {
        self.headers.push((header, value.to_string()));
        self
    }
}

pub(in crate::provider) struct Server {
    /// Where its API is.
    pub(in crate::provider) base: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
    n_connections: Arc<AtomicUsize>,
}

impl Server {
    /// Answers with what `answer` says until the test ends.
    pub(in crate::provider) async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Url::parse(&format!("http://{}/v1", listener.local_addr().unwrap())).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let n_connections = Arc::new(AtomicUsize::new(0));
        let (record, count, answer) = (asked.clone(), n_connections.clone(), Arc::new(answer));
        let app = Router::new().fallback(move |request: Request| {
            let (record, answer) = (record.clone(), answer.clone());
            async move {
                let request = read(request).await;
                let reply = answer(&request);
                record.lock().unwrap().push(request);
                write(reply)
            }
        });
        let listener = listener.tap_io(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { base, asked, n_connections }
    }

    /// Answers everything with the same.
    pub(in crate::provider) async fn always(reply: Reply) -> Self {
        Self::start(move |_| reply.clone()).await
    }

    pub(in crate::provider) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(in crate::provider) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    pub(in crate::provider) fn n_connections(&self) -> usize {
        self.n_connections.load(Ordering::Relaxed)
    }

    /// An address at this server's root.
    pub(in crate::provider) fn at(&self, path: &str) -> Url {
        self.base.join(path).unwrap()
    }
}

async fn read(request: Request) -> Asked {
    let (parts, body) = request.into_parts();
    let header = |name| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    Asked {
        line: format!("{} {}", parts.method, parts.uri),
        host: header("host").unwrap_or_default(),
        authorization: header("authorization"),
        content_type: header("content-type").unwrap_or_default(),
        body: to_bytes(body, 1 << 30).await.unwrap(),
    }
}

fn write(reply: Reply) -> Response {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap()
}
