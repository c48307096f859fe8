//! Files to start from, as bytes within a request: Google fetches no address that is not its own.

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use url::Url;

use crate::{
    domain::names::ProviderId,
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        http::links::Links,
        port::InputFile,
    },
};

/// Most bytes of one file: what Google takes within a request.
const MOST_BYTES: usize = 20 << 20;

/// A file as a request carries it.
#[derive(Debug)]
pub(in crate::provider) enum Carried {
    /// Within the request.
    Bytes {
        /// Media type found in the bytes.
        media_type: String,
        /// All of them.
        data: Bytes,
    },
    /// An object in Google's own store, `gs://…`.
    Object(String),
}

/// `file` as a request can carry it; what lies at another's address is fetched, behind the fence and without a key.
///
/// # Errors
/// The address gives nothing, or more than 20 MiB: nothing was ordered then.
pub(in crate::provider) async fn carried(
    provider: &ProviderId,
    links: &Links,
    file: &InputFile,
) -> Result<Carried, ProviderError> {
    let refuse =
        |kind, why: String| ProviderError::new(provider, kind, Effect::None, why).because_of(Some("inputs".to_owned()));
    let url = match file {
        InputFile::Bytes { media_type, data } => {
            return Ok(Carried::Bytes { media_type: media_type.clone(), data: data.clone() });
        }
        InputFile::Url(url) if object_of(url).is_some() => {
            return Ok(Carried::Object(object_of(url).unwrap_or_default()));
        }
        InputFile::Url(url) => url,
    };
    let opened = links.open_without_key(url).await.map_err(|error| {
        let kind = match error.kind {
            ErrorKind::Overloaded | ErrorKind::Timeout | ErrorKind::Transport => error.kind,
            _ => ErrorKind::InvalidOrder,
        };
        refuse(kind, format!("needs an input as bytes, and its address {}", error.summary))
    })?;
    let mut stream = opened.stream;
    let mut data = BytesMut::new();
    while let Some(chunk) = stream.try_next().await.map_err(|error| refuse(error.kind, error.summary))? {
        if data.len() + chunk.len() > MOST_BYTES {
            let why = format!("takes inputs of at most {MOST_BYTES} bytes, and an address gives more");
            return Err(refuse(ErrorKind::InvalidOrder, why));
        }
        data.extend_from_slice(&chunk);
    }
    let media_type = infer::get(&data).map(|found| found.mime_type().to_owned());
    let media_type = media_type.ok_or_else(|| {
        refuse(ErrorKind::InvalidOrder, "needs an input that is media, and its address gives none".to_owned())
    })?;
    Ok(Carried::Bytes { media_type, data: data.freeze() })
}

/// The object behind an address of the store that carries no signature.
fn object_of(url: &Url) -> Option<String> {
    if url.scheme() == "gs" {
        return Some(url.to_string());
    }
    let is_store = matches!(url.host_str(), Some("storage.googleapis.com" | "storage.cloud.google.com"));
    let path = url.path().trim_start_matches('/');
    let is_plain = is_store && url.scheme() == "https" && url.query().is_none() && path.contains('/');
    let is_api = ["storage/", "download/", "upload/"].iter().any(|first| path.starts_with(first));
    let name = percent_encoding::percent_decode_str(path).decode_utf8().ok()?;
    (is_plain && !is_api).then(|| format!("gs://{name}"))
}
