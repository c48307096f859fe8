//! Who is calling, from the headers of a call; the same for gRPC and HTTP.

use http::{HeaderMap, header::USER_AGENT};

use super::refusal::Refusal;
use crate::domain::names::TenantId;

/// Whose data it is. Trusted: whoever can reach the port can name any tenant until access control lands.
const TENANT: &str = "x-filmgate-tenant";
/// The caller's program.
const CLIENT: &str = "x-filmgate-client";
/// W3C trace context.
const TRACEPARENT: &str = "traceparent";
/// Longest name of a caller's program that is kept.
const MAX_SOURCE: usize = 64;

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// Whose data it is.
    pub(super) tenant: TenantId,
    /// The caller's program, for the session's history.
    pub(super) source: String,
    /// W3C `traceparent`, if a valid one came.
    pub(super) trace: Option<String>,
}

impl Caller {
    /// From the headers of a call. Only the tenant can be wrong; the rest is decoration.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        Ok(Self { tenant: tenant(headers)?, source: source(headers), trace: trace(headers) })
    }
}

fn tenant(headers: &HeaderMap) -> Result<TenantId, Refusal> {
    let mut values = headers.get_all(TENANT).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(TenantId::default_tenant()),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| Refusal::field(TENANT, "must be ASCII"))?;
            TenantId::from_id(text).map_err(|error| Refusal::field(TENANT, error.to_string()))
        }
        // Taking the first of two would let a caller speak over the proxy that sets it.
        (Some(_), Some(_)) => Err(Refusal::field(TENANT, "must be sent once")),
    }
}

fn source(headers: &HeaderMap) -> String {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let named = text(CLIENT).map(str::trim).filter(|name| !name.is_empty());
    let agent = || text(USER_AGENT.as_str()).and_then(|agent| agent.split_whitespace().next());
    named.or_else(agent).unwrap_or("grpc").chars().take(MAX_SOURCE).collect()
}

/// Version 00 of the W3C form: `00-{trace id}-{parent id}-{flags}`, ids not all zero.
fn trace(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let set = |part: &str| part.bytes().any(|byte| byte != b'0');
    let parts: Vec<&str> = text.split('-').collect();
    let &[version, trace, parent, flags] = parts.as_slice() else { return None };
    let valid = version == "00" && hex(trace, 32) && set(trace) && hex(parent, 16) && set(parent) && hex(flags, 2);
    valid.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn caller(pairs: &[(&'static str, &str)]) -> Caller {
        Caller::of(&headers(pairs)).unwrap()
    }

    #[test]
    fn a_call_without_headers_is_of_the_default_tenant() {
        let caller = caller(&[]);
        assert_eq!((caller.tenant.id(), caller.source.as_str(), caller.trace), ("default", "grpc", None));
    }

    #[test]
    fn the_tenant_must_be_a_name_and_come_once() {
        assert_eq!(caller(&[("x-filmgate-tenant", "acme_1")]).tenant.id(), "acme_1");
        for bad in ["", "a b", "../x", "ä", &"x".repeat(65)] {
            assert!(Caller::of(&headers(&[("x-filmgate-tenant", bad)])).is_err(), "{bad:?}");
        }
        let mut twice = headers(&[("x-filmgate-tenant", "a")]);
        twice.append("x-filmgate-tenant", "b".parse().unwrap());
        assert!(Caller::of(&twice).is_err());
    }

    #[test]
    fn the_program_is_named_by_itself_or_its_library() {
        assert_eq!(caller(&[("user-agent", "grpc-go/1.70 (x)")]).source, "grpc-go/1.70");
        assert_eq!(caller(&[("user-agent", "tonic/1"), ("x-filmgate-client", "studio")]).source, "studio");
        assert_eq!(caller(&[("x-filmgate-client", " "), ("user-agent", " ")]).source, "grpc");
        assert_eq!(caller(&[("x-filmgate-client", &"x".repeat(500))]).source.len(), 64);
    }

    #[test]
    fn only_a_sound_traceparent_is_kept() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(caller(&[("traceparent", good)]).trace.as_deref(), Some(good));
        for bad in [
            "",
            "rubbish",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(caller(&[("traceparent", bad)]).trace, None, "{bad}");
        }
    }
}
