//! Admission: from a valid request to a stored generation, in one transaction of the store.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing::info;

use super::{
    Engine,
    brief::{Ordered, brief, has_context},
    error::Error,
    quote::quoted_order,
    request::Request,
    view::View,
};
use crate::{
    domain::{
        artifact::Kind,
        attempt::Attempt,
        generation::{CacheKey, Cost, Generation, State},
        names::{GenerationId, SessionId},
        order::{CachePolicy, Input, OptionName, Violation},
        session::{Message, Role},
    },
    failpoint::{self, Point},
    store::port::{AcceptError, Acceptance, Accepted, Draft},
};

/// A request that was accepted.
#[derive(Debug)]
pub struct Admitted {
    /// The generation now.
    pub view: View,
    /// True if the request id was known.
    pub replayed: bool,
}

impl Engine {
    /// Accepts a request: when this returns, the generation is stored and will reach its end whatever happens to this process.
    pub async fn accept(&self, request: Request) -> Result<Admitted, Error> {
        if self.is_closing() {
            return Err(Error::Draining);
        }
        let engine = self.clone();
        self.to_the_end("accept", async move { engine.admit(request).await }).await?
    }

    async fn admit(&self, mut request: Request) -> Result<Admitted, Error> {
        self.check_ready(&request)?;
        let inputs = self.own_inputs(&mut request).await?;
        let digest = self.digests(&mut request, &inputs).await?;
        let now = self.now();
        let acceptance = Acceptance {
            tenant: request.tenant.clone(),
            session: request.session.clone().unwrap_or_else(SessionId::fresh),
            request: request.request_id.clone(),
            quote: request.quote.map(|quote| (quote, quoted_order(&request, &inputs))),
            max_unfinished: self.settings().max_unfinished,
            now,
        };
        let draft = self.draft(request, inputs, digest, acceptance.session.clone(), now);
        failpoint::reach(Point::OrderBefore);
        let accepted = self.store().accept(acceptance, Box::new(draft)).await;
        failpoint::reach(Point::OrderAfter);
        let (generation, claim) = match accepted {
            Ok(Accepted::New(generation, claim)) => (generation, Some(claim)),
            Ok(Accepted::Replayed(generation)) => (generation, None),
            Err(AcceptError::RequestIdReused { field }) => return Err(Error::RequestIdReused { field }),
            Err(AcceptError::QueueFull { unfinished }) => return Err(Error::QueueFull { unfinished }),
            Err(AcceptError::Budget(refused)) => return Err(refused.into()),
            Err(AcceptError::Quote(refused)) => return Err(refused.into()),
            Err(AcceptError::Store(error)) => {
                // It may have been accepted all the same.
                self.doubt();
                return Err(error.into());
            }
        };
        let generation: Arc<Generation> = Arc::from(generation);
        if let Some(claim) = claim {
            info!(generation.name = %generation.id, cached = generation.cached_from.is_some(), coalesced = generation.coalesced, "accepted");
            self.metrics().accepted(generation.kind.as_str());
            if generation.state.is_terminal() {
                // An earlier result was found: it ends without any event.
                self.metrics().finished(generation.state.as_str());
                self.announce_callback(&generation);
            }
            self.hub().publish(Arc::clone(&generation));
            self.start(&generation, claim);
        }
        Ok(Admitted { view: self.view(generation), replayed: claim.is_none() })
    }

    /// The provider of the first model must be able to serve the kind at all, which the sample without its files is not.
    pub(super) fn check_ready(&self, request: &Request) -> Result<(), Error> {
        let Some(first) = request.candidates.first() else {
            return Err(Error::Invalid(vec![Violation::new("model", "names no model")]));
        };
        match self.provider(&first.model.provider) {
            Some(provider) => provider
                .ready(request.kind)
                .map_err(|why| Error::SampleMissing { provider: first.model.provider.clone(), why }),
            None => Err(Error::Invalid(vec![Violation::new("model", "its provider is not configured")])),
        }
    }

    /// The digest under which the order is looked for and shared; each candidate gets its own. An order that may go to several models also takes
    /// an earlier result of the one that it would be tried at first.
    async fn digests(&self, request: &mut Request, inputs: &[Input]) -> Result<String, Error> {
        let mut candidates = std::mem::take(&mut request.candidates);
        let ordered = Ordered {
            tenant: &request.tenant,
            kind: request.kind,
            system: self.settings().system_prompt.as_deref(),
            prompt: &request.prompt,
            inputs,
            fallback_on_refusal: request.fallback_on_refusal,
        };
        for candidate in &mut candidates {
            candidate.digest = ordered.of_one(candidate);
        }
        let digest = ordered.digest(&candidates);
        let first = candidates.first().map(|first| first.digest.clone()).filter(|first| *first != digest);
        request.candidates = candidates;
        if request.cache == CachePolicy::Default
            && !self.is_answered(request, &digest).await?
            && let Some(first) = first
            && self.is_answered(request, &first).await?
        {
            return Ok(first);
        }
        Ok(digest)
    }

    /// Whether there is a cached answer. One whose bytes were deleted behind our back is none, and is forgotten.
    async fn is_answered(&self, request: &Request, digest: &str) -> Result<bool, Error> {
        let Some(cached) = self.store().cached(&request.tenant, request.session.as_ref(), digest).await? else {
            return Ok(false);
        };
        for artifact in &cached.artifacts {
            // While nobody knows it stands: forgetting it for an outage would mean buying it again.
            if matches!(self.blobs().exists(&artifact.blob).await, Ok(false)) {
                self.store().forget_cached(&request.tenant, cached.id).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn draft(
        &self,
        request: Request,
        inputs: Vec<Input>,
        digest: String,
        session: SessionId,
        now: Timestamp,
    ) -> NewGeneration {
        let cards: Vec<_> =
            request.candidates.iter().filter_map(|candidate| self.catalog().card(&candidate.model)).collect();
        let of_cards = cards.iter().filter_map(|card| card.deadline()).max();
        let bound = request.max_duration.or(of_cards);
        NewGeneration {
            most: cards.iter().map(|card| card.prompt.max).min().unwrap_or(usize::MAX),
            system_prompt: self.settings().system_prompt.clone(),
            max_duration: bound.unwrap_or_else(|| self.settings().max_duration),
            request,
            inputs,
            digest,
            session,
            now,
        }
    }
}

/// A generation that only lacks its session's context.
#[derive(Debug, Clone)]
struct NewGeneration {
    request: Request,
    inputs: Vec<Input>,
    digest: String,
    session: SessionId,
    system_prompt: Option<String>,
    /// Most characters of a brief.
    most: usize,
    max_duration: std::time::Duration,
    now: Timestamp,
}

impl Draft for NewGeneration {
    fn generation(&self, earlier: &[Message]) -> (Generation, Vec<Message>) {
        let Self { request, inputs, digest, session, system_prompt, most, max_duration, now } = self.clone();
        let id = GenerationId::fresh();
        let brief = brief(request.kind, system_prompt.as_deref(), &request.prompt, earlier, most);
        let messages = opening_messages(&request, &brief, id, now);
        let first = request.candidates.first();
        let estimated = first.and_then(|candidate| candidate.estimate);
        let held = estimated.unwrap_or_default();
        let generation = Generation {
            id,
            tenant: request.tenant,
            session,
            kind: request.kind,
            request_id: request.request_id.map(|(id, _)| id),
            prompt: request.prompt,
            brief,
            attempts: first.map(|first| Attempt::new(0, first.model.clone(), held, now)).into_iter().collect(),
            candidates: request.candidates,
            inputs,
            fallback_on_refusal: request.fallback_on_refusal,
            labels: request.labels,
            callback_url: request.callback_url,
            cache: request.cache,
            cache_key: (request.cache != CachePolicy::Bypass)
                .then_some(CacheKey { digest, first_turn: earlier.is_empty() || !has_context(request.kind) }),
            max_duration,
            deadline: now.checked_add(max_duration).unwrap_or(Timestamp::MAX),
            state: State::Queued,
            phase: "queued".to_owned(),
            sequence: 1,
            n_events: 0,
            progress_percent: None,
            provider_logs: String::new(),
            artifacts: Vec::new(),
            cost: Cost { estimated, held, ..Cost::default() },
            cached_from: None,
            leader: None,
            coalesced: false,
            successor: None,
            failure: None,
            unresolved: None,
            cancel_requested_at: None,
            provider_error: None,
            trace: request.trace,
            created_at: now,
            started_at: None,
            ended_at: None,
            expired_at: None,
            was_sample: false,
            updated_at: now,
        };
        (generation, messages)
    }
}

/// The turn that a request opens in its session.
fn opening_messages(request: &Request, brief: &str, id: GenerationId, now: Timestamp) -> Vec<Message> {
    let seconds = request.candidates.first().and_then(|candidate| candidate.options.get(&OptionName::Duration));
    let length = seconds.map(|seconds| format!(" ({seconds}s)")).unwrap_or_default();
    let basis = if request.prompt.is_empty() { "files" } else { "prompt" };
    let reply = match request.kind {
        Kind::Video => {
            format!("Generating a short{length} preview video based on your {basis}. I'll return the video when ready.")
        }
        Kind::Image => format!("Generating an image based on your {basis}. I'll return the image when ready."),
        Kind::Speech => "Speaking your text. I'll return the speech when ready.".to_owned(),
        Kind::Music => format!("Generating music{length} based on your {basis}. I'll return the music when ready."),
    };
    let message = |role, text, meta: Value| Message {
        role,
        text,
        meta: meta.as_object().cloned().unwrap_or_else(Map::new),
        created_at: now,
        generation: Some(id),
        chat: None,
    };
    vec![
        message(Role::User, request.prompt.clone(), json!({ "source": request.source })),
        message(Role::Assistant, reply, json!({ "brief": brief })),
    ]
}
