//! Names of things: each is its own type, parsed once at the door and valid from then on.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text is not a name of this form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {expected}")]
pub struct BadName {
    /// The form in words, for example ``generations/{id}``.
    pub expected: &'static str,
}

/// A UUID behind a collection prefix: `now_v7` where names should sort by age, `new_v4` where nobody may guess them.
macro_rules! uuid_name {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $version:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh one.
            pub fn fresh() -> Self {
                Self(Uuid::$version())
            }

            /// The bare id, hyphenated lower-case hexadecimal.
            pub fn id(self) -> String {
                self.0.to_string()
            }

            /// From the bare id.
            pub fn from_id(id: &str) -> Result<Self, BadName> {
                // Only the hyphenated form, so that one thing has one name.
                match Uuid::try_parse(id) {
                    Ok(uuid) if uuid.to_string() == id => Ok(Self(uuid)),
                    Ok(_) | Err(_) => Err(BadName { expected: $expected }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                text.strip_prefix($prefix).ok_or(BadName { expected: $expected }).and_then(Self::from_id)
            }
        }
    };
}

uuid_name!(
    /// A generation: `generations/{uuid}`.
    GenerationId, "generations/", now_v7, "generations/{id} with a lower-case UUID as id"
);
uuid_name!(
    /// An attempt of a generation; internal, also a part of a blob's key.
    AttemptId, "", now_v7, "a lower-case UUID"
);
uuid_name!(
    /// The unique mark of one submit call, stored before it is sent and echoed by vendors that can. Who knows it may tell us of the job, so
    /// it has 122 random bits and is told to the vendor alone.
    SubmitKey, "", new_v4, "a lower-case UUID"
);

uuid_name!(
    /// A quote: `quotes/{uuid}`. Who knows it may use it once, within its tenant.
    QuoteId, "quotes/", new_v4, "quotes/{id} with a lower-case UUID as id"
);
uuid_name!(
    /// A chat: `chats/{uuid}`. What usage and ledger call it.
    ChatId, "chats/", now_v7, "chats/{id} with a lower-case UUID as id"
);

/// Checked text behind an optional collection prefix.
macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The bare id.
            pub fn id(&self) -> &str {
                &self.0
            }

            /// From the bare id.
            pub fn from_id(id: impl Into<String>) -> Result<Self, BadName> {
                let id = id.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&id) { Ok(Self(id)) } else { Err(BadName { expected: $expected }) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                text.strip_prefix($prefix).ok_or(BadName { expected: $expected }).and_then(Self::from_id)
            }
        }
    };
}

text_name!(
    /// A session: `sessions/{id}`.
    SessionId, "sessions/", "sessions/{id} with an id of 1 to 64 of A-Z a-z 0-9 _ -", |id| is_token(id, 64)
);
text_name!(
    /// An artifact: `artifacts/{id}`; outputs are `{generation uuid}-{index}`.
    ArtifactId, "artifacts/", "artifacts/{id} with an id of 1 to 64 of A-Z a-z 0-9 _ -", |id| is_token(id, 64)
);
text_name!(
    /// Whose data and budget it is.
    TenantId, "", "a tenant of 1 to 64 of A-Z a-z 0-9 _ -", |id| is_token(id, 64)
);
text_name!(
    /// The caller's own key of a request, for attaching to it again.
    RequestId, "", "1 to 128 printable ASCII characters",
    |id| (1..=128).contains(&id.len()) && id.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
);
text_name!(
    /// A provider, for example `replicate`.
    ProviderId, "", "a provider of 1 to 32 of a-z 0-9 -",
    |id| (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
text_name!(
    /// A route of the settings, for example `fast`.
    RouteName, "", "a route of 1 to 64 of A-Z a-z 0-9 _ -", |id| is_token(id, 64)
);

impl SessionId {
    /// A fresh one: 32 lower-case hexadecimal digits. They begin with the time, so that the rows of new sessions lie together on the disk.
    pub fn fresh() -> Self {
        Self(Uuid::now_v7().simple().to_string())
    }
}

impl ArtifactId {
    /// The `index`th output of a generation.
    pub fn output(generation: GenerationId, index: usize) -> Self {
        Self(format!("{}-{index}", generation.id()))
    }

    /// A fresh one, for an upload.
    pub fn fresh() -> Self {
        Self(Uuid::now_v7().to_string())
    }
}

impl TenantId {
    /// The tenant of callers that name none.
    pub fn default_tenant() -> Self {
        Self("default".to_owned())
    }
}

fn is_token(id: &str, most: usize) -> bool {
    (1..=most).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// A model: `provider/name`, where the name may itself hold `/` and `:`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName {
    /// Who serves it.
    pub provider: ProviderId,
    /// What the provider calls it.
    pub name: String,
}

impl ModelName {
    const EXPECTED: &'static str =
        "provider/name, for example replicate/minimax/video-01; a name has 1 to 200 of A-Z a-z 0-9 . _ - / :";

    /// Of its two parts.
    pub fn new(provider: ProviderId, name: impl Into<String>) -> Result<Self, BadName> {
        let name = name.into();
        let valid = (1..=200).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:".contains(&b))
            // No empty, `.` or `..` segment: the name becomes part of a URL path.
            && name.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
        if valid { Ok(Self { provider, name }) } else { Err(BadName { expected: Self::EXPECTED }) }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.name)
    }
}

impl FromStr for ModelName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let (provider, name) = text.split_once('/').ok_or(BadName { expected: Self::EXPECTED })?;
        let provider = ProviderId::from_id(provider).map_err(|_| BadName { expected: Self::EXPECTED })?;
        Self::new(provider, name)
    }
}

impl TryFrom<String> for ModelName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<ModelName> for String {
    fn from(model: ModelName) -> Self {
        model.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        let id = GenerationId::fresh();
        assert_eq!(id.to_string().parse(), Ok(id));
        let model: ModelName = "replicate/minimax/video-01".parse().unwrap();
        assert_eq!((model.provider.id(), model.name.as_str()), ("replicate", "minimax/video-01"));
        assert_eq!(model.to_string().parse(), Ok(model));
    }

    #[test]
    fn a_session_made_here_is_32_lower_case_hexadecimal_digits() {
        let id = SessionId::fresh();
        assert_eq!(id.id().len(), 32);
        assert!(id.id().bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    }

    #[test]
    fn rubbish_is_no_name() {
        for bad in ["", "sessions/", "sessions/../../etc/x", "sessions/a/b", "sessions/ä", "abc"] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad:?}");
        }
        let upper = GenerationId::fresh().to_string().to_uppercase();
        for bad in ["", "generations/", "generations/1", upper.as_str()] {
            assert!(bad.parse::<GenerationId>().is_err(), "{bad:?}");
        }
        for bad in ["", "replicate", "replicate/", "Replicate/x", "replicate/../x", "replicate/a//b", "replicate/a b"] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad:?}");
        }
    }
}
