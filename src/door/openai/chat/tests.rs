//! The pure parts: bodies in, requests of the contract out; what is said in, completions and pieces out.

mod answers;
mod requests;
