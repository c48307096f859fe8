//! Ogg: pages, each with the position reached so far.

use super::{
    Invalid,
    found::{Found, duration},
    source::Source,
};

/// The identification headers of all codecs fit in this.
const FIRST_PACKET_BYTES: u64 = 64;
const UNKNOWN_POSITION: u64 = u64::MAX;

/// The sound stream whose position gives the playing time.
struct Clock {
    serial: u32,
    rate: u64,
    skipped: u64,
}

/// Walks the pages; the last one must end inside the file.
pub(super) fn read(source: &mut Source) -> Result<Found, Invalid> {
    let mut found = Found::default();
    let mut clock: Option<Clock> = None;
    let mut position = 0;
    let mut at = 0;
    while at < source.len() {
        let page = Page::read(source, at)?;
        if page.is_first {
            source.seek(page.body)?;
            let packet = source.upto(FIRST_PACKET_BYTES.min(page.end - page.body))?;
            if let Some((rate, skipped)) = read_codec(&packet, &mut found)
                && clock.is_none()
            {
                clock = Some(Clock { serial: page.serial, rate, skipped });
            }
        } else if clock.as_ref().is_some_and(|clock| clock.serial == page.serial) && page.position != UNKNOWN_POSITION {
            position = page.position.max(position);
        }
        at = page.end;
    }
    found.duration = clock.and_then(|clock| duration(position.saturating_sub(clock.skipped), clock.rate));
    Ok(found)
}

struct Page {
    is_first: bool,
    position: u64,
    serial: u32,
    body: u64,
    end: u64,
}

impl Page {
    fn read(source: &mut Source, at: u64) -> Result<Self, Invalid> {
        source.step()?;
        source.seek(at)?;
        if &source.array()? != b"OggS" {
            return Err(Invalid::Unreadable { why: "a page does not begin where it must" });
        }
        let [_version, flags] = source.array()?;
        let position = source.array().map(u64::from_le_bytes)?;
        let serial = source.u32_le()?;
        // Page number and checksum.
        source.seek(source.at() + 8)?;
        let n_segments = u64::from(source.u8()?);
        let sizes = source.upto(n_segments)?;
        let body = source.at();
        let n_bytes: u64 = sizes.iter().copied().map(u64::from).sum();
        if (sizes.len() as u64) < n_segments {
            return Err(Invalid::Truncated { why: "it ends inside a page header" });
        }
        let end = source.holds(Some(body + n_bytes), "a page goes past the end")?;
        Ok(Self { is_first: flags & 2 != 0, position, serial, body, end })
    }
}

/// Notes the codec; for sound whose positions are samples, tells the rate and how many samples are not played.
fn read_codec(packet: &[u8], found: &mut Found) -> Option<(u64, u64)> {
    match packet {
        [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', _, _, low, high, ..] => {
            found.n_audio += 1;
            found.codec("opus");
            Some((48_000, u64::from(u16::from_le_bytes([*low, *high]))))
        }
        [1, b'v', b'o', b'r', b'b', b'i', b's', _, _, _, _, _, a, b, c, d, ..] => {
            found.n_audio += 1;
            found.codec("vorbis");
            Some((u64::from(u32::from_le_bytes([*a, *b, *c, *d])), 0))
        }
        [0x7f, b'F', b'L', b'A', b'C', ..] => {
            found.n_audio += 1;
            found.codec("flac");
            None
        }
        [0x80, b't', b'h', b'e', b'o', b'r', b'a', ..] => {
            found.n_video += 1;
            found.codec("theora");
            None
        }
        _ => None,
    }
}
