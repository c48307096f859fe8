//! Peers that are real programs, and what is asked of the answers.

pub(crate) mod acts;
pub(crate) mod collector;
pub(crate) mod network;
pub(crate) mod postgres;
pub(crate) mod refusals;
pub(crate) mod server;
