//! `POST /audio/speech`: the sound is the answer.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;

use super::{OpenAi, is_own, problem::Problem, videos::Asked};
use crate::simulator::{
    desk::{Instead, Outcome, Received},
    fault::{Operation, Subject},
    output::Media,
};

/// Most characters of a text.
const MOST_CHARS: usize = 4096;

pub(super) async fn speak(State(openai): State<Arc<OpenAi>>, received: Received) -> Result<Response, Instead> {
    let (prompt, model) = (received.text("/input").to_owned(), received.text("/model").to_owned());
    let subject = Subject { prompt: &prompt, model: &model, ..Subject::default() };
    let call = openai.desk.call(Operation::Create, subject).await?;
    check(&received).map_err(|problem| problem.into_response())?;
    let media = match received.text("/response_format") {
        "" | "mp3" => Media::Mp3,
        _ => Media::Wav,
    };
    let id = format!("speech_{}", openai.desk.world.new_id());
    let job = openai.desk.make(&call, openai.draft(id, received, media, 1, Asked::default()));
    match openai.desk.outcome(&job).await? {
        Outcome::Succeeded => Ok(call.answer_bytes(media.media_type(), openai.desk.inline(&job)).await),
        Outcome::Failed(text) => Err(Problem::of_failure(&text).into_response().into()),
        Outcome::Canceled | Outcome::Aborted => Err(call.refuse(StatusCode::INTERNAL_SERVER_ERROR, "stopped")),
    }
}

fn check(received: &Received) -> Result<(), Problem> {
    if let Some(why) = &received.unreadable {
        return Err(Problem::new(why.clone()));
    }
    let is_voice = received.body.get("voice").is_some_and(|voice| voice.is_string() || voice["id"].is_string());
    for (name, is_there) in [
        ("model", !received.text("/model").is_empty()),
        ("input", !received.text("/input").is_empty()),
        ("voice", is_voice || !is_own(received.text("/model"))),
    ] {
        if !is_there {
            let message = format!("Missing required parameter: '{name}'.");
            return Err(Problem::new(message).at(name).coded("missing_required_parameter"));
        }
    }
    if received.text("/input").chars().count() > MOST_CHARS {
        let message = format!("Invalid 'input': string too long. Expected at most {MOST_CHARS} characters.");
        return Err(Problem::new(message).at("input").coded("string_above_max_length"));
    }
    if received.text("/stream_format") == "sse" {
        return Err(Problem::new("The simulator does not stream.").at("stream_format").coded("unsupported_value"));
    }
    match received.text("/response_format") {
        "" | "mp3" | "opus" | "aac" | "flac" | "wav" | "pcm" => Ok(()),
        other => Err(Problem::new(format!("Invalid value: '{other}'.")).at("response_format").coded("invalid_value")),
    }
}
