//! Peers that are real programs, and what is asked of the answers.

pub(crate) mod acts;
pub(crate) mod collector;
pub(crate) mod network;
pub(crate) mod objects;
#[expect(dead_code, reason = "the store's unit tests use the same file, and more of it")]
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod refusals;
pub(crate) mod relay;
pub(crate) mod server;
