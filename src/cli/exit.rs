//! How a command ends, for scripts: one number a meaning, the same for every command.

use std::{fmt::Write as _, process::ExitCode};

use tonic::Code;

/// Exit codes. They are part of the contract: a number never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// A defect, or something that no other code describes.
    Internal = 1,
    /// The arguments or the request are wrong.
    Usage = 2,
    /// The generation ended as failed.
    Failed = 3,
    /// A paid request was sent and what became of it is unknown.
    Unresolved = 4,
    /// The generation was cancelled.
    Cancelled = 5,
    /// No such generation, session, artifact or model.
    NotFound = 6,
    /// Something must be set up or changed first.
    Precondition = 7,
    /// The server cannot be reached or cannot take more now.
    Unavailable = 8,
    /// The settings have problems.
    Config = 9,
    /// Ended by Ctrl-C; what was sent to a provider goes on there.
    Interrupted = 130,
}

impl Exit {
    /// Every code, by number.
    pub const ALL: [Self; 11] = [
        Self::Ok,
        Self::Internal,
        Self::Usage,
        Self::Failed,
        Self::Unresolved,
        Self::Cancelled,
        Self::NotFound,
        Self::Precondition,
        Self::Unavailable,
        Self::Config,
        Self::Interrupted,
    ];

    /// The number the process ends with.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// What it means, as `--help` shows it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Internal => "internal or unexpected error",
            Self::Usage => "wrong arguments or invalid request",
            Self::Failed => "the generation failed",
            Self::Unresolved => "unresolved: a paid request was sent and what became of it is unknown",
            Self::Cancelled => "the generation was cancelled",
            Self::NotFound => "not found",
            Self::Precondition => "something must be set up or changed first",
            Self::Unavailable => "the server cannot be reached, or is busy",
            Self::Config => "the settings have problems (see `filmgate check`)",
            Self::Interrupted => "interrupted; what was sent to a provider goes on there",
        }
    }

    /// The list of all codes for `--help`.
    pub fn help() -> String {
        let mut help = "Exit codes:".to_owned();
        for exit in Self::ALL {
            // Writing to a String cannot fail.
            let _ = write!(help, "\n  {:>3}  {}", exit.number(), exit.meaning());
        }
        help
    }

    /// How a refused call ends the command.
    pub(super) fn of_code(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange | Code::AlreadyExists => Self::Usage,
            Code::NotFound => Self::NotFound,
            Code::FailedPrecondition | Code::Unauthenticated | Code::PermissionDenied => Self::Precondition,
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => Self::Unavailable,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::Aborted
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss => Self::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_meaning_and_is_in_the_help() {
        let numbers: Vec<u8> = Exit::ALL.into_iter().map(Exit::number).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130]);
        let help = Exit::help();
        for exit in Exit::ALL {
            assert!(
                help.contains(&format!("{:>3}  {}", exit.number(), exit.meaning())),
                "{exit:?} is missing in {help}"
            );
        }
    }

    #[test]
    fn rpc_codes_end_as_documented() {
        let table = [
            (Code::InvalidArgument, Exit::Usage),
            (Code::AlreadyExists, Exit::Usage),
            (Code::NotFound, Exit::NotFound),
            (Code::FailedPrecondition, Exit::Precondition),
            (Code::Unauthenticated, Exit::Precondition),
            (Code::Unavailable, Exit::Unavailable),
            (Code::ResourceExhausted, Exit::Unavailable),
            (Code::Internal, Exit::Internal),
            (Code::Unimplemented, Exit::Internal),
        ];
        for (code, exit) in table {
            assert_eq!(Exit::of_code(code), exit, "{code:?}");
        }
    }
}
