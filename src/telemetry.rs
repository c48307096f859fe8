//! Logs, traces and metrics.
//!
//! Logs go to the standard error stream and, if asked, to daily files; traces and metrics go to an OTLP collector, if there is one. Metrics
//! are also kept for whoever scrapes them, unless that is switched off.
//! Invariant: no prompt, key, body or signed address is ever a field of a span or an event.

use std::{fmt, io::IsTerminal, path::Path, sync::OnceLock, time::Duration};

use opentelemetry::{global, trace::TracerProvider};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkError,
    metrics::SdkMeterProvider,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use prometheus::{Registry, TextEncoder};
use tokio::{sync::oneshot, time};
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_appender::{
    non_blocking::{NonBlocking, WorkerGuard},
    rolling::{InitError, RollingFileAppender, Rotation},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, ParseError, Targets},
    fmt::MakeWriter,
    layer::SubscriberExt,
    registry::LookupSpan,
    util::{SubscriberInitExt, TryInitError},
};
use url::Url;

pub use self::{
    metrics::{Call, Metrics, UnderWay, Watching},
    propagation::{join_trace, link_from_traceparent, set_parent, traceparent_of},
};
use crate::config::{LogFormat, TelemetryConfig};

mod metrics;
mod propagation;

/// Daily log files that are kept.
const MAX_LOG_FILES: usize = 30;

/// Dependencies that tell every frame, poll, retry or migration. Each name stands for all that begin with it.
const NOISY: [&str; 9] =
    ["h2", "hyper", "object_store", "opentelemetry", "refinery", "reqwest", "rustls", "tonic", "tower"];

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter has another form. Cannot be for a [`crate::config::Config`].
    #[error("log filter is not valid: {0}")]
    Filter(#[from] ParseError),
    /// The folder of log files cannot be created or written.
    #[error("no log file can be written in log_dir: {0}")]
    LogDir(#[from] InitError),
    /// The exporter does not take the endpoint.
    #[error("cannot send to otlp_endpoint: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The metrics to be scraped cannot be set up.
    #[error("no metrics can be kept: {0}")]
    Metrics(#[from] OTelSdkError),
    /// The process has telemetry already.
    #[error("telemetry is set up twice: {0}")]
    Twice(#[from] TryInitError),
}

/// What is scraped, of this process. Set once, as the meter that feeds it.
static SCRAPED: OnceLock<Registry> = OnceLock::new();

/// The media type of [`exposition`].
pub const EXPOSITION_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every metric in the text format of Prometheus; none if they are not kept for that.
///
/// # Errors
/// Two metrics say that they are the same: a defect.
pub fn exposition() -> Option<Result<String, prometheus::Error>> {
    let registry = SCRAPED.get()?;
    Some(TextEncoder::new().encode_to_string(&registry.gather()))
}

/// Keeps telemetry going. End it with [`Guard::flush`]; a drop alone may lose what was not sent yet.
#[must_use = "dropping it stops telemetry"]
pub struct Guard {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
    log_file: Option<WorkerGuard>,
}

/// Sets telemetry up for the whole process. Call it once, inside the runtime, before [`Metrics::new`].
///
/// # Errors
/// If the log folder or the collector's address cannot be used, or on a second call. An unreachable collector is no error.
pub fn init(config: &TelemetryConfig) -> Result<Guard, Error> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let traces = config.otlp_endpoint.as_ref().map(|endpoint| trace_provider(config, endpoint)).transpose()?;
    let scraped = config.metrics.then(Registry::new);
    let metrics = meter_provider(config, scraped.as_ref())?;
    let (file, log_file) = config.log_dir.as_deref().map(log_file).transpose()?.unzip();

    let spans = traces.as_ref().map(|provider| {
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("filmgate"));
        let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
        // Spans are kept whatever is logged, and only our own.
        layer.with_filter(Targets::new().with_target("filmgate", LevelFilter::INFO))
    });
    let colours = config.log_format == LogFormat::Text && std::io::stderr().is_terminal();
    let files = file.map(|file| log_layer(config, file, false)).transpose()?;
    tracing_subscriber::registry()
        .with(spans)
        .with(log_layer(config, std::io::stderr, colours)?)
        .with(files)
        .try_init()?;

    if let Some(provider) = &traces {
        global::set_tracer_provider(provider.clone());
    }
    if let Some(provider) = &metrics {
        global::set_meter_provider(provider.clone());
    }
    if let Some(registry) = scraped {
        // The subscriber above can be set once only, so this is the first.
        let _ = SCRAPED.set(registry);
    }
    Ok(Guard { traces, metrics, log_file })
}

impl Guard {
    /// Sends and writes what is still held and ends telemetry. Says whether that was done within `limit`.
    pub async fn flush(self, limit: Duration) -> bool {
        // Threads of their own: the exporters block on answers that this runtime must fetch, and a blocking task of the runtime would
        // keep the process from ending after the limit.
        let Self { traces, metrics, log_file } = self;
        let traces = in_thread(move || traces.is_none_or(|provider| provider.shutdown_with_timeout(limit).is_ok()));
        let metrics = in_thread(move || metrics.is_none_or(|provider| provider.shutdown_with_timeout(limit).is_ok()));
        let logs = in_thread(move || {
            drop(log_file);
            true
        });
        let all = async { tokio::join!(traces, metrics, logs) };
        time::timeout(limit, all).await.is_ok_and(|sent| sent == (Ok(true), Ok(true), Ok(true)))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

fn in_thread(work: impl FnOnce() -> bool + Send + 'static) -> oneshot::Receiver<bool> {
    let (done, result) = oneshot::channel();
    std::thread::spawn(move || {
        // Nobody listens any more after the limit.
        let _ = done.send(work());
    });
    result
}

fn trace_provider(config: &TelemetryConfig, endpoint: &Url) -> Result<SdkTracerProvider, Error> {
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint.as_str()).build()?;
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.trace_ratio)));
    let provider = SdkTracerProvider::builder().with_resource(resource(config)).with_sampler(sampler);
    Ok(provider.with_batch_exporter(exporter).build())
}

/// Pushes and is scraped, as far as asked; none if neither is, so that instruments cost next to nothing.
fn meter_provider(config: &TelemetryConfig, scraped: Option<&Registry>) -> Result<Option<SdkMeterProvider>, Error> {
    if config.otlp_endpoint.is_none() && scraped.is_none() {
        return Ok(None);
    }
    let mut provider = SdkMeterProvider::builder().with_resource(resource(config));
    if let Some(endpoint) = &config.otlp_endpoint {
        let exporter = MetricExporter::builder().with_tonic().with_endpoint(endpoint.as_str()).build()?;
        provider = provider.with_periodic_exporter(exporter);
    }
    if let Some(registry) = scraped {
        // Who tells is known from where it was scraped, and there is one scope.
        let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone());
        provider = provider.with_reader(exporter.scope_info_enabled(false).without_target_info().build()?);
    }
    Ok(Some(provider.build()))
}

/// Who is telling, with what `OTEL_RESOURCE_ATTRIBUTES` adds.
fn resource(config: &TelemetryConfig) -> Resource {
    Resource::builder().with_service_name(config.service_name.clone()).build()
}

fn log_file(folder: &Path) -> Result<(NonBlocking, WorkerGuard), Error> {
    // The appender would complain on the error stream, in words that are no log line. What is wrong with the folder it tells below.
    let _ = std::fs::create_dir_all(folder);
    let files = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("filmgate")
        .filename_suffix("log")
        .max_log_files(MAX_LOG_FILES)
        .build(folder)?;
    Ok(tracing_appender::non_blocking(files))
}

fn log_layer<S, W>(config: &TelemetryConfig, writer: W, colours: bool) -> Result<Box<dyn Layer<S> + Send + Sync>, Error>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    // Bytes of bodies and headers are shown by dependencies at `trace`, if at all: that is out of reach, whatever is asked for.
    let most = Targets::new().with_default(LevelFilter::DEBUG).with_target("filmgate", LevelFilter::TRACE);
    let filter = EnvFilter::try_new(quietened(&config.log))?.and(most);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    Ok(match config.log_format {
        LogFormat::Text => layer.with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    })
}

/// The filter with noisy dependencies at `warn`, unless the user speaks of them or wants even less.
fn quietened(filter: &str) -> String {
    let directives = || filter.split(',').map(str::trim);
    let Some(general) = directives().filter_map(|directive| directive.parse::<LevelFilter>().ok()).next_back() else {
        return filter.to_owned();
    };
    let level = general.min(LevelFilter::WARN);
    let quiet = NOISY.iter().filter(|name| !directives().any(|directive| directive.starts_with(**name)));
    quiet.map(|name| format!("{name}={level},")).chain([filter.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_quiet_unless_spoken_of() {
        let quiet = |level: &str| NOISY.map(|name| format!("{name}={level},")).concat();
        for (filter, expected) in [
            ("debug", quiet("warn") + "debug"),
            ("error", quiet("error") + "error"),
            ("off", quiet("off") + "off"),
            ("info,h2=trace", quiet("warn").replace("h2=warn,", "") + "info,h2=trace"),
            ("filmgate=debug", "filmgate=debug".to_owned()),
        ] {
            assert_eq!(quietened(filter), expected);
            EnvFilter::try_new(quietened(filter)).unwrap();
        }
    }

    fn config() -> TelemetryConfig {
        TelemetryConfig {
            log: "info".to_owned(),
            log_format: LogFormat::Json,
            log_dir: None,
            otlp_endpoint: None,
            metrics: false,
            service_name: "test".to_owned(),
            trace_ratio: 1.0,
        }
    }

    #[tokio::test]
    async fn a_collector_that_never_answers_does_not_hold_up_the_end() {
        use opentelemetry::trace::Tracer;
        let collector = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", collector.local_addr().unwrap()).parse().unwrap();
        let traces = trace_provider(&config(), &endpoint).unwrap();
        drop(traces.tracer("test").start("span"));
        let started = time::Instant::now();
        let guard = Guard { traces: Some(traces), metrics: None, log_file: None };
        assert!(!guard.flush(Duration::from_millis(200)).await, "nothing can have been sent");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn log_lines_reach_a_daily_file_as_json() {
        let folder = tempfile::tempdir().unwrap();
        let config = config();
        let (file, log_file) = log_file(folder.path()).unwrap();
        let subscriber = tracing_subscriber::registry().with(log_layer(&config, file, false).unwrap());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(attempt = 3, "kept");
            tracing::debug!("left out");
            tracing::info!(target: "hyper::proto", "left out");
        });
        let loud = TelemetryConfig { log: "trace,h2=trace,filmgate=off".to_owned(), ..config };
        let subscriber = tracing_subscriber::registry().with(log_layer(&loud, std::io::stderr, false).unwrap());
        tracing::subscriber::with_default(subscriber, || {
            assert!(tracing::enabled!(target: "h2::codec", tracing::Level::DEBUG));
            assert!(!tracing::enabled!(target: "h2::codec", tracing::Level::TRACE), "bodies may be in it");
        });
        assert!(Guard { traces: None, metrics: None, log_file: Some(log_file) }.flush(Duration::from_secs(10)).await);

        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 1);
        let name = files[0].file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with("filmgate.") && name.ends_with(".log"), "{name}");
        let line: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&files[0]).unwrap()).unwrap();
        assert_eq!((&line["message"], &line["attempt"]), (&"kept".into(), &3.into()));
    }
}
