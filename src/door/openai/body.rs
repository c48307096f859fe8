//! Bodies of bounded size that come in bounded time, few long ones at once.

use std::{sync::Arc, time::Duration};

use axum::body::{Body, BodyDataStream, Bytes};
use bytes::BytesMut;
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::problem::Problem;
use crate::door::once::{self, Flaw};

/// Most bytes of a JSON body, and of all texts of a form: a picture as a data URL and the rest fit.
pub(super) const MAX_TEXT_BYTES: usize = 32 << 20;
/// Bodies that grow beyond [`SHORT`] and are in memory at the same time; further ones wait.
pub(super) const MOST_LONG_BODIES: usize = 16;
/// Prompts and messages are shorter.
const SHORT: usize = 1 << 20;
/// A client that sends nothing for so long is given up.
const IDLE: Duration = Duration::from_secs(30);
/// Longest wait for a place among the long bodies.
const PATIENCE: Duration = Duration::from_secs(10);

/// A place among the long bodies, held for as long as one is in memory.
pub(super) type Place = Option<OwnedSemaphorePermit>;

/// Whether a body is form data; JSON otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Form,
}

impl Format {
    /// What the headers say. A body without a type is taken for JSON.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(media_type) = headers.get(header::CONTENT_TYPE) else { return Ok(Self::Json) };
        let media_type = media_type.to_str().unwrap_or("?");
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" | "text/json" => Ok(Self::Json),
            "multipart/form-data" => Ok(Self::Form),
            _ => Err(unsupported(format!(
                "Unsupported content-type: {essence}. Send application/json or multipart/form-data."
            ))),
        }
    }
}

/// The whole body, if it is no longer than `most` bytes.
pub(super) async fn whole(
    headers: &HeaderMap,
    body: Body,
    most: usize,
    places: &Arc<Semaphore>,
) -> Result<(Bytes, Place), Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > most) {
        return Err(too_large(most));
    }
    let mut frames = body.into_data_stream();
    let mut bytes = BytesMut::new();
    let mut place = None;
    while let Some(frame) = next(&mut frames).await? {
        if bytes.len() + frame.len() > most {
            return Err(too_large(most));
        }
        bytes.extend_from_slice(&frame);
        need_place(&mut place, bytes.len(), places).await?;
    }
    Ok((bytes.freeze(), place))
}

/// Refuses JSON that says something twice, or too much.
pub(super) fn check_json(bytes: &[u8]) -> Result<(), Problem> {
    once::check(bytes, None).map_err(|flaw| match &flaw {
        Flaw::Twice(place) => Problem::wrong_value(place, format_args!("it {}", flaw.why())),
        Flaw::TooMany | Flaw::TooDeep => {
            let message = format!("The JSON body of your request {}.", flaw.why());
            Problem::new(StatusCode::BAD_REQUEST, message).with_code("invalid_json")
        }
    })
}

/// The next bytes of a body.
async fn next(frames: &mut BodyDataStream) -> Result<Option<Bytes>, Problem> {
    match timeout(IDLE, frames.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(frame))) => Ok(Some(frame)),
        Ok(Some(Err(_))) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "The body ended early.").with_code("incomplete_body"))
        }
        Err(_) => Err(late()),
    }
}

/// Takes a place as soon as a body in memory is a long one.
pub(super) async fn need_place(place: &mut Place, n_bytes: usize, places: &Arc<Semaphore>) -> Result<(), Problem> {
    if place.is_some() || n_bytes <= SHORT {
        return Ok(());
    }
    match timeout(PATIENCE, Arc::clone(places).acquire_owned()).await {
        Ok(Ok(taken)) => *place = Some(taken),
        Ok(Err(_)) | Err(_) => {
            return Err(Problem::busy("Too many long bodies at once; send it again later.", PATIENCE));
        }
    }
    Ok(())
}

/// Waits for what a client sends, but not for ever.
pub(super) async fn soon<T>(work: impl Future<Output = T>) -> Result<T, Problem> {
    timeout(IDLE, work).await.map_err(|_| late())
}

/// A body, or a part of one, is too long.
pub(super) fn too_large(most: usize) -> Problem {
    let message = format!("The body is too large: at most {most} bytes are taken here.");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message).with_code("request_too_large")
}

fn late() -> Problem {
    let message = format!("The body did not go on for {} s.", IDLE.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, message).with_code("request_timeout")
}

fn unsupported(message: String) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).with_code("unsupported_media_type")
}
