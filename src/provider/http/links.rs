//! Fetching outputs from the addresses that vendors give.
//!
//! Invariant: an address from a vendor's answer is input. It never leads into our own network, and the key goes to
//! listed hosts only. Behind a proxy of the environment it is the proxy that resolves names, and that must keep them
//! out of the network.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, LOCATION},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use url::Url;

use crate::{
    domain::names::ProviderId,
    outbound::{Fence, is_fenced},
    provider::{
        error::{Effect, ErrorKind, ProviderError, SetupError},
        port::ByteSource,
    },
};

use super::{
    client,
    outcome::{self, Call, Said},
};

const MOST_REDIRECTS: usize = 5;

/// Opens a vendor's links.
#[derive(Debug, Clone)]
pub struct Links {
    provider: ProviderId,
    client: Client,
    base: Url,
    fence: Fence,
    /// What carries the key.
    headers: HeaderMap,
    /// Hosts that get the key, with their subdomains.
    key_hosts: Vec<String>,
    idle: Duration,
}

impl Links {
    /// Of the vendor whose API is at `base`. `key` is sent to the host of `base` and to `key_hosts`, unless it is empty; a
    /// link that gives no byte for `idle` is given up.
    pub fn new(
        provider: &ProviderId,
        base: &Url,
        key: &SecretString,
        key_hosts: &'static [&'static str],
        idle: Duration,
    ) -> Result<Self, SetupError> {
        if key.expose_secret().is_empty() {
            return Self::open_to_all(provider, base, idle);
        }
        let headers = bearer(key).ok_or_else(|| SetupError::new(provider, "its key must be visible ASCII"))?;
        Self::with_headers(provider, base, headers, key_hosts.iter().map(|&host| host.to_owned()).collect(), idle)
    }

    /// As [`Links::new`], of a vendor that takes its key in these headers, or none.
    pub fn with_headers(
        provider: &ProviderId,
        base: &Url,
        headers: HeaderMap,
        key_hosts: Vec<String>,
        idle: Duration,
    ) -> Result<Self, SetupError> {
        let fence = Fence::around(base);
        let resolver = std::sync::Arc::new(fence.clone());
        let client = client(provider, |builder| builder.dns_resolver(resolver))?;
        Ok(Self { provider: provider.clone(), client, base: base.clone(), fence, headers, key_hosts, idle })
    }

    /// Of a vendor whose links need no key.
    pub fn open_to_all(provider: &ProviderId, base: &Url, idle: Duration) -> Result<Self, SetupError> {
        Self::with_headers(provider, base, HeaderMap::new(), Vec::new(), idle)
    }

    /// Hands `data` over at an address that the vendor gave for it, within `idle` and without the key.
    pub async fn put(&self, link: &Url, media_type: &str, data: Bytes) -> Result<(), ProviderError> {
        self.check(link)?;
        let request = self.client.put(link.clone()).header(CONTENT_TYPE, media_type).body(data).timeout(self.idle);
        let response = request.send().await.map_err(|error| {
            if is_fenced(&error) {
                return self.error(ErrorKind::Protocol, "gave a link into a private network");
            }
            outcome::lost(&self.provider, Call::Prepare, error)
        })?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(outcome::refused(&self.provider, Call::Prepare, status, Said::default())),
        }
    }

    /// Opens `link`, following at most five redirects.
    pub async fn open(&self, link: &Url) -> Result<ByteSource, ProviderError> {
        self.open_as(link, &self.headers).await
    }

    /// Opens `link` with a key that was made for it, which goes where the vendor's own would go.
    pub async fn open_with(&self, link: &Url, key: &SecretString) -> Result<ByteSource, ProviderError> {
        let headers = bearer(key).ok_or_else(|| self.error(ErrorKind::Protocol, "gave a key that is no text"))?;
        self.open_as(link, &headers).await
    }

    async fn open_as(&self, link: &Url, headers: &HeaderMap) -> Result<ByteSource, ProviderError> {
        let mut at = link.clone();
        for _ in 0..=MOST_REDIRECTS {
            self.check(&at)?;
            let may_have_key = at.host_str() == link.host_str() && self.gets_key(&at);
            let response = self.get(&at, may_have_key.then_some(headers)).await?;
            if !response.status().is_redirection() {
                return self.bytes(response);
            }
            let next = response.headers().get(LOCATION).and_then(|to| at.join(to.to_str().ok()?).ok());
            at =
                next.ok_or_else(|| self.error(ErrorKind::Protocol, "redirected the fetching of an output to nowhere"))?;
        }
        Err(self
            .error(ErrorKind::Protocol, format!("redirected the fetching of an output over {MOST_REDIRECTS} times")))
    }

    fn check(&self, url: &Url) -> Result<(), ProviderError> {
        let plain_allowed = self.base.scheme() == "http" || self.fence.is_exempt(url.host_str());
        if !(url.scheme() == "https" || url.scheme() == "http" && plain_allowed) {
            return Err(self.error(ErrorKind::Protocol, format!("gave a link with scheme {}, not https", url.scheme())));
        }
        if !self.fence.admits(url) {
            return Err(self.error(ErrorKind::Protocol, "gave a link into a private network"));
        }
        Ok(())
    }

    fn gets_key(&self, url: &Url) -> bool {
        if url.origin() == self.base.origin() {
            return true;
        }
        let is_listed = |host: &str| {
            self.key_hosts.iter().any(|listed| {
                host.strip_suffix(listed).is_some_and(|before| before.is_empty() || before.ends_with('.'))
            })
        };
        url.scheme() == "https" && url.host_str().is_some_and(is_listed)
    }

    async fn get(&self, url: &Url, key: Option<&HeaderMap>) -> Result<Response, ProviderError> {
        let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(headers) = key {
            request = request.headers(headers.clone());
        }
        match timeout(self.idle, request.send()).await {
            Err(_) => Err(self.silent()),
            Ok(Err(error)) if is_fenced(&error) => {
                Err(self.error(ErrorKind::Protocol, "gave a link into a private network"))
            }
            Ok(Err(error)) => Err(outcome::lost(&self.provider, Call::Open, error)),
            Ok(Ok(response)) => Ok(response),
        }
    }

    fn bytes(&self, response: Response) -> Result<ByteSource, ProviderError> {
        let status = response.status();
        if !status.is_success() {
            let kind = match status {
                // Signed links answer 403 once they have expired.
                StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => ErrorKind::LinkExpired,
                StatusCode::UNAUTHORIZED => ErrorKind::Unauthenticated,
                StatusCode::TOO_MANY_REQUESTS => ErrorKind::Overloaded,
                _ if status.is_server_error() => ErrorKind::Overloaded,
                _ => ErrorKind::Protocol,
            };
            let wait = outcome::retry_after_header(response.headers());
            let summary = format!("answered {} to {}", status.as_u16(), Call::Open.words());
            return Err(self.error(kind, summary).retry_after(wait));
        }
        // An encoded body has another length than the file.
        let encoded = response.headers().contains_key(CONTENT_ENCODING);
        let length = response.content_length().filter(|_| !encoded);
        let chunks = stream::try_unfold((self.clone(), response), |(links, mut response)| async move {
            Ok(links.chunk(&mut response).await?.map(|chunk| (chunk, (links, response))))
        });
        Ok(ByteSource { stream: Box::pin(chunks), length })
    }

    async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, ProviderError> {
        match timeout(self.idle, response.chunk()).await {
            Err(_) => Err(self.silent()),
            Ok(chunk) => chunk.map_err(|error| outcome::lost(&self.provider, Call::Open, error)),
        }
    }

    fn silent(&self) -> ProviderError {
        self.error(ErrorKind::Timeout, format!("sent nothing of an output for {} s", self.idle.as_secs()))
    }

    fn error(&self, kind: ErrorKind, summary: impl Into<String>) -> ProviderError {
        ProviderError::new(&self.provider, kind, Effect::None, summary)
    }
}

/// The header that carries a key as most vendors want it.
fn bearer(key: &SecretString) -> Option<HeaderMap> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose_secret())).ok()?;
    bearer.set_sensitive(true);
    Some(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_goes_to_the_api_and_the_listed_hosts_only() {
        let base = Url::parse("https://proxy.example:8443/v1").unwrap();
        let provider = ProviderId::from_id("v").unwrap();
        let key = SecretString::from("secret");
        let links = Links::new(&provider, &base, &key, &["replicate.delivery"], Duration::from_secs(1)).unwrap();
        let check = |link: &str, expected: bool| {
            assert_eq!(links.gets_key(&Url::parse(link).unwrap()), expected, "{link}");
        };
        check("https://proxy.example:8443/x", true);
        check("https://proxy.example/x", false);
        check("http://proxy.example:8443/x", false);
        check("https://replicate.delivery/x", true);
        check("https://a.b.REPLICATE.delivery/x", true);
        check("http://replicate.delivery/x", false);
        check("https://evilreplicate.delivery/x", false);
        check("https://replicate.delivery.evil.example/x", false);
        check("https://replicate.delivery@evil.example/x", false);
        assert!(!format!("{links:?}").contains("secret"));
    }
}
