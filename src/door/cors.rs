//! Which web pages may call: cross-origin rules (CORS) for every door at once, gRPC-Web included.
//!
//! Browsers ask first (a preflight) before some calls only. A form or a text is sent to any address unasked, so a page that may not call
//! could still order and spend, and only not read the answer. Therefore such calls are refused here.

use std::time::Duration;

use axum::{extract::Request, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tower::{Layer, ServiceExt, service_fn, util::option_layer};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::{dispatch, listen::App, request_id, which::Door};
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

/// What a browser, and no page, says of where a call comes from.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The same application under the rules in force.
pub(super) fn ruled<A: App>(app: A, config: &CorsConfig) -> impl App + use<A> {
    let ruled = option_layer(layer(config)).layer(app.clone());
    service_fn(move |request: Request| {
        let (app, ruled) = (app.clone(), ruled.clone());
        // The rules take any OPTIONS for a browser's question before a call. Without an origin it is none: the doors say what they take.
        let is_plain = request.method() == Method::OPTIONS && !request.headers().contains_key(header::ORIGIN);
        async move { if is_plain { app.oneshot(request).await } else { ruled.oneshot(request).await } }
    })
}

/// The rules in force; none if no page may call.
fn layer(config: &CorsConfig) -> Option<CorsLayer> {
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

/// The refusal of a call that changes something and comes from a page that may not call.
pub(super) fn refused(config: &CorsConfig, request: &Request) -> Option<Response> {
    if request.method().is_safe() || !is_foreign(request, config) {
        return None;
    }
    let message = "the page's origin may not call this server; its operator can name it in cors_origins";
    Some(Door::of(request).refuse(StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED", message))
}

/// Whether a page of another origin calls that the settings do not name. Programs send no origin.
fn is_foreign(request: &Request, config: &CorsConfig) -> bool {
    let headers = request.headers();
    let Some(origin) = text(headers, header::ORIGIN) else { return headers.contains_key(header::ORIGIN) };
    let is_named = match config {
        CorsConfig::Any => true,
        CorsConfig::Origins(origins) => origins.iter().any(|one| one == origin),
        CorsConfig::Off => false,
    };
    // A page that was served from here, maybe by a proxy in front that also says where it was called.
    let is_own = || {
        let host = request.uri().authority().map(http::uri::Authority::as_str).or_else(|| text(headers, header::HOST));
        let of_page = origin.split_once("://").map(|(_, authority)| authority);
        of_page.is_some() && of_page == host || text(headers, FETCH_SITE) == Some("same-origin")
    };
    !is_named && !is_own()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, routing::get};

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
    async fn whoever_asks_for_options_without_an_origin_is_told_by_the_door() {
        let door = Router::new().route("/", get(async || "").options(async || [(header::ALLOW, "GET")]));
        let request = |origin: Option<&str>| {
            let request = Request::options("/").header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET");
            let request = origin.into_iter().fold(request, |request, origin| request.header(header::ORIGIN, origin));
            request.body(Body::empty()).unwrap()
        };
        for (config, origin, told) in [
            (CorsConfig::Any, None, true),
            (CorsConfig::Any, Some("https://a.example"), false),
            (CorsConfig::Off, Some("https://a.example"), true),
        ] {
            let answer = ruled(door.clone(), &config).oneshot(request(origin)).await.unwrap();
            assert_eq!(answer.headers().contains_key(header::ALLOW), told, "{config:?} {origin:?}");
        }
    }

    #[test]
    fn a_page_is_foreign_unless_it_is_named_or_ours() {
        let listed = CorsConfig::Origins(vec!["https://a.example".to_owned()]);
        for (headers, config, foreign) in [
            (&[][..], &CorsConfig::Off, false),
            (&[("origin", "https://b.example")], &CorsConfig::Off, true),
            (&[("origin", "https://b.example")], &listed, true),
            (&[("origin", "null")], &listed, true),
            (&[("origin", "https://a.example.evil")], &listed, true),
            (&[("origin", "https://a.example")], &listed, false),
            (&[("origin", "https://b.example")], &CorsConfig::Any, false),
            (&[("origin", "http://films.local:8080"), ("host", "films.local:8080")], &CorsConfig::Off, false),
            (&[("origin", "http://films.local:8080"), ("host", "films.local")], &CorsConfig::Off, true),
            (&[("origin", "https://b.example"), ("sec-fetch-site", "same-origin")], &CorsConfig::Off, false),
            (&[("origin", "https://b.example"), ("sec-fetch-site", "cross-site")], &CorsConfig::Off, true),
        ] {
            let request = headers
                .iter()
                .fold(Request::post("/v1/videos"), |request, (name, value)| request.header(*name, *value));
            assert_eq!(is_foreign(&request.body(Body::empty()).unwrap(), config), foreign, "{headers:?} {config:?}");
        }
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
