//! JSON read in place: objects whose values stay text until somebody asks for them, and where in the body they are.
//!
//! The whole body is known to be UTF-8. Values are copied once, into the message they end up in; schemas are not even parsed, so their properties
//! keep their order.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::door::{
    once::Key,
    openai::{body::check_json, problem::Problem},
};

/// Where a value is in the body. Written out only when something is wrong with it.
#[derive(Debug, Clone, Copy)]
pub(super) enum At<'p> {
    /// The body itself.
    Body,
    /// A field of an object.
    Field(&'p At<'p>, &'p str),
    /// An element of a list.
    Item(&'p At<'p>, usize),
}

impl At<'_> {
    pub(super) fn field<'p>(&'p self, name: &'p str) -> At<'p> {
        At::Field(self, name)
    }

    pub(super) fn item(&self, index: usize) -> At<'_> {
        At::Item(self, index)
    }

    /// Nothing is there, and something must be.
    pub(super) fn missing(&self) -> Problem {
        Problem::missing(&self.to_string())
    }

    /// Its value is of another type.
    pub(super) fn wrong_type(&self, expected: &str, got: &RawValue) -> Problem {
        Problem::wrong_type(&self.to_string(), expected, type_of(got))
    }

    /// Its value is not taken.
    pub(super) fn wrong_value(&self, why: impl fmt::Display) -> Problem {
        Problem::wrong_value(&self.to_string(), why)
    }

    /// OpenAI knows its value, and nothing here can do it.
    pub(super) fn unsupported(&self, what: impl fmt::Display) -> Problem {
        let path = self.to_string();
        let message = format!("Unsupported value: '{path}' {what}.");
        Problem::invalid(path, "unsupported_value", message)
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => Ok(()),
            Self::Field(Self::Body, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// The fields of an object that were not taken out yet. None comes twice, for the whole body was looked through first.
#[derive(Debug)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// The whole body.
    pub(super) fn of_body(body: &'a [u8]) -> Result<Self, Problem> {
        check_json(body)?;
        let text = std::str::from_utf8(body).map_err(|error| not_json(&format!("it is not UTF-8: {error}")))?;
        serde_json::from_str(text).map_err(|error| not_json(&error.to_string()))
    }

    /// The object that is there.
    pub(super) fn of(raw: &'a RawValue, at: &At<'_>) -> Result<Self, Problem> {
        if !raw.get().starts_with('{') {
            return Err(at.wrong_type("an object", raw));
        }
        serde_json::from_str(raw.get()).map_err(|error| at.wrong_value(plain(&error)))
    }

    /// Takes a field out; null is as good as nothing.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let index = self.0.iter().position(|(key, _)| key == name)?;
        let (_, value) = self.0.swap_remove(index);
        (value.get() != "null").then_some(value)
    }

    /// Takes a field out as what it must be.
    pub(super) fn read<T: Plain>(&mut self, name: &str, at: &At<'_>) -> Result<Option<T>, Problem> {
        self.take(name).map(|raw| read(raw, &at.field(name))).transpose()
    }

    /// Takes a field out that must be there.
    pub(super) fn required<T: Plain>(&mut self, name: &str, at: &At<'_>) -> Result<T, Problem> {
        self.read(name, at)?.ok_or_else(|| at.field(name).missing())
    }

    /// Refuses what is left.
    pub(super) fn none_left(self, at: &At<'_>) -> Result<(), Problem> {
        match self.into_rest().next() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::unknown(&at.field(&name).to_string())),
        }
    }

    /// What is left and is something.
    pub(super) fn into_rest(self) -> impl Iterator<Item = (Cow<'a, str>, &'a RawValue)> {
        self.0.into_iter().filter(|(_, value)| value.get() != "null")
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(8);
                while let Some(Key(key)) = map.next_key()? {
                    fields.push((key, map.next_value()?));
                }
                Ok(Object(fields))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// A value that is what its JSON type says.
pub(super) trait Plain: DeserializeOwned {
    /// Its type with an article.
    const EXPECTED: &'static str;
}

impl Plain for String {
    const EXPECTED: &'static str = "a string";
}

impl Plain for bool {
    const EXPECTED: &'static str = "a boolean";
}

impl Plain for f64 {
    const EXPECTED: &'static str = "a number";
}

impl Plain for i64 {
    const EXPECTED: &'static str = "an integer";
}

/// The value that is there.
pub(super) fn read<T: Plain>(raw: &RawValue, at: &At<'_>) -> Result<T, Problem> {
    serde_json::from_str(raw.get()).map_err(|error| {
        // Half a surrogate pair and numbers without bounds are of the right type and still nothing.
        if type_of(raw) == T::EXPECTED || error.is_syntax() {
            return at.wrong_value(plain(&error));
        }
        at.wrong_type(T::EXPECTED, raw)
    })
}

/// The elements of the list that is there.
pub(super) fn list<'a>(raw: &'a RawValue, at: &At<'_>) -> Result<Vec<&'a RawValue>, Problem> {
    if !raw.get().starts_with('[') {
        return Err(at.wrong_type("an array", raw));
    }
    serde_json::from_str(raw.get()).map_err(|error| at.wrong_value(plain(&error)))
}

/// What a value is, with an article.
pub(super) fn type_of(raw: &RawValue) -> &'static str {
    let text = raw.get();
    match text.bytes().next() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') | None => "null",
        Some(_) if text.contains(['.', 'e', 'E']) => "a number",
        Some(_) => "an integer",
    }
}

/// The error without its place, which counts from the beginning of the value and helps nobody.
pub(super) fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what).to_owned()
}

fn not_json(why: &str) -> Problem {
    let message = format!("We could not parse the JSON body of your request: {why}.");
    Problem::new(http::StatusCode::BAD_REQUEST, message).with_code("invalid_json")
}
