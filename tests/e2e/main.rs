//! End to end, through the real doors of real processes. One module a topic.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be, also outside of its own function"
)]

#[cfg(feature = "failpoints")]
mod answers;
mod ark;
mod callbacks;
mod cancel;
mod cards;
mod chat;
mod comfyui;
mod command_line;
mod contract;
mod crash;
#[cfg(feature = "failpoints")]
mod crash_matrix;
mod cuts;
mod described;
mod doors;
mod drain;
mod failures;
mod fal;
mod files;
mod google;
mod hooks;
mod json;
mod keys;
mod kills;
mod kinds;
mod lists;
mod main_job;
mod midjourney;
mod money;
mod money_quotes;
mod objects;
mod openai;
mod openai_door;
mod openai_media;
mod optimize;
mod overload;
mod privacy;
mod races;
mod reflection;
mod replicas;
mod retention;
mod retry;
mod routing;
mod rubbish;
mod settings;
mod shared_chat;
mod shared_store;
mod sharing;
mod simulator;
mod sockets;
mod storage;
mod streams;
mod support;
mod telemetry;
mod tidy;
mod tracing;
mod unresolved;
mod wire;
