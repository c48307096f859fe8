//! What a finished job hands out: which file, and in which shape the answer mentions it.

use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How an answer mentions an output file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Shape {
    /// As the model's schema says.
    #[default]
    Native,
    /// One link.
    Url,
    /// A list of links.
    Array,
    /// The link under these keys, outermost first.
    Object(Vec<String>),
    /// The bytes as a `data:` URI.
    DataUri,
    /// The bytes as bare base64 under `data`.
    Base64,
    /// Nothing.
    Null,
    /// Words without any link.
    Text,
    /// One link to a `WebM` file, where the model makes video.
    Webm,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "native" => Self::Native,
            "url" => Self::Url,
            "array" => Self::Array,
            "object" => Self::Object(vec!["url".to_owned()]),
            "data_uri" => Self::DataUri,
            "base64" => Self::Base64,
            "null" => Self::Null,
            "text" => Self::Text,
            "webm" => Self::Webm,
            other => match other.strip_prefix("object.") {
                Some(keys) if keys.split('.').all(|key| !key.is_empty()) => {
                    Self::Object(keys.split('.').map(str::to_owned).collect())
                }
                Some(_) | None => return Err(format!("unknown output shape {other:?}")),
            },
        })
    }
}

impl TryFrom<String> for Shape {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Shape> for String {
    fn from(shape: Shape) -> Self {
        match shape {
            Shape::Native => "native".to_owned(),
            Shape::Url => "url".to_owned(),
            Shape::Array => "array".to_owned(),
            Shape::Object(keys) => format!("object.{}", keys.join(".")),
            Shape::DataUri => "data_uri".to_owned(),
            Shape::Base64 => "base64".to_owned(),
            Shape::Null => "null".to_owned(),
            Shape::Text => "text".to_owned(),
            Shape::Webm => "webm".to_owned(),
        }
    }
}

impl Shape {
    /// The `output` value for these links to files of `media`..
    pub(crate) fn render(&self, native: Native, links: &[String], media: Media) -> Value {
        let first = || links.first().cloned().map_or(Value::Null, Value::String);
        match self {
            Self::Native => match native {
                Native::One => first(),
                Native::List => json!(links),
            },
            Self::Url | Self::Webm => first(),
            Self::Array => json!(links),
            Self::Object(keys) => keys.iter().rev().fold(first(), |inner, key| json!({ key: inner })),
            Self::DataUri => {
                let file = format!("data:{};base64,{}", media.media_type(), STANDARD.encode(media.bytes()));
                match native {
                    Native::One => Value::String(file),
                    Native::List => json!([file]),
                }
            }
            Self::Base64 => json!({ "data": STANDARD.encode(media.bytes()) }),
            Self::Null => Value::Null,
            Self::Text => Value::String("the clip is ready".to_owned()),
        }
    }
}

/// What a model's schema says of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Native {
    /// One link.
    One,
    /// A list of links, also when there is one.
    List,
}

/// A file the simulator serves; all are small, real and playable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// 512×288, 12 frames a second, 5 s, H.264.
    Mp4,
    /// The same in VP9.
    Webm,
    /// 256×256.
    Jpg,
    /// 256×256.
    Png,
    /// 256×256.
    Webp,
    /// 8 s of a tone.
    Wav,
    /// 8 s of a tone.
    Mp3,
}

impl Media {
    pub(crate) fn bytes(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Mp4 => include_bytes!("clip.mp4"),
            Self::Webm => include_bytes!("clip.webm"),
            Self::Jpg => include_bytes!("still.jpg"),
            Self::Png => include_bytes!("still.png"),
            Self::Webp => include_bytes!("still.webp"),
            Self::Wav => include_bytes!("tone.wav"),
            Self::Mp3 => include_bytes!("tone.mp3"),
        })
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Webm => "video/webm",
            Self::Jpg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Wav => "audio/wav",
            Self::Mp3 => "audio/mpeg",
        }
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Webm => "webm",
            Self::Jpg => "jpg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Wav => "wav",
            Self::Mp3 => "mp3",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shape_mentions_the_file_its_own_way() {
        let check = |shape: &str, expected: Value| {
            let shape: Shape = shape.parse().unwrap();
            let links = ["http://x/a.mp4".to_owned()];
            assert_eq!(shape.render(Native::One, &links, Media::Mp4), expected, "{shape:?}");
        };
        check("native", json!("http://x/a.mp4"));
        check("url", json!("http://x/a.mp4"));
        check("array", json!(["http://x/a.mp4"]));
        check("object", json!({"url": "http://x/a.mp4"}));
        check("object.artifact.download_url", json!({"artifact": {"download_url": "http://x/a.mp4"}}));
        check("base64", json!({"data": STANDARD.encode(Media::Mp4.bytes())}));
        check("null", Value::Null);
        check("text", json!("the clip is ready"));
    }

    #[test]
    fn the_files_are_what_their_names_say() {
        for (media, media_type) in [
            (Media::Mp4, "video/mp4"),
            (Media::Webm, "video/webm"),
            (Media::Jpg, "image/jpeg"),
            (Media::Png, "image/png"),
            (Media::Webp, "image/webp"),
            (Media::Mp3, "audio/mpeg"),
        ] {
            assert_eq!(infer::get(&media.bytes()).unwrap().mime_type(), media_type);
            assert_eq!(media.media_type(), media_type);
        }
    }
}
