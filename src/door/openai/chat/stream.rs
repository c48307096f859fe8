//! An answer that is told as it is said: the body of a response, which reads from the provider only when the connection takes more.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, Sleep, sleep};

use super::{
    names::Names,
    pieces::{KEEP_ALIVE, Writer},
};
use crate::{
    chat::{Answer, Error, Said},
    door::{openai::problem::Problem, refusal::Refusal},
};

/// A client, or a proxy on the way to it, hears something at least this often.
const SILENCE: Duration = Duration::from_secs(15);
/// What has come in meanwhile goes out in one piece, but not more of it.
const FULL: usize = 16 << 10;

/// The frames of a body. Dropping it ends the exchange with the provider.
#[derive(Debug)]
pub(super) struct Frames {
    /// None once it has ended.
    events: Option<Answer>,
    writer: Writer,
    names: Names,
    /// Written and not sent yet; its memory is used again for each frame.
    buffer: Vec<u8>,
    sent_at: Instant,
    silence: Pin<Box<Sleep>>,
}

impl Frames {
    pub(super) fn new(events: Answer, mut writer: Writer, names: Names) -> io::Result<Self> {
        let mut buffer = Vec::with_capacity(1 << 10);
        writer.begin(&mut buffer)?;
        let (sent_at, silence) = (Instant::now(), Box::pin(sleep(SILENCE)));
        Ok(Self { events: Some(events), writer, names, buffer, sent_at, silence })
    }

    /// Writes what is said next.
    pub(super) fn write(&mut self, said: Option<Result<Said, Error>>) -> io::Result<()> {
        match said {
            Some(Ok(Said::More(delta))) => return self.writer.more(&delta, &mut self.buffer),
            Some(Ok(Said::End(ended))) => self.writer.end(&ended, &mut self.buffer)?,
            Some(Err(error)) => {
                let problem = Problem::of(Refusal::from(error), |field| self.names.of(field));
                Writer::broken(&problem.envelope(), &mut self.buffer)?;
            }
            None => {}
        }
        self.events = None;
        Ok(())
    }

    /// Whether it is time for a sign of life. The timer is set anew only when it runs out, not with every frame.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.silence.as_mut().poll(context).is_ready() {
            let due = self.sent_at + SILENCE;
            if due <= Instant::now() {
                self.silence.as_mut().reset(Instant::now() + SILENCE);
                return Poll::Ready(());
            }
            self.silence.as_mut().reset(due);
        }
        Poll::Pending
    }
}

impl Stream for Frames {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let this = &mut *self;
        while this.buffer.len() < FULL
            && let Some(events) = &mut this.events
            && let Poll::Ready(said) = Pin::new(events).poll_next(context)
        {
            if let Err(error) = this.write(said) {
                this.events = None;
                return Poll::Ready(Some(Err(error)));
            }
        }
        if this.buffer.is_empty() {
            if this.events.is_none() {
                return Poll::Ready(None);
            }
            if this.poll_silence(context).is_pending() {
                return Poll::Pending;
            }
            this.buffer.extend_from_slice(KEEP_ALIVE);
        }
        this.sent_at = Instant::now();
        let frame = Bytes::copy_from_slice(&this.buffer);
        this.buffer.clear();
        Poll::Ready(Some(Ok(frame)))
    }
}
