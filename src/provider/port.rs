//! The port: what the engine asks of a vendor, in words that no vendor owns.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

pub use crate::domain::attempt::Ticket;
use crate::domain::{
    artifact::Kind,
    card::ModelCard,
    failure::{Charged, Failure},
    money::Usage,
    names::{ProviderId, SubmitKey},
    order::{InputRole, Options},
};

use super::{
    chat::ChatProvider,
    error::ProviderError,
    webhook::{Address, Delivery, Heard, HookError},
};

/// A vendor. Every method is one exchange with it and returns within the guard's deadline or is dropped; `poll`, `open` and `cancel` are safe to repeat.
#[async_trait]
pub trait Provider: fmt::Debug + Send + Sync + 'static {
    /// Its id.
    fn id(&self) -> &ProviderId;

    /// The cards of its models.
    fn models(&self) -> &[Arc<ModelCard>];

    /// Whether it can serve this kind now; what is wrong otherwise.
    fn ready(&self, _kind: Kind) -> Result<(), String> {
        Ok(())
    }

    /// Hands an order over. Called at most once for each `key`; an error's `effect` says whether the vendor may have started work.
    async fn submit(&self, order: &Order, key: &SubmitKey) -> Result<Submitted, ProviderError>;

    /// Looks for the job of a submit whose answer was lost. Not finding it proves nothing.
    async fn find(&self, order: &Order, key: &SubmitKey, sent_at: Timestamp) -> Result<Found, ProviderError>;

    /// Asks how far a job is.
    async fn poll(&self, ticket: &Ticket) -> Result<Progress, ProviderError>;

    /// Asks to stop a job. The engine polls first, because some vendors' cancel destroys a finished result.
    async fn cancel(&self, ticket: &Ticket) -> Result<CancelOutcome, ProviderError>;

    /// Opens an output for reading from the start. `ticket` is of the job that made it; none if it came with the submit answer.
    async fn open(&self, output: &RemoteOutput, ticket: Option<&Ticket>) -> Result<ByteSource, ProviderError>;

    /// Judges what came to the address of one of its submits: whether the vendor sent it, and lately. Of the job's state nothing is believed.
    async fn hear(&self, _delivery: &Delivery) -> Result<Heard, HookError> {
        Err(HookError::Forged)
    }

    /// True if it serves models that have no card.
    fn serves_undescribed(&self) -> bool {
        false
    }

    /// Its language models, if it has any.
    fn chat(&self) -> Option<&dyn ChatProvider> {
        None
    }

    /// How its keys are; nothing to tell of a vendor without.
    fn keys(&self) -> KeyState {
        KeyState::default()
    }
}

/// How the keys of a vendor are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyState {
    /// All of them.
    pub n: usize,
    /// Those that may be used now.
    pub n_usable: usize,
    /// When the first may be used again, if the vendor wants none of them used before.
    pub bound_until: Option<Instant>,
}

/// The order as one model gets it.
#[derive(Debug, Clone)]
pub struct Order {
    /// What to make.
    pub kind: Kind,
    /// The model's name at the provider.
    pub model: String,
    /// Its card; absent for a model nobody described, which takes the prompt and `provider_options` only.
    pub card: Option<Arc<ModelCard>>,
    /// The brief.
    pub prompt: String,
    /// Options the card has allowed.
    pub options: Options,
    /// Passed on as it is.
    pub provider_options: Map<String, Value>,
    /// Files to start from, in the request's order.
    pub inputs: Vec<OrderInput>,
    /// Where the vendor may tell of the job; the address is this submit's own.
    pub webhook: Option<Address>,
}

/// A file to start from.
#[derive(Debug, Clone)]
pub struct OrderInput {
    /// The part it plays.
    pub role: InputRole,
    /// The file.
    pub file: InputFile,
}

/// A file, as an adapter gets it.
#[derive(Clone)]
pub enum InputFile {
    /// A public address that the vendor fetches.
    Url(Url),
    /// The bytes.
    Bytes {
        /// Media type found in the bytes.
        media_type: String,
        /// All of them; inputs are capped far below memory.
        data: Bytes,
    },
}

impl fmt::Debug for InputFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The query may hold a signature.
            Self::Url(url) => write!(f, "Url({})", url.host_str().unwrap_or_default()),
            Self::Bytes { media_type, data } => write!(f, "Bytes({media_type}, {})", data.len()),
        }
    }
}

/// What a submit gave.
#[derive(Debug)]
pub enum Submitted {
    /// A job to follow.
    Pending(Ticket),
    /// The outputs at once, without a job to come back to.
    Done(Vec<RemoteOutput>, Usage),
}

/// What was found of a lost submit.
#[derive(Debug)]
pub enum Found {
    /// The vendor has no list to look in.
    Unsupported,
    /// Jobs that could be it.
    Candidates(Vec<Job>),
}

/// A job in a vendor's list.
#[derive(Debug, Clone)]
pub struct Job {
    /// How to follow it.
    pub ticket: Ticket,
    /// When the vendor made it.
    pub created_at: Timestamp,
    /// True if it carries the submit's own mark.
    pub exact: bool,
}

/// How far a job is. What the vendor does not say is absent.
#[derive(Debug)]
pub struct Progress {
    /// Where it is.
    pub status: Status,
    /// The vendor's own word.
    pub phase: Option<String>,
    /// 0 to 100.
    pub percent: Option<u8>,
    /// Place in the vendor's queue, from 1.
    pub queue_position: Option<u32>,
    /// End of its log, at most 4 KiB.
    pub log_tail: Option<String>,
    /// What was used.
    pub usage: Usage,
    /// When the vendor wants to be asked again.
    pub poll_after: Option<Duration>,
}

impl Progress {
    /// Only a status.
    pub fn of(status: Status) -> Self {
        Self {
            status,
            phase: None,
            percent: None,
            queue_position: None,
            log_tail: None,
            usage: Usage::default(),
            poll_after: None,
        }
    }
}

/// Where a job is.
#[derive(Debug)]
pub enum Status {
    /// Queued at the vendor.
    Waiting,
    /// Worked on.
    Running,
    /// Done; fresh links to the outputs, never stored.
    Done(Vec<RemoteOutput>),
    /// The vendor ran it and it failed: a fact about the job, not about the call.
    Failed(Failure),
    /// Stopped, by us or by somebody else, with whether it was charged.
    Cancelled(Charged),
}

/// What a cancel did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The vendor will try; ask on.
    Requested,
    /// It has stopped, and whether it is charged.
    Stopped(Charged),
    /// It had ended before; ask how.
    TooLate,
    /// The vendor cannot stop a job.
    Unsupported,
}

/// An output at the vendor.
#[derive(Clone)]
pub enum RemoteOutput {
    /// An address, perhaps signed, perhaps expiring: never stored, never logged.
    Link(Url),
    /// The bytes themselves.
    Inline(Bytes),
}

impl fmt::Debug for RemoteOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(url) => write!(f, "Link({})", url.host_str().unwrap_or_default()),
            Self::Inline(bytes) => write!(f, "Inline({})", bytes.len()),
        }
    }
}

/// The bytes of an output, as they come.
pub struct ByteSource {
    /// The bytes in order. An error ends them.
    pub stream: BoxStream<'static, Result<Bytes, ProviderError>>,
    /// How many there should be, if the vendor says.
    pub length: Option<u64>,
}

impl ByteSource {
    /// Bytes that are already here.
    pub fn of(bytes: Bytes) -> Self {
        let length = Some(bytes.len() as u64);
        Self { stream: Box::pin(futures_util::stream::once(async move { Ok(bytes) })), length }
    }
}

impl fmt::Debug for ByteSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByteSource({:?})", self.length)
    }
}
