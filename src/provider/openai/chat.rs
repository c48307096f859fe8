//! Chat completions: the conversation goes over in one call, and the answer comes at once or in events.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, header::CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{
    domain::{chat::ChatCard, names::ProviderId},
    provider::{
        chat::{ChatOrder, ChatProvider, ChatStream},
        completions::{self, Dialect, TokenLimit},
        error::{ErrorKind, ProviderError},
        http::{Answer, outcome::Call},
    },
};

use super::{
    OpenAi,
    answer::{answered, refusal, status_within},
    wire::Problem,
};

#[async_trait]
impl ChatProvider for OpenAi {
    fn chat_models(&self) -> &[Arc<ChatCard>] {
        &self.chat_cards
    }

    fn serves_undescribed_chat(&self) -> bool {
        true
    }

    async fn chat(&self, mut order: ChatOrder) -> Result<ChatStream, ProviderError> {
        let token_limit = self.token_limit.unwrap_or_else(|| token_limit(&self.base, &order.model));
        let body = completions::body(&order, Dialect { token_limit })
            .map_err(|(field, why)| self.order_error(ErrorKind::InvalidOrder, why).because_of(Some(field)))?;
        let request = self
            .request(Method::POST, &["chat", "completions"])
            // LiteLLM sends it again when its upstream breaks, and each may be paid.
            .header("x-litellm-num-retries", "0")
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        let wants_events = order.stream;
        // What follows needs only the texts, so that no error shows them.
        order.drop_images();
        let (id, key) = (self.id.clone(), self.key.clone());
        completions::converse(&self.http, request, wants_events, move |answer| error(&id, &key, answer, &order)).await
    }
}

/// What an error means, whatever status it came with.
fn error(id: &ProviderId, key: &SecretString, answer: &Answer, order: &ChatOrder) -> ProviderError {
    let mut hidden = order.texts();
    hidden.push(key.expose_secret());
    let field = |problem: &Problem| completions::field_at_fault(problem.param.as_deref()?, order);
    if !answer.status.is_success() {
        return refusal(id, Call::Chat, answer, &hidden, field);
    }
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let status = status_within(&Problem::of(&body).unwrap_or_default());
    refusal(id, Call::Chat, &answered(answer, status), &hidden, field)
}

/// Models of OpenAI that refuse the old name, by the beginnings of their names.
const NEWER: [&str; 5] = ["gpt-5", "gpt-6", "o1", "o3", "o4"];

/// What the limit of tokens is called by the server at `base`: OpenAI and Azure want the new name, and so does whoever passes on to their newer
/// models; others do not know it.
pub(super) fn token_limit(base: &Url, model: &str) -> TokenLimit {
    let host = base.host_str().unwrap_or_default();
    let is_new = ["openai.com", "openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com"];
    let is_at = |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let family = model.rsplit('/').next().unwrap_or_default();
    let is_newer = NEWER.iter().any(|newer| family.starts_with(newer));
    let wants_new = is_newer || is_new.iter().any(|domain| is_at(domain));
    if wants_new { TokenLimit::MaxCompletionTokens } else { TokenLimit::MaxTokens }
}
