//! Values from texts. Each function answers `None` for a text of another shape; the shapes are in words beside their use.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::CorsConfig;

/// `30m`, `1h 30m`, `250ms`: above zero.
pub(super) fn duration(text: &str) -> Option<Duration> {
    duration_or_zero(text).filter(|duration| !duration.is_zero())
}

/// The life of a generation, as the contract bounds it: 1 s to 24 h.
pub(super) fn job_duration(text: &str) -> Option<Duration> {
    duration(text).filter(|duration| (Duration::from_secs(1)..=Duration::from_hours(24)).contains(duration))
}

/// How long something is kept: a minute at least.
pub(super) fn keeping(text: &str) -> Option<Duration> {
    duration(text).filter(|duration| *duration >= Duration::from_mins(1))
}

/// A lease: 1 s to 1 h.
pub(super) fn lease(text: &str) -> Option<Duration> {
    duration(text).filter(|duration| (Duration::from_secs(1)..=Duration::from_hours(1)).contains(duration))
}

/// As [`duration`], and `0s`. At most ten years, so that adding it to a time never overflows.
pub(super) fn duration_or_zero(text: &str) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_hours(24 * 3653);
    humantime::parse_duration(text).ok().filter(|duration| *duration <= LONGEST)
}

/// `2147483648`, `512MiB`, `2GB`: bytes, above zero.
pub(super) fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 10] = [
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
        ("b", 1),
        ("", 1),
    ];
    let text = text.trim().to_ascii_lowercase();
    let (unit, factor) = UNITS.into_iter().find(|(unit, _)| text.ends_with(unit))?;
    let number: u64 = text[..text.len() - unit.len()].trim().parse().ok()?;
    number.checked_mul(factor).filter(|bytes| *bytes > 0)
}

/// A whole number of at least one.
pub(super) fn count(text: &str) -> Option<usize> {
    text.parse().ok().filter(|count| *count > 0)
}

/// From `0` to `1`.
pub(super) fn ratio(text: &str) -> Option<f64> {
    text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))
}

/// An http or https address with a host, and with no user, password, query or fragment.
pub(super) fn base_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && plain).then_some(url)
}

/// `on` or `off`.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// `*`, or origins with commas between them.
pub(super) fn origins(text: &str) -> Option<CorsConfig> {
    if text == "*" {
        return Some(CorsConfig::Any);
    }
    text.split(',').map(|origin| self::origin(origin.trim())).collect::<Option<_>>().map(CorsConfig::Origins)
}

/// Scheme, host and port of a page, as a browser sends them: lower case, the usual port left out. A path is none of it.
fn origin(text: &str) -> Option<String> {
    let url = base_url(text)?;
    (url.path() == "/").then(|| url.origin().ascii_serialization())
}

/// `file:///folder`, or a bucket of `s3`, `gs` or `az` with or without a prefix; with no user, port, query or fragment.
pub(super) fn artifacts_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let place = match url.scheme() {
        "file" => url.to_file_path().is_ok(),
        "s3" | "gs" | "az" => url.has_host() && url.port().is_none() && !url.path().contains("//"),
        _ => false,
    };
    (plain && url.fragment().is_none() && place).then_some(url)
}

/// `provider/name`. The name may hold further slashes, as in `replicate/minimax/video-01`.
pub(super) fn model(text: &str) -> Option<String> {
    let (provider, name) = text.split_once('/')?;
    (is_word(provider) && !name.is_empty() && name.split('/').all(is_visible)).then(|| text.to_owned())
}

/// As [`model`], or a name or alias alone, such as `veo3`.
pub(super) fn model_or_alias(text: &str) -> Option<String> {
    let alias = !text.contains('/') && is_visible(text);
    if alias { Some(text.to_owned()) } else { model(text) }
}

/// Lower-case letters, digits and dashes, 1 to 63 of them: the name of a route or a provider.
pub(super) fn is_word(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Letters, digits, `_` and `-`, 1 to 64 of them: a tenant.
pub(super) fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Visible ASCII only, at least one character: what may stand in an HTTP header.
pub(super) fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Visible ASCII only: a key.
pub(super) fn is_key(secret: &SecretString) -> bool {
    is_visible(secret.expose_secret())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_life_of_a_generation_is_a_second_to_a_day() {
        for (text, is_valid) in
            [("999ms", false), ("1s", true), ("30m", true), ("24h", true), ("24h 1ms", false), ("0s", false)]
        {
            assert_eq!(job_duration(text).is_some(), is_valid, "{text}");
        }
    }

    #[test]
    fn what_is_kept_is_kept_for_a_minute_at_least() {
        for (text, is_valid) in [("59s", false), ("1m", true), ("30d", true), ("0s", false), ("for ever", false)] {
            assert_eq!(keeping(text).is_some(), is_valid, "{text}");
        }
    }

    #[test]
    fn sizes_are_plain_bytes_or_carry_a_unit() {
        for (text, expected) in [
            ("2147483648", Some(2_147_483_648)),
            ("512MiB", Some(536_870_912)),
            ("2 GiB", Some(2_147_483_648)),
            ("5kb", Some(5_000)),
            ("7B", Some(7)),
            ("0", None),
            ("-1", None),
            ("1.5GiB", None),
            ("99999999TiB", None),
            ("GiB", None),
            ("ten", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn models_name_their_provider() {
        for (text, valid) in [
            ("sample/video", true),
            ("replicate/minimax/video-01", true),
            ("video", false),
            ("/video", false),
            ("sample/", false),
            ("replicate//video-01", false),
            ("Sample/video", false),
            ("sample/vid eo", false),
        ] {
            assert_eq!(model(text).is_some(), valid, "{text}");
        }
    }

    #[test]
    fn durations_are_above_zero_and_never_overflow_a_clock() {
        assert_eq!(duration("1h 30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(duration("0s"), None);
        assert_eq!(duration("30"), None);
        assert_eq!(duration("500000000000y"), None);
        assert_eq!(duration("11y"), None);
        assert_eq!(duration_or_zero("0s"), Some(Duration::ZERO));
    }

    #[test]
    fn artifacts_have_a_folder_or_a_bucket() {
        for good in ["file:///var/films", "s3://films", "s3://films/", "gs://films_2/a/b", "az://films/a%20b"] {
            assert!(artifacts_url(good).is_some(), "{good}");
        }
        for bad in [
            "films",
            "/var/films",
            "file://host/films",
            "s3:films",
            "s3:///films",
            "s3://key:word@films",
            "s3://films:9000",
            "s3://films?region=x",
            "s3://films#x",
            "s3://films//x",
            "https://films.s3.amazonaws.com",
            "ftp://films",
        ] {
            assert!(artifacts_url(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        assert_eq!(origins("*"), Some(CorsConfig::Any));
        let several = origins("https://Studio.example:443 ,http://localhost:5173/");
        let expected = ["https://studio.example", "http://localhost:5173"].map(str::to_owned);
        assert_eq!(several, Some(CorsConfig::Origins(expected.to_vec())));
        for bad in ["studio.example", "https://a.example/path", "https://a.example,", "https://a.example,*", "null"] {
            assert_eq!(origins(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_carry_no_credentials() {
        assert!(base_url("http://127.0.0.1:9999/v1").is_some());
        for bad in ["ftp://host", "host:80", "https://user:word@host", "https://host?key=1", "https://"] {
            assert!(base_url(bad).is_none(), "{bad}");
        }
    }
}
