//! Whatever a request of the contract has can be said over HTTP: also what is added tomorrow.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost_reflect::{MapKey, ReflectMessage, SerializeOptions};

use super::*;
use crate::door::json::routes::routes;

/// More than any choice of the contract has.
const N_CHOICES: usize = 8;
/// Deep enough for every message that does not hold itself.
const MAX_DEPTH: usize = 8;

#[tokio::test]
async fn every_field_of_every_request_arrives() {
    for route in routes().unwrap().all() {
        for choice in 0..N_CHOICES {
            let mut sent = filled(&route.rpc.input(), choice, MAX_DEPTH);
            let names = route.template.variables.iter().map(|variable| variable.field.as_str());
            let variables: Vec<_> = names.map(|name| (name, "x".to_owned())).collect();
            let (mut query, mut body) = (String::new(), Vec::new());
            match &route.body {
                Body::Message => body = serde_json::to_vec(&sent).unwrap(),
                Body::None => query = query_of(&sent, &variables),
                Body::Field(field) => {
                    let json = serde_json::to_value(&sent).unwrap();
                    body = serde_json::to_vec(&json[field.json_name()]).unwrap();
                    let mut rest = sent.clone();
                    rest.clear_field(field);
                    query = query_of(&rest, &variables);
                }
                // The bytes are sent as they are, after this message.
                Body::Bytes(field) => {
                    sent.clear_field(field);
                    query = query_of(&sent, &variables);
                }
            }
            let request = http::Request::builder().uri(format!("/?{query}")).header(CONTENT_TYPE, "application/json");
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let came = message(route, &variables, &parts, HttpBody::from(body)).await;
            assert_eq!(came.unwrap(), sent, "{} {query}", route.rpc.full_name());
        }
    }
}

/// A message with a value in every field; of each choice the one with this number.
fn filled(descriptor: &MessageDescriptor, choice: usize, depth: usize) -> DynamicMessage {
    let known: Option<&[u8]> = match descriptor.full_name() {
        "google.protobuf.Struct" => Some(br#"{"a":{"b":[1,"c",true]}}"#),
        "google.protobuf.Timestamp" => Some(br#""2026-01-02T03:04:05.678Z""#),
        "google.protobuf.Duration" => Some(br#""5.500s""#),
        _ => None,
    };
    if let Some(known) = known {
        return from_json(descriptor, known).unwrap();
    }
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let chosen = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()).is_none_or(|oneof| {
            let fields: Vec<_> = oneof.fields().collect();
            fields[choice % fields.len()] == field
        });
        if chosen && (depth > 0 || field.kind().as_message().is_none()) {
            message.set_field(&field, value(&field, choice, depth));
        }
    }
    message
}

fn value(field: &FieldDescriptor, choice: usize, depth: usize) -> Value {
    let one = |kind: &Kind| match kind {
        Kind::String => Value::String("x".to_owned()),
        Kind::Bytes => Value::Bytes(Bytes::from_static(b"\xff\x00x")),
        Kind::Bool => Value::Bool(true),
        Kind::Enum(known) => Value::EnumNumber(known.values().last().unwrap().number()),
        Kind::Message(message) => Value::Message(filled(message, choice, depth - 1)),
        Kind::Double => Value::F64(0.5),
        Kind::Float => Value::F32(0.5),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(7),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(1 << 60),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(7),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(1 << 60),
    };
    match field.kind().as_message().filter(|_| field.is_map()) {
        Some(entry) => {
            Value::Map([(MapKey::String("k.e y".to_owned()), one(&entry.map_entry_value_field().kind()))].into())
        }
        None if field.is_list() => Value::List(vec![one(&field.kind()), one(&field.kind())]),
        None => one(&field.kind()),
    }
}

/// The fields of a message as a query, without those of the path.
fn query_of(message: &DynamicMessage, variables: &[(&str, String)]) -> String {
    let options = SerializeOptions::new().use_proto_field_name(true);
    let json = message.serialize_with_options(serde_json::value::Serializer, &options).unwrap();
    let mut pairs = Vec::new();
    for (name, value) in json.as_object().unwrap() {
        if variables.iter().all(|(variable, _)| variable != name) {
            let is_map = message.descriptor().get_field_by_name(name).is_some_and(|field| field.is_map());
            flatten(name, is_map, value, &mut pairs);
        }
    }
    pairs.join("&")
}

fn flatten(name: &str, is_map: bool, value: &serde_json::Value, pairs: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                let name = if is_map { format!("{name}[{key}]") } else { format!("{name}.{key}") };
                flatten(&name, false, value, pairs);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| flatten(name, false, item, pairs)),
        scalar => {
            let text = scalar.as_str().map_or_else(|| scalar.to_string(), str::to_owned);
            let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            pairs.push(format!("{}={}", encoded(name), encoded(&text)));
        }
    }
}
