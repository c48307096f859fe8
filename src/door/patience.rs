//! How long a request's body may take: a peer that stalls or dribbles must not hold a call for ever.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

/// Bounds of the wait for a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Longest silence.
    pub(super) silence: Duration,
    /// Slowest pace in bytes a second, beyond one more `silence` in all.
    pub(super) pace: u32,
}

/// As patient as a telephone in a tunnel needs it: 30 s of silence, and then 256 bytes a second.
pub(super) const USUAL: Patience = Patience { silence: Duration::from_secs(30), pace: 256 };

/// Something that once happened and is seen from elsewhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Mark(Arc<AtomicBool>);

impl Mark {
    /// Whether it happened.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What became of a body.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate {
    /// It took too long.
    pub(super) stalled: Mark,
    /// A part of it was left unread, so the peer may still be sending when it is answered.
    pub(super) unread: Mark,
}

/// A body that ends with an error if it takes too long. Only waiting for the peer counts, not what is done in between.
pub(super) struct Bounded {
    body: Body,
    /// None waits for ever.
    patience: Option<Patience>,
    fate: Fate,
    n_bytes: u64,
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    ended: bool,
}

impl Bounded {
    /// `fate` is told what becomes of `body`.
    pub(super) fn new(body: Body, patience: Option<Patience>, fate: Fate) -> Self {
        let ended = body.is_end_stream();
        Self { body, patience, fate, n_bytes: 0, waited: Duration::ZERO, waiting: None, ended }
    }

    /// How long the next wait may be.
    fn left(&self, patience: Patience) -> Duration {
        let in_all = patience.silence + Duration::from_secs(self.n_bytes / u64::from(patience.pace.max(1)));
        patience.silence.min(in_all.saturating_sub(self.waited))
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(patience) = self.patience else { return Poll::Pending };
        let left = self.left(patience);
        let (_, limit) = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        ready!(limit.as_mut().poll(cx));
        self.fate.stalled.set();
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the body took too long"))
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let error = ready!(self.poll_wait(cx));
            return Poll::Ready(Some(Err(axum::Error::new(error))));
        };
        if let Some((since, _)) = self.waiting.take() {
            self.waited += since.elapsed();
        }
        match &frame {
            Some(Ok(frame)) => self.n_bytes += frame.data_ref().map_or(0, |data| data.remaining() as u64),
            // After an error there is nothing more to read.
            Some(Err(_)) | None => self.ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.fate.unread.set();
        }
    }
}

impl fmt::Debug for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded").field("n_bytes", &self.n_bytes).field("waited", &self.waited).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::to_bytes;
    use futures_util::{StreamExt, stream};

    use super::*;

    /// A body of `n` chunks of `size` bytes, each after `pause`.
    fn body(n: usize, size: usize, pause: Duration) -> Body {
        let chunks = stream::iter(0..n).then(move |_| async move {
            sleep(pause).await;
            Ok::<_, Infallible>(Bytes::from(vec![b'x'; size]))
        });
        Body::from_stream(chunks)
    }

    async fn read(body: Body) -> (Option<usize>, Fate) {
        let fate = Fate::default();
        let bounded = Bounded::new(body, Some(USUAL), fate.clone());
        (to_bytes(Body::new(bounded), usize::MAX).await.ok().map(|bytes| bytes.len()), fate)
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_dribbling_are_bounded_and_slow_is_not_wrong() {
        let seconds = Duration::from_secs;
        for (what, body, n_bytes) in [
            ("slow", body(100, 8192, seconds(20)), Some(819_200)),
            ("silent", body(1, 8192, seconds(31)), None),
            ("dribbling", body(1000, 1, seconds(1)), None),
            ("empty", Body::empty(), Some(0)),
        ] {
            let (read, fate) = read(body).await;
            assert_eq!((read, fate.stalled.is_set()), (n_bytes, n_bytes.is_none()), "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_between_reads_is_not_the_peers() {
        let mut body = Bounded::new(body(3, 1, Duration::from_secs(5)), Some(USUAL), Fate::default());
        for _ in 0..3 {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            assert!(frame.unwrap().is_ok());
            sleep(Duration::from_secs(60)).await;
        }
    }

    #[tokio::test]
    async fn what_is_left_unread_is_known() {
        let fate = Fate::default();
        drop(Bounded::new(body(1, 1, Duration::ZERO), None, fate.clone()));
        assert!(fate.unread.is_set() && !fate.stalled.is_set());
        for whole in [Body::empty(), Body::from("some")] {
            let (_, fate) = read(whole).await;
            assert!(!fate.unread.is_set());
        }
    }
}
