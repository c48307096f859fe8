//! Whether the process lives and whether it is ready, over HTTP and as the standard gRPC health service; and what it counts.

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header::CONTENT_TYPE};
use tokio::sync::watch;
use tonic::server::NamedService;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::{HealthReporter, health_reporter},
};
use tracing::error;

use super::which::Door;
use crate::{
    pb::v1::{
        artifact_service_server::ArtifactServiceServer, budget_service_server::BudgetServiceServer,
        generation_service_server::GenerationServiceServer, model_service_server::ModelServiceServer,
        session_service_server::SessionServiceServer,
    },
    telemetry,
};

/// The whole server, and each of its services.
const SERVICES: [&str; 6] = [
    "",
    <GenerationServiceServer<()> as NamedService>::NAME,
    <SessionServiceServer<()> as NamedService>::NAME,
    <ArtifactServiceServer<()> as NamedService>::NAME,
    <ModelServiceServer<()> as NamedService>::NAME,
    <BudgetServiceServer<()> as NamedService>::NAME,
];

/// `/livez` answers while the process runs; `/readyz` says whether to send callers here; `/metrics` is for Prometheus.
pub(super) fn router(readiness: watch::Receiver<bool>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(async || metrics()))
        .with_state(readiness)
}

/// The gRPC health service, right from its first answer, and the future that keeps it so; poll that until the end of the process.
///
/// The future ends when the sender of `readiness` is gone: then nothing is served any more, and open `Watch` streams end.
pub async fn health(readiness: watch::Receiver<bool>) -> (HealthServer<impl Health>, impl Future<Output = ()> + Send) {
    let (reporter, server) = health_reporter();
    tell(&reporter, *readiness.borrow()).await;
    (server, follow(reporter, readiness))
}

async fn follow(mut reporter: HealthReporter, mut readiness: watch::Receiver<bool>) {
    while readiness.changed().await.is_ok() {
        let is_ready = *readiness.borrow_and_update();
        tell(&reporter, is_ready).await;
    }
    tell(&reporter, false).await;
    for service in SERVICES {
        reporter.clear_service_status(service).await;
    }
}

async fn tell(reporter: &HealthReporter, is_ready: bool) {
    let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}

fn metrics() -> Response {
    match telemetry::exposition() {
        Some(Ok(page)) => ([(CONTENT_TYPE, telemetry::EXPOSITION_TYPE)], page).into_response(),
        Some(Err(cause)) => {
            error!(%cause, "metrics cannot be shown");
            let message = "metrics cannot be shown; the log says why";
            Door::Probes.refuse(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", message)
        }
        None => super::json::no_such_path(),
    }
}

async fn ready(State(readiness): State<watch::Receiver<bool>>) -> (StatusCode, &'static str) {
    let is_ready = *readiness.borrow();
    if is_ready { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tower::ServiceExt;

    use super::*;

    async fn get(router: &Router, path: &str) -> StatusCode {
        router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap().status()
    }

    #[tokio::test]
    async fn readiness_follows_the_channel_and_life_does_not() {
        let (sender, receiver) = watch::channel(false);
        let router = router(receiver);
        assert_eq!(get(&router, "/livez").await, StatusCode::OK);
        assert_eq!(get(&router, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        sender.send_replace(true);
        assert_eq!(get(&router, "/readyz").await, StatusCode::OK);
    }

    #[tokio::test]
    async fn the_health_of_every_service_follows_readiness_and_its_watches_end_with_it() {
        let (sender, receiver) = watch::channel(false);
        let (server, follow) = health(receiver).await;
        let mut client = HealthClient::new(server);
        let mut follow = std::pin::pin!(follow);
        let mut watched = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        let mut expect = async |wanted: ServingStatus| {
            for service in SERVICES {
                let request = HealthCheckRequest { service: service.to_owned() };
                let status = client.check(request).await.unwrap().into_inner().status;
                assert_eq!(status, wanted as i32, "{service}");
            }
        };
        expect(ServingStatus::NotServing).await;
        assert_eq!(watched.message().await.unwrap().unwrap().status, ServingStatus::NotServing as i32);
        sender.send_replace(true);
        assert!(futures_util::poll!(&mut follow).is_pending());
        expect(ServingStatus::Serving).await;
        drop(sender);
        follow.await;
        while watched.message().await.unwrap().is_some() {}
    }
}
