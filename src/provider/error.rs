//! What went wrong with a call to a vendor, and whether the vendor may have started work. The second fact decides about retries.
#![deny(clippy::wildcard_enum_match_arm)]

use std::{error::Error, fmt, time::Duration};

use crate::domain::{
    failure::{Charged, Failure, FailurePhase, FailureReason},
    names::ProviderId,
};

/// A call to a vendor failed.
#[derive(Debug)]
pub struct ProviderError {
    /// The vendor.
    pub provider: ProviderId,
    /// What went wrong.
    pub kind: ErrorKind,
    /// Whether the vendor may have started work.
    pub effect: Effect,
    /// Whether the vendor charges for what ended so, where it certainly answered.
    pub charged: Charged,
    /// When the vendor wants to be asked again.
    pub retry_after: Option<Duration>,
    /// What happened in our words, safe to show.
    pub summary: String,
    /// The request's field at fault, if the vendor names one.
    pub field: Option<String>,
    /// The host of an input's address failed and the vendor was not asked: this says nothing about the vendor or a key.
    pub is_of_input: bool,
    /// The cause, for the log after redaction.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The vendor refused the order's values.
    InvalidOrder,
    /// The vendor knows no such model, or it is gone.
    ModelNotFound,
    /// The vendor's content policy refused it.
    ContentRefused,
    /// Our key was not accepted.
    Unauthenticated,
    /// The account has no credit.
    OutOfCredit,
    /// Too many requests.
    RateLimited,
    /// The vendor says it is busy or broken (5xx).
    Overloaded,
    /// No answer in time.
    Timeout,
    /// The connection failed.
    Transport,
    /// The vendor does not know the job.
    TicketUnknown,
    /// The vendor took the order and named no job.
    NoJobId,
    /// The output's link has expired.
    LinkExpired,
    /// The job is done and its output holds nothing to download.
    NoOutput,
    /// The vendor broke its contract.
    Protocol,
}

impl ErrorKind {
    /// The stable word, for counts and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidOrder => "invalid_order",
            Self::ModelNotFound => "model_not_found",
            Self::ContentRefused => "content_refused",
            Self::Unauthenticated => "unauthenticated",
            Self::OutOfCredit => "out_of_credit",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Transport => "transport",
            Self::TicketUnknown => "ticket_unknown",
            Self::NoJobId => "no_job_id",
            Self::LinkExpired => "link_expired",
            Self::NoOutput => "no_output",
            Self::Protocol => "protocol",
        }
    }
}

/// Whether the vendor may have started work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Certainly not.
    None,
    /// Perhaps.
    Maybe,
}

/// What to do after a failed submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing happened: try again, after this long if the vendor says.
    RetryAfter(Option<Duration>),
    /// Something may have happened: look for the job, never send again blindly.
    AskFirst,
    /// Nothing happened and a repeat would end the same way.
    GiveUp,
}

/// An adapter cannot be built from its settings.
#[derive(Debug, thiserror::Error)]
#[error("{provider} cannot be used: {why}")]
pub struct SetupError {
    /// The vendor.
    pub provider: String,
    /// What is wrong, without the value of any secret.
    pub why: String,
}

impl SetupError {
    /// Of a vendor and what is wrong.
    pub fn new(provider: impl fmt::Display, why: impl Into<String>) -> Self {
        Self { provider: provider.to_string(), why: why.into() }
    }
}

impl ProviderError {
    /// An error without details.
    pub fn new(provider: &ProviderId, kind: ErrorKind, effect: Effect, summary: impl Into<String>) -> Self {
        Self {
            provider: provider.clone(),
            kind,
            effect,
            charged: Charged::No,
            retry_after: None,
            summary: summary.into(),
            field: None,
            is_of_input: false,
            source: None,
        }
    }

    /// With its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// With what the vendor charges for it.
    #[must_use]
    pub fn charged(mut self, charged: Charged) -> Self {
        self.charged = charged;
        self
    }

    /// With the vendor's wish.
    #[must_use]
    pub fn retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }

    /// With the request's field at fault.
    #[must_use]
    pub fn because_of(mut self, field: Option<String>) -> Self {
        self.field = field;
        self
    }

    /// Of the host of an input's address, before the vendor was asked.
    #[must_use]
    pub fn of_input(mut self) -> Self {
        self.is_of_input = true;
        self
    }

    /// What to do after a submit that failed so.
    pub fn verdict(&self) -> Verdict {
        match (self.effect, self.kind) {
            (Effect::Maybe, _) => Verdict::AskFirst,
            (
                Effect::None,
                ErrorKind::RateLimited | ErrorKind::Overloaded | ErrorKind::Timeout | ErrorKind::Transport,
            ) => Verdict::RetryAfter(self.retry_after),
            (
                Effect::None,
                ErrorKind::InvalidOrder
                | ErrorKind::ModelNotFound
                | ErrorKind::ContentRefused
                | ErrorKind::Unauthenticated
                | ErrorKind::OutOfCredit
                | ErrorKind::TicketUnknown
                | ErrorKind::NoJobId
                | ErrorKind::LinkExpired
                | ErrorKind::NoOutput
                | ErrorKind::Protocol,
            ) => Verdict::GiveUp,
        }
    }

    /// The generation's failure, when this error ended it in `phase`.
    pub fn to_failure(&self, phase: FailurePhase, charged: Charged) -> Failure {
        let reason = match self.kind {
            ErrorKind::InvalidOrder => FailureReason::ProviderInvalidOrder,
            ErrorKind::ModelNotFound => FailureReason::ProviderModelNotFound,
            ErrorKind::ContentRefused => FailureReason::ProviderRefusedContent,
            ErrorKind::Unauthenticated => FailureReason::ProviderUnauthenticated,
            ErrorKind::OutOfCredit => FailureReason::ProviderOutOfCredit,
            ErrorKind::RateLimited | ErrorKind::Overloaded => FailureReason::ProviderOverloaded,
            ErrorKind::Timeout | ErrorKind::Transport => FailureReason::ProviderUnreachable,
            ErrorKind::LinkExpired => FailureReason::ArtifactLost,
            ErrorKind::NoJobId => FailureReason::NoProviderJobId,
            ErrorKind::NoOutput => FailureReason::NoDownloadableOutput,
            ErrorKind::TicketUnknown | ErrorKind::Protocol => FailureReason::ProviderProtocol,
        };
        Failure::new(reason, phase, charged, self.summary.clone()).at(&self.provider).because_of(self.field.clone())
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.provider, self.summary)
    }
}

impl Error for ProviderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
