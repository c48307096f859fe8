//! WAV and FLAC: sound whose header says how much follows.

use std::{fs::File, path::Path};

use symphonia::{
    core::{
        formats::{FormatOptions, FormatReader},
        io::MediaSourceStream,
    },
    default::formats::FlacReader,
};

use super::{
    Invalid,
    found::{Found, duration},
    source::Source,
};

/// From here on a length is a streaming writer's "unknown": it could not go back to fill it in.
const UNKNOWN_LENGTHS: std::ops::RangeInclusive<u32> = 0x7fff_0000..=u32::MAX;

/// Walks the chunks. A streamed file of unknown length is whole by definition and as long as its bytes.
pub(super) fn wav(source: &mut Source) -> Result<Found, Invalid> {
    source.seek(4)?;
    let size = source.u32_le()?;
    let streamed = size == 0 || UNKNOWN_LENGTHS.contains(&size);
    if !streamed {
        // Some writers forget to round up to an even length, some count the padding twice.
        source.holds(Some((8 + u64::from(size)).saturating_sub(1)), "it is shorter than it says")?;
    }
    let mut found = Found { n_audio: 1, ..Found::default() };
    let mut bytes_a_second = 0;
    let mut at = 12;
    loop {
        source.step()?;
        source.seek(at)?;
        let kind = source.array::<4>()?;
        let size = source.u32_le()?;
        let body = source.at();
        match &kind {
            b"fmt " => {
                let tag = source.array::<2>().map(u16::from_le_bytes)?;
                source.seek(body + 8)?;
                bytes_a_second = u64::from(source.u32_le()?);
                if let Some(name) = wav_codec(tag) {
                    found.codec(name);
                }
            }
            b"data" => {
                let rest = source.len() - body;
                let is_open = UNKNOWN_LENGTHS.contains(&size) || (streamed && size == 0);
                let n_bytes = if is_open { rest } else { u64::from(size) };
                source.holds(Some(body + n_bytes), "its sound is shorter than it says")?;
                found.duration = duration(n_bytes, bytes_a_second);
                return Ok(found);
            }
            _ => {}
        }
        // Chunks begin at even positions.
        at = body + u64::from(size) + u64::from(size & 1);
    }
}

fn wav_codec(tag: u16) -> Option<&'static str> {
    match tag {
        1 | 3 | 0xfffe => Some("pcm"),
        2 | 0x11 => Some("adpcm"),
        6 => Some("alaw"),
        7 => Some("mulaw"),
        0x55 => Some("mp3"),
        _ => None,
    }
}

/// Reads the stream header, then counts the samples of all frames: FLAC has no other sign of its end.
pub(super) fn flac(source: &mut Source, path: &Path) -> Result<Found, Invalid> {
    // Signature 4, block header 4, block and frame sizes 10; then rate 20 bits, channels 3, depth 5, samples 36.
    source.seek(18)?;
    let packed = source.u64()?;
    let (rate, n_samples) = (packed >> 44, packed & 0xf_ffff_ffff);
    let found =
        Found { n_audio: 1, codecs: vec!["flac".to_owned()], duration: duration(n_samples, rate), ..Found::default() };
    // Zero stands for unknown: the writer was streaming.
    if n_samples > 0 && count_flac_samples(path, n_samples)? < n_samples {
        return Err(Invalid::Truncated { why: "it holds fewer samples than it says" });
    }
    Ok(found)
}

/// Samples found in frames, up to `enough`.
fn count_flac_samples(path: &Path, enough: u64) -> Result<u64, Invalid> {
    let stream = MediaSourceStream::new(Box::new(File::open(path)?), Default::default());
    let Ok(mut reader) = FlacReader::try_new(stream, FormatOptions::default()) else {
        return Err(Invalid::Unreadable { why: "its stream header is damaged" });
    };
    let mut n_samples = 0_u64;
    while n_samples < enough
        && let Ok(Some(packet)) = reader.next_packet()
    {
        n_samples = n_samples.saturating_add(packet.dur.get());
    }
    Ok(n_samples)
}
