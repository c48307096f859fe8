//! One call as an operation: parameters, body, answers.

use http::Method;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::{
    super::{
        comments, query,
        routes::{Answer, Body, Route},
        template::{Segment, Variable},
    },
    operation_id, reference,
    schema::{self, Direction, Schemas},
};

/// How deep the fields of messages in messages are parameters.
const MAX_DEPTH: usize = 3;
/// What any call may be refused with, and why.
const ERRORS: [(&str, &str); 9] = [
    ("400", "Something in the request is wrong; `details.fieldViolations` names all of it."),
    ("404", "What the path, or a field, names is not there."),
    ("408", "The body did not come in time."),
    ("409", "It cannot be done as things are; `details` says what to change."),
    ("413", "The request is too large."),
    ("415", "The body is of another type than this call takes."),
    ("429", "A limit or a budget is reached; `Retry-After`, where it is set, says when to ask again."),
    ("500", "A defect of the server."),
    ("503", "Not now: the server stops, or its store cannot be written. `Retry-After` says when to ask again."),
];

/// The path of a route in the document, and its operation.
pub(super) fn of(route: &Route, schemas: &mut Schemas) -> (String, Value) {
    let (path, mut parameters) = path(route);
    let input = route.rpc.input();
    let taken: Vec<&str> = route.template.variables.iter().map(|variable| variable.field.as_str()).collect();
    if route.body != Body::Message {
        let in_body = match &route.body {
            Body::Field(field) | Body::Bytes(field) => Some(field.name().to_owned()),
            Body::None | Body::Message => None,
        };
        let free = |field: &FieldDescriptor| !taken.contains(&field.name()) && in_body.as_deref() != Some(field.name());
        input.fields().filter(free).for_each(|field| query_parameters(&field, "", 0, schemas, &mut parameters));
    }
    if let Body::Bytes(_) = &route.body {
        // The body says its type itself, in the usual header; a parameter that says another is only in the way.
        parameters.retain(|parameter| !parameter["name"].as_str().is_some_and(|name| name.ends_with(".mediaType")));
    }
    if let Answer::Stream(Some(_)) = &route.answer {
        parameters.push(json!({
            "name": "Last-Event-ID", "in": "header", "required": false,
            "description": "The `id` of the last event that was seen; only later ones are sent.",
            "schema": { "type": "integer", "format": "int64", "minimum": 0, "maximum": i64::MAX },
        }));
        parameters.push(json!({
            "name": "Prefer", "in": "header", "required": false,
            "description": "`wait=SECONDS`: the answer ends after so long, also if there may be more to say; what was ordered goes on.",
            "schema": { "type": "string", "pattern": "^wait=[0-9]{1,9}$" },
        }));
    }
    let comment = comments::of(&route.rpc.parent_file(), route.rpc.path());
    let mut operation = json!({
        "operationId": operation_id(route),
        "tags": [route.rpc.parent_service().name()],
        "summary": comment.split_inclusive(['.', ':']).next().unwrap_or_default().trim_end_matches(['.', ':']).trim(),
        "description": comment,
        "responses": responses(route, schemas),
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = body(route, &taken, schemas) {
        operation["requestBody"] = body;
    }
    (path, operation)
}

/// The path with each open segment as a parameter: `/generations/{generation}`.
fn path(route: &Route) -> (String, Vec<Value>) {
    let mut path = String::new();
    let mut parameters = Vec::new();
    for (index, segment) in route.template.segments.iter().enumerate() {
        path.push('/');
        match segment {
            Segment::Literal(literal) => path.push_str(literal),
            Segment::One | Segment::Rest => {
                let variable = route.template.variables.iter().find(|variable| variable.segments.contains(&index));
                let name = parameter_name(route, variable, index);
                path.push_str(&format!("{{{name}}}"));
                parameters.push(path_parameter(route, &name, segment, variable));
            }
        }
    }
    if let Some(verb) = &route.template.verb {
        path.push_str(&format!(":{verb}"));
    }
    (path, parameters)
}

/// One thing of the collection in front of it, or the field that it is.
fn parameter_name(route: &Route, variable: Option<&Variable>, index: usize) -> String {
    let collection = variable.filter(|variable| variable.segments.start < index).and_then(|_| {
        match route.template.segments.get(index - 1) {
            Some(Segment::Literal(literal)) => Some(literal.strip_suffix('s').unwrap_or(literal).to_owned()),
            Some(Segment::One | Segment::Rest) | None => None,
        }
    });
    collection.or_else(|| variable.map(|variable| variable.field.clone())).unwrap_or_else(|| format!("part{index}"))
}

fn path_parameter(route: &Route, name: &str, segment: &Segment, variable: Option<&Variable>) -> Value {
    let field = variable.and_then(|variable| route.rpc.input().get_field_by_name(&variable.field));
    let comment = field.map(|field| schema::comment_of(&field)).unwrap_or_default();
    let whole = match segment {
        Segment::Rest => " Slashes may stand as they are or as `%2F`.",
        Segment::One | Segment::Literal(_) => " Here without what the path says already.",
    };
    json!({
        "name": name, "in": "path", "required": true,
        "description": format!("{comment}{whole}"),
        "schema": { "type": "string", "minLength": 1 },
    })
}

/// A field as parameters; a message in it as one for each of its own fields.
fn query_parameters(
    field: &FieldDescriptor,
    prefix: &str,
    depth: usize,
    schemas: &mut Schemas,
    parameters: &mut Vec<Value>,
) {
    let name = format!("{prefix}{}", field.json_name());
    let kind = field.kind();
    if let Kind::Message(inner) = &kind
        && !field.is_map()
        && !query::is_scalar(inner)
    {
        if depth < MAX_DEPTH && !field.is_list() {
            let prefix = format!("{name}.");
            inner.fields().for_each(|field| query_parameters(&field, &prefix, depth + 1, schemas, parameters));
        }
        return;
    }
    let mut parameter = json!({
        "name": name, "in": "query", "required": false,
        "description": schema::comment_of(field),
        "schema": schemas.field(field, Direction::Query),
    });
    if field.is_map() {
        parameter["style"] = "deepObject".into();
        parameter["explode"] = true.into();
    }
    parameters.push(parameter);
}

fn body(route: &Route, taken: &[&str], schemas: &mut Schemas) -> Option<Value> {
    let input = route.rpc.input();
    let (media_type, schema, required) = match &route.body {
        Body::None => return None,
        Body::Message => {
            let schema = schemas.body(&input, taken);
            ("application/json", schema, schemas.has_required(&input, taken))
        }
        Body::Field(field) => ("application/json", schemas.field(field, Direction::In), false),
        Body::Bytes(field) => {
            let description = schema::comment_of(field);
            let content = json!({ "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } });
            let about = format!(
                "The bytes as they are, of any Content-Type; it stands for the field `mediaType`. {description}"
            );
            return Some(json!({ "required": true, "description": about, "content": content }));
        }
    };
    Some(json!({ "required": required, "content": { media_type: { "schema": schema } } }))
}

fn responses(route: &Route, schemas: &mut Schemas) -> Value {
    let output = route.rpc.output();
    let mut responses = Map::new();
    responses.insert("200".to_owned(), success(route, &output, schemas));
    if let Answer::Stream(Some(_)) = &route.answer {
        responses.insert(
            "204".to_owned(),
            json!({ "description": "With `Last-Event-ID`: the stream has ended, and everything was seen." }),
        );
    }
    let has_body = route.body != Body::None;
    for (status, why) in ERRORS {
        if status == "415" && (!has_body || matches!(route.body, Body::Bytes(_))) {
            continue;
        }
        let mut response = error_response();
        response["description"] = why.into();
        responses.insert(status.to_owned(), response);
    }
    responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Error" }));
    responses.into()
}

fn success(route: &Route, output: &MessageDescriptor, schemas: &mut Schemas) -> Value {
    let message = schemas.message(output, Direction::Out);
    let comment = comments::of(&output.parent_file(), output.path());
    let content = match &route.answer {
        Answer::Message => json!({ "application/json": { "schema": message } }),
        Answer::Stream(sequence) => {
            let mut event = json!({
                "type": "object",
                "properties": {
                    "event": { "enum": ["message", "error", "end"], "description": "`error` has the body of any error, `end` what a call says after its answers." },
                    "data": { "type": "string", "contentMediaType": "application/json", "contentSchema": message },
                },
            });
            if sequence.is_some() {
                event["properties"]["id"] =
                    json!({ "type": "string", "description": "The number of the message, for `Last-Event-ID`." });
            }
            json!({
                "text/event-stream": { "schema": event },
                "application/x-ndjson": { "schema": message },
                "application/json": { "schema": { "type": "array", "items": { "anyOf": [message, reference("Error")] } } },
            })
        }
        Answer::Bytes { .. } => {
            let binary = json!({ "schema": { "type": "string", "format": "binary" } });
            json!({ "video/*": binary, "image/*": binary, "audio/*": binary, "application/octet-stream": binary })
        }
    };
    let description = if comment.is_empty() { "The answer.".to_owned() } else { comment };
    let mut response = json!({ "description": description, "content": content });
    if route.method == Method::GET && matches!(route.answer, Answer::Bytes { .. }) {
        response["description"] = "The bytes as they are.".into();
    }
    response
}

/// The answer that says no.
pub(super) fn error_response() -> Value {
    json!({
        "description": "The call is refused, or failed.",
        "headers": {
            "Retry-After": {
                "description": "Seconds after which to ask again, where that helps.",
                "schema": { "type": "integer", "minimum": 0 },
            },
        },
        "content": { "application/json": { "schema": reference("Error") } },
    })
}
