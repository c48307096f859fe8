//! A recorded answer that is given as it was.

use std::{collections::BTreeMap, fs, path::Path};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An answer as a vendor gave it: `{"status": 422, "headers": {"x-request-id": "1"}, "body": {…}}`. In place of `body`,
/// `text` is sent as it is and `base64` is sent as bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Played {
    status: u16,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(flatten)]
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Body(Value),
    Text(String),
    Base64(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    text: Option<String>,
    base64: Option<String>,
}

fn ok() -> u16 {
    200
}

impl TryFrom<Written> for Played {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { status, headers, body, text, base64 } = written;
        if !(200..=599).contains(&status) {
            return Err(format!("answer: status {status} is not in 200 to 599"));
        }
        for (name, value) in &headers {
            if name.parse::<HeaderName>().is_err() || value.parse::<HeaderValue>().is_err() {
                return Err(format!("answer: {name:?} is no header, or its value cannot be one"));
            }
        }
        let content = match (body, text, base64) {
            (body, None, None) => body.map_or_else(|| Content::Text(String::new()), Content::Body),
            (None, Some(text), None) => Content::Text(text),
            (None, None, Some(base64)) => {
                STANDARD.decode(&base64).map_err(|error| format!("answer: base64: {error}"))?;
                Content::Base64(base64)
            }
            _ => return Err("answer: body, text and base64 exclude each other".to_owned()),
        };
        Ok(Self { status, headers, content })
    }
}

impl Played {
    /// Reads the JSON of a file; a relative path is seen from the working directory.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("answer={}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("answer={}: {error}", path.display()))
    }

    /// The answer. Of its headers only those about the connection are not taken: length and encoding are this one's own.
    pub(crate) fn response(&self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (media_type, bytes) = match &self.content {
            Content::Body(body) => ("application/json", body.to_string().into_bytes()),
            Content::Text(text) => ("text/plain; charset=utf-8", text.clone().into_bytes()),
            Content::Base64(text) => ("application/octet-stream", STANDARD.decode(text).unwrap_or_default()),
        };
        let mut response = (status, [(header::CONTENT_TYPE, media_type)], Body::from(bytes)).into_response();
        let own = [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::TRANSFER_ENCODING, header::CONNECTION];
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse())
                && !own.contains(&name)
            {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
