//! Streams of messages as server-sent events, JSON lines, or one JSON list.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body as HttpBody,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
};
use prost_reflect::{DynamicMessage, Value};
use serde_json::{Map, json};
use tokio::time::{Instant, timeout};
use tonic::{Status, Streaming};

use super::{Call, error::Refused, metadata, routes::Sequence};

/// After so much silence a comment is sent, so that nobody on the way takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The number of the last event that the caller has.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What a caller would like of an answer, and what of it was heeded (RFC 7240).
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// Tells proxies of the usual kind not to hold events back.
const NO_BUFFER: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Makes a call and answers with its stream, in the form that `headers` ask for.
///
/// # Errors
/// The call is refused before its first message; later errors are told within the stream.
pub(super) async fn serve(
    call: Call,
    mut message: DynamicMessage,
    sequence: Option<&'static Sequence>,
    headers: &HeaderMap,
) -> Result<Response, Refused> {
    let deadline = sequence.and_then(|_| Instant::now().checked_add(wait(headers)?));
    let seen = sequence.map_or(Ok(None), |_| last_event_id(headers))?;
    if let (Some(after), Some(seen)) = (sequence.and_then(|sequence| sequence.after.as_ref()), seen)
        && message.get_field(after).as_i64() == Some(0)
    {
        message.set_field(after, Value::I64(seen));
    }
    let format = Format::asked_for(headers);
    let answer = call.messages(message).await?;
    let mut told = metadata::to_headers(answer.metadata());
    told.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    told.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    told.insert(NO_BUFFER, HeaderValue::from_static("no"));

    if deadline.is_some() {
        told.insert(PREFERENCE_APPLIED, HeaderValue::from_static("wait"));
    }
    let mut messages = Messages { stream: answer.into_inner(), sequence, seen };
    // A call may be refused in the place of its first message: then the answer is a status, not a stream.
    // Whoever has seen nothing is told the first of it, however short they wait: it says what was begun.
    let patience = if seen.is_some() { patience(deadline) } else { KEEP_ALIVE };
    let first = match timeout(patience, messages.next()).await {
        Ok(Ok(Some(first))) => First::Message(Box::new(first)),
        // Whoever has seen everything is told so, and an EventSource does not ask again.
        Ok(Ok(None)) if seen.is_some() => return Ok((StatusCode::NO_CONTENT, told_without_type(told)).into_response()),
        Ok(Ok(None)) => First::End,
        Ok(Err(status)) => return Err(status.into()),
        Err(_) => First::Silence,
    };
    Ok((told, body(messages, first, format, deadline)).into_response())
}

/// How long the caller waits for the end. What is not understood is no preference.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let texts = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let named = texts.flat_map(|text| text.split([',', ';'])).filter_map(|one| one.split_once('='));
    let (_, seconds) = named.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// How long nothing may be sent.
fn patience(deadline: Option<Instant>) -> Duration {
    deadline.map_or(KEEP_ALIVE, |deadline| KEEP_ALIVE.min(deadline.saturating_duration_since(Instant::now())))
}

fn told_without_type(mut headers: HeaderMap) -> HeaderMap {
    headers.remove(CONTENT_TYPE);
    headers
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Refused> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok()).filter(|number| *number >= 0);
    number
        .map(Some)
        .ok_or_else(|| Refused::field("Last-Event-ID", "must be the id of an event of this stream, a number"))
}

/// The messages of a call that the caller has not seen.
struct Messages {
    stream: Streaming<DynamicMessage>,
    sequence: Option<&'static Sequence>,
    seen: Option<i64>,
}

impl Messages {
    /// The next one; none at the end. Nothing is lost if this is not waited for to its end.
    async fn next(&mut self) -> Result<Option<DynamicMessage>, Status> {
        loop {
            match self.stream.message().await? {
                Some(message) if self.is_seen(&message) => {}
                other => return Ok(other),
            }
        }
    }

    fn is_seen(&self, message: &DynamicMessage) -> bool {
        self.seen.is_some_and(|seen| self.number(message).is_some_and(|number| number <= seen))
    }

    fn number(&self, message: &DynamicMessage) -> Option<i64> {
        self.sequence.and_then(|sequence| sequence.number_in(message))
    }

    /// What is said after the end.
    async fn trailers(&mut self) -> Map<String, serde_json::Value> {
        let trailers = self.stream.trailers().await.ok().flatten().unwrap_or_default();
        let headers = metadata::to_headers(&trailers);
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        headers.iter().map(|(name, value)| (name.to_string(), text(value).into())).collect()
    }
}

/// What is known of a stream when its answer begins.
enum First {
    Message(Box<DynamicMessage>),
    Silence,
    End,
}

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Server-sent events (WHATWG HTML).
    Events,
    /// One JSON object a line.
    Lines,
    /// One JSON list, sent as it grows.
    List,
}

impl Format {
    /// Events, unless another form is named and events are not.
    fn asked_for(headers: &HeaderMap) -> Self {
        let accepted: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let accepted = accepted.join(",").to_ascii_lowercase();
        let names = |media_type| {
            accepted.split(',').any(|one| one.split(';').next().is_some_and(|one| one.trim() == media_type))
        };
        match () {
            () if names("text/event-stream") => Self::Events,
            () if names("application/x-ndjson") || names("application/jsonl") => Self::Lines,
            () if names("application/json") && !names("*/*") => Self::List,
            () => Self::Events,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Lines => "application/x-ndjson",
            Self::List => "application/json",
        }
    }

    fn message(self, message: &DynamicMessage, number: Option<i64>, is_first: bool) -> Vec<u8> {
        // Only a map with keys that are no text could fail, and the contract has none.
        let json = serde_json::to_string(message).unwrap_or_else(|_| "{}".to_owned());
        match (self, number) {
            (Self::Events, Some(number)) => format!("id: {number}\ndata: {json}\n\n"),
            (Self::Events, None) => format!("data: {json}\n\n"),
            (Self::Lines, _) => format!("{json}\n"),
            (Self::List, _) => format!("{}{json}", if is_first { "[" } else { ",\n" }),
        }
        .into_bytes()
    }

    fn silence(self) -> Vec<u8> {
        match self {
            Self::Events => b": nothing new\n\n".to_vec(),
            // Blanks mean nothing in both.
            Self::Lines | Self::List => b"\n".to_vec(),
        }
    }

    fn error(self, refused: &Refused, is_first: bool) -> Vec<u8> {
        let json = refused.body();
        match self {
            Self::Events => {
                let retry = refused.retry().map(|delay| format!("retry: {}\n", delay.as_millis())).unwrap_or_default();
                format!("event: error\n{retry}data: {json}\n\n")
            }
            Self::Lines => format!("{json}\n"),
            Self::List => format!("{}{json}]\n", if is_first { "[" } else { ",\n" }),
        }
        .into_bytes()
    }

    fn end(self, trailers: &Map<String, serde_json::Value>, is_first: bool) -> Vec<u8> {
        match self {
            Self::Events => format!("event: end\ndata: {}\n\n", json!(trailers)).into_bytes(),
            Self::Lines => Vec::new(),
            Self::List => if is_first { "[]\n" } else { "]\n" }.into(),
        }
    }
}

/// Where the body of an answer is.
enum Stage {
    First(First),
    Going,
    Ended,
}

struct Writer {
    messages: Messages,
    format: Format,
    stage: Stage,
    n_written: u64,
    /// When the answer ends, whatever becomes of the stream.
    deadline: Option<Instant>,
}

fn body(messages: Messages, first: First, format: Format, deadline: Option<Instant>) -> HttpBody {
    let writer = Writer { messages, format, stage: Stage::First(first), n_written: 0, deadline };
    let frames = stream::unfold(Box::new(writer), async |mut writer| {
        let bytes = writer.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(bytes)), writer))
    });
    HttpBody::from_stream(frames)
}

impl Writer {
    async fn next(&mut self) -> Option<Vec<u8>> {
        match std::mem::replace(&mut self.stage, Stage::Going) {
            Stage::First(First::Message(message)) => Some(self.write(&message)),
            Stage::First(First::Silence) => Some(self.format.silence()),
            Stage::First(First::End) => self.end().await,
            Stage::Going if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                self.stage = Stage::Ended;
                Some(self.format.end(&Map::new(), self.n_written == 0)).filter(|bytes| !bytes.is_empty())
            }
            Stage::Going => match timeout(patience(self.deadline), self.messages.next()).await {
                Ok(Ok(Some(message))) => Some(self.write(&message)),
                Ok(Ok(None)) => self.end().await,
                Ok(Err(status)) => {
                    self.stage = Stage::Ended;
                    Some(self.format.error(&Refused::mid_stream(&status), self.n_written == 0))
                }
                Err(_) => Some(self.format.silence()),
            },
            Stage::Ended => {
                self.stage = Stage::Ended;
                None
            }
        }
    }

    fn write(&mut self, message: &DynamicMessage) -> Vec<u8> {
        let is_first = self.n_written == 0;
        self.n_written += 1;
        self.format.message(message, self.messages.number(message), is_first)
    }

    async fn end(&mut self) -> Option<Vec<u8>> {
        self.stage = Stage::Ended;
        let trailers = self.messages.trailers().await;
        Some(self.format.end(&trailers, self.n_written == 0)).filter(|bytes| !bytes.is_empty())
    }
}
