//! A real OTLP collector, rotel, that prints what it receives.

use std::{env, ffi::OsString, net::TcpListener as PortFinder, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    sync::mpsc,
    task::JoinSet,
    time,
};

/// Reaching it fails a test; nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Receives OTLP over gRPC. Ends when dropped.
pub(crate) struct Collector {
    _process: Child,
    port: u16,
    /// Read as it comes: rotel answers nobody while nobody takes what it prints.
    output: mpsc::UnboundedReceiver<String>,
    _reader: JoinSet<()>,
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
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (print, output) = mpsc::unbounded_channel();
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = print.send(line);
            }
        });
        let listening = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                assert_eq!(process.try_wait().unwrap(), None, "rotel ended early");
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        time::timeout(PATIENCE, listening).await.expect("rotel listens");
        Self { _process: process, port, output, _reader: reader, seen: String::new() }
    }

    /// Where to send to.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns what was received so far, once that holds each of these texts. White space is folded.
    pub(crate) async fn received(&mut self, expected: &[&str]) -> &str {
        let missing = |seen: &str| expected.iter().filter(|text| !seen.contains(**text)).copied().collect::<Vec<_>>();
        if !self.comes(|seen| missing(seen).is_empty()).await {
            panic!("the collector never received {:?}, but:\n{}", missing(&self.seen), self.seen);
        }
        &self.seen
    }

    /// Returns the spans received so far, once they are as wished. A span is sent when it ends.
    pub(crate) async fn spans(&mut self, wish: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        assert!(self.comes(|seen| wish(&Span::all(seen))).await, "the collector only received:\n{}", self.seen);
        Span::all(&self.seen)
    }

    /// Returns once a metric of this name was received with this value.
    pub(crate) async fn metric(&mut self, name: &str, value: u64) {
        let (name_line, value_line) = (format!("-> Name: {name}"), format!("Value: {value}"));
        let has = |metric: &str, wanted: &str| metric.lines().any(|line| line == wanted);
        let is_it = |metric: &str| has(metric, &name_line) && has(metric, &value_line);
        let comes = self.comes(|seen| seen.split("\nMetric #").any(is_it)).await;
        assert!(comes, "{name} was never {value}:\n{}", self.seen);
    }

    /// Reads on until what was received is as wished; false if it never is.
    async fn comes(&mut self, wish: impl Fn(&str) -> bool) -> bool {
        let deadline = time::Instant::now() + PATIENCE;
        while !wish(&self.seen) {
            let Ok(line) = time::timeout_at(deadline, self.output.recv()).await else { return false };
            let mut line = Some(line.expect("rotel goes on"));
            // Looking at everything anew is dear, so all that has come already is read before.
            while let Some(text) = line {
                self.seen.push_str(&text.split_whitespace().collect::<Vec<_>>().join(" "));
                self.seen.push('\n');
                line = self.output.try_recv().ok();
            }
        }
        true
    }
}

/// A span as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) trace: String,
    /// Empty for the first of a trace.
    pub(crate) parent: String,
    pub(crate) id: String,
    pub(crate) name: String,
    /// All of it, one attribute a line.
    pub(crate) text: String,
}

impl Span {
    fn all(seen: &str) -> Vec<Self> {
        // The last one may still be on its way: it is whole when its link or end is followed by something else.
        seen.split("\nSpan #").skip(1).filter_map(Self::read).collect()
    }

    fn read(text: &str) -> Option<Self> {
        let value = |label: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(label))
                .map(|value| value.trim_start_matches([' ', ':']).to_owned())
        };
        Some(Self {
            trace: value("Trace ID :")?,
            parent: value("Parent ID :")?,
            id: value("ID :")?,
            name: value("Name :")?,
            text: text.to_owned(),
        })
    }

    /// Whether it has this attribute.
    pub(crate) fn has(&self, attribute: &str) -> bool {
        self.text.lines().any(|line| line.strip_prefix("-> ") == Some(attribute))
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
