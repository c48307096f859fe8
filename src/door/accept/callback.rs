//! The address that a request wants its end reported to.

use url::Url;

use super::Violations;
use crate::callback::Targets;

/// Most characters of an address.
const MAX_URL: usize = 2048;

/// The address; none if the request has none, or a wrong one.
pub(super) fn accept(text: &str, targets: &Targets, violations: &mut Violations) -> Option<Url> {
    const FIELD: &str = "callback_url";
    if text.is_empty() {
        return None;
    }
    let n_chars = text.chars().count();
    if n_chars > MAX_URL {
        violations.add(FIELD, format!("has {n_chars} characters; at most {MAX_URL}"));
        return None;
    }
    // A parser of URLs drops these in silence.
    if text.contains(|c: char| c.is_control() || c == ' ') {
        violations.add(FIELD, "must not hold blanks and control characters");
        return None;
    }
    let Ok(url) = Url::parse(text) else {
        violations.add(FIELD, "is no address such as https://host/path");
        return None;
    };
    if let Err(why) = targets.fence().check(&url) {
        violations.add(FIELD, why);
        return None;
    }
    Some(url)
}
