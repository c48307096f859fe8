//! Where something stands in a vendor's JSON: a JSON pointer in which `*` stands for every item of a list or object.

use serde::{Deserialize, de};
use serde_json::Value;

/// A place, or with `*` several places, of a JSON document.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pointer(Vec<String>);

impl TryFrom<String> for Pointer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let unescaped = |segment: &str| segment.replace("~1", "/").replace("~0", "~");
        match text.strip_prefix('/') {
            Some(path) => Ok(Self(path.split('/').map(unescaped).collect())),
            None if text.is_empty() => Ok(Self(Vec::new())),
            None => Err("a place begins with `/`, as in /data/0/url; `*` stands for every item".to_owned()),
        }
    }
}

impl Pointer {
    /// Everything it points at, in the document's order. Null is as good as nothing.
    pub(super) fn all<'v>(&self, document: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![document];
        for segment in &self.0 {
            found = found.into_iter().flat_map(|value| step(value, segment)).collect();
        }
        found.retain(|value| !value.is_null());
        found
    }

    /// The first thing it points at.
    pub(super) fn first<'v>(&self, document: &'v Value) -> Option<&'v Value> {
        self.all(document).into_iter().next()
    }

    /// The first thing it points at as a text, for a number or flag as it would be written; not blank.
    pub(super) fn text(&self, document: &Value) -> Option<String> {
        self.first(document).and_then(text_of)
    }

    /// The first thing it points at as a finite number, also if that is written as a text.
    pub(super) fn number(&self, document: &Value) -> Option<f64> {
        let value = self.first(document)?;
        let number = value.as_f64().or_else(|| value.as_str()?.trim().trim_end_matches('%').parse().ok())?;
        number.is_finite().then_some(number)
    }
}

fn step<'v>(value: &'v Value, segment: &str) -> Vec<&'v Value> {
    match value {
        Value::Array(items) if segment == "*" => items.iter().collect(),
        Value::Object(fields) if segment == "*" => fields.values().collect(),
        Value::Array(items) => segment.parse().ok().and_then(|index: usize| items.get(index)).into_iter().collect(),
        Value::Object(fields) => fields.get(segment).into_iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// A text, number or flag as a text.
pub(super) fn text_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        // Some languages write every number as a float.
        Value::Number(number) => match number.as_f64().filter(|it| number.is_f64() && it.fract() == 0.0) {
            Some(whole) => format!("{whole:.0}"),
            None => number.to_string(),
        },
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// One place or a list of them, of which the first that holds something counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places(Vec<Pointer>);

impl<'de> Deserialize<'de> for Places {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a place such as \"/data/0/url\", or a list of places")]
        enum Written {
            One(String),
            Several(Vec<String>),
        }
        let texts = match Written::deserialize(deserializer)? {
            Written::One(text) => vec![text],
            Written::Several(texts) => texts,
        };
        let places: Result<_, _> = texts.into_iter().map(Pointer::try_from).collect();
        places.map(Self).map_err(de::Error::custom)
    }
}

impl Places {
    /// What stands at the first place that holds something.
    pub(super) fn all<'v>(&self, document: &'v Value) -> Vec<&'v Value> {
        self.0.iter().map(|place| place.all(document)).find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// The text at the first place that holds one.
    pub(super) fn text(&self, document: &Value) -> Option<String> {
        self.0.iter().find_map(|place| place.text(document))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Pointer {
        Pointer::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_place_is_found_by_name_number_and_star() {
        let document = json!({ "data": [{ "url": "a" }, { "url": null }, { "url": "b" }], "a/b": { "~": 1 }, "o": { "x": 1, "y": 2 } });
        let check = |place: &str, expected: Value| assert_eq!(json!(at(place).all(&document)), expected, "{place}");
        check("/data/*/url", json!(["a", "b"]));
        check("/data/2/url", json!(["b"]));
        check("/data/9/url", json!([]));
        check("/data/url", json!([]));
        check("/a~1b/~0", json!([1]));
        check("/o/*", json!([1, 2]));
        check("", json!([document]));
        assert!(Pointer::try_from("data.url".to_owned()).unwrap_err().contains("begins with `/`"));
    }

    #[test]
    fn numbers_and_texts_are_read_however_they_are_written() {
        let document = json!({ "a": "42.5%", "b": 7.0, "c": true, "d": " ", "e": 12345678901234567890u64 });
        assert_eq!((at("/a").number(&document), at("/b").number(&document)), (Some(42.5), Some(7.0)));
        assert_eq!(at("/b").text(&document).as_deref(), Some("7"));
        assert_eq!((at("/c").text(&document).as_deref(), at("/d").text(&document)), (Some("true"), None));
        assert_eq!(at("/e").text(&document).as_deref(), Some("12345678901234567890"));
        assert_eq!((at("/c").number(&document), at("/d").number(&document)), (None, None));
    }

    #[test]
    fn the_first_place_that_holds_something_counts() {
        let places: Places = serde_json::from_value(json!(["/error/message", "/detail"])).unwrap();
        assert_eq!(places.text(&json!({ "detail": "no" })).as_deref(), Some("no"));
        assert_eq!(places.text(&json!({ "error": { "message": "" }, "detail": "no" })).as_deref(), Some("no"));
        assert!(serde_json::from_value::<Places>(json!(5)).unwrap_err().to_string().contains("list of places"));
    }
}
