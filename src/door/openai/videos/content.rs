//! The bytes of a finished video, from our own store, with ranges and validators as every file here.

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use http::{HeaderMap, Method, StatusCode, header::CONTENT_RANGE};
use url::form_urlencoded;

use super::{Id, find, object::may_come};
use crate::{
    domain::{artifact::Kind, generation::State as GenerationState},
    door::{
        files,
        openai::{Door, problem::Problem},
    },
};

/// What OpenAI would make of a video besides itself.
const OTHER_VARIANTS: [&str; 2] = ["thumbnail", "spritesheet"];

pub(super) async fn content(
    State(door): State<Door>,
    id: Id,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = door.caller(&headers)?;
    check_variant(&query.unwrap_or_default())?;
    let (id, view) = find(&door, &caller.tenant, id).await?;
    let record = &view.generation;
    if may_come(record.state) {
        let message = format!("Video '{id}' is not ready. Retrieve it until its status is 'completed'.");
        return Err(Problem::conflict("video_not_ready", message));
    }
    if record.state != GenerationState::Succeeded {
        let message = format!("Video '{id}' has no content, for it failed. Retrieve it to see why.");
        return Err(Problem::not_found("video_failed", message));
    }
    let gone =
        || Problem::not_found("video_expired", format!("The content of video '{id}' was deleted or has expired."));
    let made = record.artifacts.iter().find(|artifact| artifact.kind == Kind::Video).ok_or_else(gone)?;
    // Outputs may have been deleted one by one since.
    let artifact = door.engine.store().artifact(&caller.tenant, &made.id).await;
    let artifact = artifact.map_err(crate::door::refusal::Refusal::from)?.ok_or_else(gone)?;
    let answer = files::answer(&door.engine, &artifact, "", &method, &headers).await?;
    if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        let message = format!("The range is beyond the {} bytes of the video.", artifact.size);
        let mut refused = axum::response::IntoResponse::into_response(
            Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, message).with_code("range_not_satisfiable"),
        );
        refused.headers_mut().extend(answer.headers().get(CONTENT_RANGE).map(|range| (CONTENT_RANGE, range.clone())));
        return Ok(refused);
    }
    Ok(answer)
}

fn check_variant(query: &str) -> Result<(), Problem> {
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (name.as_ref(), value.as_ref()) {
            ("variant", "video") => {}
            ("variant", other) if OTHER_VARIANTS.contains(&other) => {
                return Err(Problem::wrong_value(
                    "variant",
                    format!("there is no {other} of a video here; only 'video'"),
                ));
            }
            ("variant", _) => return Err(Problem::wrong_value("variant", "only 'video' is served here")),
            (other, _) => return Err(Problem::unknown(other)),
        }
    }
    Ok(())
}
