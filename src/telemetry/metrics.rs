use std::{borrow::Cow, sync::Arc, time::Duration};

use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter},
};

/// Every instrument of the house, a method each. Cheap to clone; does nothing unless a collector is set.
///
/// Labels come from small closed sets (states, operations, provider ids): never a name of a generation, a prompt or a caller.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Instruments>);

#[derive(Debug)]
struct Instruments {
    requests: Counter<u64>,
    request_duration: Histogram<f64>,
    requests_under_way: UpDownCounter<i64>,
    accepted: Counter<u64>,
    finished: Counter<u64>,
    provider_calls: Counter<u64>,
    provider_call_duration: Histogram<f64>,
    webhooks: Counter<u64>,
    artifact_bytes: Counter<u64>,
    callbacks: Counter<u64>,
    watchers: UpDownCounter<i64>,
    queue_depth: Gauge<u64>,
    chats: Counter<u64>,
    chat_tokens: Counter<u64>,
    chat_first_word: Histogram<f64>,
}

/// Counted as a watcher until dropped.
#[must_use = "dropping it ends the watching"]
#[derive(Debug)]
pub struct Watching {
    watchers: UpDownCounter<i64>,
}

/// A call of a door, as it is counted. Each part comes from a small set: no path, name or text of a caller is one.
#[derive(Debug, Clone)]
pub struct Call {
    /// The door, such as `grpc` or `openai`.
    pub door: &'static str,
    /// What was called: `package.Service/Method`, or method and template of the path, such as `GET /artifacts/{id}`.
    pub route: Arc<str>,
    /// How it ended: the name of a gRPC code, or an HTTP status in digits.
    pub status: Cow<'static, str>,
}

/// Counted as a call under way until dropped.
#[must_use = "dropping it ends the call"]
#[derive(Debug)]
pub struct UnderWay {
    door: &'static str,
    requests: UpDownCounter<i64>,
}

/// Bounds of the times of a door's calls, streams included.
const CALL_SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0];
/// Bounds of the times of calls of providers.
const PROVIDER_CALL_SECONDS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

impl Metrics {
    /// Instruments of the process's meter, which [`super::init`] sets: call that first.
    pub fn new() -> Self {
        Self::of(&global::meter("filmgate"))
    }

    /// Instruments of this meter.
    pub(crate) fn of(meter: &Meter) -> Self {
        Self(Arc::new(Instruments {
            requests: meter
                .u64_counter("filmgate.requests")
                .with_description("Calls of the doors that ended, by door, route and status")
                .build(),
            request_duration: meter
                .f64_histogram("filmgate.request.duration")
                .with_unit("s")
                .with_description("Time from a call's head to the end of its answer, by door and route")
                .with_boundaries(CALL_SECONDS.to_vec())
                .build(),
            requests_under_way: meter
                .i64_up_down_counter("filmgate.requests.active")
                .with_description("Calls of the doors under way, open streams included, by door")
                .build(),
            accepted: meter
                .u64_counter("filmgate.generations.accepted")
                .with_description("Generations accepted, by kind")
                .build(),
            finished: meter
                .u64_counter("filmgate.generations.finished")
                .with_description("Generations that reached a terminal state, by state")
                .build(),
            provider_calls: meter
                .u64_counter("filmgate.provider.calls")
                .with_description("Calls of providers' APIs, by provider, operation and outcome")
                .build(),
            provider_call_duration: meter
                .f64_histogram("filmgate.provider.call.duration")
                .with_unit("s")
                .with_description("Time of calls of providers' APIs, by provider, operation and outcome")
                .with_boundaries(PROVIDER_CALL_SECONDS.to_vec())
                .build(),
            webhooks: meter
                .u64_counter("filmgate.webhooks.received")
                .with_description("Webhooks of providers, genuine or not, by provider and outcome")
                .build(),
            artifact_bytes: meter
                .u64_counter("filmgate.artifacts.stored")
                .with_unit("By")
                .with_description("Bytes of artifacts stored")
                .build(),
            callbacks: meter
                .u64_counter("filmgate.callbacks.sent")
                .with_description("Calls of callback addresses, by outcome")
                .build(),
            watchers: meter
                .i64_up_down_counter("filmgate.watchers")
                .with_description("Open streams of a generation's snapshots")
                .build(),
            queue_depth: meter
                .u64_gauge("filmgate.queue.depth")
                .with_description("Generations waiting for a place at a provider")
                .build(),
            chats: meter
                .u64_counter("filmgate.chats")
                .with_description("Chats that a provider was asked for, by provider and outcome")
                .build(),
            chat_tokens: meter
                .u64_counter("filmgate.chat.tokens")
                .with_description("Tokens of chats, by provider and direction")
                .build(),
            chat_first_word: meter
                .f64_histogram("filmgate.chat.first_word")
                .with_unit("s")
                .with_description("Time from asking a provider to the first piece of its answer, by provider")
                .with_boundaries(vec![0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
                .build(),
        }))
    }

    /// A call of a door ended.
    pub fn called(&self, call: Call, took: Duration) {
        let labels = [
            KeyValue::new("door", call.door),
            KeyValue::new("route", call.route),
            KeyValue::new("status", call.status),
        ];
        self.0.requests.add(1, &labels);
        // Each time is many series, and how long a failure took is seldom asked.
        self.0.request_duration.record(took.as_secs_f64(), &labels[..2]);
    }

    /// A call of a door is under way, until the answer is dropped.
    pub fn call_under_way(&self, door: &'static str) -> UnderWay {
        self.0.requests_under_way.add(1, &[KeyValue::new("door", door)]);
        UnderWay { door, requests: self.0.requests_under_way.clone() }
    }

    /// A generation of this kind was accepted.
    pub fn accepted(&self, kind: &'static str) {
        self.0.accepted.add(1, &[KeyValue::new("kind", kind)]);
    }

    /// A generation ended in this terminal state.
    pub fn finished(&self, state: &'static str) {
        self.0.finished.add(1, &[KeyValue::new("state", state)]);
    }

    /// A provider said the first piece of an answer so long after it was asked.
    pub fn chat_began(&self, provider: &str, took: Duration) {
        self.0.chat_first_word.record(took.as_secs_f64(), &[KeyValue::new("provider", provider.to_owned())]);
    }

    /// A chat is over. `outcome` is `succeeded` or `failed`; tokens are those that the provider told.
    pub fn chat_ended(&self, provider: &str, outcome: &'static str, tokens: Option<(u64, u64)>) {
        let of = |key, value| [KeyValue::new("provider", provider.to_owned()), KeyValue::new(key, value)];
        self.0.chats.add(1, &of("outcome", outcome));
        if let Some((read, written)) = tokens {
            self.0.chat_tokens.add(read, &of("direction", "input"));
            self.0.chat_tokens.add(written, &of("direction", "output"));
        }
    }

    /// A provider's API was called. `operation` is a method of the port, `outcome` `ok` or a kind of error.
    pub fn provider_called(&self, provider: &str, operation: &'static str, outcome: &'static str, took: Duration) {
        let labels = [
            KeyValue::new("provider", provider.to_owned()),
            KeyValue::new("operation", operation),
            KeyValue::new("outcome", outcome),
        ];
        self.0.provider_calls.add(1, &labels);
        self.0.provider_call_duration.record(took.as_secs_f64(), &labels);
    }

    /// A webhook came to the address of this provider.
    pub fn webhook_received(&self, provider: &str, outcome: &'static str) {
        let labels = [KeyValue::new("provider", provider.to_owned()), KeyValue::new("outcome", outcome)];
        self.0.webhooks.add(1, &labels);
    }

    /// An artifact of this many bytes was stored.
    pub fn artifact_stored(&self, n_bytes: u64) {
        self.0.artifact_bytes.add(n_bytes, &[]);
    }

    /// A callback was tried. `outcome` is `delivered` or a kind of error.
    pub fn callback_sent(&self, outcome: &'static str) {
        self.0.callbacks.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// Somebody watches a generation, until the answer is dropped.
    pub fn watching(&self) -> Watching {
        self.0.watchers.add(1, &[]);
        Watching { watchers: self.0.watchers.clone() }
    }

    /// This many generations wait.
    pub fn queue_depth(&self, n_waiting: u64) {
        self.0.queue_depth.record(n_waiting, &[]);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.requests.add(-1, &[KeyValue::new("door", self.door)]);
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watchers.add(-1, &[]);
    }
}
