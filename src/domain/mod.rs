//! What things are. No I/O, no clock, no generated types: every function here is pure.

pub mod artifact;
