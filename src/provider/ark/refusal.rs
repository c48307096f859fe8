//! What Ark's error codes mean: what went wrong, which field is at fault, and whether the same may succeed later. Pure.

use std::sync::Arc;

use crate::{
    domain::{
        card::ModelCard,
        failure::{Charged, Failure, FailurePhase, FailureReason},
        names::ProviderId,
    },
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        http::{
            Answer,
            outcome::{self, Call, Said},
            text::shown,
        },
        port::Order,
    },
};

use super::wire::{Problem, Refusal};

/// The error of a bad answer. `hidden` texts never appear.
pub(super) fn of_answer(
    provider: &ProviderId,
    call: Call,
    answer: &Answer,
    order: Option<&Order>,
    hidden: &[&str],
) -> ProviderError {
    let (error, problem) = of_body(provider, call, answer, hidden);
    let is_about_the_order = matches!(error.kind, ErrorKind::InvalidOrder | ErrorKind::ContentRefused);
    error.because_of(order.filter(|_| is_about_the_order).and_then(|order| field_of(&problem, order)))
}

/// The error of a conversation, whose fields `field` finds from what the vendor calls them.
pub(super) fn of_chat(
    provider: &ProviderId,
    answer: &Answer,
    hidden: &[&str],
    field: impl FnOnce(&str) -> Option<String>,
) -> ProviderError {
    let (error, problem) = of_body(provider, Call::Chat, answer, hidden);
    let is_about_the_order = matches!(error.kind, ErrorKind::InvalidOrder | ErrorKind::ContentRefused);
    error.because_of(problem.param.as_deref().filter(|_| is_about_the_order).and_then(field))
}

fn of_body(provider: &ProviderId, call: Call, answer: &Answer, hidden: &[&str]) -> (ProviderError, Problem) {
    let body = serde_json::from_slice(&answer.body).unwrap_or_default();
    let said = Said::of(answer, &body, hidden);
    let problem = serde_json::from_value::<Refusal>(body).unwrap_or_default().error.unwrap_or_default();
    let mut error = outcome::refused(provider, call, answer.status, said);
    // A gateway's 5xx says nothing of the order, whatever it calls itself.
    if answer.status.is_client_error()
        && let Some(kind) = kind_of(&problem, call)
    {
        error.kind = kind;
    }
    if let Some(code) = &problem.code {
        error.summary = format!("{} ({})", error.summary, shown(code, hidden).unwrap_or_default());
    }
    (error, problem)
}

/// The error of a good answer that says nothing was made.
pub(super) fn of_problem(provider: &ProviderId, problem: &Problem, order: &Order, hidden: &[&str]) -> ProviderError {
    let kind = kind_of(problem, Call::Submit).unwrap_or(ErrorKind::Protocol);
    // Only what was delivered is charged, and a problem of its own is no reason to doubt that.
    let error = ProviderError::new(provider, kind, Effect::None, format!("made nothing: {}", words(problem, hidden)));
    error.because_of(field_of(problem, order))
}

/// Why a task failed. Only tasks that succeeded are charged.
pub(super) fn of_task(provider: &ProviderId, problem: &Problem) -> Failure {
    let code = problem.code.as_deref().unwrap_or_default();
    let kind = kind_of(problem, Call::Job);
    let told = [
        (ErrorKind::ContentRefused, FailureReason::ProviderRefusedContent),
        (ErrorKind::InvalidOrder, FailureReason::ProviderInvalidOrder),
        (ErrorKind::OutOfCredit, FailureReason::ProviderOutOfCredit),
    ];
    let told = told.iter().find(|(told, _)| kind == Some(*told));
    let reason = told.map_or(FailureReason::ProviderJobFailed, |(_, reason)| *reason);
    let mut failure = Failure::new(reason, FailurePhase::Provider, Charged::No, words(problem, &[])).at(provider);
    failure.field = input_at_fault(code).map(str::to_owned);
    // What the model made of the order was refused, not the order: made again it is another film.
    failure.retryable = code.starts_with("Output")
        || matches!(kind, Some(ErrorKind::RateLimited | ErrorKind::Overloaded))
        || code.starts_with("InternalService");
    failure
}

fn words(problem: &Problem, hidden: &[&str]) -> String {
    let message = problem.message.as_deref().and_then(|message| shown(message, hidden));
    let code = problem.code.as_deref().and_then(|code| shown(code, hidden));
    match (message, code) {
        (Some(message), Some(code)) => format!("{message} ({code})"),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => "failed without saying why".to_owned(),
    }
}

fn kind_of(problem: &Problem, call: Call) -> Option<ErrorKind> {
    let code = problem.code.as_deref()?;
    let has = |word: &str| code.contains(word);
    let first = code.split('.').next().unwrap_or_default();
    let is_order = matches!(call, Call::Submit | Call::Chat);
    if has("Sensitive")
        || first == "PolicyViolation"
        || first == "PrivacyInformation"
        || has("RiskDetection")
        || has("ContentSecurity")
    {
        return Some(ErrorKind::ContentRefused);
    }
    if has("Overdue") {
        return Some(ErrorKind::OutOfCredit);
    }
    Some(match first {
        "MissingParameter" | "InvalidParameter" | "InvalidImageURL" | "BadRequest" if is_order => {
            ErrorKind::InvalidOrder
        }
        "MissingParameter" | "InvalidParameter" if call == Call::Job => ErrorKind::InvalidOrder,
        "AuthenticationError" | "InvalidAccountStatus" | "AccessDenied" => ErrorKind::Unauthenticated,
        "ModelNotOpen"
        | "ServiceNotOpen"
        | "InvalidEndpointOrModel"
        | "InvalidEndpoint"
        | "UnsupportedModel"
        | "OperationDenied"
            if is_order =>
        {
            ErrorKind::ModelNotFound
        }
        // A limit of spending that the account's owner set.
        "SetLimitExceeded" => ErrorKind::OutOfCredit,
        "QuotaExceeded" if is_used_up(problem) => ErrorKind::OutOfCredit,
        "RequestBurstTooFast"
        | "InflightBatchsizeExceeded"
        | "ModelLoadingError"
        | "ServerOverloaded"
        | "ServiceOverloaded"
        | "QuotaExceeded" => ErrorKind::RateLimited,
        _ if has("RateLimit") => ErrorKind::RateLimited,
        "InternalServiceError" => ErrorKind::Overloaded,
        _ => return None,
    })
}

/// A quota that was given for free passes no more; one of tasks that wait does.
fn is_used_up(problem: &Problem) -> bool {
    let message = problem.message.as_deref().unwrap_or_default().to_ascii_lowercase();
    ["free", "trial", "experience"].iter().any(|word| message.contains(word))
}

/// Which of what was given a code about its contents means.
fn input_at_fault(code: &str) -> Option<&'static str> {
    let starts = |word: &str| code.starts_with(word);
    if starts("InputText") {
        Some("prompt")
    } else if starts("InputImage") || starts("InputVideo") || starts("InputAudio") {
        Some("inputs")
    } else {
        None
    }
}

/// The request's field at fault.
fn field_of(problem: &Problem, order: &Order) -> Option<String> {
    let code = problem.code.as_deref().unwrap_or_default();
    let named = problem.param.as_deref().filter(|param| !param.is_empty());
    let quoted = || problem.message.as_deref()?.split('`').nth(1);
    let said = || {
        let (_, rest) = problem.message.as_deref()?.split_once("parameter ")?;
        rest.split_once(" specified").map(|(field, _)| field).filter(|field| !field.contains(' '))
    };
    // Fields are written small; `InvalidParameter.TaskTypeConstraint` names a rule.
    let is_field = |suffix: &&str| suffix.starts_with(|c: char| c.is_ascii_lowercase());
    let suffix = || code.strip_prefix("InvalidParameter.").or_else(|| code.strip_prefix("MissingParameter."));
    let path = named.or_else(|| suffix().filter(is_field)).or_else(quoted).or_else(said);
    match (path.and_then(|path| our_field(path, order)), input_at_fault(code)) {
        // The code names the kind of file, the path the very one.
        (Some(field), Some("inputs")) if field.starts_with("inputs") => Some(field),
        (_, Some(input)) => Some(input.to_owned()),
        (field, None) => field,
    }
}

fn our_field(path: &str, order: &Order) -> Option<String> {
    let theirs = path.split(['.', '[']).next()?;
    let index = path.split_once('[').and_then(|(_, rest)| rest.split(']').next()?.parse::<usize>().ok());
    match theirs {
        "" | "model" | "callback_url" | "safety_identifier" => return None,
        "prompt" | "text" => return Some("prompt".to_owned()),
        "image" => return Some(input(index, order)),
        "content" => {
            let n_texts = usize::from(!order.prompt.is_empty());
            return Some(match index {
                Some(index) if index < n_texts => "prompt".to_owned(),
                Some(index) => input(Some(index - n_texts), order),
                None => "inputs".to_owned(),
            });
        }
        _ => {}
    }
    Some(option(theirs, order).unwrap_or_else(|| format!("options.provider_options.{theirs}")))
}

fn input(index: Option<usize>, order: &Order) -> String {
    match index.filter(|index| *index < order.inputs.len()) {
        Some(index) => format!("inputs[{index}]"),
        None => "inputs".to_owned(),
    }
}

/// Of the options written in this field one that the order has, else any.
fn option(theirs: &str, order: &Order) -> Option<String> {
    let card: &Arc<ModelCard> = order.card.as_ref()?;
    let is_theirs = |field: &str| field.split('.').next() == Some(theirs);
    let mut named = card.options.iter().filter(|(name, spec)| is_theirs(spec.field(**name))).map(|(name, _)| *name);
    let of_size = card.size.as_ref().and_then(|size| size.field.as_deref()).is_some_and(is_theirs);
    let asked = named.clone().find(|name| order.options.contains_key(name));
    if let Some(name) = asked {
        return Some(format!("options.{name}"));
    }
    if of_size {
        return Some("options.width".to_owned());
    }
    named.next().map(|name| format!("options.{name}"))
}
