//! What holds for every conversation: a bound on the first word and on each silence, a span, counts, and the vendor's breaker.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tracing::{Instrument, Span, field, info_span};

use super::{Guarded, Op, health::Health};
use crate::{
    domain::{chat::ChatCard, names::ProviderId},
    provider::{
        breaker::Probe,
        chat::{ChatEvent, ChatOrder, ChatProvider, ChatStream},
        error::{Effect, ErrorKind, ProviderError},
        port::Provider,
    },
    telemetry::Metrics,
};

#[async_trait]
impl ChatProvider for Guarded {
    fn chat_models(&self) -> &[Arc<ChatCard>] {
        self.inner.chat().map_or(&[], ChatProvider::chat_models)
    }

    fn serves_undescribed_chat(&self) -> bool {
        self.inner.chat().is_some_and(ChatProvider::serves_undescribed_chat)
    }

    async fn chat(&self, order: ChatOrder) -> Result<ChatStream, ProviderError> {
        let id = Provider::id(self);
        let Some(inner) = self.inner.chat() else {
            let why = "has no language models";
            return Err(ProviderError::new(id, ErrorKind::ModelNotFound, Effect::None, why));
        };
        // The first chat after a rest finds out for all, until it is answered.
        let probe = self.health.breaker.try_pass().map_err(|until| resting(id, until))?;
        let began = Instant::now();
        let span = info_span!(
            "provider.call",
            otel.kind = "client",
            provider.id = id.id(),
            operation = Op::Chat.as_str(),
            outcome = field::Empty
        );
        let opened = match timeout(self.deadlines.submit, inner.chat(order).instrument(span.clone())).await {
            Ok(opened) => opened,
            Err(_) => Err(self.overdue(Op::Chat, self.deadlines.submit)),
        };
        match opened {
            Ok(said) => {
                let talk = Talk {
                    said,
                    silence: Silence::of(self.deadlines.open),
                    has_spoken: false,
                    has_ended: false,
                    _probe: probe,
                    note: Note { span, metrics: self.metrics.clone(), provider: id.clone(), began, outcome: "dropped" },
                    health: Arc::clone(&self.health),
                };
                Ok(talk.boxed())
            }
            Err(error) => {
                let outcome = error.kind.as_str();
                span.record("outcome", outcome);
                self.metrics.provider_called(id.id(), Op::Chat.as_str(), outcome, began.elapsed());
                self.health.note(Op::Chat, Some(&error));
                Err(error)
            }
        }
    }
}

fn resting(id: &ProviderId, until: Option<Instant>) -> ProviderError {
    let wait = until.map(|until| until.saturating_duration_since(Instant::now()));
    let why = "rests, because its last calls failed";
    ProviderError::new(id, ErrorKind::Overloaded, Effect::None, why).retry_after(wait)
}

/// An answer under way.
struct Talk {
    said: ChatStream,
    silence: Silence,
    has_spoken: bool,
    has_ended: bool,
    _probe: Option<Probe>,
    note: Note,
    health: Arc<Health>,
}

impl Stream for Talk {
    type Item = Result<ChatEvent, ProviderError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        let polled = this.note.span.in_scope(|| this.said.as_mut().poll_next(context));
        let broken = |kind, why: String| Err(ProviderError::new(&this.note.provider, kind, Effect::Maybe, why));
        let event = match polled {
            Poll::Ready(Some(event)) => event,
            Poll::Ready(None) => broken(ErrorKind::Transport, "broke off in the middle of its answer".to_owned()),
            Poll::Pending => {
                ready!(this.silence.poll_too_long(context));
                broken(ErrorKind::Timeout, format!("said nothing for {} s", this.silence.limit.as_secs()))
            }
        };
        this.silence.is_over();
        this.hear(&event);
        Poll::Ready(Some(event))
    }
}

impl Talk {
    /// Notes what an event tells of the vendor.
    fn hear(&mut self, event: &Result<ChatEvent, ProviderError>) {
        match event {
            Ok(ChatEvent::Delta(_)) => {
                if !self.has_spoken {
                    self.has_spoken = true;
                    self.note.metrics.chat_began(self.note.provider.id(), self.note.began.elapsed());
                    self.health.note(Op::Chat, None);
                }
                return;
            }
            Ok(ChatEvent::End(_)) => {
                self.note.outcome = "ok";
                if !self.has_spoken {
                    self.health.note(Op::Chat, None);
                }
            }
            Err(error) => {
                self.note.outcome = error.kind.as_str();
                self.health.note(Op::Chat, Some(error));
            }
        }
        self.has_ended = true;
    }
}

/// How long the vendor says nothing while somebody asks. The timer is set anew only when it runs out, not with every event.
struct Silence {
    limit: Duration,
    since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Silence {
    fn of(limit: Duration) -> Self {
        Self { limit, since: None, timer: Box::pin(sleep(limit)) }
    }

    /// Ready once it lasts longer than it may.
    fn poll_too_long(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let due = *self.since.get_or_insert_with(Instant::now) + self.limit;
        loop {
            ready!(self.timer.as_mut().poll(context));
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due);
        }
    }

    fn is_over(&mut self) {
        self.since = None;
    }
}

/// Tells of the call when it is over, also when its reader goes away in the middle.
struct Note {
    span: Span,
    metrics: Metrics,
    provider: ProviderId,
    began: Instant,
    outcome: &'static str,
}

impl Drop for Note {
    fn drop(&mut self) {
        self.span.record("outcome", self.outcome);
        self.metrics.provider_called(self.provider.id(), Op::Chat.as_str(), self.outcome, self.began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};

    use super::*;
    use crate::{
        domain::names::SubmitKey,
        provider::{
            chat::ChatDelta,
            guard::Deadlines,
            port::{ByteSource, CancelOutcome, Found, Order, Progress, RemoteOutput, Submitted, Ticket},
        },
    };

    const SECOND: Duration = Duration::from_secs(1);

    /// A vendor that begins to answer and then says nothing any more; one without a word does not even begin.
    #[derive(Debug)]
    struct Mute {
        id: ProviderId,
        word: Option<&'static str>,
    }

    #[async_trait]
    impl ChatProvider for Mute {
        fn chat_models(&self) -> &[Arc<ChatCard>] {
            &[]
        }

        async fn chat(&self, _: ChatOrder) -> Result<ChatStream, ProviderError> {
            let Some(word) = self.word else { return std::future::pending().await };
            let delta = ChatDelta { text: word.to_owned(), ..ChatDelta::default() };
            Ok(stream::iter([Ok(ChatEvent::Delta(delta))]).chain(stream::pending()).boxed())
        }
    }

    #[async_trait]
    impl Provider for Mute {
        fn id(&self) -> &ProviderId {
            &self.id
        }

        fn models(&self) -> &[Arc<crate::domain::card::ModelCard>] {
            &[]
        }

        fn chat(&self) -> Option<&dyn ChatProvider> {
            Some(self)
        }

        async fn submit(&self, _: &Order, _: &SubmitKey) -> Result<Submitted, ProviderError> {
            std::future::pending().await
        }

        async fn find(&self, _: &Order, _: &SubmitKey, _: jiff::Timestamp) -> Result<Found, ProviderError> {
            std::future::pending().await
        }

        async fn poll(&self, _: &Ticket) -> Result<Progress, ProviderError> {
            std::future::pending().await
        }

        async fn cancel(&self, _: &Ticket) -> Result<CancelOutcome, ProviderError> {
            std::future::pending().await
        }

        async fn open(&self, _: &RemoteOutput, _: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
            std::future::pending().await
        }
    }

    fn guarded(word: Option<&'static str>) -> Guarded {
        let mute = Mute { id: ProviderId::from_id("mute").unwrap(), word };
        Guarded::with_metrics(Arc::new(mute), Deadlines::of(SECOND, SECOND), Metrics::new())
    }

    fn order() -> ChatOrder {
        ChatOrder { stream: true, ..ChatOrder::plain("m", Vec::new()) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_vendor_that_falls_silent_ends_the_answer_with_an_unknown_effect() {
        let error = ChatProvider::chat(&guarded(None), order()).await.err().unwrap();
        assert_eq!((error.kind, error.effect), (ErrorKind::Timeout, Effect::Maybe), "{error}");
        let mut said = ChatProvider::chat(&guarded(Some("hm")), order()).await.unwrap();
        assert!(matches!(said.next().await, Some(Ok(ChatEvent::Delta(_)))));
        let error = said.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind, error.effect), (ErrorKind::Timeout, Effect::Maybe), "{error}");
        assert!(said.next().await.is_none(), "an error ends it");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_word_shows_that_the_vendor_is_up_and_silence_that_it_is_down() {
        let guarded = guarded(Some("hm"));
        let mut said = ChatProvider::chat(&guarded, order()).await.unwrap();
        assert_eq!(guarded.is_up(), None);
        said.next().await.unwrap().unwrap();
        assert_eq!(guarded.is_up(), Some(true));
        said.next().await.unwrap().unwrap_err();
        assert_eq!(guarded.is_up(), Some(false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_vendor_that_rests_is_not_asked() {
        let guarded = guarded(None);
        for _ in 0..5 {
            ChatProvider::chat(&guarded, order()).await.err().unwrap();
        }
        let refused = ChatProvider::chat(&guarded, order()).now_or_never().unwrap().err().unwrap();
        assert_eq!((refused.kind, refused.effect), (ErrorKind::Overloaded, Effect::None), "{refused}");
        assert!(refused.retry_after.is_some());
    }
}
