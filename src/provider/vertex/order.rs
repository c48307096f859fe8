//! From an order to the body of `:predictLongRunning`.

use futures_util::future::try_join_all;
use serde_json::{Map, Value, json};

use crate::{
    domain::{names::SubmitKey, order::InputRole},
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        fields,
        google::{
            base64::encode,
            input::{Carried, carried},
            veo,
        },
        port::{Order, Ticket},
    },
};

use super::{Vertex, store::Folder};

/// Fields of the one instance; whatever is neither here nor beside them is a parameter.
const OF_INSTANCE: [&str; 6] = ["prompt", "image", "lastFrame", "video", "mask", "referenceImages"];
/// The field beside instances and parameters.
const LABELS: &str = "labels";
/// An option of ours for all references: `asset`, or `style` where a model takes it.
const REFERENCE_TYPE: &str = "referenceType";
/// Where the videos go.
const STORAGE: &str = "storageUri";

/// What is sent, and what is remembered of it.
pub(super) struct Body {
    pub(super) json: Value,
    /// Without the operation's name, which the answer brings.
    pub(super) ticket: Ticket,
}

impl Vertex {
    /// The body of this submit.
    ///
    /// # Errors
    /// A field does not fit, or an input cannot be had: nothing was sent.
    pub(super) async fn body(&self, order: &Order, key: SubmitKey) -> Result<Body, ProviderError> {
        let invalid = |why: String| self.error(ErrorKind::InvalidOrder, Effect::None, why);
        if order.model.is_empty() || order.model.contains(['/', ':', '?', '#']) {
            return Err(self.error(ErrorKind::ModelNotFound, Effect::None, "names its models without slashes"));
        }
        let files = order.inputs.iter().map(|input| async {
            let file = carried(&self.inputs, &input.file).await?;
            Ok::<_, ProviderError>(self.written(order, input.role, file))
        });
        let files = try_join_all(files).await?;
        let mut all = fields::of(order, files).map_err(invalid)?;
        all.remove(REFERENCE_TYPE);
        let folder = match all.remove(STORAGE) {
            None => self.folder.clone(),
            Some(wish) => Some(wish.as_str().and_then(Folder::read).ok_or_else(|| {
                invalid("takes a storageUri such as gs://bucket/prefix/".to_owned())
                    .because_of(Some("options.provider_options.storageUri".to_owned()))
            })?),
        };
        let folder = folder.map(|folder| folder.of(key));
        let labels = all.remove(LABELS);
        let (instance, mut parameters): (Map<_, _>, Map<_, _>) =
            all.into_iter().partition(|(name, _)| OF_INSTANCE.contains(&name.as_str()));
        parameters.extend(folder.map(|folder| (STORAGE.to_owned(), Value::from(folder.uri()))));
        let mut json = json!({ "instances": [instance], "parameters": parameters });
        if let Some(labels) = labels {
            json[LABELS] = labels;
        }
        Ok(Body { json, ticket: self.ticket(String::new(), veo::remembered(order)) })
    }

    /// A file as the instance has it.
    fn written(&self, order: &Order, role: InputRole, file: Carried) -> Value {
        let fallback = if role == InputRole::Source { "video/mp4" } else { "image/png" };
        let file = match file {
            Carried::Bytes { media_type, data } => {
                json!({ "bytesBase64Encoded": encode(&data), "mimeType": media_type })
            }
            Carried::Object(uri) => {
                let media_type = media_type_of(&uri).unwrap_or(fallback);
                json!({ "gcsUri": uri, "mimeType": media_type })
            }
        };
        match role {
            InputRole::Reference => {
                let kind = order.provider_options.get(REFERENCE_TYPE).cloned().unwrap_or_else(|| json!("asset"));
                json!({ "image": file, "referenceType": kind })
            }
            InputRole::FirstFrame
            | InputRole::LastFrame
            | InputRole::Source
            | InputRole::Mask
            | InputRole::Sequence
            | InputRole::Audio => file,
        }
    }
}

/// The media type that an object's name tells: Google wants one beside the name.
fn media_type_of(uri: &str) -> Option<&'static str> {
    let (_, extension) = uri.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "mp4" => "video/mp4",
        "mov" => "video/quicktime",
        _ => return None,
    })
}
