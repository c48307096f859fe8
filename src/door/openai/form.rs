//! Forms (`multipart/form-data`) as the SDKs send them: texts become parameters, files are kept or stored on their way in.
//!
//! The SDKs flatten what is nested: `provider[x]`, lists as `name[]` or `name[x][]`. That is undone here.

use std::{
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use axum::{
    body::{Body, Bytes},
    extract::{
        DefaultBodyLimit, FromRequest, Multipart, Request,
        multipart::{Field, MultipartError},
    },
};
use futures_util::{Stream, StreamExt, stream};
use http::StatusCode;
use serde_json::{Map, Value};

use super::{
    Door,
    body::{self, MAX_TEXT_BYTES, Place, soon},
    file::{File, Receiver},
    problem::Problem,
};
use crate::door::caller::Caller;

/// Most bytes of a form: as many files as an order takes would be more, but no vendor takes as much at once.
const MAX_FORM_BYTES: usize = 512 << 20;
/// Most parts of a form, and deepest nesting of a name.
const MAX_PARTS: usize = 512;
const MAX_DEPTH: usize = 8;
/// Most bytes that are read ahead of what became of them; the head of a part has to fit.
const MAX_AHEAD: usize = 8 << 20;

/// A form that was read.
#[derive(Debug, Default)]
pub(super) struct Form {
    pub(super) fields: Map<String, Value>,
    pub(super) files: Vec<File>,
    /// Held while long texts are in memory.
    pub(super) place: Place,
}

/// Reads all parts. What is too long for memory is stored as inputs of the caller.
pub(super) async fn read(door: &Door, caller: &Caller, request: Request) -> Result<Form, Problem> {
    let ahead = Ahead::default();
    // The parts are bounded one by one, the whole by what is read ahead and in all.
    let rejected = |why: String| Problem::new(StatusCode::BAD_REQUEST, why).with_code("invalid_form");
    let mut request = ahead.watch(request);
    // Each part has a limit of its own.
    DefaultBodyLimit::disable().apply(&mut request);
    let parts = Multipart::from_request(request, &()).await;
    let mut parts = parts.map_err(|rejection| rejected(rejection.body_text()))?;
    let mut form = Form::default();
    let mut receiver = Receiver::new(door, caller);
    let (mut n_parts, mut n_bytes) = (0, 0);
    while let Some(part) = soon(parts.next_field()).await?.map_err(|error| ahead.broken(&error))? {
        ahead.went_on();
        n_parts += 1;
        if n_parts > MAX_PARTS {
            return Err(rejected(format!("The form has more than {MAX_PARTS} parts.")));
        }
        let name = part.name().filter(|name| !name.is_empty()).map(str::to_owned);
        let name = name.ok_or_else(|| rejected("A part of the form has no name.".to_owned()))?;
        if is_file(&part) {
            form.files.push(receiver.receive(name, pin!(chunks(part, &ahead))).await?);
        } else {
            let text = text(&name, part, &mut n_bytes, &ahead).await?;
            body::need_place(&mut form.place, n_bytes, &door.long_bodies).await?;
            put(&mut form.fields, &name, text)?;
        }
    }
    Ok(form)
}

/// A part with a file name, or with a type that is no text. The SDKs give texts neither.
fn is_file(part: &Field<'_>) -> bool {
    let is_text = |media_type: &str| media_type.starts_with("text/") || media_type.starts_with("application/json");
    part.file_name().is_some() || part.content_type().is_some_and(|media_type| !is_text(media_type))
}

/// The bytes of a part, each of which has to come in time.
fn chunks<'a>(part: Field<'a>, ahead: &'a Ahead) -> impl Stream<Item = Result<Bytes, Problem>> + Send + 'a {
    stream::unfold(part, async move |mut part| {
        let chunk = match soon(part.next()).await {
            Ok(chunk) => chunk?.map_err(|error| ahead.broken(&error)),
            Err(late) => Err(late),
        };
        ahead.went_on();
        Some((chunk, part))
    })
}

/// A part's text. All of them together are bounded.
async fn text(name: &str, part: Field<'_>, n_bytes: &mut usize, ahead: &Ahead) -> Result<String, Problem> {
    let mut text = Vec::new();
    let mut chunks = pin!(chunks(part, ahead));
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        *n_bytes += chunk.len();
        if *n_bytes > MAX_TEXT_BYTES {
            return Err(body::too_large(MAX_TEXT_BYTES));
        }
        text.extend_from_slice(&chunk);
    }
    String::from_utf8(text).map_err(|_| Problem::wrong_type(name, "a text in UTF-8", "other bytes"))
}

/// Puts a text where its name says: `a`, `a[b]`, `a[]`, `a[b][]`.
fn put(fields: &mut Map<String, Value>, name: &str, text: String) -> Result<(), Problem> {
    let twice = || Problem::invalid(name, "invalid_value", format!("'{name}' is given twice, or in two forms."));
    let path = path_of(name).ok_or_else(|| Problem::unknown(name))?;
    let (first, rest) = path.split_first().ok_or_else(|| Problem::unknown(name))?;
    let mut is_new = !fields.contains_key(*first);
    let mut at = fields.entry(*first).or_insert(Value::Null);
    for key in rest {
        if is_new {
            *at = if key.is_empty() { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
        }
        at = match at {
            Value::Array(values) if key.is_empty() => {
                is_new = true;
                values.push(Value::Null);
                values.last_mut().ok_or_else(twice)?
            }
            Value::Object(fields) if !key.is_empty() => {
                is_new = !fields.contains_key(*key);
                fields.entry(*key).or_insert(Value::Null)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                return Err(twice());
            }
        };
    }
    if !is_new {
        return Err(twice());
    }
    *at = Value::String(text);
    Ok(())
}

/// The keys of a name; an empty one stands for the next element of a list. None for a name that is not written like that.
fn path_of(name: &str) -> Option<Vec<&str>> {
    let (first, mut rest) = name.split_at(name.find('[').unwrap_or(name.len()));
    let mut path = vec![first];
    while !rest.is_empty() {
        let (key, after) = rest.strip_prefix('[')?.split_once(']')?;
        path.push(key);
        rest = after;
    }
    (!first.is_empty() && path.len() <= MAX_DEPTH).then_some(path)
}

/// How much of a body was read since something last became of it. The reader of forms keeps the head of a part in memory however long it is.
#[derive(Debug, Clone, Default)]
struct Ahead(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    n_ahead: AtomicUsize,
    /// The limit that was broken; 0 before.
    broken: AtomicUsize,
}

impl Ahead {
    fn went_on(&self) {
        self.0.n_ahead.store(0, Relaxed);
    }

    /// Why the body could not be read further.
    fn broken(&self, error: &MultipartError) -> Problem {
        match self.0.broken.load(Relaxed) {
            0 => {}
            MAX_AHEAD => return head_too_large(),
            most => return body::too_large(most),
        }
        let why = error.body_text();
        let message = format!("We could not parse the form of your request: {}.", why.trim_end_matches('.'));
        Problem::new(StatusCode::BAD_REQUEST, message).with_code("invalid_form")
    }

    /// The same request, whose body breaks where it is too long.
    fn watch(&self, request: Request) -> Request {
        let (progress, mut n_bytes) = (Arc::clone(&self.0), 0);
        request.map(|body| {
            Body::from_stream(body.into_data_stream().map(move |frame| {
                let frame: Bytes = frame.map_err(io::Error::other)?;
                n_bytes += frame.len();
                let n_ahead = progress.n_ahead.fetch_add(frame.len(), Relaxed) + frame.len();
                for (n_bytes, most) in [(n_bytes, MAX_FORM_BYTES), (n_ahead, MAX_AHEAD)] {
                    if n_bytes > most {
                        progress.broken.store(most, Relaxed);
                        return Err(io::Error::other("it is too long"));
                    }
                }
                Ok(frame)
            }))
        })
    }
}

fn head_too_large() -> Problem {
    let message = format!("The head of a part, or what stands before the first one, has more than {MAX_AHEAD} bytes.");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message).with_code("request_too_large")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(parts: &[(&str, &str)]) -> Result<Value, Problem> {
        let mut fields = Map::new();
        for (name, text) in parts {
            put(&mut fields, name, (*text).to_owned())?;
        }
        Ok(Value::Object(fields))
    }

    #[test]
    fn what_the_sdks_flatten_is_undone() {
        let parts = [
            ("prompt", "a fox"),
            ("input_reference[image_url]", "https://x"),
            ("provider[x]", "1"),
            ("provider[y][]", "a"),
            ("provider[y][]", "b"),
            ("names[]", "c"),
            ("list[][a]", "d"),
        ];
        let expected = json!({
            "prompt": "a fox", "input_reference": { "image_url": "https://x" }, "provider": { "x": "1", "y": ["a", "b"] },
            "names": ["c"], "list": [{ "a": "d" }],
        });
        assert_eq!(fields(&parts).unwrap(), expected);
    }

    #[test]
    fn a_name_says_one_thing_once() {
        for parts in [
            &[("a", "1"), ("a", "2")][..],
            &[("a", "1"), ("a[b]", "2")],
            &[("a[b]", "1"), ("a", "2")],
            &[("a[]", "1"), ("a[b]", "2")],
            &[("a[b]", "1"), ("a[b]", "2")],
            &[("a[b", "1")],
            &[("[b]", "1")],
            &[("a[b]c", "1")],
            &[("a[b][b][b][b][b][b][b][b][b]", "1")],
        ] {
            assert!(fields(parts).is_err(), "{parts:?}");
        }
    }
}
