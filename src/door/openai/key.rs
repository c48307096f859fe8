//! `Idempotency-Key`: the caller's own key of an order, which is its request id.

use http::{HeaderMap, HeaderName};

use super::problem::Problem;
use crate::domain::names::RequestId;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The key of a call, if it has one.
pub(super) fn of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(KEY) else { return Ok(None) };
    let key = value.to_str().ok().and_then(|key| key.parse::<RequestId>().ok());
    let key =
        key.ok_or_else(|| Problem::wrong_value("Idempotency-Key", "it must be 1 to 128 printable ASCII characters"))?;
    Ok(Some(key.to_string()))
}

/// Makes the key the request id, which may be set in the body as well, but not beside it.
pub(super) fn give(request_id: &mut String, key: Option<String>) -> Result<(), Problem> {
    match key {
        Some(_) if !request_id.is_empty() => {
            Err(Problem::wrong_value("request_id", "it is set beside the Idempotency-Key header"))
        }
        Some(key) => {
            *request_id = key;
            Ok(())
        }
        None => Ok(()),
    }
}
