//! Chat with Gemini: `generateContent` for an answer at once, `streamGenerateContent` for one in events.

mod body;
mod read;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::{
    domain::chat::ChatCard,
    provider::{
        chat::{ChatEnd, ChatEvent, ChatOrder, ChatProvider, ChatStream},
        error::{Effect, ErrorKind, ProviderError},
        google::status,
        http::{
            Answer, Http,
            outcome::Call,
            sse::Event,
            talk::{Heard, Listener, Opened, WHOLE_CAP},
            text::{is_html, shown},
        },
    },
};

use self::read::{Fault, Reader, Said};
use super::Gemini;

#[async_trait]
impl ChatProvider for Gemini {
    fn chat_models(&self) -> &[Arc<ChatCard>] {
        &self.chat_cards
    }

    fn serves_undescribed_chat(&self) -> bool {
        true
    }

    async fn chat(&self, mut order: ChatOrder) -> Result<ChatStream, ProviderError> {
        if order.model.is_empty() || order.model.contains(['/', ':', '?', '#']) {
            return Err(self.error(ErrorKind::ModelNotFound, Effect::None, "names its models without slashes"));
        }
        let body = body::body(&order, &self.inputs).await.map_err(|unwritable| match unwritable {
            body::Unwritable::Field(field, why) => {
                self.error(ErrorKind::InvalidOrder, Effect::None, why).because_of(Some(field))
            }
            body::Unwritable::Input(error) => *error,
        })?;
        let method = if order.stream { "streamGenerateContent" } else { "generateContent" };
        let request = self.request(Method::POST, &["models", &format!("{}:{method}", order.model)]);
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        let wants_events = order.stream;
        // What follows needs only the texts, so that no error shows them.
        order.drop_images();
        let talk =
            Talk { http: self.http.clone(), key: self.key.clone(), order, reader: Reader::default(), has_said: false };
        let answer = if wants_events {
            match self.http.open(request.query(&[("alt", "sse")])).await? {
                Opened::Events(response) => return Ok(self.http.talk(response, talk)),
                Opened::Whole(answer) => answer,
            }
        } else {
            self.http.exchange(Call::Chat, request, WHOLE_CAP).await?
        };
        talk.whole(&answer)
    }
}

/// An answer as it is read.
struct Talk {
    http: Http,
    key: SecretString,
    order: ChatOrder,
    reader: Reader,
    has_said: bool,
}

impl Talk {
    fn whole(mut self, answer: &Answer) -> Result<ChatStream, ProviderError> {
        if !answer.status.is_success() {
            return Err(self.refused(answer));
        }
        let mut said = Said::new();
        if let Err(fault) = self.reader.read_whole(&answer.body, &mut said) {
            return Err(self.error(fault, &answer.body));
        }
        let end = self.reader.end(&mut said);
        let end = end.ok_or_else(|| self.http.broken(Call::Chat, "answered nothing to the conversation"))?;
        said.push_back(ChatEvent::End(end));
        Ok(stream::iter(said.into_iter().map(Ok)).boxed())
    }

    fn hidden(&self) -> Vec<&str> {
        let mut hidden = self.order.texts();
        hidden.push(self.key.expose_secret());
        hidden
    }

    fn refused(&self, answer: &Answer) -> ProviderError {
        let error = status::refused(self.http.provider(), Call::Chat, answer, &self.hidden(), None);
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let fields = status::Status::of_body(&body).unwrap_or_default().fields;
        error.because_of(fields.iter().find_map(|field| body::field_at_fault(field)))
    }

    fn error(&self, fault: Fault, data: &[u8]) -> ProviderError {
        let error = |kind, effect, summary: String| ProviderError::new(self.http.provider(), kind, effect, summary);
        let lost = Call::Chat.lost();
        match fault {
            Fault::Error(code) => self.refused(&Answer {
                // What the error itself calls a refusal was one; whatever else may have begun.
                status: code
                    .filter(|code| (400..500).contains(code))
                    .and_then(|code| StatusCode::from_u16(code).ok())
                    .unwrap_or(StatusCode::BAD_GATEWAY),
                retry_after: None,
                headers: HeaderMap::new(),
                body: Bytes::copy_from_slice(data),
            }),
            Fault::Blocked(reason) => {
                let words = shown(&reason, &[]).unwrap_or_default();
                error(ErrorKind::ContentRefused, Effect::None, format!("refused the conversation: {words}"))
            }
            Fault::Abandoned(word) => {
                let words = shown(&word, &self.hidden()).unwrap_or_default();
                error(ErrorKind::Protocol, lost, format!("gave up its answer to the conversation: {words}"))
            }
            Fault::Unreadable => {
                let what = if is_html(data) { "an HTML page" } else { "something that is not the JSON agreed" };
                self.http.broken(Call::Chat, format!("answered {what} to the conversation"))
            }
        }
    }
}

impl Listener for Talk {
    fn hear(&mut self, event: Event<'_>, said: &mut Said) -> Result<Heard, ProviderError> {
        if let Err(fault) = self.reader.read(event.data, said) {
            let mut error = self.error(fault, event.data);
            // Whatever the error says, the model has worked.
            if self.has_said {
                error.effect = Effect::Maybe;
            }
            return Err(error);
        }
        self.has_said |= !said.is_empty();
        Ok(Heard::More)
    }

    fn end(&mut self, said: &mut Said) -> Option<ChatEnd> {
        self.reader.end(said)
    }
}
