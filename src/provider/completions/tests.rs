//! Bodies as they go over the wire, and answers in every form that servers write.

use bytes::Bytes;
use serde_json::{Value, json, value::RawValue};
use url::Url;

use super::*;
use crate::{
    domain::chat::{Finish, TokenUsage},
    provider::{
        chat::{
            ChatDelta, ChatEnd, ChatMessage, ChatOrder, Part, ResponseFormat, Speaker, Tool, ToolCall, ToolCallDelta,
            ToolChoice,
        },
        port::InputFile,
    },
};

fn message(speaker: Speaker, content: Vec<Part>) -> ChatMessage {
    ChatMessage { speaker, content, tool_calls: Vec::new(), tool_call_id: None, name: None }
}

fn order(messages: Vec<ChatMessage>) -> ChatOrder {
    ChatOrder::plain("m", messages)
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn written(order: &ChatOrder) -> String {
    String::from_utf8(body(order, Dialect { token_limit: TokenLimit::MaxTokens }).unwrap()).unwrap()
}

#[test]
fn a_plain_question_is_written_as_every_server_reads_it() {
    let order = order(vec![message(Speaker::User, vec![Part::Text("hi".to_owned())])]);
    assert_eq!(written(&order), r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#);
}

/// An order with everything that there is.
fn full_order() -> ChatOrder {
    let image = |file| Part::Image { file, detail: Some("low".to_owned()) };
    let picture = InputFile::Bytes { media_type: "image/png".to_owned(), data: Bytes::from_static(b"abc") };
    let call = ToolCall { id: "c".to_owned(), name: "f".to_owned(), arguments: r#"{"b":1,"a":2}"#.to_owned() };
    ChatOrder {
        temperature: Some(0.5),
        top_p: Some(0.9),
        max_tokens: Some(7),
        stop: vec!["END".to_owned()],
        seed: Some(-1),
        tools: vec![Tool {
            name: "f".to_owned(),
            description: Some("does".to_owned()),
            parameters: Some(raw(r#"{"z": 1, "a": 2.50}"#)),
            strict: Some(true),
        }],
        tool_choice: Some(ToolChoice::Tool("f".to_owned())),
        parallel_tool_calls: Some(false),
        format: Some(ResponseFormat::JsonSchema {
            name: "answer".to_owned(),
            schema: raw(r#"{"z":1,"a":2}"#),
            strict: Some(true),
            description: None,
        }),
        provider_options: json!({ "n": 2, "reasoning_effort": "low" }).as_object().unwrap().clone(),
        stream: true,
        ..order(vec![
            message(Speaker::System, vec![Part::Text("be kind".to_owned())]),
            ChatMessage {
                name: Some("ann".to_owned()),
                ..message(
                    Speaker::User,
                    vec![
                        Part::Text("look".to_owned()),
                        image(InputFile::Url(Url::parse("https://h.example/a.png?x=1").unwrap())),
                        image(picture),
                    ],
                )
            },
            ChatMessage { tool_calls: vec![call], ..message(Speaker::Assistant, Vec::new()) },
            ChatMessage {
                tool_call_id: Some("c".to_owned()),
                ..message(Speaker::Tool, vec![Part::Text("done".to_owned())])
            },
        ])
    }
}

#[test]
fn everything_an_order_has_is_written() {
    let order = full_order();
    let text = written(&order);
    assert!(text.contains(r#""parameters":{"z": 1, "a": 2.50}"#), "as it was written: {text}");
    assert!(text.contains(r#""schema":{"z":1,"a":2}"#), "as it was written: {text}");
    let expected = json!({
        "model": "m",
        "messages": [
            { "role": "system", "content": "be kind" },
            { "role": "user", "name": "ann", "content": [
                { "type": "text", "text": "look" },
                { "type": "image_url", "image_url": { "url": "https://h.example/a.png?x=1", "detail": "low" } },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,YWJj", "detail": "low" } },
            ] },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "c", "type": "function", "function": { "name": "f", "arguments": "{\"b\":1,\"a\":2}" } },
            ] },
            { "role": "tool", "content": "done", "tool_call_id": "c" },
        ],
        "temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "stop": ["END"], "seed": -1,
        "tools": [{ "type": "function", "function": {
            "name": "f", "description": "does", "parameters": { "z": 1, "a": 2.5 }, "strict": true,
        } }],
        "tool_choice": { "type": "function", "function": { "name": "f" } },
        "parallel_tool_calls": false,
        "response_format": { "type": "json_schema", "json_schema": {
            "name": "answer", "schema": { "z": 1, "a": 2 }, "strict": true,
        } },
        "stream": true, "stream_options": { "include_usage": true }, "n": 2, "reasoning_effort": "low",
    });
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    let newer = body(&order, Dialect { token_limit: TokenLimit::MaxCompletionTokens }).unwrap();
    let newer: Value = serde_json::from_slice(&newer).unwrap();
    assert_eq!((&newer["max_completion_tokens"], newer.get("max_tokens")), (&json!(7), None));
}

#[test]
fn an_option_that_a_field_says_is_refused_by_name() {
    for name in ["temperature", "max_completion_tokens", "stream", "stream_options", "messages"] {
        let mut order = order(Vec::new());
        order.provider_options.insert(name.to_owned(), json!(1));
        let (field, why) = body(&order, Dialect { token_limit: TokenLimit::MaxTokens }).unwrap_err();
        assert_eq!(field, format!("provider_options.{name}"));
        assert!(why.contains(name), "{why}");
    }
}

#[test]
fn the_field_at_fault_is_told_in_our_words() {
    let mut order = order(Vec::new());
    order.provider_options.insert("n".to_owned(), json!(1000));
    for (theirs, ours) in [
        ("messages[2].content[1].image_url.url", Some("messages[2]")),
        ("messages.[3].role", Some("messages[3]")),
        ("body.messages.0.content", Some("messages[0]")),
        ("tools[0].function.parameters", Some("tools[0]")),
        ("max_completion_tokens", Some("max_tokens")),
        ("response_format.json_schema.name", Some("response_format")),
        ("n", Some("provider_options.n")),
        ("temperature", Some("temperature")),
        ("logit_bias", None),
    ] {
        assert_eq!(field_at_fault(theirs, &order).as_deref(), ours, "{theirs}");
    }
}

/// What is said in these parts, and how it ends.
fn heard(parts: &[Value]) -> (Vec<ChatDelta>, Option<ChatEnd>) {
    let (mut reader, mut said) = (Reader::default(), Said::new());
    for part in parts {
        reader.read(part.to_string().as_bytes(), &mut said).unwrap();
    }
    (deltas(said), reader.end())
}

fn deltas(said: Said) -> Vec<ChatDelta> {
    let delta = |event| match event {
        ChatEvent::Delta(delta) => delta,
        ChatEvent::End(end) => panic!("{end:?} in the middle"),
    };
    said.into_iter().map(delta).collect()
}

fn whole(page: &Value) -> (Vec<ChatDelta>, Option<ChatEnd>) {
    let (mut reader, mut said) = (Reader::default(), Said::new());
    reader.read_whole(page.to_string().as_bytes(), &mut said).unwrap();
    (deltas(said), reader.end())
}

fn part(delta: &Value, finish: Option<&str>) -> Value {
    json!({ "id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }], "usage": null })
}

fn text(text: &str) -> ChatDelta {
    ChatDelta { text: text.to_owned(), ..ChatDelta::default() }
}

fn finish(finish: Finish) -> ChatDelta {
    ChatDelta { finish: Some(finish), ..ChatDelta::default() }
}

#[test]
fn text_comes_piece_by_piece_and_ends_with_its_tokens() {
    let usage = json!({ "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
        "prompt_tokens_details": { "cached_tokens": 4 }, "completion_tokens_details": { "reasoning_tokens": 2 } });
    let (deltas, end) = heard(&[
        part(&json!({ "role": "assistant", "content": "", "refusal": null }), None),
        part(&json!({ "content": "Hä" }), None),
        part(&json!({ "content": " \"you\"\n" }), None),
        part(&json!({}), Some("stop")),
        json!({ "id": "x", "choices": [], "usage": usage }),
    ]);
    assert_eq!(deltas, [text("Hä"), text(" \"you\"\n"), finish(Finish::Stop)]);
    let usage = Some(TokenUsage { input: 10, cached_input: 4, output: 5, reasoning: 2 });
    assert_eq!(end, Some(ChatEnd { usage, vendor_id: Some("x".to_owned()) }));
}

#[test]
fn an_answer_without_its_end_is_no_answer() {
    assert_eq!(heard(&[]).1, None);
    assert_eq!(heard(&[part(&json!({ "content": "a" }), None)]).1, None);
    let one_of_two = json!({ "choices": [{ "index": 1, "delta": { "content": "b" } }] });
    assert_eq!(heard(&[part(&json!({ "content": "a" }), Some("stop")), one_of_two]).1, None);
}

#[test]
fn tools_are_told_apart_however_a_server_counts_them() {
    let call = |index: Value, id: &str, name: &str, arguments: Value| {
        json!({ "tool_calls": [{ "index": index, "id": id, "type": "function",
            "function": { "name": name, "arguments": arguments } }] })
    };
    let all = |parts: &[Value]| {
        let parts: Vec<Value> = parts.iter().map(|delta| part(delta, None)).collect();
        let mut calls: Vec<ToolCall> = Vec::new();
        for delta in heard(&parts).0.into_iter().flat_map(|delta| delta.tool_calls) {
            let ToolCallDelta { index, id, name, arguments } = delta;
            if index as usize == calls.len() {
                assert!(!id.is_empty(), "its first delta has the id");
                calls.push(ToolCall { id, name, arguments });
            } else {
                assert_eq!((id.as_str(), name.as_str()), ("", ""), "only its first delta has the id");
                calls[index as usize].arguments.push_str(&arguments);
            }
        }
        calls.into_iter().map(|call| (call.id, call.name, call.arguments)).collect::<Vec<_>>()
    };
    let expected = |id: &str, name: &str, arguments: &str| (id.to_owned(), name.to_owned(), arguments.to_owned());
    let (f, g) = (expected("c1", "f", r#"{"a":1}"#), expected("c2", "g", "{}"));
    // OpenAI.
    let parts = [
        call(json!(0), "c1", "f", json!("")),
        json!({ "tool_calls": [{ "index": 0, "function": { "arguments": "{\"a\"" } }] }),
        json!({ "tool_calls": [{ "index": 0, "function": { "arguments": ":1}" } }] }),
        call(json!(1), "c2", "g", json!("{}")),
    ];
    assert_eq!(all(&parts), [f.clone(), g.clone()]);
    // Whole calls under one index, or under none.
    for index in [json!(0), Value::Null] {
        let parts = [call(index.clone(), "c1", "f", json!(r#"{"a":1}"#)), call(index, "c2", "g", json!({}))];
        assert_eq!(all(&parts), [f.clone(), g.clone()]);
    }
    // Indexes that begin at 1, id and name in every part.
    let parts = [
        call(json!(1), "c1", "f", json!("{\"a\"")),
        call(json!(1), "c1", "f", json!(":1}")),
        call(json!(2), "c2", "g", json!("{}")),
    ];
    assert_eq!(all(&parts), [f.clone(), g.clone()]);
    // Neither index nor id after the first.
    let parts = [
        call(Value::Null, "c1", "f", Value::Null),
        json!({ "tool_calls": [{ "function": { "arguments": "{\"a\":1}" } }] }),
    ];
    assert_eq!(all(&parts), std::slice::from_ref(&f));
    // No ids at all: each call gets one of its own.
    let parts = [call(json!(0), "", "f", json!("{}")), call(json!(1), "", "g", json!("{}"))];
    let made = all(&parts);
    assert!(made[0].0 != made[1].0 && made[0].0.starts_with("call_"), "{made:?}");
    // The old form.
    let parts = [
        json!({ "function_call": { "name": "f", "arguments": "" } }),
        json!({ "function_call": { "arguments": "{}" } }),
    ];
    assert_eq!(all(&parts)[0].1, "f");
    assert_eq!(all(&parts)[0].2, "{}");
}

#[test]
fn the_end_is_understood_in_every_servers_words() {
    for (word, expected) in [
        ("stop", Finish::Stop),
        ("length", Finish::Length),
        ("tool_calls", Finish::ToolCalls),
        ("function_call", Finish::ToolCalls),
        ("content_filter", Finish::ContentFilter),
        ("end_turn", Finish::Stop),
        ("model_length", Finish::Length),
    ] {
        assert_eq!(heard(&[part(&json!({}), Some(word))]).0, [finish(expected)], "{word}");
    }
    let (deltas, end) = heard(&[part(&json!({}), Some("something_new"))]);
    assert_eq!(deltas[0].finish, Some(Finish::Stop));
    assert_eq!(deltas[0].extra["finish_reason"], "something_new");
    assert!(end.is_some());
    let mut reader = Reader::default();
    let given_up = part(&json!({}), Some("error")).to_string();
    let fault = reader.read(given_up.as_bytes(), &mut Said::new()).unwrap_err();
    assert!(matches!(fault, Fault::Abandoned(word) if word == "error"));
    // Only once, also where it is repeated.
    let (deltas, _) = heard(&[part(&json!({}), Some("stop")), part(&json!({}), Some("stop"))]);
    assert_eq!(deltas, [finish(Finish::Stop)]);
}

#[test]
fn thoughts_and_refusals_are_kept_apart_from_text() {
    let reasoning = |text: &str| ChatDelta { reasoning: text.to_owned(), ..ChatDelta::default() };
    for delta in [
        json!({ "reasoning_content": "hm" }),
        json!({ "reasoning": "hm" }),
        json!({ "content": null, "reasoning": "hm", "reasoning_content": "hm" }),
        json!({ "content": [{ "type": "thinking", "thinking": [{ "type": "text", "text": "hm" }] }] }),
    ] {
        assert_eq!(heard(&[part(&delta, None)]).0, [reasoning("hm")], "{delta}");
    }
    let parts = json!({ "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] });
    assert_eq!(heard(&[part(&parts, None)]).0, [text("ab")]);
    let refusal = ChatDelta { refusal: "no".to_owned(), ..ChatDelta::default() };
    assert_eq!(heard(&[part(&json!({ "refusal": "no" }), None)]).0, [refusal]);
}

#[test]
fn what_has_no_field_is_passed_on_once() {
    let page = |n: u64| {
        json!({ "id": "x", "service_tier": "default", "system_fingerprint": null, "obfuscation": "ab", "choices": [{
            "index": 0, "delta": { "content": "a", "annotations": [] }, "logprobs": { "content": [{ "logprob": n }] },
        }] })
    };
    let (deltas, _) = heard(&[page(1), page(2)]);
    assert_eq!(
        Value::from(deltas[0].extra.clone()),
        json!({
            "service_tier": "default", "logprobs": { "content": [{ "logprob": 1 }] },
        })
    );
    assert_eq!(Value::from(deltas[1].extra.clone()), json!({ "logprobs": { "content": [{ "logprob": 2 }] } }));
}

#[test]
fn odd_types_cost_only_themselves() {
    let odd = json!({ "id": 7, "created": "now", "model": null, "choices": [{
        "index": "0", "delta": { "role": 1, "content": "a", "refusal": {}, "tool_calls": null, "reasoning": [], "function_call": null },
        "finish_reason": null,
    }], "usage": { "prompt_tokens": 1.0, "completion_tokens": "2" } });
    let (deltas, end) = heard(&[odd, part(&json!(null), Some("stop")), json!({}), json!({ "choices": null })]);
    assert_eq!(deltas, [text("a"), finish(Finish::Stop)]);
    let end = end.unwrap();
    assert_eq!(end.vendor_id.as_deref(), Some("7"));
    assert_eq!(end.usage, Some(TokenUsage { input: 1, ..TokenUsage::default() }));
}

#[test]
fn tokens_are_read_from_every_servers_count() {
    let check = |usage: Value, expected: Option<TokenUsage>| {
        let mut last = part(&json!({}), Some("stop"));
        last["usage"] = usage.clone();
        assert_eq!(heard(&[last]).1.unwrap().usage, expected, "{usage}");
    };
    let tokens = |input, cached_input, output, reasoning| Some(TokenUsage { input, cached_input, output, reasoning });
    check(Value::Null, None);
    check(json!({}), None);
    check(json!({ "prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": null }), tokens(3, 0, 2, 0));
    check(
        json!({ "prompt_tokens": 9, "completion_tokens": 2, "prompt_cache_hit_tokens": 5, "prompt_cache_miss_tokens": 4 }),
        tokens(9, 5, 2, 0),
    );
    // xAI counts thoughts apart.
    check(
        json!({ "prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 20, "completion_tokens_details": { "reasoning_tokens": 8 } }),
        tokens(10, 0, 10, 8),
    );
    check(json!({ "prompt_tokens": u64::MAX, "completion_tokens": 1 }), tokens(u64::MAX, 0, 1, 0));
}

#[test]
fn a_whole_answer_is_one_delta_for_each_choice() {
    let message = json!({ "role": "assistant", "content": null, "refusal": null, "annotations": [], "tool_calls": [
        { "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } },
        { "id": "d", "type": "function", "function": { "name": "f", "arguments": { "a": [1, 2] } } },
    ] });
    let page = json!({ "id": "x", "object": "chat.completion", "choices": [
        { "index": 0, "finish_reason": "tool_calls", "message": message },
        { "index": 1, "finish_reason": null, "message": { "role": "assistant", "content": "b" } },
    ] });
    let (deltas, end) = whole(&page);
    let call = |index, id: &str, arguments: &str| ToolCallDelta {
        index,
        id: id.to_owned(),
        name: "f".to_owned(),
        arguments: arguments.to_owned(),
    };
    assert_eq!(
        deltas,
        [
            ChatDelta {
                tool_calls: vec![call(0, "c", "{}"), call(1, "d", r#"{"a":[1,2]}"#)],
                ..finish(Finish::ToolCalls)
            },
            ChatDelta { choice: 1, ..ChatDelta { text: "b".to_owned(), ..finish(Finish::Stop) } },
        ]
    );
    assert_eq!(end, Some(ChatEnd { usage: None, vendor_id: Some("x".to_owned()) }));
    for empty in [json!({}), json!({ "choices": [] }), json!("text")] {
        let fault = Reader::default()
            .read_whole(empty.to_string().as_bytes(), &mut Said::new())
            .map_err(|fault| matches!(fault, Fault::Empty));
        assert_eq!(fault, Err(true), "{empty}");
    }
}

#[test]
fn an_error_is_told_from_an_answer() {
    for error in [
        json!({ "error": { "message": "m", "code": 429 } }),
        json!({ "error": "m" }),
        json!({ "object": "error", "message": "m", "code": 400 }),
        json!({ "detail": "m" }),
        json!({ "id": "x", "error": { "message": "m" }, "choices": [{ "index": 0, "delta": { "content": "" } }] }),
    ] {
        let text = error.to_string();
        let fault = Reader::default().read(text.as_bytes(), &mut Said::new()).unwrap_err();
        assert!(matches!(fault, Fault::Error(_)), "{error}");
    }
    let mut good = part(&json!({ "content": "a" }), None);
    good["error"] = Value::Null;
    assert_eq!(heard(&[good]).0, [text("a")]);
    let fault = Reader::default().read(b"<html>", &mut Said::new()).unwrap_err();
    assert!(matches!(fault, Fault::Unreadable));
    let fault =
        Reader::default().read(b"{\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}", &mut Said::new()).unwrap_err();
    assert!(matches!(fault, Fault::Unreadable));
}
