//! Standard Webhooks with a shared secret, as Replicate signs: HMAC-SHA-256 over id, time and body.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

use super::{HookError, check_age, header, time};

/// The version of the scheme that is understood; signatures of others are skipped.
const VERSION: &str = "v1";

/// What a vendor and we share.
#[derive(Debug)]
pub struct SigningKey(SecretSlice<u8>);

impl SigningKey {
    /// From its usual form, `whsec_` and base64; nothing if it has another.
    pub fn of(secret: &str) -> Option<Self> {
        let bytes = BASE64.decode(secret.strip_prefix("whsec_")?).ok()?;
        (!bytes.is_empty()).then(|| Self(bytes.into()))
    }
}

/// A webhook whose signature is to be judged.
#[derive(Clone, Copy)]
pub struct Letter<'a> {
    /// The same each time that one message is sent.
    pub id: &'a str,
    timestamp: &'a str,
    signatures: &'a str,
    body: &'a [u8],
}

impl fmt::Debug for Letter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No signature and no body.
        write!(f, "Letter({}, {} bytes)", self.id, self.body.len())
    }
}

impl<'a> Letter<'a> {
    /// With the three headers of the scheme, sent about `now`.
    ///
    /// # Errors
    /// A header is missing or odd, or the time another. The signature has not been looked at.
    pub fn read(headers: &'a HeaderMap, body: &'a [u8], now: Timestamp) -> Result<Self, HookError> {
        let letter = Self {
            id: header(headers, "webhook-id")?,
            timestamp: header(headers, "webhook-timestamp")?,
            signatures: header(headers, "webhook-signature")?,
            body,
        };
        check_age(time(letter.timestamp)?, now)?;
        Ok(letter)
    }

    /// True if one of its signatures is of this key. Takes as long for a wrong one as for a right one.
    pub fn is_signed_by(&self, key: &SigningKey) -> bool {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.0.expose_secret()) else { return false };
        mac.update(self.id.as_bytes());
        mac.update(b".");
        mac.update(self.timestamp.as_bytes());
        mac.update(b".");
        mac.update(self.body);
        let signatures = self.signatures.split(' ').filter_map(|signature| signature.split_once(','));
        let mut signatures = signatures.filter(|(version, _)| *version == VERSION);
        signatures.any(|(_, signature)| {
            BASE64.decode(signature).is_ok_and(|signature| mac.clone().verify_slice(&signature).is_ok())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The vector of Replicate's own clients.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIME: &str = "1614265330";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn headers(changed: &str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, text) in [("webhook-id", ID), ("webhook-timestamp", TIME), ("webhook-signature", SIGNATURE)] {
            headers.insert(name, if name == changed { value } else { text }.parse().unwrap());
        }
        headers
    }

    /// Whether the vector is taken with one header changed, at its own time.
    fn is_genuine(changed: &str, value: &str, body: &[u8], secret: &str) -> bool {
        let now = Timestamp::from_second(TIME.parse().unwrap()).unwrap();
        let headers = headers(changed, value);
        Letter::read(&headers, body, now).unwrap().is_signed_by(&SigningKey::of(secret).unwrap())
    }

    #[test]
    fn the_public_vector_is_genuine_and_nothing_else_is() {
        let taken = |changed: &str, value: &str| is_genuine(changed, value, BODY, SECRET);
        assert!(taken("", ""));
        assert!(taken("webhook-signature", &format!("v1a,aaaa v1,bm8= {SIGNATURE}")), "any of several will do");
        assert!(!taken("webhook-id", "msg_another"));
        assert!(!taken("webhook-timestamp", "1614265331"));
        assert!(!taken("webhook-timestamp", "01614265330"), "the text is signed, not the number");
        assert!(!taken("webhook-signature", &SIGNATURE.replace("v1,", "v2,")), "another version");
        assert!(!taken("webhook-signature", &SIGNATURE.replace("g0", "h0")));
        assert!(!taken("webhook-signature", "v1,"));
        assert!(!taken("webhook-signature", ""));
        assert!(!is_genuine("", "", br#"{"test": 2432232315}"#, SECRET), "another body");
        assert!(!is_genuine("", "", BODY, "whsec_Zm9yZ2VyeQ=="), "another key");
    }

    #[test]
    fn a_stale_one_and_one_without_a_header_are_told_apart() {
        let now = Timestamp::from_second(1_614_265_330 + 301).unwrap();
        let judged = |headers: &HeaderMap| Letter::read(headers, BODY, now).err();
        assert_eq!(judged(&headers("", "")), Some(HookError::Stale));
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut headers = headers("", "");
            headers.remove(name);
            assert_eq!(judged(&headers), Some(HookError::Forged), "{name}");
        }
        assert_eq!(judged(&headers("webhook-timestamp", "now")), Some(HookError::Forged));
    }

    #[test]
    fn a_secret_has_one_form_and_is_not_shown() {
        assert!(SigningKey::of("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_none());
        assert!(SigningKey::of("whsec_").is_none() && SigningKey::of("whsec_%").is_none());
        assert!(!format!("{:?}", SigningKey::of(SECRET)).contains("49"), "no byte of it");
    }
}
