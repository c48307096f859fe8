//! Files to start from: hashed and forgotten.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Fal;
use crate::simulator::{
    desk::{Instead, Origin, Received},
    fault::{Operation, Subject},
};

/// Most files remembered.
const MOST_FILES: usize = 10_000;

/// What was uploaded: type, size and SHA-256, by id.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<BTreeMap<String, Value>>);

impl Files {
    pub(super) fn clear(&self) {
        self.with(BTreeMap::clear);
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Value>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, id: String, file: Value) {
        self.with(|files| {
            if files.len() >= MOST_FILES {
                files.pop_first();
            }
            files.insert(id, file);
        });
    }
}

/// Promises a place for a file.
pub(super) async fn initiate(
    State(fal): State<Arc<Fal>>,
    Origin(origin): Origin,
    received: Received,
) -> Result<Response, Instead> {
    let call = fal.desk.call(Operation::File, Subject::default()).await?;
    let (name, content_type) = (received.text("/file_name"), received.text("/content_type"));
    if name.is_empty() || content_type.is_empty() {
        return Err(call.refuse(StatusCode::UNPROCESSABLE_ENTITY, "file_name and content_type are required"));
    }
    let id = fal.desk.world.new_id();
    let urls = json!({
        "upload_url": format!("{origin}/fal/storage/put/{id}?signature=simulated"),
        "file_url": format!("{origin}/fal/files/{id}/{name}"),
    });
    fal.files.keep(id, json!({ "content_type": content_type }));
    Ok(call.answer(StatusCode::OK, urls).await)
}

/// Takes the bytes of a promised file.
pub(super) async fn put(
    State(fal): State<Arc<Fal>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_promised = |files: &mut BTreeMap<String, Value>| {
        files.get(&id).is_some_and(|file| file["content_type"].as_str() == content_type)
    };
    if !fal.files.with(is_promised) {
        return (StatusCode::FORBIDDEN, "this place was promised to another file\n").into_response();
    }
    fal.files.keep(id, described(content_type, &body));
    StatusCode::OK.into_response()
}

/// A token for the uploads of fal's Python client.
pub(super) async fn token(State(fal): State<Arc<Fal>>, Origin(origin): Origin) -> Result<Response, Instead> {
    let call = fal.desk.call(Operation::File, Subject::default()).await?;
    let expires_at = Timestamp::now() + SignedDuration::from_hours(1);
    let body = json!({
        "token": "simulated",
        "token_type": "Bearer",
        "base_url": format!("{origin}/fal"),
        "expires_at": expires_at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
    });
    Ok(call.answer(StatusCode::OK, body).await)
}

/// Takes a file with such a token.
pub(super) async fn upload(
    State(fal): State<Arc<Fal>>,
    Origin(origin): Origin,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if header("authorization") != Some("Bearer simulated") {
        return (StatusCode::UNAUTHORIZED, Json(json!({ "detail": "Unauthorized" }))).into_response();
    }
    let (id, name) = (fal.desk.world.new_id(), header("x-fal-file-name").unwrap_or("upload.bin"));
    fal.files.keep(id.clone(), described(header("content-type"), &body));
    Json(json!({ "access_url": format!("{origin}/fal/files/{id}/{name}") })).into_response()
}

fn described(content_type: Option<&str>, body: &Bytes) -> Value {
    json!({ "content_type": content_type, "size": body.len(), "sha256": hex::encode(Sha256::digest(body)) })
}
