//! What holds for every vendor alike: a deadline for each call, a span, counts, and whether the vendor is up.
//!
//! How many calls run at once is the engine's business, because it knows which jobs wait.

mod chat;
mod health;

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, field, info_span};

use crate::{
    domain::{
        artifact::Kind,
        card::ModelCard,
        names::{ProviderId, SubmitKey},
    },
    failpoint::{self, Point},
    telemetry::Metrics,
};

use self::health::Health;
use super::{
    breaker::Breaker,
    chat::ChatProvider,
    error::{Effect, ErrorKind, ProviderError},
    port::{ByteSource, CancelOutcome, Found, KeyState, Order, Progress, Provider, RemoteOutput, Submitted, Ticket},
    webhook::{Delivery, Heard, HookError},
};

/// An adapter ends its calls by itself and with a better explanation; the guard only makes sure that it does.
const GRACE: Duration = Duration::from_secs(5);
/// Pages that a `find` may fetch, each a call of its own.
const CALLS_OF_A_FIND: u32 = 5;

/// A vendor with what holds for all of them.
#[derive(Debug)]
pub struct Guarded {
    inner: Arc<dyn Provider>,
    deadlines: Deadlines,
    /// Shared with answers under way.
    health: Arc<Health>,
    metrics: Metrics,
}

/// Longest time of each method.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Handing over an order, with the uploads before it.
    pub submit: Duration,
    /// Looking for a job.
    pub find: Duration,
    /// Asking about a job, or to stop it.
    pub job: Duration,
    /// Opening an output, until its first bytes may be read.
    pub open: Duration,
}

impl Deadlines {
    /// For an adapter whose calls take at most `call` each and whose transfers may be silent for `transfer`.
    pub fn of(call: Duration, transfer: Duration) -> Self {
        let submit = transfer.saturating_add(call).saturating_add(GRACE);
        Self {
            submit,
            find: call.saturating_mul(CALLS_OF_A_FIND).saturating_add(GRACE),
            job: call.saturating_add(GRACE),
            open: transfer.saturating_add(GRACE),
        }
    }
}

/// A method of the port, for spans and counts.
#[derive(Debug, Clone, Copy)]
enum Op {
    Submit,
    Find,
    Poll,
    Cancel,
    Open,
    Chat,
}

impl Op {
    fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Find => "find",
            Self::Poll => "poll",
            Self::Cancel => "cancel",
            Self::Open => "open",
            Self::Chat => "chat",
        }
    }
}

impl Guarded {
    /// Around `inner`. Counts go to the meter provider that is global now, so telemetry is set up before.
    pub fn new(inner: Arc<dyn Provider>, deadlines: Deadlines) -> Self {
        Self::with_metrics(inner, deadlines, Metrics::new())
    }

    fn with_metrics(inner: Arc<dyn Provider>, deadlines: Deadlines, metrics: Metrics) -> Self {
        Self { inner, deadlines, health: Arc::default(), metrics }
    }

    /// Whether it gets new work.
    pub fn breaker(&self) -> &Arc<Breaker> {
        &self.health.breaker
    }

    /// True if no new work goes there just now: its last calls failed, or none of its keys may be used.
    pub fn rests(&self) -> bool {
        let keys = self.inner.keys();
        self.health.breaker.resting_until().is_some() || keys.n > 0 && keys.n_usable == 0
    }

    /// Until when no order is sent, if that is known.
    pub fn resting_until(&self) -> Option<Instant> {
        self.health.breaker.resting_until().max(self.inner.keys().bound_until)
    }

    /// Whether it answered when it was last asked: false if it could not be reached, was broken, or did not accept our
    /// account; nothing if it has not been asked yet.
    pub fn is_up(&self) -> Option<bool> {
        self.health.is_up()
    }

    async fn call<T>(
        &self,
        op: Op,
        deadline: Duration,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let span = info_span!(
            "provider.call",
            otel.kind = "client",
            provider.id = Provider::id(self).id(),
            operation = op.as_str(),
            outcome = field::Empty
        );
        let began = Instant::now();
        let result = match timeout(deadline, call.instrument(span.clone())).await {
            Ok(result) => result,
            Err(_) => Err(self.overdue(op, deadline)),
        };
        let outcome = result.as_ref().map_or_else(|error| error.kind.as_str(), |_| "ok");
        span.record("outcome", outcome);
        self.metrics.provider_called(Provider::id(self).id(), op.as_str(), outcome, began.elapsed());
        self.health.note(op, result.as_ref().err());
        result
    }

    fn overdue(&self, op: Op, deadline: Duration) -> ProviderError {
        let effect = match op {
            Op::Submit | Op::Chat => Effect::Maybe,
            Op::Find | Op::Poll | Op::Cancel | Op::Open => Effect::None,
        };
        let summary = format!("did not end {} within {} s", op.as_str(), deadline.as_secs());
        ProviderError::new(Provider::id(self), ErrorKind::Timeout, effect, summary)
    }
}

#[async_trait]
impl Provider for Guarded {
    fn id(&self) -> &ProviderId {
        self.inner.id()
    }

    fn models(&self) -> &[Arc<ModelCard>] {
        self.inner.models()
    }

    fn serves_undescribed(&self) -> bool {
        self.inner.serves_undescribed()
    }

    fn chat(&self) -> Option<&dyn ChatProvider> {
        self.inner.chat().map(|_| self as _)
    }

    fn ready(&self, kind: Kind) -> Result<(), String> {
        self.inner.ready(kind)
    }

    fn keys(&self) -> KeyState {
        self.inner.keys()
    }

    async fn submit(&self, order: &Order, key: &SubmitKey) -> Result<Submitted, ProviderError> {
        failpoint::reach(Point::SendBefore);
        let submitted = self.call(Op::Submit, self.deadlines.submit, self.inner.submit(order, key)).await;
        failpoint::reach(Point::ReceiveAfter);
        submitted
    }

    async fn find(&self, order: &Order, key: &SubmitKey, sent_at: Timestamp) -> Result<Found, ProviderError> {
        self.call(Op::Find, self.deadlines.find, self.inner.find(order, key, sent_at)).await
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        self.call(Op::Poll, self.deadlines.job, self.inner.poll(ticket)).await
    }

    async fn cancel(&self, ticket: &Ticket) -> Result<CancelOutcome, ProviderError> {
        self.call(Op::Cancel, self.deadlines.job, self.inner.cancel(ticket)).await
    }

    async fn open(&self, output: &RemoteOutput, ticket: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
        self.call(Op::Open, self.deadlines.open, self.inner.open(output, ticket)).await
    }

    async fn hear(&self, delivery: &Delivery) -> Result<Heard, HookError> {
        // Mostly no call of the vendor at all; at times one for its key.
        timeout(self.deadlines.job, self.inner.hear(delivery)).await.unwrap_or(Err(HookError::KeyUnavailable))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry::metrics::MeterProvider;
    use opentelemetry_sdk::metrics::{
        InMemoryMetricExporter, SdkMeterProvider,
        data::{AggregatedMetrics, MetricData},
    };

    use super::*;
    use crate::{
        domain::failure::Charged,
        provider::{contract, port::Status, sample::Sample},
    };

    const SECOND: Duration = Duration::from_secs(1);

    /// A vendor that answers polls as the test says, and everything else never.
    #[derive(Debug)]
    struct Scripted {
        sample: Sample,
        answers: Mutex<Vec<ErrorKind>>,
    }

    #[async_trait]
    impl Provider for Scripted {
        fn id(&self) -> &ProviderId {
            Provider::id(&self.sample)
        }

        fn models(&self) -> &[Arc<ModelCard>] {
            self.sample.models()
        }

        async fn submit(&self, _: &Order, _: &SubmitKey) -> Result<Submitted, ProviderError> {
            std::future::pending().await
        }

        async fn find(&self, _: &Order, _: &SubmitKey, _: Timestamp) -> Result<Found, ProviderError> {
            std::future::pending().await
        }

        async fn poll(&self, _: &Ticket) -> Result<Progress, ProviderError> {
            match self.answers.lock().unwrap().pop() {
                None => Ok(Progress::of(Status::Cancelled(Charged::No))),
                Some(kind) => Err(ProviderError::new(self.id(), kind, Effect::None, "scripted")),
            }
        }

        async fn cancel(&self, _: &Ticket) -> Result<CancelOutcome, ProviderError> {
            std::future::pending().await
        }

        async fn open(&self, _: &RemoteOutput, _: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
            std::future::pending().await
        }
    }

    fn scripted(answers: Vec<ErrorKind>, metrics: Metrics) -> Guarded {
        let scripted = Scripted { sample: Sample::new(None, SECOND).unwrap(), answers: Mutex::new(answers) };
        Guarded::with_metrics(Arc::new(scripted), Deadlines::of(SECOND, SECOND), metrics)
    }

    fn ticket() -> Ticket {
        Ticket { account: "a".to_owned(), job: "j".to_owned(), data: serde_json::Value::Null }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_never_ends_is_ended_and_only_a_submit_may_have_had_an_effect() {
        let guarded = scripted(Vec::new(), Metrics::new());
        let order = contract::order(&guarded, Kind::Video);
        let (key, output) = (SubmitKey::fresh(), RemoteOutput::Inline(bytes::Bytes::new()));
        let errors = [
            (guarded.submit(&order, &key).await.unwrap_err(), Effect::Maybe),
            (guarded.find(&order, &key, Timestamp::now()).await.unwrap_err(), Effect::None),
            (guarded.cancel(&ticket()).await.unwrap_err(), Effect::None),
            (guarded.open(&output, None).await.unwrap_err(), Effect::None),
        ];
        for (error, effect) in errors {
            assert_eq!((error.kind, error.effect), (ErrorKind::Timeout, effect), "{error}");
        }
    }

    #[tokio::test]
    async fn it_is_up_or_down_as_the_last_telling_answer_says() {
        let check = async |kind: ErrorKind, expected: Option<bool>| {
            let guarded = scripted(vec![kind], Metrics::new());
            assert_eq!(guarded.is_up(), None);
            guarded.poll(&ticket()).await.unwrap_err();
            assert_eq!(guarded.is_up(), expected, "{kind:?}");
            guarded.poll(&ticket()).await.unwrap();
            assert_eq!(guarded.is_up(), Some(true));
        };
        check(ErrorKind::Transport, Some(false)).await;
        check(ErrorKind::Overloaded, Some(false)).await;
        check(ErrorKind::Unauthenticated, Some(false)).await;
        check(ErrorKind::TicketUnknown, Some(true)).await;
        check(ErrorKind::RateLimited, Some(true)).await;
        check(ErrorKind::Protocol, None).await;
    }

    #[tokio::test]
    async fn an_inputs_host_that_fails_says_nothing_about_the_vendor() {
        let guarded = scripted(Vec::new(), Metrics::new());
        for kind in [ErrorKind::Transport, ErrorKind::Timeout, ErrorKind::Overloaded, ErrorKind::InvalidOrder] {
            let error =
                ProviderError::new(Provider::id(&guarded), kind, Effect::None, "an input's URL fails").of_input();
            (0..10).for_each(|_| guarded.health.note(Op::Submit, Some(&error)));
        }
        assert_eq!((guarded.is_up(), guarded.rests(), guarded.breaker().recent()), (None, false, (0, 0)));
    }

    #[tokio::test]
    async fn every_call_is_counted_with_its_outcome() {
        let exporter = InMemoryMetricExporter::default();
        let meters = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
        let guarded = scripted(vec![ErrorKind::Timeout], Metrics::of(&meters.meter("test")));
        guarded.poll(&ticket()).await.unwrap_err();
        guarded.poll(&ticket()).await.unwrap();
        guarded.poll(&ticket()).await.unwrap();
        meters.force_flush().unwrap();
        let mut seen = Vec::new();
        for metrics in exporter.get_finished_metrics().unwrap() {
            for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
                if let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() {
                    seen.extend(sum.data_points().map(|point| {
                        let mut labels: Vec<String> =
                            point.attributes().map(|label| format!("{}={}", label.key, label.value)).collect();
                        labels.sort();
                        (labels.join(" "), point.value())
                    }));
                }
            }
        }
        seen.sort();
        let expected = [("ok", 2), ("timeout", 1)]
            .map(|(outcome, n)| (format!("operation=poll outcome={outcome} provider=sample"), n));
        assert_eq!(seen, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_guarded_adapter_keeps_the_contract() {
        let sample = Sample::new(None, SECOND).unwrap();
        let guarded = Guarded::new(Arc::new(sample), Deadlines::of(SECOND, SECOND));
        contract::stops(&guarded, &contract::order(&guarded, Kind::Video)).await;
        contract::knows_no_foreign_job(&guarded).await;
    }
}
