//! Headers in both directions: what a caller says about a call, and what the call says beside its answer.

use http::{HeaderMap, HeaderName};
use tonic::metadata::MetadataMap;

/// Headers that are passed on besides all `x-…`.
const PASSED: [&str; 6] = ["authorization", "baggage", "idempotency-key", "traceparent", "tracestate", "user-agent"];

/// The headers of an HTTP request as the metadata of its call.
pub(super) fn of(headers: &HeaderMap) -> MetadataMap {
    MetadataMap::from_headers(filtered(headers, |name| is_ours(name) || PASSED.contains(&name.as_str())))
}

/// The metadata of an answer, trailers included, as headers.
pub(super) fn to_headers(metadata: &MetadataMap) -> HeaderMap {
    filtered(metadata.as_ref(), is_ours)
}

fn is_ours(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-")
}

/// Every value of a header is kept: whoever reads one that must be alone sees that it is not.
fn filtered(headers: &HeaderMap, keep: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| keep(name)) {
        kept.append(name, value.clone());
    }
    kept
}
