//! From orders to the bodies of the three calls.

use futures_util::future::try_join_all;
use serde_json::{Map, Value, json};

use crate::{
    domain::order::InputRole,
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        fields,
        google::{
            base64::encode,
            input::{Carried, carried},
        },
        port::Order,
    },
};

use super::Gemini;

/// Fields of Veo's one instance.
const OF_INSTANCE: [&str; 5] = ["prompt", "image", "lastFrame", "video", "referenceImages"];

impl Gemini {
    /// `generateContent`: the prompt, then the pictures in the request's order.
    pub(super) async fn content_body(&self, order: &Order) -> Result<Value, ProviderError> {
        let files = self.files(order, |file| match file {
            Carried::Bytes { media_type, data } => {
                json!({ "inlineData": { "mimeType": media_type, "data": encode(&data) } })
            }
            Carried::Object(uri) => json!({ "fileData": { "mimeType": image_of(&uri), "fileUri": uri } }),
        });
        let files = files.await?;
        let mut body = self.fields(order, vec![Value::Null; files.len()])?;
        body.remove("images");
        let mut parts: Vec<Value> = body.remove("prompt").map(|text| json!({ "text": text })).into_iter().collect();
        parts.extend(files);
        body.insert("contents".to_owned(), json!([{ "role": "user", "parts": parts }]));
        if let Some(Value::String(text)) = body.get("systemInstruction") {
            let text = text.clone();
            body.insert("systemInstruction".to_owned(), json!({ "parts": [{ "text": text }] }));
        }
        Ok(Value::Object(body))
    }

    /// A background interaction whose video is fetched by its address.
    pub(super) async fn interaction_body(&self, order: &Order) -> Result<Value, ProviderError> {
        let files = order.inputs.iter().map(|input| async move {
            let kind = if input.role == InputRole::Source { "video" } else { "image" };
            let file = carried(&self.inputs, &input.file).await?;
            Ok::<_, ProviderError>(match file {
                Carried::Bytes { media_type, data } => {
                    json!({ "type": kind, "mime_type": media_type, "data": encode(&data) })
                }
                Carried::Object(uri) => json!({ "type": kind, "uri": uri }),
            })
        });
        let files = try_join_all(files).await?;
        let mut body = self.fields(order, vec![Value::Null; files.len()])?;
        let prompt = body.remove("prompt").unwrap_or_default();
        let mut input = vec![json!({ "type": "text", "text": prompt })];
        input.extend(files);
        body.insert("input".to_owned(), Value::Array(input));
        body.insert("model".to_owned(), json!(order.model));
        body.insert("background".to_owned(), json!(true));
        body.insert("store".to_owned(), json!(true));
        let invalid = |why| self.error(ErrorKind::InvalidOrder, Effect::None, why);
        let place = |body: &Map<String, Value>, pointer: &str| Value::Object(body.clone()).pointer(pointer).is_some();
        if !place(&body, "/response_format/delivery") {
            fields::put(&mut body, "response_format.delivery", json!("uri")).map_err(invalid)?;
        }
        if !place(&body, "/response_format/type") {
            fields::put(&mut body, "response_format.type", json!("video")).map_err(invalid)?;
        }
        if !place(&body, "/generation_config/video_config/task") {
            fields::put(&mut body, "generation_config.video_config.task", json!(task(order))).map_err(invalid)?;
        }
        Ok(Value::Object(body))
    }

    /// Veo as this API takes it: files within the request only.
    pub(super) async fn veo_body(&self, order: &Order) -> Result<Value, ProviderError> {
        let files = order.inputs.iter().map(|input| async move {
            match carried(&self.inputs, &input.file).await? {
                Carried::Bytes { media_type, data } => {
                    let file = json!({ "bytesBase64Encoded": encode(&data), "mimeType": media_type });
                    let is_reference = input.role == InputRole::Reference;
                    Ok(if is_reference { json!({ "image": file, "referenceType": "asset" }) } else { file })
                }
                Carried::Object(_) => Err(self
                    .error(ErrorKind::InvalidOrder, Effect::None, "takes no object of a bucket here")
                    .because_of(Some("inputs".to_owned()))),
            }
        });
        let body = self.fields(order, try_join_all(files).await?)?;
        let (instance, parameters): (Map<_, _>, Map<_, _>) =
            body.into_iter().partition(|(name, _)| OF_INSTANCE.contains(&name.as_str()));
        Ok(json!({ "instances": [instance], "parameters": parameters }))
    }

    async fn files(&self, order: &Order, written: impl Fn(Carried) -> Value) -> Result<Vec<Value>, ProviderError> {
        let files = order.inputs.iter().map(|input| carried(&self.inputs, &input.file));
        Ok(try_join_all(files).await?.into_iter().map(written).collect())
    }

    fn fields(&self, order: &Order, files: Vec<Value>) -> Result<Map<String, Value>, ProviderError> {
        fields::of(order, files).map_err(|why| self.error(ErrorKind::InvalidOrder, Effect::None, why))
    }
}

/// What is done with the inputs.
fn task(order: &Order) -> &'static str {
    let has = |role| order.inputs.iter().any(|input| input.role == role);
    if has(InputRole::Source) {
        "edit"
    } else if has(InputRole::Reference) {
        "reference_to_video"
    } else if has(InputRole::FirstFrame) {
        "image_to_video"
    } else {
        "text_to_video"
    }
}

fn image_of(uri: &str) -> &'static str {
    match uri.rsplit_once('.').map(|(_, extension)| extension) {
        Some("png") => "image/png",
        Some("webp") => "image/webp",
        Some(_) | None => "image/jpeg",
    }
}
