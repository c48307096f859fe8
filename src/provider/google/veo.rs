//! Veo's long-running operations as both of Google's APIs answer them, in every form they have had. Pure.

use serde_json::{Value, json};
use url::Url;

use crate::{
    domain::{
        failure::{Charged, Failure, FailurePhase, FailureReason},
        money::Usage,
        names::ProviderId,
        order::{OptionName, OptionValue},
    },
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        http::text::shown,
        port::{Order, Progress, RemoteOutput, Status as Stage},
    },
};

use super::{
    base64::decode,
    names::{get, items},
    status::{Status, refused_input},
};

/// Most bytes of an operation's answer: four videos of 4k within it, in base64.
pub(in crate::provider) const OPERATION_CAP: usize = 256 << 20;

/// Keys of a list of videos, the first that has some counts.
const LISTS: [&str; 4] = ["videos", "generatedSamples", "generatedVideos", "predictions"];
/// Keys of a video's address.
const ADDRESSES: [&str; 5] = ["gcsUri", "videoUri", "uri", "videoGcsUri", "url"];
/// Keys of a video's bytes in base64.
const BYTES: [&str; 4] = ["bytesBase64Encoded", "encodedVideo", "videoBytes", "data"];

/// Support codes of refusals, by what Google calls their category.
const CATEGORIES: [(&str, &[&str]); 12] = [
    ("child", &["58061214", "17301594"]),
    ("celebrity", &["29310472", "15236754"]),
    ("video safety violation", &["64151117", "42237218"]),
    ("dangerous content", &["62263041"]),
    ("hate", &["57734940", "22137204"]),
    ("other", &["74803281", "29578790", "42876398"]),
    ("prohibited content", &["89371032", "49114662", "63429089", "72817394", "60599140"]),
    ("third-party content provider", &["35561574", "35561575"]),
    ("sexual", &["90789179", "43188360"]),
    ("toxic", &["78610348"]),
    ("violence", &["61493863", "56562880"]),
    ("vulgar", &["32635315"]),
];

/// What of an order its ticket remembers: what an answer does not tell and the price needs.
pub(in crate::provider) fn remembered(order: &Order) -> Value {
    let number = |name| order.options.get(&name).and_then(OptionValue::as_f64);
    let audio = match order.options.get(&OptionName::Audio) {
        Some(OptionValue::Bool(audio)) => Some(*audio),
        Some(OptionValue::Int(_) | OptionValue::Number(_) | OptionValue::Text(_)) | None => None,
    };
    json!({ "seconds": number(OptionName::Duration), "samples": number(OptionName::Samples), "audio": audio })
}

/// How far an operation is. `data` is of [`remembered`], `link` makes an address of what stands for one.
pub(in crate::provider) fn progress(
    provider: &ProviderId,
    operation: &Value,
    data: &Value,
    link: &dyn Fn(&str) -> Option<Url>,
) -> Result<Progress, ProviderError> {
    let error = operation.get("error").filter(|error| is_error(error));
    let done = &operation["done"];
    let is_done = done.as_bool() == Some(true) || done.as_str().is_some_and(|word| word.eq_ignore_ascii_case("true"));
    if !is_done && error.is_none() {
        return Ok(Progress::of(Stage::Running));
    }
    if let Some(error) = error.map(Status::of) {
        let cancelled = error.is_cancelled().then_some(Stage::Cancelled(Charged::No));
        return Ok(Progress::of(cancelled.unwrap_or_else(|| Stage::Failed(error.failure(provider)))));
    }
    // Google's SDKs know the response as the result, too.
    let response = ["response", "result"].iter().find_map(|key| items(&operation[*key]).first()).unwrap_or(operation);
    let response = items(get(response, "generateVideoResponse")).first().unwrap_or(response);
    let outputs: Vec<RemoteOutput> = videos(response).into_iter().filter_map(|video| output(video, link)).collect();
    let filtered = Filtered::of(response);
    if outputs.is_empty() {
        return match filtered {
            Some(filtered) => Ok(Progress::of(Stage::Failed(filtered.failure(provider)))),
            None => Err(ProviderError::new(
                provider,
                ErrorKind::NoOutput,
                Effect::None,
                "succeeded with no video to download",
            )),
        };
    }
    let usage = usage(outputs.len(), data);
    let log_tail = filtered.map(|filtered| filtered.words());
    Ok(Progress { usage, log_tail, ..Progress::of(Stage::Done(outputs)) })
}

/// What `n_outputs` videos used: only those that are delivered are charged.
pub(in crate::provider) fn usage(n_outputs: usize, data: &Value) -> Usage {
    let outputs = u32::try_from(n_outputs).ok();
    let seconds = data["seconds"].as_f64().zip(outputs).map(|(seconds, n)| seconds * f64::from(n));
    Usage { output_seconds: seconds, outputs, audio: data["audio"].as_bool(), ..Usage::default() }
}

/// What the filter took.
struct Filtered {
    count: u64,
    reasons: Vec<String>,
}

impl Filtered {
    fn of(response: &Value) -> Option<Self> {
        let told = get(response, "raiMediaFilteredCount");
        let count = told.as_u64().or_else(|| told.as_f64().map(|n| if n > 0.0 { 1 } else { 0 }));
        let count = count.or_else(|| told.as_str()?.trim().parse().ok()).unwrap_or_default();
        let reasons = items(get(response, "raiMediaFilteredReasons")).iter();
        let reasons: Vec<String> = reasons.filter_map(Value::as_str).map(str::to_owned).collect();
        (count > 0 || !reasons.is_empty()).then_some(Self { count: count.max(1), reasons })
    }

    /// How many were taken and why, with the categories of the codes.
    fn words(&self) -> String {
        let told = self.reasons.join(" ");
        let has = |code: &str| told.contains(code);
        let categories: Vec<&str> =
            CATEGORIES.iter().filter(|(_, codes)| codes.iter().any(|code| has(code))).map(|(name, _)| *name).collect();
        let mut words = format!("the content filter took {} video(s)", self.count);
        if !categories.is_empty() {
            words.push_str(&format!(" ({})", categories.join(", ")));
        }
        if let Some(told) = shown(&told, &[]) {
            words.push_str(&format!(": {told}"));
        }
        words
    }

    fn failure(&self, provider: &ProviderId) -> Failure {
        let reason = FailureReason::ProviderRefusedContent;
        Failure::new(reason, FailurePhase::Provider, Charged::No, self.words())
            .at(provider)
            .because_of(refused_input(&self.reasons.join(" ")))
    }
}

/// Whether there is an error and not only a place for one: SDKs and proxies write an empty one, or the code of no error.
fn is_error(error: &Value) -> bool {
    let has_words = |key: &str| error[key].as_str().is_some_and(|text| !text.is_empty());
    let code = &error["code"];
    let has_code = code.as_f64().is_some_and(|code| code != 0.0) || code.as_str().is_some_and(|code| code != "0");
    error.as_str().is_some_and(|text| !text.is_empty()) || has_code || has_words("message") || has_words("status")
}

fn videos(response: &Value) -> Vec<&Value> {
    match LISTS.iter().map(|key| items(get(response, key))).find(|list| !list.is_empty()) {
        Some(list) => list.iter().collect(),
        None => vec![response],
    }
}

fn output(video: &Value, link: &dyn Fn(&str) -> Option<Url>) -> Option<RemoteOutput> {
    if let Some(text) = video.as_str() {
        return link(text).map(RemoteOutput::Link).or_else(|| decode(text).map(RemoteOutput::Inline));
    }
    if let Some(inner) = video.get("video").filter(|inner| !inner.is_null()) {
        return output(inner, link);
    }
    let text = |key: &&str| get(video, key).as_str();
    let address = ADDRESSES.iter().filter_map(text).find_map(link);
    let bytes = || BYTES.iter().filter_map(text).find_map(decode);
    address.map(RemoteOutput::Link).or_else(|| bytes().map(RemoteOutput::Inline))
}
