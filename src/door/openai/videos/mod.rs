//! `/v1/videos`: OpenAI's Videos API over generations of videos, and over nothing else: any other generation is not found here.
//!
//! An order is answered as soon as it is stored. UNRESOLVED and CANCELLING are `in_progress`, for `failed` would make clients buy again.

mod content;
mod create;
mod list;
mod object;

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::HeaderMap;
use serde_json::json;

use self::object::VideoId;
use super::{Door, problem::Problem};
use crate::{
    domain::{artifact::Kind, names::TenantId},
    door::refusal::Refusal,
    engine::{error::Error, view::View},
};

/// What an id in a path came as.
type Id = Result<Path<String>, PathRejection>;

pub(super) fn router() -> Router<Door> {
    Router::new()
        .route("/videos", post(create::create).get(list::list))
        .route("/videos/edits", post(create::edit))
        .route("/videos/extensions", post(create::extend))
        .route("/videos/{id}", get(retrieve).delete(delete))
        .route("/videos/{id}/cancel", post(cancel))
        .route("/videos/{id}/content", get(content::content))
        .route("/videos/{id}/remix", post(create::remix))
}

async fn retrieve(State(door): State<Door>, id: Id, headers: HeaderMap) -> Result<Response, Problem> {
    let caller = door.caller(&headers)?;
    let (_, view) = find(&door, &caller.tenant, id).await?;
    Ok(object::answer(&view))
}

async fn delete(State(door): State<Door>, id: Id, headers: HeaderMap) -> Result<Response, Problem> {
    let caller = door.caller(&headers)?;
    let (id, _) = find(&door, &caller.tenant, id).await?;
    match door.engine.delete(&caller.tenant, id.generation()).await {
        Ok(()) => Ok(Json(json!({ "id": id.to_string(), "object": "video.deleted", "deleted": true })).into_response()),
        Err(Error::Unfinished(_)) => {
            let message = format!("Video '{id}' is not finished. Cancel it, or wait for its end, before deleting it.");
            Err(Problem::conflict("video_not_finished", message))
        }
        Err(error) => Err(refused(&id, error)),
    }
}

async fn cancel(State(door): State<Door>, id: Id, headers: HeaderMap) -> Result<Response, Problem> {
    let caller = door.caller(&headers)?;
    let (id, _) = find(&door, &caller.tenant, id).await?;
    let view = door.engine.cancel(&caller.tenant, id.generation()).await.map_err(|error| refused(&id, error))?;
    Ok(object::answer(&view))
}

/// The video that a path names.
async fn find(door: &Door, tenant: &TenantId, id: Id) -> Result<(VideoId, View), Problem> {
    // What is not even text names nothing either.
    let text = id.map(|Path(id)| id).unwrap_or_default();
    let id: VideoId = text.parse().map_err(|_| unknown(&text))?;
    video(door, tenant, id).await.map(|view| (id, view))
}

async fn video(door: &Door, tenant: &TenantId, id: VideoId) -> Result<View, Problem> {
    let view = door.engine.get(tenant, id.generation()).await.map_err(|error| refused(&id, error))?;
    if view.generation.kind == Kind::Video { Ok(view) } else { Err(unknown(&id.to_string())) }
}

fn refused(id: &VideoId, error: Error) -> Problem {
    if matches!(error, Error::GenerationNotFound) {
        return unknown(&id.to_string());
    }
    Refusal::Engine { error, subject: id.to_string() }.into()
}

fn unknown(id: &str) -> Problem {
    let shown: String = id.chars().take(100).collect();
    Problem::not_found("video_not_found", format!("Video with id '{shown}' not found."))
}
