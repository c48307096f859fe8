//! The answer of `generateContent`: pictures, or why there are none. Pure.

use serde_json::Value;

use crate::{
    domain::{failure::Charged, money::Usage, names::ProviderId},
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        google::{
            base64::decode,
            names::{get, items},
        },
        http::text::shown,
        port::RemoteOutput,
    },
};

/// Most bytes of an answer: a picture of 4K in base64, and the thought signatures of megabytes that come with it.
pub(super) const ANSWER_CAP: usize = 128 << 20;

/// Ends that are none of the content policy's.
const NOT_REFUSED: [&str; 3] = ["IMAGE_OTHER", "NO_IMAGE", "OTHER"];
/// Words of ends that are the content policy's, besides those that begin with `IMAGE_`.
const REFUSED: [&str; 8] =
    ["SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "RECITATION", "MODEL_ARMOR", "JAILBREAK", "ESCALATION"];

/// The pictures of an answer in order, and what they used. Drafts of a thinking model are left out.
///
/// # Errors
/// There is no picture: refused, or only words came.
pub(super) fn read(
    provider: &ProviderId,
    made: &Value,
    prompt: &str,
) -> Result<(Vec<RemoteOutput>, Usage), ProviderError> {
    let candidates = items(&made["candidates"]);
    let parts = || candidates.iter().flat_map(|candidate| items(&candidate["content"]["parts"]));
    let outputs: Vec<RemoteOutput> = parts().filter(|part| !is_thought(part)).filter_map(picture).collect();
    let used = get(made, "usageMetadata");
    if !outputs.is_empty() {
        let usage =
            Usage { outputs: u32::try_from(outputs.len()).ok(), tokens: output_tokens(used), ..Usage::default() };
        return Ok((outputs, usage));
    }
    // Words and thoughts are charged also where no picture came of them.
    let counts = ["candidatesTokenCount", "thoughtsTokenCount"].map(|key| number(get(used, key)).unwrap_or_default());
    let has_words = parts().any(|part| part["text"].as_str().is_some_and(|text| !text.is_empty()));
    let charged = if has_words || counts.iter().any(|n| *n > 0.0) { Charged::Unknown } else { Charged::No };
    let refuse = |kind, summary: String| ProviderError::new(provider, kind, Effect::None, summary).charged(charged);
    let feedback = get(made, "promptFeedback");
    if let Some(reason) = get(feedback, "blockReason").as_str().filter(|reason| is_said(reason)) {
        let why = get(feedback, "blockReasonMessage").as_str();
        let field = if reason.starts_with("IMAGE") { "inputs" } else { "prompt" };
        return Err(refuse(ErrorKind::ContentRefused, told("blocked the request", reason, why, prompt))
            .because_of(Some(field.to_owned())));
    }
    let end = candidates.iter().find_map(|it| get(it, "finishReason").as_str()).unwrap_or("STOP");
    let end = &end.to_ascii_uppercase();
    let why = candidates.iter().find_map(|it| get(it, "finishMessage").as_str());
    if is_refusal(end) {
        return Err(refuse(ErrorKind::ContentRefused, told("blocked what it had made", end, why, prompt)));
    }
    let words: String = parts().filter(|part| !is_thought(part)).filter_map(|part| part["text"].as_str()).collect();
    let why = why.or_else(|| (!words.is_empty()).then_some(words.as_str()));
    Err(refuse(ErrorKind::NoOutput, told("made no picture", end, why, prompt)))
}

fn is_refusal(end: &str) -> bool {
    !NOT_REFUSED.contains(&end) && (REFUSED.contains(&end) || end.starts_with("IMAGE_"))
}

/// Whether a word of an enumeration says something.
fn is_said(word: &str) -> bool {
    !word.is_empty() && !word.to_ascii_uppercase().ends_with("UNSPECIFIED")
}

fn told(what: &str, word: &str, why: Option<&str>, prompt: &str) -> String {
    match why.and_then(|why| shown(why, &[prompt])) {
        Some(why) => format!("{what}: {word}, {why}"),
        None => format!("{what}: {word}"),
    }
}

fn is_thought(part: &Value) -> bool {
    part["thought"].as_bool() == Some(true)
}

fn picture(part: &Value) -> Option<RemoteOutput> {
    let data = get(part, "inlineData");
    let kind = get(data, "mimeType").as_str().filter(|kind| !kind.is_empty()).unwrap_or("image/");
    kind.to_ascii_lowercase()
        .starts_with("image/")
        .then(|| decode(data["data"].as_str()?).map(RemoteOutput::Inline))
        .flatten()
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Tokens of pictures, as the vendor counts them; all that came out where it does not tell them apart.
fn output_tokens(usage: &Value) -> Option<f64> {
    let details = items(get(usage, "candidatesTokensDetails")).iter();
    let of_pictures: Vec<f64> = details
        .filter(|detail| detail["modality"].as_str().is_some_and(|word| word.eq_ignore_ascii_case("image")))
        .filter_map(|detail| number(get(detail, "tokenCount")))
        .collect();
    if of_pictures.is_empty() { number(get(usage, "candidatesTokenCount")) } else { Some(of_pictures.iter().sum()) }
}
