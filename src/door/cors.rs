//! Which web pages may call: cross-origin rules (CORS) for every door at once, gRPC-Web included.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::{dispatch, request_id};
use crate::config::CorsConfig;

/// How long a browser remembers what it was told. Two hours is the most that any of them does.
const MAX_AGE: Duration = Duration::from_hours(2);

/// What the doors say beside the body, which a page could not read otherwise.
const EXPOSED: [HeaderName; 20] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    HeaderName::from_static("grpc-encoding"),
    request_id::HEADER,
    dispatch::PROCESS_TIME,
    HeaderName::from_static("x-session-id"),
    HeaderName::from_static("x-generation-time"),
    HeaderName::from_static("x-video-sample"),
    HeaderName::from_static("x-image-sample"),
    HeaderName::from_static("x-speech-sample"),
    HeaderName::from_static("x-music-sample"),
    HeaderName::from_static("x-filmgate-sample"),
    header::ACCEPT_RANGES,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::ETAG,
    header::RETRY_AFTER,
];

/// The rules in force; none if no page may call.
pub(super) fn layer(config: &CorsConfig) -> Option<CorsLayer> {
    let rules = CorsLayer::new()
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        // What a page that may call may send is judged by the doors; clients' own headers (`x-stainless-…`) are past listing.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .max_age(MAX_AGE);
    match config {
        CorsConfig::Off => None,
        CorsConfig::Any => Some(rules.allow_origin(AllowOrigin::any())),
        CorsConfig::Origins(origins) => {
            let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
            Some(rules.allow_origin(AllowOrigin::list(origins)).allow_credentials(true))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, routing::get};
    use http::{HeaderMap, Request};
    use tower::ServiceExt;

    use super::*;

    async fn answer(config: &CorsConfig, method: Method, origin: &str) -> HeaderMap {
        let answer = [(header::VARY, "x-filmgate-tenant")];
        let router =
            Router::new().route("/", get(async move || answer)).layer(tower::util::option_layer(layer(config)));
        let request = Request::builder()
            .method(method)
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "x-grpc-web,x-stainless-os");
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().headers().clone()
    }

    #[tokio::test]
    async fn listed_pages_may_call_and_others_may_not() {
        let config = CorsConfig::Origins(vec!["https://a.example".to_owned()]);
        let allowed = answer(&config, Method::OPTIONS, "https://a.example").await;
        assert_eq!(allowed["access-control-allow-origin"], "https://a.example");
        assert_eq!(allowed["access-control-allow-credentials"], "true");
        assert_eq!(allowed["access-control-allow-headers"], "x-grpc-web,x-stainless-os");
        assert!(allowed["access-control-allow-methods"].to_str().unwrap().contains("DELETE"));
        for method in [Method::OPTIONS, Method::GET] {
            let refused = answer(&config, method, "https://b.example").await;
            assert!(!refused.contains_key("access-control-allow-origin"), "{refused:?}");
        }
        let read = answer(&config, Method::GET, "https://a.example").await;
        assert!(read["access-control-expose-headers"].to_str().unwrap().contains("grpc-status-details-bin"));
        let vary: Vec<_> = read.get_all(header::VARY).iter().collect();
        assert!(vary.contains(&&HeaderValue::from_static("x-filmgate-tenant")) && vary.len() > 1, "{vary:?}");
    }

    #[tokio::test]
    async fn any_page_may_call_without_credentials_and_none_if_not_asked() {
        let any = answer(&CorsConfig::Any, Method::GET, "https://b.example").await;
        assert_eq!(any["access-control-allow-origin"], "*");
        assert!(!any.contains_key("access-control-allow-credentials"));
        let off = answer(&CorsConfig::Off, Method::OPTIONS, "https://b.example").await;
        assert!(off.keys().all(|name| !name.as_str().starts_with("access-control")), "{off:?}");
    }
}
