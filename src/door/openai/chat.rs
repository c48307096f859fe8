//! `POST /v1/chat/completions`: a body becomes the contract's request, an answer OpenAI's completion or pieces of one.

mod form;
mod messages;
mod names;
mod pieces;
mod raw;
mod request;
mod stream;
#[cfg(test)]
mod tests;
mod tools;
mod whole;
mod wire;

use std::{io, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::StreamExt;
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use tokio::time::timeout;

use self::{
    names::Names,
    pieces::Writer,
    request::{Asked, Manner},
    stream::Frames,
    whole::Whole,
    wire::Head,
};
use super::{
    Door,
    body::{self, Format, MAX_TEXT_BYTES},
    problem::Problem,
};
use crate::{
    chat::Conversation,
    domain::failure::Charged,
    door::{accept, refusal::Refusal},
    store::port::StoreError,
};

/// What the answer cost, if that can be told and it is told whole.
const COST: HeaderName = HeaderName::from_static("x-filmgate-cost-micro-usd");
/// That nobody has read the messages.
const SAMPLE: HeaderName = HeaderName::from_static("x-filmgate-sample");
/// The session that keeps the turns.
const SESSION: HeaderName = HeaderName::from_static("x-session-id");
/// For proxies that would otherwise collect a stream before they pass it on.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How long a stream waits for its first word before its head is sent. What goes wrong until then is told by a status, which the SDKs
/// understand better than the end of a stream.
const FIRST_WORD: Duration = Duration::from_secs(1);

pub(super) fn router() -> Router<Door> {
    Router::new().route("/chat/completions", post(complete))
}

async fn complete(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let caller = door.caller(request.headers())?;
    let (head, body) = request.into_parts();
    if Format::of(&head.headers)? != Format::Json {
        let message = "Unsupported content-type: multipart/form-data. Send application/json.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).with_code("unsupported_media_type"));
    }
    // Its place is held until the provider has what is long.
    let (bytes, place) = body::whole(&head.headers, body, MAX_TEXT_BYTES, &door.long_bodies).await?;
    let Asked { request, manner, names } = request::asked(&bytes)?;
    drop(bytes);
    let model = request.model.clone();
    let refused = |refusal| tell(refusal, &model, names);
    let asked = accept::chat(request, manner.stream, caller, door.chat.catalog()).map_err(refused)?;
    let conversation = door.chat.begin(asked).await.map_err(|error| refused(error.into()))?;
    drop(place);
    let headers = facts(&conversation);
    let mut response = if manner.stream {
        streamed(conversation, manner, names).await?
    } else {
        at_once(conversation, manner, names).await?
    };
    response.headers_mut().extend(headers);
    Ok(response)
}

/// A completion, when all of it was said.
async fn at_once(conversation: Conversation, manner: Manner, names: Names) -> Result<Response, Problem> {
    let head = Head::of(&conversation);
    let whole = Whole::of(conversation.events).await;
    let whole = whole.map_err(|error| tell(error.into(), &head.model, names))?;
    let mut body = Vec::with_capacity(whole.n_said() * 9 / 8 + 1024);
    serde_json::to_writer(&mut body, &whole.completion(&head, manner.functions))
        .map_err(|error| defect(error.into()))?;
    let mut response = ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response();
    let cost = whole.ended().cost.map(|cost| (COST, HeaderValue::from(cost.0)));
    response.headers_mut().extend(cost);
    Ok(response)
}

/// Pieces, as they are said.
async fn streamed(mut conversation: Conversation, manner: Manner, names: Names) -> Result<Response, Problem> {
    let head = Head::of(&conversation);
    let first = match timeout(FIRST_WORD, conversation.events.next()).await {
        Ok(Some(Err(error))) => return Err(tell(error.into(), &head.model, names)),
        Ok(said) => Some(said),
        Err(_) => None,
    };
    let writer = Writer::new(&head, manner).map_err(|error| defect(error.into()))?;
    let mut frames = Frames::new(conversation.events, writer, names).map_err(defect)?;
    if let Some(said) = first {
        frames.write(said).map_err(defect)?;
    }
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}

/// What is known of an answer before it is said.
fn facts(conversation: &Conversation) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
    let sample = conversation.sample.then(|| (SAMPLE, HeaderValue::from_static("true")));
    let session = conversation.session.as_ref().and_then(|session| HeaderValue::from_str(session.id()).ok());
    sample.into_iter().chain(session.map(|id| (SESSION, id)))
}

/// A refusal, as OpenAI would tell it: a model that is none, or cannot be talked with, is not found. What may have cost something is not to be
/// sent again.
fn tell(refusal: Refusal, model: &str, names: Names) -> Problem {
    if let Refusal::Invalid(violations) = &refusal
        && !model.is_empty()
        && let Some(wrong) = violations.iter().find(|wrong| wrong.field == "model")
    {
        return if wrong.names_nothing {
            Problem::model_not_found(model)
        } else {
            Problem::no_model(&wrong.description)
        };
    }
    let may_cost = matches!(&refusal, Refusal::Chat { failure, .. } if failure.charged != Charged::No);
    let problem = Problem::of(refusal, |field| names.of(field));
    if may_cost { problem.never_again() } else { problem }
}

/// What was put together here cannot be written.
fn defect(error: io::Error) -> Problem {
    Refusal::from(StoreError::Broken(error.into())).into()
}
