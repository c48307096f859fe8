//! Messages and enums of the contract as JSON schemas (2020-12).
//!
//! What a caller sends may take any form that the JSON mapping of protobuf reads: a number as text, null for unset. What is answered has one form.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{EnumDescriptor, EnumValueDescriptor, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor};
use serde_json::{Map, Value, json};

use super::{
    super::{comments, routes::Route},
    limits::Limits,
    reference,
};

/// Base64 in either alphabet, with or without its padding.
const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw](==)?|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=?)?$";
const SECONDS: &str = r"^-?[0-9]{1,9}(\.[0-9]{1,9})?s$";
const DECIMAL: &str = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$";

/// How the comment of what must be set begins.
const REQUIRED: &str = "Required";

/// Which way a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Only out: one form.
    Out,
    /// In: every form that is read.
    In,
    /// As a parameter: a text that is read by its kind.
    Query,
}

/// The schemas that were referred to.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    /// Messages that are answered, which keep their name. What is also sent has a second schema.
    outbound: BTreeSet<String>,
    made: BTreeMap<String, Value>,
}

impl Schemas {
    /// None yet, of the messages of these routes.
    pub(super) fn of(routes: &[Route]) -> Self {
        let mut outbound = BTreeSet::new();
        routes.iter().for_each(|route| reach(&route.rpc.output(), &mut outbound));
        Self { outbound, made: BTreeMap::new() }
    }

    /// All of them, and the one of errors.
    pub(super) fn finish(self) -> Value {
        let mut all: Map<String, Value> = self.made.into_iter().collect();
        all.insert("Error".to_owned(), error());
        all.into()
    }

    /// A reference to the schema of a message.
    pub(super) fn message(&mut self, message: &MessageDescriptor, direction: Direction) -> Value {
        if let Some(known) = well_known(message) {
            return known;
        }
        let is_second = direction != Direction::Out && self.outbound.contains(message.full_name());
        let name = if is_second { format!("{}Input", message.name()) } else { message.name().to_owned() };
        if !self.made.contains_key(&name) {
            // Held before it is made, since messages may hold themselves.
            self.made.insert(name.clone(), Value::Null);
            let schema = self.object(message, &[], direction);
            self.made.insert(name.clone(), schema);
        }
        reference(&name)
    }

    /// The schema of a message as a body, without the fields that come from elsewhere.
    pub(super) fn body(&mut self, message: &MessageDescriptor, without: &[&str]) -> Value {
        match without {
            [] => self.message(message, Direction::In),
            _ => self.object(message, without, Direction::In),
        }
    }

    /// Whether a message as a body must say something.
    pub(super) fn has_required(&self, message: &MessageDescriptor, without: &[&str]) -> bool {
        let must_be_set = |field: &FieldDescriptor| is_required(field) || unless_others(field).is_some();
        message.fields().any(|field| !without.contains(&field.name()) && must_be_set(&field))
    }

    fn object(&mut self, message: &MessageDescriptor, without: &[&str], direction: Direction) -> Value {
        let fields: Vec<FieldDescriptor> = message.fields().filter(|field| !without.contains(&field.name())).collect();
        let mut properties = Map::new();
        for field in &fields {
            let mut schema = self.field(field, direction);
            // Beside a reference, too: that is what 3.1 allows.
            schema["description"] = comment_of(field).into();
            properties.insert(field.json_name().to_owned(), schema);
        }
        let mut object = json!({ "type": "object", "properties": properties });
        let comment = comments::of(&message.parent_file(), message.path());
        if !comment.is_empty() {
            object["description"] = comment.into();
        }
        if direction == Direction::Out {
            return object;
        }
        object["additionalProperties"] = false.into();
        let required: Vec<&str> =
            fields.iter().filter(|field| is_required(field)).map(FieldDescriptor::json_name).collect();
        if !required.is_empty() {
            object["required"] = required.into();
        }
        let choices = message.oneofs().filter(|oneof| !oneof.is_synthetic()).flat_map(|oneof| choice(&oneof));
        let others = fields.iter().flat_map(|field| unless_others(field).into_iter().chain(not_beside(field)));
        let choices: Vec<Value> = choices.chain(others).collect();
        if !choices.is_empty() {
            object["allOf"] = choices.into();
        }
        object
    }

    /// The schema of a field.
    pub(super) fn field(&mut self, field: &FieldDescriptor, direction: Direction) -> Value {
        let kind = field.kind();
        // What is only answered keeps its limits anyway, and may outlive them.
        let limits = if direction == Direction::Out { None } else { Limits::of(field) };
        let value = match kind.as_message().filter(|_| field.is_map()) {
            Some(entry) => entry.map_entry_value_field().kind(),
            None => kind,
        };
        let mut one = self.kind(&value, direction);
        if let Kind::Enum(known) = &value {
            let named = limits.as_ref().and_then(Limits::values);
            // An item of a list is always set.
            if named.is_some() || (direction != Direction::Out && (field.is_list() || is_required(field))) {
                one = some_values(known, named.as_deref(), direction);
            }
        }
        if let Some(limits) = &limits {
            limits.narrow(&mut one);
        }
        let mut schema = match (field.is_map(), field.is_list()) {
            (true, _) => json!({ "type": "object", "additionalProperties": one }),
            (false, true) => json!({ "type": "array", "items": one }),
            (false, false) => one,
        };
        if let Some(limits) = limits.filter(|_| field.is_map() || field.is_list()) {
            limits.narrow_all(&mut schema, field.is_map());
        }
        if is_required(field) { schema } else { nullable(schema, direction) }
    }

    fn kind(&mut self, kind: &Kind, direction: Direction) -> Value {
        let is_lenient = direction == Direction::In;
        match kind {
            Kind::String => json!({ "type": "string" }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::Bytes if direction == Direction::Out => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64", "pattern": BASE64 }),
            Kind::Float | Kind::Double if is_lenient => {
                json!({ "type": ["number", "string"], "format": "double", "pattern": DECIMAL })
            }
            Kind::Float | Kind::Double => json!({ "type": "number", "format": "double" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                whole(is_lenient, "int32", i32::MIN.into(), i32::MAX.unsigned_abs().into(), 9)
            }
            Kind::Uint32 | Kind::Fixed32 => whole(is_lenient, "uint32", 0, u32::MAX.into(), 9),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 if direction != Direction::Out => {
                whole(is_lenient, "int64", i64::MIN, i64::MAX.unsigned_abs(), 18)
            }
            Kind::Uint64 | Kind::Fixed64 if direction != Direction::Out => whole(is_lenient, "uint64", 0, u64::MAX, 18),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({ "type": "string", "format": "int64", "pattern": "^-?[0-9]+$" })
            }
            Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "format": "uint64", "pattern": "^[0-9]+$" }),
            Kind::Enum(one) => self.enumeration(one, is_lenient),
            Kind::Message(message) => self.message(message, direction),
        }
    }

    fn enumeration(&mut self, one: &EnumDescriptor, is_lenient: bool) -> Value {
        if !self.made.contains_key(one.name()) {
            let names: Vec<String> = one.values().map(|value| value.name().to_owned()).collect();
            let file = one.parent_file();
            let about =
                one.values().map(|value| format!("- `{}`: {}", value.name(), comments::of(&file, value.path())));
            let about = about.collect::<Vec<_>>().join("\n");
            let description = format!("{}\n\n{about}", comments::of(&file, one.path()));
            self.made
                .insert(one.name().to_owned(), json!({ "type": "string", "enum": names, "description": description }));
        }
        if !is_lenient {
            return reference(one.name());
        }
        let numbers: Vec<i32> = one.values().map(|value| value.number()).collect();
        json!({ "anyOf": [reference(one.name()), { "type": "integer", "enum": numbers }] })
    }
}

/// The `named` values of an enum; without names all that say something.
fn some_values(known: &EnumDescriptor, named: Option<&[String]>, direction: Direction) -> Value {
    let is_taken = |value: &EnumValueDescriptor| match named {
        Some(named) => named.iter().any(|name| name == value.name()),
        None => value.number() != 0,
    };
    let said = || known.values().filter(is_taken);
    let names = said().map(|value| Value::from(value.name()));
    let numbers = said().filter(|_| direction == Direction::In).map(|value| Value::from(value.number()));
    json!({ "enum": names.chain(numbers).collect::<Vec<_>>() })
}

/// A message and all that are part of it.
fn reach(message: &MessageDescriptor, found: &mut BTreeSet<String>) {
    if found.insert(message.full_name().to_owned()) {
        message.fields().filter_map(|field| field.kind().as_message().cloned()).for_each(|inner| reach(&inner, found));
    }
}

/// Whether the contract says that a field must be set.
fn is_required(field: &FieldDescriptor) -> bool {
    comment_of(field).starts_with(REQUIRED)
}

/// What the contract says of a field.
pub(super) fn comment_of(field: &FieldDescriptor) -> String {
    comments::of(&field.parent_message().parent_file(), field.path())
}

/// Null is read as unset.
fn nullable(mut schema: Value, direction: Direction) -> Value {
    if direction != Direction::In {
        return schema;
    }
    match schema.get("type") {
        Some(Value::String(one)) => schema["type"] = json!([one, "null"]),
        Some(Value::Array(some)) => schema["type"] = some.iter().cloned().chain([json!("null")]).collect(),
        Some(_) | None if schema.as_object().is_some_and(Map::is_empty) => {}
        Some(_) | None => match schema.get_mut("anyOf").and_then(Value::as_array_mut) {
            Some(some) => some.push(json!({ "type": "null" })),
            None => return json!({ "anyOf": [schema, { "type": "null" }] }),
        },
    }
    schema
}

/// A whole number; as text it may be a little shorter than the largest.
fn whole(is_lenient: bool, format: &str, minimum: i64, maximum: u64, n_digits: usize) -> Value {
    let sign = if minimum == 0 { "" } else { "-?" };
    let mut schema = json!({ "type": "integer", "format": format, "minimum": minimum, "maximum": maximum });
    if is_lenient {
        schema["type"] = json!(["integer", "string"]);
        schema["pattern"] = format!("^{sign}[0-9]{{1,{n_digits}}}$").into();
    }
    schema
}

/// Of a choice at most one is set, and one must be if the contract says so.
fn choice(oneof: &OneofDescriptor) -> Vec<Value> {
    let fields: Vec<FieldDescriptor> = oneof.fields().collect();
    let mut pairs = Vec::new();
    if comments::of(&oneof.parent_message().parent_file(), oneof.path()).starts_with(REQUIRED) {
        pairs.push(any_of(&fields));
    }
    for (index, one) in fields.iter().enumerate() {
        pairs.extend(fields[index + 1..].iter().map(|other| not_both(one, other)));
    }
    pairs
}

/// That a field is set, or one of those that may stand for it.
fn unless_others(field: &FieldDescriptor) -> Option<Value> {
    let others = Limits::of(field)?.required_unless()?;
    let others = others.iter().filter_map(|name| field.parent_message().get_field_by_name(name));
    let fields: Vec<FieldDescriptor> = others.chain([field.clone()]).collect();
    Some(any_of(&fields))
}

/// That a field is not set beside those that it excludes.
fn not_beside(field: &FieldDescriptor) -> Vec<Value> {
    let others = Limits::of(field).map(|limits| limits.not_beside()).unwrap_or_default();
    let others = others.iter().filter_map(|name| field.parent_message().get_field_by_name(name));
    others.map(|other| not_both(field, &other)).collect()
}

/// That one of the fields is set, at least.
fn any_of(fields: &[FieldDescriptor]) -> Value {
    let one = |field: &FieldDescriptor| {
        let name = field.json_name();
        json!({ "required": [name], "properties": { name: is_set(field) } })
    };
    json!({ "anyOf": fields.iter().map(one).collect::<Vec<_>>() })
}

fn not_both(one: &FieldDescriptor, other: &FieldDescriptor) -> Value {
    let names = [one.json_name(), other.json_name()];
    json!({ "not": { "required": names, "properties": { names[0]: is_set(one), names[1]: is_set(other) } } })
}

/// What a field holds that is set: not null, and not its empty value where the two are the same.
fn is_set(field: &FieldDescriptor) -> Value {
    match field.kind() {
        _ if field.supports_presence() => json!({ "not": { "type": "null" } }),
        _ if field.is_list() => json!({ "type": "array", "minItems": 1 }),
        Kind::String => json!({ "type": "string", "minLength": 1 }),
        Kind::Enum(known) => json!({ "not": { "enum": [null, 0, known.default_value().name()] } }),
        _ => json!({ "not": { "type": "null" } }),
    }
}

/// Messages that have a JSON form of their own.
fn well_known(message: &MessageDescriptor) -> Option<Value> {
    Some(match message.full_name() {
        "google.protobuf.Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "google.protobuf.Duration" => json!({ "type": "string", "pattern": SECONDS }),
        "google.protobuf.FieldMask" => json!({ "type": "string" }),
        "google.protobuf.Struct" | "google.protobuf.Any" => json!({ "type": "object" }),
        "google.protobuf.ListValue" => json!({ "type": "array" }),
        "google.protobuf.Value" => json!({}),
        "google.protobuf.Empty" => json!({ "type": "object", "additionalProperties": false }),
        "google.protobuf.BoolValue" => json!({ "type": "boolean" }),
        "google.protobuf.StringValue" | "google.protobuf.BytesValue" => json!({ "type": "string" }),
        "google.protobuf.DoubleValue" | "google.protobuf.FloatValue" => json!({ "type": "number" }),
        "google.protobuf.Int32Value" | "google.protobuf.UInt32Value" => json!({ "type": "integer" }),
        "google.protobuf.Int64Value" | "google.protobuf.UInt64Value" => json!({ "type": ["integer", "string"] }),
        _ => return None,
    })
}

fn error() -> Value {
    let texts = |names: &[&str]| {
        let properties: Map<String, Value> =
            names.iter().map(|name| ((*name).to_owned(), json!({ "type": "string" }))).collect();
        json!({ "type": "array", "items": { "type": "object", "properties": properties } })
    };
    json!({
        "type": "object",
        "description": "Why a call is refused, or failed.",
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {
                "code": { "type": "string", "description": "For programs: VALIDATION_ERROR, TASK_NOT_FOUND, RATE_LIMIT_EXCEEDED, SERVICE_ERROR, STORAGE_ERROR, CONFIGURATION_ERROR, INTERNAL_ERROR, or where none of these fits the reason itself." },
                "message": { "type": "string", "description": "For people." },
                "details": {
                    "type": "object",
                    "properties": {
                        "reason": { "type": "string", "description": "The stable reason, a value of ErrorReason without its prefix." },
                        "fieldViolations": texts(&["field", "description"]),
                        "preconditionViolations": texts(&["type", "subject", "description"]),
                        "quotaViolations": texts(&["subject", "description"]),
                        "resource": { "type": "object", "properties": { "type": { "type": "string" }, "name": { "type": "string" } } },
                        "metadata": { "type": "object", "additionalProperties": { "type": "string" } },
                        "retryable": { "type": "boolean", "description": "Whether the same request may succeed later." },
                        "retryDelay": { "type": "string", "description": "How long to wait, for example `5s`." },
                        "charged": { "type": "string", "description": "Whether money was spent: NO, YES or UNKNOWN." },
                        "nextStep": { "type": "string", "description": "What to do." },
                        "requestId": { "type": "string", "description": "To report a defect with." },
                        "service": { "type": "string", "description": "Who cannot serve now." },
                        "maxBytes": { "type": "integer", "description": "The limit that was passed." },
                    },
                },
            },
        } },
    })
}
