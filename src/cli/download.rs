//! `filmgate download`, and what `generate` does with its outputs: streams to `FILE.part`, goes on where it broke, checks, renames.

use std::{
    fs::TryLockError,
    io::{self, SeekFrom},
    path::{Path, PathBuf},
};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
    time::{sleep, timeout},
};
use tonic::{Code, Request, Status};

use super::{
    ClientCommand, Context,
    connect::call,
    exit::Exit,
    failure::Failure,
    follow::{Outage, is_passing},
    json,
    names::{self, Collection},
    save::{Destination, Place},
    terminal::Format,
    text,
};
use crate::pb::v1::{
    Artifact, DownloadArtifactRequest, GetArtifactRequest, GetGenerationRequest, download_artifact_response::Part,
};

/// Arguments of `filmgate download`.
#[derive(Debug, clap::Args)]
pub(super) struct Download {
    /// An artifact, or a generation for all its artifacts: a full name, or the bare id of either.
    #[arg(value_name = "ARTIFACT|GENERATION")]
    name: String,
    /// File to write, replacing it; or an existing folder. Without it: a new file in the current folder, named by the artifact.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ClientCommand for Download {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        for (index, artifact) in find(context, &self.name).await?.iter().enumerate() {
            let destination = Destination::new(self.output.as_deref(), names::id(&artifact.name))?;
            let path = fetch(context, artifact, destination.place(index, &artifact.media_type)?).await?;
            match context.terminal.format {
                Format::Text => context.terminal.line(&saved(&path, artifact))?,
                Format::Json => context.terminal.json_line(&saved_json(&path, artifact)?)?,
            }
        }
        Ok(Exit::Ok)
    }
}

/// `a.mp4 (video/mp4, 1.4 MB, 5 s)`.
pub(super) fn saved(path: &Path, artifact: &Artifact) -> String {
    let mut facts = vec![artifact.media_type.clone(), text::bytes(artifact.size_bytes)];
    if let (Some(width), Some(height)) = (artifact.width, artifact.height) {
        facts.push(format!("{width}x{height}"));
    }
    facts.push(text::duration(artifact.duration.as_ref()));
    facts.retain(|fact| !fact.is_empty());
    let sample = if artifact.sample { " SAMPLE" } else { "" };
    format!("{} ({}){sample}", path.display(), facts.join(", "))
}

/// `{"file": …, "artifact": {…}}`.
pub(super) fn saved_json(path: &Path, artifact: &Artifact) -> Result<serde_json::Value, Failure> {
    Ok(json!({ "file": path.display().to_string(), "artifact": json::of(artifact)? }))
}

/// The artifacts that `name` stands for. A bare id is tried as an artifact, then as a generation.
async fn find(context: &Context<'_>, name: &str) -> Result<Vec<Artifact>, Failure> {
    let is_generation = name.starts_with(Collection::Generations.prefix());
    if !is_generation {
        let request = GetArtifactRequest { name: Collection::Artifacts.name(name)? };
        match context.connection.artifacts().get_artifact(call(request)).await {
            Ok(response) => return Ok(response.into_inner().artifact.into_iter().collect()),
            Err(status) if status.code() == Code::NotFound && !name.contains('/') => {}
            Err(status) => return Err(status.into()),
        }
    }
    let request = GetGenerationRequest { name: Collection::Generations.name(name)? };
    let response = context.connection.generations().get_generation(call(request)).await?;
    let generation = response.into_inner().generation.unwrap_or_default();
    if generation.artifacts.is_empty() {
        return Err(Failure::new(Exit::Precondition, format!("{} has no outputs", generation.name))
            .with_next_step(format!("filmgate get {}", generation.name)));
    }
    Ok(generation.artifacts)
}

/// Fetches `artifact` into `place` and returns its path. What a broken attempt left in `FILE.part` is used by the next one.
pub(super) async fn fetch(context: &mut Context<'_>, artifact: &Artifact, place: Place) -> Result<PathBuf, Failure> {
    let mut part = PartFile::open(&place.part()).await?;
    let mut outage = Outage::new(context.patience);
    loop {
        match stream(context, &artifact.name, &mut part, &mut outage).await? {
            Streamed::Whole => {}
            Streamed::Broken(status) if is_passing(&status) => {
                let Some(pause) = outage.next_pause(&status) else { return Err((*status).into()) };
                let at = text::bytes(i64::try_from(part.length).unwrap_or(i64::MAX));
                let why = status.message();
                context
                    .terminal
                    .notice(&format!("connection lost ({why}); going on at {at} in {} s", pause.as_secs_f64()));
                sleep(pause).await;
                context.connection.renew().await;
                continue;
            }
            Streamed::Broken(status) => return Err((*status).into()),
        }
        if part.digest() == artifact.sha256 {
            return part.finish(place).await;
        }
        if part.origin == Origin::New {
            let message = format!("{} arrived damaged: its SHA-256 differs", artifact.name);
            part.discard().await;
            return Err(Failure::new(Exit::Internal, message));
        }
        // The beginning was left by somebody else's download of the same name.
        part.restart().await?;
    }
}

enum Streamed {
    Whole,
    Broken(Box<Status>),
}

/// Appends to `part` what is missing.
async fn stream(
    context: &Context<'_>,
    name: &str,
    part: &mut PartFile,
    outage: &mut Outage,
) -> Result<Streamed, Failure> {
    let broken = |status: Status| Ok(Streamed::Broken(Box::new(status)));
    let silence = || Status::unavailable("the server has gone silent");
    let offset = i64::try_from(part.length).unwrap_or(i64::MAX);
    let request = DownloadArtifactRequest { name: name.to_owned(), read_offset: offset, read_limit: 0 };
    let mut client = context.connection.artifacts();
    let opening = client.download_artifact(Request::new(request));
    let mut messages = match timeout(context.patience.silence, opening).await {
        Ok(Ok(response)) => response.into_inner(),
        // The part is longer than the artifact: it was left by another one.
        Ok(Err(status)) if part.origin == Origin::Left && refuses_offset(&status) => {
            part.restart().await?;
            return broken(Status::unavailable("the partial file belongs to another artifact"));
        }
        Ok(Err(status)) => return broken(status),
        Err(_) => return broken(silence()),
    };
    let mut size = None;
    loop {
        match timeout(context.patience.silence, messages.message()).await {
            Ok(Ok(Some(message))) => match message.part {
                Some(Part::Artifact(artifact)) => size = u64::try_from(artifact.size_bytes).ok(),
                Some(Part::Chunk(chunk)) if u64::try_from(chunk.offset) == Ok(part.length) => {
                    part.append(&chunk.data).await?;
                    outage.over();
                }
                Some(Part::Chunk(_)) | None => {
                    return Err(Failure::new(Exit::Internal, "the server sent a download out of order"));
                }
            },
            Ok(Ok(None)) if size == Some(part.length) => return Ok(Streamed::Whole),
            Ok(Ok(None)) => return broken(Status::unavailable("the download ended early")),
            Ok(Err(status)) => return broken(status),
            Err(_) => return broken(silence()),
        }
    }
}

fn refuses_offset(status: &Status) -> bool {
    matches!(status.code(), Code::InvalidArgument | Code::OutOfRange)
}

/// `FILE.part`, owned by this process alone while it is open.
struct PartFile {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    /// Bytes in it.
    length: u64,
    origin: Origin,
}

/// Where the first bytes of a part come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// This command fetched all of it.
    New,
    /// An earlier command left the beginning.
    Left,
}

impl PartFile {
    /// Opens the part at `path` and hashes what it holds already.
    async fn open(path: &Path) -> Result<Self, Failure> {
        let fail = |error: io::Error| Failure::file(path, "open", &error);
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("another command is writing {}", path.display());
                return Err(Failure::new(Exit::Precondition, message));
            }
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        let mut part = Self {
            path: path.to_owned(),
            file: File::from_std(file),
            hasher: Sha256::new(),
            length: 0,
            origin: Origin::New,
        };
        part.hash_what_is_there().await.map_err(fail)?;
        Ok(part)
    }

    async fn hash_what_is_there(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let n_read = self.file.read(&mut buffer).await?;
            if n_read == 0 {
                return Ok(());
            }
            self.hasher.update(&buffer[..n_read]);
            self.length += n_read as u64;
            self.origin = Origin::Left;
        }
    }

    async fn append(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.file.write_all(data).await.map_err(|error| Failure::file(&self.path, "write", &error))?;
        self.hasher.update(data);
        self.length += data.len() as u64;
        Ok(())
    }

    /// Forgets everything.
    async fn restart(&mut self) -> Result<(), Failure> {
        let emptied = async {
            self.file.set_len(0).await?;
            self.file.seek(SeekFrom::Start(0)).await
        };
        emptied.await.map_err(|error| Failure::file(&self.path, "empty", &error))?;
        (self.hasher, self.length, self.origin) = (Sha256::new(), 0, Origin::New);
        Ok(())
    }

    fn digest(&self) -> String {
        hex::encode(self.hasher.clone().finalize())
    }

    async fn finish(mut self, place: Place) -> Result<PathBuf, Failure> {
        let finished = async {
            self.file.flush().await?;
            self.file.sync_all().await?;
            place.fill(&self.path).await
        };
        finished.await.map_err(|error| Failure::file(&self.path, "finish", &error))
    }

    /// Best effort: what is left is found out by its hash.
    async fn discard(self) {
        let _ = tokio::fs::remove_file(&self.path).await;
    }
}
