//! Why the engine refuses a call. The door turns each into a status; nothing here knows gRPC.

use crate::{
    domain::{
        budget::NotAllowed,
        generation::State,
        names::{ModelName, ProviderId},
        order::Violation,
        quote::NoQuote,
    },
    store::port::StoreError,
};

/// Why the engine refuses a call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields are wrong that only the engine can judge, for example an input artifact of the wrong kind.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// No such generation.
    #[error("generation not found")]
    GenerationNotFound,
    /// The request id was used for a different request.
    #[error("the request id was used for a request with another {field}")]
    RequestIdReused {
        /// The first field that differs.
        field: String,
    },
    /// A provider cannot serve this kind here.
    #[error("{provider} cannot serve this: {why}")]
    SampleMissing {
        /// The provider.
        provider: ProviderId,
        /// Why.
        why: String,
    },
    /// It has succeeded or failed.
    #[error("the generation has {}", .0.as_str())]
    Finished(State),
    /// It has not ended.
    #[error("the generation is {}", .0.as_str())]
    Unfinished(State),
    /// It is not unresolved.
    #[error("the generation is {}", .0.as_str())]
    NotUnresolved(State),
    /// Nobody is to be called back about it.
    #[error("the generation has no callback")]
    NoCallback,
    /// Too many generations are unfinished.
    #[error("{unfinished} generations are unfinished")]
    QueueFull {
        /// How many.
        unfinished: u64,
    },
    /// A budget does not allow it.
    #[error(transparent)]
    Budget(#[from] NotAllowed),
    /// A quote was asked for, or is to be used, and there is none.
    #[error(transparent)]
    Quote(#[from] NoQuote),
    /// A quote was asked for an order whose price nobody knows.
    #[error("the price of {model} is unknown, so it cannot be quoted")]
    PriceUnknown {
        /// The model.
        model: ModelName,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Bytes could not be stored.
    #[error("bytes could not be stored")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}
