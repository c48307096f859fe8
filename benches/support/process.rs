//! Processes under measurement: the release binary with a folder of its own, and peers, which are the benchmark itself with an argument.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

/// Longest wait for a process to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that ends with this handle.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
}

/// A folder for servers, one after the other, and their settings.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
    core: Option<usize>,
    variables: BTreeMap<&'static str, String>,
}

impl Home {
    /// An empty folder. What is logged is what a server logs by default.
    pub(crate) fn new() -> Result<Self> {
        let home = Self { folder: tempfile::tempdir()?, core: None, variables: BTreeMap::new() };
        Ok(home.with("FILMGATE_DRAIN_DELAY", "0s"))
    }

    /// And with this variable.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.insert(name, value.into());
        self
    }

    /// And its servers on this core alone.
    pub(crate) fn on_core(self, core: usize) -> Self {
        Self { core: Some(core), ..self }
    }

    /// With the simulated Replicate at this base URL, as many jobs at once as are asked for, and no limit on the unfinished.
    pub(crate) fn with_replicate(self, base_url: String) -> Self {
        self.with("REPLICATE_API_TOKEN", "r8_simulated")
            .with("FILMGATE_REPLICATE_BASE_URL", base_url)
            .with("FILMGATE_CONCURRENCY", "20000")
            .with("FILMGATE_MAX_UNFINISHED", "1000000")
    }

    /// With a vendor that speaks OpenAI's language at this base URL, as many jobs at once as are asked for, looked at without delay.
    pub(crate) fn with_openai(self, base_url: String) -> Self {
        self.with("OPENAI_API_KEY", "sk-simulated")
            .with("OPENAI_BASE_URL", base_url)
            .with("FILMGATE_CONCURRENCY", "20000")
            .with("FILMGATE_MAX_UNFINISHED", "1000000")
            .with("FILMGATE_POLL_INTERVAL", "50ms")
            .with("FILMGATE_POLL_INTERVAL_MAX", "50ms")
    }

    /// On this database, with artifacts in this folder, which all servers on the database share; what a dead server had is taken over after `lease`.
    pub(crate) fn with_database(self, url: &str, artifacts: &Path, lease: Duration) -> Self {
        self.with("FILMGATE_DATABASE_URL", url)
            .with("FILMGATE_ARTIFACTS_URL", format!("file://{}", artifacts.display()))
            .with("FILMGATE_LEASE", format!("{}ms", lease.as_millis()))
    }

    /// For one more server with the same settings.
    pub(crate) fn beside(&self) -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()?, core: self.core, variables: self.variables.clone() })
    }

    /// The name of the server on this folder among those on its database.
    pub(crate) fn name(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("data/process"))?.trim().to_owned())
    }

    /// Starts a server and waits until it is ready; also the time from its start to its first good answer from `/readyz`.
    pub(crate) async fn serve(&self) -> Result<(Process, Duration)> {
        let addr = free_addr()?;
        let log = fs::File::options().create(true).append(true).open(self.log_file())?;
        let mut command = binary(self.folder.path(), self.core);
        command.env("FILMGATE_DATA_DIR", self.folder.path().join("data")).envs(&self.variables);
        command.args(["serve", "--listen", &addr.to_string()]).stdout(log.try_clone()?).stderr(log);
        let start = Instant::now();
        let mut process = Process { child: command.spawn()?, addr };
        process
            .answers("/readyz")
            .await
            .with_context(|| format!("the server's log is {}", self.log_file().display()))?;
        Ok((process, start.elapsed()))
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }
}

impl Process {
    /// `filmgate simulate` with these flags.
    pub(crate) async fn simulator(flags: &[&str]) -> Result<Self> {
        let addr = free_addr()?;
        let mut command = binary(Path::new("/"), None);
        command.args(["simulate", "--listen", &addr.to_string()]).args(flags);
        let mut process = Self { child: command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?, addr };
        process.answers("/_control/counts").await?;
        Ok(process)
    }

    /// This benchmark as a peer of that name: its `main` serves on the address in its second argument.
    pub(crate) async fn peer(name: &str) -> Result<Self> {
        Self::peer_on(name, None, &[]).await
    }

    /// Such a peer on one core, if one is named, with these further arguments.
    pub(crate) async fn peer_on(name: &str, core: Option<usize>, arguments: &[&OsStr]) -> Result<Self> {
        let addr = free_addr()?;
        let mut command = program(&std::env::current_exe()?, core);
        command.args([name, &addr.to_string()]).args(arguments);
        Self::listening(command, addr, PATIENCE).await
    }

    /// Starts a program that is to listen on `addr`, and waits until it does.
    pub(crate) async fn listening(mut command: Command, addr: SocketAddr, patience: Duration) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("{command:?} does not start"))?;
        let mut process = Self { child, addr };
        let start = Instant::now();
        while TcpStream::connect(addr).await.is_err() {
            if let Some(status) = process.child.try_wait()? {
                bail!("{command:?} ended: {status}");
            }
            if start.elapsed() > patience {
                bail!("{command:?} does not listen");
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(process)
    }

    /// Bytes of memory in use now.
    pub(crate) fn rss(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// Most bytes of memory that were ever in use.
    pub(crate) fn peak_rss(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// Time on any core so far, in steps of 10 ms.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu_with_gone_children(self.child.id())
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn status(&self, key: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)).context("no such figure in /proc")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }

    /// Asks once a millisecond until the answer is 200.
    async fn answers(&mut self, path: &str) -> Result<()> {
        let start = Instant::now();
        while !asked(self.addr, path).await.unwrap_or(false) {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {status}");
            }
            if start.elapsed() > PATIENCE {
                bail!("no answer within {PATIENCE:?}");
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The address after the name of a peer in the arguments of this process, if it is to be one.
pub(crate) fn peer_asked_for() -> Option<(String, SocketAddr)> {
    let mut arguments = std::env::args().skip(1);
    Some((arguments.next()?, arguments.next()?.parse().ok()?))
}

/// Time on any core that a process and its children that have ended took, in steps of 10 ms.
pub(crate) fn cpu_with_gone_children(id: u32) -> Result<Duration> {
    // User and system time, of the process and of its children, are the 14th to the 17th field.
    let ticks: Vec<u64> = stat(id)?.split_whitespace().skip(11).take(4).flat_map(str::parse).collect();
    Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
}

/// The process that started this one.
pub(crate) fn parent(id: u32) -> Result<u32> {
    Ok(stat(id)?.split_whitespace().nth(1).context("a process without a parent")?.parse()?)
}

/// What Linux tells of a process, from the third field on: the name before it, in parentheses, may hold spaces.
fn stat(id: u32) -> Result<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("a malformed stat")?;
    Ok(fields.to_owned())
}

/// A program, on one core alone if one is named.
pub(crate) fn program(path: &Path, core: Option<usize>) -> Command {
    let Some(core) = core else { return Command::new(path) };
    // It becomes the program, so that the process is the program's.
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(path);
    command
}

/// Keeps this process, its threads to come and what it starts on one core, unless told otherwise.
pub(crate) fn stay_on(core: usize) -> Result<()> {
    let mut command = Command::new("taskset");
    command.args(["-a", "-c", "-p", &core.to_string(), &std::process::id().to_string()]).stdout(Stdio::null());
    let status = command.status().context("taskset is missing: apt-get install util-linux")?;
    ensure!(status.success(), "this process cannot be kept on core {core}: {status}");
    Ok(())
}

/// The binary, with nothing of this process's own settings.
fn binary(folder: &Path, core: Option<usize>) -> Command {
    let mut command = program(Path::new(env!("CARGO_BIN_EXE_filmgate")), core);
    command.current_dir(folder).env_clear().env("HOME", folder).stdin(Stdio::null());
    command
}

/// A port that nobody listens on.
pub(crate) fn free_addr() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

async fn asked(addr: SocketAddr, path: &str) -> Result<bool> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    Ok(&start == b"HTTP/1.1 200")
}
