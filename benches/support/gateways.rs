//! Gateways side by side, each on the server's core in front of the same vendor, and the vendor itself.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::{
    SERVER, durable,
    process::{Home, Process, free_addr, program},
};

/// Longest start of a gateway; one of them imports for half a minute on a busy core.
const PATIENCE: Duration = Duration::from_secs(120);

/// How the peers are installed, from the root of the repository.
pub(crate) const INSTALL: &str = "scripts/bench-peers";

/// Something that answers OpenAI's paths.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) name: &'static str,
    pub(crate) addr: SocketAddr,
    /// What it calls the model of conversations.
    pub(crate) chat_model: String,
    /// Further lines of each request's head.
    pub(crate) headers: String,
    /// None for the vendor itself, which is no process of its own.
    pub(crate) process: Option<Process>,
    /// What it was started with.
    _files: Option<TempDir>,
}

impl Gateway {
    /// The vendor, with nothing in between.
    pub(crate) fn direct(upstream: SocketAddr) -> Self {
        let headers = "authorization: Bearer sk-simulated\r\n".to_owned();
        Self { name: "direct", addr: upstream, chat_model: CHAT.to_owned(), headers, process: None, _files: None }
    }

    /// The release binary, everything on disk with `synchronous=FULL`.
    pub(crate) async fn filmgate(home: &Home) -> Result<Self> {
        let (process, _) = home.serve().await?;
        let headers = "authorization: Bearer sk-simulated\r\n".to_owned();
        // One that it knows; the vendor here does not look at the name.
        let (addr, chat_model) = (process.addr, "gpt-5.4-mini".to_owned());
        Ok(Self { name: "filmgate", addr, chat_model, headers, process: Some(process), _files: None })
    }

    /// The least that a durable gateway can do; it serves images and videos.
    pub(crate) async fn bare_durable(upstream: SocketAddr) -> Result<Self> {
        let files = TempDir::new()?;
        let upstream = upstream.to_string();
        let arguments = [upstream.as_ref(), files.path().as_os_str()];
        let process = Process::peer_on(durable::NAME, Some(SERVER), &arguments).await?;
        let (addr, chat_model, headers) = (process.addr, CHAT.to_owned(), String::new());
        Ok(Self { name: durable::NAME, addr, chat_model, headers, process: Some(process), _files: Some(files) })
    }

    /// crabllm as it is by default: nothing is recorded.
    pub(crate) async fn crabllm(upstream: SocketAddr) -> Result<Option<Self>> {
        let Some(binary) = installed("crabllm/bin/crabllm") else { return Ok(None) };
        let config = format!(
            "[providers.upstream]\nkind = \"openai\"\nbase_url = \"http://{upstream}/v1\"\napi_key = \"sk-simulated\"\n\
             models = [\"{CHAT}\", \"{IMAGE}\", \"{LINKED_IMAGE}\", \"{VIDEO}\"]\n"
        );
        let (files, config) = file("crabllm.toml", &config)?;
        let addr = free_addr()?;
        let mut command = program(&binary, Some(SERVER));
        command.args(["serve", "--bind", &addr.to_string(), "--config"]).arg(config);
        Self::start("crabllm", command, addr, String::new(), files).await.map(Some)
    }

    /// The proxy of LiteLLM with one worker, for it has one core; nothing is recorded.
    pub(crate) async fn litellm(upstream: SocketAddr) -> Result<Option<Self>> {
        let Some(binary) = installed("litellm/bin/litellm") else { return Ok(None) };
        let mut config = "model_list:\n".to_owned();
        // Of OpenAI's images it hands out addresses only for this older model; the vendor here does not look at the name.
        for (model, at_vendor) in [(CHAT, CHAT), (IMAGE, IMAGE), (LINKED_IMAGE, "dall-e-3"), (VIDEO, VIDEO)] {
            config += &format!(
                "- model_name: {model}\n  litellm_params:\n    model: openai/{at_vendor}\n    api_base: http://{upstream}/v1\n    \
                 api_key: sk-simulated\n"
            );
        }
        config += "litellm_settings:\n  telemetry: false\n  num_retries: 0\n";
        let (files, config) = file("litellm.yaml", &config)?;
        let addr = free_addr()?;
        let mut command = program(&binary, Some(SERVER));
        command.args(["--host", "127.0.0.1", "--port", &addr.port().to_string(), "--num_workers", "1", "--config"]);
        command.arg(config).envs([("LITELLM_LOG", "ERROR"), ("LITELLM_LOCAL_MODEL_COST_MAP", "True")]);
        Self::start("LiteLLM", command, addr, "authorization: Bearer sk-simulated\r\n".to_owned(), files)
            .await
            .map(Some)
    }

    /// Portkey's gateway on Node; nothing is recorded.
    pub(crate) async fn portkey(upstream: SocketAddr) -> Result<Option<Self>> {
        let Some(script) = installed("portkey/node_modules/@portkey-ai/gateway/build/start-server.js") else {
            return Ok(None);
        };
        let addr = free_addr()?;
        let mut command = program(Path::new("node"), Some(SERVER));
        command.arg(script).arg(format!("--port={}", addr.port())).arg("--headless");
        command.env("NODE_ENV", "production");
        let headers = format!(
            "authorization: Bearer sk-simulated\r\nx-portkey-provider: openai\r\nx-portkey-custom-host: http://{upstream}/v1\r\n"
        );
        Self::start("Portkey", command, addr, headers, TempDir::new()?).await.map(Some)
    }

    async fn start(
        name: &'static str,
        mut command: Command,
        addr: SocketAddr,
        headers: String,
        files: TempDir,
    ) -> Result<Self> {
        command.current_dir(files.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::listening(command, addr, PATIENCE).await?;
        let chat_model = CHAT.to_owned();
        Ok(Self { name, addr, chat_model, headers, process: Some(process), _files: Some(files) })
    }
}

pub(crate) const CHAT: &str = "gpt-4o-mini";
pub(crate) const IMAGE: &str = "gpt-image-1.5";
/// The model of images that are asked for by address.
pub(crate) const LINKED_IMAGE: &str = "gpt-image-1-mini";
pub(crate) const VIDEO: &str = "sora-2";

fn installed(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers").join(path);
    path.exists().then_some(path)
}

fn file(name: &str, text: &str) -> Result<(TempDir, PathBuf)> {
    let folder = TempDir::new()?;
    let path = folder.path().join(name);
    fs::write(&path, text).context("no configuration")?;
    Ok((folder, path))
}
