//! MP3 and raw AAC: frames one after the other, each saying its own length.

use super::{
    Invalid,
    found::{Found, duration},
    source::Source,
};

/// How far the first frame may be from the start or the tag; encoders pad.
const MAX_GAP_BYTES: u64 = 64 * 1024;

/// One frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    n_bytes: u64,
    n_samples: u64,
    rate: u64,
    /// Where an encoder's own count of frames would be, from the start of the frame.
    count_at: u64,
}

/// What a walk over all frames found.
struct Walk {
    first: Frame,
    first_at: u64,
    n_frames: u64,
    n_samples: u64,
}

/// Frames must end inside the file, and be as many as the encoder noted in the first one.
pub(super) fn mp3(source: &mut Source) -> Result<Found, Invalid> {
    let start = after_tags(source)?;
    let walk = walk(source, start, mp3_frame)?;
    let mut n_samples = walk.n_samples;
    if let Some(n_announced) = announced_frames(source, &walk)? {
        // The note is in a silent frame of its own, which encoders count or not.
        if walk.n_frames < n_announced {
            return Err(Invalid::Truncated { why: "it holds fewer frames than it says" });
        }
        n_samples = n_samples.saturating_sub(walk.first.n_samples);
    }
    Ok(found("mp3", &walk, n_samples))
}

/// Raw AAC (ADTS) has no count; a cut frame is all that can be seen.
pub(super) fn adts(source: &mut Source) -> Result<Found, Invalid> {
    let start = after_tags(source)?;
    let walk = walk(source, start, adts_frame)?;
    Ok(found("aac", &walk, walk.n_samples))
}

fn found(codec: &str, walk: &Walk, n_samples: u64) -> Found {
    Found {
        n_audio: 1,
        codecs: vec![codec.to_owned()],
        duration: duration(n_samples, walk.first.rate),
        ..Found::default()
    }
}

/// Passes over `ID3v2` tags, which may hold a cover picture.
fn after_tags(source: &mut Source) -> Result<u64, Invalid> {
    let mut at = 0;
    loop {
        source.step()?;
        source.seek(at)?;
        let head = source.array::<10>()?;
        let [b'I', b'D', b'3', _, _, flags, size @ ..] = head else { return Ok(at) };
        // Seven bits in each byte; a footer repeats the header.
        let size = size.iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7f));
        let footer = if flags & 0x10 == 0 { 0 } else { 10 };
        at = source.holds(Some(at + 10 + size + footer), "its tag goes past the end")?;
    }
}

fn walk(source: &mut Source, start: u64, parse: fn([u8; 7]) -> Option<Frame>) -> Result<Walk, Invalid> {
    let (first_at, first) = first_frame(source, start, parse)?;
    let mut walk = Walk { first, first_at, n_frames: 0, n_samples: 0 };
    let mut at = first_at;
    while let Some(frame) = frame_at(source, at, parse)? {
        source.step()?;
        at = source.holds(Some(at + frame.n_bytes), "a frame goes past the end")?;
        walk.n_frames += 1;
        walk.n_samples += frame.n_samples;
    }
    // Whatever follows the last frame is a trailing tag.
    Ok(walk)
}

/// The first header that is followed by another one, or by the end of the file.
fn first_frame(source: &mut Source, start: u64, parse: fn([u8; 7]) -> Option<Frame>) -> Result<(u64, Frame), Invalid> {
    for at in start..source.len().min(start + MAX_GAP_BYTES) {
        if let Some(frame) = frame_at(source, at, parse)?
            && (at + frame.n_bytes >= source.len() || frame_at(source, at + frame.n_bytes, parse)?.is_some())
        {
            return Ok((at, frame));
        }
    }
    if start + MAX_GAP_BYTES < source.len() {
        return Err(Invalid::Unreadable { why: "it has no frames" });
    }
    Err(Invalid::Truncated { why: "it has no frames" })
}

fn frame_at(source: &mut Source, at: u64, parse: fn([u8; 7]) -> Option<Frame>) -> Result<Option<Frame>, Invalid> {
    if source.len().saturating_sub(at) < 7 {
        return Ok(None);
    }
    source.seek(at)?;
    Ok(parse(source.array()?))
}

/// The number of frames in a `Xing` or `Info` note, if the encoder left one.
fn announced_frames(source: &mut Source, walk: &Walk) -> Result<Option<u64>, Invalid> {
    if walk.first.n_bytes < walk.first.count_at + 12 {
        return Ok(None);
    }
    source.seek(walk.first_at + walk.first.count_at)?;
    let mark = source.array::<4>()?;
    let flags = source.u32()?;
    let is_note = &mark == b"Xing" || &mark == b"Info";
    Ok(if is_note && flags & 1 == 1 { Some(u64::from(source.u32()?)) } else { None })
}

/// Layer III alone: `audio/mpeg` of layers I and II is not made any more.
fn mp3_frame(header: [u8; 7]) -> Option<Frame> {
    const KBITS_1: [u64; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const KBITS_2: [u64; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    const RATES: [u64; 3] = [44_100, 48_000, 32_000];
    let [0xff, second, third, fourth, ..] = header else { return None };
    if second & 0xe6 != 0xe2 {
        return None;
    }
    let (kbits, n_samples, divisor) = match second >> 3 & 3 {
        3 => (KBITS_1, 1152, 1),
        2 => (KBITS_2, 576, 2),
        0 => (KBITS_2, 576, 4),
        _ => return None,
    };
    // Index 0 is "free format", whose length is nowhere written.
    let kbits = *kbits.get(usize::from(third >> 4).checked_sub(1)?)?;
    let rate = RATES.get(usize::from(third >> 2 & 3))? / divisor;
    let padding = u64::from(third >> 1 & 1);
    let is_mono = fourth >> 6 == 3;
    let count_at = match (divisor, is_mono) {
        (1, false) => 36,
        (1, true) | (_, false) => 21,
        (_, true) => 13,
    };
    Some(Frame { n_bytes: n_samples / 8 * kbits * 1000 / rate + padding, n_samples, rate, count_at })
}

fn adts_frame(header: [u8; 7]) -> Option<Frame> {
    const RATES: [u64; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
    let [0xff, second, third, fourth, fifth, sixth, seventh] = header else { return None };
    if second & 0xf6 != 0xf0 {
        return None;
    }
    let rate = *RATES.get(usize::from(third >> 2 & 15))?;
    let n_bytes = u64::from(fourth & 3) << 11 | u64::from(fifth) << 3 | u64::from(sixth >> 5);
    let n_samples = 1024 * (u64::from(seventh & 3) + 1);
    (n_bytes >= 7).then_some(Frame { n_bytes, n_samples, rate, count_at: 0 })
}
