//! `ArtifactService`.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::{Door, call, caller, snapshots::Answers, span};
use crate::{
    domain::{
        artifact::Artifact,
        names::{ArtifactId, GenerationId, TenantId},
        order::Violation,
    },
    door::{
        accept, files,
        links::Grant,
        pages::Wanted,
        present,
        refusal::{Refusal, Resource, both},
    },
    engine::{Engine, UploadClaims, UploadError, error::Error},
    pb::v1::{
        self, artifact_service_server::ArtifactService, download_artifact_response::Part as Down,
        upload_artifact_request::Part as Up,
    },
    store::port::ArtifactFilter,
};

/// Most bytes in one message of an upload.
const MAX_CHUNK_BYTES: usize = 3 << 20;
/// An uploader that sends nothing for so long is gone, or holds a place for nothing.
const MAX_SILENCE: Duration = Duration::from_secs(60);
/// Longest media type that is believed to be one.
const MAX_MEDIA_TYPE: usize = 127;

#[tonic::async_trait]
impl ArtifactService for Door {
    type DownloadArtifactStream = Answers<v1::DownloadArtifactResponse>;

    async fn get_artifact(
        &self,
        request: Request<v1::GetArtifactRequest>,
    ) -> Result<Response<v1::GetArtifactResponse>, Status> {
        call(span("GetArtifact", &request), async {
            let caller = caller(&request)?;
            let artifact = find(&self.engine, &caller.tenant, &request.get_ref().name).await?;
            Ok(v1::GetArtifactResponse { artifact: Some(present::artifact(&artifact)) })
        })
        .await
    }

    async fn list_artifacts(
        &self,
        request: Request<v1::ListArtifactsRequest>,
    ) -> Result<Response<v1::ListArtifactsResponse>, Status> {
        call(span("ListArtifacts", &request), async {
            let caller = caller(&request)?;
            let request = request.into_inner();
            let generation = accept::filter::<GenerationId>(&request.generation, "generation");
            let filters = both(accept::kind_filter(request.kind), generation);
            let ((kind, generation), wanted) = Wanted::<(Timestamp, ArtifactId)>::read(
                "ListArtifacts",
                filters,
                request.page_size,
                &request.page_token,
            )?;
            let filter = ArtifactFilter { kind, generation };
            let rows = self.engine.store().artifacts(&caller.tenant, &filter, wanted.query()).await?;
            let (artifacts, next_page_token) =
                wanted.cut(&rows, |artifact| (artifact.created_at, artifact.id.clone()), present::artifact);
            Ok(v1::ListArtifactsResponse { artifacts, next_page_token })
        })
        .await
    }

    async fn download_artifact(
        &self,
        request: Request<v1::DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        call(span("DownloadArtifact", &request), async {
            let caller = caller(&request)?;
            let request = request.into_inner();
            let artifact = find(&self.engine, &caller.tenant, &request.name).await?;
            let range = range(request.read_offset, request.read_limit, artifact.size)?;
            let facts = v1::DownloadArtifactResponse { part: Some(Down::Artifact(present::artifact(&artifact))) };
            let facts = stream::once(std::future::ready(Ok(facts)));
            if range.is_empty() {
                return Ok(Box::pin(facts) as Self::DownloadArtifactStream);
            }
            let start = range.start;
            let bytes = self.engine.read(&artifact, range).await.map_err(Refusal::about(&artifact.id))?;
            Ok(Box::pin(facts.chain(chunks(bytes, start))))
        })
        .await
    }

    async fn upload_artifact(
        &self,
        request: Request<Streaming<v1::UploadArtifactRequest>>,
    ) -> Result<Response<v1::UploadArtifactResponse>, Status> {
        call(span("UploadArtifact", &request), async {
            let caller = caller(&request)?;
            let mut parts = request.into_inner();
            let header = match next_part(&mut parts).await?.and_then(|first| first.part) {
                Some(Up::Header(header)) => header,
                Some(Up::Data(_)) | None => return Err(Refusal::field("header", "must be the first message")),
            };
            let claims = claims(header)?;
            let bytes = Box::pin(uploaded(parts));
            let artifact = self.engine.upload(&caller.tenant, bytes, claims).await.map_err(refused_upload)?;
            Ok(v1::UploadArtifactResponse { artifact: Some(present::artifact(&artifact)) })
        })
        .await
    }

    async fn create_artifact_link(
        &self,
        request: Request<v1::CreateArtifactLinkRequest>,
    ) -> Result<Response<v1::CreateArtifactLinkResponse>, Status> {
        call(span("CreateArtifactLink", &request), async {
            let tenant = caller(&request)?.tenant;
            let v1::CreateArtifactLinkRequest { name, ttl, file_name } = request.into_inner();
            let (id, (ttl, file_name)) = both(accept::name(&name, "name"), accept::link(ttl.as_ref(), file_name))?;
            let artifact = existing(&self.engine, &tenant, id).await?;
            let expires = Timestamp::now().as_second().saturating_add_unsigned(ttl.as_secs());
            let disposition = files::disposition(&artifact, &file_name);
            let of_bucket = self.engine.bucket_link(&artifact, ttl, &disposition).await;
            let url = match of_bucket.map_err(Refusal::about(&artifact.id))? {
                Some(url) => url.to_string(),
                None => self.links.sign(&Grant { tenant, artifact: artifact.id, expires, file_name }),
            };
            let expire_time = Some(prost_types::Timestamp { seconds: expires, nanos: 0 });
            Ok(v1::CreateArtifactLinkResponse { url, expire_time })
        })
        .await
    }

    async fn delete_artifact(
        &self,
        request: Request<v1::DeleteArtifactRequest>,
    ) -> Result<Response<v1::DeleteArtifactResponse>, Status> {
        call(span("DeleteArtifact", &request), async {
            let caller = caller(&request)?;
            let id: ArtifactId = accept::name(&request.get_ref().name, "name")?;
            if self.engine.delete_artifact(&caller.tenant, &id).await.map_err(Refusal::about(&id))? {
                return Ok(v1::DeleteArtifactResponse {});
            }
            Err(Refusal::NotFound(Resource::Artifact, id.to_string()))
        })
        .await
    }
}

async fn find(engine: &Engine, tenant: &TenantId, name: &str) -> Result<Artifact, Refusal> {
    existing(engine, tenant, accept::name(name, "name")?).await
}

async fn existing(engine: &Engine, tenant: &TenantId, id: ArtifactId) -> Result<Artifact, Refusal> {
    let artifact = engine.store().artifact(tenant, &id).await?;
    artifact.ok_or_else(|| Refusal::NotFound(Resource::Artifact, id.to_string()))
}

/// Which bytes to send; empty at the very end, which is where a finished download resumes.
fn range(read_offset: i64, read_limit: i64, size: u64) -> Result<Range<u64>, Refusal> {
    let mut violations = Vec::new();
    let start = u64::try_from(read_offset).ok().filter(|start| *start <= size);
    if start.is_none() {
        violations.push(Violation::new("read_offset", format!("must be from 0 to the size, {size}")));
    }
    let limit = u64::try_from(read_limit);
    if limit.is_err() {
        violations.push(Violation::new("read_limit", "must not be negative; 0 means to the end"));
    }
    match (start, limit) {
        (Some(start), Ok(0)) => Ok(start..size),
        (Some(start), Ok(limit)) => Ok(start..start.saturating_add(limit).min(size)),
        (None, _) | (_, Err(_)) => Err(Refusal::Invalid(violations)),
    }
}

/// Bytes as messages that say where they belong.
fn chunks(
    bytes: impl Stream<Item = Result<Bytes, Error>> + Send,
    start: u64,
) -> impl Stream<Item = Result<v1::DownloadArtifactResponse, Status>> + Send {
    let mut offset = start;
    bytes.map(move |bytes| {
        let data = bytes.map_err(|error| Status::from(Refusal::from(error)))?;
        let chunk = v1::Chunk { offset: i64::try_from(offset).unwrap_or(i64::MAX), data };
        offset = offset.saturating_add(chunk.data.len() as u64);
        Ok(v1::DownloadArtifactResponse { part: Some(Down::Chunk(chunk)) })
    })
}

fn claims(header: v1::UploadHeader) -> Result<UploadClaims, Refusal> {
    let v1::UploadHeader { media_type, sha256 } = header;
    let mut violations = Vec::new();
    if !media_type.is_empty() && !is_media_type(&media_type) {
        violations.push(Violation::new("header.media_type", "must be a type such as image/png, or empty"));
    }
    if !matches!(sha256.len(), 0 | 64) || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        violations.push(Violation::new("header.sha256", "must be 64 hexadecimal digits, or empty"));
    }
    if !violations.is_empty() {
        return Err(Refusal::Invalid(violations));
    }
    let set = |text: String| (!text.is_empty()).then(|| text.to_ascii_lowercase());
    Ok(UploadClaims { media_type: set(media_type), sha256: set(sha256) })
}

fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.len() <= MAX_MEDIA_TYPE && text.split_once('/').is_some_and(|(left, right)| token(left) && token(right))
}

/// What follows the header: bytes only, and not nothing.
fn uploaded(
    parts: impl Stream<Item = Result<v1::UploadArtifactRequest, Status>> + Send + Unpin,
) -> impl Stream<Item = Result<Bytes, Refusal>> + Send {
    let start = Some((parts, 0_u64));
    stream::unfold(start, async |state| {
        let (mut parts, n_bytes) = state?;
        let part = match next_part(&mut parts).await {
            Ok(None) if n_bytes == 0 => return Some((Err(Refusal::field("data", "must not be empty")), None)),
            Ok(None) => return None,
            Ok(Some(message)) => message.part,
            Err(refusal) => return Some((Err(refusal), None)),
        };
        Some(match part {
            Some(Up::Data(data)) if data.len() > MAX_CHUNK_BYTES => {
                let why = format!("has {} bytes; at most {MAX_CHUNK_BYTES} in a message", data.len());
                (Err(Refusal::field("data", why)), None)
            }
            Some(Up::Data(data)) => {
                let n_bytes = n_bytes + data.len() as u64;
                (Ok(data), Some((parts, n_bytes)))
            }
            Some(Up::Header(_)) => (Err(Refusal::field("header", "must be the first message only")), None),
            None => (Err(Refusal::field("data", "must be set in every message after the first")), None),
        })
    })
}

async fn next_part(
    parts: &mut (impl Stream<Item = Result<v1::UploadArtifactRequest, Status>> + Send + Unpin),
) -> Result<Option<v1::UploadArtifactRequest>, Refusal> {
    match timeout(MAX_SILENCE, parts.next()).await {
        Ok(part) => part.transpose().map_err(Refusal::Caller),
        Err(_) => Err(Refusal::field("data", format!("did not come for {} s", MAX_SILENCE.as_secs()))),
    }
}

fn refused_upload(error: UploadError<Refusal>) -> Refusal {
    match error {
        UploadError::Source(refusal) => refusal,
        UploadError::TooLarge { max_bytes } => Refusal::UploadTooLarge { max_bytes },
        UploadError::Invalid(violation) => Refusal::Invalid(vec![violation]),
        UploadError::Engine(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(refusal: Refusal) -> Vec<String> {
        match refusal {
            Refusal::Invalid(violations) => violations.into_iter().map(|violation| violation.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ranges_stay_within_the_bytes() {
        for (offset, limit, expected) in
            [(0, 0, 0..10), (3, 0, 3..10), (3, 4, 3..7), (3, 99, 3..10), (10, 0, 10..10), (9, i64::MAX, 9..10)]
        {
            assert_eq!(range(offset, limit, 10).unwrap(), expected, "{offset} {limit}");
        }
        assert_eq!(fields(range(11, 0, 10).unwrap_err()), ["read_offset"]);
        assert_eq!(fields(range(-1, -1, 10).unwrap_err()), ["read_offset", "read_limit"]);
    }

    #[tokio::test]
    async fn chunks_say_where_they_belong() {
        let bytes = stream::iter(["abc", "de"].map(|text| Ok(Bytes::from(text))));
        let offsets: Vec<_> = chunks(bytes, 7)
            .map(|message| match message.unwrap().part {
                Some(Down::Chunk(chunk)) => (chunk.offset, chunk.data.len()),
                other => panic!("{other:?}"),
            })
            .collect()
            .await;
        assert_eq!(offsets, [(7, 3), (10, 2)]);
    }

    #[test]
    fn claims_must_have_their_form() {
        let claim = |media_type: &str, sha256: &str| {
            claims(v1::UploadHeader { media_type: media_type.to_owned(), sha256: sha256.to_owned() })
        };
        let empty = claim("", "").unwrap();
        assert_eq!((empty.media_type, empty.sha256), (None, None));
        let upper = claim("Image/PNG", &"A".repeat(64)).unwrap();
        assert_eq!((upper.media_type.as_deref(), upper.sha256), (Some("image/png"), Some("a".repeat(64))));
        for bad in ["png", "image/", "/png", "a/b/c", "image/png; x", "image/\n"] {
            assert_eq!(fields(claim(bad, "abc").unwrap_err()), ["header.media_type", "header.sha256"], "{bad}");
        }
    }

    async fn upload(parts: Vec<Option<Up>>) -> Result<Vec<u8>, Vec<String>> {
        let parts = parts.into_iter().map(|part| Ok(v1::UploadArtifactRequest { part }));
        let mut bytes = Box::pin(uploaded(stream::iter(parts)));
        let mut all = Vec::new();
        while let Some(chunk) = bytes.next().await {
            all.extend(chunk.map_err(fields)?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn an_upload_is_bytes_and_not_nothing() {
        let data = |text: &'static str| Some(Up::Data(text.into()));
        assert_eq!(upload(vec![data("ab"), data(""), data("c")]).await, Ok(b"abc".to_vec()));
        assert_eq!(upload(vec![]).await, Err(vec!["data".to_owned()]));
        assert_eq!(upload(vec![data(""), data("")]).await, Err(vec!["data".to_owned()]));
        assert_eq!(upload(vec![data("a"), None]).await, Err(vec!["data".to_owned()]));
        let header = Some(Up::Header(v1::UploadHeader::default()));
        assert_eq!(upload(vec![data("a"), header]).await, Err(vec!["header".to_owned()]));
        let large = Some(Up::Data(vec![0; MAX_CHUNK_BYTES + 1].into()));
        assert_eq!(upload(vec![large]).await, Err(vec!["data".to_owned()]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_uploader_that_falls_silent_is_refused() {
        let first = v1::UploadArtifactRequest { part: Some(Up::Data("ab".into())) };
        let parts = Box::pin(stream::iter([Ok(first)]).chain(stream::pending()));
        let mut bytes = Box::pin(uploaded(parts));
        assert_eq!(bytes.next().await.unwrap().unwrap(), "ab");
        assert_eq!(fields(bytes.next().await.unwrap().unwrap_err()), ["data"]);
        assert!(bytes.next().await.is_none());
    }
}
