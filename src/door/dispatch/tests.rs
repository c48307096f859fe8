use axum::{body::Body, routing::get};
use http::{Method, header::CONTENT_ENCODING};

use super::*;

async fn answer(request: http::request::Builder) -> Response {
    let grpc = Router::new().fallback(async || "grpc");
    let http = Router::new().route("/livez", get(async || "http"));
    let request = request.body(Body::empty()).unwrap();
    dispatch(grpc, http, &CorsConfig::Off, &Metrics::new()).oneshot(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_refused_in_time_whatever_its_door_says() {
    let read = axum::routing::post(async |body: axum::body::Bytes| body);
    let app = dispatch(Router::new(), Router::new().route("/v1/videos", read), &CorsConfig::Off, &Metrics::new());
    let never = futures_util::stream::pending::<Result<axum::body::Bytes, std::convert::Infallible>>();
    let request = http::Request::post("/v1/videos").body(Body::from_stream(never)).unwrap();
    let answer = app.oneshot(request).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()[CONNECTION]), (408, &HeaderValue::from_static("close")));
    assert!(text(answer).await.contains("body_timeout"));
}

#[tokio::test]
async fn other_forms_of_messages_are_refused_for_browsers() {
    for kind in ["application/grpc-web+json", "application/grpc-web-text+thrift", "application/grpc-websocket"] {
        for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
            let answer = answer(http::Request::post("/a.B/C").version(version).header(CONTENT_TYPE, kind)).await;
            assert_eq!(answer.status().as_u16(), 415, "{kind} {version:?}");
            assert!(text(answer).await.contains("DIALECT_UNSUPPORTED"));
        }
    }
}

async fn text(answer: Response) -> String {
    String::from_utf8(axum::body::to_bytes(answer.into_body(), 1000).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn the_content_type_decides_and_unknown_paths_stay_not_found() {
    for (content_type, path, status, body) in [
        (Some("application/grpc"), "/livez", 200, "grpc"),
        (Some("Application/gRPC+proto"), "/a.B/C", 200, "grpc"),
        (Some("application/grpc-web+proto"), "/a.B/C", 200, "grpc"),
        (Some("Application/grpc-web;x=y"), "/a.B/C", 200, "grpc"),
        (Some("application/grpc-web-text"), "/a.B/C", 200, "Z3JwYw=="),
        (Some("application/json"), "/livez", 405, ""),
        (Some("application/grp"), "/a.B/C", 404, ""),
        (None, "/unknown", 404, ""),
    ] {
        let request = http::Request::post(path);
        let request = content_type.into_iter().fold(request, |request, kind| request.header(CONTENT_TYPE, kind));
        let answer = answer(request).await;
        assert_eq!(answer.status().as_u16(), status, "{content_type:?} {path}");
        assert_eq!(text(answer).await, body, "{content_type:?} {path}");
    }
}

#[tokio::test]
async fn who_asks_for_text_gets_text_and_who_asks_for_nothing_gets_what_it_sent() {
    for (sent, asked, got) in [
        ("application/grpc-web-text", None, "application/grpc-web-text+proto"),
        ("application/grpc-web-text", Some("*/*"), "application/grpc-web-text+proto"),
        ("application/grpc-web", Some("application/grpc-web-text, */*"), "application/grpc-web-text+proto"),
        ("application/grpc-web-text", Some("application/grpc-web+proto"), "application/grpc-web+proto"),
        ("application/grpc-web+proto", None, "application/grpc-web+proto"),
    ] {
        let request = http::Request::post("/a.B/C").header(CONTENT_TYPE, sent);
        let answer = answer(asked.into_iter().fold(request, |request, kind| request.header(ACCEPT, kind))).await;
        assert_eq!(answer.headers()[CONTENT_TYPE], got, "{sent} {asked:?}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_id_of_its_call() {
    for (method, path, content_type) in [
        (Method::GET, "/livez", "text/plain"),
        (Method::DELETE, "/livez", "text/plain"),
        (Method::GET, "/unknown", "text/plain"),
        (Method::OPTIONS, "*", "text/plain"),
        (Method::POST, "/a.B/C", "application/grpc"),
        (Method::POST, "/a.B/C", "application/grpc-web"),
        (Method::GET, "/a.B/C", "application/grpc-web"),
    ] {
        let request = || http::Request::builder().method(method.clone()).uri(path).header(CONTENT_TYPE, content_type);
        let given = answer(request().header("x-request-id", "mine")).await;
        assert_eq!(given.headers()["x-request-id"], "mine", "{method} {path}");
        let made = answer(request()).await;
        assert!(made.headers()["x-request-id"].to_str().unwrap().starts_with("req_"), "{method} {path}");
        let seconds = made.headers().get(PROCESS_TIME).map(|value| value.to_str().unwrap().parse::<f64>().unwrap());
        assert_eq!(seconds.is_some(), content_type == "text/plain", "{method} {path}");
    }
    let refused = answer(http::Request::post("/v1/videos").header(CONTENT_ENCODING, "gzip")).await;
    assert!(refused.headers().contains_key("x-request-id"));
    assert!(text(refused).await.contains(r#""type":"invalid_request_error""#));
}
