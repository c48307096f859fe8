//! Which half of the house answers: gRPC or HTTP, on one port.
//!
//! The two routers stay apart because tonic's owns its fallback: merged, every unknown HTTP path would get a gRPC answer.

use axum::{Router, extract::Request};
use http::header::CONTENT_TYPE;
use tower::ServiceExt;

/// One application of two: requests with content type `application/grpc*` go to `grpc`, everything else to `http`.
pub fn dispatch(grpc: Router, http: Router) -> Router {
    Router::new().fallback(move |request: Request| {
        let half = if is_grpc(&request) { grpc.clone() } else { http.clone() };
        half.oneshot(request)
    })
}

/// Covers `application/grpc`, `application/grpc+proto` and `application/grpc-web`.
fn is_grpc(request: &Request) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let content_type = request.headers().get(CONTENT_TYPE).map(|value| value.as_bytes());
    content_type.and_then(|value| value.get(..GRPC.len())).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use http::StatusCode;

    use super::*;

    async fn answer(content_type: Option<&str>, path: &str) -> (StatusCode, String) {
        let grpc = Router::new().fallback(async || "grpc");
        let http = Router::new().route("/livez", get(async || "http"));
        let mut request = Request::get(path);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let response = dispatch(grpc, http).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_content_type_decides_and_unknown_paths_stay_not_found() {
        for (content_type, path, status, body) in [
            (Some("application/grpc"), "/livez", 200, "grpc"),
            (Some("Application/gRPC+proto"), "/a.B/C", 200, "grpc"),
            (Some("application/grpc-web+proto"), "/a.B/C", 200, "grpc"),
            (Some("application/json"), "/livez", 200, "http"),
            (Some("application/grp"), "/a.B/C", 404, ""),
            (None, "/livez", 200, "http"),
            (None, "/unknown", 404, ""),
        ] {
            assert_eq!(
                answer(content_type, path).await,
                (StatusCode::from_u16(status).unwrap(), body.to_owned()),
                "{path}"
            );
        }
    }
}
