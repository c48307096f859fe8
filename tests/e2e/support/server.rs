//! `filmgate serve` as a process of its own, which can be killed and started again on the same folder.

use std::{
    collections::BTreeMap,
    fmt, fs,
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use filmgate::pb::v1::{
    GenerateVideoRequest, Generation, GetGenerationRequest, State, WatchGenerationRequest,
    artifact_service_client::ArtifactServiceClient, generation_service_client::GenerationServiceClient,
    model_service_client::ModelServiceClient, session_service_client::SessionServiceClient,
};
use tempfile::TempDir;
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep, timeout, timeout_at},
};
use tonic::{IntoRequest, Status, Streaming, transport::Channel};

#[cfg(feature = "failpoints")]
mod doom;

/// Longest wait for anything in a test that should happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// How to start servers on one data folder.
#[derive(Clone)]
pub(crate) struct Setup {
    folder: Arc<TempDir>,
    variables: BTreeMap<&'static str, String>,
}

impl Setup {
    /// Without any provider but the sample, with short waits.
    pub(crate) fn sample() -> Self {
        let setup = Self { folder: Arc::new(tempfile::tempdir().unwrap()), variables: BTreeMap::new() };
        setup
            .with("FILMGATE_SAMPLE_LATENCY", "50ms")
            .with("FILMGATE_POLL_INTERVAL", "20ms")
            .with("FILMGATE_POLL_INTERVAL_MAX", "100ms")
            .with("FILMGATE_RETRY_BASE", "20ms")
            .with("FILMGATE_DRAIN_DELAY", "0s")
            .with("FILMGATE_DRAIN_DEADLINE", "5s")
    }

    /// With Replicate at this base URL.
    pub(crate) fn replicate(base_url: &str) -> Self {
        Self::sample().with("REPLICATE_API_TOKEN", "r8_a_secret_token").with("FILMGATE_REPLICATE_BASE_URL", base_url)
    }

    /// And with this variable.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.insert(name, value.to_owned());
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A command of the binary, with nothing of this process's own settings.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_filmgate"));
        command.current_dir(self.folder.path()).env_clear();
        #[expect(clippy::disallowed_methods, reason = "a test has no settings of its own")]
        for name in ["PATH", "LLVM_PROFILE_FILE"] {
            if let Ok(value) = std::env::var(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", self.folder.path()).env("FILMGATE_DATA_DIR", self.data_dir());
        command.envs(&self.variables).stdin(Stdio::null());
        command
    }

    /// And with this file in the folder where servers are started.
    pub(crate) fn with_file(self, name: &str, content: &str) -> Self {
        fs::write(self.folder.path().join(name), content).unwrap();
        self
    }

    /// Starts a server and waits until it is ready.
    pub(crate) async fn start(&self) -> Server {
        self.start_with(&["--listen", "127.0.0.1:0"]).await
    }

    /// Starts a server with these flags and waits until it is ready.
    pub(crate) async fn start_with(&self, flags: &[&str]) -> Server {
        let mut server = self.spawn(flags);
        server.addr = server.ready().await.unwrap_or_else(|why| panic!("not ready ({why}):\n{}", self.log()));
        server
    }

    /// Starts a server that may die at a failpoint before it is ready; none if it did.
    pub(crate) async fn try_start(&self) -> Option<Server> {
        let mut server = self.spawn(&["--listen", "127.0.0.1:0"]);
        server.addr = match server.ready().await {
            Ok(addr) => addr,
            Err(Unready::Ended(status)) if was_killed(status) => return None,
            Err(why) => panic!("not ready ({why}):\n{}", self.log()),
        };
        Some(server)
    }

    fn spawn(&self, flags: &[&str]) -> Server {
        // Where the last one listened may be somebody else's port by now.
        if let Ok(lock) = fs::File::options().write(true).open(self.data_dir().join("lock")) {
            lock.set_len(0).unwrap();
        }
        let log = fs::File::options().create(true).append(true).open(self.log_file()).unwrap();
        let child = self
            .command()
            .arg("serve")
            .args(flags)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        Server { child, setup: self.clone(), addr, channel: OnceCell::new() }
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

/// A server of its own process. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    setup: Setup,
    addr: SocketAddr,
    channel: OnceCell<Channel>,
}

impl Server {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: nothing is written, nothing is said. It may be dead already, by a failpoint or as it was asked to; any other end is a defect.
    pub(crate) fn kill(mut self) -> Setup {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert!(was_killed(status) || status.success(), "{status}:\n{}", self.setup.log());
        self.setup.clone()
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// SIGTERM; then the exit code.
    pub(crate) async fn stop(mut self) -> Option<i32> {
        self.terminate();
        self.ended().await
    }

    /// What `/readyz` says.
    pub(crate) async fn readyz(&self) -> reqwest::StatusCode {
        reqwest::get(format!("http://{}/readyz", self.addr)).await.expect("an answer").status()
    }

    /// The bytes of the generation's first artifact.
    pub(crate) async fn bytes(&self, generation: &Generation) -> reqwest::Response {
        reqwest::get(format!("http://{}{}", self.addr, generation.artifacts[0].http_path)).await.unwrap()
    }

    /// Waits for the process to end by itself; its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let end = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < end, "the server does not end:\n{}", self.setup.log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// One connection for all calls, as a client has it. It is made with the first, which fails if the server is gone.
    pub(crate) async fn channel(&self) -> Channel {
        let connect = async { Channel::from_shared(format!("http://{}", self.addr)).unwrap().connect_lazy() };
        self.channel.get_or_init(|| connect).await.clone()
    }

    pub(crate) async fn generations(&self) -> GenerationServiceClient<Channel> {
        GenerationServiceClient::new(self.channel().await)
    }

    pub(crate) async fn sessions(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.channel().await)
    }

    pub(crate) async fn artifacts(&self) -> ArtifactServiceClient<Channel> {
        ArtifactServiceClient::new(self.channel().await)
    }

    pub(crate) async fn models(&self) -> ModelServiceClient<Channel> {
        ModelServiceClient::new(self.channel().await)
    }

    pub(crate) async fn get(&self, name: &str) -> Generation {
        let request = GetGenerationRequest { name: name.to_owned() };
        self.generations().await.get_generation(request).await.unwrap().into_inner().generation.unwrap()
    }

    /// Orders a video and hangs up as soon as it is stored.
    pub(crate) async fn order(&self, request: impl IntoRequest<GenerateVideoRequest>) -> Result<Generation, Status> {
        let mut stream = self.generations().await.generate_video(request).await?.into_inner();
        Ok(stream.message().await?.expect("a first snapshot").generation.unwrap())
    }

    /// Orders a video and watches it to its end.
    pub(crate) async fn generate(&self, request: impl IntoRequest<GenerateVideoRequest>) -> Result<Generation, Status> {
        let first = self.order(request).await?;
        Ok(self.end_of(&first.name).await)
    }

    /// Watches a generation until `done`.
    pub(crate) async fn until(&self, name: &str, done: impl Fn(&Generation) -> bool) -> Generation {
        let request = WatchGenerationRequest { name: name.to_owned(), after_sequence: 0 };
        let mut stream = self.generations().await.watch_generation(request).await.unwrap().into_inner();
        let mut last: Option<Generation> = None;
        // Silence is broken by repetitions, which are nothing new.
        let mut end = Instant::now() + SOON;
        loop {
            let message = match timeout_at(end, stream.message()).await {
                Ok(message) => message.unwrap(),
                Err(_) => panic!("nothing new after {last:?}\n{}", self.setup.log()),
            };
            let Some(message) = message else { panic!("it ended as {last:?}\n{}", self.setup.log()) };
            let generation = message.generation.unwrap();
            if done(&generation) {
                return generation;
            }
            if last.is_none_or(|last| last.sequence < generation.sequence) {
                end = Instant::now() + SOON;
            }
            last = Some(generation);
        }
    }

    pub(crate) async fn end_of(&self, name: &str) -> Generation {
        self.until(name, is_terminal).await
    }

    async fn ready(&mut self) -> Result<SocketAddr, Unready> {
        let end = Instant::now() + SOON;
        let http = reqwest::Client::new();
        loop {
            let addr = fs::read_to_string(self.setup.data_dir().join("lock"));
            if let Some(addr) = addr.ok().and_then(|text| text.trim().parse::<SocketAddr>().ok())
                && let Ok(answer) = http.get(format!("http://{addr}/readyz")).send().await
                && answer.status().is_success()
            {
                return Ok(addr);
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(Unready::Ended(status));
            }
            if Instant::now() >= end {
                return Err(Unready::Late);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why a server does not answer.
#[derive(Debug)]
enum Unready {
    Ended(ExitStatus),
    Late,
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(status) => write!(f, "it ended: {status}"),
            Self::Late => f.write_str("it takes too long"),
        }
    }
}

/// By SIGKILL.
fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

pub(crate) fn is_terminal(generation: &Generation) -> bool {
    matches!(generation.state(), State::Succeeded | State::Failed | State::Cancelled)
}

/// A request of nothing but a prompt.
pub(crate) fn video(prompt: &str) -> GenerateVideoRequest {
    GenerateVideoRequest { prompt: prompt.to_owned(), ..GenerateVideoRequest::default() }
}

/// All snapshots of a stream, to its end.
pub(crate) async fn snapshots(mut stream: Streaming<filmgate::pb::v1::GenerateVideoResponse>) -> Vec<Generation> {
    let mut all = Vec::new();
    while let Some(message) = timeout(SOON, stream.message()).await.expect("a message in time").unwrap() {
        all.push(message.generation.unwrap());
    }
    all
}
