//! Files to start from: roles, names, addresses, and bytes that came inline.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use infer::MatcherType;
use percent_encoding::percent_decode_str;
use url::Url;

use super::{Violations, hosts, unknown};
use crate::{
    domain::{names::ArtifactId, order::InputRole},
    engine::request::{AskedInput, AskedSource},
    pb::v1::{self, input::Source},
};

const MAX_INPUTS: usize = 64;
const MAX_INLINE_BYTES: usize = 3 << 20;
const MAX_URL_BYTES: usize = 8192;
/// So many characters tell what the bytes are; a multiple of four, and no media file is shorter.
const LEAST_BASE64: usize = 64;
/// Many encoders leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The inputs that are right; each wrong one is a violation.
pub(super) fn accept(inputs: Vec<v1::Input>, violations: &mut Violations) -> Vec<AskedInput> {
    if inputs.len() > MAX_INPUTS {
        violations.add("inputs", format!("has {} inputs; at most {MAX_INPUTS}", inputs.len()));
        return Vec::new();
    }
    let inputs = inputs.into_iter().enumerate();
    inputs
        .filter_map(|(index, input)| {
            let path = format!("inputs[{index}]");
            let role = role(input.role, &path, violations);
            let source = source(input.source, &path, violations);
            let (role, (field, source)) = role.zip(source)?;
            Some(AskedInput { role, field, source })
        })
        .collect()
}

fn role(role: i32, path: &str, violations: &mut Violations) -> Option<InputRole> {
    use v1::InputRole as Wire;
    match Wire::try_from(role) {
        Ok(Wire::FirstFrame) => Some(InputRole::FirstFrame),
        Ok(Wire::LastFrame) => Some(InputRole::LastFrame),
        Ok(Wire::Reference) => Some(InputRole::Reference),
        Ok(Wire::Source) => Some(InputRole::Source),
        Ok(Wire::Mask) => Some(InputRole::Mask),
        Ok(Wire::Sequence) => Some(InputRole::Sequence),
        Ok(Wire::Audio) => Some(InputRole::Audio),
        Ok(Wire::Unspecified) | Err(_) => {
            let known = InputRole::ALL.map(InputRole::as_str);
            violations.0.push(unknown(format!("{path}.role"), role, &known));
            None
        }
    }
}

/// The field that holds it, and what it holds.
pub(super) fn source(
    source: Option<Source>,
    path: &str,
    violations: &mut Violations,
) -> Option<(&'static str, AskedSource)> {
    let (field, accepted) = match source {
        None => {
            violations.add(path, "needs one of artifact, uri and data");
            return None;
        }
        Some(Source::Artifact(name)) => {
            let artifact = name.parse::<ArtifactId>().map(AskedSource::Artifact).map_err(|error| error.to_string());
            ("artifact", artifact)
        }
        Some(Source::Uri(uri)) => ("uri", address(&uri)),
        Some(Source::Data(data)) => ("data", inline(data)),
    };
    match accepted {
        Ok(source) => Some((field, source)),
        Err(why) => {
            violations.add(format!("{path}.{field}"), why);
            None
        }
    }
}

/// A URL, a data URI, or the base64 of a media file as it stands.
fn address(uri: &str) -> Result<AskedSource, String> {
    if uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
        return inline(data_uri(uri.get(5..).unwrap_or_default())?.into());
    }
    if let Some(bytes) = bare_base64(uri) {
        return inline(bytes.into());
    }
    if uri.len() > MAX_URL_BYTES {
        return Err(format!("has {} bytes; at most {MAX_URL_BYTES} unless it is a data URI", uri.len()));
    }
    // The text is not repeated: a URL may hold a signature.
    let url = Url::parse(uri)
        .map_err(|error| format!("is no https URL, no data URI and no base64 of an image, video or sound: {error}"))?;
    hosts::check(&url)?;
    Ok(AskedSource::Url(url))
}

/// The bytes of a text that is base64 and nothing else: no URL is, and no path or word begins like a media file.
pub(in crate::door) fn bare_base64(text: &str) -> Option<Vec<u8>> {
    let start: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).take(LEAST_BASE64).collect();
    if start.len() < LEAST_BASE64 || !infer_media(&BASE64.decode(&start).ok()?) {
        return None;
    }
    BASE64.decode(text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<u8>>()).ok()
}

fn infer_media(bytes: &[u8]) -> bool {
    infer::get(bytes).is_some_and(|found| {
        matches!(found.matcher_type(), MatcherType::Image | MatcherType::Video | MatcherType::Audio)
    })
}

fn inline(data: Bytes) -> Result<AskedSource, String> {
    match data.len() {
        0 => Err("is empty".to_owned()),
        1..=MAX_INLINE_BYTES => Ok(AskedSource::Bytes(data)),
        n_bytes => Err(format!("has {n_bytes} bytes; at most {MAX_INLINE_BYTES}. Use UploadArtifact for larger files")),
    }
}

/// The bytes of `[media type][;base64],data`. The media type is not believed: the bytes are looked at later.
pub(in crate::door) fn data_uri(uri: &str) -> Result<Vec<u8>, String> {
    let (head, data) = uri.split_once(',').ok_or("is a data URI without a comma")?;
    let bytes: Vec<u8> = percent_decode_str(data).collect();
    let is_base64 = head.rsplit(';').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("base64"));
    if !is_base64 {
        return Ok(bytes);
    }
    let text: Vec<u8> = bytes.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(text).map_err(|error| format!("is a data URI whose base64 is wrong: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_uri_is_decoded_whichever_way_it_is_written() {
        for (uri, bytes) in [
            ("image/png;base64,AQID", &[1, 2, 3][..]),
            ("image/png;base64,AQI=", &[1, 2]),
            ("image/png;base64,AQI%3D", &[1, 2]),
            ("image/png;base64,AQI", &[1, 2]),
            ("image/png;charset=x;BASE64,A Q\nID", &[1, 2, 3]),
            (";base64,AQID", &[1, 2, 3]),
            (",a%20b", b"a b"),
            ("text/plain,a,b", b"a,b"),
        ] {
            assert_eq!(data_uri(uri).as_deref(), Ok(bytes), "{uri}");
        }
    }

    #[test]
    fn a_broken_data_uri_is_refused() {
        for uri in ["data:", "data:image/png", "data:;base64,", "data:;base64,***", "data:,", "DATA:;base64,A"] {
            assert!(address(uri).is_err(), "{uri}");
        }
        let big = format!("data:,{}", "x".repeat(MAX_INLINE_BYTES + 1));
        assert!(address(&big).unwrap_err().contains("UploadArtifact"));
        assert!(address(&big[..big.len() - 1]).is_ok());
    }
}
