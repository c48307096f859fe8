//! What stays of chats, written beside them.
//!
//! Invariants: who has a place writes without waiting and is not refused; what was given in is written before the process ends, within its
//! deadline.

use std::{error::Error as _, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::sleep,
};
use tracing::error;

use super::Error;
use crate::{
    domain::{chat::ChatRecord, session::Message},
    lifecycle::{Drain, OnFailure, OnShutdown, Policy, Tasks},
    store::port::{Store, StoreError},
};

/// Most chats under way or not written yet.
const PLACES: usize = 16_384;
/// Most that are written at a time: the stores put what comes together into few transactions.
const AT_ONCE: usize = 64;
/// Waits between tries while the store is away: half a minute in all.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const TRIES: u32 = 9;

/// Takes what stays of chats.
#[derive(Debug, Clone)]
pub(super) struct Book(mpsc::Sender<Page>);

/// A place for one chat.
#[derive(Debug)]
pub(super) struct Place(mpsc::OwnedPermit<Page>);

/// What stays of one chat.
#[derive(Debug)]
struct Page {
    record: ChatRecord,
    turns: Vec<Message>,
    written: oneshot::Sender<()>,
}

impl Book {
    /// Opens one that is written until the process ends.
    pub(super) fn open(store: Arc<dyn Store>, tasks: &Tasks, drain: Drain) -> Self {
        let (sender, pages) = mpsc::channel(PLACES);
        let policy = Policy { on_shutdown: OnShutdown::Wait, on_failure: OnFailure::ShutDown };
        tasks.spawn("chats", policy, write_all(store, pages, drain));
        Self(sender)
    }

    /// A place for a chat that is about to be sent.
    ///
    /// # Errors
    /// The process ends, or the store is so far behind that more chats could not be accounted for.
    pub(super) fn reserve(&self) -> Result<Place, Error> {
        self.0.clone().try_reserve_owned().map(Place).map_err(|error| match error {
            TrySendError::Closed(_) => Error::Draining,
            TrySendError::Full(_) => StoreError::Unavailable("too many chats are not written yet".into()).into(),
        })
    }
}

impl Place {
    /// Has it written. The answer comes when it is, and never if it cannot be.
    pub(super) fn write(self, record: ChatRecord, turns: Vec<Message>) -> oneshot::Receiver<()> {
        let (written, when_written) = oneshot::channel();
        self.0.send(Page { record, turns, written });
        when_written
    }
}

async fn write_all(store: Arc<dyn Store>, pages: mpsc::Receiver<Page>, drain: Drain) {
    let pages = stream::unfold((pages, false), |(mut pages, mut is_closed)| {
        let drain = &drain;
        async move {
            if !is_closed {
                tokio::select! {
                    page = pages.recv() => return page.map(|page| (page, (pages, false))),
                    () = drain.closing() => {}
                }
                // No new places; those given out are waited for.
                pages.close();
                is_closed = true;
            }
            pages.recv().await.map(|page| (page, (pages, is_closed)))
        }
    });
    pages.for_each_concurrent(AT_ONCE, |page| write(&*store, page)).await;
}

async fn write(store: &dyn Store, page: Page) {
    let Page { record, turns, written } = page;
    let mut wait = FIRST_WAIT;
    for n_left in (0..TRIES).rev() {
        match store.record_chat(&record, turns.clone()).await {
            Ok(()) => {
                // Only chats with a session wait for it.
                let _ = written.send(());
                return;
            }
            Err(StoreError::Unavailable(_)) if n_left > 0 => {}
            Err(error) => {
                let cause = error.source().map(ToString::to_string);
                error!(chat = %record.id, %error, cause, "what a chat used and cost could not be written");
                return;
            }
        }
        sleep(wait).await;
        wait *= 2;
    }
}
