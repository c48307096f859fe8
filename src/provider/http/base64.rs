//! Base64 as vendors write it: standard or URL-safe, padded or not, folded or not, bare or within a data URI.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The bytes of `text`, or nothing if it is no base64 or holds none. White space is skipped.
pub fn decode(text: &str) -> Option<Bytes> {
    let folded: String;
    let text = if text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        folded = text.split_ascii_whitespace().collect();
        &folded
    } else {
        text
    };
    let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()?;
    (!bytes.is_empty()).then(|| Bytes::from(bytes))
}

/// The bytes of a `data:` URI. One that is not base64 has none: media is never written as percent-encoded text.
pub fn decode_data_uri(text: &str) -> Option<Bytes> {
    let (head, payload) = text.strip_prefix("data:")?.split_once(',')?;
    if head.ends_with(";base64") { decode(payload) } else { None }
}

/// `bytes` in the standard alphabet with padding, as requests carry files.
pub fn encode(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// `bytes` as a `data:` URI.
pub fn data_uri(media_type: &str, bytes: &[u8]) -> String {
    format!("data:{media_type};base64,{}", encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_however_it_is_written() {
        for text in ["YWJj", "YWJjZA==", "YWJjZA", "YW\nJj", " YWJj "] {
            assert!(decode(text).unwrap().starts_with(b"abc"), "{text}");
        }
        assert_eq!(decode("-_8").unwrap().as_ref(), [0xfb, 0xff]);
        for text in ["", " ", "not base64!", "data:image/png;base64,YWJj"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn a_data_uri_is_read_if_it_is_base64() {
        assert_eq!(decode_data_uri(&data_uri("image/png", b"abcd")).unwrap().as_ref(), b"abcd");
        for text in ["data:image/png,abc", "data:image/png;base64,", "YWJj"] {
            assert_eq!(decode_data_uri(text), None, "{text}");
        }
    }
}
