//! The real commands against a scripted server: arguments in, output and exit code out.

mod arguments;
mod files;
mod following;
mod server;
mod single_calls;

use std::{
    ffi::OsString,
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::sync::Notify;

use super::{Exit, Interrupt, Patience, Surroundings, Terminal};

/// What a command wrote, as it writes it.
#[derive(Debug, Clone, Default)]
struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    written: Arc<Notify>,
}

impl Capture {
    fn text(&self) -> String {
        String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Capture {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.bytes.lock().unwrap().extend_from_slice(data);
        self.written.notify_one();
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    exit: Exit,
    out: String,
    err: String,
}

impl Ended {
    /// Stdout as JSON lines.
    fn json(&self) -> Vec<serde_json::Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
    }

    /// Stderr as JSON lines.
    fn json_err(&self) -> Vec<serde_json::Value> {
        self.err.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
    }
}

/// When the person presses Ctrl-C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Press {
    Never,
    /// As soon as something is on stderr.
    AfterFirstNotice,
}

/// A server that has gone for so short a time that a test does not notice.
const PATIENT: Patience = Patience {
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(5),
    outage: Duration::from_secs(60),
    silence: Duration::from_secs(60),
};

/// Runs `filmgate args…`.
async fn filmgate(args: &[&str], patience: Patience, press: Press) -> Ended {
    filmgate_telling(args, patience, press, Capture::default()).await
}

/// As [`filmgate`], with stderr for the test to wait on.
async fn filmgate_telling(args: &[&str], patience: Patience, press: Press, err: Capture) -> Ended {
    let out = Capture::default();
    let mut terminal = Terminal::captured(Box::new(out.clone()), Box::new(err.clone()));
    let written = Arc::clone(&err.written);
    let interrupt: Interrupt = async move {
        match press {
            Press::Never => std::future::pending().await,
            Press::AfterFirstNotice => written.notified().await,
        }
    }
    .boxed()
    .shared();
    let args = ["filmgate"].iter().chain(args).map(OsString::from);
    let surroundings = Surroundings {
        terminal: &mut terminal,
        interrupt,
        start_telemetry: |_, _| panic!("a command with --server starts nothing"),
        patience,
    };
    let exit = super::run(args, surroundings).await;
    Ended { exit, out: out.text(), err: err.text() }
}
