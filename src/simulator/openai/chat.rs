//! `POST /chat/completions`, at once and in events.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{OpenAi, is_own, problem::Problem};
use crate::simulator::{
    completions::{Answer, question, text},
    desk::{Instead, Received},
    fault::Subject,
};

/// Fields of the body; OpenAI refuses others.
const FIELDS: &str = "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages metadata \
    modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_options prompt_cache_retention \
    reasoning_effort response_format safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools \
    top_logprobs top_p user verbosity web_search_options";

pub(super) async fn complete(State(openai): State<Arc<OpenAi>>, received: Received) -> Result<Response, Instead> {
    let body = received.body.clone();
    let unreadable = received.unreadable.clone();
    let (question, model) = (question(&body), received.text("/model").to_owned());
    let subject = Subject { prompt: &question.prompt, model: &model, ..Subject::default() };
    let (chat, call) = openai.desk.chat(subject, received).await?;
    if let Some(why) = unreadable {
        return Ok(chat.refused(Problem::new(why)));
    }
    if let Err(problem) = check(&body, &model) {
        return Ok(chat.refused(problem));
    }
    let answer = Answer {
        id: format!("chatcmpl-{}", openai.desk.world.new_id()),
        created: Timestamp::now().as_second(),
        model,
        n: body["n"].as_u64().unwrap_or(1),
        with_logprobs: body["logprobs"] == true,
        speech: question.answer(call.says()),
    };
    if body["stream"] != true {
        return Ok(chat.answer(call, answer.whole()).await);
    }
    let with_usage = body["stream_options"]["include_usage"] == true;
    Ok(chat.stream(call, answer.events(with_usage), "data: [DONE]\n\n").await)
}

fn check(body: &Value, model: &str) -> Result<(), Problem> {
    if model.is_empty() {
        return Err(Problem::new("you must provide a model parameter"));
    }
    let Some(messages) = body["messages"].as_array() else {
        return Err(Problem::new("Missing required parameter: 'messages'.")
            .at("messages")
            .coded("missing_required_parameter"));
    };
    if messages.is_empty() {
        let message =
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.";
        return Err(Problem::new(message).at("messages").coded("empty_array"));
    }
    let none = Map::new();
    let fields = body.as_object().unwrap_or(&none);
    if let Some(name) = fields.keys().find(|name| is_own(model) && !FIELDS.split(' ').any(|known| known == *name)) {
        return Err(Problem::new(format!("Unrecognized request argument supplied: {name}")));
    }
    for (name, least, most) in [("temperature", 0.0, 2.0), ("top_p", 0.0, 1.0), ("n", 1.0, 128.0)] {
        if body[name].as_f64().is_some_and(|value| !(least..=most).contains(&value)) {
            let message = format!("Invalid '{name}': expected a value between {least} and {most}.");
            return Err(Problem::new(message).at(name).coded("decimal_above_max_value"));
        }
    }
    let thinks = ["gpt-5", "o1", "o3", "o4"].iter().any(|family| model.starts_with(family));
    if thinks && !body["max_tokens"].is_null() {
        let message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
        return Err(Problem::new(message).at("max_tokens").coded("unsupported_parameter"));
    }
    messages.iter().enumerate().try_for_each(|(at, message)| check_message(messages, at, message))?;
    check_format(&body["response_format"])
}

fn check_message(messages: &[Value], at: usize, message: &Value) -> Result<(), Problem> {
    match message["role"].as_str() {
        Some("system" | "developer" | "user" | "assistant" | "function") => {}
        Some("tool") => {
            let id = &message["tool_call_id"];
            let calls = messages[..at].iter().filter_map(|before| before["tool_calls"].as_array()).flatten();
            if !calls.into_iter().any(|call| call["id"] == *id) {
                let message = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.";
                return Err(Problem::new(message).at(&format!("messages.[{at}].role")));
            }
        }
        Some(_) | None => {
            let message = format!(
                "Invalid value: '{}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'.",
                text(&message["role"])
            );
            return Err(Problem::new(message).at(&format!("messages[{at}].role")).coded("invalid_value"));
        }
    }
    let parts = message["content"].as_array().into_iter().flatten();
    for (nth, url) in parts.enumerate().filter_map(|(nth, part)| Some((nth, part["image_url"]["url"].as_str()?))) {
        if !["https://", "http://", "data:image/"].iter().any(|start| url.starts_with(start)) {
            let message = format!(
                "Invalid 'messages[{at}].content[{nth}].image_url.url'. Expected a base64-encoded data URL with an image MIME type or a web address."
            );
            return Err(Problem::new(message)
                .at(&format!("messages[{at}].content[{nth}].image_url.url"))
                .coded("invalid_value"));
        }
    }
    Ok(())
}

fn check_format(format: &Value) -> Result<(), Problem> {
    let described = &format["json_schema"];
    let named = |field: &str| format!("response_format.{field}");
    match format["type"].as_str() {
        None if format.is_null() => Ok(()),
        Some("text" | "json_object") => Ok(()),
        Some("json_schema") if described["name"].as_str().is_none_or(str::is_empty) => {
            let place = named("json_schema.name");
            Err(Problem::new(format!("Missing required parameter: '{place}'."))
                .at(&place)
                .coded("missing_required_parameter"))
        }
        Some("json_schema") => {
            let schema = &described["schema"];
            let is_open = schema["type"] == "object" && schema["additionalProperties"] != false;
            if described["strict"] == true && is_open {
                let message = format!(
                    "Invalid schema for response_format '{}': In context=(), 'additionalProperties' is required to be supplied and to be false.",
                    text(&described["name"])
                );
                return Err(Problem::new(message).at("response_format"));
            }
            Ok(())
        }
        Some(_) | None => {
            Err(Problem::new("Invalid value for 'response_format.type'.").at(&named("type")).coded("invalid_value"))
        }
    }
}
