//! A chat under way: what it said so far, and the one record that it leaves however it ends.

use std::time::Duration;

use futures_util::{StreamExt, future::BoxFuture, stream};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::{sync::oneshot, time::timeout};
use tracing::Span;

use super::{Answer, AskedPart, ChatRequest, Ended, Error, Said, Speaker, book::Place, failed};
use crate::{
    domain::{
        catalog::Talker,
        chat::{ChatPrice, ChatRecord},
        failure::{Charged, Failure, FailurePhase, FailureReason},
        names::ChatId,
        session::{Message, Role},
    },
    engine::Clock,
    provider::{
        chat::{ChatDelta, ChatEnd, ChatEvent, ChatStream},
        error::ProviderError,
    },
    telemetry::Metrics,
};

/// Most bytes of an answer that a session keeps.
const MOST_KEPT: usize = 256 << 10;
/// How long the end of an answer waits for its turn to be in its session, so that the next chat there knows of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a chat will leave. Dropped in the middle, it leaves that nobody knows what was used.
#[derive(Debug)]
pub(super) struct Leaving {
    place: Option<Place>,
    record: ChatRecord,
    price: Option<ChatPrice>,
    /// Its turns before the answer; nothing without a session.
    asked: Vec<Message>,
    /// The answer so far, if a session keeps it.
    answer: String,
    source: String,
    clock: Clock,
    metrics: Metrics,
    span: Span,
}

impl Leaving {
    /// Of a chat that is about to be sent.
    pub(super) fn of(
        request: &ChatRequest,
        talker: &Talker,
        place: Place,
        (clock, metrics, span): (Clock, Metrics, Span),
    ) -> Self {
        let now = clock.now();
        let record = ChatRecord {
            id: ChatId::fresh(),
            tenant: request.tenant.clone(),
            session: request.session.clone(),
            model: talker.model.clone(),
            labels: request.labels.clone(),
            began_at: now,
            ended_at: now,
            succeeded: false,
            usage: None,
            cost: None,
        };
        let asked = if record.session.is_some() { turns(request, record.id, now) } else { Vec::new() };
        let price = talker.card.as_ref().and_then(|card| card.price);
        let (answer, source) = (String::new(), request.source.clone());
        Self { place: Some(place), record, price, asked, answer, source, clock, metrics, span }
    }

    /// What it will leave, as far as it is known.
    pub(super) fn record(&self) -> &ChatRecord {
        &self.record
    }

    /// The provider refused it, or could not be asked.
    pub(super) fn refused(mut self, error: &ProviderError) {
        match charged(error) {
            // Nothing happened, so nothing stays.
            Charged::No => self.place = None,
            Charged::Yes | Charged::Unknown => {}
        }
    }

    /// What the end of the process is to a chat that was sent: it may be charged, and is no refusal of the kind that may be sent again.
    pub(super) fn cut_off(&self) -> Error {
        let message = "the server is shutting down, and the answer had not come to its end";
        let failure =
            Failure::new(FailureReason::ProviderUnreachable, FailurePhase::Provider, Charged::Unknown, message);
        Error::Provider { failure: Box::new(failure.at(&self.record.model.provider)), retry_after: None }
    }

    fn hear(&mut self, delta: &ChatDelta) {
        let is_kept = self.record.session.is_some() && delta.choice == 0;
        if is_kept && self.answer.len() + delta.text.len() <= MOST_KEPT {
            self.answer.push_str(&delta.text);
        }
    }

    fn end(&mut self, end: &ChatEnd) -> Ended {
        self.record.succeeded = true;
        self.record.usage = end.usage;
        self.record.cost = end.usage.zip(self.price).map(|(usage, price)| price.of(&usage));
        Ended { usage: end.usage, cost: self.record.cost, provider_chat_id: end.vendor_id.clone() }
    }

    /// Has it written, once.
    fn write(&mut self) -> Option<oneshot::Receiver<()>> {
        let place = self.place.take()?;
        let record = &mut self.record;
        record.ended_at = self.clock.now().max(record.began_at);
        let outcome = if record.succeeded { "succeeded" } else { "failed" };
        let tokens = record.usage.map(|usage| (usage.input, usage.output));
        self.metrics.chat_ended(record.model.provider.id(), outcome, tokens);
        self.span.record("outcome", outcome);
        let mut turns = std::mem::take(&mut self.asked);
        if !self.answer.is_empty() {
            let meta = json!({ "source": self.source, "model": record.model, "interrupted": !record.succeeded });
            turns.push(turn(record.id, Role::Assistant, std::mem::take(&mut self.answer), meta, record.ended_at));
        } else if !record.succeeded {
            // Nothing was said, and the question will be asked again.
            turns.clear();
        }
        Some(place.write(record.clone(), turns))
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // Nobody waits for it.
        drop(self.write());
    }
}

/// Whether a call that failed so is charged.
pub(super) fn charged(error: &ProviderError) -> Charged {
    use crate::provider::error::Effect;
    match (error.effect, error.charged) {
        (Effect::None, charged) => charged,
        (Effect::Maybe, Charged::Yes) => Charged::Yes,
        (Effect::Maybe, Charged::No | Charged::Unknown) => Charged::Unknown,
    }
}

/// The answer as its reader gets it. `ending` ends it with the process.
pub(super) fn answer(said: ChatStream, leaving: Leaving, ending: BoxFuture<'static, ()>) -> Answer {
    // Boxed, so that a pointer is moved with each event.
    let talk = Box::new(Talk { said, leaving, ending });
    let next = async |talk: Option<Box<Talk>>| {
        let mut talk = talk?;
        let (said, goes_on) = talk.next().await?;
        Some((said, goes_on.then_some(talk)))
    };
    Answer(stream::unfold(Some(talk), next).boxed())
}

struct Talk {
    said: ChatStream,
    leaving: Leaving,
    ending: BoxFuture<'static, ()>,
}

impl Talk {
    /// What is said next, and whether more may follow.
    async fn next(&mut self) -> Option<(Result<Said, Error>, bool)> {
        let event = tokio::select! {
            // The end of the process waits for no talker for long.
            biased;
            () = &mut self.ending => return Some((Err(self.leaving.cut_off()), false)),
            event = self.said.next() => event?,
        };
        match event {
            Ok(ChatEvent::Delta(delta)) => {
                self.leaving.hear(&delta);
                Some((Ok(Said::More(delta)), true))
            }
            Ok(ChatEvent::End(end)) => {
                let ended = self.leaving.end(&end);
                let written = self.leaving.write();
                if let Some(written) = written.filter(|_| self.leaving.record.session.is_some()) {
                    // One that takes longer, or cannot be written, is told as it is: the answer is whole.
                    drop(timeout(PATIENCE, written).await);
                }
                Some((Ok(Said::End(ended)), false))
            }
            Err(error) => Some((Err(failed(&error)), false)),
        }
    }
}

/// What is new of the conversation, as its session keeps it.
fn turns(request: &ChatRequest, chat: ChatId, now: Timestamp) -> Vec<Message> {
    let turns = request.messages.iter().filter_map(|message| {
        let role = match message.speaker {
            Speaker::User => Role::User,
            Speaker::Assistant => Role::Assistant,
            // Instructions come with each request; what tools answered means nothing without their calls.
            Speaker::System | Speaker::Tool => return None,
        };
        let texts = message.content.iter().filter_map(|part| match part {
            AskedPart::Text(text) => Some(text.as_str()),
            AskedPart::Image { .. } => None,
        });
        let text = texts.collect::<Vec<_>>().join("\n");
        let n_images = message.content.iter().filter(|part| matches!(part, AskedPart::Image { .. })).count();
        let mut meta = json!({ "source": request.source });
        if n_images > 0 {
            meta["images"] = n_images.into();
        }
        (!text.is_empty() || n_images > 0).then(|| turn(chat, role, text, meta, now))
    });
    turns.collect()
}

fn turn(chat: ChatId, role: Role, text: String, meta: Value, created_at: Timestamp) -> Message {
    let meta = match meta {
        Value::Object(meta) => meta,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    Message { role, text, meta, created_at, generation: None, chat: Some(chat) }
}
