//! Owned bytes: what a provider made is ours only once it is whole, checked and stored durably.
//!
//! One way in: `Collector::spool` writes arriving bytes to a temporary file while hashing, `Collector::inspect` looks at them
//! (`probe()`), `Collector::store` hands them over to `Blobs` under a key nobody else has. Then, and only then, a row may refer to
//! them. Bytes that came with an answer are stored first (`Collector::store_bytes`) and judged then. Whatever is stored and gets no
//! row is deleted by `sweep()`. What arrives is never whole in memory, and nothing is written outside of the folders it was given.

mod blobs;
mod collect;
mod probe;
mod sweep;

pub use blobs::{Blobs, Error as BlobError, Listed, Served};
pub use collect::{CollectError, Collector, Spooled, StoredBlob};
pub use probe::{Invalid, probe};
pub use sweep::{GRACE, SweepError, Swept, sweep};
