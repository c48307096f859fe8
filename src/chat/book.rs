//! What stays of chats, written beside them: the first at once, those that end shortly after it together.
//!
//! Invariants: who has a place writes without waiting and is not refused; what was given in is written before the process ends, within its
//! deadline.

use std::{error::Error as _, slice, sync::Arc, time::Duration};

use tokio::{
    sync::{
        Notify,
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::{Instant, sleep, sleep_until},
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
/// Most that are written at a time.
const AT_ONCE: usize = 256;
/// How long what nobody waits for is gathered after a look at what there is: many chats a second then share few flushes to the disk.
const GATHERING: Duration = Duration::from_millis(20);
/// Waits between tries while the store is away: half a minute in all.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const TRIES: u32 = 9;

/// Takes what stays of chats.
#[derive(Debug, Clone)]
pub(super) struct Book {
    pages: mpsc::Sender<Page>,
    /// Somebody waits for a page to be written.
    hurry: Arc<Notify>,
}

/// A place for one chat.
#[derive(Debug)]
pub(super) struct Place {
    permit: mpsc::OwnedPermit<Page>,
    hurry: Arc<Notify>,
}

/// What stays of one chat.
#[derive(Debug)]
struct Page {
    record: ChatRecord,
    turns: Vec<Message>,
    written: Option<oneshot::Sender<()>>,
}

impl Book {
    /// Opens one that is written until the process ends.
    pub(super) fn open(store: Arc<dyn Store>, tasks: &Tasks, drain: Drain) -> Self {
        let (sender, pages) = mpsc::channel(PLACES);
        let hurry = Arc::new(Notify::new());
        let policy = Policy { on_shutdown: OnShutdown::Wait, on_failure: OnFailure::ShutDown };
        let given = Given { pages, hurry: Arc::clone(&hurry), drain, look_at: Instant::now() };
        tasks.spawn("chats", policy, write_all(store, given));
        Self { pages: sender, hurry }
    }

    /// A place for a chat that is about to be sent.
    ///
    /// # Errors
    /// The process ends, or the store is so far behind that more chats could not be accounted for.
    pub(super) fn reserve(&self) -> Result<Place, Error> {
        let place = |permit| Place { permit, hurry: Arc::clone(&self.hurry) };
        self.pages.clone().try_reserve_owned().map(place).map_err(|error| match error {
            TrySendError::Closed(_) => Error::Draining,
            TrySendError::Full(_) => StoreError::Unavailable("too many chats are not written yet".into()).into(),
        })
    }
}

impl Place {
    /// Has it written: at once if it is of a session, whose next chat is to know of it. The answer comes when it is, and never if it cannot be.
    pub(super) fn write(self, record: ChatRecord, turns: Vec<Message>) -> oneshot::Receiver<()> {
        let (written, when_written) = oneshot::channel();
        let is_awaited = record.session.is_some();
        self.permit.send(Page { record, turns, written: Some(written) });
        if is_awaited {
            self.hurry.notify_one();
        }
        when_written
    }
}

/// The pages that were given in.
struct Given {
    pages: mpsc::Receiver<Page>,
    hurry: Arc<Notify>,
    drain: Drain,
    /// When to look again, if nobody is in a hurry.
    look_at: Instant,
}

impl Given {
    /// What is to be written next; nothing once there are no more places and all of it was given out.
    async fn next(&mut self) -> Vec<Page> {
        let drain = self.drain.clone();
        loop {
            let look_at = if self.pages.is_closed() { Instant::now() } else { self.look_at };
            tokio::select! {
                pages = self.look(look_at) => return pages,
                // No new places; those given out are waited for.
                () = drain.closing(), if !self.pages.is_closed() => self.pages.close(),
            }
        }
    }

    /// Gathers until then, and waits for at least one page.
    async fn look(&mut self, at: Instant) -> Vec<Page> {
        tokio::select! {
            () = sleep_until(at) => {}
            () = self.hurry.notified() => {}
        }
        let mut pages = Vec::new();
        self.pages.recv_many(&mut pages, AT_ONCE).await;
        self.look_at = Instant::now() + GATHERING;
        pages
    }
}

async fn write_all(store: Arc<dyn Store>, mut given: Given) {
    loop {
        let mut pages = given.next().await;
        if pages.is_empty() {
            return;
        }
        match write(&*store, &mut pages).await {
            Ok(()) => {}
            // One that cannot be written takes no other with it.
            Err(StoreError::Broken(_)) => {
                for page in &mut pages {
                    if let Err(error) = record(&*store, slice::from_mut(page)).await {
                        lost(page, &error);
                    }
                }
            }
            Err(error @ StoreError::Unavailable(_)) => pages.iter().for_each(|page| lost(page, &error)),
        }
    }
}

/// Writes pages, all of them or none; waits for the store for a while.
async fn write(store: &dyn Store, pages: &mut [Page]) -> Result<(), StoreError> {
    let mut wait = FIRST_WAIT;
    for _ in 1..TRIES {
        match record(store, pages).await {
            Err(StoreError::Unavailable(_)) => {}
            written => return written,
        }
        sleep(wait).await;
        wait *= 2;
    }
    record(store, pages).await
}

async fn record(store: &dyn Store, pages: &mut [Page]) -> Result<(), StoreError> {
    let chats = pages.iter().map(|page| (page.record.clone(), page.turns.clone())).collect();
    store.record_chats(chats).await?;
    tell(pages);
    Ok(())
}

fn lost(page: &Page, error: &StoreError) {
    let cause = error.source().map(ToString::to_string);
    error!(chat = %page.record.id, %error, cause, "what a chat used and cost could not be written");
}

fn tell(pages: &mut [Page]) {
    for written in pages.iter_mut().filter_map(|page| page.written.take()) {
        // Only chats with a session wait for it.
        let _ = written.send(());
    }
}
