//! Peers that are real programs.

pub(crate) mod collector;
pub(crate) mod server;
