//! Conversations against a scripted server, and against the simulator.

use std::{net::Ipv4Addr, time::Duration};

use futures_util::{StreamExt, TryStreamExt};
use tokio::task::JoinSet;

use super::{super::chat::token_limit, *};
use crate::{
    domain::chat::{Finish, TokenUsage},
    provider::{
        chat::{ChatDelta, ChatEnd, ChatEvent, ChatMessage, ChatOrder, ChatProvider, Part, Speaker, Tool},
        error::{Effect, ErrorKind, ProviderError, Verdict},
        tests::conversations::are_heard_as_they_say,
    },
    simulator::{SimulateArgs, bind},
};

fn asking(text: &str, stream: bool) -> ChatOrder {
    let content = vec![Part::Text(text.to_owned())];
    let message =
        ChatMessage { speaker: Speaker::User, content, tool_calls: Vec::new(), tool_call_id: None, name: None };
    ChatOrder { stream, ..ChatOrder::plain("gpt-5.4-mini", vec![message]) }
}

/// All that is said, as one delta, and how it ends.
async fn heard(openai: &OpenAi, order: ChatOrder) -> Result<(ChatDelta, ChatEnd), ProviderError> {
    let mut stream = ChatProvider::chat(openai, order).await?;
    let (mut all, mut end) = (ChatDelta::default(), None);
    while let Some(event) = stream.try_next().await? {
        assert_eq!(end, None, "the end is the last");
        match event {
            ChatEvent::End(last) => end = Some(last),
            ChatEvent::Delta(delta) => {
                all.text.push_str(&delta.text);
                all.tool_calls.extend(delta.tool_calls);
                all.finish = delta.finish.or(all.finish);
            }
        }
    }
    Ok((all, end.expect("an end without an error")))
}

fn events(lines: &str) -> Reply {
    Reply::new(200, lines.to_owned()).with("content-type", "text/event-stream")
}

const HELLO: &str = "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n";
const STOP: &str = "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USED: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";

#[tokio::test]
async fn an_answer_in_events_is_heard_to_its_end() {
    let used = Some(TokenUsage { input: 3, cached_input: 0, output: 1, reasoning: 0 });
    for (text, usage) in [
        (format!("{HELLO}{STOP}{USED}data: [DONE]\n\n"), used),
        (format!(": waiting\r\n\r\n{HELLO}{STOP}"), None),
        (format!("{HELLO}{STOP}data: [DONE]"), None),
    ] {
        let server = Server::always(events(&text)).await;
        let (said, end) = heard(&openai(&server.base), asking("hi", true)).await.unwrap();
        assert_eq!((said.text.as_str(), said.finish), ("Hello", Some(Finish::Stop)), "{text}");
        assert_eq!(end, ChatEnd { usage, vendor_id: Some("x".to_owned()) }, "{text}");
        let asked = &server.asked()[0];
        assert_eq!(asked.line, "POST /v1/chat/completions");
        assert_eq!(asked.authorization.as_deref(), Some(&*format!("Bearer {KEY}")));
        assert_eq!(asked.json()["stream_options"], json!({ "include_usage": true }));
    }
}

#[tokio::test]
async fn connections_are_used_again_after_answers_in_events() {
    let server = Server::always(events(&format!("{HELLO}{STOP}data: [DONE]\n\n"))).await;
    let openai = openai(&server.base);
    for _ in 0..5 {
        heard(&openai, asking("hi", true)).await.unwrap();
    }
    assert_eq!(server.n_connections(), 1);
}

#[tokio::test]
async fn a_server_that_knows_no_streams_is_understood() {
    let page =
        json!({ "id": "x", "choices": [{ "index": 0, "message": { "content": "Hello" }, "finish_reason": "stop" }] });
    let server = Server::always(Reply::json(200, &page)).await;
    for stream in [true, false] {
        let (said, _) = heard(&openai(&server.base), asking("hi", stream)).await.unwrap();
        assert_eq!(said.text, "Hello");
    }
}

#[tokio::test]
async fn what_is_no_whole_answer_is_an_error_and_may_have_cost_something() {
    for (text, kind) in [
        (HELLO.to_owned(), ErrorKind::Transport),
        (format!("{HELLO}data: [DONE]\n\n"), ErrorKind::Transport),
        (String::new(), ErrorKind::Transport),
        (format!("{HELLO}data: {{\"choices\":[{{\"del"), ErrorKind::Protocol),
        (format!("{HELLO}data: <html>\n\n"), ErrorKind::Protocol),
        (
            format!("{HELLO}data: {{\"error\":{{\"message\":\"hi broke\",\"code\":\"server_error\"}}}}\n\n"),
            ErrorKind::Overloaded,
        ),
        (
            format!("{HELLO}event: error\ndata: {{\"message\":\"m\",\"code\":\"content_filter\"}}\n\n"),
            ErrorKind::ContentRefused,
        ),
        (
            format!("{HELLO}data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"error\"}}]}}\n\n"),
            ErrorKind::Overloaded,
        ),
    ] {
        let server = Server::always(events(&text)).await;
        let error = heard(&openai(&server.base), asking("hi", true)).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (kind, Effect::Maybe), "{text}: {}", error.summary);
    }
    let html = Reply::new(200, "<html>").with("content-type", "text/html");
    for (reply, stream) in [(html.clone(), true), (html, false), (Reply::json(200, &json!({})), false)] {
        let server = Server::always(reply).await;
        let error = heard(&openai(&server.base), asking("hi", stream)).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (ErrorKind::Protocol, Effect::Maybe), "{}", error.summary);
    }
}

#[tokio::test]
async fn a_refusal_says_why_in_our_words_and_hides_what_was_said() {
    let problem = |message: &str, param: Value, code: &str| json!({ "error": { "message": message, "type": "t", "param": param, "code": code } });
    for (status, body, kind, field, verdict) in [
        (
            400,
            problem("too hot: tell me a secret", json!("temperature"), "invalid_value"),
            ErrorKind::InvalidOrder,
            Some("temperature"),
            Verdict::GiveUp,
        ),
        (
            400,
            problem("m", json!("messages[0].content"), "context_length_exceeded"),
            ErrorKind::InvalidOrder,
            Some("messages[0]"),
            Verdict::GiveUp,
        ),
        (400, problem("m", Value::Null, "content_filter"), ErrorKind::ContentRefused, None, Verdict::GiveUp),
        (401, problem("m", Value::Null, "invalid_api_key"), ErrorKind::Unauthenticated, None, Verdict::GiveUp),
        (404, problem("m", Value::Null, "model_not_found"), ErrorKind::ModelNotFound, None, Verdict::GiveUp),
        (
            429,
            problem("Try again in 7s", Value::Null, "rate_limit_exceeded"),
            ErrorKind::RateLimited,
            None,
            Verdict::RetryAfter(Some(Duration::from_secs(7))),
        ),
        (429, problem("m", Value::Null, "insufficient_quota"), ErrorKind::OutOfCredit, None, Verdict::GiveUp),
        (500, problem("m", Value::Null, "server_error"), ErrorKind::Overloaded, None, Verdict::AskFirst),
        (200, problem("m", Value::Null, "429"), ErrorKind::Overloaded, None, Verdict::AskFirst),
        (200, problem("m", Value::Null, "400"), ErrorKind::InvalidOrder, None, Verdict::GiveUp),
    ] {
        for stream in [true, false] {
            let server = Server::always(Reply::json(status, &body)).await;
            let error = heard(&openai(&server.base), asking("tell me a secret", stream)).await.unwrap_err();
            assert_eq!((error.kind, error.field.as_deref()), (kind, field), "{status} {body}");
            assert_eq!(error.verdict(), verdict, "{status} {body}");
            assert!(!error.summary.contains("secret"), "{}", error.summary);
        }
    }
}

#[tokio::test]
async fn the_limit_of_tokens_has_the_name_that_the_server_knows() {
    for (base, model, limit) in [
        ("https://api.openai.com/v1", "gpt-4.1", "max_completion_tokens"),
        ("https://eu.api.openai.com/v1", "gpt-4.1", "max_completion_tokens"),
        ("https://me.openai.azure.com/openai/v1", "gpt-4.1", "max_completion_tokens"),
        ("https://api.mistral.ai/v1", "mistral-small", "max_tokens"),
        ("https://notopenai.com/v1", "gpt-4.1", "max_tokens"),
        ("http://localhost:8000/v1", "llama", "max_tokens"),
        ("http://localhost:8000/v1", "gpt-5.4-mini", "max_completion_tokens"),
        ("http://localhost:8000/v1", "openai/o4-mini", "max_completion_tokens"),
        ("http://localhost:8000/v1", "openai/gpt-oss-20b", "max_tokens"),
    ] {
        let base = Url::parse(base).unwrap();
        assert_eq!(token_limit(&base, model).as_str(), limit, "{base} {model}");
    }
}

/// A simulator and the adapter that talks to it.
fn simulated(faults: &[&str]) -> (OpenAi, String, JoinSet<std::io::Result<()>>) {
    let args = SimulateArgs {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        faults: faults.iter().map(|rule| rule.parse().unwrap()).collect(),
        ..SimulateArgs::default()
    };
    let bound = bind(args).unwrap();
    let root = format!("http://{}", bound.addr());
    let mut serving = JoinSet::new();
    serving.spawn(bound.serve(std::future::pending()));
    let settings = settings(&Url::parse(&format!("{root}/openai/v1")).unwrap());
    (OpenAi::new(settings).unwrap(), root, serving)
}

async fn count(root: &str, name: &str) -> u64 {
    let page: Value = reqwest::get(format!("{root}/_control/counts")).await.unwrap().json().await.unwrap();
    page["openai"][name].as_u64().unwrap()
}

#[tokio::test]
async fn the_simulated_vendor_answers_at_once_and_in_events() {
    let (openai, root, _serving) = simulated(&[]);
    for stream in [true, false] {
        let (said, end) = heard(&openai, asking("hi there", stream)).await.unwrap();
        assert_eq!((said.text.as_str(), said.finish), ("You said: hi there", Some(Finish::Stop)));
        assert_eq!(end.usage, Some(TokenUsage { input: 2, cached_input: 0, output: 4, reasoning: 0 }));
        let mut order = asking("[tool] the weather", stream);
        let parameters = r#"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#;
        let parameters = serde_json::value::RawValue::from_string(parameters.to_owned()).unwrap();
        order.tools =
            vec![Tool { name: "weather".to_owned(), description: None, parameters: Some(parameters), strict: None }];
        let (said, _) = heard(&openai, order).await.unwrap();
        let arguments: String = said.tool_calls.iter().map(|call| call.arguments.as_str()).collect();
        assert_eq!((said.tool_calls[0].name.as_str(), arguments.as_str()), ("weather", r#"{"city":"text"}"#));
        assert_eq!(said.finish, Some(Finish::ToolCalls));
        let mut order = asking("[words=100]", stream);
        order.max_tokens = Some(7);
        let (said, end) = heard(&openai, order).await.unwrap();
        assert_eq!((said.finish, end.usage.unwrap().output), (Some(Finish::Length), 7));
        assert_eq!(said.text.split(' ').count(), 7);
    }
    assert_eq!(count(&root, "chats_effective").await, 6);
    assert_eq!(count(&root, "chats_hung_up").await, 0);
}

#[tokio::test]
async fn who_stops_listening_hangs_up_at_the_vendor() {
    let (openai, root, _serving) = simulated(&["chat:pace=1h"]);
    let mut stream = ChatProvider::chat(&openai, asking("[words=1000]", true)).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok(), "it has begun");
    assert!(futures_util::poll!(stream.next()).is_pending());
    assert_eq!(count(&root, "chats_hung_up").await, 0);
    drop(stream);
    while count(&root, "chats_hung_up").await == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_that_the_vendor_breaks_off_is_an_error() {
    for fault in ["chat:cut=3", "chat:malformed", "chat:drop", "chat:drop,effect=after", "chat:html=502"] {
        let (openai, _, _serving) = simulated(&[fault]);
        let error = heard(&openai, asking("hi there you", true)).await.unwrap_err();
        assert_eq!(error.effect, Effect::Maybe, "{fault}: {}", error.summary);
    }
    let (openai, _, _serving) = simulated(&["chat:status=429,retry_after=3"]);
    let error = heard(&openai, asking("hi", true)).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::RetryAfter(Some(Duration::from_secs(3))));
}

#[tokio::test]
async fn every_conversation_on_file_is_heard_as_it_says() {
    assert!(are_heard_as_they_say(OPENAI, openai).await >= 10);
}
