//! The answer of `generateContent`: pictures, or why there are none. Pure.

use serde_json::Value;

use crate::{
    domain::{money::Usage, names::ProviderId},
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        google::base64::decode,
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
    let candidates: Vec<&Value> = made["candidates"].as_array().into_iter().flatten().collect();
    let parts = || candidates.iter().filter_map(|candidate| candidate["content"]["parts"].as_array()).flatten();
    let outputs: Vec<RemoteOutput> = parts().filter(|part| !is_thought(part)).filter_map(picture).collect();
    if !outputs.is_empty() {
        let usage = Usage {
            outputs: u32::try_from(outputs.len()).ok(),
            tokens: output_tokens(&made["usageMetadata"]),
            ..Usage::default()
        };
        return Ok((outputs, usage));
    }
    let refuse = |kind, summary: String| ProviderError::new(provider, kind, Effect::None, summary);
    let feedback = &made["promptFeedback"];
    if let Some(reason) = feedback["blockReason"].as_str() {
        let why = feedback["blockReasonMessage"].as_str();
        let field = if reason.starts_with("IMAGE") { "inputs" } else { "prompt" };
        return Err(refuse(ErrorKind::ContentRefused, told("blocked the request", reason, why, prompt))
            .because_of(Some(field.to_owned())));
    }
    let end = candidates.iter().find_map(|it| it["finishReason"].as_str()).unwrap_or("STOP");
    let why = candidates.iter().find_map(|it| it["finishMessage"].as_str());
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
    let data = part.get("inlineData").or_else(|| part.get("inline_data"))?;
    let kind = data["mimeType"].as_str().or_else(|| data["mime_type"].as_str()).unwrap_or("image/");
    kind.starts_with("image/").then(|| decode(data["data"].as_str()?).map(RemoteOutput::Inline)).flatten()
}

/// Tokens of pictures, as the vendor counts them; all that came out where it does not tell them apart.
fn output_tokens(usage: &Value) -> Option<f64> {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    let details = usage["candidatesTokensDetails"].as_array().into_iter().flatten();
    let of_pictures: Vec<f64> = details
        .filter(|detail| detail["modality"].as_str().is_some_and(|word| word.eq_ignore_ascii_case("image")))
        .filter_map(|detail| number(&detail["tokenCount"]))
        .collect();
    if of_pictures.is_empty() { number(&usage["candidatesTokenCount"]) } else { Some(of_pictures.iter().sum()) }
}
