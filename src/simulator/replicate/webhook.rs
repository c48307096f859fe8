//! Callbacks: one task per prediction that asked for them, signed as Standard Webhooks says.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::{
    Replicate,
    prediction::{Callback, Prediction},
};
use crate::simulator::desk::{Letter, Outcome, Stage};

/// Pause between two callbacks of one prediction that are not its start or its end.
const THROTTLE: Duration = Duration::from_millis(500);

/// Tries of a completion callback after the first; with the pause doubling from 1 s the last is after about a minute.
const RETRIES: u32 = 6;

/// The key of a forger.
const FORGED_SECRET: &str = "whsec_Zm9yZ2VyeQ==";

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

/// Starts the callbacks of a new prediction, if it asked for them.
pub(super) fn start(replicate: &Arc<Replicate>, prediction: &Arc<Prediction>, origin: &str) {
    let Some(callback) = prediction.data.callback.clone() else { return };
    let caller = Caller {
        replicate: Arc::clone(replicate),
        prediction: Arc::clone(prediction),
        origin: origin.to_owned(),
        callback,
    };
    replicate.desk.follow(caller.follow());
}

#[derive(Debug)]
struct Caller {
    replicate: Arc<Replicate>,
    prediction: Arc<Prediction>,
    origin: String,
    callback: Callback,
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
        let secret = Arc::clone(&self.replicate.webhook_secret);
        let letter = Letter {
            url: self.callback.url.clone(),
            body: Bytes::from(self.prediction.page(&self.origin).to_string()),
            retries: if event == Event::Completed { RETRIES } else { 0 },
            sign: Arc::new(move |stamp, body| {
                let secret = if stamp.forged { FORGED_SECRET } else { &secret };
                let id = format!("msg_{}", stamp.id);
                let signature = sign(secret, &id, stamp.sent_at, body);
                let sent_at = stamp.sent_at.to_string();
                vec![("webhook-id", id), ("webhook-timestamp", sent_at), ("webhook-signature", signature)]
            }),
        };
        self.replicate.desk.tell(&self.prediction, letter).await;
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
