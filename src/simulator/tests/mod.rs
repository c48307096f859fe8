//! The house from outside, with a vendor of its own.

mod example;
mod flags;
mod house;

pub(super) use example::open;
