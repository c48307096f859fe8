//! What we tell reaches a collector that others wrote.

use std::time::Duration;

use filmgate::{
    config::{LogFormat, TelemetryConfig},
    telemetry,
};

use crate::support::collector::Collector;

const BEFORE_RESTART: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The only test of this program that may set telemetry up, as that is once a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_collector_receives_spans_links_and_metrics() {
    let mut collector = Collector::start().await;
    let guard = telemetry::init(&TelemetryConfig {
        log: "warn".to_owned(),
        log_format: LogFormat::Text,
        log_dir: None,
        otlp_endpoint: Some(collector.endpoint().parse().unwrap()),
        metrics: true,
        service_name: "filmgate-under-test".to_owned(),
        trace_ratio: 1.0,
    })
    .unwrap();

    let span = tracing::info_span!(target: "filmgate::engine", "drive", generation.name = "generations/7");
    telemetry::link_from_traceparent(&span, BEFORE_RESTART);
    let own = telemetry::traceparent_of(&span).expect("a sampled span can be stored");
    let foreign = tracing::error_span!(target: "hyper::proto", "not ours");
    drop((span, foreign));

    let metrics = telemetry::Metrics::new();
    metrics.accepted("video");
    metrics.finished("succeeded");
    metrics.provider_called("replicate", "submit", "ok", Duration::from_millis(70));
    metrics.artifact_stored(4096);
    metrics.queue_depth(3);
    metrics.callback_sent("delivered");
    let watching = metrics.watching();
    metrics
        .called(telemetry::Call { door: "grpc", route: "a.B/C".into(), status: "OK".into() }, Duration::from_millis(3));
    let page = telemetry::exposition().expect("metrics are on").unwrap();
    for line in [
        "filmgate_generations_accepted_total{kind=\"video\"} 1",
        "filmgate_requests_total{door=\"grpc\",route=\"a.B/C\",status=\"OK\"} 1",
        "filmgate_watchers 1",
        "filmgate_artifacts_stored_bytes_total 4096",
    ] {
        assert!(page.lines().any(|told| told == line), "{line}:\n{page}");
    }
    assert!(guard.flush(Duration::from_secs(10)).await, "everything is sent in time");
    drop(watching);

    let ids: Vec<_> = own.split('-').collect();
    let received = collector
        .received(&[
            "-> service.name: Str(filmgate-under-test)",
            &format!("Trace ID : {}", ids[1]),
            &format!("\nID : {}", ids[2]),
            "Name : drive",
            "-> generation.name: Str(generations/7)",
            "SpanLink #0\n-> Trace ID: 0af7651916cd43dd8448eb211c80319c\n-> ID: b7ad6b7169203331",
            "-> Name: filmgate.generations.accepted",
            "-> Name: filmgate.generations.finished",
            "-> Name: filmgate.provider.calls",
            "-> Name: filmgate.provider.call.duration",
            "-> Name: filmgate.artifacts.stored",
            "-> Name: filmgate.watchers",
            "-> Name: filmgate.queue.depth",
            "-> Name: filmgate.callbacks.sent",
            "-> Name: filmgate.requests",
            "-> Name: filmgate.request.duration",
            "-> outcome: Str(delivered)",
            "-> kind: Str(video)",
            "-> state: Str(succeeded)",
            "-> provider: Str(replicate)",
            "-> operation: Str(submit)",
            "-> outcome: Str(ok)",
            "\nSum: 0.07\n",
            "\nValue: 4096\n",
            "\nValue: 3\n",
        ])
        .await;
    assert!(!received.contains("not ours"), "spans of dependencies stay at home:\n{received}");
}
