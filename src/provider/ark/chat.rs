//! Chat with Doubao: chat completions, with thoughts before the answer.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, StatusCode, header::CONTENT_TYPE};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::{
    domain::chat::ChatCard,
    provider::{
        chat::{ChatOrder, ChatProvider, ChatStream},
        completions::{self, Dialect, TokenLimit},
        error::{Effect, ErrorKind, ProviderError},
        http::Answer,
    },
};

use super::{Ark, refusal};

/// Its `max_tokens` counts the answer without the thoughts, and excludes the other.
const DIALECT: Dialect = Dialect { token_limit: TokenLimit::MaxTokens };

#[async_trait]
impl ChatProvider for Ark {
    fn chat_models(&self) -> &[Arc<ChatCard>] {
        &self.chat_cards
    }

    // Endpoints of one's own have names of their own, `ep-…`.
    fn serves_undescribed_chat(&self) -> bool {
        true
    }

    async fn chat(&self, mut order: ChatOrder) -> Result<ChatStream, ProviderError> {
        let body = completions::body(&order, DIALECT).map_err(|(field, why)| {
            ProviderError::new(&self.id, ErrorKind::InvalidOrder, Effect::None, why).because_of(Some(field))
        })?;
        let request =
            self.request(Method::POST, &["chat", "completions"]).header(CONTENT_TYPE, "application/json").body(body);
        let wants_events = order.stream;
        // What follows needs only the texts, so that no error shows them.
        order.drop_images();
        let (id, key) = (self.id.clone(), self.key.clone());
        let error_of = move |answer: &Answer| {
            let mut hidden = order.texts();
            hidden.push(key.expose_secret());
            refusal::of_chat(&id, &with_status(answer), &hidden, |param| completions::field_at_fault(param, &order))
        };
        completions::converse(&self.http, request, wants_events, error_of).await
    }
}

/// The answer; an error that came with a good status, as if it had come with the one that its type names.
fn with_status(answer: &Answer) -> Answer {
    let status = if answer.status.is_success() { status_within(&answer.body) } else { answer.status };
    let Answer { retry_after, headers, body, .. } = answer;
    Answer { status, retry_after: *retry_after, headers: headers.clone(), body: body.clone() }
}

fn status_within(body: &[u8]) -> StatusCode {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    match body["error"]["type"].as_str() {
        Some("BadRequest") => StatusCode::BAD_REQUEST,
        Some("Unauthorized") => StatusCode::UNAUTHORIZED,
        Some("Forbidden") => StatusCode::FORBIDDEN,
        Some("NotFound") => StatusCode::NOT_FOUND,
        Some("TooManyRequests") => StatusCode::TOO_MANY_REQUESTS,
        Some(_) | None => StatusCode::BAD_GATEWAY,
    }
}
