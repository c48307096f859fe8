//! Files to start from: parts of a form, addresses, data URLs and names of artifacts.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Map, Value};

use super::{
    Door,
    body::too_large,
    params::{Params, article},
    problem::Problem,
};
use crate::{
    door::{accept::data_uri, caller::Caller, refusal::Refusal},
    engine::{MAX_INPUT_BYTES, UploadError},
    pb::v1::input::Source,
};

/// Most bytes of the files of one call that are handed over in its message; the others are stored first, under their hash.
const MAX_INLINE_BYTES: usize = 3 << 20;
/// A data URL of more characters certainly holds more bytes.
const MAX_INLINE_URL: usize = MAX_INLINE_BYTES / 3 * 4;

/// A file that came as a part of a form.
#[derive(Debug)]
pub(super) struct File {
    /// The name of its part.
    pub(super) part: String,
    /// Where its bytes are now.
    pub(super) source: Source,
}

/// The files that a parameter names: parts of a form, `{"image_url": …}`, `{"file_id": …}`, or an address alone; one or a list of them.
pub(super) async fn references(
    door: &Door,
    caller: &Caller,
    params: &mut Params,
    name: &str,
) -> Result<Vec<Source>, Problem> {
    let mut sources: Vec<Source> = params.files(name).into_iter().map(|file| file.source).collect();
    let named = match params.take(name) {
        None => Vec::new(),
        Some(Value::Array(values)) => values,
        Some(value) => vec![value],
    };
    for value in named {
        sources.push(reference(door, caller, name, value).await?);
    }
    Ok(sources)
}

async fn reference(door: &Door, caller: &Caller, name: &str, value: Value) -> Result<Source, Problem> {
    let wrong = |got| Problem::wrong_type(name, "an object with image_url or file_id, or a file", got);
    let fields = match value {
        Value::Object(fields) => fields,
        Value::String(url) => return address(door, caller, name, url).await,
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => {
            return Err(wrong(article(&other)));
        }
    };
    match one_of(name, fields)? {
        ("file_id", id) => Ok(Source::Artifact(artifact_name(&id))),
        (_, url) => address(door, caller, &format!("{name}.image_url"), url).await,
    }
}

/// Exactly one of the two ways to name a file.
fn one_of(name: &str, fields: Map<String, Value>) -> Result<(&'static str, String), Problem> {
    let mut found = None;
    for (key, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
        let key = match key.as_str() {
            "image_url" => "image_url",
            "file_id" => "file_id",
            _ => return Err(Problem::unknown(&format!("{name}.{key}"))),
        };
        let path = format!("{name}.{key}");
        match value {
            Value::String(text) if found.is_none() => found = Some((key, text)),
            Value::String(_) => return Err(Problem::wrong_value(name, "it has both image_url and file_id")),
            other => return Err(Problem::wrong_type(&path, "a string", article(&other))),
        }
    }
    found.ok_or_else(|| Problem::wrong_value(name, "it needs one of image_url and file_id"))
}

/// `artifacts/{id}`, or the id alone as a client may have it.
fn artifact_name(id: &str) -> String {
    if id.starts_with("artifacts/") { id.to_owned() } else { format!("artifacts/{id}") }
}

/// An address goes on as it is; the bytes of a long data URL are stored first.
async fn address(door: &Door, caller: &Caller, name: &str, url: String) -> Result<Source, Problem> {
    if url.len() <= MAX_INLINE_URL || !url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
        return Ok(Source::Uri(url));
    }
    let bytes = data_uri(url.get(5..).unwrap_or_default()).map_err(|why| Problem::wrong_value(name, why))?;
    let chunks = stream::iter([Ok(Bytes::from(bytes))]);
    Receiver::new(door, caller).store(name, chunks).await
}

/// Takes in the files of one call.
pub(super) struct Receiver<'a> {
    door: &'a Door,
    caller: &'a Caller,
    /// Bytes that are in memory so far.
    n_inline: usize,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(door: &'a Door, caller: &'a Caller) -> Self {
        Self { door, caller, n_inline: 0 }
    }

    /// Keeps a short file, and stores a long one while it comes.
    pub(super) async fn receive(
        &mut self,
        part: String,
        mut chunks: impl Stream<Item = Result<Bytes, Problem>> + Send + Unpin,
    ) -> Result<File, Problem> {
        let mut start = BytesMut::new();
        while let Some(chunk) = chunks.next().await {
            start.extend_from_slice(&chunk?);
            if self.n_inline + start.len() > MAX_INLINE_BYTES {
                let all = stream::iter([Ok(start.freeze())]).chain(chunks);
                let source = self.store(&part, all).await?;
                return Ok(File { part, source });
            }
        }
        self.n_inline += start.len();
        Ok(File { part, source: Source::Data(start.freeze()) })
    }

    /// Stores bytes as an input of the caller. The same bytes are the same input, so a repeated call is the same call.
    async fn store(
        &self,
        name: &str,
        chunks: impl Stream<Item = Result<Bytes, Problem>> + Send + Unpin,
    ) -> Result<Source, Problem> {
        let name = name.trim_end_matches("[]");
        let (mut n_bytes, most) = (0, usize::try_from(MAX_INPUT_BYTES).unwrap_or(usize::MAX));
        let chunks = chunks.map(|chunk| {
            let chunk = chunk?;
            n_bytes += chunk.len();
            if n_bytes > most { Err(too_large(most)) } else { Ok(chunk) }
        });
        match self.door.engine.keep_input(&self.caller.tenant, chunks).await {
            Ok(id) => Ok(Source::Artifact(id.to_string())),
            Err(UploadError::Source(problem)) => Err(problem),
            Err(UploadError::TooLarge { max_bytes }) => Err(Refusal::UploadTooLarge { max_bytes }.into()),
            Err(UploadError::Invalid(violation)) => Err(Problem::wrong_value(name, violation.description)),
            Err(UploadError::Engine(error)) => Err(Refusal::from(error).into()),
        }
    }
}
