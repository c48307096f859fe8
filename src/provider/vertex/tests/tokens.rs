use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use url::Url;

use super::{REFRESH_TOKEN, build, order, person, setup, ticket, vertex};
use crate::{
    domain::names::SubmitKey,
    provider::{
        error::{Effect, ErrorKind},
        http::Http,
        id_of,
        port::Provider,
        tests::server::{Asked, Reply, Server},
        values,
        vertex::auth::{Credentials, Tokens},
    },
};

/// Grants `t1`, `t2`, … with a life of so many seconds, and nothing from the `broken`th request on.
async fn granting(life: Value, broken: usize) -> Server {
    let n_granted = AtomicUsize::new(0);
    Server::start(move |_| {
        let nth = n_granted.fetch_add(1, Ordering::Relaxed) + 1;
        if nth >= broken {
            return Reply::json(503, &json!({ "error": "temporarily_unavailable" }));
        }
        Reply::json(
            200,
            &json!({ "access_token": format!("t{nth}"), "expires_in": life, "scope": "x", "id_token": null }),
        )
    })
    .await
}

fn tokens(server: &Server) -> Tokens {
    let (credentials, _) = Credentials::read(&person(&server.base).to_string()).unwrap();
    Tokens::new(credentials, Http::new(&id_of("vertex").unwrap(), Duration::from_secs(30)).unwrap())
}

async fn word(tokens: &Tokens) -> String {
    tokens.get().await.unwrap().expose_secret().to_owned()
}

#[tokio::test]
async fn a_hundred_calls_at_once_ask_for_one_token() {
    let server = granting(json!(3599), 99).await;
    let tokens = tokens(&server);
    let words = join_all((0..100).map(|_| word(&tokens))).await;
    assert!(words.iter().all(|word| word == "t1"));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_token_is_replaced_before_it_ends_and_kept_while_none_can_be_had() {
    let server = granting(json!("3599"), 3).await;
    let tokens = tokens(&server);
    assert_eq!(word(&tokens).await, "t1");
    let pass = async |seconds| {
        // Only the waits are made short: calls over the network need the clock to run.
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
    };
    pass(3370).await;
    assert_eq!(word(&tokens).await, "t1");
    pass(10).await;
    assert_eq!(word(&tokens).await, "t2", "225 s before its end");
    pass(3400).await;
    assert_eq!(word(&tokens).await, "t2", "its successor cannot be had, and it still lasts");
    pass(300).await;
    let error = tokens.get().await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::Overloaded, Effect::None));
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_forgotten_unless_it_was_replaced() {
    let server = granting(json!(null), 99).await;
    let tokens = tokens(&server);
    let first = tokens.get().await.unwrap();
    tokens.forget(&first).await;
    assert_eq!(word(&tokens).await, "t2");
    tokens.forget(&first).await;
    assert_eq!(word(&tokens).await, "t2");
}

#[tokio::test]
async fn a_person_shows_a_refresh_token_and_the_project_whose_quota_counts() {
    let server = granting(json!(3599), 99).await;
    let vertex = vertex(&server.base);
    vertex.poll(&ticket(Value::Null)).await.unwrap();
    let asked = &server.asked()[0];
    assert_eq!(
        (asked.line.as_str(), asked.content_type.as_str()),
        ("POST /token", "application/x-www-form-urlencoded")
    );
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&asked.body).into_owned().collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [
        pair("grant_type", "refresh_token"),
        pair("client_id", "c1"),
        pair("client_secret", "s1"),
        pair("refresh_token", REFRESH_TOKEN),
    ];
    assert_eq!(form, expected);
    assert_eq!(server.asked()[1].authorization.as_deref(), Some("Bearer t1"));
    let shown = format!("{vertex:?} {:?}", vertex.tokens);
    assert!(!shown.contains("secret") && !shown.contains("t1"), "{shown}");
}

#[tokio::test]
async fn a_machine_asks_its_metadata_server() {
    let server = granting(json!(3599), 99).await;
    let host = format!("{}:{}", server.base.host_str().unwrap(), server.base.port().unwrap());
    let mut build = build(&server.base, "", &[("metadata_host", &host)]);
    let values: Vec<_> = build.values.iter().filter(|(key, _)| *key != "service_account_key").collect();
    let values = values.into_iter().map(|(key, value)| (key, value.clone())).collect::<Vec<_>>();
    build.values = values::Values::default();
    values.into_iter().for_each(|(key, value)| build.values.insert(key, value));
    let vertex = setup::vertex(build).unwrap().unwrap();
    vertex.poll(&ticket(Value::Null)).await.unwrap();
    let line = &server.asked()[0].line;
    assert!(line.starts_with("GET /computeMetadata/v1/instance/service-accounts/default/token?scopes="), "{line}");
}

#[tokio::test]
async fn an_account_that_gets_no_token_has_ordered_nothing() {
    let check = async |status: u16, body: Value, kind: ErrorKind, says: &str| {
        let reply = Reply::json(status, &body);
        let server = Server::always(reply).await;
        let vertex = vertex(&server.base);
        let error = vertex.submit(&order(&vertex, super::FAST), &SubmitKey::fresh()).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (kind, Effect::None), "{body}");
        assert!(error.summary.contains(says) && !error.summary.contains(REFRESH_TOKEN), "{}", error.summary);
        assert_eq!(server.asked().len(), 1);
    };
    let revoked = json!({ "error": "invalid_grant", "error_description": "Token has been expired or revoked." });
    check(400, revoked, ErrorKind::Unauthenticated, "expired or revoked").await;
    check(401, json!({ "error": "invalid_client" }), ErrorKind::Unauthenticated, "invalid_client").await;
    check(400, json!({ "error": "server_error" }), ErrorKind::Overloaded, "server_error").await;
    check(503, json!(null), ErrorKind::Overloaded, "UNAVAILABLE").await;
    check(200, json!({ "expires_in": 1 }), ErrorKind::Protocol, "token").await;
    check(200, json!({ "access_token": "" }), ErrorKind::Protocol, "token").await;
}

#[tokio::test]
async fn a_token_that_the_api_refuses_is_replaced_and_the_order_sent_once_more() {
    let n_granted = AtomicUsize::new(0);
    let server = Server::start(move |asked: &Asked| {
        if asked.line == "POST /token" {
            let nth = n_granted.fetch_add(1, Ordering::Relaxed) + 1;
            return Reply::json(200, &json!({ "access_token": format!("t{nth}"), "expires_in": 3599 }));
        }
        let is_first = asked.authorization.as_deref() == Some("Bearer t1");
        if is_first { Reply::json(401, &json!({})) } else { Reply::json(200, &json!({})) }
    })
    .await;
    let vertex = vertex(&server.base);
    vertex.poll(&ticket(Value::Null)).await.unwrap();
    vertex.poll(&ticket(Value::Null)).await.unwrap();
    let lines: Vec<String> = server.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(lines.iter().filter(|line| *line == "POST /token").count(), 2, "{lines:?}");
    assert_eq!(lines.len(), 5, "{lines:?}");
}

#[test]
fn credentials_that_cannot_be_used_are_told_without_their_values() {
    let base = Url::parse("https://a.example/v1").unwrap();
    let check = |text: &str, says: &str| {
        let error = setup::vertex(build(&base, text, &[])).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("hidden"), "{error}");
    };
    check("{\"type\": \"hidden", "is no JSON of Google credentials");
    check("{\"type\": \"external_account\"}", "has type external_account");
    check("{\"type\": \"service_account\", \"client_email\": \"a@b\", \"private_key\": \"hidden\"}", "private_key");
    check("{\"type\": \"authorized_user\"}", "no client_id");
    check("/no/such/file/hidden.json", "cannot be read");
}

#[test]
fn a_file_of_credentials_alone_configures_nothing() {
    let base = Url::parse("https://a.example/v1").unwrap();
    let mut build = build(&base, "", &[]);
    build.values = values::Values::default();
    build.values.insert("credentials", values::Value::Text("/no/such/file".to_owned()));
    assert!(setup::vertex(build).unwrap().is_none());
}

#[test]
fn a_key_may_be_base64_and_names_its_project() {
    let base = Url::parse("https://a.example/v1").unwrap();
    let mut key = person(&base);
    key["project_id"] = json!("p2");
    let packed = crate::provider::google::base64::encode(key.to_string().as_bytes());
    let mut build = build(&base, &packed, &[]);
    let values: Vec<_> = build.values.iter().map(|(key, value)| (key, value.clone())).collect();
    build.values = values::Values::default();
    values.into_iter().filter(|(key, _)| *key != "project").for_each(|(key, value)| build.values.insert(key, value));
    assert_eq!(setup::vertex(build).unwrap().unwrap().project, "p2");
}
