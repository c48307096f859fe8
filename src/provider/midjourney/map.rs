//! From midjourney-proxy's answers to our progress, outputs and errors. Pure.

use std::time::Duration;

use url::Url;

use crate::{
    domain::{
        artifact::Kind,
        failure::{Charged, Failure, FailurePhase, FailureReason},
        money::Usage,
        names::ProviderId,
    },
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        http::text::{shortened, shown},
        port::{Progress, RemoteOutput, Status},
    },
};

use super::{
    plan::Plan,
    wire::{Envelope, Task},
};

/// Most characters kept of a status word.
const PHASE_CHARS: usize = 64;
/// What is wrong with the proxy's account and not with the order, in lower case.
const ACCOUNT: [&str; 5] =
    ["pending mod message", "blocked from", "account blocked", "temporarily blocked", "account is blocked"];
/// What passes, in lower case.
const PASSING: [&str; 17] = [
    "timeout",
    "timed out",
    "time out",
    "超时",
    "queue",
    "account",
    "账号",
    "try again",
    "internal",
    "系统异常",
    "重启",
    "slow down",
    "failed to process",
    "unknown integration",
    "unknown message",
    "something went wrong",
    "system exception",
];
/// When a full queue is tried again.
const QUEUE_PAUSE: Duration = Duration::from_secs(20);

/// The task that a submit made, and how many are before it.
pub(super) fn accepted(
    provider: &ProviderId,
    envelope: &Envelope,
    hidden: &[&str],
) -> Result<(String, Option<u32>), ProviderError> {
    let n_before = &envelope.properties["numberOfQueues"];
    let n_before = n_before.as_u64().or_else(|| n_before.as_str()?.parse().ok()).and_then(|n| u32::try_from(n).ok());
    match (envelope.code, envelope.result.clone()) {
        (Some(1 | 21), Some(id)) => Ok((id, None)),
        (Some(22), Some(id)) => Ok((id, n_before)),
        (Some(1 | 21 | 22), None) => {
            Err(ProviderError::new(provider, ErrorKind::NoJobId, Effect::Maybe, "took the order and named no job"))
        }
        (code, _) => Err(refused(provider, code, envelope, hidden)),
    }
}

/// The envelope of an order that was not taken. Nothing was made.
fn refused(provider: &ProviderId, code: Option<i64>, envelope: &Envelope, hidden: &[&str]) -> ProviderError {
    let said = envelope.description.as_deref().or(envelope.message.as_deref());
    let said = said.and_then(|text| shown(text, hidden)).unwrap_or_default();
    let told = [&envelope.description, &envelope.message].into_iter().flatten();
    let told = told.map(|text| text.to_lowercase()).collect::<String>();
    let says = |words: &[&str]| words.iter().any(|word| told.contains(word));
    let error = |kind, what: &str| {
        let code = code.map(|code| code.to_string()).unwrap_or_default();
        ProviderError::new(provider, kind, Effect::None, format!("{what} (code {code}): {said}"))
    };
    match code {
        Some(23) => error(ErrorKind::RateLimited, "has a full queue").retry_after(Some(QUEUE_PAUSE)),
        Some(24) => {
            let word = envelope.properties["bannedWord"].as_str().unwrap_or_default();
            error(ErrorKind::ContentRefused, &format!("bans the word {word:?} of the prompt"))
                .because_of(Some("prompt".to_owned()))
        }
        // What a step is about is gone, and stays so.
        Some(3) if says(&["关联任务"]) => error(ErrorKind::InvalidOrder, "knows the task no more"),
        Some(3) => error(ErrorKind::Overloaded, "has no account that can work").retry_after(Some(QUEUE_PAUSE)),
        // A relay that lost what the proxy answered, or had no place to write it down.
        Some(4) if says(&["do_request_failed", "response_body_failed", "insert_midjourney_task_failed"]) => {
            let mut error = error(ErrorKind::Overloaded, "may have passed the order on");
            error.effect = Effect::Maybe;
            error
        }
        Some(4) if says(&["quota_not_enough", "insufficient", "余额不足", "额度不足"]) => {
            error(ErrorKind::OutOfCredit, "has no credit left for it")
        }
        Some(4) if says(&["敏感词", "banned prompt"]) => {
            error(ErrorKind::ContentRefused, "refused the prompt").because_of(Some("prompt".to_owned()))
        }
        Some(4) => error(ErrorKind::InvalidOrder, "refused the order"),
        Some(9) => error(ErrorKind::Overloaded, "could not pass the order on").retry_after(Some(QUEUE_PAUSE)),
        Some(-1) if says(&["limit", "too many", "上限", "限制", "频繁"]) => {
            error(ErrorKind::RateLimited, "limits its users")
        }
        Some(-1) => error(ErrorKind::InvalidOrder, "refused the order"),
        // Of a code that nobody knows it is not known either whether work began.
        Some(_) | None => {
            let mut error = error(ErrorKind::Protocol, "answered the order with an unknown code");
            error.effect = Effect::Maybe;
            error
        }
    }
}

/// How far a task is, of which `plan` says what to do when it is done.
pub(super) fn progress(provider: &ProviderId, task: &Task, plan: &Plan) -> Result<Progress, ProviderError> {
    let word = task.word();
    let mut usage = Usage::default();
    let status = match word.as_str() {
        "NOT_START" | "SUBMITTED" | "PENDING" | "QUEUED" | "MODAL" | "" => Status::Waiting,
        "SUCCESS" => {
            let outputs = outputs(provider, task, plan)?;
            usage.outputs = u32::try_from(outputs.len()).ok();
            Status::Done(outputs)
        }
        "FAILURE" | "FAILED" => failed(provider, task),
        "CANCEL" | "CANCELLED" | "CANCELED" => Status::Cancelled(Charged::Unknown),
        // A word of tomorrow is taken for a task at work, which our own deadline bounds.
        _ => Status::Running,
    };
    let waits = matches!(status, Status::Waiting) && task.start_time.is_none_or(|at| at <= 0);
    Ok(Progress {
        phase: Some(shortened(&word, PHASE_CHARS)),
        percent: task.percent(),
        queue_position: plan.n_before.filter(|_| waits),
        usage,
        ..Progress::of(status)
    })
}

/// The files of a task that is done.
pub(super) fn outputs(provider: &ProviderId, task: &Task, plan: &Plan) -> Result<Vec<RemoteOutput>, ProviderError> {
    let whole = || task.image_url.iter();
    let links: Vec<&String> = match plan.kind {
        Kind::Video if !task.video_urls.is_empty() => task.video_urls.iter().collect(),
        Kind::Video if task.video_url.is_some() => task.video_url.iter().collect(),
        Kind::Video if !task.image_urls.is_empty() => task.image_urls.iter().collect(),
        // The pictures of the grid one by one, where the proxy has them.
        Kind::Image if plan.n_pictures > 0 && task.image_urls.len() > 1 => {
            task.image_urls.iter().take(plan.n_pictures.into()).collect()
        }
        Kind::Video | Kind::Image | Kind::Speech | Kind::Music => whole().collect(),
    };
    let outputs: Vec<_> = links.into_iter().filter_map(|link| Url::parse(link).ok()).map(RemoteOutput::Link).collect();
    if outputs.is_empty() {
        let what = "succeeded with nothing to download";
        return Err(ProviderError::new(provider, ErrorKind::NoOutput, Effect::None, what));
    }
    Ok(outputs)
}

/// Why a task failed. Midjourney bills accounts by time, of which a task that had begun may have taken some.
fn failed(provider: &ProviderId, task: &Task) -> Status {
    let text = task.fail_reason.as_deref().unwrap_or_default();
    let lower = text.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let began = task.start_time.is_some_and(|at| at > 0);
    let charged = if began { Charged::Unknown } else { Charged::No };
    let prompts = [task.prompt.as_deref(), task.prompt_en.as_deref()].map(Option::unwrap_or_default);
    let message = shown(text, &prompts).unwrap_or_else(|| "failed without saying why".to_owned());
    let mut failure = Failure::new(FailureReason::ProviderJobFailed, FailurePhase::Provider, charged, message);
    let about = |failure: &mut Failure, reason, field: &str| {
        failure.reason = reason;
        failure.field = Some(field.to_owned());
    };
    if has(&ACCOUNT) {
        failure.retryable = true;
    } else if has(&["image denied", "image filters", "image blocked"]) {
        about(&mut failure, FailureReason::ProviderRefusedContent, "inputs");
    } else if has(&["banned", "moderat", "sensitive", "blocked", "nsfw", "敏感", "违规", "违禁"]) {
        about(&mut failure, FailureReason::ProviderRefusedContent, "prompt");
    } else if has(&["cancel", "取消"]) {
        return Status::Cancelled(charged);
    } else if has(&["subscription", "credits exhausted", "hours exhausted", "out of hours", "free trial"]) {
        failure.reason = FailureReason::ProviderOutOfCredit;
    } else if has(&["invalid link"]) {
        about(&mut failure, FailureReason::ProviderInvalidOrder, "inputs");
    } else if has(&["invalid parameter", "invalid aspect", "unrecognized", "参数"]) {
        about(&mut failure, FailureReason::ProviderInvalidOrder, "prompt");
    } else {
        failure.retryable = has(&PASSING);
    }
    Status::Failed(failure.at(provider))
}
