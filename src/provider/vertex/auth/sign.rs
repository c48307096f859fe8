//! A service account's word for itself: a JSON Web Token signed with its RSA key.

use aws_lc_rs::{rand::SystemRandom, rsa::KeyPair, signature::RSA_PKCS1_SHA256};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;

use crate::provider::google::base64::decode;

/// Who a token is meant for; Google's own libraries write this wherever the endpoint is.
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
/// How long the word may be used.
const LIFE_S: i64 = 3600;

/// A service account with its key.
pub(in crate::provider) struct Signer {
    email: String,
    key_id: Option<String>,
    key: KeyPair,
    token_url: Url,
}

impl Signer {
    /// Of the fields of a key file; `private_key` is PEM.
    ///
    /// # Errors
    /// In words without any value.
    pub(super) fn new(
        email: String,
        key_id: Option<String>,
        private_key: &SecretString,
        token_url: Url,
    ) -> Result<Self, String> {
        if email.is_empty() {
            return Err("names no client_email".to_owned());
        }
        let key = read(private_key.expose_secret()).ok_or("has a private_key that is no RSA key in PEM")?;
        Ok(Self { email, key_id, key, token_url })
    }

    pub(super) fn email(&self) -> &str {
        &self.email
    }

    pub(super) fn token_url(&self) -> &Url {
        &self.token_url
    }

    /// The signed word, good for an hour.
    ///
    /// # Errors
    /// In words, if the key does not sign.
    pub(super) fn assertion(&self, scope: &str) -> Result<String, String> {
        let now = Timestamp::now().as_second();
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.key_id });
        let claims = json!({ "iss": self.email, "scope": scope, "aud": AUDIENCE, "iat": now, "exp": now + LIFE_S });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        let done = self.key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature);
        done.map_err(|_| "could not sign with the service account's key".to_owned())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// A key in PEM, PKCS#8 or the older PKCS#1. Line ends may be written as `\n`, as keys in variables often have them.
fn read(pem: &str) -> Option<KeyPair> {
    let pem = pem.replace("\\n", "\n");
    let (_, rest) = pem.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let der = decode(body)?;
    match label {
        "PRIVATE KEY" => KeyPair::from_pkcs8(&der).ok(),
        "RSA PRIVATE KEY" => KeyPair::from_der(&der).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::{AsDer, Pkcs8V1Der},
        rsa::KeySize,
        signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
    };
    use serde_json::Value;

    use super::*;
    use crate::provider::google::base64::encode;

    #[test]
    fn the_word_is_signed_with_the_key_and_says_who_wants_what() {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let body = encode(der.as_ref());
        for line_end in ["\n", "\\n"] {
            let pem =
                format!("-----BEGIN PRIVATE KEY-----{line_end}{body}{line_end}-----END PRIVATE KEY-----{line_end}");
            let url = Url::parse("https://tokens.example/token").unwrap();
            let signer =
                Signer::new("a@p.example".to_owned(), Some("k1".to_owned()), &SecretString::from(pem), url).unwrap();
            let word = signer.assertion("some scope").unwrap();
            let (signed, signature) = word.rsplit_once('.').unwrap();
            let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
            public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
            let (header, claims) = signed.split_once('.').unwrap();
            let read = |part| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
            assert_eq!(read(header), json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
            let claims = read(claims);
            assert_eq!((&claims["iss"], &claims["scope"]), (&json!("a@p.example"), &json!("some scope")));
            assert_eq!(claims["aud"], AUDIENCE);
            assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        let url = Url::parse("https://tokens.example/token").unwrap();
        for pem in ["", "secret", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----"] {
            let why = Signer::new("a@p.example".to_owned(), None, &SecretString::from(pem), url.clone()).err().unwrap();
            assert!(why.contains("private_key") && !why.contains("c2Vj"), "{why}");
        }
    }
}
