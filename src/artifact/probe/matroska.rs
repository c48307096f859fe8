//! `WebM` and Matroska: EBML elements inside elements.
//!
//! A live recording has a segment and clusters of unknown size; their children are then walked in line with everything else,
//! since the identifiers of each level are distinct.

use std::time::Duration;

use super::{Invalid, found::Found, source::Source};

const EBML: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1f43_b675;
const INFO: u32 = 0x1549_a966;
const TIMESTAMP_SCALE: u32 = 0x002a_d7b1;
const DURATION: u32 = 0x4489;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_TYPE: u32 = 0x83;
const CODEC_ID: u32 = 0x86;
const DEFAULT_DURATION: u32 = 0x0023_e383;
const VIDEO: u32 = 0xe0;
const PIXEL_WIDTH: u32 = 0xb0;
const PIXEL_HEIGHT: u32 = 0xba;

/// Longest codec name worth keeping.
const MAX_NAME_BYTES: u64 = 64;

/// Walks the first segment; every element of known size must end inside the file.
pub(super) fn read(source: &mut Source) -> Result<Found, Invalid> {
    let mut found = Found::default();
    let (mut has_tracks, mut has_cluster) = (false, false);
    let mut at = 0;
    let mut limit = source.len();
    while at < limit {
        let element = Element::read(source, at)?;
        let end = match element.size {
            Some(size) => Some(source.holds(element.body.checked_add(size), "an element goes past the end")?),
            None => None,
        };
        at = match (element.id, end) {
            // Nothing after the segment matters; a second segment would be another film.
            (SEGMENT, Some(end)) => {
                limit = end;
                element.body
            }
            (CLUSTER, end) => {
                has_cluster = true;
                end.unwrap_or(element.body)
            }
            (SEGMENT, None) => element.body,
            (INFO, Some(end)) => {
                found.duration = read_info(source, element.body, end)?;
                end
            }
            (TRACKS, Some(end)) => {
                has_tracks = true;
                read_tracks(source, element.body, end, &mut found)?;
                end
            }
            (_, Some(end)) => end,
            (_, None) => return Err(Invalid::Unreadable { why: "an element has no size" }),
        };
        if element.id == EBML && element.size == Some(0) {
            return Err(Invalid::Unreadable { why: "its header is empty" });
        }
    }
    if !has_tracks {
        return Err(Invalid::Truncated { why: "it has no tracks" });
    }
    if !has_cluster {
        return Err(Invalid::Truncated { why: "it has no frames" });
    }
    Ok(found)
}

/// One element's identifier and extent.
struct Element {
    id: u32,
    body: u64,
    /// Absent if the writer did not know it.
    size: Option<u64>,
}

impl Element {
    fn read(source: &mut Source, at: u64) -> Result<Self, Invalid> {
        source.step()?;
        source.seek(at)?;
        let first = source.u8()?;
        let n_more = first.leading_zeros();
        if n_more > 3 {
            return Err(Invalid::Unreadable { why: "an element has no identifier" });
        }
        let mut id = u32::from(first);
        for _ in 0..n_more {
            id = id << 8 | u32::from(source.u8()?);
        }
        let first = source.u8()?;
        let n_more = first.leading_zeros();
        if n_more > 7 {
            return Err(Invalid::Unreadable { why: "an element has no size" });
        }
        // The marker bit is not part of the number; all ones stand for unknown.
        let n_bits = 7 * (n_more + 1);
        let mut size = u64::from(first) & ((1 << (7 - n_more)) - 1);
        for _ in 0..n_more {
            size = size << 8 | u64::from(source.u8()?);
        }
        let unknown = size == (1 << n_bits) - 1;
        Ok(Self { id, body: source.at(), size: (!unknown).then_some(size) })
    }

    /// The element at `at` and its end, inside a parent that ends at `limit`.
    fn inside(source: &mut Source, at: u64, limit: u64) -> Result<(Self, u64), Invalid> {
        let element = Self::read(source, at)?;
        let end = element.size.and_then(|size| element.body.checked_add(size)).filter(|end| *end <= limit);
        match end {
            Some(end) => Ok((element, end)),
            None => Err(Invalid::Unreadable { why: "an element is larger than the element around it" }),
        }
    }
}

fn read_info(source: &mut Source, mut at: u64, limit: u64) -> Result<Option<Duration>, Invalid> {
    let (mut scale_ns, mut units) = (1_000_000_u64, None);
    while at < limit {
        let (element, end) = Element::inside(source, at, limit)?;
        match element.id {
            TIMESTAMP_SCALE => scale_ns = number(source, end - element.body)?,
            DURATION => units = float(source, end - element.body)?,
            _ => {}
        }
        at = end;
    }
    Ok(units.and_then(|units| Duration::try_from_secs_f64(units * scale_ns as f64 / 1e9).ok()))
}

fn read_tracks(source: &mut Source, mut at: u64, limit: u64, found: &mut Found) -> Result<(), Invalid> {
    while at < limit {
        let (element, end) = Element::inside(source, at, limit)?;
        if element.id == TRACK_ENTRY {
            read_track(source, element.body, end, found)?;
        }
        at = end;
    }
    Ok(())
}

fn read_track(source: &mut Source, mut at: u64, limit: u64, found: &mut Found) -> Result<(), Invalid> {
    let (mut kind, mut codec, mut frame_ns, mut size) = (0, String::new(), 0, (0, 0));
    while at < limit {
        let (element, end) = Element::inside(source, at, limit)?;
        let n_bytes = end - element.body;
        match element.id {
            TRACK_TYPE => kind = number(source, n_bytes)?,
            CODEC_ID => codec = codec_name(&source.upto(n_bytes.min(MAX_NAME_BYTES))?),
            DEFAULT_DURATION => frame_ns = number(source, n_bytes)?,
            VIDEO => size = read_size(source, element.body, end)?,
            _ => {}
        }
        at = end;
    }
    match kind {
        1 => {
            found.n_video += 1;
            found.size(size.0, size.1);
            if found.fps.is_none() && frame_ns > 0 {
                // Written in whole nanoseconds: 30 fps is 33 333 333 ns.
                found.fps = Some((1e12 / frame_ns as f64).round() / 1e3);
            }
        }
        2 => found.n_audio += 1,
        _ => return Ok(()),
    }
    if !codec.is_empty() {
        found.codec(codec);
    }
    Ok(())
}

fn read_size(source: &mut Source, mut at: u64, limit: u64) -> Result<(u32, u32), Invalid> {
    let (mut width, mut height) = (0, 0);
    while at < limit {
        let (element, end) = Element::inside(source, at, limit)?;
        match element.id {
            PIXEL_WIDTH => width = number(source, end - element.body)?,
            PIXEL_HEIGHT => height = number(source, end - element.body)?,
            _ => {}
        }
        at = end;
    }
    Ok((u32::try_from(width).unwrap_or_default(), u32::try_from(height).unwrap_or_default()))
}

fn number(source: &mut Source, n_bytes: u64) -> Result<u64, Invalid> {
    if n_bytes > 8 {
        return Err(Invalid::Unreadable { why: "a number is too long" });
    }
    Ok(source.upto(n_bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn float(source: &mut Source, n_bytes: u64) -> Result<Option<f64>, Invalid> {
    Ok(match n_bytes {
        4 => Some(f64::from(f32::from_bits(source.u32()?))),
        8 => Some(f64::from_bits(source.u64()?)),
        _ => None,
    })
}

fn codec_name(id: &[u8]) -> String {
    let id = String::from_utf8_lossy(id);
    let id = id.trim_end_matches('\0');
    let name = match id {
        "V_MPEG4/ISO/AVC" => "h264",
        "V_MPEGH/ISO/HEVC" => "hevc",
        "A_MPEG/L3" => "mp3",
        _ if id.starts_with("A_PCM/") => "pcm",
        _ if id.starts_with("A_AAC") => "aac",
        _ => id.strip_prefix("V_").or_else(|| id.strip_prefix("A_")).unwrap_or_default(),
    };
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '/');
    if plain { name.to_ascii_lowercase() } else { String::new() }
}
