//! Pieces of an answer as server-sent events: `data:` lines and comments alone, for that is all that every client of OpenAI's reads.

use std::{fmt::Write as _, io};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    request::Manner,
    wire::{Delta, Head, LOGPROBS, OF_THE_WHOLE, Piece, Usage, finish_word},
};
use crate::chat::{ChatDelta, Ended};

/// A sign of life that no client takes for a piece.
pub(super) const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// Writes the pieces of one answer.
#[derive(Debug)]
pub(super) struct Writer {
    /// What each piece begins with.
    start: String,
    manner: Manner,
    /// The choices that have begun.
    begun: Vec<u32>,
}

impl Writer {
    pub(super) fn new(head: &Head, manner: Manner) -> serde_json::Result<Self> {
        let mut start = "data: {\"id\":".to_owned();
        // Ids and names of models are the server's own, and still only JSON when written as such.
        let (id, model) = (serde_json::to_string(&head.id)?, serde_json::to_string(&head.model)?);
        let created = head.created;
        let _ = write!(start, "{id},\"object\":\"chat.completion.chunk\",\"created\":{created},\"model\":{model}");
        Ok(Self { start, manner, begun: Vec::new() })
    }

    /// That the first answer begins.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.begun(0, out)
    }

    /// That it goes on.
    pub(super) fn more(&mut self, delta: &ChatDelta, out: &mut Vec<u8>) -> io::Result<()> {
        let ChatDelta { choice, text, reasoning, refusal, tool_calls, finish, extra } = delta;
        self.begun(*choice, out)?;
        let logprobs = extra.get(LOGPROBS);
        let says_something = !(text.is_empty() && reasoning.is_empty() && refusal.is_empty() && tool_calls.is_empty());
        if says_something || !extra.is_empty() {
            let functions = self.manner.functions;
            let delta = Delta::More { text, reasoning, refusal, tool_calls, extra, functions };
            self.piece(&Piece { index: *choice, delta, logprobs, finish_reason: None }, extra, out)?;
        }
        // In a piece of its own: some clients look no further when they see it.
        if let Some(finish) = finish {
            let finish_reason = Some(finish_word(*finish, self.manner.functions));
            let piece = Piece { index: *choice, delta: Delta::Nothing, logprobs: None, finish_reason };
            self.piece(&piece, &Map::new(), out)?;
        }
        Ok(())
    }

    /// That it has ended.
    pub(super) fn end(&mut self, ended: &Ended, out: &mut Vec<u8>) -> io::Result<()> {
        if let (true, Some(usage)) = (self.manner.include_usage, ended.usage) {
            out.extend_from_slice(self.start.as_bytes());
            out.extend_from_slice(b",\"choices\":[],\"usage\":");
            put(out, &Usage::from(usage))?;
            if let Some(cost) = ended.cost {
                out.extend_from_slice(b",\"filmgate\":");
                put(out, &Filmgate { cost_micro_usd: cost.0 })?;
            }
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        Ok(())
    }

    /// That it broke off. The SDKs raise it.
    pub(super) fn broken(error: &Value, out: &mut Vec<u8>) -> io::Result<()> {
        out.extend_from_slice(b"data: ");
        put(out, error)?;
        out.extend_from_slice(b"\n\n");
        Ok(())
    }

    fn begun(&mut self, choice: u32, out: &mut Vec<u8>) -> io::Result<()> {
        if self.begun.contains(&choice) {
            return Ok(());
        }
        self.begun.push(choice);
        let piece = Piece { index: choice, delta: Delta::Role, logprobs: None, finish_reason: None };
        self.piece(&piece, &Map::new(), out)
    }

    fn piece(&self, piece: &Piece<'_>, extra: &Map<String, Value>, out: &mut Vec<u8>) -> io::Result<()> {
        out.extend_from_slice(self.start.as_bytes());
        for name in OF_THE_WHOLE {
            if let Some(value) = extra.get(name) {
                out.push(b',');
                put(out, name)?;
                out.push(b':');
                put(out, value)?;
            }
        }
        out.extend_from_slice(b",\"choices\":[");
        let before = out.len();
        put(out, piece)?;
        let length = out.len() - before;
        out.push(b']');
        if self.manner.include_usage {
            out.extend_from_slice(b",\"usage\":null");
        }
        if self.manner.obfuscate {
            out.extend_from_slice(b",\"obfuscation\":");
            put(out, &filling(length))?;
        }
        out.extend_from_slice(b"}\n\n");
        Ok(())
    }
}

/// What filmgate adds to the last piece.
#[derive(Debug, Serialize)]
struct Filmgate {
    cost_micro_usd: i64,
}

/// Fills a piece up to a multiple of 64 bytes, and at times by more.
fn filling(length: usize) -> String {
    const STEP: usize = 64;
    let n_chars = STEP - length % STEP + STEP * fastrand::usize(0..2);
    std::iter::repeat_with(fastrand::alphanumeric).take(n_chars).collect()
}

fn put<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> io::Result<()> {
    Ok(serde_json::to_writer(out, value)?)
}
