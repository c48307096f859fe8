//! What the readers of containers found, before it becomes [`MediaFacts`].

use std::{fs::File, io::BufReader, path::Path, time::Duration};

use crate::domain::artifact::MediaFacts;

/// More tracks than this are not worth a name each.
const MAX_CODECS: usize = 16;

/// Facts and the kinds of tracks; nothing is known until a reader says so.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) duration: Option<Duration>,
    pub(super) width: Option<u32>,
    pub(super) height: Option<u32>,
    pub(super) fps: Option<f64>,
    pub(super) codecs: Vec<String>,
    pub(super) n_video: usize,
    pub(super) n_audio: usize,
}

impl Found {
    /// The media type once the tracks are known: a film container with sound alone is sound.
    pub(super) fn refine(&self, media_type: &'static str) -> &'static str {
        match (media_type, self.n_video, self.n_audio) {
            ("video/mp4" | "video/quicktime" | "video/x-m4v", 0, 1..) => "audio/mp4",
            ("video/webm", 0, 1..) => "audio/webm",
            ("video/matroska", 0, 1..) => "audio/matroska",
            ("audio/ogg", 1.., _) => "video/ogg",
            ("audio/mp4", 1.., _) => "video/mp4",
            _ => media_type,
        }
    }

    pub(super) fn codec(&mut self, name: impl Into<String>) {
        if self.codecs.len() < MAX_CODECS {
            self.codecs.push(name.into());
        }
    }

    pub(super) fn size(&mut self, width: u32, height: u32) {
        if width > 0 && height > 0 && self.width.is_none() {
            (self.width, self.height) = (Some(width), Some(height));
        }
    }

    pub(super) fn into_facts(self, media_type: &str) -> MediaFacts {
        MediaFacts {
            media_type: media_type.to_owned(),
            duration: self.duration.filter(|duration| !duration.is_zero()),
            width: self.width,
            height: self.height,
            fps: self.fps.filter(|fps| fps.is_finite() && *fps > 0.0),
            codecs: self.codecs,
        }
    }
}

/// `count` units at `rate` a second; absent if the file gives no rate or an absurd number.
pub(super) fn duration(count: u64, rate: u64) -> Option<Duration> {
    if rate == 0 {
        return None;
    }
    Duration::try_from_secs_f64(count as f64 / rate as f64).ok()
}

/// Adds width and height of a still picture, if its header tells.
pub(super) fn with_size(mut found: Found, path: &Path) -> Found {
    if let Ok(file) = File::open(path)
        && let Ok(size) = imagesize::reader_size(BufReader::new(file))
        && let (Ok(width), Ok(height)) = (u32::try_from(size.width), u32::try_from(size.height))
    {
        found.size(width, height);
    }
    found
}
