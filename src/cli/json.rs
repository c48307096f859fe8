//! Contract messages as the JSON that `--json` writes.

use serde_json::Value;

use super::{exit::Exit, failure::Failure};
use crate::pb::json;
pub(super) use crate::pb::json::Described;
#[cfg(test)]
pub(super) use crate::pb::json::pool;

/// `message` in its canonical JSON form.
pub(super) fn of<M: Described>(message: &M) -> Result<Value, Failure> {
    json::of(message).map_err(|error| Failure::new(Exit::Internal, format!("cannot show {} as JSON: {error}", M::NAME)))
}
