//! PNG, JPEG, GIF and RIFF: pictures whose last part says that they are whole.

use std::time::Duration;

use super::{Invalid, found::Found, source::Source};

const PNG_SIGNATURE_BYTES: u64 = 8;

/// Walks the chunks up to `IEND`; what follows it is nobody's business.
pub(super) fn png(source: &mut Source) -> Result<Found, Invalid> {
    let mut at = PNG_SIGNATURE_BYTES;
    loop {
        source.step()?;
        source.seek(at)?;
        let size = u64::from(source.u32()?);
        let kind = source.array::<4>()?;
        // Length, kind, data, checksum.
        at = source.holds(Some(at + size + 12), "a chunk goes past the end")?;
        if &kind == b"IEND" {
            return Ok(still("png"));
        }
    }
}

/// Walks the segments and, after each start of scan, the entropy-coded bytes, up to the end-of-image marker.
pub(super) fn jpeg(source: &mut Source) -> Result<Found, Invalid> {
    const END: u8 = 0xd9;
    const SCAN: u8 = 0xda;
    source.seek(2)?;
    let mut marker = next_marker(source)?;
    loop {
        source.step()?;
        match marker {
            END => return Ok(still("jpeg")),
            // Restart markers and other markers that stand alone.
            0x01 | 0xd0..=0xd8 => marker = next_marker(source)?,
            _ => {
                let start = source.at();
                let size = u64::from(source.u16()?);
                source.seek(source.holds(Some(start + size.max(2)), "a segment goes past the end")?)?;
                marker = if marker == SCAN { marker_after_scan(source)? } else { next_marker(source)? };
            }
        }
    }
}

/// The marker at the read position; fill bytes before it are allowed.
fn next_marker(source: &mut Source) -> Result<u8, Invalid> {
    if source.u8()? != 0xff {
        return Err(Invalid::Unreadable { why: "a marker is missing" });
    }
    loop {
        let byte = source.u8()?;
        if byte != 0xff {
            return Ok(byte);
        }
    }
}

/// Passes over coded bytes, where 0xff is followed by zero, or by a restart marker, or is a marker.
fn marker_after_scan(source: &mut Source) -> Result<u8, Invalid> {
    let mut after_ff = false;
    loop {
        match source.u8()? {
            0xff => after_ff = true,
            0x00 | 0xd0..=0xd7 => after_ff = false,
            marker if after_ff => return Ok(marker),
            _ => {}
        }
    }
}

/// Walks the blocks up to the trailer, adding up the frames' delays.
pub(super) fn gif(source: &mut Source) -> Result<Found, Invalid> {
    source.seek(6)?;
    let screen = source.array::<7>()?;
    source.seek(source.at() + color_table_bytes(screen[4]))?;
    let (mut n_frames, mut centiseconds) = (0_u64, 0_u64);
    loop {
        match source.u8()? {
            0x3b => break,
            0x2c => {
                n_frames += 1;
                let descriptor = source.array::<9>()?;
                // One more byte: the code size before the picture's blocks.
                source.seek(source.at() + color_table_bytes(descriptor[8]) + 1)?;
                skip_blocks(source)?;
            }
            0x21 => {
                if source.u8()? == 0xf9 {
                    let control = source.array::<4>()?;
                    centiseconds += u64::from(u16::from_le_bytes([control[2], control[3]]));
                    source.seek(source.at() + u64::from(control[0].saturating_sub(3)))?;
                }
                skip_blocks(source)?;
            }
            _ => return Err(Invalid::Unreadable { why: "a block is of no known kind" }),
        }
    }
    let mut found = still("gif");
    if n_frames > 1 && centiseconds > 0 {
        found.duration = Some(Duration::from_millis(centiseconds * 10));
        found.fps = Some(n_frames as f64 * 100.0 / centiseconds as f64);
    }
    Ok(found)
}

fn color_table_bytes(flags: u8) -> u64 {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

fn skip_blocks(source: &mut Source) -> Result<(), Invalid> {
    loop {
        source.step()?;
        match source.u8()? {
            0 => return Ok(()),
            size => source.seek(source.at() + u64::from(size))?,
        }
    }
}

/// `WebP` and AVI say how long they are in their first eight bytes.
pub(super) fn riff(source: &mut Source) -> Result<Found, Invalid> {
    source.seek(4)?;
    let size = u64::from(source.u32_le()?);
    source.holds(Some(8 + size), "it is shorter than it says")?;
    source.seek(8)?;
    Ok(if &source.array()? == b"WEBP" { still("webp") } else { Found::default() })
}

fn still(codec: &str) -> Found {
    Found { codecs: vec![codec.to_owned()], ..Found::default() }
}
