//! What a caller sent, as far as a test may see it: bodies parsed, files hashed, credentials left out.

use axum::{
    body::Bytes,
    extract::{FromRequest, Multipart, Request, multipart::Field},
};
use http::{HeaderMap, Uri, header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Words in the name of a header or query parameter that make its value a credential.
const SECRET_NAMES: [&str; 7] = ["auth", "key", "token", "secret", "cookie", "signature", "password"];

/// A recorded request. Extracting it never fails; what could not be read is said by `unreadable`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// Without credentials.
    pub(crate) headers: Vec<(String, String)>,
    /// JSON as it came. Of a multipart form: text by field name, a file as its name, type, size and SHA-256, a repeated
    /// field as a list. Null if there was none.
    pub(crate) body: Value,
    /// Why `body` is no JSON although one came.
    pub(crate) unreadable: Option<String>,
    pub(crate) n_bytes: usize,
}

impl Received {
    /// The text at this JSON pointer of the body, or nothing.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// A header that is no credential.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Puts itself into a job's page on the control side.
    pub(crate) fn describe(&self, page: &mut Value) {
        let headers: Map<String, Value> =
            self.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        page["method"] = json!(self.method);
        page["path"] = json!(self.path);
        page["headers"] = Value::Object(headers);
        page["body"] = self.body.clone();
    }

    fn read_json(&mut self, bytes: &[u8]) {
        self.n_bytes = bytes.len();
        if bytes.is_empty() {
            return;
        }
        match serde_json::from_slice(bytes) {
            Ok(body) => self.body = body,
            Err(error) => self.unreadable = Some(format!("the body is not JSON: {error}")),
        }
    }

    async fn read_form(&mut self, mut form: Multipart) -> Result<(), String> {
        let mut fields = Map::new();
        while let Some(mut field) = form.next_field().await.map_err(|error| error.body_text())? {
            let name = field.name().unwrap_or_default().to_owned();
            let (value, n_bytes) = part(&mut field).await?;
            self.n_bytes += n_bytes;
            match fields.get_mut(&name) {
                None => drop(fields.insert(name, value)),
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = json!([first.take(), value]),
            }
        }
        self.body = Value::Object(fields);
        Ok(())
    }
}

/// A form's part, and how many bytes of it are kept. Files are hashed on the way in and not kept.
async fn part(field: &mut Field<'_>) -> Result<(Value, usize), String> {
    let file_name = field.file_name().map(str::to_owned);
    let content_type = field.content_type().map(str::to_owned);
    let (mut size, mut sha256, mut text) = (0, Sha256::new(), Vec::new());
    while let Some(chunk) = field.chunk().await.map_err(|error| error.body_text())? {
        size += chunk.len();
        match file_name {
            Some(_) => sha256.update(&chunk),
            None => text.extend_from_slice(&chunk),
        }
    }
    Ok(match file_name {
        Some(name) => {
            let sha256 = hex::encode(sha256.finalize());
            (json!({ "filename": name, "content_type": content_type, "size": size, "sha256": sha256 }), 0)
        }
        None => (json!(String::from_utf8_lossy(&text)), size),
    })
}

impl<S: Send + Sync> FromRequest<S> for Received {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let mut received = Self {
            method: request.method().to_string(),
            path: shown_path(request.uri()),
            headers: shown_headers(request.headers()),
            ..Self::default()
        };
        let media_type = received.header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
        if media_type.starts_with("multipart/form-data") {
            received.unreadable = match Multipart::from_request(request, state).await {
                Ok(form) => received.read_form(form).await.err(),
                Err(rejection) => Some(rejection.body_text()),
            };
        } else {
            match Bytes::from_request(request, state).await {
                Ok(bytes) => received.read_json(&bytes),
                Err(rejection) => received.unreadable = Some(rejection.body_text()),
            }
        }
        Ok(received)
    }
}

fn is_secret(name: &str) -> bool {
    // A key that makes a repetition harmless opens nothing.
    let name = name.to_ascii_lowercase();
    !name.contains("idempotency") && SECRET_NAMES.iter().any(|word| name.contains(word))
}

fn shown_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let open = headers.iter().filter(|(name, _)| !is_secret(name.as_str()));
    open.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))).collect()
}

fn shown_path(uri: &Uri) -> String {
    let Some(query) = uri.query() else { return uri.path().to_owned() };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=[redacted]"),
        Some(_) | None => pair.to_owned(),
    });
    format!("{}?{}", uri.path(), pairs.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    async fn received(content_type: &str, body: &str) -> Received {
        let request = Request::post("/x/run?key=k-1&webhook=http://me")
            .header("content-type", content_type)
            .header("authorization", "Bearer k-1")
            .header("x-goog-api-key", "k-1")
            .header("idempotency-key", "once")
            .body(Body::from(body.to_owned()))
            .unwrap();
        Received::from_request(request, &()).await.unwrap()
    }

    #[tokio::test]
    async fn credentials_are_left_out() {
        let received = received("application/json", r#"{"input": {"prompt": "a fox"}}"#).await;
        assert_eq!(received.path, "/x/run?key=[redacted]&webhook=http://me");
        assert_eq!(received.header("idempotency-key"), Some("once"));
        assert!(!format!("{received:?}").contains("k-1"), "{received:?}");
        assert_eq!(received.text("/input/prompt"), "a fox");
    }

    #[tokio::test]
    async fn a_form_is_kept_as_fields_and_hashes() {
        let part = |disposition: &str, text: &str| {
            format!("--B\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{text}\r\n")
        };
        let form = [
            part("name=\"prompt\"", "a fox"),
            part("name=\"image[]\"; filename=\"a.png\"", "abc"),
            part("name=\"image[]\"; filename=\"b.png\"", ""),
        ];
        let received = received("multipart/form-data; boundary=B", &format!("{}--B--\r\n", form.concat())).await;
        assert_eq!(received.unreadable, None);
        assert_eq!(received.text("/prompt"), "a fox");
        let image = &received.body["image[]"][0];
        assert_eq!((&image["filename"], &image["size"]), (&json!("a.png"), &json!(3)));
        assert_eq!(image["sha256"], hex::encode(Sha256::digest("abc")));
        assert_eq!(received.body["image[]"].as_array().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_said() {
        let broken = received("application/json", "{").await;
        assert!(broken.unreadable.unwrap().contains("not JSON"));
        assert_eq!(received("application/json", "").await.unreadable, None);
    }
}
