//! HTTP as adapters use it: one pooled client a vendor, capped bodies, and one place that turns an outcome into a
//! `ProviderError`.
//!
//! Invariant: nothing here retries. An answer that was lost after a submit was sent is `Effect::Maybe`, whatever lost
//! it.

pub mod base64;
pub mod inputs;
pub mod lenient;
pub mod links;
pub mod outcome;
pub mod sse;
pub mod talk;
pub mod text;

use std::{error::Error, time::Duration};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect::Policy};
use serde::de::DeserializeOwned;

use crate::{
    domain::names::ProviderId,
    failpoint::{self, Point},
};

use self::outcome::Call;
use super::error::{ErrorKind, ProviderError, SetupError};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of an ordinary answer.
pub const ANSWER_CAP: usize = 4 << 20;
/// Most bytes of an answer that may hold files as data URIs.
pub const INLINE_CAP: usize = 64 << 20;

/// A vendor's API over one pool of connections.
#[derive(Debug, Clone)]
pub struct Http {
    provider: ProviderId,
    client: Client,
    timeout: Duration,
}

/// What a vendor answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// What its `Retry-After` header asks for.
    pub retry_after: Option<Duration>,
    /// All its headers.
    pub headers: HeaderMap,
    /// Its body; cut short only if the status is an error.
    pub body: Bytes,
}

impl Http {
    /// A client whose calls end after `timeout`, bodies included, unless the request has its own.
    pub fn new(provider: &ProviderId, timeout: Duration) -> Result<Self, SetupError> {
        let client = client(provider, |builder| builder)?;
        Ok(Self { provider: provider.clone(), client, timeout })
    }

    /// The client, for building requests.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The provider whose errors it makes.
    pub fn provider(&self) -> &ProviderId {
        &self.provider
    }

    /// Sends `request` and reads at most `cap` bytes of its answer, whatever the status.
    pub async fn exchange(&self, call: Call, request: RequestBuilder, cap: usize) -> Result<Answer, ProviderError> {
        let mut request = request.build().map_err(|error| self.lost(call, error))?;
        request.timeout_mut().get_or_insert(self.timeout);
        let response = self.client.execute(request).await.map_err(|error| self.lost(call, error))?;
        if call == Call::Submit {
            failpoint::reach(Point::ReceiveBefore);
        }
        self.answer(call, response, cap).await
    }

    /// Reads at most `cap` bytes of an answer.
    async fn answer(&self, call: Call, mut response: Response, cap: usize) -> Result<Answer, ProviderError> {
        let (status, retry_after) = (response.status(), outcome::retry_after_header(response.headers()));
        let headers = std::mem::take(response.headers_mut());
        let body = match read(&mut response, cap).await {
            Ok(body) => body,
            // The status says enough; its explanation is a nicety.
            Err(Unread::TooLarge(start)) if !status.is_success() => start,
            Err(Unread::Broken(_)) if !status.is_success() => Bytes::new(),
            Err(Unread::TooLarge(_)) => {
                return Err(self.broken(call, format!("answered more than {cap} bytes to {}", call.words())));
            }
            Err(Unread::Broken(error)) => return Err(self.lost(call, error)),
        };
        Ok(Answer { status, retry_after, headers, body })
    }

    /// The answer's JSON.
    pub fn json<T: DeserializeOwned>(&self, call: Call, answer: &Answer) -> Result<T, ProviderError> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            let what =
                if text::is_html(&answer.body) { "an HTML page" } else { "something that is not the JSON agreed" };
            // serde's own text may quote the body.
            self.broken(call, format!("answered {what} to {}", call.words())).caused_by(format!(
                "{:?} at line {} column {}",
                error.classify(),
                error.line(),
                error.column()
            ))
        })
    }

    /// The answer's JSON, which is one record; some servers wrap it in a list of one.
    pub fn record<T: DeserializeOwned>(&self, call: Call, answer: &Answer) -> Result<T, ProviderError> {
        if answer.body.trim_ascii_start().first() == Some(&b'[') {
            let [record] = self.json::<[T; 1]>(call, answer)?;
            return Ok(record);
        }
        self.json(call, answer)
    }

    /// The vendor broke its contract in a good answer.
    pub fn broken(&self, call: Call, what: impl Into<String>) -> ProviderError {
        ProviderError::new(&self.provider, ErrorKind::Protocol, call.lost(), what)
    }

    fn lost(&self, call: Call, error: reqwest::Error) -> ProviderError {
        outcome::lost(&self.provider, call, error)
    }
}

/// A client as every adapter wants it: no redirects, because a redirected POST may be sent twice and a redirected key
/// may be stolen.
fn client(
    provider: &ProviderId,
    adjust: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<Client, SetupError> {
    let builder = Client::builder()
        .user_agent(concat!("filmgate/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(Policy::none());
    adjust(builder).build().map_err(|error| {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        SetupError::new(provider, format!("no HTTP client could be made: {error} {cause}"))
    })
}

/// A client for connections that are to be upgraded, which HTTP/2 cannot.
pub fn http1_client(provider: &ProviderId) -> Result<Client, SetupError> {
    client(provider, |builder| builder.http1_only())
}

enum Unread {
    TooLarge(Bytes),
    Broken(reqwest::Error),
}

async fn read(response: &mut Response, cap: usize) -> Result<Bytes, Unread> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(Unread::Broken)? {
        let room = cap - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Err(Unread::TooLarge(body.freeze()));
        }
    }
    Ok(body.freeze())
}
