//! What the tests of every adapter share: a scripted server, and the vendors' failures and conversations on file.

pub(in crate::provider) mod conversations;
pub(in crate::provider) mod failures;
pub(in crate::provider) mod fields;
pub(in crate::provider) mod server;
