//! A real OTLP collector, rotel, that prints what it receives.

use std::{env, ffi::OsString, net::TcpListener as PortFinder, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdout, Command},
    time,
};

/// Reaching it fails a test; nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Receives OTLP over gRPC. Ends when dropped.
pub(crate) struct Collector {
    _process: Child,
    port: u16,
    output: Lines<BufReader<ChildStdout>>,
    seen: String,
}

impl Collector {
    /// Starts it and waits until it accepts connections.
    ///
    /// It comes with the Python package `rotel`, which must be installed where `FILMGATE_TEST_PYTHON` (else `python3`) looks.
    pub(crate) async fn start() -> Self {
        let (port, http_port) = (free_port(), free_port());
        let mut process = Command::new(executable().await)
            .args(["start", "--exporter", "blackhole"])
            .args(["--debug-log", "traces", "--debug-log", "metrics", "--debug-log-verbosity", "detailed"])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{port}")])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http_port}")])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("rotel starts");
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        let listening = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                assert_eq!(process.try_wait().unwrap(), None, "rotel ended early");
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        time::timeout(PATIENCE, listening).await.expect("rotel listens");
        Self { _process: process, port, output, seen: String::new() }
    }

    /// Where to send to.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns what was received so far, once that holds each of these texts. White space is folded.
    pub(crate) async fn received(&mut self, expected: &[&str]) -> &str {
        let deadline = time::Instant::now() + PATIENCE;
        while !expected.iter().all(|text| self.seen.contains(text)) {
            let Ok(line) = time::timeout_at(deadline, self.output.next_line()).await else {
                let missing: Vec<_> = expected.iter().filter(|text| !self.seen.contains(**text)).collect();
                panic!("the collector never received {missing:?}, but:\n{}", self.seen);
            };
            let line = line.unwrap().expect("rotel goes on");
            self.seen.push_str(&line.split_whitespace().collect::<Vec<_>>().join(" "));
            self.seen.push('\n');
        }
        &self.seen
    }
}

async fn executable() -> OsString {
    let python = env::var_os("FILMGATE_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let ask = "import pathlib, rotel; print(pathlib.Path(rotel.__file__).with_name('rotel-agent'), end='')";
    let answer = Command::new(python).args(["-c", ask]).output().await.expect("Python starts");
    let errors = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "install the Python package rotel, or set FILMGATE_TEST_PYTHON: {errors}");
    String::from_utf8(answer.stdout).expect("a path").into()
}

fn free_port() -> u16 {
    PortFinder::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
