//! Locks on what has no row yet. Each is held to the end of its transaction.
//!
//! Whoever takes several takes them in this order, and before any row: request id, session, order, provider. Rows follow in the order of `apply` and
//! `accept`: generations, sessions, artifacts, cached results, hints.

use sha2::{Digest, Sha256};

use super::{
    dialect::LOCK,
    statements::{Statement, values},
};
use crate::domain::names::{RequestId, SessionId, TenantId};

/// Among those that use the same request id.
pub(super) fn request(tenant: &TenantId, id: &RequestId) -> Statement {
    lock(&["request", tenant.id(), id.id()])
}

/// Among those that begin a turn of a session, make it or delete it. An end of a generation changes only the row.
pub(super) fn session(tenant: &TenantId, id: &SessionId) -> Statement {
    lock(&["session", tenant.id(), id.id()])
}

/// Among those that begin a job that identical orders may share, or hand it over.
pub(super) fn order(tenant: &TenantId, digest: &str) -> Statement {
    lock(&["order", tenant.id(), digest])
}

/// Among those that send to a provider with limits.
pub(super) fn provider(provider: &str) -> Statement {
    lock(&["provider", provider])
}

/// Two names with one number only wait for each other needlessly.
fn lock(names: &[&str]) -> Statement {
    // No name holds a line feed.
    let digest = Sha256::digest(format!("filmgate\n{}", names.join("\n")));
    let number = digest.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
    Statement::own(LOCK, values![number])
}
