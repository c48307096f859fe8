//! Links to artifacts on this server that work without a header and end by themselves: the tenant, the artifact, the end and the file name,
//! signed with HMAC-SHA256. Whoever has one has the bytes, so none is logged.

use std::{fmt, net::SocketAddr, sync::Arc};

use aws_lc_rs::hmac;
use http::uri::Authority;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use url::{Url, form_urlencoded};

use super::refusal::Refusal;
use crate::domain::names::{ArtifactId, TenantId};

/// Goes into every signature, so that the key signs nothing else by accident.
const PURPOSE: &str = "filmgate artifact link 1";
const TENANT: &str = "tenant";
const EXPIRES: &str = "expires";
const FILE_NAME: &str = "file_name";
const SIGNATURE: &str = "signature";

/// Signs links and knows its own again. Cheap to clone.
#[derive(Clone)]
pub struct Links(Arc<Inner>);

struct Inner {
    key: hmac::Key,
    /// What a path is put behind; ends without a slash.
    base: String,
    /// Whether the settings say where clients reach the server.
    is_public: bool,
}

/// What a link gives to whoever has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// Whose artifact it is.
    pub(super) tenant: TenantId,
    /// The artifact.
    pub(super) artifact: ArtifactId,
    /// Second since 1970 from which on it is refused.
    pub(super) expires: i64,
    /// Under which the bytes are to be saved; empty to show them in place.
    pub(super) file_name: String,
}

/// Why a link is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadLink {
    /// It was not signed here, or was changed since.
    Invalid,
    /// Its time is over.
    Expired,
}

impl Links {
    /// Links that `key` signs, to the server that clients reach at `public`, or else where it listens. A server that listens everywhere
    /// names itself by the loopback address then, because it cannot know the name that callers use.
    pub fn new(key: &SecretString, public: Option<&Url>, listens: SocketAddr) -> Self {
        let base = public.map_or_else(|| format!("http://{}", dialled(listens)), ToString::to_string);
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret().as_bytes());
        Self(Arc::new(Inner { key, base: base.trim_end_matches('/').to_owned(), is_public: public.is_some() }))
    }

    /// The whole address.
    pub(super) fn sign(&self, grant: &Grant) -> String {
        self.sign_below(&self.0.base, grant)
    }

    /// The whole address, for a caller that reached the server as `host`. Where the settings name a public address, that one counts.
    pub(super) fn sign_at(&self, host: Option<&Authority>, grant: &Grant) -> String {
        match host.filter(|_| !self.0.is_public) {
            Some(host) => self.sign_below(&format!("http://{host}"), grant),
            None => self.sign(grant),
        }
    }

    fn sign_below(&self, base: &str, grant: &Grant) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair(TENANT, grant.tenant.id()).append_pair(EXPIRES, &grant.expires.to_string());
        if !grant.file_name.is_empty() {
            query.append_pair(FILE_NAME, &grant.file_name);
        }
        query.append_pair(SIGNATURE, &hex::encode(hmac::sign(&self.0.key, &signed(grant))));
        format!("{base}/artifacts/{}?{}", grant.artifact.id(), query.finish())
    }

    /// What the query of a request for `artifact` grants at `now`; none if it is not that of a link.
    pub(super) fn grant(&self, artifact: &ArtifactId, query: &str, now: Timestamp) -> Result<Option<Grant>, Refusal> {
        let (mut tenant, mut expires, mut file_name, mut signature) = (None, None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match name.as_ref() {
                TENANT => &mut tenant,
                EXPIRES => &mut expires,
                FILE_NAME => &mut file_name,
                SIGNATURE => &mut signature,
                // Whatever a mail program or a page adds is not ours.
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(Refusal::Link(BadLink::Invalid));
            }
        }
        // A link without its signature must not become a request of the default tenant.
        if tenant.is_none() && expires.is_none() && signature.is_none() {
            return Ok(None);
        }
        let read = || {
            let tenant = TenantId::from_id(tenant?).ok()?;
            let expires = expires?.parse().ok()?;
            let file_name = file_name.unwrap_or_default();
            Some((Grant { tenant, artifact: artifact.clone(), expires, file_name }, hex::decode(signature?).ok()?))
        };
        let (grant, signature) = read().ok_or(Refusal::Link(BadLink::Invalid))?;
        // Compares in constant time.
        hmac::verify(&self.0.key, &signed(&grant), &signature).map_err(|_| Refusal::Link(BadLink::Invalid))?;
        if now.as_second() >= grant.expires {
            return Err(Refusal::Link(BadLink::Expired));
        }
        Ok(Some(grant))
    }
}

/// No part but the last can hold a line end, so two different grants never give the same bytes.
fn signed(grant: &Grant) -> Vec<u8> {
    let Grant { tenant, artifact, expires, file_name } = grant;
    format!("{PURPOSE}\n{}\n{}\n{expires}\n{file_name}", tenant.id(), artifact.id()).into_bytes()
}

/// An address that is listened on as one that can be reached, from this machine at least.
fn dialled(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(if addr.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    addr
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("base", &self.0.base).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::fixture::noon;

    fn links(public: Option<&str>, listens: &str) -> Links {
        let public = public.map(|url| url.parse().unwrap());
        Links::new(&"k".repeat(32).into(), public.as_ref(), listens.parse().unwrap())
    }

    fn of_noon() -> Grant {
        Grant {
            tenant: TenantId::from_id("acme").unwrap(),
            artifact: ArtifactId::from_id("a-0").unwrap(),
            expires: noon().as_second() + 60,
            file_name: "Füchse & co.mp4".to_owned(),
        }
    }

    /// What `change` of the query of a link grants at noon, some seconds later.
    fn granted(artifact: &str, later: i64, change: impl Fn(&str) -> String) -> Result<Option<Grant>, BadLink> {
        let links = links(None, "127.0.0.1:1");
        let url = links.sign(&of_noon());
        let (_, query) = url.split_once('?').unwrap();
        let now = noon() + std::time::Duration::from_secs(u64::try_from(later).unwrap());
        match links.grant(&ArtifactId::from_id(artifact).unwrap(), &change(query), now) {
            Ok(grant) => Ok(grant),
            Err(Refusal::Link(bad)) => Err(bad),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_link_grants_what_was_signed_until_its_end() {
        assert_eq!(granted("a-0", 0, str::to_owned), Ok(Some(of_noon())));
        assert_eq!(granted("a-0", 59, |query| format!("utm_source=mail&{query}")), Ok(Some(of_noon())));
        assert_eq!(granted("a-0", 60, str::to_owned), Err(BadLink::Expired));
    }

    #[test]
    fn whatever_is_changed_in_a_link_it_is_invalid() {
        assert_eq!(granted("a-1", 0, str::to_owned), Err(BadLink::Invalid));
        type Change = fn(&str) -> String;
        let changes: [(&str, Change); 8] = [
            ("tenant", |query| query.replace("acme", "acmf")),
            ("end", |query| query.replace("expires=1", "expires=2")),
            ("file name", |query| query.replace("F%C3%BC", "F")),
            ("no signature", |query| query.split("&signature").next().unwrap().to_owned()),
            ("short signature", |query| query[..query.len() - 2].to_owned()),
            ("rubbish signature", |query| format!("{query}zz")),
            ("second tenant", |query| format!("{query}&tenant=acme")),
            ("signature alone", |query| query.split('&').next_back().unwrap().to_owned()),
        ];
        for (what, change) in changes {
            assert_eq!(granted("a-0", 0, change), Err(BadLink::Invalid), "{what}");
        }
        // Out of time as well: first of all it must be ours.
        assert_eq!(granted("a-0", 99, |query| query.replace("acme", "acmf")), Err(BadLink::Invalid));
    }

    #[test]
    fn another_query_is_no_link() {
        for query in ["", "v=2", "file_name=x", "%ff=%fe&&="] {
            assert_eq!(granted("a-0", 0, |_| query.to_owned()), Ok(None), "{query}");
        }
    }

    #[test]
    fn another_key_signs_other_links() {
        let other = Links::new(&"x".repeat(32).into(), None, "127.0.0.1:1".parse().unwrap());
        let url = other.sign(&of_noon());
        let query = url.split_once('?').unwrap().1;
        let refused = links(None, "127.0.0.1:1").grant(&of_noon().artifact, query, noon());
        assert!(matches!(refused, Err(Refusal::Link(BadLink::Invalid))));
    }

    #[test]
    fn a_link_begins_with_the_address_that_clients_reach() {
        for (public, listens, start) in [
            (None, "127.0.0.1:50051", "http://127.0.0.1:50051/artifacts/a-0?"),
            (None, "0.0.0.0:80", "http://127.0.0.1:80/artifacts/a-0?"),
            (None, "[::]:80", "http://[::1]:80/artifacts/a-0?"),
            (Some("https://films.example"), "0.0.0.0:80", "https://films.example/artifacts/a-0?"),
            (Some("https://example.com/films/"), "0.0.0.0:80", "https://example.com/films/artifacts/a-0?"),
        ] {
            let url = links(public, listens).sign(&of_noon());
            assert!(url.starts_with(start), "{url}");
        }
        assert!(!format!("{:?}", links(None, "127.0.0.1:1")).contains("kkk"));
    }

    #[test]
    fn a_link_begins_with_the_host_that_was_called_unless_a_public_address_is_set() {
        let host = Authority::from_static("films.lan:8080");
        for (public, start) in [
            (None, "http://films.lan:8080/artifacts/a-0?"),
            (Some("https://films.example"), "https://films.example/artifacts/a-0?"),
        ] {
            let url = links(public, "127.0.0.1:1").sign_at(Some(&host), &of_noon());
            assert!(url.starts_with(start), "{url}");
        }
        let url = links(None, "127.0.0.1:1").sign_at(None, &of_noon());
        assert!(url.starts_with("http://127.0.0.1:1/artifacts/"), "{url}");
    }
}
