//! `POST /chat/completions`: OpenAI's language, with thoughts unless they are disabled.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use jiff::Timestamp;

use super::{Ark, problem};
use crate::simulator::{
    completions::{Answer, question},
    desk::{Instead, Received},
    fault::Subject,
};

pub(super) async fn complete(State(ark): State<Arc<Ark>>, received: Received) -> Result<Response, Instead> {
    let (body, unreadable) = (received.body.clone(), received.unreadable.clone());
    let (mut question, model) = (question(&body), received.text("/model").to_owned());
    question.thinks = body["thinking"]["type"] == "enabled";
    let subject = Subject { prompt: &question.prompt, model: &model, ..Subject::default() };
    let (chat, call) = ark.desk.chat(subject, received).await?;
    let missing = |name: &str| {
        let text = format!("The request failed because it is missing one or multiple required parameters: `{name}`.");
        problem(StatusCode::BAD_REQUEST, "MissingParameter", &text, name)
    };
    if let Some(why) = unreadable {
        return Ok(chat.refused(problem(StatusCode::BAD_REQUEST, "InvalidParameter", &why, "")));
    }
    if model.is_empty() {
        return Ok(chat.refused(missing("model")));
    }
    if body["messages"].as_array().is_none_or(Vec::is_empty) {
        return Ok(chat.refused(missing("messages")));
    }
    if !body["max_tokens"].is_null() && !body["max_completion_tokens"].is_null() {
        let text = "The parameters `max_tokens` and `max_completion_tokens` exclude each other.";
        return Ok(chat.refused(problem(StatusCode::BAD_REQUEST, "InvalidParameter", text, "max_tokens")));
    }
    let answer = Answer {
        id: format!("0217{}", ark.desk.world.new_id()),
        created: Timestamp::now().as_second(),
        model,
        n: 1,
        with_logprobs: body["logprobs"] == true,
        speech: question.answer(call.says()),
    };
    if body["stream"] != true {
        return Ok(chat.answer(call, answer.whole()).await);
    }
    let with_usage = body["stream_options"]["include_usage"] == true;
    Ok(chat.stream(call, answer.events(with_usage), "data: [DONE]\n\n").await)
}
