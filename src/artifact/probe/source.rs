//! A file read by position, with a bound on the number of steps a walk may take.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
};

use super::Invalid;

/// Enough for a day of sound in frames or an hour of unsized clusters; a hostile file of tiny parts ends here.
const MAX_STEPS: u32 = 4_000_000;
/// Small, because most walks seek further than any buffer.
const BUFFER_BYTES: usize = 8 * 1024;
/// What sniffing looks at.
const PREFIX_BYTES: u64 = 4 * 1024;

/// Big-endian reads at a position of a file whose length is known.
pub(super) struct Source {
    file: BufReader<File>,
    at: u64,
    len: u64,
    n_steps: u32,
}

impl Source {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file: BufReader::with_capacity(BUFFER_BYTES, file), at: 0, len, n_steps: 0 })
    }

    /// File length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Position of the next read.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Counts one part of a walk; every loop over parts calls it.
    pub(super) fn step(&mut self) -> Result<(), Invalid> {
        self.n_steps += 1;
        if self.n_steps > MAX_STEPS {
            return Err(Invalid::Unreadable { why: "it has too many parts" });
        }
        Ok(())
    }

    /// The first bytes of the file.
    pub(super) fn prefix(&mut self) -> io::Result<Vec<u8>> {
        self.seek(0)?;
        self.upto(PREFIX_BYTES)
    }

    /// At most `n` bytes, fewer at the end of the file. `n` is a caller's constant, never a number from the file.
    pub(super) fn upto(&mut self, n: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let n_read = self.file.by_ref().take(n).read_to_end(&mut bytes)?;
        self.at += n_read as u64;
        Ok(bytes)
    }

    /// Moves to a position, which may be past the end: the next read tells.
    pub(super) fn seek(&mut self, to: u64) -> io::Result<()> {
        let near = i64::try_from(i128::from(to) - i128::from(self.at)).ok();
        match near {
            Some(offset) => self.file.seek_relative(offset)?,
            None => {
                self.file.seek(SeekFrom::Start(to))?;
            }
        }
        self.at = to;
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    pub(super) fn u8(&mut self) -> io::Result<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> io::Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> io::Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> io::Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn u32_le(&mut self) -> io::Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Fails unless `end` lies inside the file.
    pub(super) fn holds(&self, end: Option<u64>, why: &'static str) -> Result<u64, Invalid> {
        end.filter(|end| *end <= self.len).ok_or(Invalid::Truncated { why })
    }
}
