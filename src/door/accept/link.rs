//! What a link shall be.

use std::time::Duration;

use super::{Violations, values};
use crate::door::refusal::Refusal;

/// Shortest and longest life of a link. No signature of a bucket may last longer.
const MIN_TTL: Duration = Duration::from_secs(1);
const MAX_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const DEFAULT_TTL: Duration = Duration::from_secs(60 * 60);
/// Most characters of a file name.
const MAX_FILE_NAME: usize = 200;

/// How long a link works, in whole seconds, and the name of the file that it gives; empty for none.
pub(in crate::door) fn link(
    ttl: Option<&prost_types::Duration>,
    file_name: String,
) -> Result<(Duration, String), Refusal> {
    let mut violations = Violations::default();
    let given = ttl.map(|ttl| values::duration(ttl, "ttl", &mut violations));
    if given.flatten().is_some_and(|ttl| !(MIN_TTL..=MAX_TTL).contains(&ttl)) {
        violations.add("ttl", "must be from 1 s to 7 days; unset means 1 h");
    }
    if file_name.chars().count() > MAX_FILE_NAME || file_name.contains(|c: char| c.is_control() || "/\\".contains(c)) {
        let why = format!("must have at most {MAX_FILE_NAME} characters, and no slash, backslash or control character");
        violations.add("file_name", why);
    }
    if !violations.0.is_empty() {
        return Err(Refusal::Invalid(violations.0));
    }
    let ttl = given.flatten().unwrap_or(DEFAULT_TTL);
    Ok((Duration::from_secs(ttl.as_secs()), file_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(ttl: Option<(i64, i32)>, file_name: &str) -> Result<(u64, String), Vec<String>> {
        let ttl = ttl.map(|(seconds, nanos)| prost_types::Duration { seconds, nanos });
        match link(ttl.as_ref(), file_name.to_owned()) {
            Ok((ttl, file_name)) => Ok((ttl.as_secs(), file_name)),
            Err(Refusal::Invalid(violations)) => Err(violations.into_iter().map(|wrong| wrong.field).collect()),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_link_lives_a_second_to_a_week_and_names_a_plain_file() {
        assert_eq!(asked(None, ""), Ok((3600, String::new())));
        assert_eq!(asked(Some((1, 999_999_999)), "Füchse.mp4"), Ok((1, "Füchse.mp4".to_owned())));
        assert_eq!(asked(Some((604_800, 0)), &"x".repeat(200)), Ok((604_800, "x".repeat(200))));
        for ttl in [(0, 0), (0, 999_999_999), (-1, 0), (604_800, 1), (604_801, 0), (1, -1)] {
            assert_eq!(asked(Some(ttl), "a/b"), Err(vec!["ttl".to_owned(), "file_name".to_owned()]), "{ttl:?}");
        }
        for bad in ["..\\x", "a\nb", "\u{7f}", "/", &"x".repeat(201)] {
            assert_eq!(asked(None, bad), Err(vec!["file_name".to_owned()]), "{bad:?}");
        }
    }
}
