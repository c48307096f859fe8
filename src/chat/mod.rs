//! Conversations with language models: chooses the model, watches over budgets, keeps turns in sessions, and records what each chat used.
//!
//! Invariants: an answer is read from the provider only as fast as its reader takes it, and dropping it ends the exchange; whatever was sent
//! leaves exactly one record; nothing is sent twice.

mod book;
mod error;
mod optimize;
mod order;
mod request;
mod talk;
#[cfg(test)]
mod tests;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{FutureExt, Stream, stream::BoxStream};
use jiff::Timestamp;
use tracing::{Instrument, Span, debug, field, info_span};

/// What a chat is made of, as the port has it.
pub use crate::domain::chat::Finish;
pub use crate::provider::chat::{ChatDelta, ResponseFormat, Speaker, Tool, ToolCall, ToolCallDelta, ToolChoice};

use self::{book::Book, talk::Leaving};
pub use self::{
    error::Error,
    optimize::{Language, Optimized, PromptRequest},
    request::{AskedMessage, AskedPart, ChatRequest},
};
use crate::{
    domain::{
        budget::{Budgets, NotAllowed, OverBudget, Spender, Standing},
        catalog::{Catalog, SAMPLE, Talker},
        chat::{ChatRecord, TokenUsage},
        failure::FailurePhase,
        money::MicroUsd,
        names::{ChatId, ModelName, SessionId},
    },
    engine::Engine,
    lifecycle::{Drain, Tasks},
    provider::{chat::ChatProvider, error::ProviderError, registry::Registry},
    telemetry::{self, Metrics},
};

/// The chat; a cheap handle.
#[derive(Debug, Clone)]
pub struct Chat(Arc<Inner>);

/// What the chat works with.
#[derive(Debug)]
pub struct Parts {
    /// For records, artifacts, the catalog and the time.
    pub engine: Engine,
    /// The providers.
    pub registry: Arc<Registry>,
    /// What may be spent, as the store knows it.
    pub budgets: Budgets,
    /// Owner of every task.
    pub tasks: Tasks,
    /// Tells of the shutdown.
    pub drain: Drain,
    /// Instruments.
    pub metrics: Metrics,
}

#[derive(Debug)]
struct Inner {
    parts: Parts,
    book: Book,
}

/// A conversation that a model has begun to answer.
#[derive(Debug)]
pub struct Conversation {
    /// What usage and ledger call it.
    pub id: ChatId,
    /// The model that answers, by its own name.
    pub model: ModelName,
    /// Where its turns are kept, if anywhere.
    pub session: Option<SessionId>,
    /// True if the stand-in answers, and nobody has read the messages.
    pub sample: bool,
    /// When it began.
    pub began_at: Timestamp,
    /// The answer.
    pub events: Answer,
}

/// What a model says, as it says it; the last item is [`Said::End`] or an error. Dropped before, it ends the exchange with the provider.
#[must_use = "an answer is said only as fast as it is read"]
pub struct Answer(BoxStream<'static, Result<Said, Error>>);

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// More of it.
    More(ChatDelta),
    /// It has ended.
    End(Ended),
}

/// How an answer ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// What was used, if the provider tells.
    pub usage: Option<TokenUsage>,
    /// What it cost; absent if that cannot be told.
    pub cost: Option<MicroUsd>,
    /// The provider's own id of the answer.
    pub provider_chat_id: Option<String>,
}

impl Chat {
    /// A chat that begins to write what stays of its conversations.
    pub fn new(parts: Parts) -> Self {
        let book = Book::open(Arc::clone(parts.engine.store()), &parts.tasks, parts.drain.clone());
        Self(Arc::new(Inner { parts, book }))
    }

    /// Hands a conversation to the model that it names; returns when the provider has begun to answer. Nothing is sent twice.
    ///
    /// # Errors
    /// All that [`Error`] lists; nothing was sent unless it is of the provider.
    pub async fn begin(&self, request: ChatRequest) -> Result<Conversation, Error> {
        let talker = self.catalog().talker(&request.model, &request.needs())?;
        let span = info_span!("chat", chat.id = field::Empty, model = %talker.model, outcome = field::Empty);
        telemetry::set_parent(&span, request.trace.as_deref());
        self.begin_with(request, talker, span.clone()).instrument(span).await
    }

    async fn begin_with(&self, request: ChatRequest, talker: Talker, span: Span) -> Result<Conversation, Error> {
        let Parts { registry, metrics, drain, .. } = &self.0.parts;
        let place = self.0.book.reserve()?;
        self.check_budgets(&request, &talker).await?;
        let order = order::order(self, &request, &talker).await?;
        let provider = registry.get(&talker.model.provider).ok_or_else(|| Error::unserved(&talker.model))?;
        let leaving = Leaving::of(&request, &talker, place, (self.engine().clock(), metrics.clone(), span));
        let ChatRecord { id, model, session, began_at, .. } = leaving.record().clone();
        Span::current().record("chat.id", field::display(id));
        let drain = drain.clone();
        let mut ending = async move { drain.last_call().await }.boxed();
        let answered = tokio::select! {
            biased;
            () = &mut ending => return Err(leaving.cut_off()),
            answered = provider.chat(order) => answered,
        };
        let said = match answered {
            Ok(said) => said,
            Err(error) => {
                debug!(outcome = error.kind.as_str(), "the provider did not answer");
                leaving.refused(&error);
                return Err(failed(&error));
            }
        };
        let sample = model.provider.id() == SAMPLE;
        let events = talk::answer(said, leaving, ending);
        Ok(Conversation { id, model, session, sample, began_at, events })
    }

    /// Refuses what a budget does not allow any more. What it will cost is known at its end only, so the last chat before that may go beyond.
    async fn check_budgets(&self, request: &ChatRequest, talker: &Talker) -> Result<(), Error> {
        let spender = Spender { tenant: &request.tenant, session: request.session.as_ref(), labels: &request.labels };
        let concerned = || self.0.parts.budgets.iter().filter(|budget| budget.account(&spender).is_some());
        if concerned().next().is_none() {
            return Ok(());
        }
        let price = talker.card.as_ref().and_then(|card| card.price);
        let Some(price) = price else {
            let strict = concerned().find(|budget| !budget.allow_unpriced);
            return strict.map_or(Ok(()), |budget| {
                let (budget, model) = (budget.name.clone(), talker.model.to_string());
                Err(NotAllowed::Unpriced { budget, model }.into())
            });
        };
        let least = price.of(&TokenUsage { input: 1, output: 1, ..TokenUsage::default() });
        let engine = self.engine();
        for Standing { budget, spent, held, .. } in engine.store().standings(spender, engine.now()).await? {
            let left = MicroUsd(budget.limit.0.saturating_sub(spent.0).saturating_sub(held.0).max(0));
            if least > left {
                let over = OverBudget { budget: budget.name, limit: budget.limit, left, asked: least };
                return Err(NotAllowed::Over(over).into());
            }
        }
        Ok(())
    }

    /// The models that can be talked with.
    pub fn catalog(&self) -> &Catalog {
        self.engine().catalog()
    }

    fn engine(&self) -> &Engine {
        &self.0.parts.engine
    }
}

/// What a provider's error means to whoever asked.
fn failed(error: &ProviderError) -> Error {
    let failure = error.to_failure(FailurePhase::Provider, talk::charged(error));
    Error::Provider { failure: Box::new(failure), retry_after: error.retry_after }
}

#[cfg(test)]
impl Answer {
    /// An answer that a test gives.
    pub(crate) fn of(said: BoxStream<'static, Result<Said, Error>>) -> Self {
        Self(said)
    }
}

impl Stream for Answer {
    type Item = Result<Said, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}
