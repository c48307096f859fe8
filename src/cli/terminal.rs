//! Where a command writes. Results go to stdout, everything else to stderr; both can be captured by a test.
//!
//! Text from servers and vendors passes through here, so control characters are removed here: nobody's error message moves a cursor.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
};

use serde_json::{Value, json as object};

use super::{
    failure::Failure,
    json::{self, Described},
    pages::{More, Rows},
    text,
};

/// The two streams of a command, and how to write on them.
pub struct Terminal {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// What results look like.
    pub(super) format: Format,
    /// Whether somebody looks at stderr, so that a progress bar makes sense.
    pub(super) audience: Audience,
}

/// What results look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Who reads stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// A person at a terminal.
    Person,
    /// A file or a program.
    Log,
}

impl Terminal {
    /// The streams of the process.
    pub fn of_process() -> Self {
        let audience = if io::stderr().is_terminal() { Audience::Person } else { Audience::Log };
        Self { out: Box::new(io::stdout()), err: Box::new(io::stderr()), format: Format::Text, audience }
    }

    /// Streams of the caller's choice, read by a program.
    pub fn captured(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self { out, err, format: Format::Text, audience: Audience::Log }
    }

    /// Writes a line of text for people to stdout. Fails quietly when the reader has gone.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{}", clean(text))
            .and_then(|()| self.out.flush())
            .map_err(|error| Failure::of_stdout(&error))
    }

    /// Writes a piece of text for people to stdout, at once.
    pub(super) fn part(&mut self, text: &str) -> Result<(), Failure> {
        write!(self.out, "{}", clean(text)).and_then(|()| self.out.flush()).map_err(|error| Failure::of_stdout(&error))
    }

    /// Writes one JSON value as a line to stdout.
    pub(super) fn json_line(&mut self, value: &Value) -> Result<(), Failure> {
        writeln!(self.out, "{value}").and_then(|()| self.out.flush()).map_err(|error| Failure::of_stdout(&error))
    }

    /// Writes rows: a table for people, the message itself a line for programs.
    pub(super) fn rows<T: Described, const N: usize>(
        &mut self,
        rows: &Rows<T>,
        heading: [&str; N],
        cells: impl Fn(&T) -> [String; N],
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => rows.rows.iter().try_for_each(|row| self.json_line(&json::of(row)?))?,
            Format::Text => {
                let table: Vec<[String; N]> = rows.rows.iter().map(cells).collect();
                self.line(&text::table(heading, &table))?;
            }
        }
        if rows.more == More::Left {
            self.notice(&format!("only the first {} are shown; there are more", rows.rows.len()));
        }
        Ok(())
    }

    /// Tells something beside the result, on stderr: a line, or `{"notice": …}`.
    ///
    /// A stderr that cannot be written is no reason to stop: there is nobody left to tell.
    pub(super) fn notice(&mut self, text: &str) {
        match self.format {
            Format::Text => self.error_line(&clean(text)),
            Format::Json => self.error_line(&object!({ "notice": text }).to_string()),
        }
    }

    /// Tells why the command ended: text, or one JSON object.
    pub(super) fn failure(&mut self, failure: &Failure) {
        match self.format {
            Format::Text => {
                if let Some(text) = failure.text() {
                    self.error_line(&clean(&text));
                }
            }
            Format::Json => {
                if let Some(value) = failure.json() {
                    self.error_line(&value.to_string());
                }
            }
        }
    }

    /// Writes one JSON value as a line to stderr.
    pub(super) fn json_notice(&mut self, value: &Value) {
        self.error_line(&value.to_string());
    }

    fn error_line(&mut self, line: &str) {
        let _ = writeln!(self.err, "{line}").and_then(|()| self.err.flush());
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal")
            .field("format", &self.format)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

/// `text` without control characters, but with its line breaks and tabs.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|character| matches!(character, '\n' | '\t') || !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    #[test]
    fn control_characters_of_others_do_not_reach_the_terminal() {
        assert_eq!(clean("red \u{1b}[31mtext\u{7}\n\tnext"), "red [31mtext\n\tnext");
    }

    #[test]
    fn a_reader_that_has_gone_ends_the_command_quietly() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut terminal = Terminal::captured(Box::new(Gone), Box::new(Gone));
        let failure = terminal.line("anything").unwrap_err();
        assert_eq!(failure.exit, Exit::Ok);
        assert_eq!(failure.text(), None);
    }
}
