//! A request over HTTP as a message: path, then query or body. What is wrong is told by the name of its field.

use std::{borrow::Cow, time::Duration};

use axum::body::{Body as HttpBody, BodyDataStream, HttpBody as _};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{
    HeaderMap,
    header::{CONTENT_TYPE, EXPECT},
    request::Parts,
};
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use serde::de::DeserializeSeed;
use serde_path_to_error::{Path, Segment};
use tokio::time::timeout;

use super::{
    error::Refused,
    query,
    routes::{Body, Route},
};
use crate::door::{
    grpc::MAX_MESSAGE_BYTES,
    once::{self, Flaw},
};

/// Largest JSON text that is read: what fits into a message of gRPC also fits as base64.
const MAX_JSON_BYTES: usize = 6 << 20;
/// How long the JSON of a request may take to come.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// How much of a refused body is read, and for how long, so that its sender gets to read why.
const MAX_DISCARDED_BYTES: usize = 64 << 20;
const MAX_DISCARD: Duration = Duration::from_secs(10);

/// The message that a request stands for. A body of bytes is not part of it and stays unread.
pub(super) async fn message(
    route: &Route,
    variables: &[(&str, String)],
    parts: &Parts,
    body: HttpBody,
) -> Result<DynamicMessage, Refused> {
    let input = route.rpc.input();
    let query = parts.uri.query().unwrap_or_default();
    let mut message = match &route.body {
        Body::Message => {
            let message = read_message(&input, &parts.headers, body).await?;
            query::none(query)?;
            message
        }
        Body::Field(field) => {
            let json = read_json(&parts.headers, body).await?;
            let mut message = query::message(&input, query, &in_path(variables, Some(field)))?;
            set_from_json(&mut message, field, &json)?;
            message
        }
        Body::Bytes(field) => query::message(&input, query, &in_path(variables, Some(field)))?,
        Body::None => {
            refuse_body(body).await?;
            query::message(&input, query, &in_path(variables, None))?
        }
    };
    for (name, value) in variables {
        // The path speaks for itself: a different name in the body would be a riddle.
        let field = input.get_field_by_name(name).ok_or_else(|| Refused::defect("a path names an unknown field"))?;
        let known = message.get_field(&field).as_str().is_none_or(|known| known.is_empty() || known == value.as_str());
        if !known {
            return Err(Refused::field(name, "is given by the path, and the body says something else"));
        }
        message.set_field(&field, Value::String(value.clone()));
    }
    if message.encoded_len() > MAX_MESSAGE_BYTES {
        return Err(Refused::too_large(MAX_MESSAGE_BYTES));
    }
    Ok(message)
}

/// Fields that a query may not set, because they come from elsewhere.
fn in_path<'a>(variables: &'a [(&'a str, String)], body: Option<&'a FieldDescriptor>) -> Vec<&'a str> {
    variables.iter().map(|(name, _)| *name).chain(body.map(FieldDescriptor::name)).collect()
}

async fn read_message(
    input: &MessageDescriptor,
    headers: &HeaderMap,
    body: HttpBody,
) -> Result<DynamicMessage, Refused> {
    let json = read_json(headers, body).await?;
    // A call without anything to say may leave the object out.
    let json: &[u8] = if json.is_empty() { b"{}" } else { &json };
    from_json(input, json)
}

fn set_from_json(message: &mut DynamicMessage, field: &FieldDescriptor, json: &[u8]) -> Result<(), Refused> {
    // Read as a message of that field alone, so that every kind of field is read in one way.
    let mut object = format!("{{\"{}\":", field.name()).into_bytes();
    object.extend_from_slice(if json.is_empty() { b"null" } else { json });
    object.push(b'}');
    let read = from_json(field.parent_message(), &object)?;
    message.set_field(field, read.get_field(field).into_owned());
    Ok(())
}

/// The whole body, if it is JSON by its own word.
async fn read_json(headers: &HeaderMap, body: HttpBody) -> Result<Bytes, Refused> {
    let bytes = timeout(MAX_WAIT, read(headers, body, MAX_JSON_BYTES)).await.map_err(|_| Refused::slow(MAX_WAIT))??;
    if !bytes.is_empty() && !is_json(headers) {
        return Err(Refused::media_type("JSON (application/json)"));
    }
    Ok(bytes)
}

async fn read(headers: &HeaderMap, body: HttpBody, max_bytes: usize) -> Result<Bytes, Refused> {
    let is_announced = body.size_hint().lower() > max_bytes as u64;
    let mut bytes = BytesMut::new();
    let mut frames = body.into_data_stream();
    // Whoever asks before sending is told before sending.
    if is_announced && headers.contains_key(EXPECT) {
        return Err(Refused::too_large(max_bytes));
    }
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|_| Refused::field("request", "the body broke off"))?;
        if is_announced || bytes.len() + frame.len() > max_bytes {
            discard(frames).await;
            return Err(Refused::too_large(max_bytes));
        }
        bytes.extend_from_slice(&frame);
    }
    Ok(bytes.freeze())
}

/// Lets the sender of a body that nobody wants finish, within bounds.
pub(super) async fn discard_all(headers: &HeaderMap, body: HttpBody) {
    // Whoever asks before sending is told before sending.
    if !body.is_end_stream() && !headers.contains_key(EXPECT) {
        discard(body.into_data_stream()).await;
    }
}

/// Reads on for a while and keeps nothing: a connection that is closed in the face of a sender loses the answer, too.
async fn discard(mut frames: BodyDataStream) {
    let mut n_bytes = 0;
    let read = async {
        while let Some(Ok(frame)) = frames.next().await {
            n_bytes += frame.len();
            if n_bytes > MAX_DISCARDED_BYTES {
                return;
            }
        }
    };
    // Too slow is as good as too long: the answer is on its way either way.
    drop(timeout(MAX_DISCARD, read).await);
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// A call that takes nothing in its body does not read one to throw it away.
async fn refuse_body(body: HttpBody) -> Result<(), Refused> {
    let mut frames = body.into_data_stream();
    loop {
        match timeout(MAX_WAIT, frames.next()).await.map_err(|_| Refused::slow(MAX_WAIT))? {
            None => return Ok(()),
            Some(Ok(frame)) if frame.is_empty() => {}
            Some(Ok(_)) => {
                discard(frames).await;
                return Err(Refused::field("request", "this call takes no body; its fields go into path and query"));
            }
            Some(Err(_)) => return Err(Refused::field("request", "the body broke off")),
        }
    }
}

/// A message from its canonical JSON.
fn from_json(descriptor: &MessageDescriptor, json: &[u8]) -> Result<DynamicMessage, Refused> {
    once::check(json, Some(descriptor)).map_err(|flaw| match &flaw {
        Flaw::Twice(place) => Refused::field(place, flaw.why()),
        Flaw::TooMany | Flaw::TooDeep => Refused::field("request", flaw.why()),
    })?;
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let read = descriptor.clone().deserialize(tracked);
    let message = read.map_err(|error| wrong(descriptor, &track.path(), &error))?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(message)
}

fn not_json(error: &serde_json::Error) -> Refused {
    Refused::field("request", format!("is not JSON: {error}"))
}

fn wrong(descriptor: &MessageDescriptor, place: &Path, error: &serde_json::Error) -> Refused {
    let mut text = error.to_string();
    if let (true, Some(Kind::Enum(known))) = (text.starts_with("unrecognized enum value"), kind_at(descriptor, place)) {
        let names: Vec<String> = known.values().skip(1).map(|value| value.name().to_owned()).collect();
        text = format!("{text}; allowed: {}", names.join(", "));
    }
    let path = place.to_string();
    let path = path.as_str();
    let field: Cow<'_, str> = match unknown_field(&text) {
        _ if error.is_syntax() || error.is_eof() => return not_json(error),
        Some(name) if path == "." => name.into(),
        Some(name) if path != name && !path.ends_with(&format!(".{name}")) => format!("{path}.{name}").into(),
        _ if path == "." => "request".into(),
        Some(_) | None => path.into(),
    };
    Refused::field(&field, text.as_str())
}

/// What a place in the JSON of a message is.
fn kind_at(descriptor: &MessageDescriptor, place: &Path) -> Option<Kind> {
    let mut kind = Kind::Message(descriptor.clone());
    for segment in place.iter() {
        // An item of a list is what the list is said to be of.
        let Segment::Map { key } = segment else { continue };
        let message = kind.as_message()?;
        kind = if message.is_map_entry() {
            message.map_entry_value_field().kind()
        } else {
            query::field(message, key)?.kind()
        };
    }
    Some(kind)
}

/// The name that the reader does not know, in its words.
fn unknown_field(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("unrecognized field name '")?;
    rest.rsplit_once('\'').map(|(name, _)| name)
}

/// A message from a JSON value that was made from a query.
pub(super) fn from_value(descriptor: &MessageDescriptor, value: serde_json::Value) -> Result<DynamicMessage, Refused> {
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    descriptor.clone().deserialize(tracked).map_err(|error| wrong(descriptor, &track.path(), &error))
}

#[cfg(test)]
mod tests;
