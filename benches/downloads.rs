//! Downloads: bytes a second over HTTP/1.1 beside nginx with sendfile, and over gRPC beside a bare tonic stream from a file; and what the
//! server's memory grows by meanwhile. Callers are kept on one core, the server on another.
//! Run: `cargo bench --bench downloads [-- ROUNDS]`; it needs nginx (`apt-get install nginx-light`) and taskset (`util-linux`).

mod support;

use std::{
    fs::{self, File},
    future::ready,
    io::{self, Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use filmgate::pb::v1::{
    self,
    artifact_service_client::ArtifactServiceClient,
    artifact_service_server::{ArtifactService, ArtifactServiceServer},
    download_artifact_response::Part as Down,
    upload_artifact_request::Part as Up,
};
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use support::{
    Bar, CALLERS, Report, SERVER, argument,
    load::connections,
    median, mib,
    process::{Home, Process, free_addr, peer_asked_for, program, stay_on},
};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet, time::Instant};
use tokio_util::io::ReaderStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

const CASES: [Case; 2] = [
    Case { n_bytes: 100 << 20, n_readers: 8, n_times: 4, most_growth: None },
    Case { n_bytes: 500 << 20, n_readers: 16, n_times: 1, most_growth: Some(64.0) },
];
const OVER_GRPC: Case = Case { n_bytes: 100 << 20, n_readers: 4, n_times: 4, most_growth: None };
/// As large as a message of filmgate's.
const CHUNK_BYTES: usize = 512 << 10;

/// A file, how many read it at once, a connection each, and how often each does in a round.
struct Case {
    n_bytes: u64,
    n_readers: usize,
    n_times: usize,
    /// Of the server's memory, in MiB.
    most_growth: Option<f64>,
}

fn main() -> Result<()> {
    if let Some((_, addr)) = peer_asked_for() {
        let file = PathBuf::from(std::env::args_os().nth(3).context("no file to serve")?);
        let service = ArtifactServiceServer::new(Bare { file });
        return Ok(tokio::runtime::Runtime::new()?.block_on(Server::builder().add_service(service).serve(addr))?);
    }
    stay_on(CALLERS)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(argument(0, 5)))
}

async fn measure(n_rounds: u64) -> Result<()> {
    let files = TempDir::new()?;
    let home = Home::new()?.on_core(SERVER);
    let (server, _) = home.serve().await?;
    let mut artifacts = Vec::new();
    for case in &CASES {
        let file = file_of(case, files.path());
        silence(&file, case.n_bytes)?;
        artifacts.push(upload(&server, &file).await?);
    }
    drop(server);

    for (case, artifact) in CASES.iter().zip(&artifacts) {
        let mut nginx = Measured::new("nginx, sendfile", nginx(files.path()).await?)?;
        // Fresh, so that nothing but the downloads is in its memory.
        let mut ours = Measured::new("filmgate", home.serve().await?.0)?;
        for n in 0..=n_rounds {
            nginx.run(case, n > 0, async |addr| get(addr, &format!("/{}", case.n_bytes), case).await).await?;
            ours.run(case, n > 0, async |addr| get(addr, &format!("/{artifact}"), case).await).await?;
        }
        report("HTTP/1.1", case, n_rounds, &nginx, &ours, 1.0)?;
    }

    let file = file_of(&OVER_GRPC, files.path());
    let peer = Process::peer_on("bare", Some(SERVER), &[file.as_os_str()]).await?;
    let mut bare = Measured::new("bare tonic, from a file", peer)?;
    let mut ours = Measured::new("filmgate", home.serve().await?.0)?;
    for n in 0..=n_rounds {
        for server in [&mut bare, &mut ours] {
            server.run(&OVER_GRPC, n > 0, async |addr| download(addr, &artifacts[0], &OVER_GRPC).await).await?;
        }
    }
    report("gRPC", &OVER_GRPC, n_rounds, &bare, &ours, 0.9)
}

/// A server and what was read of it.
struct Measured {
    name: &'static str,
    process: Process,
    rss: u64,
    cpu: Duration,
    /// Bytes a second.
    rates: Vec<f64>,
}

impl Measured {
    fn new(name: &'static str, process: Process) -> Result<Self> {
        let rss = process.rss()?;
        Ok(Self { name, process, rss, cpu: Duration::ZERO, rates: Vec::new() })
    }

    /// One round, of which the first only warms up.
    async fn run(&mut self, case: &Case, counts: bool, read: impl AsyncFn(SocketAddr) -> Result<()>) -> Result<()> {
        let (start, cpu) = (Instant::now(), self.process.cpu()?);
        read(self.process.addr).await.with_context(|| self.name)?;
        if counts {
            self.cpu += self.process.cpu()? - cpu;
            self.rates.push(case.round_bytes() / start.elapsed().as_secs_f64());
        }
        Ok(())
    }

    fn growth(&self) -> Result<u64> {
        Ok(self.process.peak_rss()?.saturating_sub(self.rss))
    }

    fn row(&self, report: &Report, case: &Case) -> Result<()> {
        let gigabytes = case.round_bytes() * self.rates.len() as f64 / 1e9;
        report.row(&[
            self.name.to_owned(),
            format!("{:.0}", median(self.rates.clone()) / 1e6),
            format!("{:.0}", self.cpu.as_secs_f64() * 1e3 / gigabytes),
            mib(self.process.peak_rss()?),
            mib(self.growth()?),
        ]);
        Ok(())
    }
}

impl Case {
    fn round_bytes(&self) -> f64 {
        self.n_bytes as f64 * (self.n_readers * self.n_times) as f64
    }
}

fn report(protocol: &str, case: &Case, n_rounds: u64, peer: &Measured, ours: &Measured, bar: f64) -> Result<()> {
    let Case { n_bytes, n_readers, .. } = case;
    let title = format!("{protocol}: {} MiB × {n_readers} at once, {n_rounds} alternating rounds", n_bytes >> 20);
    let report = Report::new(title, &["", "MB/s", "CPU ms a GB", "peak RSS MiB", "growth MiB"]);
    peer.row(&report, case)?;
    ours.row(&report, case)?;
    let ratio = median(ours.rates.clone()) / median(peer.rates.clone());
    report.verdict(format!("filmgate / {}, bytes a second", peer.name), ratio, "", Bar::AtLeast(bar));
    if let Some(most) = case.most_growth {
        let growth = ours.growth()? as f64 / f64::from(1 << 20);
        report.verdict("growth of memory", growth, " MiB", Bar::AtMost(most));
    }
    Ok(())
}

/// nginx on the server's core, serving the files of a folder by sendfile.
async fn nginx(files: &Path) -> Result<Process> {
    let addr = free_addr()?;
    let folder = files.display();
    let config = format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
         events {{ worker_connections 256; }}
         http {{
             access_log off; sendfile on; tcp_nopush on; client_body_temp_path {folder}/body;
             proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
             server {{ listen {addr}; root {folder}; }}
         }}"
    );
    let file = files.join("nginx.conf");
    fs::write(&file, config)?;
    let mut command = program(Path::new("nginx"), Some(SERVER));
    command.args(["-e".as_ref(), files.join("nginx.log").as_os_str(), "-c".as_ref(), file.as_os_str()]);
    let nginx = Process::listening(command, addr, Duration::from_secs(5)).await;
    nginx.context("nginx is needed: apt-get install nginx-light")
}

/// Every reader reads the file as often as it is to, and throws it away.
async fn get(addr: SocketAddr, path: &str, case: &Case) -> Result<()> {
    let (n_bytes, n_times) = (case.n_bytes, case.n_times);
    let mut readers = JoinSet::new();
    for _ in 0..case.n_readers {
        let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n");
        readers.spawn(async move {
            let mut stream = TcpStream::connect(addr).await?;
            let mut buffer = vec![0; 256 << 10];
            for _ in 0..n_times {
                stream.write_all(request.as_bytes()).await?;
                let n_read = read_answer(&stream, &mut buffer, n_bytes).await?;
                ensure!(n_read == n_bytes, "{n_read} bytes of {n_bytes} came");
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = readers.join_next().await {
        done??;
    }
    Ok(())
}

/// How many bytes of a body of so many came.
async fn read_answer(stream: &TcpStream, buffer: &mut [u8], n_bytes: u64) -> Result<u64> {
    let mut n_head = 0;
    let head_end = loop {
        n_head += read_some(stream, &mut buffer[n_head..]).await?;
        if let Some(at) = buffer[..n_head].windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    ensure!(buffer.starts_with(b"HTTP/1.1 200"), "not served: {}", String::from_utf8_lossy(&buffer[..head_end]));
    let mut n_read = (n_head - head_end) as u64;
    while n_read < n_bytes {
        n_read += read_some(stream, buffer).await? as u64;
    }
    Ok(n_read)
}

async fn read_some(stream: &TcpStream, buffer: &mut [u8]) -> Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Ok(0) => bail!("it hung up"),
            Ok(n) => return Ok(n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The same over gRPC.
async fn download(addr: SocketAddr, artifact: &str, case: &Case) -> Result<()> {
    let mut readers = JoinSet::new();
    for channel in connections(addr, case.n_readers).await? {
        let client = ArtifactServiceClient::new(channel).max_decoding_message_size(4 * CHUNK_BYTES);
        let (name, n_bytes, n_times) = (artifact.to_owned(), case.n_bytes, case.n_times);
        readers.spawn(async move {
            for _ in 0..n_times {
                let request = v1::DownloadArtifactRequest { name: name.clone(), ..Default::default() };
                let parts = client.clone().download_artifact(request).await?.into_inner();
                let n_read = parts.try_fold(0, async |sum, message| Ok(sum + n_bytes_of(&message))).await?;
                ensure!(n_read == n_bytes, "{n_read} bytes of {n_bytes} came");
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = readers.join_next().await {
        done??;
    }
    Ok(())
}

fn n_bytes_of(message: &v1::DownloadArtifactResponse) -> u64 {
    match &message.part {
        Some(Down::Chunk(chunk)) => chunk.data.len() as u64,
        Some(Down::Artifact(_)) | None => 0,
    }
}

fn file_of(case: &Case, folder: &Path) -> PathBuf {
    folder.join(case.n_bytes.to_string())
}

/// A WAV file of `n_bytes`, which must leave room for its header.
fn silence(path: &Path, n_bytes: u64) -> Result<()> {
    const HEADER_BYTES: u32 = 44;
    let size = u32::try_from(n_bytes)?;
    let mut file = File::create(path)?;
    let (rate, n_channels, bits) = (48_000_u32, 2_u16, 16_u16);
    file.write_all(b"RIFF")?;
    file.write_all(&(size - 8).to_le_bytes())?;
    file.write_all(b"WAVEfmt ")?;
    file.write_all(&16_u32.to_le_bytes())?;
    file.write_all(&1_u16.to_le_bytes())?;
    file.write_all(&n_channels.to_le_bytes())?;
    file.write_all(&rate.to_le_bytes())?;
    file.write_all(&(rate * 4).to_le_bytes())?;
    file.write_all(&4_u16.to_le_bytes())?;
    file.write_all(&bits.to_le_bytes())?;
    file.write_all(b"data")?;
    file.write_all(&(size - HEADER_BYTES).to_le_bytes())?;
    // Written out, for a file with holes would be read faster.
    io::copy(&mut io::repeat(0).take(n_bytes - u64::from(HEADER_BYTES)), &mut file)?;
    Ok(file.sync_all()?)
}

/// The name of the artifact that a file became.
async fn upload(server: &Process, file: &Path) -> Result<String> {
    let channel = connections(server.addr, 1).await?.remove(0);
    let header = v1::UploadArtifactRequest { part: Some(Up::Header(v1::UploadHeader::default())) };
    let bytes = ReaderStream::with_capacity(tokio::fs::File::open(file).await?, CHUNK_BYTES);
    // A file that cannot be read any more ends the upload early, and the server then refuses it.
    let data = bytes.filter_map(async |data| Some(v1::UploadArtifactRequest { part: Some(Up::Data(data.ok()?)) }));
    let parts = stream::once(ready(header)).chain(data.boxed());
    let uploaded = ArtifactServiceClient::new(channel).upload_artifact(parts).await?.into_inner();
    Ok(uploaded.artifact.context("no artifact")?.name)
}

/// The peer: reads its file as tokio does, in chunks as large as ours.
struct Bare {
    file: PathBuf,
}

#[tonic::async_trait]
impl ArtifactService for Bare {
    type DownloadArtifactStream = BoxStream<'static, Result<v1::DownloadArtifactResponse, Status>>;

    async fn download_artifact(
        &self,
        _: Request<v1::DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let mut file = tokio::fs::File::open(&self.file).await?;
        file.set_max_buf_size(CHUNK_BYTES);
        let chunks = ReaderStream::with_capacity(file, CHUNK_BYTES).map(|data| {
            let chunk = v1::Chunk { offset: 0, data: data? };
            Ok(v1::DownloadArtifactResponse { part: Some(Down::Chunk(chunk)) })
        });
        Ok(Response::new(chunks.boxed()))
    }

    async fn get_artifact(
        &self,
        _: Request<v1::GetArtifactRequest>,
    ) -> Result<Response<v1::GetArtifactResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn list_artifacts(
        &self,
        _: Request<v1::ListArtifactsRequest>,
    ) -> Result<Response<v1::ListArtifactsResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn upload_artifact(
        &self,
        _: Request<Streaming<v1::UploadArtifactRequest>>,
    ) -> Result<Response<v1::UploadArtifactResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn create_artifact_link(
        &self,
        _: Request<v1::CreateArtifactLinkRequest>,
    ) -> Result<Response<v1::CreateArtifactLinkResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn delete_artifact(
        &self,
        _: Request<v1::DeleteArtifactRequest>,
    ) -> Result<Response<v1::DeleteArtifactResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}
