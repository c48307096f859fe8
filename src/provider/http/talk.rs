//! The answer of a language model: opened, and read only as fast as somebody asks for it.
//!
//! Invariant: between the vendor and whoever listens lie at most one event and what came with its end. Dropping the stream drops the
//! exchange, and so the vendor learns that nobody listens any more.

use std::{collections::VecDeque, time::Duration};

use futures_util::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, Response};
use tokio::time::timeout;

use super::{
    Answer, Http, outcome,
    outcome::Call,
    sse::{Decoder, Event},
};
use crate::provider::{
    chat::{ChatEnd, ChatEvent, ChatStream},
    error::{ErrorKind, ProviderError},
};

/// Most bytes of an answer that comes at once.
pub const WHOLE_CAP: usize = 16 << 20;
/// How long the end of the exchange is waited for after the end of the answer, so that its connection can be used again.
const FAREWELL: Duration = Duration::from_millis(50);

/// Understands a vendor's events.
pub trait Listener: Send + 'static {
    /// Reads an event into what the model says.
    fn hear(&mut self, event: Event<'_>, said: &mut VecDeque<ChatEvent>) -> Result<Heard, ProviderError>;

    /// Nothing more comes: how the answer ended, or nothing if it was cut off. What was kept back until then is said before.
    fn end(&mut self, said: &mut VecDeque<ChatEvent>) -> Option<ChatEnd>;
}

/// Whether more events are to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Perhaps.
    More,
    /// The vendor said that this was the last one.
    All,
}

/// How a vendor answers.
#[derive(Debug)]
pub enum Opened {
    /// In events.
    Events(Response),
    /// At once: an error, or a server that does not know of streams.
    Whole(Answer),
}

impl Http {
    /// Sends `request` and waits until the vendor begins to answer.
    pub async fn open(&self, request: RequestBuilder) -> Result<Opened, ProviderError> {
        let request = request.build().map_err(|error| self.lost(Call::Chat, error))?;
        let sent = timeout(self.timeout, self.client.execute(request)).await.map_err(|_| self.silent())?;
        let response = sent.map_err(|error| self.lost(Call::Chat, error))?;
        let media_type = response.headers().get(CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes);
        // Whatever is not clearly something else is taken for events: some servers call theirs plain text.
        let is_whole = [&b"application/json"[..], b"text/html"].iter().any(|whole| media_type.starts_with(whole));
        if response.status().is_success() && !is_whole {
            return Ok(Opened::Events(response));
        }
        let answer = timeout(self.timeout, self.answer(Call::Chat, response, WHOLE_CAP)).await;
        Ok(Opened::Whole(answer.map_err(|_| self.silent())??))
    }

    /// What the model says in these events.
    pub fn talk(&self, response: Response, listener: impl Listener) -> ChatStream {
        let talk = Talk {
            http: self.clone(),
            response,
            decoder: Decoder::default(),
            listener,
            said: VecDeque::new(),
            has_ended: false,
        };
        // Boxed, so that a pointer is moved with each event.
        stream::unfold(Some(Box::new(talk)), async |talk| {
            let mut talk = talk?;
            match talk.next().await.transpose()? {
                Ok(event) => Some((Ok(event), Some(talk))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    fn silent(&self) -> ProviderError {
        let summary = format!("said nothing for {} s", self.timeout.as_secs());
        ProviderError::new(&self.provider, ErrorKind::Timeout, Call::Chat.lost(), summary)
    }
}

#[derive(Debug)]
struct Talk<L> {
    http: Http,
    response: Response,
    decoder: Decoder,
    listener: L,
    said: VecDeque<ChatEvent>,
    has_ended: bool,
}

impl<L: Listener> Talk<L> {
    async fn next(&mut self) -> Result<Option<ChatEvent>, ProviderError> {
        loop {
            if let Some(event) = self.said.pop_front() {
                return Ok(Some(event));
            }
            if self.has_ended {
                return Ok(None);
            }
            match self.decoder.next_event() {
                Ok(None) => self.read().await?,
                Ok(Some(event)) => {
                    if self.listener.hear(event, &mut self.said)? == Heard::All {
                        let _ = timeout(FAREWELL, self.response.chunk()).await;
                        let cut_off = self.cut_off();
                        self.end(cut_off)?;
                    }
                }
                Err(too_large) => return Err(self.http.broken(Call::Chat, format!("answered {too_large}"))),
            }
        }
    }

    /// Takes the next bytes, or notes that there are none.
    async fn read(&mut self) -> Result<(), ProviderError> {
        match timeout(self.http.timeout, self.response.chunk()).await {
            Ok(Ok(Some(bytes))) => {
                self.decoder.push(&bytes);
                Ok(())
            }
            Ok(Ok(None)) => {
                match self.decoder.finish() {
                    Ok(Some(event)) => drop(self.listener.hear(event, &mut self.said)?),
                    Ok(None) => {}
                    Err(too_large) => return Err(self.http.broken(Call::Chat, format!("answered {too_large}"))),
                }
                let cut_off = self.cut_off();
                self.end(cut_off)
            }
            Ok(Err(error)) => {
                let lost = outcome::lost(&self.http.provider, Call::Chat, error);
                self.end(lost)
            }
            Err(_) => {
                let silent = self.http.silent();
                self.end(silent)
            }
        }
    }

    /// Ends well if the answer is whole, whatever came after it; otherwise with `why`.
    fn end(&mut self, why: ProviderError) -> Result<(), ProviderError> {
        let end = self.listener.end(&mut self.said).ok_or(why)?;
        self.said.push_back(ChatEvent::End(end));
        self.has_ended = true;
        Ok(())
    }

    fn cut_off(&self) -> ProviderError {
        let summary = "broke off its answer before the end";
        ProviderError::new(&self.http.provider, ErrorKind::Transport, Call::Chat.lost(), summary)
    }
}
