//! What the contract promises of every refusal.

use std::fmt::Debug;

use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

/// A refusal as a caller reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: Code,
    /// `ErrorInfo.reason`.
    pub(crate) reason: String,
    /// Fields of `BadRequest`, in order.
    pub(crate) fields: Vec<String>,
}

/// Checks that a status is a refusal in the contract's form.
pub(crate) fn refused(status: &Status) -> Refused {
    let details = status.check_error_details().unwrap_or_else(|error| panic!("details of {status:?}: {error}"));
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "filmgate", "{status:?}");
    assert!(!matches!(status.code(), Code::Internal | Code::Unknown | Code::Ok), "{status:?}");
    assert!(!status.message().is_empty(), "{status:?}");
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    assert_eq!(violations.is_empty(), status.code() != Code::InvalidArgument, "{status:?}");
    for violation in &violations {
        assert!(!violation.field.is_empty() && !violation.description.is_empty(), "{violation:?}");
    }
    let fields = violations.into_iter().map(|violation| violation.field).collect();
    Refused { code: status.code(), reason: info.reason.clone(), fields }
}

/// The refusal of an answer that must be one; `about` says which, should it not be.
pub(crate) fn refusal<T>(answer: Result<Response<T>, Status>, about: &impl Debug) -> Refused {
    match answer {
        Ok(_) => panic!("accepted: {about:?}"),
        Err(status) => refused(&status),
    }
}

/// `INVALID_ARGUMENT` of exactly these fields.
pub(crate) fn invalid(fields: &[&str]) -> Refused {
    let fields = fields.iter().map(|field| (*field).to_owned()).collect();
    Refused { code: Code::InvalidArgument, reason: "INVALID_REQUEST".to_owned(), fields }
}

/// `NOT_FOUND` with this reason.
pub(crate) fn not_found(reason: &str) -> Refused {
    Refused { code: Code::NotFound, reason: reason.to_owned(), fields: Vec::new() }
}
