//! Files to start from: small ones within the order, larger ones through fal's storage.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::provider::{
    error::ProviderError,
    http::{ANSWER_CAP, base64::data_uri, outcome::Call},
    port::InputFile,
};

use super::{Fal, wire::Upload};

/// fal advises data URIs for small files only; a larger file is uploaded.
const INLINE_INPUT_BYTES: usize = 256 * 1024;

impl Fal {
    /// The file as an input's value: an address, a data URI, or the address of its upload.
    pub(super) async fn file_value(&self, file: &InputFile) -> Result<Value, ProviderError> {
        match file {
            InputFile::Url(url) => Ok(Value::from(url.as_str())),
            InputFile::Bytes { media_type, data } if data.len() <= INLINE_INPUT_BYTES => {
                Ok(Value::from(data_uri(media_type, data)))
            }
            InputFile::Bytes { media_type, data } => self.upload(media_type, data.clone()).await.map(Value::from),
        }
    }

    /// An input has at most 50 MiB, far below what fal wants in parts.
    async fn upload(&self, media_type: &str, data: Bytes) -> Result<String, ProviderError> {
        let extension = media_type.rsplit('/').next().unwrap_or("bin");
        let segments = ["storage", "upload", "initiate"];
        let request = self
            .request(Method::POST, &self.rest, segments, &[("storage_type", "fal-cdn-v3")])
            .json(&json!({ "file_name": format!("input.{extension}"), "content_type": media_type }));
        let of_inputs = |error: ProviderError| error.because_of(Some("inputs".to_owned()));
        let answer = self.http.exchange(Call::Prepare, request, ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(of_inputs(self.refused(Call::Prepare, &answer, None)));
        }
        let upload: Upload = self.http.json(Call::Prepare, &answer)?;
        self.links.put(&upload.upload_url, media_type, data).await.map_err(of_inputs)?;
        Ok(upload.file_url.into())
    }
}
