//! Counts and times every call, from its head to the end of its answer.

use std::{
    borrow::Cow,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tracing::{Instrument, Span, debug, debug_span, field, info_span};

use super::{
    request_id::RequestId,
    which::{Door, rpc},
};
use crate::telemetry::{self, Call, Metrics, UnderWay};

/// Names of gRPC's codes by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
/// What an HTTP call is counted as whose caller went before it was answered, as others count it.
const CALLER_GONE: &str = "499";

/// What is called, if axum's router does not know: a door that routes by itself puts this into its answer's extensions.
///
/// Never a path as it was sent: each value is a series of its own.
#[derive(Debug, Clone)]
pub(super) struct Template(pub(super) Arc<str>);

/// Measures calls of gRPC. [`Door`] must be in the request's extensions.
pub(super) async fn grpc(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let door = request.extensions().get().copied().unwrap_or(Door::Grpc);
    let route = rpc(request.uri().path()).map_or_else(unknown, |rpc| Arc::clone(&rpc.name));
    let mut measured = Measured::start(metrics, door, route);
    let answer = next.run(request).await;
    if let Some(code) = code_in(answer.headers()) {
        measured.status = code.into();
    }
    answer.map(|body| Body::new(Told { body, measured }))
}

/// Measures a call of another door, in a span of its own, which belongs to the caller's trace.
pub(super) async fn http<F>(metrics: Metrics, request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let door = Door::of(&request);
    let method = method(request.method());
    let path = request.extensions().get::<MatchedPath>();
    let route = path.map_or_else(unknown, |path| format!("{method} {}", path.as_str()).into());
    let span = span(&request, method);
    let mut measured = Measured::start(metrics, door, route);
    let answer = next(request).instrument(span.clone()).await;
    if let Some(Template(route)) = answer.extensions().get() {
        measured.route = Arc::clone(route);
    }
    measured.status = digits(answer.status());
    span.record("http.route", &*measured.route);
    span.in_scope(|| debug!(status = answer.status().as_u16(), "answered"));
    answer.map(|body| Body::new(Told { body, measured }))
}

fn span(request: &Request, method: &'static str) -> Span {
    let id = RequestId::current();
    let id = id.as_str();
    // Probes come every few seconds and tell no story.
    if Door::of(request) == Door::Probes {
        return debug_span!("http", http.method = method, http.route = field::Empty, request_id = id);
    }
    let span = info_span!(
        "http",
        otel.kind = "server",
        http.method = method,
        http.route = field::Empty,
        request_id = id,
        generation.name = field::Empty
    );
    telemetry::join_trace(&span, request.headers());
    span
}

fn unknown() -> Arc<str> {
    static UNKNOWN: LazyLock<Arc<str>> = LazyLock::new(|| "unknown".into());
    Arc::clone(&UNKNOWN)
}

/// A method's name; anybody may make up others.
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("OTHER")
}

fn digits(status: StatusCode) -> Cow<'static, str> {
    if status == StatusCode::OK { "200".into() } else { status.as_str().to_owned().into() }
}

fn code_in(headers: &HeaderMap) -> Option<&'static str> {
    let number: usize = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    Some(CODES.get(number).copied().unwrap_or("UNKNOWN"))
}

/// A call until its end, which is when this is dropped.
struct Measured {
    metrics: Metrics,
    door: Door,
    route: Arc<str>,
    /// What is told if nothing better is learnt: the caller is gone.
    status: Cow<'static, str>,
    started: Instant,
    _under_way: UnderWay,
}

impl Measured {
    fn start(metrics: Metrics, door: Door, route: Arc<str>) -> Self {
        let _under_way = metrics.call_under_way(door.as_str());
        let status = if door.is_grpc() { "CANCELLED" } else { CALLER_GONE };
        Self { metrics, door, route, status: status.into(), started: Instant::now(), _under_way }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let status = std::mem::take(&mut self.status);
        let call = Call { door: self.door.as_str(), route: Arc::clone(&self.route), status };
        self.metrics.called(call, self.started.elapsed());
    }
}

/// An answer's body on its way out.
struct Told {
    body: Body,
    measured: Measured,
}

impl HttpBody for Told {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(code) = frame.trailers_ref().and_then(code_in)
        {
            self.measured.status = code.into();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
