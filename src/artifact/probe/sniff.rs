//! Which container the first bytes announce, and its media type.

/// How the rest of the file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Iso,
    IsoImage,
    Matroska,
    Png,
    Jpeg,
    Gif,
    /// WebP and AVI: one chunk whose length is known.
    Riff,
    Wav,
    Mp3,
    Adts,
    Ogg,
    Flac,
    OtherImage,
    /// A page, a message, a script: never media.
    Text,
    /// Known by name only; its structure is not checked.
    Unknown,
}

/// The container and media type of a file that begins with `prefix`.
pub(super) fn sniff(prefix: &[u8]) -> (Container, &'static str) {
    let Some(found) = infer::get(prefix) else { return by_hand(prefix) };
    match found.mime_type() {
        "video/mp4" => (Container::Iso, "video/mp4"),
        "video/x-m4v" => (Container::Iso, "video/x-m4v"),
        "video/quicktime" => (Container::Iso, "video/quicktime"),
        "audio/m4a" => (Container::Iso, "audio/mp4"),
        "image/avif" => (Container::IsoImage, "image/avif"),
        "image/heif" => (Container::IsoImage, "image/heif"),
        "video/webm" => (Container::Matroska, "video/webm"),
        "video/x-matroska" => (Container::Matroska, "video/matroska"),
        "image/png" => (Container::Png, "image/png"),
        "image/jpeg" => (Container::Jpeg, "image/jpeg"),
        "image/gif" => (Container::Gif, "image/gif"),
        "image/webp" => (Container::Riff, "image/webp"),
        "video/x-msvideo" => (Container::Riff, "video/x-msvideo"),
        "audio/x-wav" => (Container::Wav, "audio/wav"),
        "audio/mpeg" => (Container::Mp3, "audio/mpeg"),
        "audio/aac" => (Container::Adts, "audio/aac"),
        "audio/ogg" | "audio/opus" => (Container::Ogg, "audio/ogg"),
        "audio/x-flac" => (Container::Flac, "audio/flac"),
        text if text.starts_with("text/") => (Container::Text, text),
        image if image.starts_with("image/") => (Container::OtherImage, image),
        other => (Container::Unknown, other),
    }
}

/// What the table of signatures misses: rare brands, short Matroska files, MPEG-2.5, and text.
fn by_hand(prefix: &[u8]) -> (Container, &'static str) {
    match prefix {
        [_, _, _, _, b'f' | b's', b't', b'y', b'p', ..] => (Container::Iso, "video/mp4"),
        [_, _, _, _, b'm', b'o', b'o', b'v' | b'f', ..] | [_, _, _, _, b'w', b'i', b'd', b'e', ..] => {
            (Container::Iso, "video/quicktime")
        }
        [0x1a, 0x45, 0xdf, 0xa3, ..] if prefix.windows(4).any(|window| window == b"webm") => {
            (Container::Matroska, "video/webm")
        }
        [0x1a, 0x45, 0xdf, 0xa3, ..] => (Container::Matroska, "video/matroska"),
        [0xff, second, ..] if second & 0xe6 == 0xe2 => (Container::Mp3, "audio/mpeg"),
        [0xff, 0xf0 | 0xf8, ..] => (Container::Adts, "audio/aac"),
        _ => text(prefix),
    }
}

/// Names the usual text answers; anything unprintable stays nameless.
fn text(prefix: &[u8]) -> (Container, &'static str) {
    let valid = match std::str::from_utf8(prefix) {
        Ok(text) => text,
        // The prefix may end inside a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&prefix[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => "",
    };
    if valid.is_empty() || valid.contains(|c: char| c.is_control() && !c.is_whitespace()) {
        return (Container::Unknown, "application/octet-stream");
    }
    let start = valid.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if start.starts_with(['{', '[']) {
        (Container::Text, "application/json")
    } else if start.starts_with('<') {
        (Container::Text, "text/html")
    } else {
        (Container::Text, "text/plain")
    }
}
