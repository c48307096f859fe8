//! Why a generation ended without a result, or cannot be said to have ended.

use serde::{Deserialize, Serialize};

use super::names::ProviderId;

/// Whether a provider took money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Charged {
    /// No money was taken.
    No,
    /// Money was taken.
    Yes,
    /// It cannot be told.
    Unknown,
}

/// Where it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailurePhase {
    /// Handing the order to the provider.
    Submit,
    /// At the provider.
    Provider,
    /// Fetching the outputs.
    Download,
    /// Checking and storing the outputs.
    Store,
    /// The deadline.
    Deadline,
}

impl FailurePhase {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Provider => "provider",
            Self::Download => "download",
            Self::Store => "store",
            Self::Deadline => "deadline",
        }
    }
}

/// The stable reason of a failure; `error_reason.proto` says cause and remedy of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// The provider refused the order's values.
    ProviderInvalidOrder,
    /// The provider's content policy refused it.
    ProviderRefusedContent,
    /// The provider did not accept our credentials.
    ProviderUnauthenticated,
    /// The provider account has no credit.
    ProviderOutOfCredit,
    /// The provider knows no such model.
    ProviderModelNotFound,
    /// The provider could not be reached before the work began.
    ProviderUnreachable,
    /// The provider limited our rate or was overloaded until the deadline.
    ProviderOverloaded,
    /// The provider answered something outside its contract.
    ProviderProtocol,
    /// The provider accepted the work and named no job.
    NoProviderJobId,
    /// The provider reported that the job failed.
    ProviderJobFailed,
    /// The job was cancelled at the provider by somebody else.
    ProviderJobCancelled,
    /// The output holds nothing that can be downloaded.
    NoDownloadableOutput,
    /// The output is not sound media of the kind ordered.
    ArtifactInvalid,
    /// The output is larger than our cap.
    ArtifactTooLarge,
    /// The output could not be fetched or stored in time.
    ArtifactLost,
    /// The deadline passed before anything was sent.
    DeadlineExceeded,
    /// It stayed unresolved for as long as we ask.
    UnresolvedExpired,
    /// A person ended it.
    ResolvedByPerson,
}

impl FailureReason {
    /// True if the same request may well succeed later.
    pub fn retryable(self) -> bool {
        match self {
            Self::ProviderUnreachable
            | Self::ProviderOverloaded
            | Self::ProviderJobCancelled
            | Self::ArtifactInvalid
            | Self::ArtifactLost
            | Self::DeadlineExceeded => true,
            Self::ProviderInvalidOrder
            | Self::ProviderRefusedContent
            | Self::ProviderUnauthenticated
            | Self::ProviderOutOfCredit
            | Self::ProviderModelNotFound
            | Self::ProviderProtocol
            | Self::NoProviderJobId
            | Self::ProviderJobFailed
            | Self::NoDownloadableOutput
            | Self::ArtifactTooLarge
            | Self::UnresolvedExpired
            | Self::ResolvedByPerson => false,
        }
    }

    /// What to do next.
    pub fn next_step(self) -> &'static str {
        match self {
            Self::ProviderInvalidOrder => "correct the request and send it again with a new request id",
            Self::ProviderRefusedContent => "change the prompt or inputs; a repeat will be refused again",
            Self::ProviderUnauthenticated => "ask the operator to set a valid key for this provider",
            Self::ProviderOutOfCredit => "ask the operator to add credit at this provider",
            Self::ProviderModelNotFound => "choose another model; see ListModels",
            Self::ProviderUnreachable | Self::ProviderOverloaded => "send the request again later",
            Self::ProviderProtocol => {
                "report it to the operator; look at the provider's own list before ordering again"
            }
            Self::NoProviderJobId => "look at the provider's own list before ordering again",
            Self::ProviderJobFailed => "read the message; change the request, or try again",
            Self::ProviderJobCancelled => "send the request again if it is still wanted",
            Self::NoDownloadableOutput => "choose another model, or report it to the operator",
            Self::ArtifactInvalid | Self::ArtifactLost => "send the request again, or choose another model",
            Self::ArtifactTooLarge => "ask for less, or ask the operator to raise FILMGATE_MAX_ARTIFACT_BYTES",
            Self::DeadlineExceeded => "send the request again with a longer max_duration",
            Self::UnresolvedExpired | Self::ResolvedByPerson => "look at the provider's own list before ordering again",
        }
    }
}

/// Why a generation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable reason.
    pub reason: FailureReason,
    /// Where it failed.
    pub phase: FailurePhase,
    /// What happened, safe to show.
    pub message: String,
    /// The provider concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderId>,
    /// The request's field at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// True if the same request may well succeed later.
    pub retryable: bool,
    /// Whether money was spent.
    pub charged: Charged,
}

impl Failure {
    /// A failure with the reason's usual retryability.
    pub fn new(reason: FailureReason, phase: FailurePhase, charged: Charged, message: impl Into<String>) -> Self {
        Self {
            reason,
            phase,
            message: message.into(),
            provider: None,
            field: None,
            retryable: reason.retryable(),
            charged,
        }
    }

    /// At this provider.
    #[must_use]
    pub fn at(mut self, provider: &ProviderId) -> Self {
        self.provider = Some(provider.clone());
        self
    }

    /// Because of this field of the request.
    #[must_use]
    pub fn because_of(mut self, field: Option<String>) -> Self {
        self.field = field;
        self
    }
}

/// What is unknown about a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnresolvedReason {
    /// A paid request was sent and its answer was lost.
    SubmitAnswerLost,
    /// The provider took the order and named no job.
    NoProviderJobId,
    /// The deadline passed while the provider was working.
    DeadlinePassed,
    /// The provider no longer knows its own job.
    TicketUnknown,
    /// The provider could not be asked several times in a row.
    ProviderSilent,
}
