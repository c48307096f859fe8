//! What is refused over HTTP, and that nothing a caller sends is worse than refused.

use reqwest::{Client, Method, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{get, post, refused, url};
use crate::support::server::{SOON, Server, Setup};

const JSON: &str = "application/json";

async fn send(server: &Server, content_type: &str, body: impl Into<reqwest::Body>) -> (u16, String, Value) {
    let request = Client::new().post(url(server, "/api/v1/images:generate")).header(CONTENT_TYPE, content_type);
    refused(request.body(body).send().await.unwrap()).await
}

/// The first violation: its field and what is wrong.
fn violation(details: &Value) -> (&str, &str) {
    let one = &details["fieldViolations"][0];
    (one["field"].as_str().unwrap(), one["description"].as_str().unwrap())
}

#[tokio::test]
async fn wrong_json_is_refused_by_the_name_of_the_field_or_the_place() {
    let server = Setup::sample().start().await;
    for (body, field, why) in [
        ("", "prompt", ""),
        ("{\"prompt\": \"a\",,}", "request", "line 1 column 16"),
        ("{\"prompt\": \"a\"", "request", "line 1"),
        ("[]", "request", "invalid type"),
        ("5", "request", "invalid type"),
        ("{} {}", "request", "trailing"),
        ("{\"prompt\": 5}", "prompt", "expected a string"),
        ("{\"prompt\": \"a\", \"colour\": 1}", "colour", "unrecognized field name"),
        ("{\"options\": {\"colour\": 1}}", "options.colour", "unrecognized field name"),
        ("{\"options\": {\"width\": \"wide\"}}", "options.width", ""),
        ("{\"options\": {\"width\": 1.5}}", "options.width", "integer"),
        ("{\"options\": {\"width\": 99999999999}}", "options.width", ""),
        ("{\"inputs\": [{\"role\": \"INPUT_ROLE_HERO\"}]}", "inputs[0].role", "INPUT_ROLE_HERO"),
        ("{\"inputs\": [{\"data\": \"!\"}]}", "inputs[0].data", "base64"),
        ("{\"inputs\": [{\"uri\": \"a\", \"artifact\": \"b\"}]}", "inputs[0]", "oneof"),
        ("{\"maxDuration\": \"soon\"}", "maxDuration", ""),
        ("{\"labels\": {\"a\": 1}}", "labels.a", "expected a string"),
        ("{\"prompt\": \"a\", \"prompt\": \"b\"}", "prompt", "comes twice"),
        ("{\"prompt\": \"a\", \"requestId\": \"a\", \"request_id\": \"a\"}", "request_id", "comes twice"),
        (
            "{\"prompt\": \"a\", \"options\": {\"providerOptions\": {\"x\": [{\"a\": 1, \"a\": 2}]}}}",
            "options.providerOptions.x[0].a",
            "comes twice",
        ),
    ] {
        let (status, code, details) = send(&server, JSON, body).await;
        let (told, description) = violation(&details);
        assert_eq!((status, code.as_str(), told), (400, "VALIDATION_ERROR", field), "{body}: {details}");
        assert!(description.contains(why), "{body}: {description}");
    }
    let (status, _, details) = send(&server, JSON, b"{\"prompt\": \"\xff\"}".to_vec()).await;
    assert_eq!((status, violation(&details).0), (400, "request"), "{details}");
}

#[tokio::test]
async fn a_field_that_names_nothing_is_told_as_a_path_that_names_nothing() {
    let server = Setup::sample().start().await;
    let input = |id: &str| json!({ "prompt": "a", "inputs": [{ "role": "INPUT_ROLE_SOURCE", "artifact": id }] });
    for (body, status, code, field) in [
        (json!({ "prompt": "a", "model": "nobody/none" }), 404, "MODEL_NOT_FOUND", "model"),
        (json!({ "prompt": "a", "model": "none" }), 404, "MODEL_NOT_FOUND", "model"),
        (json!({ "prompt": "a", "route": "none" }), 404, "ROUTE_NOT_FOUND", "route"),
        (input("artifacts/none"), 404, "ARTIFACT_NOT_FOUND", "inputs[0].artifact"),
        // A model that makes something else is there, and what else is wrong is wrong in any case.
        (json!({ "prompt": "a", "model": "sample/video" }), 400, "VALIDATION_ERROR", "model"),
        (
            json!({ "prompt": "a", "options": { "steps": 0 }, "model": "nobody/none" }),
            400,
            "VALIDATION_ERROR",
            "options.steps",
        ),
        (input("artifacts/no one"), 400, "VALIDATION_ERROR", "inputs[0].artifact"),
    ] {
        let (told, word, details) = send(&server, JSON, body.to_string()).await;
        assert_eq!((told, word.as_str(), violation(&details).0), (status, code, field), "{body}: {details}");
    }
    let order = json!({ "orders": [{ "video": { "prompt": "a", "model": "nobody/none" } }] });
    let (status, code, details) = refused(post(&server, "/api/v1/costs:estimate", &order).await).await;
    assert_eq!((status, code.as_str(), violation(&details).0), (404, "MODEL_NOT_FOUND", "orders[0].video.model"));
    let backwards = "/api/v1/usage?startTime=2026-02-01T00:00:00Z&endTime=2026-01-01T00:00:00Z";
    let (status, code, details) = refused(get(&server, backwards).await).await;
    assert_eq!((status, code.as_str(), violation(&details).0), (400, "VALIDATION_ERROR", "end_time"));
}

#[tokio::test]
async fn a_body_that_is_deep_large_or_of_another_type_is_refused_and_harms_nobody() {
    let server = Setup::sample().start().await;
    let deep = |n: usize| format!("{{\"options\":{{\"providerOptions\":{}1{}}}}}", "{\"a\":".repeat(n), "}".repeat(n));
    let list = |n: usize| format!("{{\"options\":{{\"providerOptions\":{{\"a\":[0{}]}}}}}}", ",0".repeat(n));
    for body in [deep(100_000), deep(120), "[".repeat(1 << 20), list(2_000_000)] {
        let (status, code, _) = send(&server, JSON, body).await;
        assert_eq!((status, code.as_str()), (400, "VALIDATION_ERROR"));
    }
    for size in [5 << 20, 7 << 20] {
        let (status, code, _) = send(&server, JSON, json!({ "prompt": "x".repeat(size) }).to_string()).await;
        assert_eq!((status, code.as_str()), (413, "VALIDATION_ERROR"), "{size}");
    }
    let large = Client::new().post(url(&server, "/api/v1/films")).body("x".repeat(7 << 20)).send().await.unwrap();
    assert_eq!(refused(large).await.0, 404);
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        let (status, code, _) = send(&server, content_type, "{\"prompt\": \"a\"}").await;
        assert_eq!((status, code.as_str()), (415, "VALIDATION_ERROR"), "{content_type}");
    }
    for content_type in ["application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"] {
        let request = Client::new().post(url(&server, "/api/v1/sessions")).header(CONTENT_TYPE, content_type);
        assert_eq!(request.body("{}").send().await.unwrap().status(), 200, "{content_type}");
    }
}

#[tokio::test]
async fn paths_methods_and_queries_are_refused_in_the_same_form() {
    let server = Setup::sample().start().await;
    for (path, status, code) in [
        ("/api/v1", 404, "PATH_NOT_FOUND"),
        ("/api/v1/", 404, "PATH_NOT_FOUND"),
        ("/api/v1/films", 404, "PATH_NOT_FOUND"),
        ("/api/v1/generations/", 404, "PATH_NOT_FOUND"),
        ("/api/v1//generations", 404, "PATH_NOT_FOUND"),
        ("/api/v1/generations/nobody", 404, "TASK_NOT_FOUND"),
        ("/api/v1/generations/..%2f..%2fetc:watch", 404, "TASK_NOT_FOUND"),
        ("/api/v1/artifacts/nobody:download", 404, "ARTIFACT_NOT_FOUND"),
        ("/api/v1/sessions/nobody", 404, "SESSION_NOT_FOUND"),
        ("/api/v1/models/no/body", 404, "MODEL_NOT_FOUND"),
        ("/api/v1/sessions/%ff", 404, "PATH_NOT_FOUND"),
        ("/api/v1/generations/a:cancel", 405, "METHOD_NOT_ALLOWED"),
        ("/api/v1/videos:generate", 405, "METHOD_NOT_ALLOWED"),
    ] {
        let (told, word, _) = refused(get(&server, path).await).await;
        assert_eq!((told, word.as_str()), (status, code), "{path}");
    }
    for (query, field) in [
        ("colour=1", "colour"),
        ("pageSize=many", "page_size"),
        ("pageSize=1&pageSize=2", "pageSize"),
        ("pageSize=-1", "page_size"),
        ("kind=KIND_FILM", "kind"),
        ("states.a=1", "states.a"),
        ("pageToken=%ff", "pageToken"),
        ("kind=77", "kind"),
    ] {
        let (status, code, details) = refused(get(&server, &format!("/api/v1/generations?{query}")).await).await;
        assert_eq!((status, code.as_str(), violation(&details).0), (400, "VALIDATION_ERROR", field), "{query}");
    }
    let (status, code, details) = refused(get(&server, "/api/v1/generations?pageToken=x").await).await;
    assert_eq!((status, code.as_str(), violation(&details).0), (404, "PAGE_NOT_FOUND", "page_token"));
    let (_, _, details) = refused(get(&server, "/api/v1/generations?kind=KIND_FILM").await).await;
    assert!(violation(&details).1.contains("allowed: KIND_VIDEO, KIND_IMAGE"), "{details}");
    let usage =
        "/api/v1/usage?labels[team]=film&labels.other=b&startTime=2025-01-01T00:00:00Z&groupBy=day&groupBy=model";
    assert_eq!(get(&server, usage).await.status(), 200);
    for query in ["labels=a", "labels[]=a", "labels[Team]=a", "startTime=yesterday"] {
        let (status, ..) = refused(get(&server, &format!("/api/v1/usage?{query}")).await).await;
        assert_eq!(status, 400, "{query}");
    }
    let put = Client::new().request(Method::PUT, url(&server, "/api/v1/sessions")).send().await.unwrap();
    assert_eq!(put.headers()["allow"], "GET, HEAD, OPTIONS, POST");
    assert_eq!(refused(put).await.0, 405);
    let with_body = Client::new().get(url(&server, "/api/v1/sessions")).body("{}").send().await.unwrap();
    assert_eq!(refused(with_body).await.0, 400);
    let with_query = post(&server, "/api/v1/videos:generate?prompt=a", &json!({ "prompt": "a" })).await;
    assert_eq!(violation(&refused(with_query).await.2).0, "prompt");
}

#[tokio::test]
async fn refusals_of_the_services_keep_their_details() {
    let server = Setup::sample().start().await;
    let order = json!({ "prompt": " ", "options": { "fps": 0 }, "requestId": "é" });
    let (status, code, details) = refused(post(&server, "/api/v1/videos:generate", &order).await).await;
    assert_eq!((status, code.as_str()), (400, "VALIDATION_ERROR"));
    let fields: Vec<&str> =
        details["fieldViolations"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
    assert!(fields.contains(&"options.fps") && fields.contains(&"request_id"), "{details}");
    assert_eq!(
        (&details["reason"], &details["charged"], &details["retryable"]),
        (&json!("INVALID_REQUEST"), &json!("NO"), &json!(false))
    );
    assert!(details["nextStep"].as_str().unwrap().starts_with("Correct the named fields"), "{details}");

    let order = json!({ "prompt": "a fox", "model": "replicate/minimax/video-01" });
    let (status, code, details) = refused(post(&server, "/api/v1/videos:generate", &order).await).await;
    assert_eq!(
        (status, code.as_str(), &details["reason"]),
        (409, "CONFIGURATION_ERROR", &json!("PROVIDER_NOT_CONFIGURED"))
    );
    assert_eq!(details["metadata"]["provider"], "replicate");

    let order = |prompt: &str| json!({ "prompt": prompt, "requestId": "one" });
    assert_eq!(post(&server, "/api/v1/videos:generate", &order("a fox")).await.status(), 200);
    let (status, code, details) = refused(post(&server, "/api/v1/videos:generate", &order("a cat")).await).await;
    assert_eq!((status, code.as_str(), &details["metadata"]["field"]), (409, "REQUEST_ID_REUSED", &json!("prompt")));
}

#[tokio::test]
async fn requests_that_follow_each_other_on_one_connection_are_answered_in_order() {
    let server = Setup::sample().start().await;
    let mut socket = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    let requests = [
        "POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        "GET /api/v1/films HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /api/v1/videos:generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"prompt\":\"a\"}",
        "GET /api/v1/sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ];
    socket.write_all(requests.concat().as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    timeout(SOON, socket.read_to_end(&mut answers)).await.expect("the server closes").unwrap();
    let answers = String::from_utf8(answers).unwrap();
    let statuses: Vec<&str> =
        answers.match_indices("HTTP/1.1 ").map(|(at, mark)| &answers[at + mark.len()..][..3]).collect();
    assert_eq!(statuses, ["200", "404", "200", "200"]);
    assert!(answers.contains("event: end"), "{answers}");
}
