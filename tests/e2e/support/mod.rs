//! Peers that are real programs.

pub(crate) mod collector;
