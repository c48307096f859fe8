//! What things are. No I/O, no clock, no generated types: every function here is pure.

pub mod artifact;
pub mod attempt;
pub mod budget;
pub mod callback;
pub mod card;
pub mod catalog;
pub mod chat;
pub mod failure;
pub mod generation;
pub mod ledger;
pub mod life;
pub mod money;
pub mod names;
pub mod options;
pub mod order;
pub mod price;
pub mod quote;
pub mod route;
pub mod session;
