//! What was asked of a simulated vendor, so that a test can say "exactly one paid submit".

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

use crate::simulator::fault::Operation;

/// Calls and effects since the start or the last reset. A call counts when it arrives, whatever is answered.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) creates_received: AtomicU64,
    /// Creates that made a job, also if the answer was lost.
    pub(crate) creates_effective: AtomicU64,
    pub(crate) gets: AtomicU64,
    pub(crate) lists: AtomicU64,
    pub(crate) cancels: AtomicU64,
    pub(crate) downloads: AtomicU64,
    /// Conversations handed over.
    pub(crate) chats_received: AtomicU64,
    /// Those that the model began to answer, also if the answer was lost.
    pub(crate) chats_effective: AtomicU64,
    /// Those whose caller hung up before the end of the answer.
    pub(crate) chats_hung_up: AtomicU64,
    /// Calls about uploaded files.
    pub(crate) files: AtomicU64,
    /// Tries, duplicates and repetitions included.
    pub(crate) webhooks_sent: AtomicU64,
    /// Tries not answered by a 2xx.
    pub(crate) webhooks_failed: AtomicU64,
    /// Jobs never called back because too many were being followed.
    pub(crate) webhooks_skipped: AtomicU64,
}

impl Counts {
    fn named(&self) -> [(&'static str, &AtomicU64); 13] {
        [
            ("creates_received", &self.creates_received),
            ("creates_effective", &self.creates_effective),
            ("gets", &self.gets),
            ("lists", &self.lists),
            ("cancels", &self.cancels),
            ("downloads", &self.downloads),
            ("chats_received", &self.chats_received),
            ("chats_effective", &self.chats_effective),
            ("chats_hung_up", &self.chats_hung_up),
            ("files", &self.files),
            ("webhooks_sent", &self.webhooks_sent),
            ("webhooks_failed", &self.webhooks_failed),
            ("webhooks_skipped", &self.webhooks_skipped),
        ]
    }

    /// Counts a call that arrived. A webhook is counted where it is sent.
    pub(super) fn add(&self, operation: Operation) {
        let count = match operation {
            Operation::Create => &self.creates_received,
            Operation::Chat => &self.chats_received,
            Operation::Get => &self.gets,
            Operation::List => &self.lists,
            Operation::Cancel => &self.cancels,
            Operation::Download => &self.downloads,
            Operation::File => &self.files,
            Operation::Webhook => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// All counts by name.
    pub(crate) fn page(&self) -> Map<String, Value> {
        self.named().into_iter().map(|(name, count)| (name.to_owned(), json!(count.load(Ordering::Relaxed)))).collect()
    }

    pub(crate) fn reset(&self) {
        self.named().into_iter().for_each(|(_, count)| count.store(0, Ordering::Relaxed));
    }
}
