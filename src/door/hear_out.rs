//! Clients that talk before they listen: what a refused call still sends is read, within bounds, so that its client hears the refusal instead of
//! finding the wire closed while it talks.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    response::Response,
};
use futures_util::{StreamExt, stream};
use http::{StatusCode, header};
use tokio::{sync::Mutex, time::timeout};
use tracing::debug;

/// Longest wait for the rest of a body that is refused: some clients send a few megabytes a second, and read nothing before.
const HEARD_OUT: Duration = Duration::from_secs(60);
/// Most bytes that are read of a body that is refused.
const MOST_UNHEARD: usize = 64 << 20;
/// What is no longer than this is in the operating system's hands already when it is refused.
const SHORT: u64 = 64 << 10;

/// Whether a body is so long, or of so unknown a length, that its client may still be sending it when it is refused.
pub(super) fn may_talk_on(request: &Request) -> bool {
    request.body().size_hint().upper().is_none_or(|length| length > SHORT)
}

/// The answer to a call; if it is a refusal, its client has said all or enough when this returns.
pub(super) async fn heard_out<F>(request: Request, answer: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    // Who waits to be asked for the body has not begun to send it.
    let waits = request.headers().contains_key(header::EXPECT);
    let (head, body) = request.into_parts();
    let rest = Arc::new(Mutex::new(body.into_data_stream()));
    let given = stream::unfold(Arc::clone(&rest), async |rest| {
        let frame = rest.lock().await.next().await?;
        Some((frame, rest))
    });
    let answer = answer(Request::from_parts(head, Body::from_stream(given))).await;
    let is_late = answer.status() == StatusCode::REQUEST_TIMEOUT;
    if !waits && !is_late && (answer.status().is_client_error() || answer.status().is_server_error()) {
        let mut rest = rest.lock().await;
        let mut n_bytes = 0;
        let unheard = async {
            while let Some(Ok(frame)) = rest.next().await {
                n_bytes += frame.len();
                if n_bytes > MOST_UNHEARD {
                    return;
                }
            }
        };
        if timeout(HEARD_OUT, unheard).await.is_err() {
            debug!("a refused call goes on and on");
        }
    }
    answer
}
