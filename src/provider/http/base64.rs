//! Base64 as vendors write it: standard or URL-safe, padded or not, folded or not, bare or within a data URI.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The bytes of `text`, or nothing if it is no base64 or holds none. White space is skipped.
pub fn decode(text: &str) -> Option<Bytes> {
    // What nearly all write, at the speed of copying; pictures are megabytes of it.
    let bytes = base64_simd::forgiving_decode_to_vec(text.as_bytes()).ok().or_else(|| decode_url_safe(text))?;
    (!bytes.is_empty()).then(|| Bytes::from(bytes))
}

fn decode_url_safe(text: &str) -> Option<Vec<u8>> {
    let unfolded: String = text.split_ascii_whitespace().collect();
    URL_SAFE.decode(unfolded).ok()
}

/// The bytes of a `data:` URI. One that is not base64 has none: media is never written as percent-encoded text.
pub fn decode_data_uri(text: &str) -> Option<Bytes> {
    let (head, payload) = text.strip_prefix("data:")?.split_once(',')?;
    if head.ends_with(";base64") { decode(payload) } else { None }
}

/// `bytes` in the standard alphabet with padding, as requests carry files.
pub fn encode(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
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
