//! From a vendor's outputs to artifacts of our own: fetched, checked, stored. A vendor's address is never shown or kept.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::TryStreamExt;

use super::{Engine, inputs::MAX_INPUT_BYTES};
use crate::{
    artifact::{BlobError, CollectError, Invalid, StoredBlob},
    domain::{
        artifact::{Artifact, BlobKey, Kind, MediaFacts},
        attempt::AnsweredOutput,
        catalog::SAMPLE,
        generation::Generation,
        money::Usage,
        names::{ArtifactId, AttemptId, TenantId},
        order::{InputSource, OptionName, OptionValue},
    },
    failpoint::{self, Point},
    provider::{
        error::ProviderError,
        port::{ByteSource, InputFile, Order, OrderInput, Provider, RemoteOutput},
    },
    store::port::StoreError,
};

/// Where an output is on its way to be an artifact.
#[derive(Debug)]
pub(super) enum Output {
    /// At the vendor.
    AtVendor(RemoteOutput),
    /// Stored already, and not looked at.
    Ours {
        /// Where.
        key: BlobKey,
        /// Bytes.
        size: u64,
    },
    /// Stored a moment ago by this process, and judged by nobody.
    Fresh(StoredBlob),
}

/// Why outputs were not kept.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The vendor did not hand them over: fresh links may help.
    Fetch {
        /// What went wrong.
        error: ProviderError,
        /// Bytes of the output that had come.
        received: u64,
    },
    /// They are no sound media of the kind ordered.
    Invalid(Invalid),
    /// One is larger than the cap.
    TooLarge {
        /// The cap in bytes.
        max: u64,
    },
    /// Our own disk or store failed.
    Storage(String),
    /// What was stored is not there any more.
    Gone,
}

/// Why an order could not be put together.
#[derive(Debug)]
pub(super) enum NoOrder {
    /// An input is gone.
    InputGone(ArtifactId),
    /// It cannot be read now.
    Unavailable(String),
}

impl Engine {
    /// Stores the outputs of a submit answer that `saved` lacks, unjudged; what is known of those that came whole goes to `fresh`.
    /// What is in either stays there when a later one fails.
    pub(super) async fn save_answer(
        &self,
        attempt: AttemptId,
        outputs: &[RemoteOutput],
        saved: &mut Vec<AnsweredOutput>,
        fresh: &mut Vec<StoredBlob>,
    ) -> Result<(), Trouble> {
        for (index, output) in outputs.iter().enumerate().skip(saved.len()) {
            saved.push(match output {
                RemoteOutput::Link(url) => AnsweredOutput::Link(url.clone()),
                RemoteOutput::Inline(bytes) => {
                    let stored = self.collector().store_bytes(bytes.clone(), BlobKey::fresh(attempt, index)).await;
                    let stored = stored.map_err(|error| trouble(error.widen(), bytes.len() as u64))?;
                    let (key, size) = (stored.key.clone(), stored.len);
                    fresh.push(stored);
                    AnsweredOutput::Blob { key, size }
                }
            });
        }
        Ok(())
    }

    /// Fetches, checks and stores the outputs that `kept` lacks. What is in `kept` stays there when a later one fails.
    pub(super) async fn keep_outputs(
        &self,
        generation: &Generation,
        attempt: AttemptId,
        provider: &dyn Provider,
        outputs: &[Output],
        kept: &mut Vec<Artifact>,
    ) -> Result<(), Trouble> {
        let ticket = generation.open_attempt().and_then(|open| open.ticket.as_ref());
        for (index, output) in outputs.iter().enumerate().skip(kept.len()) {
            let (stored, facts) = match output {
                Output::AtVendor(output) => {
                    let opened = provider.open(output, ticket).await;
                    let source = opened.map_err(|error| Trouble::Fetch { error, received: 0 })?;
                    self.take_in(generation.kind, BlobKey::fresh(attempt, index), source).await?
                }
                Output::Ours { key, size } => self.look_at(generation.kind, key, *size).await?,
                Output::Fresh(stored) => match self.collector().inspect_stored(stored, generation.kind).await {
                    Some(Ok(facts)) => (stored.clone(), facts),
                    // It is in a bucket, or is not what it should be: all of it is read before it is judged.
                    Some(Err(_)) | None => self.look_at(generation.kind, &stored.key, stored.len).await?,
                },
            };
            failpoint::reach(Point::BlobAfter);
            self.metrics().artifact_stored(stored.len);
            kept.push(Artifact {
                id: ArtifactId::output(generation.id, index),
                generation: Some(generation.id),
                kind: generation.kind,
                facts,
                size: stored.len,
                sha256: stored.sha256,
                blob: stored.key,
                sample: provider.id().id() == SAMPLE,
                created_at: self.now(),
            });
        }
        Ok(())
    }

    /// Spools, inspects and stores what comes.
    async fn take_in(&self, kind: Kind, key: BlobKey, source: ByteSource) -> Result<(StoredBlob, MediaFacts), Trouble> {
        let ByteSource { stream, length } = source;
        failpoint::reach(Point::SpoolBefore);
        let mut received = 0;
        let counted = stream.inspect_ok(|bytes| received += bytes.len() as u64);
        let spooled = self.collector().spool(counted, length).await;
        let trouble = |error| trouble(error, received);
        let spooled = spooled.map_err(trouble)?;
        failpoint::reach(Point::SpoolAfter);
        let facts = self.collector().inspect(&spooled, kind).await.map_err(|error| trouble(error.widen()))?;
        failpoint::reach(Point::BlobBefore);
        let stored = self.collector().store(&spooled, key).await.map_err(|error| trouble(error.widen()))?;
        Ok((stored, facts))
    }

    /// Inspects what is stored: it becomes an artifact where it is.
    async fn look_at(&self, kind: Kind, key: &BlobKey, size: u64) -> Result<(StoredBlob, MediaFacts), Trouble> {
        let unreadable = |error| match error {
            BlobError::NotFound => Trouble::Gone,
            error => Trouble::Storage(error.to_string()),
        };
        let bytes = self.blobs().open(key, 0..size).await.map_err(unreadable)?;
        let spooled = self.collector().spool(bytes, Some(size)).await.map_err(|error| match error {
            CollectError::Source(error) => unreadable(error),
            CollectError::Invalid(why) => Trouble::Invalid(why),
            CollectError::TooLarge { max } => Trouble::TooLarge { max },
            CollectError::NoSpace => no_space(),
            CollectError::Io(error) => Trouble::Storage(format!("reading failed: {error}")),
        })?;
        let facts = self.collector().inspect(&spooled, kind).await.map_err(|error| trouble(error.widen(), size))?;
        Ok((StoredBlob::of(&spooled, key.clone()), facts))
    }

    /// The order as the current candidate's provider gets it, with the inputs' bytes.
    pub(super) async fn order(&self, generation: &Generation) -> Result<Order, NoOrder> {
        let Some(candidate) = generation.candidate() else {
            return Err(NoOrder::Unavailable("the record names no model".to_owned()));
        };
        let mut inputs = Vec::with_capacity(generation.inputs.len());
        for input in &generation.inputs {
            let file = match &input.source {
                InputSource::Url(url) => InputFile::Url(url.clone()),
                InputSource::Artifact(id) => self.input_file(&generation.tenant, id).await?,
            };
            inputs.push(OrderInput { role: input.role, file });
        }
        Ok(Order {
            kind: generation.kind,
            model: candidate.model.name.clone(),
            card: self.catalog().card(&candidate.model).cloned(),
            prompt: generation.brief.clone(),
            options: candidate.options.clone(),
            provider_options: candidate.provider_options.clone(),
            inputs,
            webhook: self.webhook_of(generation),
        })
    }

    async fn input_file(&self, tenant: &TenantId, id: &ArtifactId) -> Result<InputFile, NoOrder> {
        let unavailable = |error: &dyn std::fmt::Display| NoOrder::Unavailable(error.to_string());
        let artifact = match self.store().artifact(tenant, id).await {
            Ok(Some(artifact)) => artifact,
            Ok(None) => return Err(NoOrder::InputGone(id.clone())),
            Err(error @ (StoreError::Unavailable(_) | StoreError::Broken(_))) => return Err(unavailable(&error)),
        };
        let read = async {
            let stream = self.blobs().open(&artifact.blob, 0..artifact.size.min(MAX_INPUT_BYTES)).await?;
            stream
                .try_fold(BytesMut::new(), |mut all, chunk| async move {
                    all.extend_from_slice(&chunk);
                    Ok(all)
                })
                .await
        };
        match read.await {
            Ok(data) => Ok(InputFile::Bytes { media_type: artifact.facts.media_type, data: data.freeze() }),
            Err(BlobError::NotFound) => Err(NoOrder::InputGone(id.clone())),
            Err(error) => Err(unavailable(&error)),
        }
    }
}

/// What the vendor says was used, and what was measured where it says nothing.
pub(super) fn measured(usage: &Usage, generation: &Generation, artifacts: &[Artifact]) -> Usage {
    let seconds: Option<Duration> = artifacts.iter().map(|artifact| artifact.facts.duration).sum();
    let asked_audio = generation.candidate().and_then(|candidate| candidate.options.get(&OptionName::Audio));
    let audio = match asked_audio {
        Some(OptionValue::Bool(audio)) => Some(*audio),
        Some(OptionValue::Int(_) | OptionValue::Number(_) | OptionValue::Text(_)) | None => None,
    };
    let pixels = |artifact: &Artifact| Some(f64::from(artifact.facts.width?) * f64::from(artifact.facts.height?));
    let megapixels: Option<f64> = artifacts.iter().map(pixels).sum::<Option<f64>>().map(|pixels| pixels / 1e6);
    Usage {
        output_seconds: usage.output_seconds.or_else(|| seconds.map(|seconds| seconds.as_secs_f64())),
        outputs: usage.outputs.or_else(|| u32::try_from(artifacts.len()).ok()),
        compute_seconds: usage.compute_seconds,
        audio: usage.audio.or(audio),
        characters: usage.characters.or_else(|| Some(generation.brief.chars().count() as u64)),
        megapixels: usage.megapixels.or(megapixels),
        tokens: usage.tokens,
        charged: usage.charged,
    }
}

fn trouble(error: CollectError<ProviderError>, received: u64) -> Trouble {
    match error {
        CollectError::Source(error) => Trouble::Fetch { error, received },
        CollectError::Invalid(why) => Trouble::Invalid(why),
        CollectError::TooLarge { max } => Trouble::TooLarge { max },
        CollectError::NoSpace => no_space(),
        CollectError::Io(error) => Trouble::Storage(format!("storing failed: {error}")),
    }
}

fn no_space() -> Trouble {
    Trouble::Storage("there is no space left for artifacts".to_owned())
}
