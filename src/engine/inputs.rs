//! Files that an order starts from: all are checked before any is stored, so that a refused order leaves nothing behind.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{Stream, stream};
use sha2::{Digest, Sha256};

use super::{
    Engine,
    error::Error,
    library::UploadError,
    request::{AskedInput, AskedSource, Request},
};
use crate::{
    artifact::Spooled,
    domain::{
        artifact::{Artifact, BlobKey, Kind, MediaFacts},
        card::InputSpec,
        names::{ArtifactId, AttemptId, TenantId},
        order::{Candidate, Input, InputRole, InputSource, Violation},
    },
};

/// Most bytes of a file to start from: it is in memory while it is handed over. OpenAI takes pictures of that size.
pub const MAX_INPUT_BYTES: u64 = 50 << 20;

/// An input that can be used.
enum Checked {
    /// An address, which only the provider looks at.
    Url(InputSource),
    /// An artifact of the caller.
    There(Box<Artifact>),
    /// Bytes that are a media file and not stored yet.
    New { id: ArtifactId, spooled: Spooled, kind: Kind, facts: MediaFacts },
}

impl Checked {
    /// Media type and bytes, where they are known.
    fn file(&self) -> Option<(&str, u64)> {
        match self {
            Self::Url(_) => None,
            Self::There(artifact) => Some((&artifact.facts.media_type, artifact.size)),
            Self::New { spooled, facts, .. } => Some((&facts.media_type, spooled.len())),
        }
    }
}

impl Engine {
    /// The request's inputs as the record keeps them: inline bytes have become artifacts, and named artifacts are there and fit.
    ///
    /// Models that cannot take them are left out of the request.
    pub(super) async fn own_inputs(&self, request: &mut Request) -> Result<Vec<Input>, Error> {
        let mut checked = Vec::with_capacity(request.inputs.len());
        let mut violations = Vec::new();
        for (index, input) in request.inputs.iter().enumerate() {
            let field = format!("inputs[{index}].{}", input.field);
            match self.check_input(&request.tenant, request.kind, input, &field).await? {
                Ok(found) => checked.push((field, input.role, found)),
                Err(wrong) => violations.push(wrong),
            }
        }
        if !violations.is_empty() {
            return Err(Error::Invalid(violations));
        }
        self.keep_fitting(&mut request.candidates, &checked)?;
        let mut inputs = Vec::with_capacity(checked.len());
        for (_, role, input) in checked {
            let source = match input {
                Checked::Url(source) => source,
                Checked::There(artifact) => InputSource::Artifact(artifact.id),
                Checked::New { id, spooled, kind, facts } => {
                    self.store_input(&request.tenant, &id, &spooled, kind, facts).await?;
                    InputSource::Artifact(id)
                }
            };
            inputs.push(Input { role, source });
        }
        Ok(inputs)
    }

    /// Stores bytes that an order is to start from, before there is one: what is too long to wait in memory until the order is judged.
    ///
    /// The same bytes are the same artifact, as if they had come inline. Nothing refers to it if the order is refused then; it expires as any other.
    pub async fn keep_input<S, E>(&self, tenant: &TenantId, bytes: S) -> Result<ArtifactId, UploadError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Send,
    {
        if self.is_closing() {
            return Err(UploadError::Engine(Error::Draining));
        }
        let spooled = self.collector().spool(bytes, None).await.map_err(super::library::upload_error)?;
        let engine = |error: Error| UploadError::Engine(error);
        let id = input_id(spooled.sha256()).map_err(engine)?;
        if self.store().artifact(tenant, &id).await.map_err(|error| engine(error.into()))?.is_none() {
            let (kind, facts) = self.recognise(&spooled).await?;
            self.store_input(tenant, &id, &spooled, kind, facts).await.map_err(engine)?;
        }
        Ok(id)
    }

    async fn check_input(
        &self,
        tenant: &TenantId,
        kind: Kind,
        AskedInput { role, source, .. }: &AskedInput,
        field: &str,
    ) -> Result<Result<Checked, Violation>, Error> {
        let wrong = |why: String| Violation::new(field, why);
        let found = match source {
            AskedSource::Url(url) => Ok(Checked::Url(InputSource::Url(url.clone()))),
            AskedSource::Artifact(id) => match self.store().artifact(tenant, id).await? {
                None => Err(Violation::unknown(field, format!("there is no {id}"))),
                Some(artifact) if artifact.size > MAX_INPUT_BYTES => {
                    Err(wrong(format!("{id} has {} bytes; an input has at most {MAX_INPUT_BYTES}", artifact.size)))
                }
                Some(artifact) => Ok(Checked::There(Box::new(artifact))),
            },
            AskedSource::Bytes(bytes) => self.check_bytes(tenant, bytes).await?.map_err(wrong),
        };
        Ok(found.and_then(|checked| match checked.file() {
            Some((media_type, _)) if !plays(kind, *role, media_type) => {
                Err(wrong(format!("is {media_type}; {role} takes {}", parts(kind, *role).join(" or "))))
            }
            Some(_) | None => Ok(checked),
        }))
    }

    async fn check_bytes(&self, tenant: &TenantId, bytes: &Bytes) -> Result<Result<Checked, String>, Error> {
        let id = input_id(&hex::encode(Sha256::digest(bytes)))?;
        if let Some(artifact) = self.store().artifact(tenant, &id).await? {
            return Ok(Ok(Checked::There(Box::new(artifact))));
        }
        let look = async {
            let source = stream::iter([Ok::<_, Infallible>(bytes.clone())]);
            let spooled = self.collector().spool(source, None).await.map_err(super::library::upload_error)?;
            let (kind, facts) = self.recognise(&spooled).await?;
            Ok(Checked::New { id, spooled, kind, facts })
        };
        match look.await {
            Ok(checked) => Ok(Ok(checked)),
            Err(UploadError::Invalid(violation)) => Ok(Err(violation.description)),
            Err(UploadError::TooLarge { max_bytes }) => Ok(Err(format!("has more than {max_bytes} bytes"))),
            Err(UploadError::Engine(error)) => Err(error),
            Err(UploadError::Source(never)) => match never {},
        }
    }

    /// Leaves out the models whose cards refuse a file; if that leaves none, the first one's reasons are told.
    fn keep_fitting(
        &self,
        candidates: &mut Vec<Candidate>,
        inputs: &[(String, InputRole, Checked)],
    ) -> Result<(), Error> {
        let unfit = |candidate: &Candidate| -> Vec<Violation> {
            let card = if candidate.stand_in { None } else { self.catalog().card(&candidate.model) };
            let Some(card) = card else { return Vec::new() };
            let inputs = inputs.iter().filter_map(|(field, role, input)| {
                let why = unfit(card.inputs.get(role)?, input.file()?)?;
                Some(Violation::new(field.as_str(), format!("{}: {why}", card.name)))
            });
            inputs.collect()
        };
        let first = candidates.first().map(unfit).unwrap_or_default();
        let mut fitting = candidates.clone();
        fitting.retain(|candidate| unfit(candidate).is_empty());
        if fitting.iter().all(|candidate| candidate.stand_in) && !first.is_empty() {
            return Err(Error::Invalid(first));
        }
        *candidates = fitting;
        Ok(())
    }

    async fn store_input(
        &self,
        tenant: &TenantId,
        id: &ArtifactId,
        spooled: &Spooled,
        kind: Kind,
        facts: MediaFacts,
    ) -> Result<(), Error> {
        let key = BlobKey::fresh(AttemptId::fresh(), 0);
        let stored = self.collector().store(spooled, key).await.map_err(|error| Error::Storage(Box::new(error)))?;
        let artifact = self.uploaded(id.clone(), kind, facts, stored);
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

/// Named after the content, so that a repeated request finds its bytes instead of storing them again.
fn input_id(sha256: &str) -> Result<ArtifactId, Error> {
    let start = sha256.get(..32).unwrap_or(sha256);
    ArtifactId::from_id(format!("input-{start}")).map_err(|error| Error::Storage(Box::new(error)))
}

/// What can play a part in an order of this kind: `image`, `video`, `audio`.
fn parts(kind: Kind, role: InputRole) -> &'static [&'static str] {
    match (role, kind) {
        (InputRole::Reference, Kind::Speech | Kind::Music) | (InputRole::Audio, _) => &["audio"],
        (InputRole::FirstFrame | InputRole::LastFrame | InputRole::Mask | InputRole::Sequence, _)
        | (InputRole::Reference, Kind::Image) => &["image"],
        // Some models follow a clip, or the voice in a recording.
        (InputRole::Reference, Kind::Video) | (InputRole::Source, Kind::Video) => &["image", "video", "audio"],
        (InputRole::Source, Kind::Image) => &["image"],
        (InputRole::Source, Kind::Speech | Kind::Music) => &["audio", "video"],
    }
}

fn plays(kind: Kind, role: InputRole, media_type: &str) -> bool {
    let class = media_type.split('/').next().unwrap_or_default();
    parts(kind, role).contains(&class)
}

/// Why a model does not take this file in this part.
fn unfit(spec: &InputSpec, (media_type, n_bytes): (&str, u64)) -> Option<String> {
    if !spec.media.is_empty() && !spec.media.iter().any(|taken| taken == media_type) {
        return Some(format!("is {media_type}; it takes {}", spec.media.join(", ")));
    }
    let most = spec.max_bytes?;
    (n_bytes > most).then(|| format!("has {n_bytes} bytes; it takes at most {most}"))
}
