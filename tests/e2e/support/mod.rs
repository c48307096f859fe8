//! Peers that are real programs, and what is asked of the answers.

pub(crate) mod acts;
pub(crate) mod collector;
#[expect(dead_code, reason = "the store's unit tests use the same file, and more of it")]
pub(crate) mod postgres;
pub(crate) mod refusals;
pub(crate) mod server;
