//! Traces across calls and restarts, in the form of W3C Trace Context.

use std::collections::HashMap;

use http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator},
    trace::TraceContextExt,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";

/// Makes the span a part of the caller's trace, if the headers name one. Works only before the span is first entered.
pub fn join_trace(span: &Span, headers: &HeaderMap) {
    make_child(span, TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers)));
}

/// The span as a `traceparent`, to be stored or sent; nothing if traces are off.
pub fn traceparent_of(span: &Span) -> Option<String> {
    let mut fields = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut fields);
    fields.remove(TRACEPARENT)
}

/// Makes the span a child of a stored or received `traceparent`. Without one, or with a malformed one, it stays as it is.
///
/// Works only before the span is first entered.
pub fn set_parent(span: &Span, traceparent: Option<&str>) {
    if let Some(traceparent) = traceparent {
        make_child(span, context_of(traceparent));
    }
}

/// Links the span to the one of a `traceparent` stored before a restart: same story, another trace. A malformed one is left out.
pub fn link_from_traceparent(span: &Span, traceparent: &str) {
    span.add_link(context_of(traceparent).span().span_context().clone());
}

fn make_child(span: &Span, parent: Context) {
    if parent.span().span_context().is_valid() {
        // An error means that traces are off, or that the span is disabled.
        let _ = span.set_parent(parent);
    }
}

fn context_of(traceparent: &str) -> Context {
    let fields = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    TraceContextPropagator::new().extract_with_context(&Context::new(), &fields)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// Runs `work` with traces on and gives the finished spans.
    fn traced(work: impl FnOnce()) -> Vec<opentelemetry_sdk::trace::SpanData> {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        exporter.get_finished_spans().unwrap()
    }

    #[test]
    fn headers_give_the_callers_trace() {
        let spans = traced(|| {
            for value in [None, Some("rubbish"), Some(CALLER)] {
                let headers = value.map(|value| (http::HeaderName::from_static(TRACEPARENT), value.parse().unwrap()));
                join_trace(&tracing::info_span!("call"), &headers.into_iter().collect());
            }
        });
        let parents: Vec<_> = spans.iter().map(|span| span.parent_span_id.to_string()).collect();
        assert_eq!(parents, ["0000000000000000", "0000000000000000", "b7ad6b7169203331"]);
        assert_eq!(spans[2].span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn a_child_belongs_to_the_callers_trace_and_can_be_stored() {
        let mut stored = None;
        let spans = traced(|| {
            let span = tracing::info_span!("work");
            set_parent(&span, Some(CALLER));
            stored = traceparent_of(&span);
        });
        let (parent, own) = (CALLER.rsplit('-').nth(1).unwrap(), spans[0].span_context.span_id().to_string());
        assert_eq!(spans[0].parent_span_id.to_string(), parent);
        assert_eq!(stored.unwrap(), CALLER.replace(parent, &own));
    }

    #[test]
    fn a_restarted_story_is_linked_to_its_beginning() {
        let spans = traced(|| link_from_traceparent(&tracing::info_span!("again"), CALLER));
        assert_eq!(spans[0].links.len(), 1);
        assert_eq!(spans[0].links[0].span_context.span_id().to_string(), "b7ad6b7169203331");
    }

    #[test]
    fn malformed_parents_are_left_out_and_without_traces_nothing_is_stored() {
        let spans = traced(|| {
            let span = tracing::info_span!("work");
            set_parent(&span, Some("00-zz-1-01"));
            set_parent(&span, None);
            link_from_traceparent(&span, "");
        });
        assert_eq!(spans[0].parent_span_id, opentelemetry::SpanId::INVALID);
        assert!(spans[0].links.is_empty());
        assert_eq!(traceparent_of(&tracing::info_span!("untraced")), None);
    }
}
