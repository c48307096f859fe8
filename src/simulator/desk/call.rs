//! A call under the fault rules: what comes before its effect, and what becomes of its answer.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header, request::Parts};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use crate::simulator::{
    World,
    fault::{Answer, Edit, Faults, TalkFault},
    server::Severed,
};

/// How a vendor words what faults are about. The places are JSON pointers into its answers.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// Its name, as in [`super::Ledger::name`].
    pub(crate) name: &'static str,
    /// The job's id, for example `/request_id`.
    pub(crate) id: &'static str,
    /// The job's status word.
    pub(crate) status: &'static str,
    /// The jobs of a list's page; an answer without such a list, as always if this is empty, is itself the job.
    pub(crate) items: &'static str,
    /// Fields that `extra_fields` shows as null where they are absent.
    pub(crate) optional: &'static [&'static str],
    /// The vendor's error document.
    pub(crate) refuse: fn(&Refusal) -> Response,
}

/// A reason to refuse a call, for the vendor to put into its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    /// Seconds to wait, if the body is to name them; the header is not the vendor's business.
    pub(crate) wait: Option<u32>,
}

/// An answer in place of the true one. As the error of a handler it becomes its response.
#[derive(Debug)]
pub(crate) struct Instead(Box<Response>);

impl Instead {
    /// The connection is closed without a byte.
    pub(crate) fn severed() -> Self {
        Severed::response().into()
    }
}

impl From<Response> for Instead {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

impl IntoResponse for Instead {
    fn into_response(self) -> Response {
        *self.0
    }
}

/// A call that goes on to have its effect.
#[derive(Debug)]
pub(crate) struct Call {
    world: Arc<World>,
    dialect: &'static Dialect,
    faults: Faults,
}

impl Call {
    /// Lets the faults' delay pass.
    ///
    /// # Errors
    /// The answer that a fault gives before any effect.
    pub(super) async fn begin(world: &Arc<World>, dialect: &'static Dialect, faults: Faults) -> Result<Self, Instead> {
        let call = Self { world: Arc::clone(world), dialect, faults };
        let delay = call.faults.delay;
        if !delay.is_zero() && world.stop.run_until_cancelled(sleep(delay)).await.is_none() {
            return Err(Instead::severed());
        }
        match call.faults.instead() {
            Some(answer) => Err(call.spoilt(answer, Bytes::new()).await.into()),
            None => Ok(call),
        }
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What a model is to say whatever was asked; the first rule wins.
    pub(crate) fn says(&self) -> Option<&str> {
        self.faults.talk.iter().find_map(|fault| match fault {
            TalkFault::Says(text) => Some(text.as_str()),
            TalkFault::Pace(_) | TalkFault::Cut(_) => None,
        })
    }

    /// Answers with this JSON, or as the faults say.
    pub(crate) async fn answer(self, status: StatusCode, mut body: Value) -> Response {
        if let Some(answer) = self.faults.afterwards() {
            return self.spoilt(answer, Bytes::from(body.to_string())).await;
        }
        for edit in &self.faults.edits {
            match body.pointer_mut(self.dialect.items).and_then(Value::as_array_mut) {
                Some(items) => items.iter_mut().for_each(|item| self.dialect.apply(edit, item)),
                None => self.dialect.apply(edit, &mut body),
            }
        }
        (status, Json(body)).into_response()
    }

    /// Answers with a response that no edit applies to, such as a file; a fault still replaces it.
    pub(crate) async fn answer_whole(self, response: Response) -> Response {
        match self.faults.afterwards() {
            Some(answer) => self.spoilt(answer, Bytes::new()).await,
            None => response,
        }
    }

    /// Answers with these bytes, of which `malformed` keeps half.
    pub(crate) async fn answer_bytes(self, media_type: &'static str, bytes: Bytes) -> Response {
        match self.faults.afterwards() {
            Some(answer) => self.spoilt(answer, bytes).await,
            None => ([(header::CONTENT_TYPE, media_type)], bytes).into_response(),
        }
    }

    /// The vendor's error document with this status and text.
    pub(crate) fn refuse(&self, status: StatusCode, text: impl Into<String>) -> Instead {
        (self.dialect.refuse)(&Refusal { status, text: text.into(), wait: None }).into()
    }

    /// The vendor's 404.
    pub(crate) fn unknown(&self) -> Instead {
        self.refuse(StatusCode::NOT_FOUND, "The requested resource could not be found.")
    }

    /// The answer that a fault gives in place of `body`.
    pub(super) async fn spoilt(&self, answer: &Answer, body: Bytes) -> Response {
        match answer {
            Answer::Status { code, header_wait, body_wait } => self.refusal(*code, *header_wait, *body_wait),
            Answer::Html(code) => html(status(*code)),
            Answer::Played(recorded) => recorded.response(),
            Answer::Forgotten => self.unknown().into_response(),
            Answer::Drop => Severed::response(),
            Answer::Hang => {
                self.world.stop.cancelled().await;
                Severed::response()
            }
            Answer::Malformed => {
                let half = body.slice(..body.len() / 2);
                ([(header::CONTENT_TYPE, "application/json")], Body::from(half)).into_response()
            }
        }
    }

    /// An event's JSON as the faults edit it.
    pub(super) fn edited(&self, mut event: Value) -> Value {
        self.faults.edits.iter().for_each(|edit| self.dialect.apply(edit, &mut event));
        event
    }

    fn refusal(&self, code: u16, header_wait: Option<u32>, body_wait: Option<u32>) -> Response {
        let status = status(code);
        let text = match code {
            429 => {
                let wait = body_wait.or(header_wait).unwrap_or(30);
                format!("Request was throttled. Your rate limit resets in ~{wait}s.")
            }
            402 => "You have insufficient credit to run this model. Buy credit, then wait a few minutes.".to_owned(),
            401 => "Invalid or expired API token.".to_owned(),
            _ => status.canonical_reason().unwrap_or("error").to_owned(),
        };
        let mut response = (self.dialect.refuse)(&Refusal { status, text, wait: body_wait });
        if let Some(wait) = header_wait {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
        }
        response
    }
}

/// Codes are checked when a rule is read.
pub(super) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A gateway's own error page, as seen when the vendor's front is ill.
pub(crate) fn html(status: StatusCode) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html")], html_page(status)).into_response()
}

/// The page's text.
pub(super) fn html_page(status: StatusCode) -> String {
    format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\n")
}

impl Dialect {
    fn apply(&self, edit: &Edit, body: &mut Value) {
        match edit {
            Edit::Floats => floats(body),
            Edit::NoId => {
                if let Some((object, key)) = place(body, self.id) {
                    object.remove(key);
                }
            }
            Edit::StatusWord(word) => {
                if let Some((object, key)) = place(body, self.status) {
                    object.insert(key.to_owned(), json!(word));
                }
            }
            Edit::ExtraFields => {
                let Some(object) = body.as_object_mut() else { return };
                object.insert("tier".to_owned(), Value::Null);
                object.insert("x_experimental".to_owned(), json!({ "nested": [null, 1, "two"], "flag": true }));
                for absent in self.optional {
                    object.entry(*absent).or_insert(Value::Null);
                }
            }
        }
    }
}

/// The object that a pointer's last key is in, and that key.
fn place<'a>(body: &'a mut Value, pointer: &'static str) -> Option<(&'a mut Map<String, Value>, &'static str)> {
    let (parent, key) = pointer.rsplit_once('/')?;
    Some((body.pointer_mut(parent)?.as_object_mut()?, key))
}

fn floats(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|_| !number.is_f64()) {
                *value = json!(float);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(floats),
        Value::Object(fields) => fields.values_mut().for_each(floats),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Scheme and authority as the caller knows us, so that links lead back whatever lies between.
#[derive(Debug)]
pub(crate) struct Origin(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let header = |name| parts.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let scheme = header("x-forwarded-proto").filter(|scheme| *scheme == "https").unwrap_or("http");
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        let host = header("host").or(authority).unwrap_or("localhost");
        Ok(Self(format!("{scheme}://{host}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_become_floats_at_every_depth() {
        let mut body = json!({"a": 5, "b": [1, {"c": 2}], "d": 0.5, "e": "5"});
        floats(&mut body);
        assert_eq!(body.to_string(), r#"{"a":5.0,"b":[1.0,{"c":2.0}],"d":0.5,"e":"5"}"#);
    }

    #[test]
    fn edits_find_the_vendors_own_places_and_overwrite_nothing() {
        let dialect = Dialect {
            name: "deep",
            id: "/data/task",
            status: "/data/state",
            items: "/list",
            optional: &["metrics", "note"],
            refuse: |refusal| refusal.status.into_response(),
        };
        let mut body = json!({"data": {"task": "a", "state": "done"}, "metrics": {"seconds": 1}});
        for edit in [Edit::NoId, Edit::StatusWord("odd".to_owned()), Edit::ExtraFields] {
            dialect.apply(&edit, &mut body);
        }
        assert_eq!(body["data"], json!({"state": "odd"}));
        assert_eq!(body["metrics"]["seconds"], 1);
        assert!(body["note"].is_null() && body["x_experimental"].is_object());
    }
}
