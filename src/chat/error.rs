//! Why there is no answer, or no more of it. The doors say it in their words.

use std::time::Duration;

use crate::{
    domain::{
        budget::NotAllowed,
        catalog::NoCandidate,
        failure::Failure,
        names::{ModelName, ProviderId},
        order::Violation,
    },
    store::port::StoreError,
};

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields are wrong, or the model cannot honour them; never empty.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// The named provider has no credentials here.
    #[error("provider {provider} is not configured: {how}")]
    NotConfigured {
        /// The provider.
        provider: ProviderId,
        /// What to set.
        how: String,
    },
    /// A budget does not allow it.
    #[error(transparent)]
    Budget(#[from] NotAllowed),
    /// The provider did not answer, or broke off.
    #[error("{}", .failure.message)]
    Provider {
        /// What happened, and whether it is charged.
        failure: Box<Failure>,
        /// When the provider wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The server is shutting down, and nothing was sent.
    #[error("the server is shutting down")]
    Draining,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Bytes could not be read.
    #[error("bytes could not be read")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The catalog has a model that nobody serves.
    pub(super) fn unserved(model: &ModelName) -> Self {
        Self::Invalid(vec![Violation::unknown("model", format!("nobody serves {model} here"))])
    }
}

impl From<NoCandidate> for Error {
    fn from(none: NoCandidate) -> Self {
        match none {
            NoCandidate::Violations(violations) => Self::Invalid(violations),
            NoCandidate::NotConfigured { provider, how } => Self::NotConfigured { provider, how },
        }
    }
}
