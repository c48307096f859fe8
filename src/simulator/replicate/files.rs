//! Uploaded input files. Their bytes are hashed on the way in and not kept: nothing ever reads them back.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{
        Multipart, Path, State,
        multipart::{Field, MultipartError},
    },
    response::{IntoResponse, Response},
};
use http::StatusCode;
use jiff::Timestamp;
use md5::Md5;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    Replicate,
    prediction::shown,
    problem::{self, Violation},
};
use crate::simulator::{
    desk::{Call, Instead, Origin},
    fault::{Operation, Subject},
};

const MAX_FILE_BYTES: u64 = 100 << 20;

/// Files known at a time; beyond that the oldest is forgotten.
const MAX_FILES: usize = 10_000;

const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The account's uploaded files.
#[derive(Debug, Default)]
pub(super) struct Files {
    shelf: Mutex<Shelf>,
    sequence: AtomicU64,
}

#[derive(Debug, Default)]
struct Shelf {
    by_id: HashMap<String, u64>,
    by_age: BTreeMap<u64, Value>,
}

impl Files {
    pub(super) fn clear(&self) {
        *self.shelf() = Shelf::default();
    }

    fn insert(&self, id: &str, page: Value) {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let mut shelf = self.shelf();
        shelf.by_id.insert(id.to_owned(), sequence);
        shelf.by_age.insert(sequence, page);
        if shelf.by_age.len() > MAX_FILES
            && let Some((_, oldest)) = shelf.by_age.pop_first()
            && let Some(id) = oldest["id"].as_str()
        {
            shelf.by_id.remove(id);
        }
    }

    fn get(&self, id: &str) -> Option<Value> {
        let shelf = self.shelf();
        shelf.by_age.get(shelf.by_id.get(id)?).cloned()
    }

    fn remove(&self, id: &str) -> Option<Value> {
        let mut shelf = self.shelf();
        let sequence = shelf.by_id.remove(id)?;
        shelf.by_age.remove(&sequence)
    }

    fn newest(&self, limit: usize) -> Vec<Value> {
        self.shelf().by_age.values().rev().take(limit).cloned().collect()
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // No code panics while it holds the lock, so a poisoned one still guards whole data.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `POST /files`: the part `content` with an optional part `metadata`.
pub(super) async fn upload(
    State(replicate): State<Arc<Replicate>>,
    origin: Origin,
    parts: Multipart,
) -> Result<Response, Instead> {
    let call = begin(&replicate).await?;
    let upload = match Upload::read(parts).await {
        Ok(Some(upload)) => upload,
        Ok(None) => return Ok(problem::invalid(&[Violation::required("", "content")])),
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => return Ok(too_large()),
        Err(error) => return Ok(problem::unreadable(&error.body_text())),
    };
    if upload.size > MAX_FILE_BYTES {
        return Ok(too_large());
    }
    let id = replicate.desk.world.new_id();
    let page = upload.page(&id, &origin.0);
    replicate.files.insert(&id, page.clone());
    Ok(call.answer(StatusCode::CREATED, page).await)
}

/// `GET /files`
pub(super) async fn list(State(replicate): State<Arc<Replicate>>) -> Result<Response, Instead> {
    let call = begin(&replicate).await?;
    let results = replicate.files.newest(replicate.desk.world.settings().page_size);
    Ok(call.answer(StatusCode::OK, json!({ "previous": null, "next": null, "results": results })).await)
}

/// `GET /files/{id}`
pub(super) async fn get(State(replicate): State<Arc<Replicate>>, Path(id): Path<String>) -> Result<Response, Instead> {
    let call = begin(&replicate).await?;
    let page = replicate.files.get(&id).ok_or_else(problem::not_found)?;
    Ok(call.answer(StatusCode::OK, page).await)
}

/// `DELETE /files/{id}`
pub(super) async fn delete(
    State(replicate): State<Arc<Replicate>>,
    Path(id): Path<String>,
) -> Result<Response, Instead> {
    let call = begin(&replicate).await?;
    replicate.files.remove(&id).ok_or_else(problem::not_found)?;
    Ok(call.answer_whole(StatusCode::NO_CONTENT.into_response()).await)
}

/// Counts the call and begins it.
async fn begin(replicate: &Replicate) -> Result<Call, Instead> {
    replicate.desk.call(Operation::File, Subject::default()).await
}

fn too_large() -> Response {
    let body = json!({ "title": "File too large", "detail": "A file has at most 100 MB.", "status": 413 });
    problem::problem(StatusCode::PAYLOAD_TOO_LARGE, body)
}

/// What is remembered of an upload.
struct Upload {
    name: String,
    content_type: String,
    size: u64,
    sha256: String,
    md5: String,
    metadata: Value,
}

impl Upload {
    /// Reads all parts; `None` without a `content`. Reading stops soon after the largest allowed size.
    async fn read(mut parts: Multipart) -> Result<Option<Self>, MultipartError> {
        let mut upload = None;
        let mut metadata = json!({});
        let mut overrides = HashMap::new();
        while let Some(part) = parts.next_field().await? {
            match part.name() {
                Some("content") => {
                    let found = Self::receive(part).await?;
                    if found.size > MAX_FILE_BYTES {
                        return Ok(Some(found));
                    }
                    upload = Some(found);
                }
                Some("metadata") => metadata = serde_json::from_str(&part.text().await?).unwrap_or(metadata),
                Some(name @ ("filename" | "type")) => {
                    let name = name.to_owned();
                    overrides.insert(name, part.text().await?);
                }
                Some(_) | None => {}
            }
        }
        Ok(upload.map(|mut upload| {
            upload.metadata = metadata;
            if let Some(name) = overrides.remove("filename") {
                upload.name = name;
            }
            if let Some(content_type) = overrides.remove("type") {
                upload.content_type = content_type;
            }
            upload
        }))
    }

    async fn receive(mut part: Field<'_>) -> Result<Self, MultipartError> {
        let name = part.file_name().unwrap_or("file").to_owned();
        let content_type = part.content_type().unwrap_or("application/octet-stream").to_owned();
        let (mut size, mut sha256, mut md5) = (0, Sha256::new(), Md5::new());
        while let Some(chunk) = part.chunk().await? {
            size += chunk.len() as u64;
            if size > MAX_FILE_BYTES {
                break;
            }
            sha256.update(&chunk);
            md5.update(&chunk);
        }
        let (sha256, md5) = (hex::encode(sha256.finalize()), hex::encode(md5.finalize()));
        Ok(Self { name, content_type, size, sha256, md5, metadata: Value::Null })
    }

    fn page(&self, id: &str, origin: &str) -> Value {
        let now = Timestamp::now();
        json!({
            "id": id,
            "name": self.name,
            "content_type": self.content_type,
            "size": self.size,
            "etag": self.md5,
            "checksums": { "sha256": self.sha256, "md5": self.md5 },
            "metadata": self.metadata,
            "created_at": shown(now),
            "expires_at": shown(now.checked_add(LIFETIME).unwrap_or(now)),
            "urls": { "get": format!("{origin}/replicate/v1/files/{id}") },
        })
    }
}
