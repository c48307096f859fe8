//! Files that an order starts from: all are checked before any is stored, so that a refused order leaves nothing behind.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use sha2::{Digest, Sha256};

use super::{
    Engine,
    error::Error,
    request::{AskedInput, AskedSource, Request},
};
use crate::{
    artifact::{CollectError, Spooled},
    domain::{
        artifact::{BlobKey, Kind, MediaFacts},
        names::{ArtifactId, AttemptId, TenantId},
        order::{Input, InputSource, Violation},
    },
};

/// Most bytes of a file to start from: it is in memory while it is handed over.
pub(super) const MAX_INPUT_BYTES: u64 = 32 << 20;

/// An input that can be used.
enum Checked {
    /// It is there already, or somewhere the provider fetches it.
    There(InputSource),
    /// Bytes that are an image and not stored yet.
    New { id: ArtifactId, spooled: Spooled, facts: MediaFacts },
}

impl Engine {
    /// The request's inputs as the record keeps them: inline bytes have become artifacts, and named artifacts are there and fit.
    pub(super) async fn own_inputs(&self, request: &Request) -> Result<Vec<Input>, Error> {
        let mut checked = Vec::with_capacity(request.inputs.len());
        let mut violations = Vec::new();
        for (index, AskedInput { role, source }) in request.inputs.iter().enumerate() {
            let found = match source {
                AskedSource::Url(url) => Ok(Checked::There(InputSource::Url(url.clone()))),
                AskedSource::Artifact(id) => self.check_artifact(&request.tenant, id).await?,
                AskedSource::Bytes(bytes) => self.check_bytes(&request.tenant, bytes).await?,
            };
            match found {
                Ok(input) => checked.push((*role, input)),
                Err(why) => violations.push(Violation::new(format!("inputs[{index}]"), why)),
            }
        }
        if !violations.is_empty() {
            return Err(Error::Invalid(violations));
        }
        let mut inputs = Vec::with_capacity(checked.len());
        for (role, input) in checked {
            let source = match input {
                Checked::There(source) => source,
                Checked::New { id, spooled, facts } => {
                    self.store_input(&request.tenant, &id, &spooled, facts).await?;
                    InputSource::Artifact(id)
                }
            };
            inputs.push(Input { role, source });
        }
        Ok(inputs)
    }

    async fn check_artifact(&self, tenant: &TenantId, id: &ArtifactId) -> Result<Result<Checked, String>, Error> {
        Ok(match self.store().artifact(tenant, id).await? {
            None => Err(format!("there is no {id}")),
            Some(artifact) if artifact.kind != Kind::Image => {
                Err(format!("{id} is a {}; an image is needed", artifact.kind))
            }
            Some(artifact) if artifact.size > MAX_INPUT_BYTES => {
                Err(format!("{id} has {} bytes; an input has at most {MAX_INPUT_BYTES}", artifact.size))
            }
            Some(_) => Ok(Checked::There(InputSource::Artifact(id.clone()))),
        })
    }

    async fn check_bytes(&self, tenant: &TenantId, bytes: &Bytes) -> Result<Result<Checked, String>, Error> {
        // Named after the content, so that a repeated request finds its bytes instead of storing them again.
        let name = format!("input-{}", &hex::encode(Sha256::digest(bytes))[..32]);
        let id = ArtifactId::from_id(name).map_err(|error| Error::Storage(Box::new(error)))?;
        if self.store().artifact(tenant, &id).await?.is_some() {
            return Ok(Ok(Checked::There(InputSource::Artifact(id))));
        }
        let look = async {
            let source = stream::iter([Ok::<_, Infallible>(bytes.clone())]);
            let spooled = self.collector().spool(source, None).await?;
            let facts = self.collector().inspect(&spooled, Kind::Image).await?;
            Ok((spooled, facts))
        };
        match look.await {
            Ok((spooled, facts)) => Ok(Ok(Checked::New { id, spooled, facts })),
            Err(CollectError::Invalid(why)) => Ok(Err(why.to_string())),
            Err(error) => Err(Error::Storage(Box::new(error))),
        }
    }

    async fn store_input(
        &self,
        tenant: &TenantId,
        id: &ArtifactId,
        spooled: &Spooled,
        facts: MediaFacts,
    ) -> Result<(), Error> {
        let key = BlobKey::fresh(AttemptId::fresh(), 0);
        let stored = self.collector().store(spooled, key).await.map_err(|error| Error::Storage(Box::new(error)))?;
        let artifact = self.uploaded(id.clone(), Kind::Image, facts, stored);
        match self.store().add_artifact(tenant, &artifact).await {
            Ok(()) => Ok(()),
            // Another request, or an earlier input of this one, brought the same bytes in the meantime.
            Err(error) => match self.store().artifact(tenant, id).await {
                Ok(Some(_)) => Ok(()),
                Ok(None) | Err(_) => Err(error.into()),
            },
        }
    }
}
