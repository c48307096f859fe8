//! Peers that are real programs.

pub(crate) mod acts;
pub(crate) mod collector;
pub(crate) mod server;
