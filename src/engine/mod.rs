//! What happens: admission, and one readable async function that drives each generation.

pub mod error;
pub mod request;
pub mod view;

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, stream::BoxStream};

use crate::{
    domain::{
        artifact::Artifact,
        catalog::Catalog,
        generation::HistoryEvent,
        life::Resolution,
        names::{ArtifactId, GenerationId, ProviderId, TenantId},
    },
    store::port::{GenerationFilter, Page, Store},
};
use error::Error;
use request::Request;
use view::View;

/// The engine; a cheap handle.
#[derive(Debug, Clone)]
pub struct Engine(Arc<()>);

/// A request that was accepted.
#[derive(Debug)]
pub struct Admitted {
    /// The generation now.
    pub view: View,
    /// True if the request id was known.
    pub replayed: bool,
}

/// The snapshots of one generation, as a stream that ends itself.
#[derive(Debug)]
pub struct Watch(());

impl Watch {
    /// The next snapshot: the current one at once (unless it is no newer than `after_sequence` and not terminal), then every newer one, the same
    /// again after 15 s of silence, last the terminal one, then nothing. `Err(Draining)` while the server shuts down.
    pub async fn next(&mut self) -> Option<Result<View, Error>> {
        todo!()
    }
}

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
    TooLarge { max_bytes: u64 },
    /// A claim is wrong, or the bytes are no media; field and why.
    Invalid(crate::domain::order::Violation),
    /// The engine's own trouble.
    Engine(Error),
}

/// A provider with what was seen of it lately.
#[derive(Debug, Clone)]
pub struct ProviderState {
    pub id: ProviderId,
    /// What to set to configure it; absent if it is configured.
    pub missing: Option<String>,
    /// None: not called yet. True: the last call was answered.
    pub up: Option<bool>,
    pub n_running: usize,
    pub n_queued: usize,
    pub concurrency: usize,
}

impl Engine {
    pub async fn accept(&self, _request: Request) -> Result<Admitted, Error> {
        todo!()
    }
    pub async fn watch(&self, _tenant: &TenantId, _id: GenerationId, _after_sequence: u64) -> Result<Watch, Error> {
        todo!()
    }
    pub async fn get(&self, _tenant: &TenantId, _id: GenerationId) -> Result<View, Error> {
        todo!()
    }
    pub async fn list(&self, _tenant: &TenantId, _filter: &GenerationFilter, _page: Page<GenerationId>) -> Result<Vec<View>, Error> {
        todo!()
    }
    pub async fn cancel(&self, _tenant: &TenantId, _id: GenerationId) -> Result<View, Error> {
        todo!()
    }
    pub async fn resolve(&self, _tenant: &TenantId, _id: GenerationId, _resolution: Resolution) -> Result<View, Error> {
        todo!()
    }
    pub async fn delete(&self, _tenant: &TenantId, _id: GenerationId) -> Result<(), Error> {
        todo!()
    }
    pub async fn history(&self, _tenant: &TenantId, _id: GenerationId, _page: Page<u64>) -> Result<Vec<HistoryEvent>, Error> {
        todo!()
    }
    /// Stores uploaded bytes as an artifact.
    pub async fn upload<S, E>(&self, _tenant: &TenantId, _bytes: S, _claims: UploadClaims) -> Result<Artifact, UploadError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Send,
    {
        todo!()
    }
    /// The bytes of an artifact in chunks of 256 KiB to 1 MiB.
    pub async fn read(&self, _artifact: &Artifact, _range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        todo!()
    }
    /// False if there is none.
    pub async fn delete_artifact(&self, _tenant: &TenantId, _id: &ArtifactId) -> Result<bool, Error> {
        todo!()
    }
    pub fn providers(&self) -> Vec<ProviderState> {
        todo!()
    }
    pub fn catalog(&self) -> &Catalog {
        todo!()
    }
    pub fn store(&self) -> &Arc<dyn Store> {
        todo!()
    }
}
