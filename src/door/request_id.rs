//! The id of a call, `x-request-id`, in and out on every door. For tracing: an order's own `request_id` is another thing.

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::task_local;
use uuid::Uuid;

/// Where the id is, in both directions.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken from a caller.
const MAX_LEN: usize = 128;

task_local! {
    static CURRENT: RequestId;
}

/// The id of a call: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's, if it sent one that can be one; else a new one that nobody can guess.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(HEADER).iter();
        match (sent.next(), sent.next()) {
            (Some(id), None) if is_id(id) => Self(id.clone()),
            _ => Self::new(),
        }
    }

    fn new() -> Self {
        let id = format!("req_{}", Uuid::new_v4().simple());
        // Letters and digits make a header always, so the other value is never seen.
        Self(HeaderValue::from_maybe_shared(id).unwrap_or(HeaderValue::from_static("req_unknown")))
    }

    /// The id of the call that this is done for; a new one outside of any.
    pub(super) fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_else(|_| Self::new())
    }

    /// Does `work` for the call of this id.
    pub(super) async fn scope<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(self.clone(), work).await
    }

    /// As text.
    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// As the value of [`HEADER`].
    pub(super) fn into_header(self) -> HeaderValue {
        self.0
    }
}

fn is_id(value: &HeaderValue) -> bool {
    (1..=MAX_LEN).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn of(values: &[&[u8]]) -> RequestId {
        RequestId::of(&values.iter().map(|value| (HEADER, HeaderValue::from_bytes(value).unwrap())).collect())
    }

    #[test]
    fn the_callers_id_is_kept_if_it_is_one() {
        for id in ["x", "a/b:c~", &"9".repeat(128)] {
            assert_eq!(of(&[id.as_bytes()]).as_str(), id);
        }
        for bad in [&b""[..], b"a b", b"\xc3\xa4", &[b'x'; 129]] {
            assert!(of(&[bad]).as_str().starts_with("req_"), "{bad:?}");
        }
        assert!(of(&[b"a", b"b"]).as_str().starts_with("req_"), "nobody knows which of two is meant");
    }

    #[test]
    fn made_ids_differ() {
        let ids: HashSet<String> = (0..100).map(|_| of(&[]).as_str().to_owned()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
    }

    #[tokio::test]
    async fn work_knows_whose_it_is() {
        let id = of(&[b"mine"]);
        assert_eq!(id.scope(async { RequestId::current() }).await, id);
        assert_ne!(RequestId::current(), RequestId::current());
    }
}
