//! The stand-in: serves small files of our own, or the operator's, for every kind, without a key.
//!
//! Invariant: a job is its ticket. Progress follows from the time in it, so that it survives a restart like a real
//! vendor's job; only what was cancelled is remembered, and a cancelled job is over for the engine as soon as it hears
//! so.

mod chat;

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;
use url::Url;

use crate::domain::{
    artifact::Kind,
    card::ModelCard,
    catalog::SAMPLE,
    chat::ChatCard,
    failure::Charged,
    money::Usage,
    names::{ProviderId, SubmitKey},
    order::{OptionName, OptionValue},
};

use super::{
    chat::ChatProvider,
    error::{Effect, ErrorKind, ProviderError, SetupError},
    id_of,
    port::{ByteSource, CancelOutcome, Found, Job, Order, Progress, Provider, RemoteOutput, Status, Submitted, Ticket},
};

/// Cancelled jobs that are remembered, so that a poll after a cancel tells the truth.
const MOST_CANCELLED: usize = 4096;
/// Bytes read from a file at once.
const CHUNK: usize = 256 * 1024;

/// The stand-in provider.
#[derive(Debug)]
pub struct Sample {
    id: ProviderId,
    cards: Vec<Arc<ModelCard>>,
    chat_cards: Vec<Arc<ChatCard>>,
    dir: Option<PathBuf>,
    latency: Duration,
    clock: Clock,
    cancelled: Mutex<VecDeque<String>>,
}

/// What a ticket holds.
#[derive(Debug, Serialize, Deserialize)]
struct Started {
    started_ms: i64,
    kind: Kind,
    samples: usize,
}

impl Sample {
    /// Serves the files in `dir`, else its own, each job taking `latency`.
    pub fn new(dir: Option<PathBuf>, latency: Duration) -> Result<Self, SetupError> {
        #[derive(Deserialize)]
        struct Cards {
            model: Vec<ModelCard>,
            chat: Vec<ChatCard>,
        }
        let cards: Cards = toml::from_str(include_str!("models.toml"))
            .map_err(|error| SetupError::new(SAMPLE, format!("its model cards are broken: {error}")))?;
        let dir = dir.map(std::path::absolute).transpose().map_err(|error| {
            SetupError::new(SAMPLE, format!("the folder FILMGATE_SAMPLE_DIR cannot be found: {error}"))
        })?;
        Ok(Self {
            id: id_of(SAMPLE)?,
            cards: cards.model.into_iter().map(Arc::new).collect(),
            chat_cards: cards.chat.into_iter().map(Arc::new).collect(),
            dir,
            latency,
            clock: Clock::now(),
            cancelled: Mutex::default(),
        })
    }

    fn ticket(&self, order: &Order, key: &SubmitKey, started: Timestamp) -> Ticket {
        let samples = order.options.get(&OptionName::Samples).and_then(OptionValue::as_f64).unwrap_or(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what the card allows")]
        let samples = samples.clamp(1.0, 16.0) as usize;
        // The key names the job, so that the job of a lost answer is found again.
        Ticket {
            account: SAMPLE.to_owned(),
            job: format!("sample-{}", key.id()),
            data: json!(Started { started_ms: started.as_millisecond(), kind: order.kind, samples }),
        }
    }

    fn started(&self, ticket: &Ticket) -> Result<Started, ProviderError> {
        serde_json::from_value(ticket.data.clone())
            .map_err(|error| self.error(ErrorKind::TicketUnknown, "knows no such job").caused_by(error))
    }

    fn is_cancelled(&self, ticket: &Ticket) -> bool {
        self.cancelled.lock().unwrap_or_else(PoisonError::into_inner).contains(&ticket.job)
    }

    fn elapsed(&self, started: &Started) -> Duration {
        let elapsed_ms = self.clock.read().as_millisecond().saturating_sub(started.started_ms);
        Duration::from_millis(u64::try_from(elapsed_ms).unwrap_or_default())
    }

    fn output(&self, kind: Kind) -> Result<RemoteOutput, ProviderError> {
        let Some(dir) = &self.dir else { return Ok(RemoteOutput::Inline(Bytes::from_static(embedded(kind)))) };
        let file = file_in(dir, kind).map_err(|why| self.error(ErrorKind::NoOutput, why))?;
        Url::from_file_path(file)
            .map(RemoteOutput::Link)
            .map_err(|()| self.error(ErrorKind::NoOutput, "cannot name its file"))
    }

    fn error(&self, kind: ErrorKind, summary: impl Into<String>) -> ProviderError {
        ProviderError::new(&self.id, kind, Effect::None, summary)
    }
}

#[async_trait]
impl Provider for Sample {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn models(&self) -> &[Arc<ModelCard>] {
        &self.cards
    }

    fn chat(&self) -> Option<&dyn ChatProvider> {
        Some(self)
    }

    fn ready(&self, kind: Kind) -> Result<(), String> {
        self.dir.as_ref().map_or(Ok(()), |dir| file_in(dir, kind).map(|_| ()))
    }

    async fn submit(&self, order: &Order, key: &SubmitKey) -> Result<Submitted, ProviderError> {
        self.ready(order.kind).map_err(|why| self.error(ErrorKind::ModelNotFound, why))?;
        Ok(Submitted::Pending(self.ticket(order, key, self.clock.read())))
    }

    async fn find(&self, order: &Order, key: &SubmitKey, sent_at: Timestamp) -> Result<Found, ProviderError> {
        // A submit has no effect but its ticket, so the ticket can be made again.
        let job = Job { ticket: self.ticket(order, key, sent_at), created_at: sent_at, exact: true };
        Ok(Found::Candidates(vec![job]))
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        let started = self.started(ticket)?;
        if self.is_cancelled(ticket) {
            return Ok(Progress::of(Status::Cancelled(Charged::No)));
        }
        let elapsed = self.elapsed(&started);
        if elapsed >= self.latency {
            let outputs = vec![self.output(started.kind)?; started.samples];
            let n_outputs = u32::try_from(outputs.len()).ok();
            return Ok(Progress {
                phase: Some("done".to_owned()),
                percent: Some(100),
                usage: Usage { outputs: n_outputs, ..Usage::default() },
                ..Progress::of(Status::Done(outputs))
            });
        }
        let share = elapsed.as_secs_f64() / self.latency.as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share below 1 of 100")]
        let percent = (share * 100.0) as u8;
        Ok(Progress {
            phase: Some("sampling".to_owned()),
            percent: Some(percent.min(99)),
            // Ten steps make a lively progress bar, and the last poll comes just when it is done.
            poll_after: Some((self.latency - elapsed).min(self.latency / 10)),
            ..Progress::of(Status::Running)
        })
    }

    async fn cancel(&self, ticket: &Ticket) -> Result<CancelOutcome, ProviderError> {
        let started = self.started(ticket)?;
        if self.is_cancelled(ticket) {
            return Ok(CancelOutcome::Stopped(Charged::No));
        }
        if self.elapsed(&started) >= self.latency {
            return Ok(CancelOutcome::TooLate);
        }
        let mut cancelled = self.cancelled.lock().unwrap_or_else(PoisonError::into_inner);
        if cancelled.len() == MOST_CANCELLED {
            cancelled.pop_front();
        }
        cancelled.push_back(ticket.job.clone());
        Ok(CancelOutcome::Stopped(Charged::No))
    }

    async fn open(&self, output: &RemoteOutput, _ticket: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
        let url = match output {
            RemoteOutput::Inline(bytes) => return Ok(ByteSource::of(bytes.clone())),
            RemoteOutput::Link(url) => url,
        };
        let lost = |error: io::Error| self.error(ErrorKind::LinkExpired, "its file cannot be read").caused_by(error);
        let file = url.to_file_path().ok().filter(|file| file.parent() == self.dir.as_deref());
        let file = file.ok_or_else(|| self.error(ErrorKind::Protocol, "serves files of its own folder only"))?;
        let file = tokio::fs::File::open(file).await.map_err(lost)?;
        let length = file.metadata().await.map_err(lost)?.len();
        let provider = self.id.clone();
        let stream = ReaderStream::with_capacity(file, CHUNK).map(move |chunk| {
            chunk.map_err(|error| {
                ProviderError::new(&provider, ErrorKind::Transport, Effect::None, "its file broke off").caused_by(error)
            })
        });
        Ok(ByteSource { stream: Box::pin(stream), length: Some(length) })
    }
}

/// Wall-clock time that runs with tokio's clock, so that a test can pause it and a set system clock makes no job jump.
#[derive(Debug)]
struct Clock {
    wall: Timestamp,
    instant: Instant,
}

impl Clock {
    fn now() -> Self {
        Self { wall: Timestamp::now(), instant: Instant::now() }
    }

    fn read(&self) -> Timestamp {
        self.wall + self.instant.elapsed()
    }
}

fn embedded(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Video => include_bytes!("../../../sample_assets/sample.mp4"),
        Kind::Image => include_bytes!("../../../sample_assets/sample.png"),
        Kind::Speech => include_bytes!("../../../sample_assets/sample_speech.mp3"),
        Kind::Music => include_bytes!("../../../sample_assets/sample_music.mp3"),
    }
}

/// The operator's file for `kind`; the error names what to put where.
fn file_in(dir: &Path, kind: Kind) -> Result<PathBuf, String> {
    let names: &[&str] = match kind {
        Kind::Video => &["sample.mp4", "sample.webm", "sample.gif"],
        Kind::Image => &["sample.png", "sample.jpg", "sample.webp"],
        Kind::Speech => &["sample_speech.mp3", "sample_speech.wav"],
        Kind::Music => &["sample_music.mp3", "sample_music.wav"],
    };
    let file = names.iter().map(|name| dir.join(name)).find(|file| file.is_file());
    file.ok_or_else(|| {
        format!("no sample for {kind} is available: put {} into the folder of FILMGATE_SAMPLE_DIR", names.join(" or "))
    })
}

#[cfg(test)]
mod tests;
