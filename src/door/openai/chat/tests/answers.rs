use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value, json};
use tokio::{sync::mpsc, time::Instant};

use super::super::{names::Names, pieces::Writer, request::Manner, stream::Frames, whole::Whole, wire::Head};
use crate::{
    chat::{Answer, ChatDelta, Ended, Error, Said, ToolCallDelta},
    domain::{
        chat::{Finish, TokenUsage},
        money::MicroUsd,
    },
};

const NAMES: Names = Names { limit: "max_tokens", labels: "labels", old: false };

fn head() -> Head {
    Head { id: "chatcmpl-1".to_owned(), created: 7, model: "openai/gpt \"x\"".to_owned() }
}

fn text(text: &str) -> ChatDelta {
    ChatDelta { text: text.to_owned(), ..ChatDelta::default() }
}

fn finish(finish: Finish) -> ChatDelta {
    ChatDelta { finish: Some(finish), ..ChatDelta::default() }
}

fn call(index: u32, id: &str, name: &str, arguments: &str) -> ChatDelta {
    let call = ToolCallDelta { index, id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() };
    ChatDelta { tool_calls: vec![call], ..ChatDelta::default() }
}

fn extra(value: &Value) -> ChatDelta {
    ChatDelta { extra: value.as_object().cloned().unwrap_or_else(Map::new), ..ChatDelta::default() }
}

fn ended() -> Said {
    let usage = TokenUsage { input: 10, cached_input: 4, output: 5, reasoning: 2 };
    Said::End(Ended { usage: Some(usage), cost: Some(MicroUsd(33)), provider_chat_id: None })
}

fn answer(deltas: Vec<ChatDelta>, end: Option<Result<Said, Error>>) -> Answer {
    Answer::of(stream::iter(deltas.into_iter().map(|delta| Ok(Said::More(delta))).chain(end)).boxed())
}

async fn whole(deltas: Vec<ChatDelta>, functions: bool) -> Value {
    let whole = Whole::of(answer(deltas, Some(Ok(ended())))).await.unwrap();
    serde_json::to_value(whole.completion(&head(), functions)).unwrap()
}

async fn told(events: Answer, manner: Manner) -> String {
    let writer = Writer::new(&head(), manner).unwrap();
    let frames: Vec<_> = Frames::new(events, writer, NAMES).unwrap().collect().await;
    let bytes: Vec<u8> = frames.into_iter().flat_map(|frame| frame.unwrap().to_vec()).collect();
    String::from_utf8(bytes).unwrap()
}

/// The data of a stream, which has nothing else; `[DONE]` as text.
fn data(told: &str) -> Vec<Value> {
    let frames = told.split_terminator("\n\n").map(|frame| frame.strip_prefix("data: ").expect("only data"));
    frames.map(|frame| serde_json::from_str(frame).unwrap_or_else(|_| Value::String(frame.to_owned()))).collect()
}

#[tokio::test]
async fn a_completion_has_every_key() {
    let all = whole(vec![text("Hel"), text("lo"), finish(Finish::Stop)], false).await;
    assert_eq!(
        all,
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "openai/gpt \"x\"",
            "choices": [{ "index": 0, "finish_reason": "stop", "logprobs": null,
                "message": { "role": "assistant", "content": "Hello", "refusal": null, "annotations": [] } }],
            "usage": { "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
                "prompt_tokens_details": { "cached_tokens": 4, "audio_tokens": 0 },
                "completion_tokens_details": { "reasoning_tokens": 2, "audio_tokens": 0,
                    "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0 } },
            "service_tier": null, "system_fingerprint": null,
        })
    );
}

#[tokio::test]
async fn calls_refusals_thoughts_and_several_answers_are_put_together() {
    let thought = ChatDelta { reasoning: "hm".to_owned(), ..ChatDelta::default() };
    let refusal =
        ChatDelta { choice: 1, refusal: "No.".to_owned(), finish: Some(Finish::Stop), ..ChatDelta::default() };
    let logprobs = |token: &str| extra(&json!({ "logprobs": { "content": [{ "token": token }], "refusal": null } }));
    let all = whole(
        vec![
            thought,
            call(0, "call_1", "f", ""),
            call(0, "", "", "{\"a\":"),
            call(1, "call_2", "g", "{}"),
            refusal,
            call(0, "", "", "1}"),
            logprobs("a"),
            logprobs("b"),
            extra(&json!({ "service_tier": "default", "x": 1 })),
            finish(Finish::ToolCalls),
        ],
        false,
    )
    .await;
    let first = &all["choices"][0];
    assert_eq!((&first["message"]["content"], &first["finish_reason"]), (&Value::Null, &json!("tool_calls")));
    let calls = json!([
        { "id": "call_1", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" } },
        { "id": "call_2", "type": "function", "function": { "name": "g", "arguments": "{}" } },
    ]);
    assert_eq!(first["message"]["tool_calls"], calls);
    assert_eq!((&first["message"]["reasoning_content"], &first["message"]["x"]), (&json!("hm"), &json!(1)));
    assert_eq!(first["logprobs"]["content"], json!([{ "token": "a" }, { "token": "b" }]));
    assert_eq!(all["service_tier"], "default");
    let second = &all["choices"][1];
    assert_eq!((&second["index"], &second["message"]["refusal"]), (&json!(1), &json!("No.")));
    assert_eq!(second["message"]["content"], Value::Null);
    let old = whole(vec![call(0, "call_1", "f", "{}"), finish(Finish::ToolCalls)], true).await;
    let choice = &old["choices"][0];
    assert_eq!(choice["message"]["function_call"], json!({ "name": "f", "arguments": "{}" }));
    assert!(choice["message"].get("tool_calls").is_none() && choice["finish_reason"] == "function_call");
}

#[tokio::test]
async fn a_stream_is_pieces_and_done() {
    let last = ChatDelta { text: "lo\n".to_owned(), finish: Some(Finish::Length), ..ChatDelta::default() };
    let told = told(answer(vec![text("Hel"), last], Some(Ok(ended()))), Manner::default()).await;
    assert!(told.ends_with("\n\ndata: [DONE]\n\n"));
    let piece = |delta: Value, finish: Value| {
        json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "openai/gpt \"x\"",
            "choices": [{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }] })
    };
    assert_eq!(
        data(&told),
        [
            piece(json!({ "role": "assistant", "content": "", "refusal": null }), Value::Null),
            piece(json!({ "content": "Hel" }), Value::Null),
            piece(json!({ "content": "lo\n" }), Value::Null),
            piece(json!({}), json!("length")),
            json!("[DONE]"),
        ]
    );
}

#[tokio::test]
async fn usage_is_told_last_to_those_who_ask() {
    let manner = Manner { include_usage: true, ..Manner::default() };
    let told = data(&told(answer(vec![text("Hi"), finish(Finish::Stop)], Some(Ok(ended()))), manner).await);
    let [first, text, stop, usage, done] = told.as_slice() else { panic!("{told:?}") };
    assert!([first, text, stop].iter().all(|piece| piece.get("usage") == Some(&Value::Null)), "{told:?}");
    assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(15)));
    assert_eq!((&usage["filmgate"]["cost_micro_usd"], done), (&json!(33), &json!("[DONE]")));
}

#[tokio::test]
async fn pieces_of_calls_and_of_other_answers_keep_their_numbers() {
    let other = ChatDelta { choice: 1, ..text("B") };
    let logprobs =
        ChatDelta { extra: json!({ "logprobs": { "content": [] } }).as_object().cloned().unwrap(), ..text("A") };
    let deltas = vec![call(2, "call_1", "f", ""), call(2, "", "", "{}"), other, logprobs];
    let told = data(&told(answer(deltas, Some(Ok(ended()))), Manner::default()).await);
    let deltas: Vec<&Value> = told.iter().map(|piece| &piece["choices"][0]["delta"]).collect();
    let first = json!({ "index": 2, "id": "call_1", "type": "function", "function": { "name": "f", "arguments": "" } });
    assert_eq!(deltas[1]["tool_calls"], json!([first]));
    assert_eq!(deltas[2]["tool_calls"], json!([{ "index": 2, "function": { "arguments": "{}" } }]));
    assert_eq!((&deltas[3]["role"], &told[3]["choices"][0]["index"]), (&json!("assistant"), &json!(1)));
    assert_eq!((&deltas[4]["content"], &told[4]["choices"][0]["index"]), (&json!("B"), &json!(1)));
    assert_eq!(told[5]["choices"][0]["logprobs"], json!({ "content": [] }));
}

#[tokio::test]
async fn what_breaks_off_ends_with_an_error_and_not_as_done() {
    let told = data(&told(answer(vec![text("Hi")], Some(Err(Error::Draining))), Manner::default()).await);
    let error = &told.last().unwrap()["error"];
    assert_eq!((&error["code"], &error["type"]), (&json!("server_draining"), &json!("service_unavailable_error")));
    assert!(["message", "type", "param", "code"].iter().all(|key| error.get(key).is_some()), "{error}");
}

#[tokio::test]
async fn obfuscated_pieces_tell_little_by_their_length() {
    let manner = Manner { obfuscate: true, ..Manner::default() };
    let told = told(answer(vec![text("a"), text("a longer text")], Some(Ok(ended()))), manner).await;
    let lengths: Vec<usize> = told.split_terminator("\n\n").take(3).map(|frame| frame.len() % 64).collect();
    assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_comments_and_a_silent_reader_takes_nothing() {
    let (say, said) = mpsc::channel(1);
    let events = Answer::of(stream::unfold(said, async |mut said| Some((said.recv().await?, said))).boxed());
    let mut frames = Frames::new(events, Writer::new(&head(), Manner::default()).unwrap(), NAMES).unwrap();
    let begun = Instant::now();
    let mut next = async || frames.next().await.unwrap().unwrap();
    assert!(next().await.starts_with(b"data: "));
    assert_eq!(next().await, Bytes::from_static(b": keep-alive\n\n"));
    assert_eq!(begun.elapsed(), Duration::from_secs(15));
    // A word sets the time back, whenever it comes.
    tokio::time::sleep(Duration::from_secs(10)).await;
    say.send(Ok(Said::More(text("Hi")))).await.unwrap();
    assert!(next().await.starts_with(b"data: "));
    assert_eq!(next().await, Bytes::from_static(b": keep-alive\n\n"));
    assert_eq!(begun.elapsed(), Duration::from_secs(40));
    // Nobody reads: what is said stays with who says it.
    say.send(Ok(Said::More(text("one")))).await.unwrap();
    assert!(say.try_send(Ok(Said::More(text("two")))).is_err());
    drop(frames);
    assert!(say.is_closed());
}
