//! Conversations over HTTP and JSON.

use reqwest::Client;
use serde_json::{Value, json};

use super::{Event, events, get, post, refused, url};
use crate::support::server::Setup;

fn asks(question: &str) -> Value {
    json!({ "messages": [{ "role": "CHAT_ROLE_USER", "content": [{ "text": question }] }] })
}

#[tokio::test]
async fn an_answer_comes_word_by_word_as_events_or_as_one_list() {
    let server = Setup::sample().start().await;
    let told = events(post(&server, "/api/v1/chat", &asks("hello there")).await).await;
    let [Event { data: start, id: None, .. }, deltas @ .., Event { data: last, .. }, Event { name: end, .. }] =
        &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!((&start["start"]["model"], end.as_str()), (&json!("sample/chat"), "end"));
    let said: Vec<&str> = deltas.iter().filter_map(|event| event.data["delta"]["text"].as_str()).collect();
    assert!(said.len() > 10 && said.concat().starts_with("This is a sample answer."), "{said:?}");
    assert_eq!(last["end"]["usage"]["inputTokens"], "2");

    let list = Client::new().post(url(&server, "/api/v1/chat")).header("accept", "application/json");
    // A chat that is not read to its end is ended, so nobody may ask for less of it.
    let list = list.header("prefer", "wait=0").json(&asks("hello there")).send().await.unwrap();
    let list: Vec<Value> = list.json().await.unwrap();
    let again: Vec<&str> = list.iter().filter_map(|message| message["delta"]["text"].as_str()).collect();
    assert_eq!(again, said);
}

#[tokio::test]
async fn what_is_wrong_with_a_chat_is_told_by_its_fields_and_a_prompt_that_nobody_betters_stays() {
    let server = Setup::sample().start().await;
    let wrong = json!({ "messages": [{ "role": "CHAT_ROLE_USER" }], "temperature": 3, "stop": [""] });
    let (status, code, details) = refused(post(&server, "/api/v1/chat", &wrong).await).await;
    let fields: Vec<&str> =
        details["fieldViolations"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
    assert_eq!((status, code.as_str()), (400, "VALIDATION_ERROR"));
    assert_eq!(fields, ["messages[0].content", "temperature", "stop[0]"]);
    assert_eq!(refused(get(&server, "/api/v1/chat").await).await.0, 405);

    let order = json!({ "prompt": "a fox", "kind": "KIND_VIDEO" });
    let kept: Value = post(&server, "/api/v1/prompts:optimize", &order).await.json().await.unwrap();
    assert_eq!((&kept["optimizedPrompt"], &kept["optimized"]), (&json!("a fox"), &Value::Null), "{kept}");
    assert!(kept["reason"].is_string(), "{kept}");
}
