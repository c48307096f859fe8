//! From Ark's answers to our progress and outputs. Pure.

use url::Url;

use crate::{
    domain::{
        card::Size,
        failure::{Charged, Failure, FailurePhase, FailureReason},
        money::Usage,
        names::ProviderId,
    },
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        http::{base64::decode, text::shortened},
        port::{Order, Progress, RemoteOutput, Status},
    },
};

use super::{
    refusal,
    wire::{Picture, Pictures, Task},
};

/// Most characters kept of a status word.
const PHASE_CHARS: usize = 64;

/// How far a task is.
pub(super) fn progress(provider: &ProviderId, task: &Task) -> Result<Progress, ProviderError> {
    let word = task.status.as_deref().unwrap_or_default();
    let status = match word {
        "queued" => Status::Waiting,
        "succeeded" => Status::Done(film(provider, task)?),
        "failed" => Status::Failed(refusal::of_task(provider, &task.error.clone().unwrap_or_default())),
        "expired" => {
            let why = "was not made within the time that Ark gives a task (execution_expires_after)";
            let mut failure =
                Failure::new(FailureReason::ProviderJobFailed, FailurePhase::Provider, Charged::No, why).at(provider);
            failure.retryable = true;
            Status::Failed(failure)
        }
        // Only a task that waits can be stopped, and none is charged that did not succeed.
        "cancelled" => Status::Cancelled(Charged::No),
        // A word of tomorrow is taken for a task at work, which our own deadline bounds.
        _ => Status::Running,
    };
    Ok(Progress { phase: Some(shortened(word, PHASE_CHARS)), usage: usage(task), ..Progress::of(status) })
}

fn film(provider: &ProviderId, task: &Task) -> Result<Vec<RemoteOutput>, ProviderError> {
    let content = task.content.as_ref();
    let links = content.into_iter().flat_map(|content| [&content.video_url, &content.file_url]).flatten();
    let link = links.filter_map(|link| Url::parse(link).ok()).next();
    let link = link.ok_or_else(|| {
        ProviderError::new(provider, ErrorKind::NoOutput, Effect::None, "succeeded with no film to download")
    })?;
    Ok(vec![RemoteOutput::Link(link)])
}

fn usage(task: &Task) -> Usage {
    let of_frames = || Some(task.frames? / task.fps.filter(|fps| *fps > 0.0)?);
    let tokens = task.usage.as_ref().and_then(|usage| usage.completion_tokens.or(usage.total_tokens));
    Usage {
        output_seconds: task.duration.filter(|seconds| *seconds > 0.0).or_else(of_frames),
        outputs: (task.status.as_deref() == Some("succeeded")).then_some(1),
        audio: task.generate_audio,
        tokens,
        ..Usage::default()
    }
}

/// The pictures of an order, and what they used. Pictures that failed are not charged; without any other the order failed.
pub(super) fn pictures(
    provider: &ProviderId,
    answer: Pictures,
    order: &Order,
    hidden: &[&str],
) -> Result<(Vec<RemoteOutput>, Usage), ProviderError> {
    let told = answer.data.unwrap_or_default();
    let outputs: Vec<RemoteOutput> = told.iter().filter_map(output).collect();
    if outputs.is_empty() {
        let problem = answer.error.or_else(|| told.into_iter().find_map(|picture| picture.error));
        return Err(match problem {
            Some(problem) => refusal::of_problem(provider, &problem, order, hidden),
            // Unless it says that nothing was made, something may be charged.
            None => {
                let told_none = answer.usage.and_then(|usage| usage.generated_images).is_some_and(|made| made < 1.0);
                let effect = if told_none { Effect::None } else { Effect::Maybe };
                let what = "answered the order with no picture to download";
                ProviderError::new(provider, ErrorKind::NoOutput, effect, what)
            }
        });
    }
    let sizes: Option<Vec<u64>> = told.iter().filter(|picture| output(picture).is_some()).map(pixels).collect();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; a count is small")]
    let counted = answer.usage.as_ref().and_then(|usage| usage.generated_images).map(|count| count as u32);
    let usage = Usage {
        outputs: counted.or_else(|| u32::try_from(outputs.len()).ok()),
        megapixels: sizes.map(|sizes| sizes.iter().sum::<u64>() as f64 / 1e6),
        tokens: answer.usage.and_then(|usage| usage.output_tokens),
        ..Usage::default()
    };
    Ok((outputs, usage))
}

fn output(picture: &Picture) -> Option<RemoteOutput> {
    let link = picture.url.as_deref().and_then(|link| Url::parse(link).ok()).map(RemoteOutput::Link);
    link.or_else(|| {
        let text = picture.b64_json.as_deref()?;
        let text = text.split_once(";base64,").map_or(text, |(_, data)| data);
        decode(text).map(RemoteOutput::Inline)
    })
}

fn pixels(picture: &Picture) -> Option<u64> {
    picture.size.as_deref()?.parse::<Size>().ok().map(Size::pixels)
}
