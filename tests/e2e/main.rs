//! End to end, through the real doors of real processes. One module a topic.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be, also outside of its own function"
)]

mod crash;
mod drain;
mod main_job;
mod privacy;
mod settings;
mod simulator;
mod storage;
mod support;
mod telemetry;
mod tidy;
mod tracing;
