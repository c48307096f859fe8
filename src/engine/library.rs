//! Stored bytes for the doors: uploads in, ranges out, deletes.

use std::{
    ops::{ControlFlow, Range},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use tracing::warn;
use url::Url;

use super::{Engine, error::Error};
use crate::{
    artifact::{CollectError, Invalid, Served, Spooled, StoredBlob},
    domain::{
        artifact::{Artifact, BlobKey, Kind, MediaFacts},
        names::{ArtifactId, AttemptId, TenantId},
        order::Violation,
    },
};

/// What an uploader says about the bytes.
#[derive(Debug, Clone, Default)]
pub struct UploadClaims {
    /// The media type it believes them to be.
    pub media_type: Option<String>,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: Option<String>,
}

/// Why an upload was refused. `E` is the error of the incoming stream.
#[derive(Debug)]
pub enum UploadError<E> {
    /// The incoming stream failed.
    Source(E),
    /// Larger than the cap.
    TooLarge {
        /// The cap in bytes.
        max_bytes: u64,
    },
    /// A claim is wrong, or the bytes are no media; field and why.
    Invalid(Violation),
    /// The engine's own trouble.
    Engine(Error),
}

impl Engine {
    /// Stores uploaded bytes as an artifact of the tenant.
    pub async fn upload<S, E>(
        &self,
        tenant: &TenantId,
        bytes: S,
        claims: UploadClaims,
    ) -> Result<Artifact, UploadError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Send,
    {
        if self.is_closing() {
            return Err(UploadError::Engine(Error::Draining));
        }
        let spooled = self.collector().spool(bytes, None).await.map_err(upload_error)?;
        if let Some(claimed) = &claims.sha256
            && claimed != spooled.sha256()
        {
            let why = format!("the bytes have SHA-256 {}", spooled.sha256());
            return Err(UploadError::Invalid(Violation::new("header.sha256", why)));
        }
        let (kind, facts) = self.recognise(&spooled).await?;
        if let Some(claimed) = &claims.media_type
            && *claimed != facts.media_type
        {
            let why = format!("the bytes are {}", facts.media_type);
            return Err(UploadError::Invalid(Violation::new("header.media_type", why)));
        }
        let key = BlobKey::fresh(AttemptId::fresh(), 0);
        let stored = self.collector().store(&spooled, key).await.map_err(|error| upload_error(error.widen()))?;
        let artifact = self.uploaded(ArtifactId::fresh(), kind, facts, stored);
        let added = self.store().add_artifact(tenant, &artifact).await;
        added.map_err(|error| UploadError::Engine(error.into()))?;
        Ok(artifact)
    }

    /// The bytes of an artifact, in chunks of 256 KiB; the last may be shorter.
    pub async fn read(
        &self,
        artifact: &Artifact,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let storage = |error| Error::Storage(Box::new(error));
        Ok(self.blobs().open(&artifact.blob, range).await.map_err(storage)?.map_err(storage).boxed())
    }

    /// An address of the bucket under which anybody can read the artifact for `ttl`; none if artifacts are in a folder of this server.
    pub async fn bucket_link(
        &self,
        artifact: &Artifact,
        ttl: Duration,
        disposition: &str,
    ) -> Result<Option<Url>, Error> {
        let served = Served { media_type: &artifact.facts.media_type, disposition };
        self.blobs().link(&artifact.blob, ttl, served).await.map_err(|error| Error::Storage(Box::new(error)))
    }

    /// Deletes an artifact, and its bytes if no other refers to them; false if there is none.
    pub async fn delete_artifact(&self, tenant: &TenantId, id: &ArtifactId) -> Result<bool, Error> {
        match self.store().delete_artifact(tenant, id).await? {
            ControlFlow::Break(()) => Ok(false),
            ControlFlow::Continue(blob) => {
                if let Some(blob) = blob
                    && let Err(error) = self.blobs().delete(&blob).await
                {
                    // The row is gone, so nobody sees the bytes; the sweep takes them later.
                    warn!(%error, "a blob could not be deleted now");
                }
                Ok(true)
            }
        }
    }

    /// The record of bytes that a caller brought.
    pub(super) fn uploaded(&self, id: ArtifactId, kind: Kind, facts: MediaFacts, stored: StoredBlob) -> Artifact {
        Artifact {
            id,
            generation: None,
            kind,
            facts,
            size: stored.len,
            sha256: stored.sha256,
            blob: stored.key,
            sample: false,
            created_at: self.now(),
        }
    }

    /// What kind of media the bytes are. A moving GIF is an image here; sound of any sort is music, for nothing tells speech apart.
    pub(super) async fn recognise<E>(&self, spooled: &Spooled) -> Result<(Kind, MediaFacts), UploadError<E>> {
        for kind in [Kind::Image, Kind::Video, Kind::Music] {
            match self.collector().inspect(spooled, kind).await {
                Ok(facts) => return Ok((kind, facts)),
                Err(CollectError::Invalid(Invalid::WrongType { .. })) => {}
                Err(error) => return Err(upload_error(error.widen())),
            }
        }
        Err(UploadError::Invalid(Violation::new("data", "is no image, video or sound that filmgate knows")))
    }
}

pub(super) fn upload_error<E>(error: CollectError<E>) -> UploadError<E> {
    match error {
        CollectError::Source(error) => UploadError::Source(error),
        CollectError::TooLarge { max } => UploadError::TooLarge { max_bytes: max },
        CollectError::Invalid(why) => UploadError::Invalid(Violation::new("data", why.to_string())),
        CollectError::NoSpace => UploadError::Engine(Error::Storage("there is no space left".into())),
        CollectError::Io(error) => UploadError::Engine(Error::Storage(Box::new(error))),
    }
}
