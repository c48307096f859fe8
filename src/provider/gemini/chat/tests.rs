//! Bodies as they go over the wire, and answers as Google writes them.

use serde_json::json;

use super::*;
use crate::{
    domain::chat::{Finish, TokenUsage},
    provider::{
        chat::{ChatDelta, ChatMessage, Part, ResponseFormat, Speaker, Tool, ToolCall, ToolChoice},
        gemini::GEMINI,
        http::inputs::Inputs,
        id_of,
        port::InputFile,
    },
};

fn message(speaker: Speaker, text: &str) -> ChatMessage {
    let content = if text.is_empty() { Vec::new() } else { vec![Part::Text(text.to_owned())] };
    ChatMessage { speaker, content, tool_calls: Vec::new(), tool_call_id: None, name: None }
}

fn order(messages: Vec<ChatMessage>) -> ChatOrder {
    ChatOrder::plain("gemini-3.7-flash", messages)
}

async fn written(order: &ChatOrder) -> Result<String, (String, String)> {
    let inputs = Inputs::new(&id_of(GEMINI).unwrap()).unwrap();
    match body::body(order, &inputs).await {
        Ok(body) => Ok(String::from_utf8(body).unwrap()),
        Err(body::Unwritable::Field(field, why)) => Err((field, why)),
        Err(body::Unwritable::Input(error)) => panic!("{error:?}"),
    }
}

fn raw(json: &str) -> Box<serde_json::value::RawValue> {
    serde_json::value::RawValue::from_string(json.to_owned()).unwrap()
}

#[tokio::test]
async fn a_conversation_is_written_in_googles_words() {
    let call =
        |id: &str| ToolCall { id: id.to_owned(), name: format!("f{id}"), arguments: r#"{"z":1,"a":2}"#.to_owned() };
    let answer = |id: &str, text| ChatMessage { tool_call_id: Some(id.to_owned()), ..message(Speaker::Tool, text) };
    let mut look = message(Speaker::User, "look");
    let file = InputFile::Bytes { media_type: "image/png".to_owned(), data: Bytes::from_static(b"\x89PNG\r\n\x1a\n") };
    look.content.push(Part::Image { file, detail: Some("low".to_owned()) });
    let order = ChatOrder {
        temperature: Some(0.5),
        max_tokens: Some(9),
        stop: vec!["END".to_owned()],
        tools: vec![Tool {
            name: "f1".to_owned(),
            description: None,
            parameters: Some(raw(r#"{"z": 1,"a":2}"#)),
            strict: None,
        }],
        tool_choice: Some(ToolChoice::Tool("f1".to_owned())),
        format: Some(ResponseFormat::JsonSchema {
            name: "n".to_owned(),
            schema: raw(r#"{"z": 1}"#),
            strict: Some(true),
            description: None,
        }),
        provider_options:
            json!({ "safetySettings": [], "generationConfig": { "thinkingConfig": { "thinkingLevel": "low" } } })
                .as_object()
                .unwrap()
                .clone(),
        ..order(vec![
            message(Speaker::System, "be kind"),
            look,
            ChatMessage { tool_calls: vec![call("1"), call("2")], ..message(Speaker::Assistant, "") },
            answer("2", "plain words"),
            answer("1", r#"{"x": 1.50}"#),
        ])
    };
    let text = written(&order).await.unwrap();
    assert!(text.contains(r#""parametersJsonSchema":{"z": 1,"a":2}"#) && text.contains(r#"{"x": 1.50}"#), "{text}");
    let args = json!({ "z": 1, "a": 2 });
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        json!({
            "systemInstruction": { "parts": [{ "text": "be kind" }] },
            "contents": [
                { "role": "user", "parts": [
                    { "text": "look" },
                    { "inlineData": { "mimeType": "image/png", "data": "iVBORw0KGgo=" }, "mediaResolution": { "level": "MEDIA_RESOLUTION_LOW" } },
                ] },
                { "role": "model", "parts": [
                    { "functionCall": { "id": "1", "name": "f1", "args": args }, "thoughtSignature": "skip_thought_signature_validator" },
                    { "functionCall": { "id": "2", "name": "f2", "args": args } },
                ] },
                { "role": "user", "parts": [
                    { "functionResponse": { "id": "2", "name": "f2", "response": { "result": "plain words" } } },
                    { "functionResponse": { "id": "1", "name": "f1", "response": { "x": 1.5 } } },
                ] },
            ],
            "tools": [{ "functionDeclarations": [{ "name": "f1", "parametersJsonSchema": { "z": 1, "a": 2 } }] }],
            "toolConfig": { "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": ["f1"] } },
            "generationConfig": {
                "temperature": 0.5, "maxOutputTokens": 9, "stopSequences": ["END"],
                "responseMimeType": "application/json", "responseJsonSchema": { "z": 1 },
                "thinkingConfig": { "thinkingLevel": "low" },
            },
            "safetySettings": [],
        })
    );
}

#[tokio::test]
async fn what_google_has_no_place_for_is_refused_by_name() {
    let check = async |order: ChatOrder, field: &str| assert_eq!(written(&order).await.unwrap_err().0, field);
    let hi = || vec![message(Speaker::User, "hi")];
    check(ChatOrder { parallel_tool_calls: Some(false), ..order(hi()) }, "parallel_tool_calls").await;
    let named = ChatMessage { name: Some("ann".to_owned()), ..message(Speaker::User, "hi") };
    check(order(vec![named]), "messages[0].name").await;
    let stray = ChatMessage { tool_call_id: Some("x".to_owned()), ..message(Speaker::Tool, "hi") };
    check(order(vec![stray]), "messages[0].tool_call_id").await;
    let mut own = order(hi());
    own.provider_options = json!({ "generationConfig": { "topP": 1 } }).as_object().unwrap().clone();
    check(own, "provider_options.generationConfig.topP").await;
}

fn heard(parts: &[Value]) -> (Vec<ChatDelta>, Option<ChatEnd>) {
    let (mut reader, mut said) = (Reader::default(), Said::new());
    parts.iter().for_each(|part| reader.read(part.to_string().as_bytes(), &mut said).unwrap());
    let end = reader.end(&mut said);
    let delta = |event| match event {
        ChatEvent::Delta(delta) => delta,
        ChatEvent::End(end) => panic!("{end:?}"),
    };
    (said.into_iter().map(delta).collect(), end)
}

fn part(parts: &Value, finish: Option<&str>) -> Value {
    let mut candidate = json!({ "content": { "parts": parts, "role": "model" }, "index": 0 });
    if let Some(finish) = finish {
        candidate["finishReason"] = json!(finish);
    }
    json!({ "candidates": [candidate], "usageMetadata": { "promptTokenCount": 5 }, "responseId": "r" })
}

#[test]
fn an_answer_is_heard_with_its_thoughts_and_tokens() {
    let mut last = part(&json!([{ "text": "", "thoughtSignature": "abc" }]), Some("STOP"));
    last["usageMetadata"] = json!({
        "promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "cachedContentTokenCount": 4, "totalTokenCount": 10,
    });
    let (deltas, end) = heard(&[
        part(&json!([{ "text": "hm", "thought": true }]), None),
        // Older models say it in every part.
        part(&json!([{ "text": "Hello" }]), Some("STOP")),
        last,
    ]);
    assert_eq!(
        deltas,
        [
            ChatDelta { reasoning: "hm".to_owned(), ..ChatDelta::default() },
            ChatDelta { text: "Hello".to_owned(), ..ChatDelta::default() },
            ChatDelta { finish: Some(Finish::Stop), ..ChatDelta::default() },
        ]
    );
    let usage = Some(TokenUsage { input: 5, cached_input: 4, output: 5, reasoning: 3 });
    assert_eq!(end, Some(ChatEnd { usage, vendor_id: Some("r".to_owned()) }));
    assert_eq!(heard(&[part(&json!([{ "text": "Hello" }]), None)]).1, None, "it was cut off");
}

#[test]
fn calls_of_tools_get_an_id_and_say_so_at_the_end() {
    let calls = json!([
        { "functionCall": { "id": "c", "name": "f", "args": { "a": 2, "z": 1 } }, "thoughtSignature": "abc" },
        { "functionCall": { "name": "g" } },
    ]);
    let (deltas, _) = heard(&[part(&calls, Some("STOP"))]);
    let [f, g] = &deltas[0].tool_calls[..] else { panic!("{deltas:?}") };
    assert_eq!((f.index, f.id.as_str(), f.arguments.as_str()), (0, "c", r#"{"a":2,"z":1}"#));
    assert_eq!((g.index, g.name.as_str(), g.arguments.as_str()), (1, "g", "{}"));
    assert!(g.id.starts_with("call_"), "{}", g.id);
    assert_eq!(deltas[1].finish, Some(Finish::ToolCalls));
}

#[test]
fn ends_and_refusals_are_told_apart() {
    for (word, expected) in [
        ("MAX_TOKENS", Finish::Length),
        ("SAFETY", Finish::ContentFilter),
        ("PROHIBITED_CONTENT", Finish::ContentFilter),
        ("SOMETHING_NEW", Finish::Stop),
    ] {
        // What was blocked has no content.
        let page = json!({ "candidates": [{ "finishReason": word, "index": 0 }] });
        assert_eq!(heard(&[page]).0[0].finish, Some(expected), "{word}");
    }
    let fault = |page: Value| Reader::default().read(page.to_string().as_bytes(), &mut Said::new()).unwrap_err();
    assert_eq!(fault(json!({ "promptFeedback": { "blockReason": "SAFETY" } })), Fault::Blocked("SAFETY".to_owned()));
    assert_eq!(fault(json!({ "error": { "code": 503, "status": "UNAVAILABLE" } })), Fault::Error(Some(503)));
    let malformed = json!({ "candidates": [{ "finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "m" }] });
    assert_eq!(fault(malformed), Fault::Abandoned("MALFORMED_FUNCTION_CALL m".to_owned()));
    assert_eq!(Reader::default().read(b"<html>", &mut Said::new()), Err(Fault::Unreadable));
}
