//! The listening side: connections, the ways to lose one, and the end.

use std::{convert::Infallible, fmt, future::Future, io, sync::Arc, time::Duration};

use axum::{Router, body::Body, response::Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::World;

/// After the shutdown signal, calls under way and callbacks get this long.
const GRACE: Duration = Duration::from_secs(2);

/// Pause after a failed accept, which usually means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Mark of an answer that is none: the connection is closed without a byte.
#[derive(Debug, Clone, Copy)]
pub(super) struct Severed;

impl Severed {
    pub(super) fn response() -> Response {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(Self);
        response
    }
}

impl fmt::Display for Severed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closed on purpose")
    }
}

impl std::error::Error for Severed {}

/// Serves until `shutdown`, then lets go of hanging calls and ends. Dropping the future ends every connection too.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    world: Arc<World>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let kill = CancellationToken::new();
    let _kill_on_drop = kill.clone().drop_guard();
    let _stop_on_drop = world.stop.clone().drop_guard();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => converse(stream, &router, &graceful, &world, &kill),
            Err(error) => {
                tracing::warn!(%error, "simulator cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    world.stop.cancel();
    world.tasks.close();
    let ended = timeout(GRACE, async {
        graceful.shutdown().await;
        world.tasks.wait().await;
    });
    if ended.await.is_err() {
        kill.cancel();
        world.tasks.wait().await;
    }
    Ok(())
}

fn converse(stream: TcpStream, router: &Router, graceful: &GracefulShutdown, world: &World, kill: &CancellationToken) {
    // Small answers must not wait for more to send.
    let _ = stream.set_nodelay(true);
    let router = router.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let response = router.oneshot(request).await.unwrap_or_else(|never: Infallible| match never {});
            match response.extensions().get::<Severed>() {
                Some(severed) => Err(*severed),
                None => Ok(response),
            }
        }
    });
    let connection = auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .into_owned();
    let watched = graceful.watch(connection);
    let kill = kill.clone();
    world.tasks.spawn(async move {
        // A broken connection is the caller's business, or a fault's.
        let _ = kill.run_until_cancelled(watched).await;
    });
}
