//! Looks at the bytes of a file: is it what was ordered, is it whole, and what does it say of itself.
//!
//! Headers are read by seeking, so a file of any size is judged in constant memory; samples are never decoded. Structure decides
//! (boxes, pages, chunks and sample tables must end inside the file); metadata that is missing or unknown stays absent, because
//! a paid output must not be refused for an unusual codec.

use std::{fs::File, io, path::Path};

use crate::domain::artifact::{Kind, MediaFacts};

mod audio;
mod found;
mod image;
mod iso;
mod matroska;
mod mpeg;
mod ogg;
mod sniff;
mod source;

use found::Found;
use sniff::Container;
use source::Source;

/// Why bytes are no artifact. The texts are ours and safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// There are no bytes.
    #[error("the file is empty")]
    Empty,
    /// The bytes are something else than the expected kind, for example an error page.
    #[error("the file is {found}")]
    WrongType {
        /// Media type found in the bytes.
        found: String,
    },
    /// The file ends before what it announces.
    #[error("the file is truncated: {why}")]
    Truncated {
        /// What is missing.
        why: &'static str,
    },
    /// The file contradicts itself or cannot be read.
    #[error("the file is unreadable: {why}")]
    Unreadable {
        /// What is wrong.
        why: &'static str,
    },
}

impl From<io::Error> for Invalid {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Truncated { why: "it ends inside a header" }
        } else {
            Self::Unreadable { why: "reading it failed" }
        }
    }
}

/// Tells the facts of the file at `path`, or why it is no whole `expected`.
///
/// Blocking; reads a file of any size in bounded memory and bounded steps, and never panics on hostile bytes.
/// GIF counts as video and as image, because vendors return it for both.
pub fn probe(path: &Path, expected: Kind) -> Result<MediaFacts, Invalid> {
    look(path).and_then(|facts| judge(facts, expected))
}

/// Whether what was found is a file of the expected kind.
pub(super) fn judge(facts: MediaFacts, expected: Kind) -> Result<MediaFacts, Invalid> {
    if accepts(expected, &facts.media_type) { Ok(facts) } else { Err(Invalid::WrongType { found: facts.media_type }) }
}

/// As [`probe`], whatever kind it is.
pub(super) fn look(path: &Path) -> Result<MediaFacts, Invalid> {
    let mut source = Source::new(File::open(path)?)?;
    if source.len() == 0 {
        return Err(Invalid::Empty);
    }
    let (container, media_type) = sniff::sniff(&source.prefix()?);
    // An error page is refused before anything in it is believed.
    if matches!(container, Container::Text) {
        return Err(Invalid::WrongType { found: media_type.to_owned() });
    }
    let found = match container {
        Container::Iso => iso::read(&mut source, iso::Movie::Required)?,
        Container::IsoImage => found::with_size(iso::read(&mut source, iso::Movie::Optional)?, path),
        Container::Matroska => matroska::read(&mut source)?,
        Container::Png => found::with_size(image::png(&mut source)?, path),
        Container::Jpeg => found::with_size(image::jpeg(&mut source)?, path),
        Container::Gif => found::with_size(image::gif(&mut source)?, path),
        Container::Riff => found::with_size(image::riff(&mut source)?, path),
        Container::OtherImage => found::with_size(Found::default(), path),
        Container::Wav => audio::wav(&mut source)?,
        Container::Flac => audio::flac(&mut source, path)?,
        Container::Mp3 => mpeg::mp3(&mut source)?,
        Container::Adts => mpeg::adts(&mut source)?,
        Container::Ogg => ogg::read(&mut source)?,
        Container::Unknown | Container::Text => Found::default(),
    };
    let media_type = found.refine(media_type);
    Ok(found.into_facts(media_type))
}

/// Whether a file of this media type can be an output of this kind.
fn accepts(expected: Kind, media_type: &str) -> bool {
    match expected {
        Kind::Video => media_type.starts_with("video/") || media_type == "image/gif",
        Kind::Image => media_type.starts_with("image/"),
        Kind::Speech | Kind::Music => media_type.starts_with("audio/"),
    }
}

#[cfg(test)]
mod tests;
