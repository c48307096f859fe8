//! `/openapi.json`.
use axum::response::{IntoResponse, Response};
pub(super) async fn serve() -> Response {
    "{}".into_response()
}
