//! Files within JSON: base64 that is written while the bytes are read, so that an answer of many large files takes no more memory than a chunk.

use base64_simd::STANDARD;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream, stream::BoxStream};

use crate::{
    domain::artifact::Artifact,
    engine::{Engine, error::Error},
};

/// A part of a body.
pub(super) enum Piece {
    /// Text as it stands.
    Text(String),
    /// A file in base64.
    Base64 {
        /// How many characters that are.
        length: u64,
        /// The file.
        bytes: BoxStream<'static, Result<Bytes, Error>>,
    },
}

impl Piece {
    /// The bytes of an artifact in base64.
    pub(super) async fn of(engine: &Engine, artifact: &Artifact) -> Result<Self, Error> {
        let bytes = engine.read(artifact, 0..artifact.size).await?;
        Ok(Self::Base64 { length: artifact.size.div_ceil(3) * 4, bytes })
    }

    fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Base64 { length, .. } => *length,
        }
    }
}

/// How many bytes the pieces are together.
pub(super) fn length(pieces: &[Piece]) -> u64 {
    pieces.iter().map(Piece::length).sum()
}

/// The pieces one after the other.
pub(super) fn joined(pieces: Vec<Piece>) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static {
    stream::iter(pieces).flat_map(|piece| match piece {
        Piece::Text(text) => stream::iter([Ok(Bytes::from(text))]).left_stream(),
        Piece::Base64 { bytes, .. } => encoded(bytes).right_stream(),
    })
}

/// Base64 of what comes. Only the last part is padded, and each can be read alone.
pub(super) fn encoded<E: Send + 'static>(
    bytes: BoxStream<'static, Result<Bytes, E>>,
) -> impl Stream<Item = Result<Bytes, E>> + Send + 'static {
    stream::unfold(Some((bytes, Vec::new())), async |state| {
        let (mut bytes, mut rest): (_, Vec<u8>) = state?;
        loop {
            match bytes.next().await {
                None if rest.is_empty() => return None,
                None => return Some((Ok(STANDARD.encode_to_string(&rest).into()), None)),
                Some(Err(error)) => return Some((Err(error), None)),
                Some(Ok(chunk)) => {
                    let text = encode(&mut rest, &chunk);
                    if !text.is_empty() {
                        return Some((Ok(text.into()), Some((bytes, rest))));
                    }
                }
            }
        }
    })
}

/// As much of `rest` and `chunk` as makes whole groups of three; what is over stays in `rest`.
fn encode(rest: &mut Vec<u8>, chunk: &[u8]) -> String {
    let mut text = String::with_capacity((rest.len() + chunk.len()).div_ceil(3) * 4);
    let missing = if rest.is_empty() { 0 } else { (3 - rest.len()).min(chunk.len()) };
    let (head, chunk) = chunk.split_at(missing);
    rest.extend_from_slice(head);
    if rest.len() == 3 {
        STANDARD.encode_append(&*rest, &mut text);
        rest.clear();
    }
    if rest.is_empty() {
        let (whole, over) = chunk.split_at(chunk.len() - chunk.len() % 3);
        STANDARD.encode_append(whole, &mut text);
        rest.extend_from_slice(over);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn however_the_bytes_come_the_text_is_the_same_and_of_the_told_length() {
        for n in 0..20_u8 {
            let whole: Vec<u8> = (0..n).collect();
            for size in 1..8 {
                let chunks: Vec<_> = whole.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
                let length = u64::from(n).div_ceil(3) * 4;
                let file = Piece::Base64 { length, bytes: stream::iter(chunks).boxed() };
                let pieces = vec![Piece::Text("<".to_owned()), file, Piece::Text(">".to_owned())];
                let told = super::length(&pieces);
                let parts: Vec<Bytes> = joined(pieces).map(Result::unwrap).collect().await;
                let text = String::from_utf8(parts.concat()).unwrap();
                assert_eq!(text, format!("<{}>", STANDARD.encode_to_string(&whole)), "{n} bytes in chunks of {size}");
                assert_eq!(text.len() as u64, told);
            }
        }
    }

    #[tokio::test]
    async fn every_part_can_be_read_alone_and_an_error_ends_them() {
        let chunks = [Ok(Bytes::from_static(b"abcd")), Err("disk"), Ok(Bytes::from_static(b"never"))];
        let mut parts = Box::pin(encoded(stream::iter(chunks).boxed()));
        assert_eq!(parts.next().await.unwrap().unwrap(), "YWJj");
        assert_eq!(parts.next().await.unwrap(), Err("disk"));
        assert!(parts.next().await.is_none());
    }
}
