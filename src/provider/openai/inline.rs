//! Images and speech: one exchange, and the files come with the answer.

use bytes::Bytes;
use serde_json::Value;

use crate::{
    domain::{card::Size, money::Usage, names::SubmitKey},
    provider::{
        error::ProviderError,
        http::{Answer, INLINE_CAP, base64, outcome::Call, text::is_html},
        port::{Order, RemoteOutput, Submitted},
    },
};

use super::{
    OpenAi,
    answer::charged,
    wire::{self, File, number},
};

/// Most bytes of an answer with ten large images in base64.
const IMAGES_CAP: usize = 256 << 20;

impl OpenAi {
    /// An order with images to start from is an edit, and they are attached.
    pub(super) async fn make_images(&self, order: &Order, key: &SubmitKey) -> Result<Submitted, ProviderError> {
        let body = self.body(order)?;
        let request = if body.has_files() {
            self.submission(&["images", "edits"], key).multipart(self.form(&body, order).await?)
        } else {
            self.submission(&["images", "generations"], key).json(&body.json())
        };
        let answer = self.http.exchange(Call::Submit, request, IMAGES_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Submit, &answer, Some(order)));
        }
        let page: Value = self.http.json(Call::Submit, &answer)?;
        let outputs: Vec<RemoteOutput> = wire::files(&page).iter().filter_map(|file| self.output(file)).collect();
        if outputs.is_empty()
            && let Some(error) = self.error_within(&answer, &page, order)
        {
            return Err(error);
        }
        let usage = Usage {
            outputs: u32::try_from(outputs.len()).ok(),
            megapixels: megapixels(&page, outputs.len()),
            tokens: number(&page["usage"]["output_tokens"]),
            charged: charged(&answer),
            ..Usage::default()
        };
        Ok(Submitted::Done(outputs, usage))
    }

    fn output(&self, file: &File) -> Option<RemoteOutput> {
        match file {
            File::Base64(text) => decode(text).map(RemoteOutput::Inline),
            // SGLang names a path of its own.
            File::Address(address) => self.base.join(address).ok().map(RemoteOutput::Link),
        }
    }

    /// The text as speech.
    pub(super) async fn speak(&self, order: &Order, key: &SubmitKey) -> Result<Submitted, ProviderError> {
        let body = self.body(order)?;
        let request = self.submission(&["audio", "speech"], key).json(&body.json());
        let answer = self.http.exchange(Call::Submit, request, INLINE_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Submit, &answer, Some(order)));
        }
        let sound = self.sound(&answer, order)?;
        let outputs: Vec<RemoteOutput> = sound.into_iter().map(RemoteOutput::Inline).collect();
        let characters = body.field("input").map(|text| text.chars().count() as u64);
        let n = u32::try_from(outputs.len()).ok();
        let usage = Usage { outputs: n, characters, charged: charged(&answer), ..Usage::default() };
        Ok(Submitted::Done(outputs, usage))
    }

    /// The sound, if the answer holds one.
    fn sound(&self, answer: &Answer, order: &Order) -> Result<Option<Bytes>, ProviderError> {
        if is_html(&answer.body) {
            return Err(self.http.broken(Call::Submit, "answered an HTML page to the order"));
        }
        // Sound may begin with any byte, but is no JSON to its end.
        let is_object = answer.body.first() == Some(&b'{');
        let page = is_object.then(|| serde_json::from_slice::<Value>(&answer.body).ok()).flatten();
        let Some(page) = page else { return Ok(Some(answer.body.clone()).filter(|sound| !sound.is_empty())) };
        let inline = ["audio", "data", "b64_json"].iter().find_map(|key| decode(page[*key].as_str()?));
        match self.error_within(answer, &page, order) {
            Some(error) if inline.is_none() => Err(error),
            Some(_) | None => Ok(inline),
        }
    }
}

/// The bytes of base64, bare or within a data URI.
fn decode(text: &str) -> Option<Bytes> {
    if text.starts_with("data:") { base64::decode_data_uri(text) } else { base64::decode(text) }
}

/// Million pixels of `n` images, if the answer says their size.
fn megapixels(page: &Value, n: usize) -> Option<f64> {
    let size: Size = page["size"].as_str()?.parse().ok()?;
    Some(size.pixels() as f64 / 1e6 * n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_however_it_is_written() {
        for text in ["YWJj", "YWJjZA==", "YWJjZA", "YW\nJj", "data:image/png;base64,YWJj"] {
            assert!(decode(text).unwrap().starts_with(b"abc"), "{text}");
        }
        for text in ["", "not base64!", "data:image/png,abc"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
