//! What filmgate takes beyond OpenAI's parameters, without a list of it: whatever the contract's request has, by its descriptor.
//!
//! The rule: a parameter that OpenAI has means what OpenAI says. Any other is an option of the request (`seed`, `negative_prompt`,
//! `provider_options`), or else a field of it (`session`, `labels`, `route`, `mode`, `cache`, `max_duration`), under its name in the contract and in
//! its JSON form. What is neither is refused.

use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage};
use serde_json::{Map, Value};

use super::{
    params::{Params, unwritten},
    problem::Problem,
};
use crate::{
    door::{accept::Ordering, refusal::Refusal},
    engine::error::Error,
    pb::json,
};

/// Fields that OpenAI's own parameters fill.
const FILLED: [&str; 3] = ["prompt", "model", "options"];

/// A request made of the parameters that are left. What OpenAI's own say is set on it by the caller.
pub(super) fn request<R: Ordering + Default>(params: &mut Params) -> Result<R, Problem> {
    if params.names().is_empty() {
        // As most calls of an SDK are.
        params.none_left()?;
        return Ok(R::default());
    }
    let defect = |why: String| Problem::from(Refusal::from(Error::Storage(why.into())));
    let descriptor = json::dynamic(&R::default()).map_err(defect)?.descriptor();
    let options_field = descriptor.get_field_by_name("options");
    let options = options_field.as_ref().and_then(|field| match field.kind() {
        Kind::Message(options) => Some(options),
        _ => None,
    });
    let mut fields = Map::new();
    let mut of_options = Map::new();
    for name in params.names() {
        let of = |message: &MessageDescriptor| message.get_field_by_name(&name);
        let (field, into) = match (options.as_ref().and_then(of), of(&descriptor)) {
            (Some(field), _) => (field, &mut of_options),
            (None, Some(field)) if !FILLED.contains(&field.name()) => (field, &mut fields),
            (None, _) => continue,
        };
        let Some(value) = params.take(&name) else { continue };
        let value = contract_form(&field, value, params.are_written());
        // Read alone, so that the refusal can say which one is wrong.
        read(field.parent_message(), &name, [(name.clone(), value.clone())].into_iter().collect())?;
        into.insert(name, value);
    }
    params.none_left()?;
    if !of_options.is_empty() {
        fields.insert("options".to_owned(), Value::Object(of_options));
    }
    read(&descriptor, "request", fields)?.transcode_to().map_err(|error| defect(error.to_string()))
}

/// Reads the JSON form of a message; `name` is what is wrong if it is none.
fn read(message: &MessageDescriptor, name: &str, fields: Map<String, Value>) -> Result<DynamicMessage, Problem> {
    // The reader says what it expected.
    DynamicMessage::deserialize(message.clone(), Value::Object(fields)).map_err(|why| Problem::wrong_value(name, why))
}

/// A value in the JSON form of its field, where a client may well write it otherwise: a duration as a number of seconds, a value of an enum without
/// its prefix, and in a form a text for anything.
fn contract_form(field: &FieldDescriptor, value: Value, written: bool) -> Value {
    let value = if written { from_text(field, value) } else { value };
    match (field.kind(), value) {
        (Kind::Enum(values), Value::String(word)) => Value::String(in_full(&values, word)),
        (Kind::Message(message), Value::Number(seconds)) if message.full_name() == "google.protobuf.Duration" => {
            Value::String(format!("{seconds}s"))
        }
        (_, value) => value,
    }
}

/// What a text of a form stands for in this field.
fn from_text(field: &FieldDescriptor, value: Value) -> Value {
    let is = |message: &MessageDescriptor, name| message.full_name() == name;
    match field.kind() {
        Kind::Bool => unwritten(value),
        Kind::Message(message) if is(&message, "google.protobuf.Duration") => unwritten(value),
        // Nobody says what is in it, so what reads as a number was one before the SDK wrote it down.
        Kind::Message(message) if is(&message, "google.protobuf.Struct") => all_unwritten(json_of(value)),
        Kind::Message(_) => json_of(value),
        Kind::Double
        | Kind::Float
        | Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Fixed32
        | Kind::Fixed64
        | Kind::Sfixed32
        | Kind::Sfixed64
        | Kind::String
        | Kind::Bytes
        | Kind::Enum(_) => value,
    }
}

/// A list or an object that was written as JSON.
fn json_of(value: Value) -> Value {
    let Value::String(text) = &value else { return value };
    match serde_json::from_str(text) {
        Ok(read @ (Value::Array(_) | Value::Object(_))) => read,
        Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | Err(_) => value,
    }
}

fn all_unwritten(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, all_unwritten(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(all_unwritten).collect()),
        value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => unwritten(value),
    }
}

/// `fast` for `QUALITY_FAST`. A word that is no value stays as it is, and is refused with its name.
fn in_full(values: &EnumDescriptor, word: String) -> String {
    let ending = format!("_{}", word.to_ascii_uppercase());
    let found = values.values().find(|value| value.name().ends_with(&ending));
    found.map_or(word, |value| value.name().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pb::v1::{self, GenerateImageRequest, GenerateVideoRequest};

    fn made<R: Ordering + Default>(fields: Value) -> Result<R, String> {
        request(&mut Params::of_json(fields)).map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn options_and_fields_of_the_contract_come_through_under_their_names() {
        let fields = json!({
            "seed": 7, "negative_prompt": "rain", "provider_options": { "a": [1, true] }, "session": "sessions/s",
            "labels": { "team": "x" }, "mode": "adapt", "max_duration": 90, "quality": "fast", "fps": null,
        });
        let request: GenerateVideoRequest = made(fields).unwrap();
        let options = request.options.clone().unwrap();
        assert_eq!((options.seed, options.negative_prompt.as_str(), options.fps), (Some(7), "rain", None));
        assert_eq!(options.provider_options.unwrap().fields.len(), 1);
        assert_eq!((request.session.as_str(), request.labels["team"].as_str()), ("sessions/s", "x"));
        assert_eq!((request.mode(), request.quality()), (v1::Mode::Adapt, v1::Quality::Fast));
        assert_eq!(request.max_duration.unwrap().seconds, 90);
    }

    #[test]
    fn an_option_goes_before_a_field_of_the_same_name() {
        let request: GenerateImageRequest = made(json!({ "quality": "high" })).unwrap();
        assert_eq!((request.options.unwrap().quality.as_str(), request.quality), ("high", 0));
    }

    #[test]
    fn texts_of_a_form_become_what_the_field_is() {
        let fields = json!({
            "seed": "7", "audio": "true", "guidance": "0.5", "max_duration": "90", "provider_options": { "steps": "3", "name": "x" },
            "labels": { "n": "1" }, "negative_prompt": "5",
        });
        let request: GenerateVideoRequest = request(&mut Params::of_form(fields)).unwrap();
        let options = request.options.unwrap();
        assert_eq!((options.seed, options.audio, options.guidance), (Some(7), Some(true), Some(0.5)));
        assert_eq!((options.negative_prompt.as_str(), request.labels["n"].as_str()), ("5", "1"));
        let provider = options.provider_options.unwrap();
        assert_eq!(provider.fields["steps"].kind, Some(prost_types::value::Kind::NumberValue(3.0)));
    }

    #[test]
    fn what_is_wrong_or_unknown_is_named() {
        for (fields, expected) in [
            (json!({ "seed": "x" }), "Invalid value for 'seed'"),
            (json!({ "seed": 1.5 }), "Invalid value for 'seed'"),
            (json!({ "mode": "lenient" }), "Invalid value for 'mode'"),
            (json!({ "labels": [] }), "Invalid value for 'labels'"),
            (json!({ "max_duration": "soon" }), "Invalid value for 'max_duration'"),
            (json!({ "colour": "red" }), "Unknown parameter: 'colour'"),
            (json!({ "options": {} }), "Unknown parameter: 'options'"),
            (json!({ "negativePrompt": "x" }), "Unknown parameter: 'negativePrompt'"),
        ] {
            let refused = made::<GenerateVideoRequest>(fields).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
