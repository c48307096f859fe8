use axum::{body::to_bytes, response::IntoResponse};
use serde_json::{Value, json};

use super::super::request::{Asked, Manner, asked};
use crate::{
    door::openai::problem::Problem,
    pb::v1::{
        ChatMessage, ChatPart, ChatRole, ResponseFormatType, ToolMode, chat_image::Source, chat_part::Part,
        tool_choice::Choice,
    },
};

/// A body with one message and these fields more; null takes a field away.
fn body(more: &Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hi" }] });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn read(more: &Value) -> Asked {
    asked(body(more).to_string().as_bytes()).unwrap_or_else(|problem| panic!("{more}: {problem:?}"))
}

/// Messages instead of the usual one.
fn messages(messages: &Value) -> Vec<ChatMessage> {
    read(&json!({ "messages": messages })).request.messages
}

async fn refused(body: &[u8]) -> (u16, Value) {
    let response = asked(body).map(|asked| panic!("taken: {asked:?}")).unwrap_err().into_response();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 100_000).await.unwrap();
    (status, serde_json::from_slice::<Value>(&bytes).unwrap()["error"].clone())
}

fn texts(message: &ChatMessage) -> Vec<&str> {
    let text = |part: &'_ ChatPart| matches!(&part.part, Some(Part::Text(_)));
    assert!(message.content.iter().all(text), "{message:?}");
    let parts = message.content.iter().filter_map(|part| match &part.part {
        Some(Part::Text(text)) => Some(text.as_str()),
        Some(Part::Image(_)) | None => None,
    });
    parts.collect()
}

#[test]
fn every_role_and_form_of_content_is_read() {
    let read = messages(&json!([
        { "role": "developer", "content": "Be brief." },
        { "role": "system", "content": [{ "type": "text", "text": "Be kind." }, { "type": "text", "text": "Be\u{e9}" }] },
        { "role": "user", "name": "ann", "content": [
            { "type": "text", "text": "What is this?" },
            { "type": "image_url", "image_url": { "url": "https://example.com/a.png", "detail": "low" } },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } },
        ] },
        { "role": "assistant", "content": null, "refusal": null, "annotations": [], "audio": null, "function_call": null,
          "tool_calls": [{ "id": "call_7", "type": "function", "index": 0,
                           "function": { "name": "look", "arguments": "{\"a\": 1}" } }] },
        { "role": "tool", "tool_call_id": "call_7", "content": "" },
        { "role": "assistant", "content": [{ "type": "refusal", "refusal": "No." }], "reasoning_content": "hm" },
        { "role": "assistant", "content": null, "refusal": "Never." },
    ]));
    let roles: Vec<ChatRole> = read.iter().map(ChatMessage::role).collect();
    use ChatRole::{Assistant, System, Tool, User};
    assert_eq!(roles, [System, System, User, Assistant, Tool, Assistant, Assistant]);
    assert_eq!((texts(&read[0]), texts(&read[1])), (vec!["Be brief."], vec!["Be kind.", "Beé"]));
    assert_eq!((read[2].name.as_str(), read[2].content.len()), ("ann", 3));
    let images: Vec<_> = read[2].content[1..].iter().map(|part| part.part.clone().unwrap()).collect();
    let image = |part: &Part| match part {
        Part::Image(image) => (image.source.clone().unwrap(), image.detail.clone()),
        Part::Text(text) => panic!("{text}"),
    };
    assert_eq!(image(&images[0]), (Source::Uri("https://example.com/a.png".to_owned()), "low".to_owned()));
    assert_eq!(image(&images[1]), (Source::Uri("data:image/png;base64,AAAA".to_owned()), String::new()));
    let call = &read[3].tool_calls[0];
    assert_eq!((call.id.as_str(), call.name.as_str(), call.arguments_json.as_str()), ("call_7", "look", "{\"a\": 1}"));
    assert!(read[3].content.is_empty());
    assert_eq!((texts(&read[4]), read[4].tool_call_id.as_str()), (vec![""], "call_7"));
    assert_eq!((texts(&read[5]), texts(&read[6])), (vec!["No."], vec!["Never."]));
}

#[test]
fn the_old_way_of_calls_becomes_the_new_one() {
    let asked = read(&json!({
        "messages": [
            { "role": "user", "content": "Rain?" },
            { "role": "assistant", "content": "", "function_call": { "name": "look", "arguments": "{}" } },
            { "role": "function", "name": "look", "content": "no" },
        ],
        "functions": [{ "name": "look", "parameters": { "type": "object" } }],
        "function_call": { "name": "look" },
    }));
    let [_, call, answer] = asked.request.messages.as_slice() else { panic!("{asked:?}") };
    assert!(call.content.is_empty());
    assert_eq!((answer.role(), &answer.tool_call_id), (ChatRole::Tool, &call.tool_calls[0].id));
    assert_eq!(asked.request.tools[0].name, "look");
    assert_eq!(asked.request.tool_choice.unwrap().choice, Some(Choice::Tool("look".to_owned())));
    assert!(asked.manner.functions);
    assert_eq!(asked.request.parallel_tool_calls, Some(false));
}

#[test]
fn schemas_keep_the_order_of_their_properties() {
    let body =
        br#"{"model": "m", "messages": [], "tools": [{"type": "function", "function": {"name": "f", "strict": true,
        "description": "d", "parameters": {"z": 1, "a": {"y": 2, "b": 3}}}}], "response_format": {"type": "json_schema",
        "json_schema": {"name": "n", "strict": true, "description": "e", "schema": {"type": "object", "a": []}}}}"#;
    let request = asked(body).unwrap().request;
    let tool = &request.tools[0];
    assert_eq!(tool.parameters_json, r#"{"z": 1, "a": {"y": 2, "b": 3}}"#);
    assert_eq!((tool.name.as_str(), tool.description.as_str(), tool.strict), ("f", "d", Some(true)));
    let format = request.response_format.unwrap();
    assert_eq!(format.schema_json, r#"{"type": "object", "a": []}"#);
    assert_eq!((format.r#type(), format.strict), (ResponseFormatType::JsonSchema, Some(true)));
    assert_eq!((format.name.as_str(), format.description.as_str()), ("n", "e"));
}

#[test]
fn tools_are_chosen_in_every_form() {
    let tool = |name| json!({ "type": "function", "function": { "name": name } });
    let tools = json!([tool("a"), tool("b"), tool("c")]);
    let chosen = |choice: Value| {
        let request = read(&json!({ "tools": tools, "tool_choice": choice })).request;
        let names: Vec<String> = request.tools.into_iter().map(|tool| tool.name).collect();
        (request.tool_choice.unwrap().choice.unwrap(), names.join(""))
    };
    let mode = |mode: ToolMode| Choice::Mode(mode.into());
    assert_eq!(chosen(json!("none")), (mode(ToolMode::None), "abc".to_owned()));
    assert_eq!(chosen(json!("auto")), (mode(ToolMode::Auto), "abc".to_owned()));
    assert_eq!(chosen(json!("required")), (mode(ToolMode::Required), "abc".to_owned()));
    assert_eq!(chosen(tool("b")), (Choice::Tool("b".to_owned()), "abc".to_owned()));
    let allowed =
        json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": [tool("c"), tool("a")] } });
    assert_eq!(chosen(allowed), (mode(ToolMode::Required), "ac".to_owned()));
}

#[test]
fn plain_parameters_have_their_fields() {
    let Asked { request, manner, names } = read(&json!({
        "temperature": 1, "top_p": 0.5, "max_tokens": 7, "stop": "x", "seed": -9, "parallel_tool_calls": false,
        "metadata": { "team": "a" }, "labels": { "job": "b" }, "session": "sessions/s", "stream": true,
        "stream_options": { "include_usage": true, "include_obfuscation": false }, "response_format": { "type": "text" },
    }));
    assert_eq!((request.temperature, request.top_p, request.max_tokens), (Some(1.0), Some(0.5), Some(7)));
    assert_eq!(
        (request.seed, request.parallel_tool_calls, request.stop),
        (Some(-9), Some(false), vec!["x".to_owned()])
    );
    assert_eq!((request.labels["team"].as_str(), request.labels["job"].as_str()), ("a", "b"));
    assert_eq!((request.session.as_str(), request.provider_options), ("sessions/s", None));
    assert_eq!(manner, Manner { stream: true, include_usage: true, ..Manner::default() });
    assert_eq!((names.limit, names.labels), ("max_tokens", "metadata"));
    let both = read(&json!({ "max_completion_tokens": 9, "max_tokens": null, "stop": ["a", "b"], "tools": null }));
    assert_eq!(
        (both.request.max_tokens, both.request.stop.len(), both.names.limit),
        (Some(9), 2, "max_completion_tokens")
    );
}

#[test]
fn what_has_no_field_is_passed_on_and_what_asks_for_nothing_is_not() {
    let request = read(&json!({
        "user": "u", "n": 2, "logprobs": true, "top_logprobs": 3, "reasoning_effort": "low", "logit_bias": { "7": -100 },
        "prediction": { "type": "content", "content": [1.5, null, true] }, "provider_options": { "top_k": 40 },
        "store": false, "frequency_penalty": 0, "presence_penalty": 0.0, "modalities": ["text"], "audio": null,
    }));
    let options = request.request.provider_options.unwrap().fields;
    let names: Vec<&str> = options.keys().map(String::as_str).collect();
    let expected = ["logit_bias", "logprobs", "n", "prediction", "reasoning_effort", "top_k", "top_logprobs", "user"];
    assert_eq!(names, expected);
    assert!(read(&json!({ "n": 1, "logprobs": false, "logit_bias": {} })).request.provider_options.is_none());
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn what_is_wrong_is_told_with_its_place() {
    let user = |content: Value| json!({ "messages": [{ "role": "user", "content": content }] });
    let tool = json!([{ "type": "function", "function": { "name": "a" } }]);
    for (more, param, code) in [
        (json!({ "model": null }), "model", "missing_required_parameter"),
        (json!({ "model": 7 }), "model", "invalid_type"),
        (json!({ "messages": null }), "messages", "missing_required_parameter"),
        (json!({ "messages": "Hi" }), "messages", "invalid_type"),
        (json!({ "messages": ["Hi"] }), "messages[0]", "invalid_type"),
        (json!({ "messages": [{ "content": "Hi" }] }), "messages[0].role", "missing_required_parameter"),
        (json!({ "messages": [{ "role": "bot", "content": "Hi" }] }), "messages[0].role", "invalid_value"),
        (
            json!({ "messages": [{ "role": "tool", "content": "Hi" }] }),
            "messages[0].tool_call_id",
            "missing_required_parameter",
        ),
        (
            json!({ "messages": [{ "role": "function", "name": "f", "content": "" }] }),
            "messages[0].name",
            "invalid_value",
        ),
        (json!({ "messages": [{ "role": "user", "content": "a", "x": 1 }] }), "messages[0].x", "unknown_parameter"),
        (
            json!({ "messages": [{ "role": "user", "content": "a", "tool_calls": [] }] }),
            "messages[0].tool_calls",
            "unknown_parameter",
        ),
        (
            json!({ "messages": [{ "role": "assistant", "audio": { "id": "a" } }] }),
            "messages[0].audio",
            "unsupported_value",
        ),
        (user(json!(7)), "messages[0].content", "invalid_type"),
        (
            user(json!([{ "type": "text", "text": "a" }, { "type": "input_audio", "input_audio": {} }])),
            "messages[0].content[1]",
            "unsupported_value",
        ),
        (user(json!([{ "type": "file", "file": {} }])), "messages[0].content[0]", "unsupported_value"),
        (user(json!([{ "type": "text" }])), "messages[0].content[0].text", "missing_required_parameter"),
        (
            user(json!([{ "type": "image_url", "image_url": "https://x" }])),
            "messages[0].content[0].image_url",
            "invalid_type",
        ),
        (
            user(json!([{ "type": "image_url", "image_url": { "url": 1 } }])),
            "messages[0].content[0].image_url.url",
            "invalid_type",
        ),
        (json!({ "temperature": "1" }), "temperature", "invalid_type"),
        (json!({ "max_tokens": 1.5 }), "max_tokens", "invalid_type"),
        (json!({ "max_tokens": -1 }), "max_tokens", "invalid_value"),
        (json!({ "max_tokens": 1, "max_completion_tokens": 1 }), "max_tokens", "invalid_value"),
        (json!({ "seed": 18_446_744_073_709_551_615u64 }), "seed", "invalid_value"),
        (json!({ "stop": 7 }), "stop", "invalid_type"),
        (json!({ "stop": ["a", 7] }), "stop[1]", "invalid_type"),
        (json!({ "stream": "true" }), "stream", "invalid_type"),
        (json!({ "stream_options": { "include_usage": true } }), "stream_options", "invalid_value"),
        (json!({ "stream": true, "stream_options": { "x": 1 } }), "stream_options.x", "unknown_parameter"),
        (json!({ "tools": [{ "type": "custom", "custom": {} }] }), "tools[0].type", "unsupported_value"),
        (json!({ "tools": [{ "type": "function" }] }), "tools[0].function", "missing_required_parameter"),
        (
            json!({ "tools": [{ "type": "function", "function": { "name": "a", "parameters": "{}" } }] }),
            "tools[0].function.parameters",
            "invalid_type",
        ),
        (json!({ "tools": tool, "functions": [] }), "functions", "invalid_value"),
        (json!({ "tools": tool, "tool_choice": "any" }), "tool_choice", "invalid_value"),
        (json!({ "tools": tool, "tool_choice": { "type": "custom" } }), "tool_choice.type", "unsupported_value"),
        (json!({ "response_format": "json" }), "response_format", "invalid_type"),
        (json!({ "response_format": { "type": "xml" } }), "response_format.type", "invalid_value"),
        (
            json!({ "response_format": { "type": "json_schema" } }),
            "response_format.json_schema",
            "missing_required_parameter",
        ),
        (
            json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "n" } } }),
            "response_format.json_schema.schema",
            "missing_required_parameter",
        ),
        (json!({ "metadata": { "a": 1 } }), "metadata.a", "invalid_type"),
        (json!({ "metadata": { "a": "1" }, "labels": { "a": "1" } }), "metadata.a", "invalid_value"),
        (json!({ "user": "a", "provider_options": { "user": "b" } }), "user", "invalid_value"),
        (json!({ "anything": 9_007_199_254_740_993u64 }), "anything", "invalid_value"),
    ] {
        let (status, error) = refused(body(&more).to_string().as_bytes()).await;
        let told = (status, error["param"].as_str(), error["code"].as_str());
        assert_eq!(told, (400, Some(param), Some(code)), "{more}: {error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
}

#[tokio::test]
async fn rubbish_is_refused_and_breaks_nothing() {
    let deep =
        format!("{{\"model\": \"m\", \"messages\": [], \"x\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_messages = format!("{{\"model\": \"m\", \"messages\": {}", "[".repeat(1_000_000));
    let wide = format!("{{{}\"b\": 1}}", (0..300).map(|n| format!("\"a{n}\": 1,")).collect::<String>());
    for body in [
        &b""[..],
        b"null",
        b"[]",
        b"7",
        b"{",
        b"{}",
        b"{\"model\": \"m\", \"messages\": []} x",
        b"{\"model\": \"\xff\", \"messages\": []}",
        b"\xef\xbb\xbf{\"model\": \"m\", \"messages\": []}",
        b"{\"model\": \"a\", \"model\": \"b\", \"messages\": []}",
        b"{\"model\": \"a\", \"mod\\u0065l\": \"b\", \"messages\": []}",
        b"{\"model\": \"m\", \"messages\": [{\"role\": \"user\", \"role\": \"user\", \"content\": \"a\"}]}",
        b"{\"model\": \"m\", \"messages\": [{\"role\": \"user\", \"content\": \"\\ud800\"}]}",
        b"{\"model\": \"m\", \"messages\": [], \"temperature\": 1e999}",
        deep.as_bytes(),
        deep_messages.as_bytes(),
        wide.as_bytes(),
    ] {
        let (status, error) = refused(body).await;
        assert_eq!(status, 400, "{error}");
        assert!(error["message"].as_str().unwrap().len() < 500, "{error}");
    }
    assert!(asked(b"{\"mod\\u0065l\": \"m\", \"messages\": []}").is_ok());
}

#[test]
fn a_refusal_repeats_no_long_text() {
    let kind = "x".repeat(10_000);
    let more = json!({ "messages": [{ "role": "user", "content": [{ "type": kind }] }] });
    let problem: Problem = asked(body(&more).to_string().as_bytes()).unwrap_err();
    assert!(format!("{problem:?}").len() < 1000);
}
