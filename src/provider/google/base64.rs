//! Base64 as Google writes it: standard or URL-safe, padded or not.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The bytes of `text`, or nothing if it is no base64 or holds none. Line breaks are skipped.
pub(in crate::provider) fn decode(text: &str) -> Option<Bytes> {
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

/// `bytes` in the standard alphabet with padding, as requests carry files.
pub(in crate::provider) fn encode(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
