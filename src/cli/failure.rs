//! Why a command ended early, and what to do about it. Decodes the details of `google.rpc` that the server sends.

use std::{io, time::Duration};

use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{exit::Exit, remedy};
use crate::{config::Problem, pb::v1::ErrorReason};

/// A command's error: how to exit, and what to tell.
#[derive(Debug)]
pub(super) struct Failure {
    /// How the process ends.
    pub(super) exit: Exit,
    /// What to tell; nothing if it was told already or nobody listens.
    report: Option<Box<Report>>,
}

/// Everything worth telling about an error.
#[derive(Debug, Default)]
struct Report {
    message: String,
    /// The RPC code's name in the contract, for example `NOT_FOUND`; absent for errors of this side.
    code: Option<&'static str>,
    /// `ErrorInfo.reason`.
    reason: Option<String>,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
    next_step: Option<String>,
    /// What to quote when reporting a defect.
    request_id: Option<String>,
}

/// One field or setting at fault.
#[derive(Debug)]
struct Violation {
    field: String,
    description: String,
}

impl Failure {
    /// An error of this side.
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, report: Some(Box::new(Report { message: message.into(), ..Report::default() })) }
    }

    /// The arguments are wrong.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A file of this machine failed. One that is not there or not ours is the caller's mistake.
    pub(super) fn file(path: &std::path::Path, doing: &str, error: &io::Error) -> Self {
        let mistaken = matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory
        );
        let exit = if mistaken { Exit::Usage } else { Exit::Internal };
        Self::new(exit, format!("cannot {doing} {}: {error}", path.display()))
    }

    /// The settings cannot be used.
    pub(super) fn settings(problems: Vec<Problem>) -> Self {
        let mut failure = Self::new(Exit::Config, "the settings have problems");
        if let Some(report) = &mut failure.report {
            report.violations = problems
                .into_iter()
                .map(|problem| Violation {
                    field: problem.setting.to_string(),
                    description: format!("{}; fix: {}", problem.message, problem.fix),
                })
                .collect();
        }
        failure
    }

    /// Stdout failed. A reader that has gone (`| head`) has seen enough: that is no error.
    pub(super) fn of_stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self { exit: Exit::Ok, report: None }
        } else {
            Self::new(Exit::Internal, format!("cannot write the result: {error}"))
        }
    }

    /// Replaces what to do next.
    pub(super) fn with_next_step(mut self, next_step: impl Into<String>) -> Self {
        if let Some(report) = &mut self.report {
            report.next_step = Some(next_step.into());
        }
        self
    }

    /// Lines for people; none when there is nothing to tell.
    pub(super) fn text(&self) -> Option<String> {
        let report = self.report.as_ref()?;
        let mut text = format!("error: {}", report.message);
        if let Some(reason) = &report.reason {
            text += &format!(" ({reason})");
        }
        for Violation { field, description } in &report.violations {
            text += &format!("\n  {field}: {description}");
        }
        if let Some(delay) = report.retry_after {
            text += &format!("\n  try again in {}", humantime::format_duration(delay));
        }
        if let Some(id) = &report.request_id {
            text += &format!("\n  request id: {id}");
        }
        if let Some(next_step) = &report.next_step {
            text += &format!("\n  what to do: {next_step}");
        }
        Some(text)
    }

    /// One object for programs; none when there is nothing to tell.
    pub(super) fn json(&self) -> Option<Value> {
        let report = self.report.as_ref()?;
        let mut error = json!({ "message": report.message, "exitCode": self.exit.number() });
        let violations = (!report.violations.is_empty()).then(|| {
            let one = |violation: &Violation| json!({ "field": violation.field, "description": violation.description });
            report.violations.iter().map(one).collect::<Value>()
        });
        let optional = [
            ("code", report.code.map(Value::from)),
            ("reason", report.reason.clone().map(Value::from)),
            ("violations", violations),
            ("retryAfter", report.retry_after.map(|delay| Value::from(format!("{}s", delay.as_secs_f64())))),
            ("nextStep", report.next_step.clone().map(Value::from)),
            ("requestId", report.request_id.clone().map(Value::from)),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                error[key] = value;
            }
        }
        Some(json!({ "error": error }))
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.clone());
        let known = reason.as_deref().and_then(reason_of);
        let mut report = Report {
            message: message_of(&status),
            code: Some(code_name(status.code())),
            next_step: known.and_then(remedy::of_reason).map(str::to_owned),
            reason,
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            request_id: details.request_info().map(|info| info.request_id.clone()),
            ..Report::default()
        };
        let mut violate = |field: &str, description: &str| {
            report.violations.push(Violation { field: field.to_owned(), description: description.to_owned() });
        };
        for violation in details.bad_request().into_iter().flat_map(|bad| &bad.field_violations) {
            violate(&violation.field, &violation.description);
        }
        for violation in details.precondition_failure().into_iter().flat_map(|failure| &failure.violations) {
            violate(&violation.subject, &violation.description);
        }
        for violation in details.quota_failure().into_iter().flat_map(|failure| &failure.violations) {
            violate(&violation.subject, &violation.description);
        }
        // The only reason whose code says "come back later" although coming back never helps.
        let exit = if known == Some(ErrorReason::UploadTooLarge) { Exit::Usage } else { Exit::of_code(status.code()) };
        Self { exit, report: Some(Box::new(report)) }
    }
}

/// The reason as the contract knows it; none for one of a newer server.
fn reason_of(name: &str) -> Option<ErrorReason> {
    ErrorReason::from_str_name(&format!("ERROR_REASON_{name}"))
}

fn message_of(status: &Status) -> String {
    if status.message().is_empty() {
        format!("the server refused with {}", code_name(status.code()))
    } else {
        status.message().to_owned()
    }
}

/// The code as the contract writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn invalid_request() -> Failure {
        let mut details = ErrorDetails::new();
        details
            .set_error_info("INVALID_REQUEST", "filmgate", [("count".to_owned(), "2".to_owned())])
            .add_bad_request_violation("options.fps", "must be 1 to 240")
            .add_bad_request_violation("prompt", "must not be empty");
        Status::with_error_details(Code::InvalidArgument, "the request is invalid", details).into()
    }

    #[test]
    fn every_violation_has_its_own_line_and_the_remedy_comes_last() {
        let failure = invalid_request();
        assert_eq!(failure.exit, Exit::Usage);
        assert_eq!(
            failure.text().unwrap(),
            "error: the request is invalid (INVALID_REQUEST)\n  options.fps: must be 1 to 240\n  prompt: must not be empty\n  \
             what to do: correct the named fields and send it again"
        );
    }

    #[test]
    fn programs_get_one_object_with_code_reason_and_violations() {
        assert_eq!(
            invalid_request().json().unwrap(),
            json!({ "error": {
                "message": "the request is invalid",
                "exitCode": 2,
                "code": "INVALID_ARGUMENT",
                "reason": "INVALID_REQUEST",
                "violations": [
                    { "field": "options.fps", "description": "must be 1 to 240" },
                    { "field": "prompt", "description": "must not be empty" },
                ],
                "nextStep": "correct the named fields and send it again",
            }})
        );
    }

    #[test]
    fn a_delay_and_a_request_id_are_told() {
        let mut details = ErrorDetails::new();
        details
            .set_error_info("QUEUE_FULL", "filmgate", [])
            .set_retry_info(Some(Duration::from_secs(2)))
            .set_request_info("r-1", "");
        let failure: Failure = Status::with_error_details(Code::ResourceExhausted, "full", details).into();
        let text = failure.text().unwrap();
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(text.contains("try again in 2s") && text.contains("request id: r-1"), "{text}");
    }

    #[test]
    fn a_file_that_is_too_large_is_not_worth_a_retry() {
        let details = ErrorDetails::with_error_info("UPLOAD_TOO_LARGE", "filmgate", []);
        let failure: Failure = Status::with_error_details(Code::ResourceExhausted, "too large", details).into();
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn a_reason_of_a_newer_server_is_shown_as_it_is() {
        let details = ErrorDetails::with_error_info("FROM_THE_FUTURE", "filmgate", []);
        let failure: Failure = Status::with_error_details(Code::NotFound, "", details).into();
        assert_eq!(failure.text().unwrap(), "error: the server refused with NOT_FOUND (FROM_THE_FUTURE)");
        assert_eq!(failure.exit, Exit::NotFound);
    }
}
