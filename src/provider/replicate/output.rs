//! From the many shapes of `output` to files in order. Pure.

use serde_json::{Map, Value};
use url::Url;

use crate::{
    domain::artifact::Kind,
    provider::{
        http::{
            base64::{decode, decode_data_uri},
            text::{bare, shortened},
        },
        port::RemoteOutput,
    },
};

/// Keys that stand for the one file of their object; the first that holds one counts.
const SYNONYMS: [&str; 6] = ["url", "output_url", "download_url", "file", "artifact", "data"];
/// Keys that name a file by what it is.
const MEDIA: [(&str, Option<Kind>); 3] = [("video", Some(Kind::Video)), ("image", Some(Kind::Image)), ("audio", None)];
/// Deepest nesting looked into.
const MOST_DEPTH: usize = 16;
/// Most characters of a shape and of a text in it.
const SHAPE_CHARS: usize = 500;
const TEXT_CHARS: usize = 40;
/// Bare base64 of a type we cannot tell must be this long, so that a plain text is not taken for a file.
const LEAST_UNKNOWN: usize = 256;

/// How to look at an output.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// What was ordered, if known: of an object's `video`, `image` and `audio` only the one ordered counts.
    pub(super) kind: Option<Kind>,
    /// Whether a text starting with `http:` is a file.
    pub(super) plain_http: bool,
}

/// The files of `output` in order, each once.
pub(super) fn files(output: &Value, view: View) -> Vec<RemoteOutput> {
    let mut found = Vec::new();
    walk(output, view, MOST_DEPTH, &mut found);
    let mut seen: Vec<Url> = Vec::new();
    found.retain(|file| match file {
        RemoteOutput::Link(url) if seen.contains(url) => false,
        RemoteOutput::Link(url) => {
            seen.push(url.clone());
            true
        }
        RemoteOutput::Inline(_) => true,
    });
    found
}

/// `output` in at most 500 characters: types, keys and the beginnings of texts.
pub(super) fn shape(output: &Value) -> String {
    let mut text = String::new();
    describe(output, &mut text);
    shortened(&text, SHAPE_CHARS)
}

fn walk(value: &Value, view: View, depth: usize, found: &mut Vec<RemoteOutput>) {
    match value {
        Value::String(text) => found.extend(file(text, view)),
        Value::Array(items) if depth > 0 => items.iter().for_each(|item| walk(item, view, depth - 1, found)),
        Value::Object(fields) if depth > 0 => found.extend(of_object(fields, view, depth - 1)),
        Value::Array(_) | Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn of_object(fields: &Map<String, Value>, view: View, depth: usize) -> Vec<RemoteOutput> {
    let of = |key: &str| {
        let mut found = Vec::new();
        if let Some(value) = fields.get(key) {
            walk(value, view, depth, &mut found);
            if found.is_empty() && key == "data" {
                found.extend(value.as_str().and_then(bare_base64));
            }
        }
        found
    };
    if let Some(found) = SYNONYMS.iter().map(|key| of(key)).find(|found| !found.is_empty()) {
        return found;
    }
    let is_ordered = |kind: Option<Kind>| match view.kind {
        Some(Kind::Video | Kind::Image) => kind == view.kind,
        Some(Kind::Speech | Kind::Music) => kind.is_none(),
        None => false,
    };
    let ordered: Vec<_> = MEDIA.iter().filter(|(_, kind)| is_ordered(*kind)).flat_map(|(key, _)| of(key)).collect();
    if !ordered.is_empty() {
        return ordered;
    }
    let media: Vec<_> = MEDIA.iter().flat_map(|(key, _)| of(key)).collect();
    if !media.is_empty() {
        return media;
    }
    fields.keys().flat_map(|key| of(key)).collect()
}

fn file(text: &str, view: View) -> Option<RemoteOutput> {
    let text = text.trim();
    if text.starts_with("data:") {
        return decode_data_uri(text).map(RemoteOutput::Inline);
    }
    let is_link = text.starts_with("https:") || view.plain_http && text.starts_with("http:");
    if !is_link {
        return bare_media(text);
    }
    Url::parse(text).ok().filter(Url::has_host).map(RemoteOutput::Link)
}

/// Base64 that says by its first bytes what it is, wherever it stands; any other text is only a text.
fn bare_media(text: &str) -> Option<RemoteOutput> {
    let bytes = if text.len() >= LEAST_UNKNOWN { decode(text)? } else { return None };
    infer::get(&bytes).map(|_| RemoteOutput::Inline(bytes))
}

fn bare_base64(text: &str) -> Option<RemoteOutput> {
    let bytes = decode(text)?;
    (bytes.len() >= LEAST_UNKNOWN || infer::get(&bytes).is_some()).then_some(RemoteOutput::Inline(bytes))
}

fn describe(value: &Value, text: &mut String) {
    // Whatever is longer is cut anyway.
    if text.len() > 4 * SHAPE_CHARS {
        return;
    }
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(_) => text.push_str("bool"),
        Value::Number(_) => text.push_str("number"),
        Value::String(string) => {
            let start = shortened(string, TEXT_CHARS).replace(|c: char| c.is_control(), " ");
            let start: Vec<&str> = start.split(' ').map(bare).collect();
            text.push_str(&format!("string \"{}\"", start.join(" ")));
        }
        Value::Array(items) => {
            text.push_str(&format!("list of {} [", items.len()));
            items.iter().for_each(|item| separated(text, |text| describe(item, text)));
            text.push(']');
        }
        Value::Object(fields) => {
            text.push('{');
            for (key, value) in fields {
                separated(text, |text| {
                    text.push_str(&shortened(key, TEXT_CHARS));
                    text.push_str(": ");
                    describe(value, text);
                });
            }
            text.push('}');
        }
    }
}

fn separated(text: &mut String, add: impl FnOnce(&mut String)) {
    if !text.ends_with(['[', '{']) {
        text.push_str(", ");
    }
    add(text);
}
