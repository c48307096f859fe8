//! The parameters of a call, from a JSON body or a form alike, taken out one by one.
//!
//! In a form every value is a text, so there a number or a boolean may be written as one; in JSON it must be what it is.

use axum::extract::Request;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::{
    Door,
    body::{self, Format, MAX_TEXT_BYTES, Place},
    file::File,
    form,
    problem::Problem,
};
use crate::door::caller::Caller;

/// The parameters that were not taken out yet.
#[derive(Debug)]
pub(super) struct Params {
    fields: Map<String, Value>,
    files: Vec<File>,
    format: Format,
    /// Held while a long body is in memory.
    _place: Place,
}

impl Params {
    /// Reads the body of a call.
    pub(super) async fn read(door: &Door, caller: &Caller, request: Request) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        match Format::of(&head.headers)? {
            Format::Json => {
                let (bytes, place) = body::whole(&head.headers, body, MAX_TEXT_BYTES, &door.long_bodies).await?;
                Ok(Self { fields: object(&bytes)?, files: Vec::new(), format: Format::Json, _place: place })
            }
            Format::Form => {
                let form = form::read(door, caller, Request::from_parts(head, body)).await?;
                Ok(Self { fields: form.fields, files: form.files, format: Format::Form, _place: form.place })
            }
        }
    }

    /// A parameter as it came; null is as good as nothing.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(Problem::wrong_type(name, "a string", article(&other))),
        }
    }

    /// A text that must be there.
    pub(super) fn required_text(&mut self, name: &str) -> Result<String, Problem> {
        self.text(name)?.ok_or_else(|| Problem::missing(name))
    }

    /// A whole number.
    pub(super) fn whole(&mut self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(value) = self.take_written(name) else { return Ok(None) };
        let whole = value.as_i64().or_else(|| exact(value.as_f64()?));
        whole.map(Some).ok_or_else(|| Problem::wrong_type(name, "an integer", article(&value)))
    }

    /// A number.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<f64>, Problem> {
        let Some(value) = self.take_written(name) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| Problem::wrong_type(name, "a number", article(&value)))
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        let Some(value) = self.take_written(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| Problem::wrong_type(name, "a boolean", article(&value)))
    }

    /// The files that came under a name: `name`, or `name[]` several times.
    pub(super) fn files(&mut self, name: &str) -> Vec<File> {
        let (taken, left) = self.files.drain(..).partition(|file| file.part.trim_end_matches("[]") == name);
        self.files = left;
        taken
    }

    /// The names of what is left, in no order that means anything.
    pub(super) fn names(&self) -> Vec<String> {
        self.fields.keys().cloned().collect()
    }

    /// Whether values are texts that may stand for something else.
    pub(super) fn are_written(&self) -> bool {
        self.format == Format::Form
    }

    /// Refuses what nobody took out: nothing is dropped in silence.
    pub(super) fn none_left(&self) -> Result<(), Problem> {
        let field = self.fields.iter().find(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str());
        match field.or_else(|| self.files.first().map(|file| file.part.as_str())) {
            Some(name) => Err(Problem::unknown(name)),
            None => Ok(()),
        }
    }

    #[cfg(test)]
    pub(super) fn of_json(fields: Value) -> Self {
        let Value::Object(fields) = fields else { panic!("no object: {fields}") };
        Self { fields, files: Vec::new(), format: Format::Json, _place: None }
    }

    #[cfg(test)]
    pub(super) fn of_form(fields: Value) -> Self {
        Self { format: Format::Form, ..Self::of_json(fields) }
    }

    /// As [`Self::take`]; a text of a form that reads as a number or a boolean is one.
    fn take_written(&mut self, name: &str) -> Option<Value> {
        let value = self.take(name)?;
        Some(if self.are_written() { unwritten(value) } else { value })
    }
}

/// What a text of a form stands for, if it is a number or a boolean.
pub(super) fn unwritten(value: Value) -> Value {
    let Value::String(text) = &value else { return value };
    match serde_json::from_str(text) {
        Ok(read @ (Value::Number(_) | Value::Bool(_))) => read,
        Ok(Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_)) | Err(_) => value,
    }
}

/// What a value is, in words.
pub(super) fn article(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A whole number that was written with a fraction of nothing, such as `5.0`.
fn exact(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "whole and small enough for a float to hold it exactly")]
    (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
}

fn object(bytes: &Bytes) -> Result<Map<String, Value>, Problem> {
    body::check_json(bytes)?;
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => {
            let message = format!("The body must be a JSON object, and is {}.", article(&other));
            Err(Problem::new(http::StatusCode::BAD_REQUEST, message).with_code("invalid_type"))
        }
        // It says where and what was expected, and repeats nothing.
        Err(error) => {
            let message = format!("We could not parse the JSON body of your request: {error}.");
            Err(Problem::new(http::StatusCode::BAD_REQUEST, message).with_code("invalid_json"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(problem: &Problem) -> String {
        format!("{problem:?}")
    }

    #[test]
    fn values_of_json_must_be_what_they_are() {
        let mut read = Params::of_json(json!({ "a": "x", "b": 2, "c": true, "d": 0.5, "e": null, "f": 5.0 }));
        assert_eq!(read.text("a").unwrap().as_deref(), Some("x"));
        assert_eq!((read.whole("b").unwrap(), read.flag("c").unwrap()), (Some(2), Some(true)));
        assert_eq!((read.number("d").unwrap(), read.text("e").unwrap()), (Some(0.5), None));
        assert_eq!(read.whole("f").unwrap(), Some(5));
        assert!(read.none_left().is_ok());
        let mut wrong = Params::of_json(json!({ "a": 1, "b": "2", "c": "true", "d": [], "e": 2.5 }));
        let refused = told(&wrong.text("a").unwrap_err());
        assert!(refused.contains("Invalid type for 'a': expected a string, but got an integer instead."), "{refused}");
        assert!(wrong.whole("b").is_err() && wrong.flag("c").is_err() && wrong.number("d").is_err());
        assert!(wrong.whole("e").is_err());
    }

    #[test]
    fn values_of_a_form_are_written() {
        let mut read = Params::of_form(json!({ "b": "2", "c": "true", "d": "0.5", "f": "x", "g": "17" }));
        assert_eq!((read.whole("b").unwrap(), read.flag("c").unwrap()), (Some(2), Some(true)));
        assert_eq!(read.number("d").unwrap(), Some(0.5));
        assert!(read.whole("f").is_err());
        assert_eq!(read.text("g").unwrap().as_deref(), Some("17"), "a text stays one");
    }

    #[test]
    fn what_nobody_takes_is_refused() {
        let read = Params::of_json(json!({ "n": null, "colour": 1 }));
        assert!(told(&read.none_left().unwrap_err()).contains("Unknown parameter: 'colour'."));
    }

    #[test]
    fn only_an_object_is_a_body() {
        assert!(object(&Bytes::from_static(b"{}")).unwrap().is_empty());
        for bad in [&b"[]"[..], b"", b"{", b"nothing", b"{\"a\": \"\xff\"}", b"{} {}"] {
            assert!(object(&Bytes::from_static(bad)).is_err(), "{bad:?}");
        }
        let twice = told(&object(&Bytes::from_static(b"{\"a\": {\"n\": 1, \"n\": 1}}")).unwrap_err());
        assert!(twice.contains("'a.n'"), "{twice}");
    }
}
