//! Server-sent events as they come off the wire, one at a time.
//!
//! Written here because no crate that was looked at limits the size of an event: a vendor that never ends a line would fill the memory.
//! What belongs to reconnecting (`id`, `retry`) is read and ignored: an answer of a model cannot be resumed.

/// Most bytes of one event.
pub const EVENT_CAP: usize = 8 << 20;

/// An event is larger than [`EVENT_CAP`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {EVENT_CAP} bytes")]
pub struct TooLarge;

/// One event; empty `data` never comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its name; empty if it has none.
    pub name: &'a [u8],
    /// Its data, the lines of it joined by line feeds. Not checked for UTF-8.
    pub data: &'a [u8],
}

/// Takes bytes, split anywhere, and gives events. Holds at most one event and what came with its end.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Bytes whose line has not ended, or was not asked for yet.
    bytes: Vec<u8>,
    /// Where the next line in them begins.
    start: usize,
    /// Up to where they hold no end of a line.
    seen: usize,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The event was given, and its room may be used again.
    is_given: bool,
    /// The last line ended with a carriage return; a line feed that follows belongs to it.
    after_return: bool,
    /// Something came, so that a byte order mark is none any more.
    has_begun: bool,
}

impl Decoder {
    /// Takes more bytes. Ask for events until there is none, before the next ones are taken.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.seen -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next event, if all of it came.
    ///
    /// # Errors
    /// If it is too large. There is no use in asking again.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, TooLarge> {
        self.forget_given();
        while let Some(line) = self.line() {
            if line.0 == line.1 && self.has_data {
                return Ok(Some(self.give()));
            }
            self.take(line)?;
        }
        let waiting = self.bytes.len() - self.start;
        if waiting + self.data.len() + self.name.len() > EVENT_CAP { Err(TooLarge) } else { Ok(None) }
    }

    /// The last event after the last bytes, should the sender have left out the line that ends it.
    ///
    /// # Errors
    /// As [`Decoder::next_event`].
    pub fn finish(&mut self) -> Result<Option<Event<'_>>, TooLarge> {
        self.forget_given();
        let rest = (self.start, self.bytes.len());
        self.start = self.bytes.len();
        self.seen = self.start;
        self.take(rest)?;
        Ok(if self.has_data { Some(self.give()) } else { None })
    }

    fn give(&mut self) -> Event<'_> {
        self.is_given = true;
        Event { name: &self.name, data: &self.data }
    }

    fn forget_given(&mut self) {
        if std::mem::take(&mut self.is_given) {
            self.name.clear();
            self.data.clear();
            self.has_data = false;
        }
    }

    /// Where the next whole line is, without its end.
    fn line(&mut self) -> Option<(usize, usize)> {
        if self.after_return && self.start < self.bytes.len() {
            self.after_return = false;
            if self.bytes[self.start] == b'\n' {
                self.start += 1;
                self.seen = self.seen.max(self.start);
            }
        }
        let Some(length) = self.bytes[self.seen..].iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.seen = self.bytes.len();
            return None;
        };
        let line = (self.start, self.seen + length);
        self.after_return = self.bytes[line.1] == b'\r';
        self.start = line.1 + 1;
        self.seen = self.start;
        Some(line)
    }

    /// Reads a line into the event under way.
    fn take(&mut self, (start, end): (usize, usize)) -> Result<(), TooLarge> {
        const MARK: &[u8] = "\u{feff}".as_bytes();
        let mut line = &self.bytes[start..end];
        if !std::mem::replace(&mut self.has_begun, true) {
            line = line.strip_prefix(MARK).unwrap_or(line);
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            // Nothing in it cannot be anything to read.
            b"data" if self.has_data || !value.is_empty() => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.has_data = true;
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            // The end of an event that had no data.
            b"" if line.is_empty() => self.name.clear(),
            _ => {}
        }
        if self.data.len() + self.name.len() > EVENT_CAP { Err(TooLarge) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(event: Event<'_>) -> (String, String) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(event.name), text(event.data))
    }

    /// The events of `bytes` when they come in pieces of `size`.
    fn in_pieces(bytes: &[u8], size: usize) -> Vec<(String, String)> {
        let (mut decoder, mut events) = (Decoder::default(), Vec::new());
        for piece in bytes.chunks(size) {
            decoder.push(piece);
            while let Some(event) = decoder.next_event().unwrap() {
                events.push(text(event));
            }
        }
        events.extend(decoder.finish().unwrap().map(text));
        assert!(decoder.finish().unwrap().is_none(), "it ended before");
        events
    }

    #[test]
    fn events_are_the_same_however_they_are_split_and_written() {
        let check = |stream: &str, expected: &[(&str, &str)]| {
            for size in 1..=stream.len() {
                let events = in_pieces(stream.as_bytes(), size);
                let events: Vec<_> = events.iter().map(|(name, data)| (name.as_str(), data.as_str())).collect();
                assert_eq!(events, expected, "{stream:?} in pieces of {size}");
            }
        };
        check("data: a\n\ndata: b\n\n", &[("", "a"), ("", "b")]);
        check("data: a\r\n\r\ndata: b\r\n\r\n", &[("", "a"), ("", "b")]);
        check("data: a\r\rdata: b\r\r", &[("", "a"), ("", "b")]);
        check("data:a\n\n", &[("", "a")]);
        check("data:  a \n\n", &[("", " a ")]);
        check("data: {\ndata: \"x\": 1\ndata:}\n\n", &[("", "{\n\"x\": 1\n}")]);
        check(": a comment\n\n: another\ndata: a\n: within\n\n", &[("", "a")]);
        check("event: error\ndata: a\n\ndata: b\n\n", &[("error", "a"), ("", "b")]);
        check("event: ping\n\ndata: a\n\n", &[("", "a")]);
        check("id: 7\nretry: 10\ndata: a\nid\n\n", &[("", "a")]);
        check("data\n\ndata:\n\nunknown: x\n\n\n\n", &[]);
        check("\u{feff}data: ä€😀\n\n", &[("", "ä€😀")]);
        check("data: a\n\ndata: [DONE]", &[("", "a"), ("", "[DONE]")]);
        check("data: a\n\ndata: [DONE]\n", &[("", "a"), ("", "[DONE]")]);
    }

    #[test]
    fn an_event_that_never_ends_is_given_up() {
        let mib = vec![b'x'; 1 << 20];
        let mut line = Decoder::default();
        line.push(b"data: ");
        let n = (1..20).find(|_| {
            line.push(&mib);
            line.next_event().is_err()
        });
        assert_eq!(n, Some(8));

        let mut lines = Decoder::default();
        let mut data = b"data: ".to_vec();
        data.extend_from_slice(&mib);
        data.push(b'\n');
        let n = (1..20).find(|_| {
            lines.push(&data);
            lines.next_event().is_err()
        });
        assert_eq!(n, Some(8));
    }

    #[test]
    fn the_room_of_past_events_is_used_again() {
        let mut decoder = Decoder::default();
        for _ in 0..10_000 {
            decoder.push(b"data: some text of a usual length\n\nda");
            assert!(decoder.next_event().unwrap().is_some());
            assert!(decoder.next_event().unwrap().is_none());
            decoder.push(b"ta: more\n\n");
            assert!(decoder.next_event().unwrap().is_some());
            assert!(decoder.next_event().unwrap().is_none());
        }
        assert!(decoder.bytes.capacity() < 1024, "{}", decoder.bytes.capacity());
    }
}
