//! Files to start from, as bytes within a request: Google fetches no address that is not its own.

use bytes::Bytes;
use url::Url;

use crate::provider::{
    error::ProviderError,
    http::inputs::{File, Inputs},
    port::InputFile,
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

/// `file` as a request can carry it; what lies at another's address is fetched.
///
/// # Errors
/// Those of [`Inputs::fetch`], naming the inputs: nothing was ordered then.
pub(in crate::provider) async fn carried(inputs: &Inputs, file: &InputFile) -> Result<Carried, ProviderError> {
    if let InputFile::Url(url) = file
        && let Some(object) = object_of(url)
    {
        return Ok(Carried::Object(object));
    }
    let fetched = inputs.fetch(file, MOST_BYTES).await;
    let File { media_type, data } = fetched.map_err(|error| error.because_of(Some("inputs".to_owned())))?;
    Ok(Carried::Bytes { media_type, data })
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
