//! Why a blob store did not do what it was asked. What a store answers may quote keys and tokens, so of an answer only its status and
//! its code are kept.

use std::io;

/// Longest text about a failure that is kept.
const MAX_TEXT: usize = 400;

/// Why the blob store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No blob has this key.
    #[error("there is no such blob")]
    NotFound,
    /// The range is not inside the blob.
    #[error("the range is outside of the blob")]
    OutOfRange,
    /// The disk or the quota is full. Nothing was stored; making room and trying again helps.
    #[error("there is no space left for blobs")]
    NoSpace,
    /// The bucket or container that holds all blobs is not there. It may come back.
    #[error("there is no such bucket")]
    NoBucket,
    /// The store does not take our credentials, or they do not allow this.
    #[error("the object store refuses our credentials: {0}")]
    Refused(String),
    /// The store cannot even be asked, the way it is set up.
    #[error("the object store is set up wrongly: {0}")]
    Setup(String),
    /// Anything else that went wrong below.
    #[error("the blob store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Whether an I/O error means that the disk or the quota is full.
pub(in crate::artifact) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if is_no_space(&error) { Self::NoSpace } else { Self::Failed(error.into()) }
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        let text = error.to_string();
        if let Some(answer) = Answer::within(&text) {
            return answer.into();
        }
        if let object_store::Error::NotFound { .. } = error {
            return Self::NotFound;
        }
        // The local store wraps the error of the disk in its own; a broken connection has its reason at the end of the chain.
        let mut cause: &(dyn std::error::Error + 'static) = &error;
        while let Some(next) = cause.source() {
            if next.downcast_ref().is_some_and(is_no_space) {
                return Self::NoSpace;
            }
            cause = next;
        }
        let reason = cause.to_string();
        let told = if text.contains(&reason) { text } else { format!("{text}: {reason}") };
        Self::Failed(short(&told).into())
    }
}

/// What a server of objects answered in place of success.
#[derive(Debug, PartialEq, Eq)]
struct Answer<'a> {
    /// For example `403 Forbidden`.
    status: &'a str,
    /// S3, Google and Azure all name the cause in an element of this name; empty if there is none.
    code: &'a str,
}

impl<'a> Answer<'a> {
    /// The type that holds status and body is not public in `object_store`, so they are read from its words.
    fn within(text: &'a str) -> Option<Self> {
        let code = between(text, "<Code>", "</Code>").filter(|code| code.bytes().all(|b| b.is_ascii_alphanumeric()));
        match text.split_once("status code: ") {
            Some((_, answer)) => {
                let status = answer.split([':', '<', '{']).next().unwrap_or_default().trim();
                Some(Self { status, code: code.unwrap_or_default() })
            }
            // S3 may answer 200 and tell of a failure in the body.
            None => code.map(|code| Self { status: "200 OK", code }),
        }
    }
}

impl From<Answer<'_>> for Error {
    fn from(answer: Answer<'_>) -> Self {
        const NO_SPACE: [&str; 3] = ["QuotaExceeded", "StorageFull", "XMinioStorageFull"];
        const REFUSED: [&str; 4] = ["ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"];
        let told = match answer.code {
            "" => short(answer.status),
            code => short(&format!("{} ({code})", answer.status)),
        };
        match (answer.status.get(..3).unwrap_or_default(), answer.code) {
            (_, "NoSuchBucket" | "ContainerNotFound") => Self::NoBucket,
            (_, code) if REFUSED.contains(&code) => Self::Refused(told),
            (_, code) if NO_SPACE.contains(&code) => Self::NoSpace,
            ("401" | "403", _) => Self::Refused(told),
            ("404", _) => Self::NotFound,
            ("507", _) => Self::NoSpace,
            _ => Self::Failed(format!("the object store answered {told}").into()),
        }
    }
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(found, _)| found)
}

/// Without what may be a body, and not endless.
fn short(text: &str) -> String {
    text.split('<').next().unwrap_or_default().trim().chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::from(object_store::Error::Generic { store: "S3", source: text.into() })
    }

    #[test]
    fn of_an_answer_the_status_and_the_code_are_told_and_nothing_else() {
        let answer = "Error performing PUT http://127.0.0.1:9/b/k in 1ms - Server returned non-2xx status code: 403 Forbidden: \
            <?xml version=\"1.0\"?><Error><Code>InvalidToken</Code><Token-0>hunter2</Token-0></Error>";
        let Error::Refused(told) = generic(answer) else { panic!("not refused") };
        assert_eq!(told, "403 Forbidden (InvalidToken)");
        let json = "Server returned non-2xx status code: 400 Bad Request: {\"error\": \"hunter2\"}";
        let Error::Failed(told) = generic(json) else { panic!("not failed") };
        assert_eq!(told.to_string(), "the object store answered 400 Bad Request");
    }

    #[test]
    fn codes_and_statuses_have_their_meaning() {
        let answered = |status: &str, code: &str| {
            generic(&format!("Server returned non-2xx status code: {status}: <Error><Code>{code}</Code></Error>"))
        };
        assert!(matches!(answered("404 Not Found", "NoSuchBucket"), Error::NoBucket));
        assert!(matches!(answered("404 Not Found", "ContainerNotFound"), Error::NoBucket));
        assert!(matches!(answered("404 Not Found", "NoSuchKey"), Error::NotFound));
        assert!(matches!(answered("507 Insufficient Storage", "Full"), Error::NoSpace));
        assert!(matches!(answered("403 Forbidden", "QuotaExceeded"), Error::NoSpace));
        assert!(matches!(answered("400 Bad Request", "ExpiredToken"), Error::Refused(_)));
        assert!(matches!(answered("503 Slow Down", "SlowDown"), Error::Failed(_)));
        let quiet = generic("Server returned error response: <Error><Code>InternalError</Code></Error>");
        let Error::Failed(told) = quiet else { panic!("not failed") };
        assert_eq!(told.to_string(), "the object store answered 200 OK (InternalError)");
    }

    #[test]
    fn a_full_disk_is_told_apart_through_every_wrapping() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(Error::from(full()), Error::NoSpace));
        assert!(matches!(Error::from(io::Error::from(io::ErrorKind::QuotaExceeded)), Error::NoSpace));
        let wrapped = object_store::Error::Generic { store: "LocalFileSystem", source: full().into() };
        assert!(matches!(Error::from(wrapped), Error::NoSpace));
        let Error::Failed(told) = generic("broken") else { panic!("not failed") };
        assert_eq!(told.to_string(), "Generic S3 error: broken");
    }

    /// `/dev/full` answers every write as a full disk does.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_write_to_a_full_device_ends_as_no_space() {
        use std::{fs::File, io::Write as _};

        let error = File::options().write(true).open("/dev/full").unwrap().write_all(b"x").unwrap_err();
        assert!(matches!(Error::from(error), Error::NoSpace));
    }
}
