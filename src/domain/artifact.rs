//! Outputs, uploads and their facts.

use std::{fmt, str::FromStr, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::names::{ArtifactId, AttemptId, GenerationId};

/// What an output is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Moving pictures, with or without sound.
    Video,
    /// One still picture.
    Image,
    /// A spoken voice.
    Speech,
    /// Music or other sound.
    Music,
}

/// Anything that is made, text of chats included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    /// By generations, of this kind.
    Media(Kind),
    /// By chats.
    Text,
}

impl Kind {
    /// Every kind, in the order of the contract.
    pub const ALL: [Self; 4] = [Self::Video, Self::Image, Self::Speech, Self::Music];

    /// The stable lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Image => "image",
            Self::Speech => "speech",
            Self::Music => "music",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind {0:?}; allowed: video, image, speech, music")]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// What looking at the bytes told. A fact that the container does not tell is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MediaFacts {
    /// Media type found in the bytes, for example `video/mp4`.
    pub media_type: String,
    /// Playing time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// Width in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Height in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Frames a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    /// Short codec names in track order, for example `h264`, `aac`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codecs: Vec<String>,
}

/// Stored bytes with their facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name.
    pub id: ArtifactId,
    /// The generation that made it; absent for an upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<GenerationId>,
    /// What it is.
    pub kind: Kind,
    /// What looking at the bytes told.
    pub facts: MediaFacts,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes in lower-case hexadecimal.
    pub sha256: String,
    /// Where the bytes are; several artifacts may refer to one blob.
    pub blob: BlobKey,
    /// True if the sample provider made it.
    pub sample: bool,
    /// When it was stored.
    pub created_at: Timestamp,
}

impl Artifact {
    /// The same bytes as the `index`th output of another generation.
    pub fn shared_with(&self, generation: GenerationId, index: usize, now: Timestamp) -> Self {
        Self {
            id: ArtifactId::output(generation, index),
            generation: Some(generation),
            created_at: now,
            ..self.clone()
        }
    }
}

/// Where a blob is: `{day}/{hour}/{attempt}-{index}-{fence}`, by the time (UTC) at which the key was made. The fence is new for every
/// storing, so nobody who was fenced out overwrites it.
///
/// Older keys are `{attempt}/{index}/{fence}`. Always three plain path segments, of which the second is a number: whatever was read from a
/// row or a listing cannot point elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobKey(String);

impl BlobKey {
    /// A key that nobody else has, for the `index`th output of an attempt. An upload is the only output of an attempt of its own.
    pub fn fresh(attempt: AttemptId, index: usize) -> Self {
        let hour = Timestamp::now().strftime("%Y-%m-%d/%H");
        Self(format!("{hour}/{attempt}-{index}-{}", Uuid::now_v7().simple()))
    }

    /// The key as text, in the form of a relative path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no key of a blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a blob key must be three parts of A-Z a-z 0-9 _ - with / in between, the second one a number")]
pub struct BadBlobKey;

impl TryFrom<String> for BlobKey {
    type Error = BadBlobKey;

    fn try_from(text: String) -> Result<Self, BadBlobKey> {
        const MAX_SEGMENT: usize = 128;
        let plain = |segment: &str| {
            (1..=MAX_SEGMENT).contains(&segment.len())
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        };
        let mut segments = text.split('/');
        let (day, hour, name) = (segments.next(), segments.next(), segments.next());
        let valid = day.is_some_and(plain)
            && hour.is_some_and(|hour| plain(hour) && hour.bytes().all(|byte| byte.is_ascii_digit()))
            && name.is_some_and(plain)
            && segments.next().is_none();
        if valid { Ok(Self(text)) } else { Err(BadBlobKey) }
    }
}

impl FromStr for BlobKey {
    type Err = BadBlobKey;

    fn from_str(text: &str) -> Result<Self, BadBlobKey> {
        Self::try_from(text.to_owned())
    }
}

impl From<BlobKey> for String {
    fn from(key: BlobKey) -> Self {
        key.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_key_is_three_plain_segments_and_never_a_way_out() {
        let key = BlobKey::fresh(AttemptId::fresh(), 2);
        assert_eq!(key.as_str().parse(), Ok(key.clone()));
        assert_ne!(key.as_str().rsplit('/').next(), BlobKey::fresh(AttemptId::fresh(), 2).as_str().rsplit('/').next());
        for bad in
            ["", "a", "a/0", "a/0/", "/0/f", "a//f", "a/x/f", "a/0/f/g", "../0/f", "a/0/..", "a/0/f.tmp", "a/0/f#1"]
        {
            assert_eq!(bad.parse::<BlobKey>(), Err(BadBlobKey), "{bad}");
        }
        assert!(serde_json::from_str::<BlobKey>("\"../../etc/passwd\"").is_err());
    }

    #[test]
    fn blobs_of_one_hour_share_a_folder() {
        let attempt = AttemptId::fresh();
        let hour = || Timestamp::now().strftime("%Y-%m-%d/%H").to_string();
        let (before, key, after) = (hour(), BlobKey::fresh(attempt, 2), hour());
        let (folder, name) = key.as_str().rsplit_once('/').unwrap();
        assert!([before, after].contains(&folder.to_owned()), "{key}");
        assert!(name.starts_with(&format!("{attempt}-2-")), "{key}");
    }

    #[test]
    fn a_key_of_an_older_version_is_still_one() {
        let old = "0199f3a2-7c1e-7d60-a9fb-0f0b3f8f2f11/0/0199f3a27c207a41b1d2c4f0a5e6d7c8";
        assert_eq!(old.parse::<BlobKey>().unwrap().as_str(), old);
    }
}
