//! What a person at the command line does about each reason of the contract.

use crate::pb::v1::ErrorReason;

/// What to do when a call was refused for `reason`; none when the message of the server says it better.
pub(super) fn of_reason(reason: ErrorReason) -> Option<&'static str> {
    match reason {
        ErrorReason::InvalidRequest => Some("correct the named fields and send it again"),
        ErrorReason::RequestIdReused => Some("leave --request-id out, or give a new one"),
        ErrorReason::GenerationNotFound => Some("look for it with `filmgate list`; is --tenant right?"),
        ErrorReason::SessionNotFound => Some("look for it with `filmgate sessions`; is --tenant right?"),
        ErrorReason::ArtifactNotFound => Some("it was deleted or never was; generate or upload it again"),
        ErrorReason::ModelNotFound => Some("choose one of `filmgate models`"),
        ErrorReason::ProviderNotConfigured => Some("`filmgate providers` says what to set"),
        ErrorReason::SampleMissing => Some("restore the sample folder or unset FILMGATE_SAMPLE_DIR"),
        ErrorReason::GenerationFinished => Some("nothing is left to cancel; see it with `filmgate get`"),
        ErrorReason::GenerationUnfinished => Some("cancel it with `filmgate cancel`, or wait for its end"),
        ErrorReason::GenerationNotUnresolved => Some("see its state with `filmgate get`"),
        ErrorReason::QueueFull | ErrorReason::ServerDraining | ErrorReason::StoreUnavailable => Some("try again later"),
        ErrorReason::CallbackNotConfigured => Some("leave --callback-url out, or set FILMGATE_CALLBACK_SECRET"),
        ErrorReason::NoCallback => Some("order with --callback-url to be called back"),
        ErrorReason::BudgetExceeded => Some("see what is left with `filmgate usage`; ask for less, or wait"),
        ErrorReason::PriceUnknown => Some("choose a model with a price; `filmgate models` shows them"),
        ErrorReason::QuoteNotFound | ErrorReason::QuoteExpired | ErrorReason::QuoteMismatch => {
            Some("ask for a new quote with `filmgate estimate --quote-ttl 15m`")
        }
        ErrorReason::UploadTooLarge => Some("send a smaller file"),
        ErrorReason::LinkExpired | ErrorReason::LinkInvalid => Some("ask for a new one with `filmgate link`"),
        ErrorReason::Internal => Some("this is a defect in filmgate: report it with the request id"),
        // Never a refused call: a generation carries these, with a next step of its own.
        ErrorReason::Unspecified
        | ErrorReason::ProviderInvalidOrder
        | ErrorReason::ProviderRefusedContent
        | ErrorReason::ProviderUnauthenticated
        | ErrorReason::ProviderOutOfCredit
        | ErrorReason::ProviderModelNotFound
        | ErrorReason::ProviderUnreachable
        | ErrorReason::ProviderOverloaded
        | ErrorReason::ProviderProtocol
        | ErrorReason::NoProviderJobId
        | ErrorReason::ProviderJobFailed
        | ErrorReason::ProviderJobCancelled
        | ErrorReason::NoDownloadableOutput
        | ErrorReason::ArtifactInvalid
        | ErrorReason::ArtifactTooLarge
        | ErrorReason::ArtifactLost
        | ErrorReason::DeadlineExceeded
        | ErrorReason::UnresolvedExpired
        | ErrorReason::ResolvedByPerson
        | ErrorReason::SubmitAnswerLost
        | ErrorReason::DeadlinePassed
        | ErrorReason::TicketUnknown
        | ErrorReason::ProviderSilent => None,
    }
}
