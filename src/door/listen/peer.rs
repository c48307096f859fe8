//! A peer's socket: what it does not take is not kept for ever, and what it still sends does not cost it the answer.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use super::awaiting::Awaiting;
use crate::door::patience::Mark;

/// Longest silence of a peer that is still sending after it was answered, and longest time for all of that.
const LINGER_SILENCE: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_secs(10);

type Timer = Pin<Box<Sleep>>;

/// A connection. Its end is tidy: closing a socket with bytes unread makes the operating system send a reset, which destroys the
/// answer on its way. So a peer in the middle of a body is told that nothing more comes, and then heard out for a little while.
#[derive(Debug)]
pub(super) struct Peer {
    stream: TcpStream,
    /// Set if the peer may still be sending a body that nobody reads.
    unread: Mark,
    awaiting: Awaiting,
    /// Longest time for which the peer may take nothing.
    write_timeout: Duration,
    blocked: Option<Timer>,
    lingering: Option<Lingering>,
}

#[derive(Debug)]
struct Lingering {
    silence: Timer,
    end: Timer,
}

impl Peer {
    pub(super) fn new(stream: TcpStream, unread: Mark, awaiting: Awaiting, write_timeout: Duration) -> Self {
        Self { stream, unread, awaiting, write_timeout, blocked: None, lingering: None }
    }

    /// What became of a write, which fails if the peer has taken nothing for too long.
    fn taken<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.blocked = None;
            return polled;
        }
        let limit = self.write_timeout;
        ready!(self.blocked.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }

    /// Throws away what comes. True if anything did.
    fn discard(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut scratch = [0; 16 << 10];
        let mut buffer = ReadBuf::new(&mut scratch);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
        Poll::Ready(read.is_ok() && !buffer.filled().is_empty())
    }

    /// Hears the peer out, until it ends, falls silent or takes too long.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A few at a time, so that a fast sender does not keep this thread.
        for _ in 0..32 {
            let Poll::Ready(more) = self.discard(cx) else { return self.poll_patience(cx) };
            if !more {
                return Poll::Ready(());
            }
            if let Some(lingering) = &mut self.lingering {
                lingering.silence = Box::pin(sleep(LINGER_SILENCE));
            }
        }
        cx.waker().wake_by_ref();
        self.poll_patience(cx)
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Lingering { silence, end }) = &mut self.lingering else { return Poll::Ready(()) };
        if silence.as_mut().poll(cx).is_pending() {
            return end.as_mut().poll(cx);
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Peer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.taken(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.taken(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        // Hyper flushes whenever it has looked at a connection, and reads nothing while a call is under way.
        let this = &mut *self;
        Poll::Ready(this.awaiting.check(&this.stream, cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            // Also what hyper refused by itself (rubbish, heads too large) may have more behind it.
            let is_sending = matches!(self.discard(cx), Poll::Ready(true));
            if !is_sending && !self.unread.is_set() {
                return Poll::Ready(Ok(()));
            }
            self.lingering = Some(Lingering { silence: Box::pin(sleep(LINGER_SILENCE)), end: Box::pin(sleep(LINGER)) });
        }
        self.poll_linger(cx).map(Ok)
    }
}
