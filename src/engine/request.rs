//! A request as the engine takes it: valid by type, its models already chosen.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use url::Url;

use crate::{
    domain::{
        artifact::Kind,
        names::{ArtifactId, RequestId, SessionId, TenantId},
        order::{CachePolicy, Candidate, InputRole},
    },
    store::port::SentRequest,
};

/// A valid request for one generation.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose it is.
    pub tenant: TenantId,
    /// The caller's program, for the session's history, for example `filmgate-cli`.
    pub source: String,
    /// What to make.
    pub kind: Kind,
    /// The caller's key and the request as it was sent.
    pub request_id: Option<(RequestId, SentRequest)>,
    /// The conversation; a new one when absent.
    pub session: Option<SessionId>,
    /// The prompt, trimmed; empty only if its model goes without.
    pub prompt: String,
    /// The models it may be tried at, in order; never empty.
    pub candidates: Vec<Candidate>,
    /// Files to start from.
    pub inputs: Vec<AskedInput>,
    /// How earlier results are used.
    pub cache: CachePolicy,
    /// Bounds the job; the server's default when absent.
    pub max_duration: Option<Duration>,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// Where the end is reported to; its host was checked and there is a secret to sign with.
    pub callback_url: Option<Url>,
    /// A content refusal also moves on to the next candidate.
    pub fallback_on_refusal: bool,
    /// W3C `traceparent` of the caller.
    pub trace: Option<String>,
}

/// A file to start from, as asked.
#[derive(Debug, Clone)]
pub struct AskedInput {
    /// The part it plays.
    pub role: InputRole,
    /// The field of the request that holds it: `artifact`, `uri` or `data`.
    pub field: &'static str,
    /// Where it comes from.
    pub source: AskedSource,
}

/// Where an asked input comes from.
#[derive(Debug, Clone)]
pub enum AskedSource {
    /// An artifact of the caller.
    Artifact(ArtifactId),
    /// A public `https` address; its host was checked.
    Url(Url),
    /// Bytes, from the request itself or from a data URI; they become an artifact.
    Bytes(Bytes),
}
