use std::{fs, io::Write, path::PathBuf, time::Duration};

use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;

/// File, kind, media type, seconds, size, frames a second, codecs.
type Row = (&'static str, Kind, &'static str, Option<f64>, Option<(u32, u32)>, Option<f64>, &'static [&'static str]);

const CLIP: Option<(u32, u32)> = Some((64, 48));
const SAMPLE: Option<(u32, u32)> = Some((512, 288));
const CLIPS: &str = "tests/fixtures/media";

const ROWS: &[Row] = &[
    ("sample_assets/sample.mp4", Kind::Video, "video/mp4", Some(5.0), SAMPLE, Some(12.0), &["h264", "aac"]),
    ("sample_assets/sample.png", Kind::Image, "image/png", None, SAMPLE, None, &["png"]),
    ("sample_assets/sample_speech.mp3", Kind::Speech, "audio/mpeg", Some(4.8), None, None, &["mp3"]),
    ("sample_assets/sample_music.mp3", Kind::Music, "audio/mpeg", Some(5.0), None, None, &["mp3"]),
    ("vp9_opus.webm", Kind::Video, "video/webm", Some(2.0), CLIP, Some(10.0), &["vp9", "opus"]),
    ("live_vp8.webm", Kind::Video, "video/webm", None, CLIP, Some(10.0), &["vp8"]),
    ("h264_vorbis.mkv", Kind::Video, "video/matroska", Some(2.0), CLIP, Some(10.0), &["h264", "vorbis"]),
    ("h264_aac.mov", Kind::Video, "video/quicktime", Some(2.0), CLIP, Some(10.0), &["h264", "aac"]),
    ("h264_aac_moov_last.mp4", Kind::Video, "video/mp4", Some(2.0), CLIP, Some(10.0), &["h264", "aac"]),
    ("fragmented.mp4", Kind::Video, "video/mp4", None, CLIP, None, &["h264"]),
    ("hevc.mp4", Kind::Video, "video/mp4", Some(2.0), CLIP, Some(10.0), &["hevc"]),
    ("av1.mp4", Kind::Video, "video/mp4", Some(2.0), CLIP, Some(10.0), &["av1"]),
    ("animated.gif", Kind::Video, "image/gif", Some(0.5), CLIP, Some(10.0), &["gif"]),
    ("animated.gif", Kind::Image, "image/gif", Some(0.5), CLIP, Some(10.0), &["gif"]),
    ("still.webp", Kind::Image, "image/webp", None, CLIP, None, &["webp"]),
    ("still.avif", Kind::Image, "image/avif", None, CLIP, None, &[]),
    ("still.jpg", Kind::Image, "image/jpeg", None, CLIP, None, &["jpeg"]),
    ("tone.wav", Kind::Speech, "audio/wav", Some(0.5), None, None, &["pcm"]),
    ("tone.ogg", Kind::Music, "audio/ogg", Some(2.0), None, None, &["vorbis"]),
    ("tone_opus.ogg", Kind::Speech, "audio/ogg", Some(2.0), None, None, &["opus"]),
    ("tone.flac", Kind::Music, "audio/flac", Some(0.5), None, None, &["flac"]),
    ("tone.m4a", Kind::Music, "audio/mp4", Some(2.0), None, None, &["aac"]),
];

fn path(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    if name.contains('/') { root.join(name) } else { root.join(CLIPS).join(name) }
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

fn probe_bytes(bytes: &[u8], expected: Kind) -> Result<MediaFacts, Invalid> {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    probe(file.path(), expected)
}

fn near(found: Option<f64>, expected: Option<f64>) -> bool {
    match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() <= 0.05,
        (None, None) => true,
        _ => false,
    }
}

#[test]
fn every_container_tells_its_facts() {
    for (name, kind, media_type, seconds, size, fps, codecs) in ROWS {
        let facts = probe(&path(name), *kind).unwrap_or_else(|invalid| panic!("{name}: {invalid}"));
        assert_eq!(facts.media_type, *media_type, "{name}");
        assert!(near(facts.duration.map(|d| d.as_secs_f64()), *seconds), "{name}: {:?}", facts.duration);
        assert_eq!(facts.width.zip(facts.height), *size, "{name}");
        assert!(near(facts.fps, *fps), "{name}: {:?}", facts.fps);
        assert_eq!(facts.codecs, *codecs, "{name}");
    }
}

#[test]
fn a_file_cut_at_any_sixteenth_is_invalid() {
    for (name, kind, ..) in ROWS {
        let whole = bytes(name);
        for sixteenth in 0..16 {
            let cut = &whole[..whole.len() * sixteenth / 16];
            let result = probe_bytes(cut, *kind);
            assert!(result.is_err(), "{name} cut at {sixteenth}/16 passes as {result:?}");
        }
    }
}

#[test]
fn a_file_without_its_last_byte_is_truncated() {
    // The last byte of WAV may be padding, and the last of a live WebM is in a block of known size.
    for (name, kind, ..) in ROWS.iter().filter(|row| row.0 != "tone.wav") {
        let whole = bytes(name);
        let result = probe_bytes(&whole[..whole.len() - 1], *kind);
        assert!(matches!(result, Err(Invalid::Truncated { .. })), "{name}: {result:?}");
    }
}

#[test]
fn nothing_and_pages_and_other_kinds_are_refused() {
    assert_eq!(probe_bytes(b"", Kind::Video), Err(Invalid::Empty));
    let refused: &[(&[u8], &str)] = &[
        (b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", "text/html"),
        (b"\n  <html>Sign in</html>", "text/html"),
        (b"<Error><Code>AccessDenied</Code></Error>", "text/html"),
        (b"<?xml version=\"1.0\"?><Error/>", "text/xml"),
        (b"{\"error\": \"expired\"}", "application/json"),
        ("[\"é\"]".as_bytes(), "application/json"),
        (b"upstream timed out", "text/plain"),
        (b"\x00\x01\x02\x03 no format known", "application/octet-stream"),
    ];
    for (bytes, found) in refused {
        for kind in Kind::ALL {
            assert_eq!(probe_bytes(bytes, kind), Err(Invalid::WrongType { found: (*found).to_owned() }));
        }
    }
    let wrong = |name, kind| probe(&path(name), kind).unwrap_err().to_string();
    assert_eq!(wrong("sample_assets/sample.png", Kind::Video), "the file is image/png");
    assert_eq!(wrong("sample_assets/sample.mp4", Kind::Image), "the file is video/mp4");
    assert_eq!(wrong("sample_assets/sample.mp4", Kind::Music), "the file is video/mp4");
    assert_eq!(wrong("tone.m4a", Kind::Video), "the file is audio/mp4");
    assert_eq!(wrong("animated.gif", Kind::Speech), "the file is image/gif");
}

#[test]
fn samples_past_the_end_are_found_though_every_box_ends_inside() {
    // The media box takes "up to the end of the file" as its size, so only the sample tables tell that bytes are missing.
    let mut cut = bytes("sample_assets/sample.mp4");
    let media = cut.windows(4).position(|window| window == b"mdat").unwrap() - 4;
    cut[media..media + 4].fill(0);
    assert!(probe_bytes(&cut, Kind::Video).is_ok());
    cut.truncate(cut.len() - 1000);
    assert_eq!(probe_bytes(&cut, Kind::Video), Err(Invalid::Truncated { why: "samples lie past the end" }));
}

#[test]
fn a_movie_without_its_header_is_truncated() {
    let whole = bytes("h264_aac_moov_last.mp4");
    let header = whole.windows(4).position(|window| window == b"moov").unwrap() - 4;
    assert_eq!(probe_bytes(&whole[..header], Kind::Video), Err(Invalid::Truncated { why: "it has no movie header" }));
}

#[test]
fn a_streamed_wav_of_unknown_length_is_as_long_as_its_bytes() {
    let mut streamed = bytes("tone.wav");
    let data = streamed.windows(4).position(|window| window == b"data").unwrap() + 4;
    streamed[4..8].fill(0xff);
    streamed[data..data + 4].fill(0xff);
    let facts = probe_bytes(&streamed, Kind::Speech).unwrap();
    assert_eq!(facts.duration, Some(Duration::from_millis(500)));
}

#[test]
fn an_mp3_that_lacks_whole_frames_is_truncated() {
    // 64 kbit/s at 44.1 kHz: cut at a frame's end, where no cut frame shows.
    let whole = bytes("sample_assets/sample_music.mp3");
    let mut n_invalid = 0;
    for n_bytes in (whole.len() / 2)..(whole.len() / 2 + 420) {
        n_invalid += usize::from(probe_bytes(&whole[..n_bytes], Kind::Music).is_err());
    }
    assert_eq!(n_invalid, 420);
}

#[test]
fn unknown_codecs_and_trailing_bytes_do_not_make_a_film_invalid() {
    let mut odd = bytes("hevc.mp4");
    let entry = odd.windows(4).position(|window| window == b"hvc1").unwrap();
    // The first match is the sample entry or a brand; replace all of them.
    for at in entry..odd.len() - 4 {
        if &odd[at..at + 4] == b"hvc1" {
            odd[at..at + 4].copy_from_slice(b"xyz9");
        }
    }
    assert_eq!(probe_bytes(&odd, Kind::Video).unwrap().codecs, ["xyz9"]);

    for (name, kind) in
        [("sample_assets/sample.png", Kind::Image), ("tone.wav", Kind::Speech), ("hevc.mp4", Kind::Video)]
    {
        let mut longer = bytes(name);
        longer.extend([0; 5]);
        probe_bytes(&longer, kind).unwrap_or_else(|invalid| panic!("{name}: {invalid}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Damage in any place ends in an answer: no panic, no endless loop.
    #[test]
    fn damaged_files_always_get_an_answer(
        row in 0..ROWS.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<[u8; 4]>(), 1_usize..=4), 1..24),
        near_start in any::<bool>(),
        kept in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (name, kind, ..) = ROWS[row];
        let mut damaged = bytes(name);
        // Headers are where the decisions are: half of the cases damage only those.
        let reach = if near_start { damaged.len().min(1024) } else { damaged.len() };
        for (at, value, n_bytes) in edits {
            let at = at.index(reach);
            let end = damaged.len().min(at + n_bytes);
            damaged[at..end].copy_from_slice(&value[..end - at]);
        }
        if let Some(kept) = kept {
            damaged.truncate(kept.index(damaged.len()));
        }
        let facts = probe_bytes(&damaged, kind);
        if let Ok(facts) = facts {
            prop_assert!(facts.fps.is_none_or(f64::is_finite));
            prop_assert!(facts.codecs.len() <= 16);
        }
    }
}
