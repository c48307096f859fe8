//! Files: a video's content in the ways that servers hand it out, and inputs that callers name by an address.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::multipart::Form;
use serde_json::Value;
use url::Url;

use crate::provider::{
    error::{ErrorKind, ProviderError},
    http::outcome::Call,
    port::{ByteSource, Order, Ticket},
};

use super::{OpenAi, body::Body, wire};

/// Most bytes of a JSON answer that says where a file lies.
const JSON_CAP: usize = 1 << 20;
/// How deep in an answer an address is looked for.
const DEPTH: usize = 4;

impl OpenAi {
    /// Opens an output. Aggregators answer with a redirect, or with JSON that names the file; and some have no such path at
    /// all, and name the file in the job.
    pub(super) async fn fetch(&self, url: &Url, ticket: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
        let opened = match self.links.open(url).await {
            Ok(source) => self.beginning(source).await?,
            Err(error) if matches!(error.kind, ErrorKind::LinkExpired | ErrorKind::Protocol) => {
                let Some(ticket) = ticket else { return Err(error) };
                return match self.named_address(ticket).await.and_then(|named| self.base.join(&named).ok()) {
                    Some(named) if named != *url => self.links.open(&named).await,
                    Some(_) | None => Err(error),
                };
            }
            Err(error) => return Err(error),
        };
        match opened {
            Opened::File(source) => Ok(source),
            Opened::Json(answer) => match wire::address(&answer, DEPTH).and_then(|named| self.base.join(&named).ok()) {
                Some(named) => self.links.open(&named).await,
                None => Err(self.no_file()),
            },
        }
    }

    /// A file, or the JSON in its place. No picture, sound or clip begins with a brace.
    async fn beginning(&self, source: ByteSource) -> Result<Opened, ProviderError> {
        let ByteSource { mut stream, length } = source;
        let mut start = Bytes::new();
        while start.is_empty() {
            match stream.try_next().await? {
                Some(chunk) => start = chunk,
                None => return Ok(Opened::File(ByteSource { stream, length })),
            }
        }
        if start.trim_ascii_start().first() != Some(&b'{') {
            let stream = stream::iter([Ok(start)]).chain(stream).boxed();
            return Ok(Opened::File(ByteSource { stream, length }));
        }
        let rest = read(stream, start, JSON_CAP).await?.ok_or_else(|| self.no_file())?;
        serde_json::from_slice(&rest).map(Opened::Json).map_err(|_| self.no_file())
    }

    fn no_file(&self) -> ProviderError {
        self.http.broken(Call::Open, "answered the fetching of an output with JSON that names no file")
    }

    /// The body as a form, with the bytes of every file: what a caller named by an address is fetched first, because a form
    /// has files and no addresses.
    pub(super) async fn form(&self, body: &Body<'_>, order: &Order) -> Result<Form, ProviderError> {
        let files = self.inputs.fetch_all(&order.inputs).await?;
        body.form(&files)
            .map_err(|error| self.http.broken(Call::Prepare, "an input has an odd media type").caused_by(error))
    }
}

/// What an address gave.
enum Opened {
    File(ByteSource),
    Json(Value),
}

/// `start` and the rest of the stream; nothing if that is more than `cap` bytes.
async fn read(
    mut stream: stream::BoxStream<'static, Result<Bytes, ProviderError>>,
    start: Bytes,
    cap: usize,
) -> Result<Option<Bytes>, ProviderError> {
    let mut all = BytesMut::from(start);
    while let Some(chunk) = stream.try_next().await? {
        if all.len() + chunk.len() > cap {
            return Ok(None);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(Some(all.freeze()))
}
