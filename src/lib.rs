//! filmgate: one gRPC service in front of every generator of video, images, speech, music and text.
//!
//! Data flows one way: door → engine → provider / store / artifact → domain. `ARCHITECTURE.md` beside this file has the map,
//! the invariants and two walkthroughs. The modules below are in reading order.

/// The one place where the parts are put together.
pub mod app;
/// Owned bytes: fetched, checked, stored, served.
pub mod artifact;
/// Outgoing callbacks: the end of a generation told to the address its caller named.
pub mod callback;
/// Conversations with language models.
pub mod chat;
/// The command line; talks gRPC only.
pub mod cli;
/// Settings from flags, environment and file.
pub mod config;
/// What things are: names, orders, cards, generations and their pure state machine.
pub mod domain;
/// How callers come in: gRPC, files over HTTP, probes.
pub mod door;
/// What happens: admission, and one readable async function that drives a generation.
pub mod engine;
/// Named places where a test lets the process die.
pub mod failpoint;
/// Every task's owner, and the ordered shutdown.
pub mod lifecycle;
/// Where calls to others may lead.
pub mod outbound;
/// Code generated from `proto/`.
pub mod pb;
/// The port every vendor is plugged into, and one folder a vendor.
pub mod provider;
/// The vendors' HTTP contracts as a server, for tests, benchmarks and users.
pub mod simulator;
/// Durable records behind a trait of use-case methods.
pub mod store;
/// Logs, traces and metrics.
pub mod telemetry;
