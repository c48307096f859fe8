//! `filmgate serve` as a process of its own, which can be killed and started again on the same folder.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
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
        let log = fs::File::options().create(true).append(true).open(self.log_file()).unwrap();
        let child = self
            .command()
            .arg("serve")
            .args(flags)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut server = Server {
            child,
            setup: self.clone(),
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            channel: OnceCell::new(),
        };
        server.addr = server.ready().await;
        server
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

    /// SIGKILL: nothing is written, nothing is said.
    pub(crate) fn kill(mut self) -> Setup {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
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

    /// One connection for all calls, as a client has it.
    pub(crate) async fn channel(&self) -> Channel {
        let connect = async {
            let endpoint = Channel::from_shared(format!("http://{}", self.addr)).unwrap();
            timeout(SOON, endpoint.connect()).await.unwrap().expect("the server answers")
        };
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
        let mut last = None;
        // Snapshots that say nothing new come again and again.
        let end = Instant::now() + 4 * SOON;
        loop {
            let message = match timeout_at(end.min(Instant::now() + SOON), stream.message()).await {
                Ok(message) => message.unwrap(),
                Err(_) => panic!("nothing new after {last:?}\n{}", self.setup.log()),
            };
            let Some(message) = message else { panic!("it ended as {last:?}\n{}", self.setup.log()) };
            let generation = message.generation.unwrap();
            if done(&generation) {
                return generation;
            }
            last = Some(generation);
        }
    }

    pub(crate) async fn end_of(&self, name: &str) -> Generation {
        self.until(name, is_terminal).await
    }

    async fn ready(&mut self) -> SocketAddr {
        let end = Instant::now() + SOON;
        let http = reqwest::Client::new();
        loop {
            let addr = fs::read_to_string(self.setup.data_dir().join("lock"));
            if let Some(addr) = addr.ok().and_then(|text| text.trim().parse::<SocketAddr>().ok())
                && let Ok(answer) = http.get(format!("http://{addr}/readyz")).send().await
                && answer.status().is_success()
            {
                return addr;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "not ready ({ended:?}):\n{}", self.setup.log());
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
