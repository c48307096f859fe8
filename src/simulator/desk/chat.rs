//! A conversation under the fault rules: its answer goes out at once or in events, and who hangs up before its end is counted.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Call, Desk, Instead, Received};
use crate::simulator::{
    fault::{Answer, Operation, Subject, TalkFault},
    server::Severed,
};

/// Conversations that are remembered.
const MAX_CHATS: usize = 1000;
/// Bytes of those.
const MAX_BYTES: usize = 64 << 20;

/// A conversation that is being answered. If it is dropped before its end, its caller has hung up.
#[derive(Debug)]
pub(crate) struct Chat<D> {
    desk: Arc<Desk<D>>,
    is_over: bool,
}

impl<D> Drop for Chat<D> {
    fn drop(&mut self) {
        if !self.is_over {
            self.desk.counts.chats_hung_up.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<D: Send + Sync + 'static> Desk<D> {
    /// Takes a conversation, counts and judges it, and lets its delay pass.
    ///
    /// # Errors
    /// The answer that a fault gives instead; nothing was said then.
    pub(crate) async fn chat(
        self: &Arc<Self>,
        subject: Subject<'_>,
        received: Received,
    ) -> Result<(Chat<D>, Call), Instead> {
        self.chats.push(received);
        let mut chat = Chat { desk: Arc::clone(self), is_over: false };
        let call = self.call(Operation::Chat, subject).await;
        chat.is_over = call.is_err();
        Ok((chat, call?))
    }
}

impl<D: Send + Sync + 'static> Chat<D> {
    /// Says no, before any word.
    pub(crate) fn refused(mut self, refusal: impl IntoResponse) -> Response {
        self.is_over = true;
        refusal.into_response()
    }

    /// Answers at once.
    pub(crate) async fn answer(mut self, call: Call, body: Value) -> Response {
        self.desk.counts.chats_effective.fetch_add(1, Ordering::Relaxed);
        let response = call.answer(StatusCode::OK, body).await;
        self.is_over = true;
        response
    }

    /// Answers in events, each made when there is room for it; `last` is what the vendor writes after them.
    pub(crate) async fn stream(
        mut self,
        call: Call,
        events: impl Iterator<Item = Value> + Send + 'static,
        last: &'static str,
    ) -> Response {
        self.desk.counts.chats_effective.fetch_add(1, Ordering::Relaxed);
        let is_broken = matches!(call.faults().afterwards(), Some(Answer::Malformed));
        if let Some(answer) = call.faults().afterwards().filter(|_| !is_broken) {
            let response = call.spoilt(answer, Bytes::new()).await;
            self.is_over = true;
            return response;
        }
        let (mut pace, mut cut) = (Duration::ZERO, usize::MAX);
        for fault in &call.faults().talk {
            match fault {
                TalkFault::Says(_) => {}
                TalkFault::Pace(pause) => pace += *pause,
                TalkFault::Cut(n) => cut = cut.min(*n),
            }
        }
        let talk = Talk { chat: self, call, events, last: Some(last), n: 0, pace, cut, is_broken };
        let body = Body::from_stream(stream::unfold(Some(talk), async |talk| {
            let (bytes, talk) = talk?.next().await?;
            Some((bytes, talk))
        }));
        ([(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")], body).into_response()
    }
}

struct Talk<D, E> {
    chat: Chat<D>,
    call: Call,
    events: E,
    last: Option<&'static str>,
    n: usize,
    pace: Duration,
    cut: usize,
    /// The second event is only half there, and nothing comes after it.
    is_broken: bool,
}

impl<D, E: Iterator<Item = Value>> Talk<D, E> {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Option<Self>)> {
        if self.n > 0 && !self.pace.is_zero() {
            let stop = self.chat.desk.world.stop.clone();
            stop.run_until_cancelled(sleep(self.pace)).await;
        }
        if self.n == self.cut {
            self.chat.is_over = true;
            return Some((Err(io::Error::other(Severed)), None));
        }
        self.n += 1;
        let Some(event) = self.events.next() else {
            let last = self.last.take().filter(|last| !last.is_empty());
            self.chat.is_over = true;
            return last.map(|last| (Ok(Bytes::from_static(last.as_bytes())), None));
        };
        let mut text = format!("data: {}\n\n", self.call.edited(event));
        if self.is_broken && self.n == 2 {
            text.truncate((0..=text.len() / 2).rfind(|end| text.is_char_boundary(*end)).unwrap_or(0));
            self.chat.is_over = true;
            return Some((Ok(Bytes::from(text)), None));
        }
        Some((Ok(Bytes::from(text)), Some(self)))
    }
}

/// What was asked in the last conversations.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<(VecDeque<Received>, usize)>);

impl Log {
    fn push(&self, received: Received) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.1 += received.n_bytes;
        log.0.push_back(received);
        while log.0.len() > MAX_CHATS || log.1 > MAX_BYTES && log.0.len() > 1 {
            let oldest = log.0.pop_front().map_or(0, |oldest| oldest.n_bytes);
            log.1 -= oldest;
        }
    }

    pub(super) fn page(&self) -> Vec<Value> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let page = |received: &Received| {
            let mut page = json!({});
            received.describe(&mut page);
            page
        };
        log.0.iter().map(page).collect()
    }

    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (VecDeque::new(), 0);
    }
}
