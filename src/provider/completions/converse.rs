//! The call and its answer, at once or in events.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, StatusCode};
use reqwest::RequestBuilder;

use crate::provider::{
    chat::{ChatEnd, ChatEvent, ChatStream},
    error::{Effect, ErrorKind, ProviderError},
    http::{
        Answer, Http,
        outcome::Call,
        sse::Event,
        talk::{Heard, Listener, Opened, WHOLE_CAP},
        text::{is_html, shortened},
    },
};

use super::{Fault, Reader, Said};

/// The last event of most servers; it holds no JSON.
const DONE: &[u8] = b"[DONE]";

/// Hands a conversation over with `request`. `error_of` says what the vendor's error means; one that came with a good status, or in an event,
/// has the status 200.
///
/// # Errors
/// The vendor refused, or could not be reached.
pub(in crate::provider) async fn converse(
    http: &Http,
    request: RequestBuilder,
    wants_events: bool,
    error_of: impl Fn(&Answer) -> ProviderError + Send + 'static,
) -> Result<ChatStream, ProviderError> {
    let answer = if wants_events {
        match http.open(request).await? {
            Opened::Events(response) => {
                let reader = Reader::default();
                return Ok(http.talk(response, Events { http: http.clone(), reader, error_of, has_said: false }));
            }
            Opened::Whole(answer) => answer,
        }
    } else {
        http.exchange(Call::Chat, request, WHOLE_CAP).await?
    };
    if !answer.status.is_success() {
        return Err(error_of(&answer));
    }
    let said = whole(http, &answer, error_of)?;
    Ok(stream::iter(said.into_iter().map(Ok)).boxed())
}

fn whole(http: &Http, answer: &Answer, error_of: impl Fn(&Answer) -> ProviderError) -> Result<Said, ProviderError> {
    let (mut reader, mut said) = (Reader::default(), Said::new());
    reader.read_whole(&answer.body, &mut said).map_err(|fault| error(http, fault, &answer.body, error_of))?;
    // Each choice of a whole answer has ended.
    said.extend(reader.end().map(ChatEvent::End));
    Ok(said)
}

/// The events of an answer.
struct Events<F> {
    http: Http,
    reader: Reader,
    error_of: F,
    has_said: bool,
}

impl<F: Fn(&Answer) -> ProviderError + Send + 'static> Listener for Events<F> {
    fn hear(&mut self, event: Event<'_>, said: &mut Said) -> Result<Heard, ProviderError> {
        let data = event.data.trim_ascii();
        if data == DONE {
            return Ok(Heard::All);
        }
        let read = match event.name {
            b"error" => Err(Fault::Error(data)),
            _ => self.reader.read(data, said),
        };
        if let Err(fault) = read {
            let mut error = error(&self.http, fault, data, &self.error_of);
            // Whatever the error says, the model has worked.
            if self.has_said {
                error.effect = Effect::Maybe;
            }
            return Err(error);
        }
        self.has_said |= !said.is_empty();
        Ok(Heard::More)
    }

    fn end(&mut self, _: &mut Said) -> Option<ChatEnd> {
        self.reader.end()
    }
}

fn error(http: &Http, fault: Fault<'_>, body: &[u8], error_of: impl Fn(&Answer) -> ProviderError) -> ProviderError {
    match fault {
        Fault::Error(document) => error_of(&Answer {
            status: StatusCode::OK,
            retry_after: None,
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(document),
        }),
        Fault::Unreadable if is_html(body) => http.broken(Call::Chat, "answered an HTML page to the conversation"),
        Fault::Unreadable => {
            http.broken(Call::Chat, "answered something that is not the JSON agreed to the conversation")
        }
        Fault::Empty => http.broken(Call::Chat, "answered nothing to the conversation"),
        Fault::Abandoned(word) => {
            let summary = format!("gave up its answer to the conversation: {}", shortened(&word, 40));
            ProviderError::new(http.provider(), ErrorKind::Overloaded, Call::Chat.lost(), summary)
        }
    }
}
