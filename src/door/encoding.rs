//! gzip over HTTP: answers where the caller asks and it helps; requests never.

use axum::{Router, extract::Request, response::Response};
use http::{
    Extensions, HeaderMap, HeaderValue, StatusCode, Version,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING},
};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer,
        predicate::{Predicate, SizeAbove},
    },
};

use super::which::{Door, essence};

/// Smaller answers would hardly become smaller, in a packet of their own anyway.
const WORTH_BYTES: u64 = 512;

/// The doors of HTTP with these rules.
pub(super) fn layer(http: Router) -> Router {
    let worth = SizeAbove::new(WORTH_BYTES).and(is_text);
    let answers = CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worth);
    http.layer(answers)
}

/// Texts only: media is packed already, and a player counts its bytes; events must leave one by one.
fn is_text(status: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let kind = essence(headers).unwrap_or_default();
    let is_text = kind == "application/json" || kind.starts_with("text/") && kind != "text/event-stream";
    is_text && status != StatusCode::PARTIAL_CONTENT
}

/// The refusal of a packed request: what it unpacks to could be any size, and no client packs unasked.
pub(super) fn refused(request: &Request) -> Option<Response> {
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity") || value.is_empty();
    if request.headers().get_all(CONTENT_ENCODING).iter().all(is_plain) {
        return None;
    }
    let message = "a body must be sent as it is, without Content-Encoding";
    let mut answer = Door::of(request).refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "ENCODING_UNSUPPORTED", message);
    // What would be taken (RFC 9110, 12.5.3).
    answer.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Some(answer)
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use http::header::CONTENT_TYPE;
    use tower::ServiceExt;

    use super::*;

    async fn answer(kind: &'static str, len: usize, asked: &str) -> HeaderMap {
        let router = layer(Router::new().route("/", get(async move || ([(CONTENT_TYPE, kind)], "x".repeat(len)))));
        let request = Request::get("/").header(ACCEPT_ENCODING, asked).body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap().headers().clone()
    }

    #[tokio::test]
    async fn texts_are_packed_where_the_caller_asks_and_nothing_else_is() {
        for (kind, len, asked, packed) in [
            ("application/json", 5000, "gzip", true),
            ("application/json", 5000, "br, gzip;q=0.5", true),
            ("text/plain; charset=utf-8", 5000, "*", true),
            ("application/json", 5000, "identity", false),
            ("application/json", 5000, "gzip;q=0", false),
            ("application/json", 100, "gzip", false),
            ("text/event-stream", 5000, "gzip", false),
            ("video/mp4", 5000, "gzip", false),
        ] {
            let headers = answer(kind, len, asked).await;
            let encoding = headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap());
            assert_eq!(encoding, packed.then_some("gzip"), "{kind} {asked}");
        }
    }

    #[test]
    fn packed_requests_are_refused() {
        let refused_as = Some(415);
        for (encodings, status) in
            [(&["gzip"][..], refused_as), (&["identity", "br"], refused_as), (&["Identity"], None), (&[], None)]
        {
            let request =
                encodings.iter().fold(Request::get("/"), |request, one| request.header(CONTENT_ENCODING, *one));
            let refused = refused(&request.body(Body::empty()).unwrap());
            assert_eq!(refused.map(|answer| answer.status().as_u16()), status, "{encodings:?}");
        }
    }
}
