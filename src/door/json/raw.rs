//! Bytes as they are, in place of messages that carry them: streamed both ways, in constant memory.

use axum::{
    body::Body as HttpBody,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, future::ready, stream};
use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};
use tonic::{Status, Streaming};

use super::{Call, codec::Sent, error::Refused, json, metadata};

/// Most bytes in one message of an upload.
const MAX_CHUNK: usize = 1 << 20;
/// What bytes of an unknown kind are.
const UNKNOWN: &str = "application/octet-stream";
/// The field that says what kind of bytes they are.
const MEDIA_TYPE: &str = "media_type";

/// Makes a call that takes a stream: `first`, with the type of the body in its field `media_type`, then the body in messages of `field`.
pub(super) async fn upload(
    mut call: Call,
    mut first: DynamicMessage,
    field: &FieldDescriptor,
    headers: &HeaderMap,
    body: HttpBody,
) -> Result<Response, Refused> {
    if let Some((outer, inner)) = media_type_of(&first.descriptor(), field) {
        let value = first.get_field_mut(&outer);
        let part =
            value.as_message_mut().ok_or_else(|| Refused::defect("the field of the media type is no message"))?;
        let is_set = part.get_field(&inner).as_str().is_some_and(|known| !known.is_empty());
        if let Some(essence) = essence(headers).filter(|_| !is_set) {
            part.set_field(&inner, Value::String(essence));
        }
    }
    let mut client = call.client();
    super::ready(&mut client).await?;
    let messages = stream::once(ready(Sent::Ok(first))).chain(chunks(body, field.clone()));
    let request = call.request(messages);
    let answer = client.client_streaming(request, call.route.path.clone(), call.codec()).await?;
    json(&answer)
}

/// The field `media_type` of a part of a message, and that part.
fn media_type_of(
    message: &MessageDescriptor,
    other_than: &FieldDescriptor,
) -> Option<(FieldDescriptor, FieldDescriptor)> {
    let parts = message.fields().filter(|part| !part.is_list() && !part.is_map() && part != other_than);
    parts.into_iter().find_map(|part| {
        let kind = part.kind();
        let inner = kind.as_message()?.get_field_by_name(MEDIA_TYPE).filter(|inner| inner.kind() == Kind::String)?;
        Some((part, inner))
    })
}

/// The type of a body without its parameters; none if it says nothing.
fn essence(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    // A form is what curl calls any body that it was given no type for.
    let says_nothing = [UNKNOWN, "application/x-www-form-urlencoded", ""].contains(&essence.as_str());
    (!says_nothing).then_some(essence)
}

fn chunks(body: HttpBody, field: FieldDescriptor) -> impl Stream<Item = Sent> + Send + 'static {
    let parts = body.into_data_stream().flat_map(|frame| stream::iter(parts(frame)));
    parts.map(move |part| {
        let mut message = DynamicMessage::new(field.parent_message().clone());
        message.set_field(&field, Value::Bytes(part?));
        Ok(message)
    })
}

/// Bytes in pieces of what a message may hold; a broken body breaks the call, so that no half of a file passes for the whole.
fn parts(frame: Result<Bytes, axum::Error>) -> Vec<Result<Bytes, Status>> {
    let Ok(mut rest) = frame else { return vec![Err(Status::cancelled("the body broke off"))] };
    let mut parts = Vec::new();
    while !rest.is_empty() {
        parts.push(Ok(rest.split_to(rest.len().min(MAX_CHUNK))));
    }
    parts
}

/// Makes a call and answers with the bytes of its messages. Their type is the field `media_type` of its first message.
pub(super) async fn download(
    call: Call,
    message: DynamicMessage,
    part: &'static FieldDescriptor,
    bytes: &'static FieldDescriptor,
) -> Result<Response, Refused> {
    let answer = call.messages(message).await?;
    let mut headers = metadata::to_headers(answer.metadata());
    let mut messages = answer.into_inner();
    let first = messages.message().await?;
    let media_type = first.as_ref().and_then(|first| media_type_in(first, part));
    let media_type = media_type.and_then(|text| HeaderValue::from_str(&text).ok());
    headers.insert(CONTENT_TYPE, media_type.unwrap_or(HeaderValue::from_static(UNKNOWN)));
    // A browser must not find another type in them.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let first = first.map(|first| data(&first, part, bytes)).unwrap_or_default();
    let rest = stream::unfold(Some(messages), move |messages| next_bytes(messages, part, bytes));
    let body = stream::once(ready(Ok(first)))
        .chain(rest)
        .filter(|chunk| ready(!matches!(chunk, Ok(chunk) if chunk.is_empty())));
    Ok((headers, HttpBody::from_stream(body)).into_response())
}

fn media_type_in(message: &DynamicMessage, other_than: &FieldDescriptor) -> Option<String> {
    let (outer, inner) = media_type_of(&message.descriptor(), other_than)?;
    let value = message.get_field(&outer);
    let text = value.as_message()?.get_field(&inner).as_str()?.to_owned();
    (!text.is_empty()).then_some(text)
}

/// An error breaks the connection: a length was not promised, so an end would pass for the whole.
async fn next_bytes(
    messages: Option<Streaming<DynamicMessage>>,
    part: &FieldDescriptor,
    bytes: &FieldDescriptor,
) -> Option<(Result<Bytes, Status>, Option<Streaming<DynamicMessage>>)> {
    let mut messages = messages?;
    match messages.message().await {
        Ok(None) => None,
        Ok(Some(message)) => Some((Ok(data(&message, part, bytes)), Some(messages))),
        Err(status) => Some((Err(status), None)),
    }
}

fn data(message: &DynamicMessage, part: &FieldDescriptor, bytes: &FieldDescriptor) -> Bytes {
    let value = message.get_field(part);
    let data = value.as_message().map(|part| part.get_field(bytes).into_owned());
    match data {
        Some(Value::Bytes(data)) => data,
        _ => Bytes::new(),
    }
}
