//! Owned bytes.

mod probe;

pub use probe::{Invalid, probe};
