//! Conversations in the language of OpenAI's chat completions, which several vendors speak: the body of the call, and the answer, at once or
//! in events. What an error means is the vendor's own business.

mod answer;
mod body;
mod calls;
mod converse;
mod fields;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::VecDeque;

use super::chat::ChatEvent;

pub(super) use self::{
    body::{Dialect, TokenLimit, body},
    converse::converse,
    fields::field_at_fault,
};

use self::answer::Reader;

/// Why an answer, or a part of it, tells nothing.
#[derive(Debug)]
enum Fault<'a> {
    /// It is no JSON of the form agreed.
    Unreadable,
    /// It is an error's document: this JSON.
    Error(&'a [u8]),
    /// It has no answer in it.
    Empty,
    /// The vendor gave the answer up, in this word.
    Abandoned(String),
}

/// What an answer's part says.
type Said = VecDeque<ChatEvent>;
