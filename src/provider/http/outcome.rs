//! The one place that says what an HTTP outcome means: what went wrong, and whether the vendor may have started work.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use crate::{domain::names::ProviderId, outbound::retry_after};

use super::{
    Answer,
    text::{is_html, shown},
};
use crate::provider::error::{Effect, ErrorKind, ProviderError};

/// Shortest and longest wait that a vendor may ask of us.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// A number of seconds from here on is a moment and no time to wait: 2001, when the clock of Unix had ten digits.
const FIRST_MOMENT: f64 = 1e9;
/// What stands before a time to wait.
const WAIT_WORDS: [&str; 4] = ["resets in ", "retry after ", "try again in ", "retry in "];

/// What a call is for; it decides what an outcome means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Hands an order over: the only call that may cost money.
    Submit,
    /// Hands a conversation over, and is answered with what the model says. It costs money too.
    Chat,
    /// Readies a submit, for example an upload.
    Prepare,
    /// Asks for the token that other calls carry.
    Token,
    /// Lists jobs.
    List,
    /// Asks about one job, or asks to stop it.
    Job,
    /// Fetches an output.
    Open,
    /// Fetches what the vendor's webhooks are checked with.
    Key,
}

impl Call {
    /// Whether the vendor may have started work when the answer is lost.
    pub fn lost(self) -> Effect {
        match self {
            Self::Submit | Self::Chat => Effect::Maybe,
            Self::Prepare | Self::Token | Self::List | Self::Job | Self::Open | Self::Key => Effect::None,
        }
    }

    /// The call in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Submit => "the order",
            Self::Chat => "the conversation",
            Self::Prepare => "an upload",
            Self::Token => "a request for an access token",
            Self::List => "a look at its list of jobs",
            Self::Job => "a question about a job",
            Self::Open => "the fetching of an output",
            Self::Key => "a question about the key of its webhooks",
        }
    }

    fn not_found(self) -> ErrorKind {
        match self {
            Self::Submit | Self::Chat => ErrorKind::ModelNotFound,
            Self::Job => ErrorKind::TicketUnknown,
            Self::Open => ErrorKind::LinkExpired,
            Self::Token => ErrorKind::Unauthenticated,
            Self::Prepare | Self::List | Self::Key => ErrorKind::Protocol,
        }
    }

    fn invalid(self) -> ErrorKind {
        match self {
            Self::Submit | Self::Chat | Self::Prepare => ErrorKind::InvalidOrder,
            Self::Token => ErrorKind::Unauthenticated,
            Self::List | Self::Job | Self::Open | Self::Key => ErrorKind::Protocol,
        }
    }
}

/// What an error answer says beyond its status.
#[derive(Debug, Default)]
pub struct Said {
    /// The vendor's explanation, made safe to show.
    pub detail: Option<String>,
    /// When it wants to be asked again.
    pub retry_after: Option<Duration>,
    /// The request's field at fault.
    pub field: Option<String>,
}

impl Said {
    /// What the usual error bodies say: RFC 9457 problems, `{"error": "…"}` and `{"error": {"message": "…"}}`. `hidden`
    /// texts never appear.
    pub fn of(answer: &Answer, body: &Value, hidden: &[&str]) -> Self {
        let words = |value: &Value| {
            ["detail", "message", "error", "title"].iter().find_map(|key| value[*key].as_str()).map(str::to_owned)
        };
        let detail = words(body).or_else(|| words(&body["error"]));
        let retry_after = answer.retry_after.or_else(|| retry_after_body(body, detail.as_deref()));
        let detail = match detail {
            Some(detail) => shown(&detail, hidden),
            None if is_html(&answer.body) => Some("with an HTML page".to_owned()),
            None => None,
        };
        Self { detail, retry_after, field: None }
    }
}

/// An exchange that gave no whole answer.
pub fn lost(provider: &ProviderId, call: Call, error: reqwest::Error) -> ProviderError {
    // The address may hold a signature.
    let error = error.without_url();
    let words = call.words();
    let (kind, effect, summary) = if error.is_connect() {
        (ErrorKind::Transport, Effect::None, format!("cannot be reached for {words}"))
    } else if error.is_builder() {
        (ErrorKind::Protocol, Effect::None, format!("could not be sent {words}, which makes no valid request"))
    } else if error.is_timeout() {
        (ErrorKind::Timeout, call.lost(), format!("did not answer {words} in time"))
    } else {
        (ErrorKind::Transport, call.lost(), format!("broke the connection during {words}"))
    };
    ProviderError::new(provider, kind, effect, summary).caused_by(error)
}

/// An answer whose status is an error.
pub fn refused(provider: &ProviderId, call: Call, status: StatusCode, said: Said) -> ProviderError {
    let (kind, effect) = match status.as_u16() {
        401 | 403 => (ErrorKind::Unauthenticated, Effect::None),
        402 => (ErrorKind::OutOfCredit, Effect::None),
        404 | 410 => (call.not_found(), Effect::None),
        // Who waited in between gave up, after it had passed the call on.
        408 | 499 => (ErrorKind::Timeout, call.lost()),
        // What was made lies elsewhere.
        303 => (ErrorKind::Protocol, call.lost()),
        429 => (ErrorKind::RateLimited, Effect::None),
        400 | 409 | 413 | 415 | 422 => (call.invalid(), Effect::None),
        // A gateway that says 5xx, also a polite 503, may have passed the order on before.
        500.. => (ErrorKind::Overloaded, call.lost()),
        _ => (ErrorKind::Protocol, Effect::None),
    };
    let mut summary = format!("answered {} to {}", status.as_u16(), call.words());
    if let Some(detail) = said.detail {
        summary.push_str(": ");
        summary.push_str(&detail);
    }
    ProviderError::new(provider, kind, effect, summary).retry_after(said.retry_after).because_of(said.field)
}

/// The wish of a `Retry-After` header, seconds or an HTTP date, or of its usual stand-ins.
pub fn retry_after_header(headers: &HeaderMap) -> Option<Duration> {
    if let Some(wish) = retry_after(headers) {
        return wait(wish.as_secs_f64());
    }
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    // The second is a time to wait at some vendors, and a moment at others.
    let reset = number("x-ratelimit-reset").map(|reset| match reset {
        moment if moment >= FIRST_MOMENT => moment - Timestamp::now().as_millisecond() as f64 / 1e3,
        seconds => seconds,
    });
    wait(number("x-retry-after").or(reset)?)
}

/// The wish of a body: a number under `retry_after`, or words such as "resets in ~30s" and "retry after 30 seconds".
fn retry_after_body(body: &Value, detail: Option<&str>) -> Option<Duration> {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    if let Some(seconds) = number(&body["retry_after"]) {
        return wait(seconds);
    }
    let detail = detail?.to_ascii_lowercase();
    WAIT_WORDS.iter().find_map(|words| {
        let (_, rest) = detail.split_once(words)?;
        let rest = rest.trim_start_matches('~');
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let unit = match rest[end..].trim_start() {
            unit if unit.starts_with("ms") || unit.starts_with("milli") => 1e-3,
            unit if unit.starts_with("min") => 60.0,
            _ => 1.0,
        };
        wait(rest[..end].trim_end_matches('.').parse::<f64>().ok()? * unit)
    })
}

fn wait(seconds: f64) -> Option<Duration> {
    if seconds.is_nan() {
        return None;
    }
    let (least, most) = WAITS;
    Some(Duration::from_secs_f64(seconds.clamp(least.as_secs_f64(), most.as_secs_f64())))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::header::RETRY_AFTER;
    use jiff::SignedDuration;

    use super::*;
    use crate::provider::error::Verdict;

    fn provider() -> ProviderId {
        ProviderId::from_id("v").unwrap()
    }

    #[test]
    fn a_status_says_what_went_wrong_and_whether_work_may_have_begun() {
        let table = [
            (Call::Submit, 400, ErrorKind::InvalidOrder, Effect::None),
            (Call::Submit, 401, ErrorKind::Unauthenticated, Effect::None),
            (Call::Submit, 402, ErrorKind::OutOfCredit, Effect::None),
            (Call::Submit, 403, ErrorKind::Unauthenticated, Effect::None),
            (Call::Submit, 404, ErrorKind::ModelNotFound, Effect::None),
            (Call::Submit, 408, ErrorKind::Timeout, Effect::Maybe),
            (Call::Submit, 422, ErrorKind::InvalidOrder, Effect::None),
            (Call::Submit, 429, ErrorKind::RateLimited, Effect::None),
            (Call::Submit, 302, ErrorKind::Protocol, Effect::None),
            (Call::Submit, 303, ErrorKind::Protocol, Effect::Maybe),
            (Call::Submit, 425, ErrorKind::Protocol, Effect::None),
            (Call::Submit, 499, ErrorKind::Timeout, Effect::Maybe),
            (Call::Submit, 524, ErrorKind::Overloaded, Effect::Maybe),
            (Call::Submit, 500, ErrorKind::Overloaded, Effect::Maybe),
            (Call::Submit, 503, ErrorKind::Overloaded, Effect::Maybe),
            (Call::Prepare, 413, ErrorKind::InvalidOrder, Effect::None),
            (Call::Prepare, 500, ErrorKind::Overloaded, Effect::None),
            (Call::Job, 404, ErrorKind::TicketUnknown, Effect::None),
            (Call::Job, 422, ErrorKind::Protocol, Effect::None),
            (Call::Job, 502, ErrorKind::Overloaded, Effect::None),
            (Call::Open, 410, ErrorKind::LinkExpired, Effect::None),
        ];
        for (call, status, kind, effect) in table {
            let error = refused(&provider(), call, StatusCode::from_u16(status).unwrap(), Said::default());
            assert_eq!((error.kind, error.effect), (kind, effect), "{call:?} {status}");
        }
    }

    #[test]
    fn a_busy_vendor_is_asked_about_the_order_before_it_is_sent_again() {
        let body = serde_json::json!({"detail": "busy, try again"});
        let answer = Answer {
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: None,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let error = refused(&provider(), Call::Submit, answer.status, Said::of(&answer, &body, &[]));
        assert_eq!(error.verdict(), Verdict::AskFirst);
    }

    #[test]
    fn a_wait_is_read_from_wherever_the_vendor_says_it_and_clamped() {
        let header = |value: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            retry_after_header(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(header("7"), Some(7));
        assert_eq!(header("0"), Some(1));
        assert_eq!(header("-5"), Some(1));
        assert_eq!(header("999999"), Some(600));
        assert_eq!(header("soon"), None);
        assert_eq!(header("NaN"), None);
        assert_eq!(header("Sun, 06 Nov 1994 08:49:37 GMT"), Some(1));
        let in_two_minutes = Timestamp::now() + SignedDuration::from_secs(120);
        let date = in_two_minutes.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        assert!((118..=120).contains(&header(&date).unwrap()), "{date}");

        let other = |name: &'static str, value: String| {
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]);
            retry_after_header(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(other("x-retry-after", "8".to_owned()), Some(8));
        assert_eq!(other("x-ratelimit-reset", "9.5".to_owned()), Some(9));
        let moment = other("x-ratelimit-reset", in_two_minutes.as_second().to_string());
        assert!((117..=120).contains(&moment.unwrap()), "{moment:?}");

        let body = |json: Value| retry_after_body(&json, json["detail"].as_str()).map(|wait| wait.as_secs());
        assert_eq!(body(serde_json::json!({"retry_after": 7, "detail": "resets in ~30s."})), Some(7));
        assert_eq!(body(serde_json::json!({"retry_after": "9"})), Some(9));
        assert_eq!(body(serde_json::json!({"detail": "Your rate limit resets in ~30s."})), Some(30));
        assert_eq!(body(serde_json::json!({"detail": "Too many. Please Retry after 12 seconds."})), Some(12));
        assert_eq!(body(serde_json::json!({"detail": "try again in 2 minutes"})), Some(120));
        assert_eq!(body(serde_json::json!({"detail": "try again in 2500ms."})), Some(2));
        assert_eq!(body(serde_json::json!({"detail": "slow down, try again in a while"})), None);
        assert_eq!(body(Value::Null), None);
    }

    #[test]
    fn a_page_is_named_and_never_quoted() {
        let answer = Answer {
            status: StatusCode::BAD_GATEWAY,
            retry_after: None,
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"<html><body>nginx secrets</body></html>"),
        };
        let error = refused(&provider(), Call::Job, answer.status, Said::of(&answer, &Value::Null, &[]));
        assert_eq!(error.summary, "answered 502 to a question about a job: with an HTML page");
    }

    #[test]
    fn the_usual_error_bodies_are_understood() {
        let detail = |json: Value| {
            let answer = Answer {
                status: StatusCode::BAD_REQUEST,
                retry_after: None,
                headers: HeaderMap::new(),
                body: Bytes::new(),
            };
            Said::of(&answer, &json, &[]).detail
        };
        assert_eq!(detail(serde_json::json!({"title": "T", "detail": "D"})).as_deref(), Some("D"));
        assert_eq!(detail(serde_json::json!({"error": "E"})).as_deref(), Some("E"));
        assert_eq!(detail(serde_json::json!({"error": {"message": "M", "code": 1}})).as_deref(), Some("M"));
        assert_eq!(detail(serde_json::json!(["x"])), None);
        assert_eq!(detail(serde_json::json!({"detail": "<html>x</html>"})), None);
    }
}
