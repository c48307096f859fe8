//! The port every vendor is plugged into, and one folder a vendor.
//!
//! Invariant: an adapter maps and calls, nothing else. It never retries, sleeps, spawns, logs bodies or reads settings; the engine retries,
//! `guard` times, limits and measures. Adding a vendor is one folder, one registry line, one card file and one fixture folder.

pub mod error;
pub mod http;
pub mod port;
