//! Sample tables: where every sample of a track lies in the file.

use std::io;

use super::{Invalid, Part, Source};

/// How much of a table is in memory at a time.
const WINDOW_BYTES: u64 = 16 * 1024;

/// The three tables that place samples: chunk offsets, samples in a chunk, sample sizes.
#[derive(Default)]
pub(super) struct SampleTables {
    offsets: Option<Table>,
    runs: Option<Table>,
    sizes: Option<Sizes>,
}

/// One size for all samples (raw sound), or one entry each.
struct Sizes {
    constant: u64,
    n_samples: u64,
    table: Table,
}

impl SampleTables {
    /// Remembers where a table lies; other boxes are passed over.
    pub(super) fn note(&mut self, source: &mut Source, part: &Part) -> Result<(), Invalid> {
        match &part.kind {
            b"stco" => self.offsets = Some(Table::read(source, part, 4, 4)?),
            b"co64" => self.offsets = Some(Table::read(source, part, 4, 8)?),
            b"stsc" => self.runs = Some(Table::read(source, part, 4, 12)?),
            b"stsz" => {
                part.seek(source, 4, 8)?;
                let constant = u64::from(source.u32()?);
                let n_samples = u64::from(source.u32()?);
                // With a constant size the table is empty, whatever the count says.
                let table = if constant == 0 { Table::read(source, part, 8, 4)? } else { Table::empty() };
                self.sizes = Some(Sizes { constant, n_samples, table });
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn n_samples(&self) -> u64 {
        self.sizes.as_ref().map_or(0, |sizes| sizes.n_samples)
    }

    /// Fails if a sample ends past the end of the file. An incomplete set of tables proves nothing and passes.
    pub(super) fn check(self, source: &mut Source) -> Result<(), Invalid> {
        let (Some(mut offsets), Some(mut runs), Some(mut sizes)) = (self.offsets, self.runs, self.sizes) else {
            return Ok(());
        };
        let mut per_chunk = 0;
        let mut next_run = runs.run(source)?;
        let mut n_left = sizes.n_samples;
        let mut chunk = 0_u64;
        while n_left > 0
            && let Some(offset) = offsets.number(source)?
        {
            chunk += 1;
            while let Some((first_chunk, n)) = next_run
                && first_chunk <= chunk
            {
                per_chunk = n;
                next_run = runs.run(source)?;
            }
            let n = per_chunk.min(n_left);
            n_left -= n;
            let bytes = sizes.sum(source, n)?;
            if bytes > 0 {
                source.holds(offset.checked_add(bytes), "samples lie past the end")?;
            }
        }
        Ok(())
    }
}

impl Sizes {
    /// Bytes of the next `n` samples.
    fn sum(&mut self, source: &mut Source, n: u64) -> io::Result<u64> {
        if self.constant > 0 {
            return Ok(self.constant.saturating_mul(n));
        }
        let mut bytes = 0_u64;
        for _ in 0..n {
            let Some(size) = self.table.number(source)? else { break };
            bytes = bytes.saturating_add(size);
        }
        Ok(bytes)
    }
}

/// Entries of one width, read a window at a time.
struct Table {
    at: u64,
    end: u64,
    width: usize,
    window: Vec<u8>,
    used: usize,
}

impl Table {
    /// The table whose entry count is at `offset` in the box. The count must fit in the box.
    fn read(source: &mut Source, part: &Part, offset: u64, width: u64) -> Result<Self, Invalid> {
        part.seek(source, offset, 4)?;
        let n_entries = u64::from(source.u32()?);
        let at = source.at();
        let end = at + n_entries * width;
        if end > part.end {
            return Err(Invalid::Unreadable { why: "a sample table is larger than its box" });
        }
        Ok(Self { at, end, width: width as usize, window: Vec::new(), used: 0 })
    }

    fn empty() -> Self {
        Self { at: 0, end: 0, width: 4, window: Vec::new(), used: 0 }
    }

    fn entry(&mut self, source: &mut Source) -> io::Result<Option<&[u8]>> {
        if self.used == self.window.len() {
            let width = self.width as u64;
            let n = (self.end - self.at).min(WINDOW_BYTES / width * width);
            source.seek(self.at)?;
            self.window = source.upto(n)?;
            self.at += n;
            self.used = 0;
        }
        let entry = self.window.get(self.used..self.used + self.width);
        self.used = (self.used + self.width).min(self.window.len());
        Ok(entry)
    }

    /// The next entry as one big-endian number.
    fn number(&mut self, source: &mut Source) -> io::Result<Option<u64>> {
        Ok(self.entry(source)?.map(big_endian))
    }

    /// The next entry as (first chunk, samples in each chunk from there).
    fn run(&mut self, source: &mut Source) -> io::Result<Option<(u64, u64)>> {
        Ok(self.entry(source)?.map(|entry| (big_endian(&entry[..4]), big_endian(&entry[4..8]))))
    }
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
