//! `/openapi.json`: the contract as an OpenAPI 3.1 document, made from the same descriptors that the calls are served by.

mod limits;
mod operation;
mod schema;

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use prost_reflect::ServiceDescriptor;
use serde_json::{Map, Value, json};

use self::schema::Schemas;
use super::{
    comments,
    error::Refused,
    routes::{Route, routes},
};

/// Of this document, which follows the contract's version.
const VERSION: &str = concat!("v1 (filmgate ", env!("CARGO_PKG_VERSION"), ")");
const ABOUT: &str = "\
Every call of filmgate's gRPC contract as HTTP and JSON, made from the contract itself.

JSON is the canonical form of protobuf: names in camelCase (snake_case is read, too), 64-bit integers as texts, times in RFC 3339, lengths of time as \
seconds (`\"5s\"`), bytes in base64; what is unset is left out.

Streams are server-sent events: `data` is one message, `id` its number where it has one (send the last one as `Last-Event-ID` to go on from there; 204 means that \
you have seen it all), `event: error` an error with the same body as any, and `event: end` the end. `Accept: application/x-ndjson` gets one message a line, \
`Accept: application/json` one list. `Prefer: wait=SECONDS` ends the answer after so long.

The header `x-filmgate-tenant` says whose data it is, `x-filmgate-client` names your program, `traceparent` joins a trace, `x-request-id` is kept with the call.";

/// Answers `GET /openapi.json`.
pub(super) async fn serve() -> Response {
    // Made once: the contract is part of the program.
    static DOCUMENT: LazyLock<Result<Bytes, String>> = LazyLock::new(|| {
        let text = serde_json::to_vec(&document()?).map_err(|error| error.to_string())?;
        Ok(text.into())
    });
    match DOCUMENT.as_ref() {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text.clone()).into_response(),
        Err(cause) => Refused::defect(cause).into_response(),
    }
}

/// The document.
fn document() -> Result<Value, String> {
    let routes = routes()?.all();
    let mut schemas = Schemas::of(routes);
    let mut paths = Map::new();
    let mut services: Vec<ServiceDescriptor> = Vec::new();
    for route in routes {
        let (path, operation) = operation::of(route, &mut schemas);
        let methods = paths.entry(path).or_insert_with(|| Map::new().into());
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(route.method.as_str().to_ascii_lowercase(), operation);
        }
        let service = route.rpc.parent_service();
        if !services.contains(service) {
            services.push(service.clone());
        }
    }
    services.sort_by(|one, other| one.name().cmp(other.name()));
    let tags: Vec<Value> = services.iter().map(tag).collect();
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "filmgate",
            "version": VERSION,
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        // The server that serves the document.
        "servers": [{ "url": "/" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "responses": { "Error": operation::error_response() },
        },
    }))
}

fn tag(service: &ServiceDescriptor) -> Value {
    json!({ "name": service.name(), "description": comments::of(&service.parent_file(), service.path()) })
}

/// Whether a call is the only one of its name; operations are named by their calls.
fn operation_id(route: &Route) -> String {
    route.rpc.name().to_owned()
}

/// The descriptors are of one pool, so a message is known by its name.
fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_an_operation_with_a_name_of_its_own() {
        let document = document().unwrap();
        let paths = document["paths"].as_object().unwrap();
        let operations: Vec<&Value> = paths.values().flat_map(|path| path.as_object().unwrap().values()).collect();
        let names: BTreeSet<&str> = operations.iter().map(|one| one["operationId"].as_str().unwrap()).collect();
        assert_eq!((operations.len(), names.len()), (routes().unwrap().all().len(), operations.len()));
        for operation in operations {
            assert!(!operation["description"].as_str().unwrap().is_empty(), "{operation}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document().unwrap();
        let text = document.to_string();
        for part in text.split("\"$ref\":\"#").skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
