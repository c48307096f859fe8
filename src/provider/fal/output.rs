//! From the many shapes of a model's output to files in order. Pure.

use serde_json::{Map, Value};
use url::Url;

use crate::{
    domain::artifact::Kind,
    provider::{http::base64, port::RemoteOutput},
};

/// Keys of files by what they are, best first.
const VIDEO: [&str; 3] = ["video", "videos", "video_url"];
const IMAGE: [&str; 4] = ["images", "image", "image_url", "image_urls"];
const AUDIO: [&str; 5] = ["audio", "audio_file", "audio_url", "audios", "song"];
/// Keys that hold a file or files of any kind.
const ANY: [&str; 7] = ["output", "outputs", "file", "files", "url", "data", "result"];
/// Deepest nesting looked into.
const MOST_DEPTH: usize = 8;

/// A file with what the answer tells of it.
#[derive(Debug)]
pub(super) struct File {
    pub(super) output: RemoteOutput,
    /// Seconds.
    pub(super) duration: Option<f64>,
    /// Million pixels.
    pub(super) megapixels: Option<f64>,
}

/// The files of `output` in order, each once. What was ordered goes before what comes along, such as a preview.
pub(super) fn files(output: &Value, kind: Option<Kind>, plain_http: bool) -> Vec<File> {
    let order: Vec<&[&str]> = match kind {
        Some(Kind::Video) => vec![&VIDEO, &ANY],
        Some(Kind::Image) => vec![&IMAGE, &ANY],
        Some(Kind::Speech | Kind::Music) => vec![&AUDIO, &ANY],
        None => vec![&VIDEO, &IMAGE, &AUDIO, &ANY],
    };
    let mut found = walk(output, &order, plain_http, MOST_DEPTH);
    let mut seen: Vec<Url> = Vec::new();
    found.retain(|file| match &file.output {
        RemoteOutput::Link(url) if seen.contains(url) => false,
        RemoteOutput::Link(url) => {
            seen.push(url.clone());
            true
        }
        RemoteOutput::Inline(_) => true,
    });
    found
}

/// Which pictures the safety checker has blacked out, in the order of the files.
pub(super) fn blacked_out(output: &Value) -> Vec<bool> {
    let flag = |value: &Value| {
        value.as_bool() == Some(true) || value.as_str().is_some_and(|it| it.eq_ignore_ascii_case("true"))
    };
    let flags = ["has_nsfw_concepts", "has_nsfw_concept", "nsfw_content_detected"];
    match flags.iter().map(|key| &output[*key]).find(|value| !value.is_null()) {
        Some(Value::Array(values)) => values.iter().map(flag).collect(),
        Some(value) => vec![flag(value)],
        None => Vec::new(),
    }
}

/// The names of what was found instead of a file.
pub(super) fn shape(output: &Value) -> String {
    match output {
        Value::Object(fields) if !fields.is_empty() => {
            format!("an object with {}", fields.keys().take(8).cloned().collect::<Vec<_>>().join(", "))
        }
        Value::Object(_) => "an empty object".to_owned(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Null => "nothing".to_owned(),
        Value::String(_) | Value::Bool(_) | Value::Number(_) => "a single value".to_owned(),
    }
}

fn walk(value: &Value, order: &[&[&str]], plain_http: bool, depth: usize) -> Vec<File> {
    match value {
        Value::String(text) => text_file(text, plain_http).map(File::bare).into_iter().collect(),
        Value::Array(items) if depth > 0 => {
            items.iter().flat_map(|item| walk(item, order, plain_http, depth - 1)).collect()
        }
        Value::Object(fields) if depth > 0 => {
            if let Some(file) = object_file(fields, plain_http) {
                return vec![file];
            }
            let keys = order.iter().flat_map(|keys| keys.iter());
            let mut found =
                keys.map(|key| fields.get(*key).map_or_else(Vec::new, |it| walk(it, order, plain_http, depth - 1)));
            found.find(|found| !found.is_empty()).unwrap_or_default()
        }
        Value::Object(_) | Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// fal's `File`: an address, or the bytes in base64.
fn object_file(fields: &Map<String, Value>, plain_http: bool) -> Option<File> {
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    let by_url = text("url").and_then(|url| text_file(url, plain_http));
    let output = by_url.or_else(|| {
        let data = text("file_data")?;
        text_file(data, plain_http).or_else(|| base64::decode(data).map(RemoteOutput::Inline))
    })?;
    let number = |key: &str| fields.get(key).and_then(super::wire::number_of);
    let megapixels = number("width").zip(number("height")).map(|(width, height)| width * height / 1e6);
    Some(File { output, duration: number("duration"), megapixels })
}

impl File {
    fn bare(output: RemoteOutput) -> Self {
        Self { output, duration: None, megapixels: None }
    }
}

fn text_file(text: &str, plain_http: bool) -> Option<RemoteOutput> {
    let text = text.trim();
    if text.starts_with("data:") {
        return base64::decode_data_uri(text).map(RemoteOutput::Inline);
    }
    let is_link = text.starts_with("https://") || plain_http && text.starts_with("http://");
    let url = is_link.then(|| Url::parse(text).ok()).flatten()?;
    url.has_host().then_some(RemoteOutput::Link(url))
}
