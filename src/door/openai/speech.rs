//! `POST /v1/audio/speech`: the sound itself, or events with its parts.
//!
//! The content type says what the bytes are, whatever was asked for; a format that the model's card does not have is refused before anything is paid.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::{StreamExt, stream};
use http::{
    HeaderValue,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use serde_json::{Map, Value, json};

use super::{
    Door,
    encode::encoded,
    events::{self, Frames},
    extension,
    images::{one_of, users},
    key,
    names::Names,
    params::{Params, article},
    pictures::outputs,
    problem::Problem,
    wait::GENERATION,
};
use crate::{
    domain::{artifact::Artifact, generation::Generation},
    door::refusal::Refusal,
    pb::v1::{GenerateSpeechRequest, SpeechOptions},
};

pub(super) fn router() -> Router<Door> {
    Router::new().route("/audio/speech", post(speak))
}

async fn speak(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let caller = door.caller(request.headers())?;
    let key = key::of(request.headers())?;
    let mut params = Params::read(&door, &caller, request).await?;
    let streams = match params.text("stream_format")?.as_deref() {
        None | Some("audio") => false,
        Some("sse") => true,
        Some(_) => return Err(one_of("stream_format", &["audio", "sse"])),
    };
    let mut request = order(&mut params)?;
    key::give(&mut request.request_id, key)?;
    let names = Names { prompt: "input", format: "response_format", n_images: 0, n_masks: 0 };
    let made = door.make(caller, request, names).await?;
    let name = made.header();
    let mut response = if streams {
        events::answer(async move { as_events(&door, &*made.end().await?).await })
    } else {
        as_bytes(&door, &*made.end().await?).await?
    };
    if let Some(name) = name {
        response.headers_mut().insert(GENERATION, name);
    }
    Ok(response)
}

fn order(params: &mut Params) -> Result<GenerateSpeechRequest, Problem> {
    let prompt = params.required_text("input")?;
    let model = params.text("model")?.unwrap_or_default();
    let voice = voice(params)?;
    let format = params.text("response_format")?.unwrap_or_default();
    let speed = params.number("speed")?;
    let labels = users(params)?;
    let mut request: GenerateSpeechRequest = extension::request(params)?;
    let options = SpeechOptions { voice, format, speed, ..request.options.take().unwrap_or_default() };
    request.labels.extend(labels);
    Ok(GenerateSpeechRequest { prompt, model, options: Some(options), ..request })
}

/// The name of a voice, or the id of one's own. Without any the model's usual one speaks.
fn voice(params: &mut Params) -> Result<String, Problem> {
    match params.take("voice") {
        None => Ok(String::new()),
        Some(Value::String(name)) => Ok(name),
        Some(Value::Object(mut fields)) => match fields.remove("id") {
            Some(Value::String(id)) if fields.is_empty() => Ok(id),
            Some(_) | None => {
                Err(Problem::wrong_value("voice", "an object must have an id that is a string, and nothing else"))
            }
        },
        Some(other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_))) => {
            Err(Problem::wrong_type("voice", "a string or an object with an id", article(&other)))
        }
    }
}

fn sound(generation: &Generation) -> Result<&Artifact, Problem> {
    outputs(generation)?.first().ok_or_else(|| Problem::unresolved(format!("{} has no output.", generation.id)))
}

async fn as_bytes(door: &Door, generation: &Generation) -> Result<Response, Problem> {
    let artifact = sound(generation)?;
    let bytes = door.engine.read(artifact, 0..artifact.size).await.map_err(Refusal::about(&artifact.id))?;
    let mut response = Body::from_stream(bytes).into_response();
    let media_type = HeaderValue::try_from(artifact.facts.media_type.as_str());
    let media_type = media_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(artifact.size));
    Ok(response)
}

/// The sound in parts, each of which can be read alone.
async fn as_events(door: &Door, generation: &Generation) -> Result<Frames, Problem> {
    let artifact = sound(generation)?;
    let bytes = door.engine.read(artifact, 0..artifact.size).await.map_err(Refusal::about(&artifact.id))?;
    let deltas = encoded(bytes).map(|part| {
        let part = part?;
        // Base64 is ASCII.
        Ok(Bytes::from(events::with_text("speech.audio.delta", "audio", &String::from_utf8_lossy(&part))))
    });
    // The SDKs' type of the event requires it; nobody here counts tokens, and the ledger has the money.
    let usage = json!({ "input_tokens": 0, "output_tokens": 0, "total_tokens": 0 });
    let done = events::plain("speech.audio.done", Map::from_iter([("usage".to_owned(), usage)]));
    Ok(deltas.chain(stream::iter([Ok(Bytes::from(done))])).boxed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_is_a_name_or_an_id() {
        let read = |fields| voice(&mut Params::of_json(fields)).map_err(|problem| problem.envelope().to_string());
        assert_eq!(read(json!({ "voice": "coral" })).unwrap(), "coral");
        assert_eq!(read(json!({ "voice": { "id": "voice_1" } })).unwrap(), "voice_1");
        assert_eq!(read(json!({})).unwrap(), "");
        for wrong in [json!({}), json!({ "id": 1 }), json!({ "id": "a", "name": "b" }), json!(["coral"]), json!(3)] {
            let refused = read(json!({ "voice": wrong })).unwrap_err();
            assert!(refused.contains("\"param\":\"voice\""), "{refused}");
        }
    }
}
