//! Which call a path stands for, read from the options `google.api.http` of the contract.

use std::sync::{Arc, LazyLock};

use http::{Method, uri::PathAndQuery};
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
};

use super::template::{Segment, Template};
use crate::pb;

/// Calls of these services are looked for; everything else in the descriptors is what they are made of.
const OURS: &str = "filmgate.";

/// One way to make one call.
#[derive(Debug)]
pub(super) struct Route {
    /// Method and path as the contract has them: what the call is counted as.
    pub(super) name: Arc<str>,
    pub(super) method: Method,
    pub(super) template: Template,
    /// The call.
    pub(super) rpc: MethodDescriptor,
    /// Its path in gRPC.
    pub(super) path: PathAndQuery,
    pub(super) body: Body,
    pub(super) answer: Answer,
}

/// What the body of a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing: fields come from path and query.
    None,
    /// The whole message; there is no query.
    Message,
    /// One field, as JSON.
    Field(FieldDescriptor),
    /// The bytes of one field of a stream of messages, as they are. The first message has everything else.
    Bytes(FieldDescriptor),
}

/// What the body of an answer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// One message.
    Message,
    /// A stream of messages, numbered by a field if it has one.
    Stream(Option<Sequence>),
    /// The bytes of a field of a field of a stream of messages, as they are.
    Bytes { part: FieldDescriptor, bytes: FieldDescriptor },
}

/// Where the messages of a stream say which they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sequence {
    /// The message that is numbered, in each message of the stream.
    pub(super) of: FieldDescriptor,
    /// Its number, which never decreases.
    pub(super) number: FieldDescriptor,
    /// The field of a request that says from which one on; none if the call always starts anew.
    pub(super) after: Option<FieldDescriptor>,
}

impl Sequence {
    /// The number of a message of the stream.
    pub(super) fn number_in(&self, message: &DynamicMessage) -> Option<i64> {
        let outer = message.get_field(&self.of);
        outer.as_message()?.get_field(&self.number).as_i64()
    }
}

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// A call, and the fields that the path sets.
    Route(&'a Route, Vec<(&'a str, String)>),
    /// Other methods than the one that came.
    OtherMethods(Vec<Method>),
    /// Nothing.
    Nothing,
}

/// All calls of the contract by their paths.
#[derive(Debug)]
pub(super) struct Routes(Vec<Route>);

/// The routes of the embedded contract.
///
/// # Errors
/// The contract has a path that cannot be served: a defect of the build, which a test looks for.
pub(super) fn routes() -> Result<&'static Routes, &'static str> {
    static ROUTES: LazyLock<Result<Routes, String>> = LazyLock::new(|| Routes::of(pb::json::pool()?));
    ROUTES.as_ref().map_err(String::as_str)
}

impl Routes {
    fn of(pool: &DescriptorPool) -> Result<Self, String> {
        let http = pool.get_extension_by_name("google.api.http").ok_or("google.api.http is not in the contract")?;
        let mut routes = Vec::new();
        for service in pool.services().filter(|service| service.full_name().starts_with(OURS)) {
            for rpc in service.methods() {
                for (method, path, rule) in bindings(&rpc, &http) {
                    let route = Route::new(method, &path, &rule, rpc.clone());
                    routes.push(route.map_err(|why| format!("{}: {why}", rpc.full_name()))?);
                }
            }
        }
        routes.sort_by_key(|route| route.template.breadth());
        Ok(Self(routes))
    }

    /// Every way to make a call.
    pub(super) fn all(&self) -> &[Route] {
        &self.0
    }

    /// What `path` leads to; its parts are decoded. `HEAD` asks for what `GET` would.
    pub(super) fn find(&self, method: &Method, path: &[String]) -> Found<'_> {
        let mut parts: Vec<&str> = path.iter().map(String::as_str).collect();
        // A colon that is no verb of ours belongs to the name.
        if let Some((part, verb)) = path.last().and_then(|last| last.rsplit_once(':'))
            && self.0.iter().any(|route| route.template.verb.as_deref() == Some(verb))
            && let Some(last) = parts.last_mut()
        {
            *last = part;
            let found = self.among(method, &parts, Some(verb));
            if !matches!(found, Found::Nothing) {
                return found;
            }
        }
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        self.among(method, &parts, None)
    }

    fn among(&self, method: &Method, parts: &[&str], verb: Option<&str>) -> Found<'_> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let mut others = Vec::new();
        for route in self.0.iter().filter(|route| route.template.verb.as_deref() == verb) {
            let Some(variables) = route.template.captures(parts) else { continue };
            if route.method == *method {
                return Found::Route(route, variables);
            }
            others.push(route.method.clone());
        }
        if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others) }
    }
}

impl Route {
    /// What the path's names are of: its last fixed part in front of an open one.
    pub(super) fn collection(&self) -> &str {
        let open = self.template.segments.iter().position(|segment| !matches!(segment, Segment::Literal(_)));
        match open.and_then(|open| open.checked_sub(1)).and_then(|before| self.template.segments.get(before)) {
            Some(Segment::Literal(literal)) => literal,
            Some(Segment::One | Segment::Rest) | None => "resources",
        }
    }

    fn new(method: Method, path: &str, rule: &DynamicMessage, rpc: MethodDescriptor) -> Result<Self, String> {
        let name = format!("{method} {path}");
        let template = Template::parse(path)?;
        let (input, output) = (rpc.input(), rpc.output());
        for variable in &template.variables {
            let field = input.get_field_by_name(&variable.field);
            if !field.is_some_and(|field| field.kind() == Kind::String && !field.is_list()) {
                return Err(format!("{} in the path is no text field of the request", variable.field));
            }
        }
        let body = match text(rule, "body").as_str() {
            "" => Body::None,
            "*" => Body::Message,
            name => {
                let field = input.get_field_by_name(name).ok_or_else(|| format!("body {name:?} is no field"))?;
                if rpc.is_client_streaming() { Body::Bytes(field) } else { Body::Field(field) }
            }
        };
        match &body {
            Body::Bytes(field) if field.kind() != Kind::Bytes => return Err("a streamed body must be bytes".to_owned()),
            Body::Bytes(_) => {}
            _ if rpc.is_client_streaming() => return Err("a stream of requests needs a body of bytes".to_owned()),
            Body::None | Body::Message | Body::Field(_) => {}
        }
        let answer = match text(rule, "response_body").as_str() {
            "" if rpc.is_server_streaming() => Answer::Stream(sequence(&input, &output)),
            "" => Answer::Message,
            name if rpc.is_server_streaming() => raw(&output, name)?,
            name => return Err(format!("response_body {name:?} of one answer is not served")),
        };
        let path = PathAndQuery::try_from(format!("/{}/{}", rpc.parent_service().full_name(), rpc.name()))
            .map_err(|error| error.to_string())?;
        Ok(Self { name: name.into(), method, template, rpc, path, body, answer })
    }
}

/// The methods and paths of a call's rule and of its additional ones.
fn bindings(rpc: &MethodDescriptor, http: &ExtensionDescriptor) -> Vec<(Method, String, DynamicMessage)> {
    let options = rpc.options();
    let option = options.get_extension(http);
    let Some(rule) = option.as_message() else { return Vec::new() };
    let more = rule.get_field_by_name("additional_bindings");
    let more = more.as_ref().and_then(|more| more.as_list()).unwrap_or_default();
    let rules = std::iter::once(rule).chain(more.iter().filter_map(|one| one.as_message()));
    rules.flat_map(of_rule).collect()
}

fn of_rule(rule: &DynamicMessage) -> Vec<(Method, String, DynamicMessage)> {
    let verbs = [
        ("get", Method::GET),
        ("put", Method::PUT),
        ("post", Method::POST),
        ("delete", Method::DELETE),
        ("patch", Method::PATCH),
    ];
    let paths = verbs.into_iter().map(|(name, method)| (method, text(rule, name)));
    paths.filter(|(_, path)| !path.is_empty()).map(|(method, path)| (method, path, rule.clone())).collect()
}

fn text(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A message of a stream is numbered if a message in it has a field `sequence`.
fn sequence(input: &MessageDescriptor, output: &MessageDescriptor) -> Option<Sequence> {
    let number_of = |field: &FieldDescriptor| {
        let kind = field.kind();
        let number = kind.as_message().filter(|_| !field.is_list())?.get_field_by_name("sequence")?;
        (number.kind() == Kind::Int64).then_some(number)
    };
    let after = input.get_field_by_name("after_sequence").filter(|field| field.kind() == Kind::Int64);
    output.fields().find_map(|of| Some(Sequence { number: number_of(&of)?, of, after: after.clone() }))
}

/// The one field of bytes in the part of the messages that an answer consists of.
fn raw(output: &MessageDescriptor, name: &str) -> Result<Answer, String> {
    let part = output.get_field_by_name(name).ok_or_else(|| format!("response_body {name:?} is no field"))?;
    let kind = part.kind();
    let bytes = kind.as_message().and_then(|part| part.fields().find(|field| field.kind() == Kind::Bytes));
    let bytes = bytes.ok_or_else(|| format!("response_body {name:?} has no field of bytes"))?;
    Ok(Answer::Bytes { part, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &Method, path: &str) -> String {
        let parts: Vec<String> = path.split('/').map(str::to_owned).collect();
        match routes().unwrap().find(method, &parts) {
            Found::Route(route, variables) => format!("{} {variables:?}", route.rpc.name()),
            Found::OtherMethods(methods) => format!("{methods:?}"),
            Found::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn every_call_has_a_route() {
        let routes = routes().unwrap().all();
        let calls = pb::json::pool().unwrap().services().filter(|service| service.full_name().starts_with(OURS));
        for rpc in calls.flat_map(|service| service.methods().collect::<Vec<_>>()) {
            assert!(routes.iter().any(|route| route.rpc == rpc), "{}", rpc.full_name());
        }
    }

    #[test]
    fn a_path_leads_to_its_call() {
        for (method, path, expected) in [
            (Method::GET, "api/v1/generations", "ListGenerations []"),
            (Method::HEAD, "api/v1/generations/1", r#"GetGeneration [("name", "generations/1")]"#),
            (Method::GET, "api/v1/generations/1:watch", r#"WatchGeneration [("name", "generations/1")]"#),
            (Method::POST, "api/v1/generations/1:cancel", r#"CancelGeneration [("name", "generations/1")]"#),
            (Method::GET, "api/v1/generations/1:cancel", "[POST]"),
            (Method::GET, "api/v1/models/a/b:c", r#"GetModel [("name", "a/b:c")]"#),
            (Method::GET, "api/v1/models/a/b:cancel", r#"GetModel [("name", "a/b:cancel")]"#),
            (Method::PUT, "api/v1/sessions", "[POST, GET]"),
            (Method::GET, "api/v1", "nothing"),
            (Method::GET, "api/v1/generations/", "nothing"),
        ] {
            assert_eq!(found(&method, path), expected, "{method} {path}");
        }
    }
}
