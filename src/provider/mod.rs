//! The port every vendor is plugged into, and one folder a vendor.
//!
//! Invariant: an adapter maps and calls, nothing else. It never retries, sleeps, spawns, logs bodies or reads settings; the engine retries,
//! `guard` times, limits and measures. Adding a vendor is one folder with its card file and its descriptor, one line of `vendor::VENDORS`
//! and one fixture folder.

pub mod ark;
pub mod breaker;
pub mod chat;
pub mod comfyui;
mod completions;
#[cfg(test)]
mod contract;
pub mod error;
pub mod fal;
pub mod fields;
pub mod gemini;
mod google;
pub mod guard;
pub mod http;
pub mod http_json;
pub mod keys;
pub mod midjourney;
pub mod openai;
pub mod port;
pub mod registry;
pub mod replicate;
pub mod sample;
#[cfg(test)]
mod tests;
pub mod values;
pub mod vendor;
pub mod vertex;
pub mod webhook;

use crate::domain::names::ProviderId;

use self::error::SetupError;

/// The id of a vendor whose name stands in the code.
fn id_of(name: &'static str) -> Result<ProviderId, SetupError> {
    ProviderId::from_id(name).map_err(|error| SetupError::new(name, error.to_string()))
}
