//! Access tokens: whose they are, how they are had, and how long one is kept.
//!
//! Invariant: at most one token is being asked for at any time; whoever comes meanwhile waits for that one.

mod sign;

use std::{fmt, time::Duration};

use http::Method;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};
use url::Url;

use crate::provider::{
    error::{ErrorKind, ProviderError},
    http::{ANSWER_CAP, Http, outcome::Call, text::shown},
};

use self::sign::Signer;
use super::super::google::status;

/// Where tokens are had for whom the file names no other place.
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
/// What a token may be used for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// A token is replaced this long before it ends.
const EARLY: Duration = Duration::from_secs(225);
/// Life of a token whose answer does not tell.
const USUAL_LIFE: u64 = 3600;
/// Longest wait for a token.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Error words of the token endpoint that pass.
const PASSING: [&str; 3] = ["internal_failure", "server_error", "temporarily_unavailable"];

/// Who asks.
pub(in crate::provider) enum Credentials {
    /// A service account with its key.
    ServiceAccount(Box<Signer>),
    /// A person who has signed in with Google's own tool.
    User {
        client_id: String,
        client_secret: SecretString,
        refresh_token: SecretString,
        token_url: Url,
        quota_project: Option<String>,
    },
    /// The machine: its metadata server is at this address.
    Machine(Url),
}

/// A file of credentials, as Google's tools write it.
#[derive(Deserialize)]
struct File {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    project_id: Option<String>,
    #[serde(default)]
    quota_project_id: Option<String>,
    #[serde(default)]
    token_uri: Option<Url>,
    #[serde(default)]
    client_email: String,
    #[serde(default)]
    private_key: String,
    #[serde(default)]
    private_key_id: Option<String>,
    #[serde(default)]
    client_id: String,
    #[serde(default)]
    client_secret: String,
    #[serde(default)]
    refresh_token: String,
}

impl Credentials {
    /// Of a file's text, with the project that it names.
    ///
    /// # Errors
    /// In words without any value, if it holds no credentials that can be used.
    pub(in crate::provider) fn read(text: &str) -> Result<(Self, Option<String>), String> {
        let file: File = serde_json::from_str(text).map_err(|error| {
            format!("is no JSON of Google credentials (line {} column {})", error.line(), error.column())
        })?;
        let token_url = match file.token_uri {
            Some(url) => url,
            None => Url::parse(TOKEN_URL).map_err(|error| error.to_string())?,
        };
        let credentials = match file.kind.as_str() {
            "service_account" => {
                let signer = Signer::new(file.client_email, file.private_key_id, &file.private_key.into(), token_url)?;
                Self::ServiceAccount(Box::new(signer))
            }
            "authorized_user" => {
                if file.client_id.is_empty() || file.refresh_token.is_empty() {
                    return Err("names no client_id or no refresh_token".to_owned());
                }
                Self::User {
                    client_id: file.client_id,
                    client_secret: file.client_secret.into(),
                    refresh_token: file.refresh_token.into(),
                    token_url,
                    quota_project: file.quota_project_id,
                }
            }
            other => {
                let other = shown(other, &[]).unwrap_or_else(|| "none".to_owned());
                return Err(format!("has type {other}; service_account and authorized_user can be used"));
            }
        };
        Ok((credentials, file.project_id))
    }

    /// Who asks, in words that are no secret and stay the same when a key is changed.
    pub(in crate::provider) fn principal(&self) -> &str {
        match self {
            Self::ServiceAccount(signer) => signer.email(),
            Self::User { client_id, .. } => client_id,
            Self::Machine(_) => "machine",
        }
    }

    /// The project whose quota calls count against, where it must be told.
    pub(in crate::provider) fn quota_project(&self) -> Option<&str> {
        match self {
            Self::User { quota_project, .. } => quota_project.as_deref(),
            Self::ServiceAccount(_) | Self::Machine(_) => None,
        }
    }

    fn request(&self, http: &Http) -> Result<RequestBuilder, ProviderError> {
        let form = |url: &Url, pairs: &[(&str, &str)]| {
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            let request = http.client().request(Method::POST, url.clone());
            request.header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
        };
        Ok(match self {
            Self::ServiceAccount(signer) => {
                let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
                let assertion = signer.assertion(SCOPE).map_err(|why| {
                    let mut error = http.broken(Call::Token, why);
                    error.kind = ErrorKind::Unauthenticated;
                    error
                })?;
                form(signer.token_url(), &[("grant_type", grant), ("assertion", &assertion)])
            }
            Self::User { client_id, client_secret, refresh_token, token_url, quota_project: _ } => {
                let pairs = [
                    ("grant_type", "refresh_token"),
                    ("client_id", client_id),
                    ("client_secret", client_secret.expose_secret()),
                    ("refresh_token", refresh_token.expose_secret()),
                ];
                form(token_url, &pairs)
            }
            Self::Machine(server) => {
                let mut url = server.clone();
                url.set_path("/computeMetadata/v1/instance/service-accounts/default/token");
                url.query_pairs_mut().append_pair("scopes", SCOPE);
                http.client().get(url).header("metadata-flavor", "Google")
            }
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceAccount(_) => f.write_str("ServiceAccount"),
            Self::User { .. } => f.write_str("User"),
            Self::Machine(_) => f.write_str("Machine"),
        }
    }
}

/// Tokens of one account, shared by all its calls.
pub(in crate::provider) struct Tokens {
    credentials: Credentials,
    http: Http,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    token: SecretString,
    refresh_at: Instant,
    ends_at: Instant,
}

/// What the endpoint answers.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: Value,
}

impl Tokens {
    /// Of these credentials. Calls nobody.
    pub(in crate::provider) fn new(credentials: Credentials, http: Http) -> Self {
        Self { credentials, http, kept: Mutex::default() }
    }

    /// Who they are for.
    pub(in crate::provider) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// A token that is good for a while.
    ///
    /// # Errors
    /// None can be had: nothing was ordered. A kept one is used as long as it lasts, whatever becomes of its successor.
    pub(in crate::provider) async fn get(&self) -> Result<SecretString, ProviderError> {
        let mut kept = self.kept.lock().await;
        let now = Instant::now();
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.refresh_at) {
            return Ok(kept.token.clone());
        }
        match self.fetch().await {
            Ok(fresh) => Ok(kept.insert(fresh).token.clone()),
            Err(error) => match kept.as_ref().filter(|kept| now < kept.ends_at) {
                Some(kept) => Ok(kept.token.clone()),
                None => Err(error),
            },
        }
    }

    /// Forgets a token that was not accepted, so that the next call asks for another.
    pub(in crate::provider) async fn forget(&self, refused: &SecretString) {
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_some_and(|kept| kept.token.expose_secret() == refused.expose_secret()) {
            *kept = None;
        }
    }

    async fn fetch(&self) -> Result<Kept, ProviderError> {
        let request = self.credentials.request(&self.http)?.timeout(TIMEOUT);
        let asked_at = Instant::now();
        let answer = self.http.exchange(Call::Token, request, ANSWER_CAP).await?;
        if !answer.status.is_success() {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let mut error = status::refused(self.http.provider(), Call::Token, &answer, &[], None);
            // `error_description` says more than the word, and quotes nothing secret.
            if let Some(why) = body["error_description"].as_str().and_then(|why| shown(why, &[])) {
                error.summary.push_str(&format!(" ({why})"));
            }
            let passes = body["error"].as_str().is_some_and(|word| PASSING.contains(&word));
            if passes && error.kind == ErrorKind::Unauthenticated {
                error.kind = ErrorKind::Overloaded;
            }
            return Err(error);
        }
        let granted: Granted = self.http.json(Call::Token, &answer)?;
        if granted.access_token.is_empty() {
            return Err(self.http.broken(Call::Token, "granted an empty access token"));
        }
        let life = &granted.expires_in;
        let life = life.as_u64().or_else(|| life.as_str()?.trim().parse().ok()).unwrap_or(USUAL_LIFE);
        let life = Duration::from_secs(life.min(USUAL_LIFE * 12));
        // Of a short life half is used, lest every call asks for a new one.
        let refresh_after = life.saturating_sub(EARLY).max(life / 2);
        let ends_at = asked_at + life;
        Ok(Kept { token: granted.access_token.into(), refresh_at: asked_at + refresh_after, ends_at })
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({:?})", self.credentials)
    }
}
