//! Somebody who is called back: keeps what comes, and answers as the test says.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header::LOCATION},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use standardwebhooks::Webhook;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};

use super::server::SOON;

/// How one call is answered.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Status(u16),
    /// To another path of this receiver.
    Redirect,
    Hang,
    /// With 200, once the test lets it.
    Held(Arc<Semaphore>),
}

/// The receiver. What is not scripted is answered with 200.
pub(crate) struct Receiver {
    authority: String,
    calls: mpsc::UnboundedReceiver<Call>,
    _serving: JoinSet<()>,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Clone)]
struct Script {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    calls: mpsc::UnboundedSender<Call>,
}

impl Receiver {
    /// On a port of its own; the first calls are answered with `replies`.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let (sender, calls) = mpsc::unbounded_channel();
        let script = Script { replies: Arc::new(Mutex::new(replies.into_iter().collect())), calls: sender };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(receive).with_state(script);
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { authority, calls, _serving: serving }
    }

    /// Its address, with a path and a query that are nobody else's business.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook-of-mine?token=hidden-token", self.authority)
    }

    pub(crate) async fn next(&mut self) -> Call {
        timeout(SOON, self.calls.recv()).await.expect("a callback comes").unwrap()
    }

    /// Calls that nobody has looked at yet.
    pub(crate) fn n_unseen(&self) -> usize {
        self.calls.len()
    }
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The name of the generation it is about.
    pub(crate) fn name(&self) -> String {
        self.json()["data"]["name"].as_str().unwrap().to_owned()
    }

    /// Whether the scheme's own library takes it, and so does the scheme's text: HMAC-SHA-256 of `{id}.{timestamp}.{body}`.
    pub(crate) fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.", self.header("webhook-id"), self.header("webhook-timestamp")).as_bytes());
        mac.update(&self.body);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let by_hand = self.header("webhook-signature").split(' ').any(|signature| signature == expected);
        let by_library = Webhook::new(secret).unwrap().verify(&self.body, &self.headers).is_ok();
        assert_eq!(by_hand, by_library);
        by_hand
    }
}

async fn receive(State(script): State<Script>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let reply = script.replies.lock().unwrap().pop_front().unwrap_or(Reply::Status(200));
    script.calls.send(Call { uri, headers, body }).unwrap();
    match reply {
        Reply::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Reply::Redirect => (StatusCode::PERMANENT_REDIRECT, [(LOCATION, "/elsewhere")]).into_response(),
        Reply::Hang => std::future::pending().await,
        Reply::Held(gate) => {
            gate.acquire().await.unwrap().forget();
            StatusCode::OK.into_response()
        }
    }
}
