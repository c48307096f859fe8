//! Names on the command line: in full (`generations/…`) or as the bare id.

use super::failure::Failure;

/// A collection of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collection {
    /// `generations/{id}`.
    Generations,
    /// `artifacts/{id}`.
    Artifacts,
    /// `sessions/{id}`.
    Sessions,
}

impl Collection {
    /// What every name in it starts with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Generations => "generations/",
            Self::Artifacts => "artifacts/",
            Self::Sessions => "sessions/",
        }
    }

    /// The full name for `text`; an error if it names something of another kind.
    pub(super) fn name(self, text: &str) -> Result<String, Failure> {
        let prefix = self.prefix();
        let id = text.strip_prefix(prefix).unwrap_or(text);
        if id.is_empty() || id.contains('/') {
            return Err(Failure::usage(format!("{text:?} is not a name: expected {prefix}ID or the ID alone")));
        }
        Ok(format!("{prefix}{id}"))
    }
}

/// The id at the end of a name.
pub(super) fn id(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_names_and_bare_ids_are_the_same() {
        for text in ["abc", "generations/abc"] {
            assert_eq!(Collection::Generations.name(text).unwrap(), "generations/abc");
        }
        assert_eq!(id("generations/abc"), "abc");
    }

    #[test]
    fn a_name_of_another_collection_is_refused() {
        for text in ["artifacts/abc", "", "generations/", "a/b"] {
            assert!(Collection::Generations.name(text).is_err(), "{text:?}");
        }
    }
}
