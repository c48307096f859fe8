//! What is done again and again would also fail again and again: it is told once, and once more when it is over.

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::store::port::StoreError;

/// Whether something that is done again and again fails now.
#[derive(Debug)]
pub(super) struct Trouble {
    what: &'static str,
    since: Option<Instant>,
}

impl Trouble {
    /// None so far with doing `what`.
    pub(super) fn about(what: &'static str) -> Self {
        Self { what, since: None }
    }

    /// What it gave, if it did not fail.
    pub(super) fn judge<T>(&mut self, result: Result<T, StoreError>) -> Option<T> {
        match result {
            Ok(value) => {
                if let Some(since) = self.since.take() {
                    let seconds = since.elapsed().as_secs();
                    info!("{} works again after {seconds} s", self.what);
                }
                Some(value)
            }
            Err(error) if self.since.is_some() => {
                debug!(error = ?error, "{} still fails", self.what);
                None
            }
            Err(error) => {
                warn!(error = ?error, "{} fails", self.what);
                self.since = Some(Instant::now());
                None
            }
        }
    }
}
