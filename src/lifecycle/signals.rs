use std::{fmt, io};

use futures_util::{Stream, stream};
use tokio::signal::unix::{self, SignalKind};

/// A wish from outside that the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, from a supervisor.
    Terminate,
    /// SIGINT, from a keyboard.
    Interrupt,
}

/// The signals of the operating system, from now on. Their default effect is gone for the life of the process.
///
/// # Errors
/// If the operating system refuses the handlers.
pub fn os_signals() -> io::Result<impl Stream<Item = Signal> + Unpin + Send> {
    let mut terminate = unix::signal(SignalKind::terminate())?;
    let mut interrupt = unix::signal(SignalKind::interrupt())?;
    Ok(stream::poll_fn(move |context| {
        if terminate.poll_recv(context).is_ready() {
            return std::task::Poll::Ready(Some(Signal::Terminate));
        }
        interrupt.poll_recv(context).map(|_| Some(Signal::Interrupt))
    }))
}

/// From now on a write beyond the limit on the size of files (`ulimit -f`) fails like one on a full disk. The signal that comes with it would
/// otherwise kill the process.
///
/// # Errors
/// If the operating system refuses the handler.
pub fn survive_file_size_limits() -> io::Result<()> {
    /// The number of SIGXFSZ on Linux, macOS and the BSDs.
    const FILE_SIZE_EXCEEDED: i32 = 25;
    // Nobody listens: that there is a handler is enough, and it stays for the life of the process.
    unix::signal(SignalKind::from_raw(FILE_SIZE_EXCEEDED)).map(drop)
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}
