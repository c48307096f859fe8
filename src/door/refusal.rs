//! Why the door says no, before it is told in the words of gRPC or HTTP.

use std::{fmt, time::Duration};

use super::links::BadLink;
use crate::{
    callback::Unsigned,
    chat,
    domain::{catalog::NoCandidate, failure::Failure, names::ProviderId, order::Violation},
    engine::error::Error,
    store::port::StoreError,
};

/// Why a call is refused. `status` turns it into a gRPC status or an HTTP answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Fields are wrong; never empty.
    Invalid(Vec<Violation>),
    /// The named provider has no credentials here.
    NotConfigured {
        /// The provider.
        provider: ProviderId,
        /// What to set.
        how: String,
    },
    /// The request names a callback address and nothing could be signed.
    CallbackNotConfigured,
    /// Nothing has this name for this caller.
    NotFound(Resource, String),
    /// The upload is larger than the cap.
    UploadTooLarge {
        /// The cap.
        max_bytes: u64,
    },
    /// The link is not followed.
    Link(BadLink),
    /// The engine refuses.
    Engine {
        /// Why.
        error: Error,
        /// The name that the call is about; empty if none.
        subject: String,
    },
    /// A language model's provider did not answer, or broke off.
    Chat {
        /// What happened.
        failure: Box<Failure>,
        /// When the provider wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The caller's own stream broke; told back as it came.
    Caller(tonic::Status),
}

/// A kind of thing that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    Generation,
    Session,
    Artifact,
    Model,
}

impl Resource {
    /// The word for callers.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Generation => "generation",
            Self::Session => "session",
            Self::Artifact => "artifact",
            Self::Model => "model",
        }
    }
}

impl Refusal {
    /// One wrong field.
    pub(super) fn field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation::new(field, description)])
    }

    /// Says which name an error is about, for `map_err`.
    pub(super) fn about<E: Into<Error>>(subject: &impl fmt::Display) -> impl FnOnce(E) -> Self {
        move |error| Self::Engine { error: error.into(), subject: subject.to_string() }
    }
}

/// Both values, or everything that is wrong with either.
pub(super) fn both<A, B>(one: Result<A, Refusal>, other: Result<B, Refusal>) -> Result<(A, B), Refusal> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(Refusal::Invalid(mut violations)), Err(Refusal::Invalid(others))) => {
            violations.extend(others);
            Err(Refusal::Invalid(violations))
        }
        (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Engine { error, subject: String::new() }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Error::Store(error).into()
    }
}

impl From<Unsigned> for Refusal {
    fn from(Unsigned: Unsigned) -> Self {
        Self::CallbackNotConfigured
    }
}

impl From<NoCandidate> for Refusal {
    fn from(none: NoCandidate) -> Self {
        match none {
            NoCandidate::Violations(violations) => Self::Invalid(violations),
            NoCandidate::NotConfigured { provider, how } => Self::NotConfigured { provider, how },
        }
    }
}

impl From<chat::Error> for Refusal {
    fn from(error: chat::Error) -> Self {
        match error {
            chat::Error::Invalid(violations) => Self::Invalid(violations),
            chat::Error::NotConfigured { provider, how } => Self::NotConfigured { provider, how },
            chat::Error::Provider { failure, retry_after } => Self::Chat { failure, retry_after },
            chat::Error::Budget(refused) => Error::Budget(refused).into(),
            chat::Error::Draining => Error::Draining.into(),
            chat::Error::Store(error) => error.into(),
            chat::Error::Storage(error) => Error::Storage(error).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_either_is_told_together() {
        let wrong = |field| Err::<(), _>(Refusal::field(field, "x"));
        assert_eq!(both(Ok(1), Ok(2)).unwrap(), (1, 2));
        let Err(Refusal::Invalid(violations)) = both(wrong("a"), wrong("b")) else { panic!("accepted") };
        assert_eq!(violations.len(), 2);
        assert!(both(wrong("a"), Ok(())).is_err() && both(Ok(()), wrong("b")).is_err());
    }
}
