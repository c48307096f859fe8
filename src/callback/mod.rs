//! Outgoing callbacks: the end of a generation told to the address its caller named, signed as Standard Webhooks say.
//!
//! Invariants: a callback is a row that was written with the end itself, so none is lost, and each is sent at least once; no address is called
//! that the fence does not admit; nothing in the house waits for a receiver; no path or query of an address is logged.

mod courier;
mod desk;
mod schedule;
mod send;
mod targets;

pub use self::{
    courier::Courier,
    send::{Render, Sender},
    targets::{Targets, Unsigned},
};
