//! Which half of the house answers, gRPC or HTTP, on one port; and what all doors have in common.
//!
//! The two routers stay apart because tonic's owns its fallback: merged, every unknown HTTP path would get a gRPC answer.
//!
//! From the outside in: the call's id, patience with its body, cross-origin rules; then by content type gRPC, gRPC-Web (gRPC behind a
//! translator) or HTTP (encodings of bodies); innermost the measuring, which must see gRPC's own trailers. These are plain functions where
//! they can be: each layer of a router is boxed, and cloned with all below it, for every call.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, CONNECTION, CONTENT_TYPE},
};
use tokio::time::Instant;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::{
    cors, encoding, hear_out,
    listen::App,
    measure,
    patience::{Bounded, Fate, Mark, USUAL},
    request_id::{self, RequestId},
    which::{Door, essence, rpc},
};
use crate::{config::CorsConfig, telemetry::Metrics};

/// How long the answer of an HTTP call took to begin, in seconds.
pub(super) const PROCESS_TIME: HeaderName = HeaderName::from_static("x-process-time");

/// One application of two: requests with content type `application/grpc*` go to `grpc`, everything else to `http`.
pub fn dispatch(grpc: Router, http: Router, cors: &CorsConfig, metrics: &Metrics) -> impl App + use<> {
    let grpc = grpc.layer(from_fn_with_state(metrics.clone(), measure::grpc));
    let web = GrpcWebLayer::new().layer(grpc.clone());
    let http = encoding::layer(http).layer(from_fn_with_state(metrics.clone(), plain_http));
    let halves = Arc::new(Halves { grpc, web, http, cors: cors.clone() });
    let by_door = service_fn(move |request| Arc::clone(&halves).answer(request));
    let by_door = cors::ruled(by_door, cors);
    service_fn(move |request| envelope(request, by_door.clone()))
}

struct Halves {
    grpc: Router,
    web: GrpcWebService<Router>,
    http: Router,
    cors: CorsConfig,
}

impl Halves {
    async fn answer(self: Arc<Self>, request: Request) -> Result<Response, Infallible> {
        if let Some(refused) = cors::refused(&self.cors, &request) {
            return Ok(refused);
        }
        match Door::of(&request) {
            Door::Grpc => self.grpc.clone().oneshot(request).await,
            Door::GrpcWeb => match plainly(request) {
                Ok(request) => self.web.clone().oneshot(request).await.map(|answer| answer.map(Body::new)),
                Err(refused) => Ok(refused),
            },
            Door::Json | Door::OpenAi | Door::Files | Door::Webhooks | Door::Probes | Door::Unknown => {
                self.http.clone().oneshot(request).await
            }
        }
    }
}

/// What all calls of the doors of HTTP have in common.
async fn plain_http(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let answer = async |request| match encoding::refused(&request) {
        Some(refused) => refused,
        None => next.run(request).await,
    };
    if hear_out::may_talk_on(&request) {
        return measure::http(metrics, request, |request| hear_out::heard_out(request, answer)).await;
    }
    measure::http(metrics, request, answer).await
}

/// What every call gets and every answer carries.
async fn envelope<S>(mut request: Request, mut next: S) -> Result<Response, Infallible>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let started = Instant::now();
    let door = Door::of(&request);
    request.extensions_mut().insert(door);
    let id = RequestId::of(request.headers());
    let (request, fate) = bounded(request, door);
    let mut answer = id.scope(next.call(request)).await?;
    if !door.is_grpc() {
        // Whatever it was refused with: that it did not come is why.
        if fate.stalled.is_set() && !answer.status().is_success() {
            answer = door.refuse(StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT", "the body did not come in time");
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let seconds = format!("{:.6}", started.elapsed().as_secs_f64());
        answer.headers_mut().extend(HeaderValue::try_from(seconds).ok().map(|value| (PROCESS_TIME, value)));
    }
    answer.headers_mut().insert(request_id::HEADER, id.into_header());
    Ok(answer)
}

/// The request with a body that is waited for as long as its door says.
fn bounded(request: Request, door: Door) -> (Request, Fate) {
    let unread = request.extensions().get::<Mark>().cloned().unwrap_or_default();
    let fate = Fate { unread, ..Fate::default() };
    // Who sends a stream of messages does so at its own pace; each such call has bounds of its own.
    let own_pace = door == Door::Grpc && rpc(request.uri().path()).is_some_and(|rpc| rpc.client_streaming);
    let patience = (!own_pace).then_some(USUAL);
    let of_body = fate.clone();
    (request.map(|body| Body::new(Bounded::new(body, patience, of_body))), fate)
}

/// The call with its types as the translator knows them: it compares letter by letter, and answers in binary whoever does not ask.
///
/// # Errors
/// The messages are in another form than protobuf.
#[expect(clippy::result_large_err, reason = "the answer is passed on at once")]
fn plainly(mut request: Request) -> Result<Request, Response> {
    let binary = HeaderValue::from_static("application/grpc-web+proto");
    let text = HeaderValue::from_static("application/grpc-web-text+proto");
    let sent = match essence(request.headers()).as_deref() {
        Some("application/grpc-web" | "application/grpc-web+proto") => &binary,
        Some("application/grpc-web-text" | "application/grpc-web-text+proto") => &text,
        Some(_) | None => {
            let message =
                "of gRPC-Web application/grpc-web and application/grpc-web-text are served, both with protobuf";
            return Err(Door::GrpcWeb.refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "DIALECT_UNSUPPORTED", message));
        }
    };
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).map(str::to_ascii_lowercase);
    let asked = accept.and_then(|accept| {
        let web = accept.split(',').map(str::trim).find(|kind| kind.starts_with("application/grpc-web"))?;
        Some(if web.starts_with("application/grpc-web-text") { &text } else { &binary })
    });
    let asked = asked.unwrap_or(sent).clone();
    request.headers_mut().insert(CONTENT_TYPE, sent.clone());
    request.headers_mut().insert(ACCEPT, asked);
    Ok(request)
}

#[cfg(test)]
mod tests;
