//! What everybody needs who calls others by HTTP: where a call may lead, and when the other side wants the next one.

mod fence;

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::header::{HeaderMap, RETRY_AFTER};

pub use self::fence::{Fence, is_fenced, is_public_name};

/// Longest wish that is told; whoever honours one has a shorter bound.
const LONGEST_WISH: f64 = 1e9;

/// The wish of a `Retry-After` header: seconds, or an HTTP date. What has passed is zero.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = match value.parse::<f64>() {
        Ok(seconds) if seconds.is_nan() => return None,
        Ok(seconds) => seconds,
        Err(_) => {
            let at = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
            at.duration_since(Timestamp::now()).as_secs_f64()
        }
    };
    Some(Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_WISH)))
}
