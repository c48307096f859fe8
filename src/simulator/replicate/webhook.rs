//! Callbacks: one task per prediction that asked for them, signed as Standard Webhooks says.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Sha256;
use tokio::time::sleep;

use super::{
    life::{Outcome, Stage},
    prediction::{Callback, Prediction},
};
use crate::simulator::{
    World,
    fault::{CallbackFault, Operation, Subject},
};

/// Pause between two callbacks of one prediction that are not its start or its end.
const THROTTLE: Duration = Duration::from_millis(500);

/// Tries of a completion callback after the first; with the pause doubling from 1 s the last is after about a minute.
const RETRIES: u32 = 6;

/// What a stale callback pretends its age to be.
const STALE: Duration = Duration::from_secs(3600);

/// What a callback tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Start,
    Output,
    Logs,
    Completed,
}

impl Event {
    pub(super) const ALL: [Self; 4] = [Self::Start, Self::Output, Self::Logs, Self::Completed];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Output => "output",
            Self::Logs => "logs",
            Self::Completed => "completed",
        }
    }
}

impl Callback {
    fn wants(&self, event: Event) -> bool {
        match &self.filter {
            Some(filter) => filter.contains(&event),
            None => matches!(event, Event::Output | Event::Completed),
        }
    }
}

/// Starts the callbacks of a new prediction, if it asked for them. Beyond the limit of such predictions at a time they
/// are only counted as skipped.
pub(super) fn start(world: &Arc<World>, prediction: &Arc<Prediction>, origin: &str) {
    let Some(callback) = prediction.callback.clone() else { return };
    let Ok(slot) = Arc::clone(&world.replicate.callers).try_acquire_owned() else {
        world.replicate.counts.webhooks_skipped.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let caller = Caller {
        world: Arc::clone(world),
        prediction: Arc::clone(prediction),
        origin: Arc::from(origin),
        callback: Arc::new(callback),
    };
    world.tasks.spawn(async move {
        let stop = caller.world.stop.clone();
        stop.run_until_cancelled(caller.follow()).await;
        drop(slot);
    });
}

#[derive(Debug, Clone)]
struct Caller {
    world: Arc<World>,
    prediction: Arc<Prediction>,
    origin: Arc<str>,
    callback: Arc<Callback>,
}

/// A callback ready to go.
#[derive(Debug, Clone)]
struct Letter {
    id: String,
    event: Event,
    body: Bytes,
    sent_at: i64,
    secret: Arc<str>,
}

impl Caller {
    /// Follows the prediction to its end and reports the way.
    async fn follow(self) {
        let plan = &self.prediction.plan;
        let mut told_start = false;
        let mut told_logs = String::new();
        loop {
            let marks = self.prediction.marks();
            let elapsed = self.prediction.elapsed();
            let stage = plan.stage(marks, elapsed);
            if !told_start && plan.started(marks, elapsed).is_some() {
                told_start = true;
                self.tell(Event::Start).await;
            }
            let end = plan.end(marks).map(|end| end.at);
            let next = match &stage {
                Stage::Ended(end) => return self.finish(&end.outcome).await,
                Stage::Starting => Some(end.map_or(plan.boot, |end| end.min(plan.boot))).filter(|at| *at > elapsed),
                // Without interest in logs there is nothing to look at before the end.
                Stage::Processing { .. } if !self.callback.wants(Event::Logs) => None,
                Stage::Processing { .. } => {
                    let logs = plan.logs(&stage);
                    if logs != told_logs {
                        told_logs = logs;
                        self.tell(Event::Logs).await;
                    }
                    let later = elapsed + THROTTLE;
                    Some(end.map_or(later, |end| end.min(later)))
                }
            };
            // Without a next moment only a cancel or a release moves the job.
            self.prediction.wait(next.or(end), marks).await;
        }
    }

    async fn finish(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Succeeded => {
                self.tell(Event::Output).await;
                self.tell(Event::Completed).await;
            }
            Outcome::Failed(_) | Outcome::Canceled => self.tell(Event::Completed).await,
            // The vendor does not list this end among those it calls back for.
            Outcome::Aborted => {}
        }
    }

    async fn tell(&self, event: Event) {
        if !self.callback.wants(event) {
            return;
        }
        let prediction = &self.prediction;
        let nth = prediction.tally.webhooks.fetch_add(1, Ordering::Relaxed) + 1;
        let subject = Subject { prompt: prediction.prompt(), model: &prediction.model.name, nth_of_job: nth };
        let faults = self.world.judge(Operation::Webhook, subject).callback;
        let mut letter = Letter {
            id: format!("msg_{}", &self.world.new_id()[..24]),
            event,
            body: Bytes::from(prediction.page(&self.origin).to_string()),
            sent_at: Timestamp::now().as_second(),
            secret: Arc::clone(&self.world.replicate.webhook_secret),
        };
        let mut late = Duration::ZERO;
        let mut n_copies = 1;
        for fault in faults {
            match fault {
                CallbackFault::Duplicate => n_copies += 1,
                CallbackFault::Late(delay) => late += delay,
                CallbackFault::Lost => n_copies = 0,
                CallbackFault::Forged => letter.secret = Arc::from("whsec_Zm9yZ2VyeQ=="),
                CallbackFault::Stale => letter.sent_at -= i64::try_from(STALE.as_secs()).unwrap_or(i64::MAX),
            }
        }
        if n_copies == 0 {
            return;
        }
        if late.is_zero() {
            return self.send(&letter, n_copies).await;
        }
        // A late callback does not hold up the next one: that is how they get out of order.
        let caller = self.clone();
        self.world.tasks.spawn(async move {
            let stop = caller.world.stop.clone();
            stop.run_until_cancelled(async {
                sleep(late).await;
                caller.send(&letter, n_copies).await;
            })
            .await;
        });
    }

    /// Sends every copy; a failed completion is repeated with growing pauses.
    async fn send(&self, letter: &Letter, n_copies: u32) {
        for _ in 0..n_copies {
            let mut pause = self.world.settings().webhook_retry;
            let retries = if letter.event == Event::Completed { RETRIES } else { 0 };
            for attempt in 0..=retries {
                if self.post(letter).await || attempt == retries {
                    break;
                }
                sleep(pause).await;
                pause *= 2;
            }
        }
    }

    /// One try; true if the receiver took it.
    async fn post(&self, letter: &Letter) -> bool {
        let replicate = &self.world.replicate;
        let Ok(_turn) = replicate.posting.acquire().await else { return false };
        replicate.counts.webhooks_sent.fetch_add(1, Ordering::Relaxed);
        let answer = replicate
            .http
            .post(&self.callback.url)
            .header("content-type", "application/json")
            .header("webhook-id", &letter.id)
            .header("webhook-timestamp", letter.sent_at)
            .header("webhook-signature", sign(&letter.secret, &letter.id, letter.sent_at, &letter.body))
            .body(letter.body.clone())
            .send()
            .await;
        let taken = answer.is_ok_and(|answer| answer.status().is_success());
        if !taken {
            replicate.counts.webhooks_failed.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }
}

/// The `webhook-signature` of a body: HMAC-SHA-256 over id, time and body, keyed by what follows `whsec_`.
fn sign(secret: &str, id: &str, sent_at: i64, body: &[u8]) -> String {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap_or_default();
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return String::new() };
    mac.update(format!("{id}.{sent_at}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// Reads `webhook_events_filter`.
pub(super) fn filter(value: &Value) -> Option<Vec<Event>> {
    let read = |name: &Value| Event::ALL.into_iter().find(|event| name.as_str() == Some(event.as_str()));
    value.as_array()?.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_matches_the_public_vector() {
        let signature = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn without_a_filter_outputs_and_completion_are_told() {
        let callback = |filter| Callback { url: String::new(), filter };
        let told =
            |callback: &Callback| Event::ALL.into_iter().filter(|event| callback.wants(*event)).collect::<Vec<_>>();
        assert_eq!(told(&callback(None)), [Event::Output, Event::Completed]);
        assert_eq!(told(&callback(filter(&serde_json::json!(["start"])))), [Event::Start]);
        assert_eq!(filter(&serde_json::json!(["start", "finish"])), None);
    }
}
