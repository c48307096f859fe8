//! The fields of a query: `pageSize=5&states=STATE_FAILED&states=STATE_CANCELLED&labels[team]=film&order.count=2`.

use percent_encoding::percent_decode;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::{error::Refused, request};

/// Most parameters of one query; the address is limited anyway.
const MAX_PARAMETERS: usize = 1000;

/// The message whose fields a query sets. `elsewhere` are fields that it may not set.
pub(super) fn message(
    descriptor: &MessageDescriptor,
    query: &str,
    elsewhere: &[&str],
) -> Result<DynamicMessage, Refused> {
    let mut object = Map::new();
    for (name, value) in parameters(query)? {
        let keys = keys(&name);
        let first = keys.first().map(|key| key.as_str()).unwrap_or_default();
        let field = field(descriptor, first).filter(|field| !elsewhere.contains(&field.name()));
        let field = field.ok_or_else(|| unknown(&name, descriptor, elsewhere))?;
        set(&mut object, &field, &keys[1..], value, &name)?;
    }
    request::from_value(descriptor, Value::Object(object))
}

/// A call whose body is the whole message takes no query.
pub(super) fn none(query: &str) -> Result<(), Refused> {
    match parameters(query)?.first() {
        Some((name, _)) => Err(Refused::field(name, "this call takes no query; put the field into the body")),
        None => Ok(()),
    }
}

fn unknown(name: &str, descriptor: &MessageDescriptor, elsewhere: &[&str]) -> Refused {
    let fields = descriptor.fields().filter(|field| !elsewhere.contains(&field.name()));
    let known: Vec<String> = fields.map(|field| field.json_name().to_owned()).collect();
    let known = if known.is_empty() { "this call has no parameters".to_owned() } else { known.join(", ") };
    Refused::field(name, format!("is no parameter of this call; known: {known}"))
}

/// Names and values, decoded.
fn parameters(query: &str) -> Result<Vec<(String, String)>, Refused> {
    let pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).take(MAX_PARAMETERS + 1).collect();
    if pairs.len() > MAX_PARAMETERS {
        return Err(Refused::field("request", format!("has more than {MAX_PARAMETERS} parameters")));
    }
    let read = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name).ok_or_else(|| Refused::field("request", "a parameter's name is not UTF-8"))?;
        let value = decoded(value).ok_or_else(|| Refused::field(&name, "is not UTF-8"))?;
        Ok((name, value))
    };
    pairs.into_iter().map(read).collect()
}

fn decoded(text: &str) -> Option<String> {
    let spaced: Vec<u8> = text.bytes().map(|byte| if byte == b'+' { b' ' } else { byte }).collect();
    String::from_utf8(percent_decode(&spaced).collect()).ok()
}

/// The keys of `a.b[c.d]`: dots part names, brackets hold the key of a map as it is.
fn keys(name: &str) -> Vec<String> {
    let (names, key) = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        Some((names, key)) => (names, Some(key.to_owned())),
        None => (name, None),
    };
    names.split('.').map(str::to_owned).chain(key).collect()
}

/// A field by either of its names.
pub(super) fn field(descriptor: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    descriptor.get_field_by_json_name(name).or_else(|| descriptor.get_field_by_name(name))
}

/// Puts a value where its keys lead to, in the JSON form of the message. `name` is what the caller calls it.
fn set(
    object: &mut Map<String, Value>,
    descriptor: &FieldDescriptor,
    keys: &[String],
    value: String,
    name: &str,
) -> Result<(), Refused> {
    let kind = descriptor.kind();
    let once = || Refused::field(name, "must be given once");
    if descriptor.is_map() {
        let Some(entry) = kind.as_message().filter(|_| !keys.is_empty()) else {
            return Err(Refused::field(name, format!("is a map: write {name}[key]=value")));
        };
        let map = object.entry(descriptor.name()).or_insert_with(|| Map::new().into());
        let value = scalar(&entry.map_entry_value_field().kind(), value, name)?;
        let old = map.as_object_mut().and_then(|map| map.insert(keys.join("."), value));
        return if old.is_none() { Ok(()) } else { Err(once()) };
    }
    if let (Kind::Message(inner), [first, rest @ ..]) = (&kind, keys)
        && !descriptor.is_list()
        && !is_scalar(inner)
    {
        let field = field(inner, first).ok_or_else(|| unknown(name, inner, &[]))?;
        let nested = object.entry(descriptor.name()).or_insert_with(|| Map::new().into());
        let Some(nested) = nested.as_object_mut() else { return Err(once()) };
        return set(nested, &field, rest, value, name);
    }
    if !keys.is_empty() {
        return Err(Refused::field(name, format!("{} has no fields of its own", descriptor.json_name())));
    }
    let value = scalar(&kind, value, name)?;
    if descriptor.is_list() {
        let list = object.entry(descriptor.name()).or_insert_with(|| Value::Array(Vec::new()));
        list.as_array_mut().into_iter().for_each(|list| list.push(value.clone()));
        return Ok(());
    }
    if object.insert(descriptor.name().to_owned(), value).is_some() { Err(once()) } else { Ok(()) }
}

/// A text as the JSON of its kind: numbers, times and bytes are read from text there, too.
fn scalar(kind: &Kind, text: String, name: &str) -> Result<Value, Refused> {
    match kind {
        Kind::Bool => match text.as_str() {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(Refused::field(name, "must be true or false")),
        },
        Kind::Message(inner) if !is_scalar(inner) => {
            Err(Refused::field(name, "is an object: name a field of it after a dot"))
        }
        Kind::Message(inner) if inner.name() == "BoolValue" => Ok((text == "true").into()),
        Kind::Message(_)
        | Kind::Enum(_)
        | Kind::String
        | Kind::Bytes
        | Kind::Double
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
        | Kind::Sfixed64 => Ok(text.into()),
    }
}

/// Whether a message is one text in JSON.
pub(super) fn is_scalar(message: &MessageDescriptor) -> bool {
    let name = message.full_name();
    let text = ["google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask"];
    text.contains(&name)
        || (name.starts_with("google.protobuf.")
            && name.ends_with("Value")
            && !["google.protobuf.Value", "google.protobuf.ListValue"].contains(&name))
}
