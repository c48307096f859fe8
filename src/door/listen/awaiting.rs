//! Whether a peer that says nothing more still waits for its answer.
//!
//! A socket that was closed and one that only has nothing more to say look the same: TCP tells them apart when something is sent. So a peer
//! of HTTP/1.1 that fell silent for good in the middle of a call gets the interim answer 100 (RFC 9110, 15.2: every client reads over it).
//! Nobody at home, and the operating system says so; then the call is dropped, and what it asked for at a provider with it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::ReadBuf,
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

/// From the end of what a peer says to the question. Most answers come sooner, and need no question.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// How often it is looked whether the question came back.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const QUESTION: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Whether a call of HTTP/1.1 is under way and nothing of its answer is written. Of HTTP/2 it never is.
#[derive(Debug, Clone, Default)]
pub(super) struct UnderWay(Arc<AtomicBool>);

impl UnderWay {
    /// A call begins.
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Its answer begins.
    pub(super) fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What is known of the peer.
#[derive(Debug)]
pub(super) struct Awaiting {
    call: UnderWay,
    /// Since it fell silent.
    silent: Option<Silent>,
}

#[derive(Debug)]
struct Silent {
    next: Pin<Box<Sleep>>,
    is_asked: bool,
}

impl Awaiting {
    /// Of the peer whose calls these are.
    pub(super) fn new(call: UnderWay) -> Self {
        Self { call, silent: None }
    }

    /// Looks whether the peer has gone, and has the task woken when it is time to look again. Nothing may be waiting to be written.
    ///
    /// # Errors
    /// It has.
    pub(super) fn check(&mut self, stream: &TcpStream, context: &mut Context<'_>) -> io::Result<()> {
        if !self.call.0.load(Ordering::Relaxed) {
            self.silent = None;
            return Ok(());
        }
        let silent = match &mut self.silent {
            Some(silent) => silent,
            None if !says_no_more(stream, context)? => return Ok(()),
            none @ None => none.insert(Silent { next: Box::pin(sleep(ASK_AFTER)), is_asked: false }),
        };
        while silent.next.as_mut().poll(context).is_ready() {
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            if !silent.is_asked {
                // A full buffer of the socket would be full of an answer, and none has begun.
                stream.try_write(QUESTION)?;
                silent.is_asked = true;
            }
            silent.next.as_mut().reset(Instant::now() + LOOK_EVERY);
        }
        Ok(())
    }
}

/// Whether the end of what a peer says has come; otherwise the task is woken by what it says next.
fn says_no_more(stream: &TcpStream, context: &mut Context<'_>) -> io::Result<bool> {
    let mut byte = [0];
    match stream.poll_peek(context, &mut ReadBuf::new(&mut byte)) {
        Poll::Pending => Ok(false),
        Poll::Ready(n_bytes) => Ok(n_bytes? == 0),
    }
}
