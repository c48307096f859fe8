//! Which half of the house answers, gRPC or HTTP, on one port; and what all doors have in common.
//!
//! The two routers stay apart because tonic's owns its fallback: merged, every unknown HTTP path would get a gRPC answer.
//!
//! From the outside in: the call's id, patience with its body, cross-origin rules; then by content type gRPC, gRPC-Web (gRPC behind a
//! translator) or HTTP (encodings of bodies); innermost the measuring, which must see gRPC's own trailers.

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, CONNECTION, CONTENT_TYPE},
};
use tokio::time::Instant;
use tonic_web::GrpcWebLayer;
use tower::{Layer, ServiceExt, util::option_layer};

use super::{
    cors, encoding, measure,
    patience::{Bounded, Fate, Mark, USUAL},
    request_id::{self, RequestId},
    which::{Door, essence, rpc},
};
use crate::{config::CorsConfig, telemetry::Metrics};

/// How long the answer of an HTTP call took to begin, in seconds.
pub(super) const PROCESS_TIME: HeaderName = HeaderName::from_static("x-process-time");

/// One application of two: requests with content type `application/grpc*` go to `grpc`, everything else to `http`.
pub fn dispatch(grpc: Router, http: Router, cors: &CorsConfig, metrics: &Metrics) -> Router {
    let grpc = grpc.layer(from_fn_with_state(metrics.clone(), measure::grpc));
    let web = GrpcWebLayer::new().layer(grpc.clone());
    let http = encoding::layer(http).layer(from_fn_with_state(metrics.clone(), measure::http));
    let by_door = Router::new().fallback(move |mut request: Request| {
        let (grpc, web, http) = (grpc.clone(), web.clone(), http.clone());
        async move {
            let door = Door::of(&request);
            request.extensions_mut().insert(door);
            match door {
                Door::Grpc => grpc.oneshot(request).await,
                Door::GrpcWeb => web.oneshot(plainly(request)).await.map(|answer| answer.map(Body::new)),
                Door::Json | Door::OpenAi | Door::Files | Door::Webhooks | Door::Probes | Door::Unknown => {
                    http.oneshot(request).await
                }
            }
        }
    });
    by_door.layer(option_layer(cors::layer(cors))).layer(from_fn(envelope))
}

/// What every call gets and every answer carries.
async fn envelope(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let door = Door::of(&request);
    let id = RequestId::of(request.headers());
    let (request, fate) = bounded(request, door);
    let mut answer = id.scope(next.run(request)).await;
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
    answer
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

/// The call with its types as the translator knows them: it compares letter by letter, and answers binary whoever asks for nothing.
fn plainly(mut request: Request) -> Request {
    let is_text = |kind: &str| kind.starts_with("application/grpc-web-text");
    let kind = |is_text| {
        let kind = if is_text { "application/grpc-web-text+proto" } else { "application/grpc-web+proto" };
        HeaderValue::from_static(kind)
    };
    let sent = essence(request.headers()).unwrap_or_default();
    let asked = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).map(str::to_ascii_lowercase);
    let asked = asked.and_then(|accept| {
        accept.split(',').map(str::trim).find(|kind| kind.starts_with("application/grpc-web")).map(is_text)
    });
    let headers = request.headers_mut();
    // Other forms of messages than protobuf are nobody's; the translator refuses them.
    if matches!(sent.as_str(), "application/grpc-web" | "application/grpc-web+proto")
        || matches!(sent.as_str(), "application/grpc-web-text" | "application/grpc-web-text+proto")
    {
        headers.insert(CONTENT_TYPE, kind(is_text(&sent)));
        headers.insert(ACCEPT, kind(asked.unwrap_or_else(|| is_text(&sent))));
    }
    request
}

#[cfg(test)]
mod tests;
