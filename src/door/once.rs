//! What no JSON of a request may have, whatever door it comes through: the same name twice in an object, or more values or levels than anybody means.
//!
//! Of a name that comes twice some readers take the first and some the last; whoever looks at a request before us must see what we see.

use std::{borrow::Cow, collections::HashSet, fmt};

use prost_reflect::{Kind, MessageDescriptor};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

/// Most values in one JSON text. Each costs a hundred times its two bytes, so a body of nothing but zeros would cost more than a gigabyte.
pub(super) const MAX_VALUES: usize = 100_000;
/// Most values within each other. The readers take a few more.
const MAX_DEPTH: usize = 120;

/// What is wrong with a JSON text that may well be JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flaw {
    /// This name, with where it is (`a.b[0].c`), comes twice.
    Twice(String),
    /// It has more than [`MAX_VALUES`] values.
    TooMany,
    /// Its values are more than [`MAX_DEPTH`] deep within each other.
    TooDeep,
}

impl Flaw {
    /// What is wrong, of the place for [`Self::Twice`], else of the whole text.
    pub(super) fn why(&self) -> String {
        match self {
            Self::Twice(_) => "comes twice".to_owned(),
            Self::TooMany => format!("has more than {MAX_VALUES} values"),
            Self::TooDeep => format!("has values that are more than {MAX_DEPTH} deep within each other"),
        }
    }
}

/// Looks for a flaw in front of whatever else is wrong with a text, which its reader says. `message` is what the text is to become: a field of it
/// has two names, and is one.
pub(super) fn check(json: &[u8], message: Option<&MessageDescriptor>) -> Result<(), Flaw> {
    let mut search = Search { n_left: MAX_VALUES, path: Vec::new(), found: None };
    let mut reader = serde_json::Deserializer::from_slice(json);
    // That it is no JSON is no flaw of this kind.
    drop(Look { search: &mut search, message: message.cloned(), depth: 0 }.deserialize(&mut reader));
    match search.found {
        None => Ok(()),
        Some(Found::TooMany) => Err(Flaw::TooMany),
        Some(Found::TooDeep) => Err(Flaw::TooDeep),
        Some(Found::Twice) => Err(Flaw::Twice(search.place())),
    }
}

/// What was found so far.
struct Search {
    n_left: usize,
    /// Where it was found, from the inside out.
    path: Vec<Step>,
    found: Option<Found>,
}

enum Found {
    Twice,
    TooMany,
    TooDeep,
}

enum Step {
    Name(String),
    Index(usize),
}

impl Search {
    fn stop<T, E: Error>(&mut self, found: Found) -> Result<T, E> {
        self.found = Some(found);
        Err(E::custom("a flaw"))
    }

    fn place(&self) -> String {
        let mut place = String::new();
        for step in self.path.iter().rev() {
            match step {
                Step::Name(name) if place.is_empty() => place.push_str(name),
                Step::Name(name) => place.extend([".", name]),
                Step::Index(index) => place.push_str(&format!("[{index}]")),
            }
        }
        place
    }
}

/// Looks at one value.
struct Look<'s> {
    search: &'s mut Search,
    message: Option<MessageDescriptor>,
    /// How many values it is within.
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        match self.search.n_left.checked_sub(1) {
            None => return self.search.stop(Found::TooMany),
            Some(_) if self.depth > MAX_DEPTH => return self.search.stop(Found::TooDeep),
            Some(left) => self.search.n_left = left,
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { search, message, depth } = self;
        let mut known = Names::default();
        while let Some(Key(key)) = map.next_key()? {
            let (name, inner) = field(message.as_ref(), &key);
            let is_new = known.insert(name.unwrap_or_else(|| key.clone()));
            let looked = match is_new {
                true => map.next_value_seed(Look { search, message: inner, depth: depth + 1 }),
                false => search.stop(Found::Twice),
            };
            if let Err(error) = looked {
                search.path.push(Step::Name(key.into_owned()));
                return Err(error);
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { search, message, depth } = self;
        for index in 0.. {
            match list.next_element_seed(Look { search, message: message.clone(), depth: depth + 1 }) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => {
                    search.path.push(Step::Index(index));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// The names of one object. Most have few, which are faster compared than hashed.
#[derive(Default)]
struct Names<'a> {
    few: Vec<Cow<'a, str>>,
    many: HashSet<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    const FEW: usize = 16;

    /// False if it was there.
    fn insert(&mut self, name: Cow<'a, str>) -> bool {
        if self.few.contains(&name) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.push(name);
            return true;
        }
        self.many.insert(name)
    }
}

/// The one name of a field that has this key, and the message that its value is; neither for what is no field.
fn field<'de>(message: Option<&MessageDescriptor>, key: &str) -> (Option<Cow<'de, str>>, Option<MessageDescriptor>) {
    // The types of protobuf itself have a form of their own, in which their fields are no names.
    let Some(message) = message.filter(|message| message.package_name() != "google.protobuf") else {
        return (None, None);
    };
    let inner = |kind: Kind| kind.as_message().cloned();
    if message.is_map_entry() {
        return (None, inner(message.map_entry_value_field().kind()));
    }
    let field = message.get_field_by_json_name(key).or_else(|| message.get_field_by_name(key));
    match field {
        Some(field) => (Some(field.json_name().to_owned().into()), inner(field.kind())),
        None => (None, None),
    }
}

/// A name, borrowed where it has no escapes.
pub(super) struct Key<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }

        reader.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb;

    fn twice(place: &str) -> Result<(), Flaw> {
        Err(Flaw::Twice(place.to_owned()))
    }

    #[test]
    fn a_name_comes_once_in_each_object() {
        for (json, expected) in [
            (r#"{"a": {"b": 1}, "b": [{"b": 1}, {"b": 1.5}], "": null}"#, Ok(())),
            (r#"{"a": 1, "a": 1}"#, twice("a")),
            (r#"{"a": [0, {"b": {"c": "x", "d": true, "c": "y"}}]}"#, twice("a[1].b.c")),
            (r#"{"a": 1, "\u0061": 2}"#, twice("a")),
            // What stands before the end of what is no JSON is told first; what is none at all is told by its reader.
            (r#"{"a": 1, "a""#, twice("a")),
            (r#"{"a": 1,, "a": 2}"#, Ok(())),
            ("5", Ok(())),
            ("", Ok(())),
        ] {
            assert_eq!(check(json.as_bytes(), None), expected, "{json}");
        }
    }

    #[test]
    fn both_names_of_a_field_are_one() {
        let pool = pb::json::pool().unwrap();
        let request = pool.get_message_by_name("filmgate.v1.GenerateVideoRequest").unwrap();
        for (json, expected) in [
            (r#"{"requestId": "a", "request_id": "a"}"#, twice("request_id")),
            (r#"{"options": {"aspect_ratio": "1:1", "aspectRatio": "1:1"}}"#, twice("options.aspectRatio")),
            (r#"{"inputs": [{"uri": "a"}, {"uri": "a", "uri": "a"}]}"#, twice("inputs[1].uri")),
            // Keys of a map, and names that nobody here has given, are what they are.
            (r#"{"labels": {"requestId": "a", "request_id": "a"}}"#, Ok(())),
            (r#"{"options": {"providerOptions": {"aspectRatio": 1, "aspect_ratio": 1}}}"#, Ok(())),
            (r#"{"labels": {"a": "a", "a": "a"}}"#, twice("labels.a")),
        ] {
            assert_eq!(check(json.as_bytes(), Some(&request)), expected, "{json}");
        }
    }

    #[test]
    fn values_and_levels_are_counted() {
        let list = |n: usize| format!("[{}0]", "0,".repeat(n - 2));
        assert_eq!(check(list(MAX_VALUES).as_bytes(), None), Ok(()));
        assert_eq!(check(list(MAX_VALUES + 1).as_bytes(), None), Err(Flaw::TooMany));
        let deep = |n: usize| format!("{}0{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(check(deep(MAX_DEPTH).as_bytes(), None), Ok(()));
        assert_eq!(check(deep(MAX_DEPTH + 1).as_bytes(), None), Err(Flaw::TooDeep));
    }
}
