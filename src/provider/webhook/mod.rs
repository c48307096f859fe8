//! Webhooks of vendors, as adapters see them: the address that a submit carries, what comes to it, and whether that is genuine.
//!
//! Invariant: of a vendor that signs, a webhook is heard only with its signature over the whole body, and only while it is fresh. Of one that
//! signs nothing, only the address, which nobody can guess, speaks for it, and it is no more than a reason to ask. The schemes below are
//! pure; fetching a vendor's key is its adapter's business.

pub mod fal;
pub mod standard;

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::domain::{
    artifact::Kind,
    attempt::Ticket,
    names::{GenerationId, ProviderId, SubmitKey},
};

/// How far a webhook's time may be from ours, either way: the age at which a recorded one is worthless.
const MAX_AGE: SignedDuration = SignedDuration::from_mins(5);

/// Where a vendor may tell of one submit's job. Its last part is the submit's key, which is what makes it unguessable.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// `{public}/webhooks/{provider}/{generation}/{key}`.
    pub fn of(public: &Url, provider: &ProviderId, generation: GenerationId, key: SubmitKey) -> Self {
        let mut url = public.clone();
        // Only an address without a path has none to extend, and the settings let none of those pass.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["webhooks", provider.id(), &generation.id(), &key.id()]);
        }
        Self(url)
    }

    /// As the vendor is told.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who knows the rest may use it.
        write!(f, "Address({})", self.0.host_str().unwrap_or_default())
    }
}

/// True if `echoed`, an address that a vendor repeats, was made for the submit with this key, whatever our public address was then.
pub fn is_of(echoed: &str, key: SubmitKey) -> bool {
    echoed.rsplit('/').next().is_some_and(|last| last == key.id())
}

/// What came to the address of a submit, whoever sent it.
#[derive(Clone)]
pub struct Delivery {
    /// The submit's key.
    pub key: SubmitKey,
    /// What was ordered.
    pub kind: Kind,
    /// The model that it was ordered of.
    pub model: String,
    /// Headers of the request.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
    /// When it came.
    pub received_at: Timestamp,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers hold the signature, the body prompts and signed addresses.
        f.debug_struct("Delivery").field("kind", &self.kind).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// What a genuine webhook says that is worth knowing before the job is polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The same for every copy of one message, as long as the vendor can tell.
    pub id: String,
    /// How to follow the job that it names.
    pub ticket: Option<Ticket>,
}

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// The vendor did not sign this for this address.
    #[error("not signed by the vendor for this address")]
    Forged,
    /// The vendor's clock says another time, by more than five minutes.
    #[error("signed too long ago, or in the future")]
    Stale,
    /// The vendor's key cannot be had now, so that nobody can tell.
    #[error("the vendor's key cannot be fetched now")]
    KeyUnavailable,
}

/// A header that is text.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, HookError> {
    headers.get(name).and_then(|value| value.to_str().ok()).ok_or(HookError::Forged)
}

/// Unix seconds as a vendor writes them.
fn time(text: &str) -> Result<Timestamp, HookError> {
    text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).ok_or(HookError::Forged)
}

/// Refuses what was not sent about `now`.
fn check_age(sent_at: Timestamp, now: Timestamp) -> Result<(), HookError> {
    if now.duration_since(sent_at).abs() > MAX_AGE { Err(HookError::Stale) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lies_below_the_public_one_and_is_known_by_its_key() {
        let (provider, generation) = (ProviderId::from_id("replicate").unwrap(), GenerationId::fresh());
        let [key, other] = [SubmitKey::fresh(), SubmitKey::fresh()];
        for (public, start) in [
            ("https://film.example", "https://film.example/webhooks/"),
            ("https://film.example/", "https://film.example/webhooks/"),
            ("http://film.example:8080/gate/way", "http://film.example:8080/gate/way/webhooks/"),
            ("http://film.example/gate/", "http://film.example/gate/webhooks/"),
        ] {
            let address = Address::of(&public.parse().unwrap(), &provider, generation, key);
            let expected = format!("{start}replicate/{}/{}", generation.id(), key.id());
            assert_eq!(address.url().as_str(), expected);
            assert!(is_of(&expected, key) && !is_of(&expected, other));
            assert!(!format!("{address:?}").contains(&key.id()));
        }
        assert!(!is_of("", key) && !is_of("https://film.example/", key));
    }

    #[test]
    fn five_minutes_either_way_are_fresh() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let check = |age_s: i64, expected| {
            assert_eq!(check_age(now - SignedDuration::from_secs(age_s), now), expected, "{age_s}");
        };
        check(0, Ok(()));
        check(300, Ok(()));
        check(-300, Ok(()));
        check(301, Err(HookError::Stale));
        check(-301, Err(HookError::Stale));
        for odd in ["", "soon", "99999999999999999", "1.5"] {
            assert_eq!(time(odd), Err(HookError::Forged), "{odd}");
        }
        assert_eq!(check_age(Timestamp::MIN, Timestamp::MAX), Err(HookError::Stale));
    }
}
