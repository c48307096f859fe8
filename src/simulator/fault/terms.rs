//! The pieces a rule's text is made of: clauses, terms and values.

use std::{str::FromStr, time::Duration};

/// The `key=value` terms of a clause; what is left when all known ones are taken is an error.
pub(super) struct Terms(Vec<(String, Option<String>)>);

impl Terms {
    pub(super) fn read(clause: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        for term in split(clause, ',')? {
            let (key, value) = match term.split_once('=') {
                Some((key, value)) => (key, Some(value.trim().replace('"', ""))),
                None => (term.as_str(), None),
            };
            let key = key.trim().to_owned();
            if key.is_empty() {
                return Err("empty term".to_owned());
            }
            if terms.iter().any(|(seen, _)| *seen == key) {
                return Err(format!("{key} is given twice"));
            }
            terms.push((key, value));
        }
        Ok(Self(terms))
    }

    /// The first term, which names the fault.
    pub(super) fn head(&mut self) -> Result<(String, Option<String>), String> {
        if self.0.is_empty() { Err("the fault is missing".to_owned()) } else { Ok(self.0.remove(0)) }
    }

    /// Takes out the term with this key.
    pub(super) fn value(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(name, value)| name == key && value.is_some())?;
        self.0.remove(at).1
    }

    /// Takes out the term with this key, a number.
    pub(super) fn number<T: FromStr>(&mut self, key: &str) -> Result<Option<T>, String> {
        self.value(key).map(|value| number(key, &value)).transpose()
    }

    /// Refuses terms that nobody took.
    pub(super) fn done(self) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => Err(format!("unknown or incomplete term {key:?}")),
        }
    }
}

/// Splits outside double quotes; the quotes stay.
pub(super) fn split(text: &str, separator: char) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for character in text.chars() {
        if character == '"' {
            quoted = !quoted;
        }
        match parts.last_mut() {
            Some(part) if quoted || character != separator => part.push(character),
            Some(_) | None => parts.push(String::new()),
        }
    }
    if quoted { Err("a quote is not closed".to_owned()) } else { Ok(parts) }
}

/// The value of a word that needs one.
pub(super) fn required(word: &str, value: Option<String>) -> Result<String, String> {
    value.ok_or_else(|| format!("{word} needs a value: {word}=..."))
}

/// The meaning of a word that takes no value.
pub(super) fn flag<T>(word: &str, value: Option<String>, meaning: T) -> Result<T, String> {
    match value {
        None => Ok(meaning),
        Some(value) => Err(format!("{word} takes no value, but {value:?} is given")),
    }
}

/// A number of the wanted type.
pub(super) fn number<T: FromStr>(word: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{word}={value} is not a number in range"))
}

/// An HTTP error status.
pub(super) fn status(word: &str, value: Option<String>) -> Result<u16, String> {
    let code = number(word, &required(word, value)?)?;
    if (400..=599).contains(&code) { Ok(code) } else { Err(format!("{word}={code}: expected 400 to 599")) }
}

/// A duration such as `250ms`.
pub(super) fn duration(word: &str, value: Option<String>) -> Result<Duration, String> {
    let value = required(word, value)?;
    humantime::parse_duration(&value).map_err(|error| format!("{word}={value}: {error}"))
}
