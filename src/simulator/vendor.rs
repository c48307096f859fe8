//! What the house asks of each vendor's part.

use std::{fmt, io, sync::Arc};

use axum::Router;
use serde_json::{Map, Value};

use super::{World, settings::Scenario};

/// Makes a vendor's part. An error ends the start and says what of the scenario is wrong.
pub(crate) type Open = fn(&Arc<World>, &Scenario) -> io::Result<Arc<dyn Vendor>>;

/// One vendor's part of the simulator.
pub(crate) trait Vendor: fmt::Debug + Send + Sync {
    /// All its paths, each beginning with its name, as in `/fal/queue/{id}`. Links to outputs work once
    /// `Desk::delivery` is merged in.
    fn router(self: Arc<Self>) -> Router;

    /// Its desk, through which `/_control` asks and tells.
    fn desk(&self) -> &dyn Ledger;

    /// Every job as `/_control/jobs` shows it, oldest first; `origin` is for links.
    fn jobs(&self, origin: &str) -> Vec<Value> {
        let _ = origin;
        self.desk().jobs()
    }

    /// Forgets everything since the start; a vendor that keeps more than its desk does forgets that too.
    fn reset(&self) {
        self.desk().clear();
    }
}

/// A desk whatever its jobs carry.
pub(crate) trait Ledger {
    /// The vendor's name: key on the control side, first segment of its paths, `vendor=` in fault rules.
    fn name(&self) -> &'static str;
    /// Calls and effects by name.
    fn counts(&self) -> Map<String, Value>;
    /// Calls about each job, by its id.
    fn tallies(&self) -> Map<String, Value>;
    /// Every job, oldest first, in the simulator's own words.
    fn jobs(&self) -> Vec<Value>;
    /// What was asked in the last conversations, oldest first.
    fn chats(&self) -> Vec<Value>;
    /// Lets held jobs end: the one named, or the `limit` oldest. Says how many.
    fn release(&self, id: Option<&str>, limit: usize) -> usize;
    /// Forgets jobs and counts.
    fn clear(&self);
}
