//! Files that callers named by address, for vendors that want bytes.
//!
//! Invariant: an address from a caller never leads into our own network, not by a redirect either, and carries no key.
//! A vendor that fetches addresses by itself is given the address; nothing is fetched then.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::try_join_all;
use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT_ENCODING, LOCATION},
};
use tokio::time::timeout;
use url::Url;

use crate::{
    domain::names::ProviderId,
    outbound::{Fence, is_fenced},
    provider::{
        error::{Effect, ErrorKind, ProviderError, SetupError},
        port::{InputFile, OrderInput},
    },
};

use super::client;

/// Most bytes of one file: it is in memory while it is handed over.
pub const INPUT_CAP: usize = 50 << 20;
const MOST_REDIRECTS: usize = 5;
/// Longest silence of a host.
const IDLE: Duration = Duration::from_secs(30);
/// Longest time of one file: well within the time of handing over an order, which would otherwise end as if the vendor had been asked.
const WHOLE: Duration = Duration::from_secs(45);

/// Fetches the files of an order. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Inputs {
    provider: ProviderId,
    client: Client,
    fence: Fence,
    plain: bool,
}

/// The bytes of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Media type found in the bytes.
    pub media_type: String,
    /// All of them.
    pub data: Bytes,
}

impl File {
    /// A usual ending of such a file's name, without the dot.
    pub fn extension(&self) -> &'static str {
        match self.media_type.as_str() {
            "image/jpeg" => "jpg",
            "image/webp" => "webp",
            "image/gif" => "gif",
            "image/avif" => "avif",
            "image/heif" => "heic",
            "video/mp4" => "mp4",
            "video/webm" => "webm",
            "video/quicktime" => "mov",
            "audio/mpeg" => "mp3",
            "audio/wav" => "wav",
            "audio/flac" => "flac",
            "audio/ogg" => "ogg",
            "audio/mp4" => "m4a",
            "audio/aac" => "aac",
            "image/png" => "png",
            _ => "bin",
        }
    }
}

impl Inputs {
    /// For the vendor's orders.
    ///
    /// # Errors
    /// No HTTP client can be made here.
    pub fn new(provider: &ProviderId) -> Result<Self, SetupError> {
        Self::within(provider, Fence::default(), false)
    }

    /// Of hosts that a test may name, by http too.
    #[cfg(test)]
    pub(crate) fn admitting(provider: &ProviderId, host: &str) -> Self {
        let fence = Fence::allowing([host]).expect("a host");
        Self::within(provider, fence, true).expect("a client")
    }

    fn within(provider: &ProviderId, fence: Fence, plain: bool) -> Result<Self, SetupError> {
        let resolver = std::sync::Arc::new(fence.clone());
        let client = client(provider, |builder| builder.dns_resolver(resolver))?;
        Ok(Self { provider: provider.clone(), client, fence, plain })
    }

    /// The bytes of every input in their order, at most [`INPUT_CAP`] each.
    ///
    /// # Errors
    /// Those of [`Self::fetch`], each naming its input as `inputs[N]`.
    pub async fn fetch_all(&self, inputs: &[OrderInput]) -> Result<Vec<File>, ProviderError> {
        let fetched = inputs.iter().enumerate().map(async |(index, input)| {
            let fetched = self.fetch(&input.file, INPUT_CAP).await;
            fetched.map_err(|error| error.because_of(Some(format!("inputs[{index}]"))))
        });
        try_join_all(fetched).await
    }

    /// The bytes of `file`, fetched if all we have is an address, at most `cap`.
    ///
    /// # Errors
    /// `InvalidOrder` if the address gives no such file, `Timeout`, `Transport` or `Overloaded` if a repeat may help; always without
    /// effect at the vendor.
    pub async fn fetch(&self, file: &InputFile, cap: usize) -> Result<File, ProviderError> {
        match file {
            InputFile::Bytes { media_type, data } => Ok(File { media_type: media_type.clone(), data: data.clone() }),
            InputFile::Url(url) => match timeout(WHOLE, self.fetch_from(url, cap)).await {
                Ok(fetched) => fetched,
                Err(_) => Err(self.error(ErrorKind::Timeout, format!("takes over {} s", WHOLE.as_secs()))),
            },
        }
    }

    async fn fetch_from(&self, url: &Url, cap: usize) -> Result<File, ProviderError> {
        let mut at = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let response = self.get(&at).await?;
            if !response.status().is_redirection() {
                let data = self.body(response, cap).await?;
                let Some(media_type) = media_type(&data) else {
                    return Err(self.wrong("leads to no image, video or sound"));
                };
                return Ok(File { media_type: media_type.to_owned(), data });
            }
            let next = response.headers().get(LOCATION).and_then(|to| at.join(to.to_str().ok()?).ok());
            at = next.ok_or_else(|| self.wrong("redirects to nowhere"))?;
        }
        Err(self.wrong(format!("redirects over {MOST_REDIRECTS} times")))
    }

    async fn get(&self, url: &Url) -> Result<Response, ProviderError> {
        const PRIVATE: &str = "leads into a private network";
        if url.scheme() != "https" && !self.plain {
            return Err(self.wrong("leads to an address that is not https"));
        }
        if !self.fence.admits(url) {
            return Err(self.wrong(PRIVATE));
        }
        let request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        let response = match timeout(IDLE, request.send()).await {
            Err(_) => return Err(self.error(ErrorKind::Timeout, "does not answer")),
            Ok(Err(error)) if is_fenced(&error) => return Err(self.wrong(PRIVATE)),
            Ok(Err(error)) => return Err(self.broken(error)),
            Ok(Ok(response)) => response,
        };
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            return Ok(response);
        }
        let what = format!("answers {}", status.as_u16());
        let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        Err(if passing { self.error(ErrorKind::Overloaded, what) } else { self.wrong(what) })
    }

    async fn body(&self, mut response: Response, cap: usize) -> Result<Bytes, ProviderError> {
        let too_large = || self.wrong(format!("has more than {cap} bytes"));
        if response.content_length().is_some_and(|length| length > cap as u64) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        loop {
            match timeout(IDLE, response.chunk()).await {
                Err(_) => return Err(self.error(ErrorKind::Timeout, "stops in the middle")),
                Ok(Err(error)) => return Err(self.broken(error)),
                Ok(Ok(None)) => return Ok(body.freeze()),
                Ok(Ok(Some(chunk))) if body.len() + chunk.len() > cap => return Err(too_large()),
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
            }
        }
    }

    fn broken(&self, error: reqwest::Error) -> ProviderError {
        self.error(ErrorKind::Transport, "cannot be reached").caused_by(error.without_url())
    }

    /// The caller's to correct.
    fn wrong(&self, what: impl Into<String>) -> ProviderError {
        self.error(ErrorKind::InvalidOrder, what)
    }

    fn error(&self, kind: ErrorKind, what: impl Into<String>) -> ProviderError {
        let summary = format!("was not asked: an input's URL {}", what.into());
        ProviderError::new(&self.provider, kind, Effect::None, summary).of_input()
    }
}

/// The media type that the bytes show, in the form that the rest of the house uses.
fn media_type(data: &[u8]) -> Option<&'static str> {
    let found = infer::get(data)?.mime_type();
    match found {
        "audio/x-wav" => Some("audio/wav"),
        "audio/m4a" => Some("audio/mp4"),
        "audio/x-flac" => Some("audio/flac"),
        "audio/opus" => Some("audio/ogg"),
        _ => ["image/", "video/", "audio/"].iter().any(|class| found.starts_with(class)).then_some(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::order::InputRole,
        provider::tests::server::{Reply, Server},
    };

    const STILL: &[u8] = include_bytes!("../../../tests/fixtures/media/still.jpg");

    fn provider() -> ProviderId {
        ProviderId::from_id("v").unwrap()
    }

    async fn server() -> Server {
        Server::start(|asked| match asked.line.as_str() {
            "GET /still" => Reply::new(200, STILL),
            "GET /moved" => Reply::new(302, "").with("location", "/still"),
            "GET /round" => Reply::new(302, "").with("location", "/round"),
            "GET /inside" => Reply::new(302, "").with("location", "http://10.0.0.1/"),
            "GET /page" => Reply::new(200, "<html></html>"),
            "GET /busy" => Reply::new(503, ""),
            _ => Reply::new(404, ""),
        })
        .await
    }

    #[tokio::test]
    async fn an_address_becomes_bytes_with_their_media_type() {
        let server = server().await;
        let inputs = Inputs::admitting(&provider(), "127.0.0.1");
        let fetch = async |path: &str| {
            let file = InputFile::Url(server.base.join(path).unwrap());
            inputs.fetch(&file, STILL.len()).await
        };
        for path in ["/still", "/moved"] {
            let file = fetch(path).await.unwrap();
            assert_eq!((file.media_type.as_str(), file.extension(), &file.data[..]), ("image/jpeg", "jpg", STILL));
        }
        for (path, kind, told) in [
            ("/round", ErrorKind::InvalidOrder, "redirects over 5 times"),
            ("/inside", ErrorKind::InvalidOrder, "private network"),
            ("/page", ErrorKind::InvalidOrder, "no image, video or sound"),
            ("/busy", ErrorKind::Overloaded, "answers 503"),
            ("/gone", ErrorKind::InvalidOrder, "answers 404"),
        ] {
            let error = fetch(path).await.unwrap_err();
            assert_eq!((error.kind, error.effect), (kind, Effect::None), "{path}");
            assert!(error.is_of_input && error.summary.contains(told), "{path}: {}", error.summary);
        }
        let file = InputFile::Url(server.base.join("/still").unwrap());
        assert!(inputs.fetch(&file, STILL.len() - 1).await.unwrap_err().summary.contains("more than"));
    }

    #[tokio::test]
    async fn nothing_of_our_own_network_is_fetched_and_the_input_is_named() {
        let server = server().await;
        let inputs = Inputs::new(&provider()).unwrap();
        for url in [server.base.as_str(), "https://127.0.0.1/", "https://localhost/", "http://example.com/"] {
            let bytes = InputFile::Bytes { media_type: "image/png".to_owned(), data: Bytes::from_static(b"x") };
            let files = [bytes, InputFile::Url(url.parse().unwrap())];
            let files = files.map(|file| OrderInput { role: InputRole::Reference, file });
            let error = inputs.fetch_all(&files).await.unwrap_err();
            assert_eq!((error.kind, error.field.as_deref()), (ErrorKind::InvalidOrder, Some("inputs[1]")), "{url}");
        }
    }
}
