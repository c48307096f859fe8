use std::fmt;

/// One thing that is wrong with the settings, in words for the person who can mend it. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting by every name it has: key, flag, environment variables. Or a file's path.
    pub setting: String,
    /// What is wrong, with the shape of a valid value. The value itself is shown unless it is secret.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.setting, self.message, self.fix)
    }
}
