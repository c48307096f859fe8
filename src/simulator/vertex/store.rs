//! The bucket: what finished jobs have left in the folders that their orders named.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{Asked, Vertex, unknown};
use crate::simulator::{
    desk::{End, Instead, Job, Outcome, Stage},
    fault::{Operation, Subject},
};

/// `gs://bucket/prefix/{job}/sample_{index}.mp4`
pub(super) fn name_of(job: &Job<Asked>, index: u64) -> String {
    format!("{}{}/sample_{index}.mp4", job.data.folder, job.id)
}

/// `GET /storage/v1/b/{bucket}/o?prefix=…`
pub(super) async fn list(
    State(vertex): State<Arc<Vertex>>,
    Path(bucket): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, Instead> {
    let call = vertex.desk.call(Operation::List, Subject::default()).await?;
    let place = format!("gs://{bucket}/");
    let wanted = format!("{place}{}", query.get("prefix").map(String::as_str).unwrap_or_default());
    let mut items = Vec::new();
    for job in vertex.desk.book.all() {
        let Some(end) = made(&job) else { continue };
        for uri in (0..job.data.samples).map(|index| name_of(&job, index)) {
            if !job.data.folder.is_empty() && uri.starts_with(&wanted) {
                let at = job.at(end.at).to_string();
                items.push(json!({ "kind": "storage#object", "bucket": bucket, "name": uri[place.len()..],
                    "contentType": "video/mp4", "size": "1", "timeCreated": at, "updated": at }));
            }
        }
    }
    let mut page = json!({ "kind": "storage#objects" });
    // An empty list is left out, as the store does.
    if !items.is_empty() {
        page["items"] = Value::Array(items);
    }
    Ok(call.answer(StatusCode::OK, page).await)
}

/// `GET /storage/v1/b/{bucket}/o/{object}?alt=media`
pub(super) async fn object(
    State(vertex): State<Arc<Vertex>>,
    Path((bucket, object)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Instead> {
    let uri = format!("gs://{bucket}/{object}");
    let place = |job: Arc<Job<Asked>>| {
        let index = (0..job.data.samples).find(|index| name_of(&job, *index) == uri)?;
        Some((job.id.clone(), index))
    };
    let (id, index) = vertex.desk.book.all().into_iter().find_map(place).ok_or_else(|| unknown("No such object."))?;
    if query.get("alt").is_none_or(|alt| alt != "media") {
        return Ok(Json(json!({ "kind": "storage#object", "bucket": bucket, "name": object })).into_response());
    }
    vertex.desk.deliver(&id, index, &headers).await
}

fn made(job: &Job<Asked>) -> Option<End> {
    match job.stage() {
        Stage::Ended(end) if end.outcome == Outcome::Succeeded => Some(end),
        Stage::Ended(_) | Stage::Starting | Stage::Processing { .. } => None,
    }
}
