//! The bytes of artifacts over HTTP, for browsers and players: `GET` and `HEAD /artifacts/{id}` with ranges and validators (RFC 9110).

use std::{convert::Infallible, ops::Range};

use axum::{
    Router,
    body::Body,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use futures_util::stream;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
        HeaderName, IF_NONE_MATCH, IF_RANGE, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
    },
};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    caller::Caller,
    links::Links,
    refusal::{Refusal, Resource},
};
use crate::{
    domain::{artifact::Artifact, names::ArtifactId},
    engine::Engine,
};

/// On a stand-in, so that nobody who has only the address takes it for a generated file.
const SAMPLE: HeaderName = HeaderName::from_static("x-filmgate-sample");

/// `GET` and `HEAD /artifacts/{id}`.
pub(super) fn router(engine: Engine, links: Links) -> Router {
    Router::new().route("/artifacts/{id}", get(serve).head(serve)).with_state((engine, links))
}

async fn serve(
    State((engine, links)): State<(Engine, Links)>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    // What is not even text names nothing either.
    let id = id.map(|Path(id)| id).unwrap_or_default();
    let unknown = || Refusal::NotFound(Resource::Artifact, format!("artifacts/{id}"));
    let name = ArtifactId::from_id(id.clone()).map_err(|_| unknown())?;
    // A link says whose artifact it is; otherwise the headers do.
    let (tenant, file_name) = match links.grant(&name, &query.unwrap_or_default(), Timestamp::now())? {
        Some(grant) => (grant.tenant, grant.file_name),
        None => (Caller::of(&headers)?.tenant, String::new()),
    };
    let artifact = engine.store().artifact(&tenant, &name).await?.ok_or_else(unknown)?;
    answer(&engine, &artifact, &file_name, &method, &headers).await
}

/// What a `GET` or `HEAD` with these headers gets of an artifact, to be saved under `file_name` if that is not empty.
pub(super) async fn answer(
    engine: &Engine,
    artifact: &Artifact,
    file_name: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let answer = Answer::to(method, headers, artifact);
    let bytes = match &answer {
        // A HEAD tells what GET would, so it must not open the bytes to throw them away.
        _ if *method == Method::HEAD => None,
        Answer::Whole => Some(0..artifact.size),
        Answer::Part(range) => Some(range.clone()),
        Answer::NotModified | Answer::Unsatisfiable => None,
    };
    let body = match bytes.filter(|range| !range.is_empty()) {
        None => without_bytes(),
        Some(range) => Body::from_stream(engine.read(artifact, range).await.map_err(Refusal::about(&artifact.id))?),
    };
    Ok((answer.status(), answer.headers(artifact, &disposition(artifact, file_name)), body).into_response())
}

/// Of a length that is not told: axum would add the 0 of a body known to be empty to a 304, where it would be the length of the file.
fn without_bytes() -> Body {
    Body::from_stream(stream::empty::<Result<Bytes, Infallible>>())
}

/// What a request gets, before any byte is read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Whole,
    Part(Range<u64>),
    NotModified,
    Unsatisfiable,
}

impl Answer {
    fn to(method: &Method, headers: &HeaderMap, artifact: &Artifact) -> Self {
        let tag = tag(artifact);
        let has_it =
            |known: &str| known.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag);
        if headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(has_it) {
            return Self::NotModified;
        }
        // A range of other bytes than the caller has a part of is useless, so it gets the whole; a date is never ours.
        let is_same = !headers.contains_key(IF_RANGE) || only(headers, IF_RANGE) == Some(&tag);
        // Nothing but a GET has ranges.
        let range = only(headers, RANGE).filter(|_| is_same && *method == Method::GET);
        range.map_or(Self::Whole, |range| Self::to_range(range, artifact.size))
    }

    /// One range is served. Several, other units and what is no range are ignored, as the standard allows or demands.
    fn to_range(range: &str, size: u64) -> Self {
        match one_range(range) {
            None | Some((None, None)) => Self::Whole,
            Some((Some(first), Some(last))) if last < first => Self::Whole,
            Some((Some(first), last)) if first < size => {
                Self::Part(first..last.map_or(size, |last| size.min(last.saturating_add(1))))
            }
            // The last so many bytes of fewer are all of them.
            Some((None, Some(n_last))) if n_last > 0 && size > 0 => Self::Part(size.saturating_sub(n_last)..size),
            Some(_) => Self::Unsatisfiable,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Whole => StatusCode::OK,
            Self::Part(_) => StatusCode::PARTIAL_CONTENT,
            Self::NotModified => StatusCode::NOT_MODIFIED,
            Self::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }

    fn headers(&self, artifact: &Artifact, disposition: &str) -> HeaderMap {
        let size = artifact.size;
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: &str| {
            // Only facts we made ourselves come here; one that is no header text is left out.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(ETAG, &tag(artifact));
        set(ACCEPT_RANGES, "bytes");
        // Asking again is cheap with the tag, and a deleted artifact is gone at once.
        set(CACHE_CONTROL, "private, no-cache");
        set(VARY, "x-filmgate-tenant");
        if artifact.sample {
            set(SAMPLE, "true");
        }
        let length = match self {
            Self::NotModified => return headers,
            Self::Unsatisfiable => {
                set(CONTENT_RANGE, &format!("bytes */{size}"));
                set(CONTENT_LENGTH, "0");
                return headers;
            }
            Self::Whole => size,
            Self::Part(range) => {
                set(CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1)));
                range.end - range.start
            }
        };
        set(CONTENT_LENGTH, &length.to_string());
        set(CONTENT_TYPE, &artifact.facts.media_type);
        // The type was found in the bytes; a browser must not find another one.
        set(X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(CONTENT_DISPOSITION, disposition);
        headers
    }
}

/// A header that comes once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(one), None) => one.to_str().ok(),
        _ => None,
    }
}

/// The two numbers of `bytes=FIRST-LAST`, one of which may be left out; none if there are several ranges, or it is none.
fn one_range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, ranges) = text.split_once('=')?;
    // Empty elements of a list mean nothing.
    let mut ranges = ranges.split(',').map(str::trim).filter(|range| !range.is_empty());
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return None };
    let (first, last) = range.split_once('-').filter(|_| unit.trim().eq_ignore_ascii_case("bytes"))?;
    let number = |text: &str| match text {
        "" => Some(None),
        // One that is too large for a number is beyond the end of any file, too.
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => Some(Some(text.parse().unwrap_or(u64::MAX))),
        _ => None,
    };
    Some((number(first)?, number(last)?))
}

fn tag(artifact: &Artifact) -> String {
    format!("\"{}\"", artifact.sha256)
}

/// `Content-Disposition` of an artifact: to be saved under `file_name`, or shown in place if that is empty.
pub(super) fn disposition(artifact: &Artifact, file_name: &str) -> String {
    if file_name.is_empty() {
        // Ids are letters, digits, `_` and `-`, so the name needs no quoting.
        return format!("inline; filename=\"{}\"", own_name(artifact));
    }
    // The first form is for old programs, which know neither quotes nor other alphabets (RFC 6266).
    let plain = |c: char| if c.is_ascii_alphanumeric() || " ._-()".contains(c) { c } else { '_' };
    let old: String = file_name.chars().map(plain).collect();
    let new = utf8_percent_encode(file_name, NON_ALPHANUMERIC);
    format!("attachment; filename=\"{old}\"; filename*=UTF-8''{new}")
}

fn own_name(artifact: &Artifact) -> String {
    let extension = match artifact.facts.media_type.as_str() {
        "video/mp4" => ".mp4",
        "video/webm" => ".webm",
        "video/quicktime" => ".mov",
        "video/x-matroska" => ".mkv",
        "image/png" => ".png",
        "image/jpeg" => ".jpg",
        "image/webp" => ".webp",
        "image/gif" => ".gif",
        "audio/mpeg" => ".mp3",
        "audio/wav" | "audio/x-wav" => ".wav",
        "audio/ogg" => ".ogg",
        "audio/flac" | "audio/x-flac" => ".flac",
        "audio/mp4" | "audio/m4a" => ".m4a",
        _ => "",
    };
    format!("{}{extension}", artifact.id.id())
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;
    use crate::door::fixture;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    /// The artifact has 10 bytes.
    fn answer(pairs: &[(HeaderName, &str)]) -> Answer {
        Answer::to(&Method::GET, &headers(pairs), &fixture::artifact())
    }

    #[test]
    fn one_range_is_served_and_nonsense_is_not_believed() {
        for (range, expected) in [
            ("bytes=0-", Answer::Part(0..10)),
            ("bytes=0-0", Answer::Part(0..1)),
            ("bytes=3-6", Answer::Part(3..7)),
            ("bytes=3-99", Answer::Part(3..10)),
            ("bytes=-4", Answer::Part(6..10)),
            ("bytes=-99", Answer::Part(0..10)),
            ("bytes=9-", Answer::Part(9..10)),
            ("bytes=10-", Answer::Unsatisfiable),
            ("bytes=99-100", Answer::Unsatisfiable),
            ("bytes=-0", Answer::Unsatisfiable),
            ("bytes=99999999999999999999-", Answer::Unsatisfiable),
            ("bytes=3-99999999999999999999", Answer::Part(3..10)),
            ("bytes=-99999999999999999999", Answer::Part(0..10)),
            ("Bytes= ,3-6,", Answer::Part(3..7)),
            ("bytes=9-3", Answer::Whole),
            ("bytes=99-98", Answer::Whole),
            ("bytes=-", Answer::Whole),
            ("bytes=+1-2", Answer::Whole),
            ("bytes=0-1, 4-5", Answer::Whole),
            ("bytes=a-b", Answer::Whole),
            ("pages=1-2", Answer::Whole),
            ("", Answer::Whole),
        ] {
            assert_eq!(answer(&[(RANGE, range)]), expected, "{range:?}");
        }
        assert_eq!(Answer::to_range("bytes=0-", 0), Answer::Unsatisfiable);
        assert_eq!(Answer::to_range("bytes=-5", 0), Answer::Unsatisfiable);
    }

    #[test]
    fn validators_compare_the_hash() {
        let tag = tag(&fixture::artifact());
        let range = (RANGE, "bytes=1-2");
        assert_eq!(answer(&[(IF_NONE_MATCH, &tag), range.clone()]), Answer::NotModified);
        assert_eq!(answer(&[(IF_NONE_MATCH, &format!("\"x\", W/{tag}"))]), Answer::NotModified);
        assert_eq!(answer(&[(IF_NONE_MATCH, "*")]), Answer::NotModified);
        assert_eq!(answer(&[(IF_NONE_MATCH, "\"x\"")]), Answer::Whole);
        assert_eq!(answer(&[(IF_RANGE, &tag), range.clone()]), Answer::Part(1..3));
        assert_eq!(answer(&[(IF_RANGE, "\"x\""), range.clone()]), Answer::Whole);
        assert_eq!(answer(&[(IF_RANGE, &format!("W/{tag}")), range.clone()]), Answer::Whole);
        assert_eq!(answer(&[(IF_RANGE, "Wed, 21 Oct 2015 07:28:00 GMT"), range.clone()]), Answer::Whole);
        let mut twice = headers(&[(IF_RANGE, &tag), range.clone()]);
        twice.append(IF_RANGE, "\"x\"".parse().unwrap());
        assert_eq!(Answer::to(&Method::GET, &twice, &fixture::artifact()), Answer::Whole);
        assert_eq!(Answer::to(&Method::HEAD, &headers(&[range]), &fixture::artifact()), Answer::Whole);
    }

    #[test]
    fn the_headers_say_what_is_sent() {
        let artifact = fixture::artifact();
        let shown = disposition(&artifact, "");
        let headers = Answer::Part(3..7).headers(&artifact, &shown);
        let text = |name: HeaderName| headers.get(name).unwrap().to_str().unwrap();
        assert_eq!(text(CONTENT_RANGE), "bytes 3-6/10");
        assert_eq!(text(CONTENT_LENGTH), "4");
        assert_eq!(text(CONTENT_TYPE), "video/mp4");
        assert_eq!(text(CONTENT_DISPOSITION), format!("inline; filename=\"{}.mp4\"", artifact.id.id()));
        let refused = Answer::Unsatisfiable.headers(&artifact, &shown);
        assert_eq!(refused.get(CONTENT_RANGE).unwrap(), "bytes */10");
        let unmodified = Answer::NotModified.headers(&artifact, &shown);
        assert!(unmodified.contains_key(ETAG) && !unmodified.contains_key(CONTENT_LENGTH));
        assert!(!headers.contains_key(SAMPLE));
        let stand_in = Artifact { sample: true, ..artifact };
        assert_eq!(Answer::Part(3..7).headers(&stand_in, &shown).get(SAMPLE).unwrap(), "true");
    }

    #[test]
    fn a_file_name_is_told_to_old_and_new_programs() {
        let artifact = fixture::artifact();
        assert_eq!(
            disposition(&artifact, "Füchse \"2\".mp4"),
            "attachment; filename=\"F_chse _2_.mp4\"; filename*=UTF-8''F%C3%BCchse%20%222%22%2Emp4"
        );
    }

    #[tokio::test]
    async fn an_answer_without_bytes_tells_the_length_of_the_file_or_none() {
        let route = |answer: Answer| {
            let serve =
                async move || (answer.status(), answer.headers(&fixture::artifact(), "inline"), without_bytes());
            Router::new().route("/", get(serve.clone()).head(serve))
        };
        for (answer, length) in [
            (Answer::NotModified, None),
            (Answer::Whole, Some("10")),
            (Answer::Part(3..7), Some("4")),
            (Answer::Unsatisfiable, Some("0")),
        ] {
            let request = http::Request::head("/").body(Body::empty()).unwrap();
            let response = route(answer.clone()).oneshot(request).await.unwrap();
            assert_eq!(response.status(), answer.status());
            let told = response.headers().get(CONTENT_LENGTH).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(told.as_deref(), length, "{answer:?}");
        }
    }
}
