//! One trace tells a job's story, from the caller to the vendor, and points back to it after a crash.

use filmgate::pb::v1::{DownloadArtifactRequest, State};
use serde_json::json;
use tonic::Request;

use crate::{
    simulator::Simulator,
    support::{
        collector::{Collector, Span},
        server::{Setup, video},
    },
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn traced<M>(message: M, sampled: bool) -> Request<M> {
    let mut request = Request::new(message);
    let traceparent = format!("00-{TRACE}-{CALLER}-0{}", u8::from(sampled));
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    request
}

/// Tells the collector soon what happens.
fn watched(setup: Setup, collector: &Collector) -> Setup {
    setup
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
        .with("OTEL_BSP_SCHEDULE_DELAY", "50")
        .with("OTEL_METRIC_EXPORT_INTERVAL", "300")
}

fn rpc<'a>(spans: &'a [Span], rpc: &str) -> Option<&'a Span> {
    spans.iter().find(|span| span.has(&format!("rpc.name: Str({rpc})")))
}

fn named<'a>(spans: &'a [Span], name: &str) -> Option<&'a Span> {
    spans.iter().find(|span| span.name == name)
}

fn operation<'a>(spans: &'a [Span], operation: &str) -> Option<&'a Span> {
    spans.iter().find(|span| span.has(&format!("operation: Str({operation})")))
}

#[tokio::test]
async fn one_trace_leads_from_the_caller_through_every_call_of_the_vendor() {
    let mut collector = Collector::start().await;
    let simulator = Simulator::start(&["create:latency=100ms"]);
    let server = watched(Setup::replicate(&simulator.replicate()), &collector).start().await;
    let done = server.generate(traced(video("traced"), true)).await.unwrap();
    assert_eq!(done.state(), State::Succeeded, "{done:?}");
    let name = done.artifacts[0].name.clone();
    let download = DownloadArtifactRequest { name, ..DownloadArtifactRequest::default() };
    server.artifacts().await.download_artifact(traced(download, true)).await.unwrap();
    assert_eq!(server.stop().await, Some(0));

    let whole = |spans: &[Span]| named(spans, "generation").is_some() && rpc(spans, "DownloadArtifact").is_some();
    let spans = collector.spans(whole).await;
    let generation = named(&spans, "generation").unwrap();
    let attempt = named(&spans, "attempt").unwrap();
    let accepted = rpc(&spans, "GenerateVideo").unwrap();
    for (child, parent) in [
        (accepted, CALLER),
        (generation, &accepted.id),
        (attempt, &generation.id),
        (operation(&spans, "submit").unwrap(), &attempt.id),
        (operation(&spans, "poll").unwrap(), &attempt.id),
        (operation(&spans, "open").unwrap(), &attempt.id),
        (rpc(&spans, "DownloadArtifact").unwrap(), CALLER),
    ] {
        assert_eq!((child.trace.as_str(), child.parent.as_str()), (TRACE, parent), "{child:?}");
    }
    assert!(generation.has(&format!("generation.name: Str({})", done.name)), "{generation:?}");
    for attribute in ["attempt.number: Int(1)", "provider.id: Str(replicate)", "model: Str(minimax/video-01)"] {
        assert!(attempt.has(attribute), "{attribute}: {attempt:?}");
    }
    assert!(operation(&spans, "submit").unwrap().has("outcome: Str(ok)"));
}

#[tokio::test]
async fn a_job_taken_up_after_a_kill_points_back_to_the_trace_that_ordered_it() {
    let mut collector = Collector::start().await;
    let simulator = Simulator::start(&["create:hold"]);
    let server = watched(Setup::replicate(&simulator.replicate()), &collector).start().await;
    let order = server.order(traced(video("killed"), true)).await.unwrap();
    server.until(&order.name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    let spans = collector.spans(|spans| rpc(spans, "GenerateVideo").is_some()).await;
    let accepted = rpc(&spans, "GenerateVideo").unwrap();

    let server = server.kill().start().await;
    simulator.control("release", json!({})).await;
    server.end_of(&order.name).await;
    assert_eq!(server.stop().await, Some(0));
    let spans =
        collector.spans(|spans| named(spans, "generation").is_some_and(|span| span.text.contains("SpanLink"))).await;
    let again = named(&spans, "generation").unwrap();
    assert_ne!(again.trace, TRACE, "a restart begins a trace of its own");
    let link = format!("SpanLink #0\n-> Trace ID: {TRACE}\n-> ID: {}", accepted.id);
    assert!(again.text.contains(&link), "{link}\n{again:?}");
}

#[tokio::test]
async fn the_callers_decision_about_sampling_counts_more_than_the_ratio() {
    let mut collector = Collector::start().await;
    let setup = watched(Setup::sample(), &collector);
    let server = setup.clone().with("OTEL_TRACES_SAMPLER_ARG", "0").start().await;
    let untraced = server.generate(video("not sampled")).await.unwrap();
    let wanted = server.generate(traced(video("sampled by the caller"), true)).await.unwrap();
    assert_eq!(server.stop().await, Some(0));

    let server = setup.start().await;
    let unwanted = server.generate(traced(video("not sampled by the caller"), false)).await.unwrap();
    let own = server.generate(video("sampled")).await.unwrap();
    assert_eq!(server.stop().await, Some(0));

    let of = |spans: &[Span], name: &str| {
        spans
            .iter()
            .filter(|span| span.name == "generation" && span.has(&format!("generation.name: Str({name})")))
            .count()
    };
    let spans = collector.spans(|spans| of(spans, &own.name) == 1 && of(spans, &wanted.name) == 1).await;
    assert_eq!((of(&spans, &untraced.name), of(&spans, &unwanted.name)), (0, 0));
    let of_caller = spans.iter().filter(|span| span.trace == TRACE && span.name == "rpc").count();
    assert_eq!(of_caller, 1, "{spans:?}");
}

#[tokio::test]
async fn metrics_of_a_server_at_work_arrive() {
    let mut collector = Collector::start().await;
    let simulator = Simulator::start(&["create:hold"]);
    let setup = watched(Setup::replicate(&simulator.replicate()), &collector).with("FILMGATE_CONCURRENCY", "1");
    let server = setup.start().await;
    let first = server.order(video("at work")).await.unwrap();
    server.until(&first.name, |generation| generation.state() == State::Running).await;
    let mut waiting = server.generations().await.generate_video(video("waiting")).await.unwrap().into_inner();
    let second = waiting.message().await.unwrap().unwrap().generation.unwrap();
    collector.metric("filmgate.generations.accepted", 2).await;
    collector.metric("filmgate.watchers", 1).await;
    collector.metric("filmgate.queue.depth", 1).await;
    drop(waiting);
    simulator.faults(&[]).await;
    simulator.control("release", json!({})).await;
    let mut n_bytes = 0;
    for name in [&first.name, &second.name] {
        n_bytes += server.end_of(name).await.artifacts[0].size_bytes.unsigned_abs();
    }
    collector.metric("filmgate.watchers", 0).await;
    collector.metric("filmgate.artifacts.stored", n_bytes).await;

    // An answer from the cache ends without an event of its own, and is counted too.
    let cached = server.generate(video("at work")).await.unwrap();
    assert!(cached.cached, "{cached:?}");
    collector.metric("filmgate.generations.finished", 3).await;
    collector.received(&["-> Name: filmgate.provider.calls", "-> operation: Str(submit)", "-> outcome: Str(ok)"]).await;
    assert_eq!(server.stop().await, Some(0));
}
