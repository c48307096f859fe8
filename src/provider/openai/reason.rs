//! What an error's words mean, whoever wrote them: OpenAI, a server that speaks its language, or an upstream of one. Pure.
//!
//! Invariant: what is not known here is not taken for harmless: it is neither repeated nor sent elsewhere.

use serde_json::Value;

use crate::{
    domain::{
        card::ModelCard,
        failure::{Charged, Failure, FailurePhase, FailureReason},
        names::ProviderId,
        order::InputRole,
    },
    provider::{http::text::shown, port::Order},
};

use super::wire::{Problem, Video, normal};

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// A filter or a policy refused prompt, inputs or output.
    Content,
    /// The account has no credit, or a budget is used up.
    Credit,
    /// There is no such model for this key.
    Model,
    /// The key is not accepted.
    Key,
    /// Something about the order is wrong.
    Input,
    /// A passing trouble of the vendor's own.
    Passing,
}

/// Parts of codes; the first reason with a part that the code has counts.
const PARTS: [(Reason, &[&str]); 6] = [
    (
        Reason::Content,
        &[
            "content_policy",
            "contentpolicy",
            "content_filter",
            "contentfilter",
            "moderation",
            "moderated",
            "sentinel_block",
            "safety",
            "nsfw",
            "copyright",
            "prominent_people",
            "sensitive_words",
            "audio_filtered",
            "responsibleai",
            "public_error",
            "prompt_blocked",
            "likeness",
        ],
    ),
    (
        Reason::Credit,
        &[
            "insufficient_quota",
            "insufficient_user_quota",
            "insufficient_credit",
            "insufficient_balance",
            "billing",
            "budget_exceeded",
            "quota_not_enough",
            "pre_consume_token_quota",
            "out_of_credit",
        ],
    ),
    (
        Reason::Model,
        &["model_not_found", "model_access_denied", "deploymentnotfound", "model_not_available", "model_not_exist"],
    ),
    (
        Reason::Key,
        &["invalid_api_key", "expired_key", "token_not_found", "auth_error", "account_deactivated", "no_db_connection"],
    ),
    (
        Reason::Passing,
        &[
            "internal_error",
            "internal_server_error",
            "server_error",
            "service_unavailable",
            "timeout",
            "timed_out",
            "rate_limit",
            "overloaded",
            "slow_down",
            "temporarily",
        ],
    ),
    (
        Reason::Input,
        &[
            "invalid_",
            "unknown_parameter",
            "unsupported_",
            "missing_required",
            "context_length",
            "above_max",
            "below_m",
            "too_long",
            "too_large",
            "image_parse",
            "empty_image",
            "bad_request",
        ],
    ),
];

/// Parts of messages, for servers that pass on an upstream's error as text.
const PHRASES: [(Reason, &[&str]); 3] = [
    (
        Reason::Content,
        &[
            "contentpolicyviolationerror",
            "content policy",
            "content_policy_violation",
            "safety system",
            "moderation_blocked",
            "usage guidelines",
            "usage polic",
            "responsible ai practices",
        ],
    ),
    (
        Reason::Credit,
        &[
            "exceeded your current quota",
            "billing hard limit",
            "budget has been exceeded",
            "insufficient balance",
            "insufficient credit",
        ],
    ),
    (
        Reason::Model,
        &[
            "invalid model name passed in",
            "does not exist or you do not have access",
            "no available channel",
            // The same of new-api and one-api.
            "无可用渠道",
        ],
    ),
];

impl Reason {
    /// True if it blames what was ordered, and so is about the job wherever it is told.
    pub(super) fn is_of_order(self) -> bool {
        match self {
            Self::Content | Self::Input => true,
            Self::Credit | Self::Model | Self::Key | Self::Passing => false,
        }
    }

    /// Of what an error says, if its words are known.
    pub(super) fn of(problem: &Problem) -> Option<Self> {
        let by_code = |code: &str| {
            let code = normal(code);
            PARTS.iter().find(|(_, parts)| parts.iter().any(|part| code.contains(part))).map(|(reason, _)| *reason)
        };
        // The most telling word counts: `type` is often the same for everything.
        let of_codes = |codes: &mut dyn Iterator<Item = &str>| {
            let mut found: Vec<Self> = codes.filter_map(by_code).collect();
            found.sort_by_key(|reason| PARTS.iter().position(|(known, _)| known == reason));
            found.first().copied()
        };
        let coded = of_codes(&mut problem.codes.iter().map(String::as_str));
        if coded.is_some_and(|reason| !matches!(reason, Self::Input | Self::Passing)) {
            return coded;
        }
        let message = problem.message.to_ascii_lowercase();
        let phrase = PHRASES.iter().find(|(_, phrases)| phrases.iter().any(|phrase| message.contains(phrase)));
        // A code within the text, such as `PUBLIC_ERROR_PROMINENT_PEOPLE_FILTER_FAILED`.
        let is_code = |word: &&str| word.contains('_');
        let mut words = problem.message.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(is_code);
        phrase.map(|(reason, _)| *reason).or(coded).or_else(|| of_codes(&mut words))
    }
}

/// The request's field that an error names, in our words.
pub(super) fn field_at_fault(problem: &Problem, order: &Order) -> Option<String> {
    let theirs = problem.param.as_deref()?;
    let (name, index) = split(theirs);
    let card = order.card.as_deref();
    if name == "model" {
        return Some("model".to_owned());
    }
    if matches!(name, "prompt" | "input") || card.is_some_and(|card| card.prompt.field == name) {
        return Some("prompt".to_owned());
    }
    if let Some(card) = card {
        if let Some((option, _)) = card.options.iter().find(|(option, spec)| spec.field(**option) == name) {
            return Some(format!("options.{option}"));
        }
        if card.size.as_ref().is_some_and(|size| size.field.as_deref() == Some(name)) {
            return Some("options.width".to_owned());
        }
        if let Some(input) = input_at_fault(card, order, name, index) {
            return Some(input);
        }
    }
    order.provider_options.contains_key(name).then(|| format!("options.provider_options.{name}"))
}

/// The input that fills the vendor's field `name`, the one at `index` of several.
fn input_at_fault(card: &ModelCard, order: &Order, name: &str, index: Option<usize>) -> Option<String> {
    let fills = |role: InputRole| card.inputs.get(&role).is_some_and(|spec| spec.field == name);
    if !card.inputs.values().any(|spec| spec.field == name) {
        return None;
    }
    let sent = super::body::in_order(order);
    let mut filling = sent.into_iter().filter(|at| fills(order.inputs[*at].role));
    let at = match index {
        Some(index) => filling.nth(index),
        // Of several it could be any.
        None => filling.next().filter(|_| filling.next().is_none()),
    };
    Some(at.map_or_else(|| "inputs".to_owned(), |at| format!("inputs[{at}]")))
}

/// `image[1]`, `image.1` and `image[]` in their parts.
fn split(param: &str) -> (&str, Option<usize>) {
    let param = param.strip_prefix("body.").unwrap_or(param);
    match param.split_once(['[', '.']) {
        Some((name, rest)) => (name, rest.trim_end_matches(']').parse().ok()),
        None => (param, None),
    }
}

/// Why a video job failed.
pub(super) fn failure(provider: &ProviderId, video: &Video) -> Failure {
    let none = Problem::default();
    let problem = video.problem.as_ref().unwrap_or(&none);
    let found = Reason::of(problem);
    let reason = match found {
        Some(Reason::Content) => FailureReason::ProviderRefusedContent,
        Some(Reason::Credit) => FailureReason::ProviderOutOfCredit,
        Some(Reason::Model) => FailureReason::ProviderModelNotFound,
        Some(Reason::Key) => FailureReason::ProviderUnauthenticated,
        Some(Reason::Input) => FailureReason::ProviderInvalidOrder,
        Some(Reason::Passing) | None => FailureReason::ProviderJobFailed,
    };
    // The vendor may quote the prompt.
    let message = shown(&problem.message, &[video.prompt.as_deref().unwrap_or_default()]);
    let code = problem.codes.first().filter(|code| !problem.message.contains(code.as_str()));
    let message = match (message, code) {
        (Some(message), Some(code)) => format!("{message} ({code})"),
        (Some(message), None) => message,
        (None, Some(code)) => format!("failed with {code}"),
        (None, None) => "failed without saying why".to_owned(),
    };
    // No server of this kind says what a failed job costs.
    let mut failure = Failure::new(reason, FailurePhase::Provider, Charged::Unknown, message).at(provider);
    failure.retryable = found == Some(Reason::Passing);
    failure.because_of(job_field(problem))
}

/// The field that a failed job blames; the order is not at hand any more.
fn job_field(problem: &Problem) -> Option<String> {
    let named = problem.param.as_deref().map(|param| split(param).0);
    let blames = |word: &str| problem.codes.iter().any(|code| normal(code).contains(word));
    match named {
        Some("prompt") => Some("prompt".to_owned()),
        Some("input_reference" | "image" | "mask") => Some("inputs".to_owned()),
        Some("seconds") => Some("options.duration".to_owned()),
        Some("size") => Some("options.width".to_owned()),
        Some(_) | None if blames("invalid_prompt") => Some("prompt".to_owned()),
        Some(_) | None if blames("invalid_image") => Some("inputs".to_owned()),
        Some(_) | None => None,
    }
}

/// How long a message asks to wait, in seconds: "Please try again in 8.64s", "Try again in 60 seconds", "in 120ms".
pub(super) fn wait(body: &Value) -> Option<f64> {
    let message = Problem::of(body)?.message.to_ascii_lowercase();
    let (_, rest) = message.split_once("try again in ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let number: f64 = rest[..end].trim_end_matches('.').parse().ok()?;
    let unit = rest[end..].trim_start();
    Some(match unit {
        unit if unit.starts_with("ms") => number / 1000.0,
        unit if unit.starts_with('m') => number * 60.0,
        _ => number,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reason(code: &str, kind: &str, message: &str) -> Option<Reason> {
        let codes = [code, kind].iter().filter(|word| !word.is_empty()).map(|word| (*word).to_owned()).collect();
        Reason::of(&Problem { message: message.to_owned(), codes, param: None })
    }

    #[test]
    fn known_words_mean_what_their_servers_mean() {
        let check = |code: &str, kind: &str, message: &str, expected: Option<Reason>| {
            assert_eq!(reason(code, kind, message), expected, "{code} {kind} {message}");
        };
        let content = Some(Reason::Content);
        check("moderation_blocked", "image_generation_user_error", "", content);
        check("content_policy_violation", "invalid_request_error", "", content);
        let flagged = "Invalid prompt: your prompt was flagged as potentially violating our usage policy.";
        check("invalid_prompt", "invalid_request_error", flagged, content);
        check("sentinel_block", "", "", content);
        check("", "", "input_moderation", content);
        check("contentFilter", "", "", content);
        check("content_safety_violation", "", "", content);
        check("400", "", "Veo words that violate Vertex AI's usage guidelines", content);
        check("", "new_api_error", "当前分组 default 下对于模型 sora-2 无可用渠道", Some(Reason::Model));
        check("NSFW_CONTENT_DETECTED", "", "", content);
        check("COPYRIGHT_VIOLATION", "", "", content);
        check("audio_filtered", "", "", content);
        check("", "", "PUBLIC_ERROR_PROMINENT_PEOPLE_FILTER_FAILED: no people", content);
        check("400", "", "litellm.ContentPolicyViolationError: refused", content);
        check("400", "invalid_request_error", "rejected as a result of our safety system.", content);
        check("insufficient_quota", "insufficient_quota", "", Some(Reason::Credit));
        check("billing_hard_limit_reached", "invalid_request_error", "", Some(Reason::Credit));
        check("INSUFFICIENT_QUOTA", "", "", Some(Reason::Credit));
        check(
            "429",
            "throttling_error",
            "litellm.RateLimitError: You exceeded your current quota",
            Some(Reason::Credit),
        );
        check("400", "budget_exceeded", "Budget has been exceeded! Current cost: 1", Some(Reason::Credit));
        check("model_not_found", "invalid_request_error", "", Some(Reason::Model));
        check("400", "", "Invalid model name passed in model=x", Some(Reason::Model));
        check("401", "token_not_found_in_db", "", Some(Reason::Key));
        check("INVALID_PROMPT", "", "", Some(Reason::Input));
        check("", "invalid_request_error", "Inpaint image must match", Some(Reason::Input));
        check("INTERNAL_ERROR", "", "", Some(Reason::Passing));
        check("SERVICE_UNAVAILABLE", "", "", Some(Reason::Passing));
        check("RATE_LIMIT_EXCEEDED", "", "", Some(Reason::Passing));
        check("TIMEOUT", "", "", Some(Reason::Passing));
        check("something_new", "", "it broke", None);
        check("", "", "", None);
    }

    #[test]
    fn a_wait_is_read_from_the_message() {
        let check = |message: &str, expected: Option<f64>| {
            assert_eq!(wait(&json!({"error": {"message": message}})), expected, "{message}");
        };
        check("Rate limit reached. Please try again in 8.64s. Visit", Some(8.64));
        check("No deployments available, Try again in 60 seconds. Passed", Some(60.0));
        check("try again in 500ms", Some(0.5));
        check("Please try again in 2m", Some(120.0));
        check("try again in a while", None);
        check("slow down", None);
    }
}
