//! A vendor's settings after they were judged: typed, by key.

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use url::Url;

use super::error::SetupError;

/// What is set, by key; a getter finds nothing under a key that is not set or has another shape.
#[derive(Debug, Clone, Default)]
pub struct Values(BTreeMap<&'static str, Value>);

/// The value of one setting.
#[derive(Clone)]
pub enum Value {
    /// Of `Secret` and `WebhookSecret`: visible ASCII. Of `Credentials`: any text.
    Secret(SecretString),
    /// Of `Secrets`, at least one. An adapter gets one of them, as a `Secret`.
    Secrets(Vec<SecretString>),
    /// Of `Url`.
    Url(Url),
    /// Of `Text`, `Form` and `Path`; not blank.
    Text(String),
    /// Of `Count`, at least 1.
    Count(usize),
    /// Of `Time`, above zero.
    Time(Duration),
    /// Of `Flag`.
    Flag(bool),
    /// Of `Nested`.
    Nested(toml::Value),
}

// What is nested may hold keys that only its adapter knows of.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(_) => f.write_str("Secret"),
            Self::Secrets(secrets) => write!(f, "Secrets({})", secrets.len()),
            Self::Nested(_) => f.write_str("Nested"),
            Self::Url(_) | Self::Text(_) | Self::Count(_) | Self::Time(_) | Self::Flag(_) => write!(f, "{self}"),
        }
    }
}

/// As it would be written; a secret only as "set".
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(_) | Self::Nested(_) => f.write_str("set"),
            Self::Secrets(secrets) if secrets.len() > 1 => write!(f, "set ({} keys)", secrets.len()),
            Self::Secrets(_) => f.write_str("set"),
            Self::Url(url) => url.fmt(f),
            Self::Text(text) => f.write_str(text),
            Self::Count(count) => count.fmt(f),
            Self::Time(time) => humantime::format_duration(*time).fmt(f),
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}

macro_rules! getters {
    ($($(#[doc = $doc:literal])+ $name:ident: $variant:ident($value:ident) -> $found:ty = $given:expr;)+) => {
        $(
            $(#[doc = $doc])+
            pub fn $name(&self, key: &str) -> Option<$found> {
                match self.0.get(key) {
                    Some(Value::$variant($value)) => Some($given),
                    _ => None,
                }
            }
        )+
    };
}

impl Values {
    getters! {
        /// A key.
        secret: Secret(value) -> &SecretString = value;
        /// An address.
        url: Url(value) -> &Url = value;
        /// A text, not blank.
        text: Text(value) -> &str = value;
        /// A file or folder.
        path: Text(value) -> &Path = Path::new(value);
        /// A number of at least 1.
        count: Count(value) -> usize = *value;
        /// A time above zero.
        time: Time(value) -> Duration = *value;
        /// What was written under a key of [`super::vendor::Shape::Nested`].
        nested: Nested(value) -> &toml::Value = value;
    }

    /// True if it is set to `true`.
    pub fn flag(&self, key: &str) -> bool {
        matches!(self.0.get(key), Some(Value::Flag(true)))
    }

    /// What was written under a key of [`super::vendor::Shape::Nested`], read as a `T`.
    ///
    /// # Errors
    /// If it has another form; says which key of it, and no value.
    pub fn parsed<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, SetupError> {
        let read = |value: &toml::Value| value.clone().try_into();
        self.nested(key).map(read).transpose().map_err(|error: toml::de::Error| {
            // TOML messages quote wrong values in double quotes and key names in back ticks.
            let message = error.message().split('"').step_by(2).collect::<Vec<_>>().join("…");
            SetupError::new(key, message)
        })
    }

    /// Any value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// What is set, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    /// Sets a value.
    pub fn insert(&mut self, key: &'static str, value: Value) {
        self.0.insert(key, value);
    }

    /// For an adapter with one key: these values for each of the several keys, or as they are.
    pub fn one_key_each(self) -> Vec<Self> {
        let several = self.0.iter().find_map(|(key, value)| match value {
            Value::Secrets(secrets) => Some((*key, secrets.clone())),
            _ => None,
        });
        let Some((key, secrets)) = several else { return vec![self] };
        let with = |secret| {
            let mut values = self.clone();
            values.insert(key, Value::Secret(secret));
            values
        };
        secrets.into_iter().map(with).collect()
    }
}
