//! Durable records behind a trait of use-case methods, not CRUD per table.
//!
//! Invariants: a method that returns `Ok` is durable; each method is one transaction; a generation changes only through
//! `Generation::apply` or `hand_over` inside such a transaction, so that the pure state machine decides every race.

#[cfg(test)]
mod contract;
mod error;
pub mod port;
pub mod postgres;
mod rows;
mod rules;
mod sql;
pub mod sqlite;
mod usage;

pub use error::OpenError;
