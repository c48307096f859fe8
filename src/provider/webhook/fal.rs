//! fal's scheme: Ed25519 over request, user, time and the body's hash, by any key of a set that fal publishes.

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64_URL};
use http::HeaderMap;
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{HookError, check_age, header, time};

/// Most keys of a set that are tried: each costs a verification.
const MOST_KEYS: usize = 16;

/// The keys of `GET https://rest.fal.ai/.well-known/jwks.json`, which may be kept for a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet(Vec<[u8; 32]>);

impl KeySet {
    /// From the JSON of a key set (RFC 7517). Keys of other kinds are skipped; nothing if none is left.
    pub fn of(jwks: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Key>,
        }
        #[derive(Deserialize)]
        struct Key {
            #[serde(default)]
            kty: String,
            #[serde(default)]
            crv: String,
            #[serde(default)]
            x: String,
        }
        let set: Set = serde_json::from_slice(jwks).ok()?;
        let ours = set.keys.iter().filter(|key| key.kty == "OKP" && key.crv == "Ed25519");
        let keys = ours.filter_map(|key| BASE64_URL.decode(&key.x).ok()?.try_into().ok());
        let keys: Vec<[u8; 32]> = keys.take(MOST_KEYS).collect();
        (!keys.is_empty()).then_some(Self(keys))
    }
}

/// A webhook whose signature is to be judged.
#[derive(Clone)]
pub struct Letter<'a> {
    /// The job, and the same each time that its message is sent.
    pub request_id: &'a str,
    message: String,
    signature: Vec<u8>,
}

impl fmt::Debug for Letter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No signature.
        write!(f, "Letter({})", self.request_id)
    }
}

impl<'a> Letter<'a> {
    /// With the four headers of the scheme, sent about `now`.
    ///
    /// # Errors
    /// A header is missing or odd, or the time another. The signature has not been looked at.
    pub fn read(headers: &'a HeaderMap, body: &[u8], now: Timestamp) -> Result<Self, HookError> {
        let request_id = header(headers, "x-fal-webhook-request-id")?;
        let user_id = header(headers, "x-fal-webhook-user-id")?;
        let timestamp = header(headers, "x-fal-webhook-timestamp")?;
        let signature = hex::decode(header(headers, "x-fal-webhook-signature")?).map_err(|_| HookError::Forged)?;
        check_age(time(timestamp)?, now)?;
        let body = hex::encode(Sha256::digest(body));
        Ok(Self { request_id, message: format!("{request_id}\n{user_id}\n{timestamp}\n{body}"), signature })
    }

    /// True if it was signed by one of these keys.
    pub fn is_signed_by(&self, keys: &KeySet) -> bool {
        let is_by =
            |key: &[u8; 32]| UnparsedPublicKey::new(&ED25519, key).verify(self.message.as_bytes(), &self.signature);
        keys.0.iter().any(|key| is_by(key).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Signed with OpenSSL and the first key of RFC 8032, section 7.1.
    const JWKS: &str = r#"{"keys": [
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "OKP", "crv": "X25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {"kty": "OKP", "crv": "Ed25519", "x": "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw"},
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "a"}
    ]}"#;
    const BODY: &[u8] = br#"{"request_id":"0b1c","gateway_request_id":"0b1c","status":"OK","payload":{"video":{"url":"https://v3.fal.media/files/x/a.mp4"}}}"#;
    const HEADERS: [(&str, &str); 4] = [
        ("x-fal-webhook-request-id", "0b1c"),
        ("x-fal-webhook-user-id", "github|42"),
        ("x-fal-webhook-timestamp", "1772366400"),
        (
            "x-fal-webhook-signature",
            "3cd081f8c187a06038ff2cd72be6fe7f65eb99362571f1b083dd31fa453934cdd5e3564b8d3907077b06cefc3a622b04196e3833b1c89afcb6ad5f5f7785c008",
        ),
    ];

    fn headers(changed: &str, value: &str) -> HeaderMap {
        let pairs = HEADERS.map(|(name, text)| {
            (name.parse::<http::HeaderName>().unwrap(), if name == changed { value } else { text }.parse().unwrap())
        });
        pairs.into_iter().collect()
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_772_366_400).unwrap()
    }

    fn is_genuine(changed: &str, value: &str, body: &[u8], keys: &str) -> bool {
        let headers = headers(changed, value);
        Letter::read(&headers, body, now()).unwrap().is_signed_by(&KeySet::of(keys.as_bytes()).unwrap())
    }

    #[test]
    fn the_vector_is_genuine_and_nothing_else_is() {
        let taken = |changed: &str, value: &str| is_genuine(changed, value, BODY, JWKS);
        assert!(taken("", ""));
        assert!(!taken("x-fal-webhook-request-id", "0b1d"));
        assert!(!taken("x-fal-webhook-user-id", "github|43"));
        assert!(!taken("x-fal-webhook-timestamp", "1772366401"));
        assert!(!taken("x-fal-webhook-signature", &HEADERS[3].1.replace("3c", "3d")));
        assert!(!taken("x-fal-webhook-signature", &HEADERS[3].1[..126]));
        assert!(!taken("x-fal-webhook-signature", ""));
        assert!(!is_genuine("", "", b"{}", JWKS), "another body");
        let other =
            r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw"}]}"#;
        assert!(!is_genuine("", "", BODY, other), "another key");
    }

    #[test]
    fn a_stale_one_and_one_without_a_header_are_told_apart() {
        let judged = |headers: &HeaderMap, later_s: i64| {
            Letter::read(headers, BODY, now() + jiff::SignedDuration::from_secs(later_s)).err()
        };
        assert_eq!(judged(&headers("", ""), 300), None);
        assert_eq!(judged(&headers("", ""), 301), Some(HookError::Stale));
        assert_eq!(judged(&headers("", ""), -301), Some(HookError::Stale));
        assert_eq!(judged(&headers("x-fal-webhook-signature", "no hex"), 0), Some(HookError::Forged));
        for (name, _) in HEADERS {
            let mut headers = headers("", "");
            headers.remove(name);
            assert_eq!(judged(&headers, 0), Some(HookError::Forged), "{name}");
        }
    }

    #[test]
    fn a_set_without_a_usable_key_is_none() {
        assert_eq!(KeySet::of(JWKS.as_bytes()).unwrap().0.len(), 2);
        for bad in ["", "{}", r#"{"keys": []}"#, r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "c2hvcnQ"}]}"#] {
            assert_eq!(KeySet::of(bad.as_bytes()), None, "{bad}");
        }
    }
}
