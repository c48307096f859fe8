//! What happens: admission, and one readable async function that drives each generation.

pub mod error;
pub mod request;
pub mod view;
