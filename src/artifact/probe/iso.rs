//! MP4, `QuickTime`, M4A and AVIF: boxes inside boxes.
//!
//! The walk reads box headers and a few fixed fields. Sample tables are streamed, not loaded, so that an hour-long film costs no
//! more memory than a clip. A fragmented file has empty tables and often no length: those facts stay absent.

use super::{
    Invalid,
    found::{Found, duration},
    source::Source,
};

mod samples;

use samples::SampleTables;

/// Whether the file is only whole with a movie header; still pictures have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Movie {
    Required,
    Optional,
}

/// Walks the whole file; every box and every sample must end inside it.
pub(super) fn read(source: &mut Source, movie: Movie) -> Result<Found, Invalid> {
    let mut found = Found::default();
    let (mut has_movie, mut has_picture) = (false, false);
    let mut at = 0;
    while at < source.len() {
        if source.len() - at < HEADER_BYTES {
            // A few zero bytes are padding; anything else is the start of a box that was cut.
            source.seek(at)?;
            if source.upto(HEADER_BYTES)?.iter().any(|byte| *byte != 0) {
                return Err(Invalid::Truncated { why: "it ends inside a box header" });
            }
            break;
        }
        let part = Part::read(source, at, source.len())?;
        match &part.kind {
            b"moov" => {
                has_movie = true;
                read_movie(source, &part, &mut found)?;
            }
            b"meta" => has_picture = true,
            _ => {}
        }
        at = part.end;
    }
    match movie {
        Movie::Required if !has_movie => Err(Invalid::Truncated { why: "it has no movie header" }),
        Movie::Optional if !has_movie && !has_picture => Err(Invalid::Truncated { why: "it has no picture header" }),
        Movie::Required | Movie::Optional => Ok(found),
    }
}

const HEADER_BYTES: u64 = 8;

/// One box: its four-letter kind and where its body lies.
struct Part {
    kind: [u8; 4],
    body: u64,
    end: u64,
}

impl Part {
    /// The box at `at`, which must end at or before `limit`.
    fn read(source: &mut Source, at: u64, limit: u64) -> Result<Self, Invalid> {
        source.step()?;
        source.seek(at)?;
        let short = source.u32()?;
        let kind = source.array()?;
        let size = match short {
            0 => limit - at,
            1 => source.u64()?,
            n => u64::from(n),
        };
        let body = source.at();
        match at.checked_add(size) {
            Some(end) if end < body => Err(Invalid::Unreadable { why: "a box is smaller than its header" }),
            Some(end) if end <= limit => Ok(Self { kind, body, end }),
            _ if limit == source.len() => Err(Invalid::Truncated { why: "a box goes past the end" }),
            _ => Err(Invalid::Unreadable { why: "a box is larger than the box around it" }),
        }
    }

    /// The boxes inside. Fewer bytes than a header at the end are `QuickTime`'s terminator.
    fn children(&self, source: &mut Source) -> Result<Vec<Self>, Invalid> {
        let mut children = Vec::new();
        let mut at = self.body;
        while self.end.saturating_sub(at) >= HEADER_BYTES {
            let child = Self::read(source, at, self.end)?;
            at = child.end;
            if children.len() == MAX_CHILDREN {
                return Err(Invalid::Unreadable { why: "a box has too many boxes inside" });
            }
            children.push(child);
        }
        Ok(children)
    }

    /// Moves to `offset` in the body, where `n` bytes must be.
    fn seek(&self, source: &mut Source, offset: u64, n: u64) -> Result<(), Invalid> {
        if self.body + offset + n > self.end {
            return Err(Invalid::Unreadable { why: "a box is too short" });
        }
        Ok(source.seek(self.body + offset)?)
    }
}

/// Bounds memory: real movies have a handful.
const MAX_CHILDREN: usize = 4096;

fn read_movie(source: &mut Source, movie: &Part, found: &mut Found) -> Result<(), Invalid> {
    let mut timescale = 0;
    for part in movie.children(source)? {
        match &part.kind {
            b"mvhd" => {
                let (scale, units) = read_times(source, &part)?;
                timescale = scale;
                found.duration = found.duration.or_else(|| units.and_then(|units| duration(units, scale)));
            }
            // The length of all fragments, in the movie's time scale.
            b"mvex" => {
                for extra in part.children(source)? {
                    if &extra.kind == b"mehd" {
                        let units = read_fragment_duration(source, &extra)?;
                        found.duration = found.duration.filter(|d| !d.is_zero()).or_else(|| duration(units, timescale));
                    }
                }
            }
            b"trak" => {
                let track = Track::read(source, &part)?;
                track.add_to(found);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Time scale and length of `mvhd` and `mdhd`; all ones mean an unknown length.
fn read_times(source: &mut Source, part: &Part) -> Result<(u64, Option<u64>), Invalid> {
    part.seek(source, 0, 20)?;
    let version = source.u8()?;
    if version == 1 {
        part.seek(source, 20, 12)?;
        let scale = u64::from(source.u32()?);
        Ok((scale, Some(source.u64()?).filter(|units| *units != u64::MAX)))
    } else {
        part.seek(source, 12, 8)?;
        let scale = u64::from(source.u32()?);
        Ok((scale, Some(source.u32()?).filter(|units| *units != u32::MAX).map(u64::from)))
    }
}

fn read_fragment_duration(source: &mut Source, part: &Part) -> Result<u64, Invalid> {
    part.seek(source, 0, 8)?;
    let version = source.u8()?;
    part.seek(source, 4, if version == 1 { 8 } else { 4 })?;
    Ok(if version == 1 { source.u64()? } else { u64::from(source.u32()?) })
}

/// What one `trak` says.
#[derive(Default)]
struct Track {
    handler: [u8; 4],
    codec: [u8; 4],
    width: u32,
    height: u32,
    timescale: u64,
    units: u64,
    n_samples: u64,
}

impl Track {
    fn read(source: &mut Source, trak: &Part) -> Result<Self, Invalid> {
        let mut track = Self::default();
        for part in trak.children(source)? {
            match &part.kind {
                b"tkhd" => {
                    part.seek(source, 0, 1)?;
                    // Width and height are the last two fields, 16.16 fixed point.
                    let offset = if source.u8()? == 1 { 88 } else { 76 };
                    part.seek(source, offset, 8)?;
                    (track.width, track.height) = (source.u32()? >> 16, source.u32()? >> 16);
                }
                b"mdia" => track.read_media(source, &part)?,
                _ => {}
            }
        }
        Ok(track)
    }

    fn read_media(&mut self, source: &mut Source, mdia: &Part) -> Result<(), Invalid> {
        for part in mdia.children(source)? {
            match &part.kind {
                b"mdhd" => {
                    let (scale, units) = read_times(source, &part)?;
                    (self.timescale, self.units) = (scale, units.unwrap_or_default());
                }
                b"hdlr" => {
                    part.seek(source, 8, 4)?;
                    self.handler = source.array()?;
                }
                b"minf" => {
                    for inner in part.children(source)? {
                        if &inner.kind == b"stbl" {
                            self.read_samples(source, &inner)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn read_samples(&mut self, source: &mut Source, stbl: &Part) -> Result<(), Invalid> {
        let mut tables = SampleTables::default();
        for part in stbl.children(source)? {
            if &part.kind == b"stsd" {
                part.seek(source, 4, 4)?;
                if source.u32()? > 0 {
                    part.seek(source, 12, 4)?;
                    self.codec = source.array()?;
                }
            } else {
                tables.note(source, &part)?;
            }
        }
        self.n_samples = tables.n_samples();
        tables.check(source)
    }

    fn add_to(&self, found: &mut Found) {
        match &self.handler {
            b"vide" => {
                found.n_video += 1;
                found.size(self.width, self.height);
                if found.fps.is_none() && self.units > 0 && self.n_samples > 0 {
                    found.fps = Some(self.n_samples as f64 * self.timescale as f64 / self.units as f64);
                }
            }
            b"soun" => found.n_audio += 1,
            // Time codes, subtitles and hints are not what a caller asks for.
            _ => return,
        }
        if let Some(name) = codec_name(self.codec) {
            found.codec(name);
        }
    }
}

/// The usual short name; an unknown sample entry keeps its four letters.
fn codec_name(entry: [u8; 4]) -> Option<String> {
    let name = match &entry {
        b"avc1" | b"avc3" => "h264",
        b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" => "hevc",
        b"av01" => "av1",
        b"vp08" => "vp8",
        b"vp09" => "vp9",
        b"mp4v" => "mpeg4",
        b"apcn" | b"apch" | b"apcs" | b"apco" | b"ap4h" | b"ap4x" => "prores",
        b"jpeg" | b"mjpa" => "mjpeg",
        b"mp4a" => "aac",
        b".mp3" => "mp3",
        b"ac-3" => "ac3",
        b"ec-3" => "eac3",
        b"lpcm" | b"sowt" | b"twos" | b"in24" | b"fl32" | b"ipcm" | b"fpcm" => "pcm",
        other => {
            let text = std::str::from_utf8(other).ok()?.trim();
            let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric());
            return plain.then(|| text.to_ascii_lowercase());
        }
    };
    Some(name.to_owned())
}
