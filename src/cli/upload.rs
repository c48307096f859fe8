//! `filmgate upload`: stores a file as an artifact, to be used as an input.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use futures_util::{Stream, stream};
use sha2::{Digest as _, Sha256};
use tokio::{fs::File, io::AsyncReadExt as _};
use tonic::Request;

use super::{ClientCommand, Context, connect::Connection, exit::Exit, failure::Failure, json, terminal::Format, text};
use crate::pb::v1::{Artifact, UploadArtifactRequest, UploadHeader, upload_artifact_request::Part};

/// Bytes in a message; the contract allows 3 MiB.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Arguments of `filmgate upload`.
#[derive(Debug, clap::Args)]
pub(super) struct Upload {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What it is, for example image/png. Default: found by looking at the bytes.
    #[arg(long, value_name = "TYPE")]
    media_type: Option<String>,
}

impl ClientCommand for Upload {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let artifact = send(&context.connection, &self.file, self.media_type.as_deref().unwrap_or_default()).await?;
        match context.terminal.format {
            Format::Json => context.terminal.json_line(&json::of(&artifact)?)?,
            Format::Text => {
                let (media_type, size) = (&artifact.media_type, text::bytes(artifact.size_bytes));
                context.terminal.line(&format!("{} ({media_type}, {size})", artifact.name))?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// Uploads `path`. It is read twice: the hash goes first, so that the server notices a file that changes or breaks on the way.
pub(super) async fn send(connection: &Connection, path: &Path, media_type: &str) -> Result<Artifact, Failure> {
    let fail = |error: &io::Error| Failure::file(path, "read", error);
    let sha256 = hash(path).await.map_err(|error| fail(&error))?;
    let file = File::open(path).await.map_err(|error| fail(&error))?;
    let header = UploadHeader { media_type: media_type.to_owned(), sha256 };
    let broke = Arc::new(OnceLock::new());
    let request = Request::new(messages(header, file, Arc::clone(&broke)));
    let response = connection.artifacts().upload_artifact(request).await;
    if let Some(error) = broke.get() {
        return Err(fail(error));
    }
    let artifact = response?.into_inner().artifact;
    artifact.ok_or_else(|| Failure::new(Exit::Internal, "the server stored the file without naming it"))
}

async fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path).await?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut buffer).await? {
            0 => return Ok(hex::encode(hasher.finalize())),
            n_read => hasher.update(&buffer[..n_read]),
        }
    }
}

/// The header, then the bytes. A read error ends the stream, which the server refuses by the hash, and is left in `broke`.
fn messages(
    header: UploadHeader,
    file: File,
    broke: Arc<OnceLock<io::Error>>,
) -> impl Stream<Item = UploadArtifactRequest> + Send + 'static {
    stream::unfold((Some(header), file, broke), |(header, mut file, broke)| async move {
        if let Some(header) = header {
            return Some((message(Part::Header(header)), (None, file, broke)));
        }
        let mut data = Vec::with_capacity(CHUNK_BYTES);
        match (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut data).await {
            Ok(0) => None,
            Ok(_) => Some((message(Part::Data(data.into())), (None, file, broke))),
            Err(error) => {
                // Only this stream sets it, and only once.
                let _ = broke.set(error);
                None
            }
        }
    })
}

fn message(part: Part) -> UploadArtifactRequest {
    UploadArtifactRequest { part: Some(part) }
}
